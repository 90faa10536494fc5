//! Every rule on a snippet that breaks it and one that keeps it.

use super::lexer::{Kind, tokens};
use super::{Finding, SourceFile, findings};

const MANIFEST: &str = "[package]\nname = \"angelia\"\n[dependencies]\nactix-web = \"4\"\nserde = \"1\"\nbytes = \"1\"\nuuid = \"1\"\nprometheus = \"1\"\n";
const README: &str = "# Angelia\n## What is promised\n| promise | test |\n| --- | --- |\n| order | `order_is_kept` |\n";
const TESTS: &str = "//! Tests.\nfn order_is_kept() {}\n";

/// The rules broken by a project of these files, with those that every project has.
fn broken(files: &[(&str, &str)]) -> Vec<Finding> {
    let mut all = vec![("Cargo.toml", MANIFEST), ("README.md", README), ("tests/order.rs", TESTS)];
    all.retain(|(path, _)| !files.iter().any(|(given, _)| given == path));
    all.extend(files);
    findings(all.into_iter().map(|(path, text)| SourceFile::new(path, text)).collect())
}

fn rules(files: &[(&str, &str)]) -> Vec<(String, usize, &'static str)> {
    broken(files).into_iter().map(|finding| (finding.file, finding.line, finding.rule)).collect()
}

fn one(path: &str, line: usize, rule: &'static str) -> Vec<(String, usize, &'static str)> {
    vec![(path.to_owned(), line, rule)]
}

const LAYERS: &[(&str, &str)] = &[
    ("src/storage/mod.rs", "//! S.\n"),
    ("src/storage/segment/mod.rs", "//! S.\n"),
    ("src/storage/memory.rs", "//! S.\n"),
    ("src/broker/mod.rs", "//! B.\n"),
    ("src/broker/codec/mod.rs", "//! B.\n"),
    ("src/api/ams/mod.rs", "//! A.\n"),
    ("src/api/zaqar/mod.rs", "//! Z.\n"),
    ("src/domain/mod.rs", "//! D.\n"),
    ("src/clock.rs", "//! C.\n"),
    ("src/cli/mod.rs", "//! C.\n"),
    ("src/server.rs", "//! S.\n"),
];

/// The layers, with one file of other text.
fn with<'a>(path: &'a str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = LAYERS.iter().copied().filter(|(other, _)| *other != path);
    others.chain([(path, text)]).collect()
}

#[test]
fn a_clean_project_has_no_findings() {
    assert_eq!(broken(LAYERS), vec![]);
}

#[test]
fn an_arrow_upward_is_found_in_a_use() {
    let files = with("src/domain/topic.rs", "//! T.\nuse std::fmt;\nuse crate::broker::Broker;\n");
    assert_eq!(rules(&files), one("src/domain/topic.rs", 3, "arrow"));
}

#[test]
fn an_arrow_is_found_in_a_group_an_inline_path_and_a_chain_of_supers() {
    let group = with("src/broker/topic.rs", "//! T.\nuse crate::{domain::Name, api::{ams::X}};\n");
    assert_eq!(rules(&group), one("src/broker/topic.rs", 2, "arrow"));
    let inline = with("src/broker/topic.rs", "//! T.\nfn f() {\n    let x = crate::api::ams::x();\n}\n");
    assert_eq!(rules(&inline), one("src/broker/topic.rs", 3, "arrow"));
    let supers = with("src/broker/topic.rs", "//! T.\nuse super::super::api::ams::X;\n");
    assert_eq!(rules(&supers), one("src/broker/topic.rs", 2, "arrow"));
}

#[test]
fn a_dialect_may_not_use_another() {
    let files = with(
        "src/api/ams/topics.rs",
        "//! T.\nuse crate::api::zaqar::Queue;\nuse crate::api::ams::dto;\nuse crate::broker::Broker;\n",
    );
    assert_eq!(rules(&files), one("src/api/ams/topics.rs", 2, "arrow"));
}

#[test]
fn the_broker_sees_the_storage_trait_and_no_engine() {
    let files =
        with("src/broker/topic.rs", "//! T.\nuse crate::storage::Store;\nuse crate::storage::segment::Segment;\n");
    assert_eq!(rules(&files), one("src/broker/topic.rs", 3, "arrow"));
}

#[test]
fn engines_do_not_see_each_other() {
    let files =
        with("src/storage/segment/log.rs", "//! T.\nuse crate::storage::{Store, memory::M};\nuse super::index;\n");
    assert_eq!(rules(&files), one("src/storage/segment/log.rs", 2, "arrow"));
}

#[test]
fn the_command_line_sees_the_codec_and_no_more_of_the_broker() {
    let files = with("src/cli/inspect.rs", "//! T.\nuse crate::broker::codec::message;\nuse crate::broker::Broker;\n");
    assert_eq!(rules(&files), one("src/cli/inspect.rs", 3, "arrow"));
}

