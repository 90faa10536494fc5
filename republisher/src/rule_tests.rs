//! Rules on messages as a pull brings them.

use super::*;
use crate::message::Message;

/// `{"status":"CRITICAL","n":7,"deep":{"list":["a"]},"yes":true,"none":null}`
const PAYLOAD: &str =
    "eyJzdGF0dXMiOiJDUklUSUNBTCIsIm4iOjcsImRlZXAiOnsibGlzdCI6WyJhIl19LCJ5ZXMiOnRydWUsIm5vbmUiOm51bGx9";

fn holds(field: &str, test: Test) -> bool {
    let text = format!(r#"{{"messageId":"1","attributes":{{"site":"GR-01"}},"data":"{PAYLOAD}"}}"#);
    let message: Message<'_> = serde_json::from_str(&text).unwrap();
    Condition { field: Field::parse(field).unwrap(), test }.holds(&View::new(&message, None))
}

fn is(text: &str) -> Test {
    Test::OneOf(vec!["other".to_owned(), text.to_owned()])
}

#[test]
fn conditions_look_at_attributes_and_into_json() {
    assert!(holds("attribute:site", is("GR-01")));
    assert!(!holds("attribute:site", is("GR")));
    assert!(!holds("attribute:none", is("")));
    assert!(holds("attribute:site", Test::Prefix("GR-".to_owned())));
    assert!(!holds("attribute:site", Test::Prefix("IT-".to_owned())));
    assert!(holds("attribute:site", Test::Matches(Regex::new("^[A-Z]+-\\d\\d$").unwrap())));
    assert!(holds("json:/status", is("CRITICAL")));
    assert!(holds("json:/n", is("7")));
    assert!(holds("json:/yes", is("true")));
    assert!(holds("json:/deep/list/0", is("a")));
    assert!(holds("attribute:none", Test::Exists(false)));
    assert!(holds("json:/none", Test::Exists(false)), "null is as good as absent");
    assert!(holds("json:/deep", Test::Exists(false)), "an object is no text");
    assert!(holds("avro:status", Test::Exists(false)), "without a schema there is no record");
}

#[test]
fn a_payload_that_is_no_json_or_no_base64_has_no_fields() {
    for data in [r#""data":"bm90IGpzb24=""#, r#""data":"%%%""#, r#""data":null"#, r#""x":1"#] {
        let text = format!(r#"{{"messageId":"1",{data}}}"#);
        let message: Message<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(View::new(&message, None).text(&Field::parse("json:/a").unwrap()), None, "{data}");
    }
}

#[test]
fn avro_fields_are_found_through_records_unions_and_maps() {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"long"},
        {"name":"tags","type":["null",{"type":"map","values":["null","string"]}]}]}"#;
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap();
    // n = 7; tags = {"s": "A"}; the last has a byte too much.
    for (data, n, tag) in
        [("DgICAnMCAkEA", Some("7"), Some("A")), ("DgA=", Some("7"), None), ("DgICAnMCAkEAAA==", None, None)]
    {
        let text = format!(r#"{{"messageId":"1","data":"{data}"}}"#);
        let message: Message<'_> = serde_json::from_str(&text).unwrap();
        let view = View::new(&message, Some(&reader));
        assert_eq!(view.text(&Field::parse("avro:n").unwrap()).as_deref(), n, "{data}");
        assert_eq!(view.text(&Field::parse("avro:tags/s").unwrap()).as_deref(), tag, "{data}");
        assert_eq!(view.text(&Field::parse("avro:tags").unwrap()), None);
    }
}

fn rules(unmatched: Unmatched) -> Rules {
    let conditions = vec![Condition { field: Field::Attribute("kind".to_owned()), test: is("alarm") }];
    let set = vec![
        ("copy".to_owned(), Template::parse("is {attribute:kind}").unwrap()),
        ("absent".to_owned(), Template::parse("{attribute:none}").unwrap()),
    ];
    let rename = vec![("a".to_owned(), "b".to_owned()), ("gone".to_owned(), "x".to_owned())];
    let rewrite = Rewrite { rename, remove: vec!["secret".to_owned()], set };
    let alarms = Rule { conditions, topic: Template::parse("alarms").unwrap(), rewrite };
    let topic = Template::parse("site-{attribute:site}").unwrap();
    let sites = Rule { conditions: Vec::new(), topic, rewrite: Rewrite::default() };
    Rules { rules: vec![alarms, sites], naming: Naming::Replace, unmatched }
}

fn route(rules: &Rules, attributes: &str) -> String {
    let text = format!(r#"{{"messageId":"1","attributes":{attributes}}}"#);
    let message: Message<'_> = serde_json::from_str(&text).unwrap();
    match rules.route(&View::new(&message, None)) {
        Route::Publish { topic, attributes, matched } => {
            let attributes: Vec<String> = attributes.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{topic} {} {matched}", attributes.join(","))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn the_first_rule_that_takes_a_message_decides() {
    let rules = rules(Unmatched::Drop);
    assert_eq!(route(&rules, r#"{"kind":"alarm","site":"A"}"#), "alarms kind=alarm,site=A,copy=is alarm true");
    assert_eq!(route(&rules, r#"{"kind":"fact","site":"A.B"}"#), "site-A_B kind=fact,site=A.B true");
}

#[test]
fn attributes_are_renamed_then_removed_then_set() {
    let rules = rules(Unmatched::Drop);
    let attributes = r#"{"kind":"alarm","b":"old","a":"new","secret":"s","copy":"no"}"#;
    assert_eq!(route(&rules, attributes), "alarms kind=alarm,b=new,copy=is alarm true");
}

#[test]
fn what_no_rule_takes_is_dropped_stops_or_goes_to_its_topic() {
    assert_eq!(route(&rules(Unmatched::Drop), "{}"), "Drop");
    assert_eq!(route(&rules(Unmatched::Stop), r#"{"site":""}"#), "site- site= true");
    assert_eq!(route(&rules(Unmatched::Stop), "null"), "Stop");
    assert_eq!(route(&rules(Unmatched::Topic("others".to_owned())), r#"{"x":"1"}"#), "others x=1 false");
}
