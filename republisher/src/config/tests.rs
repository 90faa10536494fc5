//! What a file may say and what it is told.

use super::*;

const GOOD: &str = r#"
[service.s]
url = "https://ams.example.org/"
token_file = "token"
[[pair]]
name = "p"
source = { service = "s", project = "P", subscription = "S" }
target = { service = "s", project = "P" }
[[pair.rule]]
topic = "t"
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), " hush-hush\n").unwrap();
    folder
}

fn refused(text: &str) -> String {
    Plan::parse(text, folder().path()).unwrap_err()
}

#[test]
fn what_is_left_out_has_its_default() {
    let plan = Plan::parse(GOOD, folder().path()).unwrap();
    let pair = &plan.pairs[0];
    assert_eq!(pair.source.url, "https://ams.example.org");
    assert_eq!((pair.pull_messages, pair.publish_messages, pair.publish_bytes), (1_000, 1_000, 1 << 20));
    assert_eq!((pair.parallel_topics, pair.rate, pair.create_topics), (8, 0, false));
    assert_eq!(pair.id_attribute, "republisher_id");
    assert_eq!(pair.rules.unmatched, Unmatched::Stop, "nothing is passed over unless somebody said so");
    assert_eq!(plan.listen, Some("127.0.0.1:8082".parse().unwrap()));
}

/// The example has every key with its default; this holds it to that.
#[test]
fn the_example_is_right_and_shows_the_defaults() {
    let folder = folder();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(root.join("../schemas/metric_data.avsc"), folder.path().join("metric_data.avsc")).unwrap();
    for token in ["central.token", "site.token"] {
        std::fs::write(folder.path().join(token), "x").unwrap();
    }
    let text = std::fs::read_to_string(root.join("republisher.toml")).unwrap();
    let shown = Plan::parse(&text, folder.path()).unwrap();
    let plain = Plan::parse(GOOD, folder.path()).unwrap();
    let (shown_pair, plain_pair) = (&shown.pairs[0], &plain.pairs[0]);
    let figures = |pair: &PairPlan| (pair.pull_messages, pair.poll, pair.publish_messages, pair.publish_bytes);
    assert_eq!(figures(shown_pair), figures(plain_pair));
    let more = |pair: &PairPlan| (pair.parallel_topics, pair.rate, pair.id_attribute.clone(), pair.create_topics);
    assert_eq!(more(shown_pair), more(plain_pair));
    assert_eq!(shown_pair.rules.naming, plain_pair.rules.naming);
    let waits = |plan: &Plan| (plan.patience.longest, plan.patience.problem, plan.patience.stop);
    assert_eq!(waits(&shown), waits(&plain));
    assert_eq!((shown.listen, shown.log_level, shown.log_json), (plain.listen, plain.log_level, plain.log_json));
    let timeouts = |pair: &PairPlan| (pair.source.timeout_seconds, pair.source.token_in);
    assert_eq!(timeouts(shown_pair), timeouts(plain_pair));
    assert_eq!(shown_pair.rules.rules.len(), 2);
}

#[test]
fn every_wrong_key_is_named_at_once() {
    let text = GOOD.replace("https://ams.example.org/", "ams.example.org").replace("\"S\"", "\"a b\"");
    let text = text.replace(
        "topic = \"t\"",
        "topic = \"t\"\nmatch = [{ field = \"attribute:a\" }]\n[[pair.rule]]\ntopic = \"{x}\"",
    );
    let told = refused(&text.replace("token_file = \"token\"", "token_file = \"none\""));
    for key in [
        "service.s.url: ",
        "service.s.token_file: ",
        "pair[0].source.subscription: ",
        "pair[0].rule[0].match[0]: give exactly one of",
        "pair[0].rule[1].topic: ",
    ] {
        assert!(told.contains(key), "no {key} in:\n{told}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_where_they_stand() {
    for (from, to, told) in [
        ("name = \"p\"", "name = \"p\"\nnaem = 1", "unknown field `naem`"),
        ("name = \"p\"", "name = \"p\"\nrate = \"fast\"", "rate"),
        ("[service.s]", "[log]\nformat = \"xml\"\n[service.s]", "`text` or `json`"),
        ("topic = \"t\"", "", "missing field `topic`"),
        ("url = ", "uri = ", "unknown field `uri`"),
    ] {
        let refused = refused(&GOOD.replace(from, to));
        assert!(refused.contains(told), "no {told} in:\n{refused}");
    }
}

#[test]
fn choices_that_belong_together_are_held_together() {
    let told = |more: &str| refused(&GOOD.replace("name = \"p\"", &format!("name = \"p\"\n{more}")));
    assert!(told("unmatched = \"topic\"").contains("pair[0].unmatched_topic"));
    assert!(told("unmatched = \"drop\"\nunmatched_topic = \"x\"").contains("pair[0].unmatched_topic"));
    assert!(told("pull_messages = 0").contains("pair[0].pull_messages: 0 is not from 1 to 10000"));
    assert!(
        refused(&GOOD.replace("token_file = \"token\"", "token_file = \"token\"\ntoken_env = \"X\""))
            .contains("either")
    );
    let twice = format!("{GOOD}{}", GOOD.split_once("[[pair]]").map(|(_, pair)| format!("[[pair]]{pair}")).unwrap());
    assert!(refused(&twice).contains("pair[1].name: `p` is the name of another pair"));
}

#[test]
fn a_token_is_read_but_never_shown() {
    let folder = folder();
    let plan = Plan::parse(GOOD, folder.path()).unwrap();
    assert_eq!(plan.pairs[0].source.secret.read().unwrap().to_str().unwrap(), "hush-hush");
    assert!(!format!("{plan:?}").contains("hush"));
    std::fs::write(folder.path().join("token"), "hush\nhush").unwrap();
    let told = Plan::parse(GOOD, folder.path()).unwrap_err();
    assert!(told.contains("service.s.token_file") && !told.contains("hush"), "{told}");
}

#[test]
fn a_schema_that_a_payload_could_nest_without_end_is_refused() {
    let record = |inner: &str| {
        format!(
            r#"{{"type":"record","name":"a","fields":[{{"name":"x","type":"int"}},{{"name":"y","type":{inner}}}]}}"#
        )
    };
    let again = r#"["null",{"type":"map","values":{"type":"array","items":"a"}}]"#;
    let twice = r#"{"type":"record","name":"b","fields":[{"name":"p","type":{"type":"enum","name":"e","symbols":["s"]}},{"name":"q","type":"e"}]}"#;
    let folder = folder();
    let path = folder.path().join("s.avsc");
    for (inner, right) in [("\"string\"", true), (again, false), (twice, true), ("\"unknown\"", false)] {
        std::fs::write(&path, record(inner)).unwrap();
        assert_eq!(schema(&path).is_ok(), right, "{inner}");
    }
}