#[test]
fn the_binary_speaks_to_the_library_by_its_name() {
    let files = with("src/main.rs", "//! M.\nuse angelia::cli;\nfn main() {\n    angelia::broker::start();\n}\n");
    assert_eq!(rules(&files), one("src/main.rs", 4, "arrow"));
}

#[test]
fn the_republisher_does_without_the_library() {
    let manifest = "[package]\nname = \"republisher\"\n[dependencies]\nangelia = { path = \"..\" }\n";
    assert_eq!(rules(&with("republisher/Cargo.toml", manifest)), one("republisher/Cargo.toml", 4, "arrow"));
    let clock = "//! T.\nfn f() {\n    std::time::Instant::now();\n}\n";
    assert_eq!(rules(&with("republisher/src/pair.rs", clock)), one("republisher/src/pair.rs", 3, "time"));
    assert_eq!(rules(&with("republisher/src/clock.rs", clock)), vec![]);
}

#[test]
fn a_layer_that_is_not_on_the_map_is_found() {
    let files = with("src/helpers.rs", "//! H.\nuse crate::domain::Name;\n");
    assert_eq!(rules(&files), one("src/helpers.rs", 2, "arrow"));
}

#[test]
fn the_domain_uses_no_crate_but_bytes() {
    let files = with("src/domain/id.rs", "//! I.\nuse bytes::Bytes;\nuse uuid::Uuid;\nstruct S(serde::X);\n");
    let found = rules(&files);
    assert_eq!(found, [one("src/domain/id.rs", 3, "crate"), one("src/domain/id.rs", 4, "crate")].concat());
}

#[test]
fn a_fenced_crate_is_found_outside_its_layers() {
    let files = with("src/broker/topic.rs", "//! T.\nuse actix_web::HttpResponse;\n");
    assert_eq!(rules(&files), one("src/broker/topic.rs", 2, "crate"));
    assert_eq!(rules(&with("src/api/ams/topics.rs", "//! T.\nuse actix_web::HttpResponse;\n")), vec![]);
}

#[test]
fn tests_comments_and_strings_draw_no_arrows() {
    let text = "//! T.\n// use crate::api::ams::X;\nconst S: &str = \"crate::api::ams\";\nconst R: &str = r#\"crate::api::\"ams\"#;\n\
                #[cfg(test)]\nmod tests {\n    use crate::api::ams::X;\n    fn f() { let c = '\"'; }\n}\n";
    assert_eq!(rules(&with("src/broker/topic.rs", text)), vec![]);
    let declared = with("src/broker/mod.rs", "//! B.\n#[cfg(test)]\nmod world;\n");
    let declared = [declared, vec![("src/broker/world.rs", "//! W.\nuse crate::storage::memory::M;\n")]].concat();
    assert_eq!(rules(&declared), vec![]);
}

#[test]
fn code_after_a_test_module_is_looked_at_again() {
    let text = "//! T.\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::api::ams::X;\n";
    assert_eq!(rules(&with("src/broker/topic.rs", text)), one("src/broker/topic.rs", 6, "arrow"));
    let negated = "//! T.\n#[cfg(not(test))]\nuse crate::api::ams::X;\n";
    assert_eq!(rules(&with("src/broker/topic.rs", negated)), one("src/broker/topic.rs", 3, "arrow"));
}

#[test]
fn a_long_file_is_found_unless_it_is_of_tests() {
    let text = format!("//! L.\n{}", "// x\n".repeat(500));
    assert_eq!(rules(&[("src/clock.rs", &text)]), one("src/clock.rs", 500, "file length"));
    assert_eq!(
        rules(&[("src/clock_tests.rs", &text), ("src/broker/tests.rs", &text), ("tests/long.rs", &text)]),
        vec![]
    );
}

#[test]
fn a_long_function_is_found_and_its_comments_and_blank_lines_do_not_count() {
    let body = |lines: usize| {
        format!("//! L.\nfn long() {{\n{}\n    // a comment\n{}}}\n", "\n".repeat(30), "    x();\n".repeat(lines))
    };
    assert_eq!(rules(&[("src/clock.rs", &body(70))]), vec![]);
    assert_eq!(rules(&[("src/clock.rs", &body(71))]), one("src/clock.rs", 2, "function length"));
    let tests = format!("//! L.\n#[cfg(test)]\nmod tests {{\n{}\n}}\n", body(90));
    assert_eq!(rules(&[("src/clock.rs", &tests)]), vec![]);
}

#[test]
fn a_file_without_an_opening_is_found() {
    assert_eq!(rules(&[("src/clock.rs", "use std::fmt;\n")]), one("src/clock.rs", 1, "opening"));
    assert_eq!(rules(&[("tests/ams/x.py", "import os\n")]), one("tests/ams/x.py", 1, "opening"));
    assert_eq!(rules(&[("tests/ams/x.py", "#!/usr/bin/env python3\n\"\"\"X.\"\"\"\n")]), vec![]);
}

#[test]
fn unfinished_work_is_found() {
    assert_eq!(rules(&[("src/clock.rs", "//! C.\nfn f() {\n    todo!()\n}\n")]), one("src/clock.rs", 3, "unfinished"));
    assert_eq!(rules(&[("src/clock.rs", "//! C.\n// FIXME later\n")]), one("src/clock.rs", 2, "unfinished"));
    assert_eq!(rules(&[("tests/a.py", "\"\"\"A.\"\"\"\n# XXX\n")]), one("tests/a.py", 2, "unfinished"));
    assert_eq!(rules(&[("src/clock.rs", "//! C.\n// XXXL\n")]), vec![]);
}

#[test]
fn time_read_outside_the_clock_is_found() {
    let text = "//! T.\nfn f() {\n    std::time::Instant::now();\n}\n";
    assert_eq!(rules(&with("src/broker/topic.rs", text)), one("src/broker/topic.rs", 3, "time"));
    assert_eq!(rules(&with("src/clock.rs", text)), vec![]);
}

#[test]
fn unsafe_code_is_found_in_tests_too() {
    assert_eq!(rules(&[("tests/a.rs", "//! A.\nfn f() { unsafe { g() } }\n")]), one("tests/a.rs", 2, "unsafe"));
}

#[test]
fn paths_and_hosts_of_one_machine_are_found() {
    let home = format!("//! C.\n// see /{}/me/notes\n", "home");
    assert_eq!(rules(&[("src/clock.rs", &home)]), one("src/clock.rs", 2, "machine path"));
    let index = format!("--{}-url https://pypi.example.org\n", "index");
    assert_eq!(rules(&[("tests/requirements.txt", &index)]), one("tests/requirements.txt", 1, "registry host"));
    let lock = "name = \"x\"\nsource = \"registry+https://mirror.example.org/index\"\n";
    assert_eq!(rules(&[("Cargo.lock", lock)]), one("Cargo.lock", 2, "registry host"));
    assert_eq!(rules(&[("src/clock.rs", "//! C.\n// GET /v1/projects/home/topics/x\n")]), vec![]);
}

#[test]
fn a_promise_names_a_test_that_exists() {
    let row = |cell: &str| format!("# A\n## What is promised\n| p | t |\n| --- | --- |\n| order | {cell} |\n");
    for good in [
        "`order_is_kept`",
        "`order::order_is_kept`",
        "`tests/order.rs`",
        "`tests/order.rs::order_is_kept`, `cargo xtask figures`",
    ] {
        assert_eq!(rules(&[("README.md", &row(good))]), vec![], "{good}");
    }
    for bad in ["by design", "`order_is_lost`", "`tests/chaos.rs`", "`tests/order.rs::order_is_lost`"] {
        assert_eq!(rules(&[("README.md", &row(bad))]), one("README.md", 5, "promise"), "{bad}");
    }
    let table =
        format!("{}## When the disk misbehaves\n| a | b |\n| --- | --- |\n| c | `missing` |\n", row("`tests/a.py`"));
    assert_eq!(rules(&[("tests/a.py", "\"\"\"A.\"\"\"\n"), ("README.md", &table)]), one("README.md", 9, "promise"));
    assert_eq!(rules(&[("README.md", "# A\nFast and safe.\n")]), one("README.md", 1, "promise"));
}

#[test]
fn a_finding_names_file_line_rule_and_remedy() {
    let files = with("src/domain/topic.rs", "//! T.\nuse crate::broker::Broker;\n");
    let shown = broken(&files).first().map(ToString::to_string).unwrap_or_default();
    assert!(shown.starts_with("src/domain/topic.rs:2: arrow: `domain` may not use `crate::broker::Broker`"), "{shown}");
    assert!(shown.contains("Move the code"), "{shown}");
}

#[test]
fn the_lexer_tells_characters_from_lifetimes_and_nests_comments() {
    let text = "fn f<'a>(x: &'a str) { /* a /* b */ c */ let q = '\\''; let s = b\"\\\"\"; let n = '\u{e9}'; }";
    let literals: Vec<&str> =
        tokens(text).into_iter().filter(|token| token.kind == Kind::Literal).map(|token| token.text).collect();
    assert_eq!(literals, ["'a", "'a", "'\\''", "b\"\\\"\"", "'\u{e9}'"]);
    let comments = tokens(text).into_iter().filter(|token| token.kind == Kind::Comment).map(|token| token.text);
    assert_eq!(comments.collect::<Vec<_>>(), ["/* a /* b */ c */"]);
}

#[test]
fn this_project_keeps_its_own_rules_of_arrows_and_sizes() {
    let project = crate::project::Project::find().unwrap();
    let mut files = Vec::new();
    for path in project.files().unwrap() {
        if let Ok(text) = std::fs::read_to_string(project.root.join(&path)) {
            files.push(SourceFile::new(&super::slashes(&path), &text));
        }
    }
    let shown: Vec<String> = findings(files).iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}
