//! Avro data written by the reference library, cut, damaged and contrived.

use super::*;
use apache_avro::Schema;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::json;

/// The record that ARGO's monitoring sends its results as.
const METRIC_DATA: &str = r#"{"type": "record", "name": "metric_data", "namespace": "argo.avro", "fields": [
    {"name": "timestamp", "type": "string"}, {"name": "service", "type": "string"},
    {"name": "hostname", "type": "string"}, {"name": "metric", "type": "string"},
    {"name": "monitoring_host", "type": ["null", "string"]}, {"name": "status", "type": "string"},
    {"name": "summary", "type": ["null", "string"]}, {"name": "message", "type": ["null", "string"]},
    {"name": "actual_data", "type": ["null", "string"], "default": null},
    {"name": "tags", "type": ["null", {"type": "map", "values": ["null", "string"]}]}]}"#;

fn rules(schema: &str) -> AvroRules {
    AvroRules::compile(&serde_json::from_str(schema).unwrap()).unwrap()
}

#[track_caller]
fn refused(schema: Value, words: &str) {
    assert_eq!(AvroRules::compile(&schema).err().as_deref(), Some(words));
}

fn metric() -> Vec<u8> {
    let text = |text: &str| Datum::String(text.to_owned());
    let some = |datum: Datum| Datum::Union(1, Box::new(datum));
    let none = || Datum::Union(0, Box::new(Datum::Null));
    let tags = [("endpoint_group", "SITE-A"), ("vo", "ops")];
    let tags = tags.map(|(name, value)| (name.to_owned(), some(text(value)))).into_iter().collect();
    let record = Datum::Record(vec![
        ("timestamp".to_owned(), text("2026-01-02T03:04:05Z")),
        ("service".to_owned(), text("org.argo.ams")),
        ("hostname".to_owned(), text("ams.example.org")),
        ("metric".to_owned(), text("argo.AMS-Check")),
        ("monitoring_host".to_owned(), some(text("mon.example.org"))),
        ("status".to_owned(), text("OK")),
        ("summary".to_owned(), some(text("all is well"))),
        ("message".to_owned(), none()),
        ("actual_data".to_owned(), none()),
        ("tags".to_owned(), some(Datum::Map(tags))),
    ]);
    let schema = Schema::parse_str(METRIC_DATA).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(record).unwrap()
}

#[test]
fn metric_data_is_accepted_and_each_shorter_form_refused() {
    let (rules, datum) = (rules(METRIC_DATA), metric());
    assert_eq!(rules.check(&datum), Ok(()));
    assert_eq!(rules.check(&[&datum[..], b"behind it"].concat()), Ok(()));
    for end in 0..datum.len() {
        assert!(rules.check(&datum[..end]).is_err(), "{end}");
    }
    let container = [b"Obj\x01", &datum[..]].concat();
    let words = "cannot decode binary record \"argo.avro.metric_data\" field \"timestamp\": \
                 cannot decode binary string: cannot decode binary bytes: negative size: -40";
    assert_eq!(rules.check(&container).unwrap_err(), words);
}

#[test]
fn schemas_are_refused_in_the_originals_words() {
    refused(json!({"type": "unknown"}), "unknown type name: \"unknown\"");
    refused(json!({}), "missing type: map[]");
    refused(json!({"a": [1, "b"], "c": null}), "missing type: map[a:[1 b] c:<nil>]");
    refused(json!({"type": "record"}), "Record ought to have valid name: schema ought to have name key");
    refused(json!({"type": "record", "name": "X"}), "Record \"X\" ought to have fields key");
    let none = json!({"type": "record", "name": "X", "fields": []});
    refused(none, "Record \"X\" fields ought to be non-empty array: []");
    refused(json!({"type": "array"}), "Array ought to have items key");
    let deep = (0..100).fold(json!("int"), |inner, _| json!({"type": "array", "items": inner}));
    assert!(AvroRules::compile(&deep).unwrap_err().ends_with("schema is nested too deeply"));
    let wide = json!({"type": "record", "name": "X", "fields":
        (0..20_000).map(|at| json!({"name": format!("f{at}"), "type": "int"})).collect::<Vec<_>>()});
    assert!(AvroRules::compile(&wide).unwrap_err().ends_with("schema has too many parts"));
}

#[test]
fn each_type_is_refused_in_the_originals_words() {
    let record = |kind: &str| {
        format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{{"name":"f","type":{kind}}}]}}"#)
    };
    for (schema, datum, words) in [
        (r#""int""#.to_owned(), &[0x80][..], "short buffer"),
        (
            r#""boolean""#.to_owned(),
            &[2],
            "cannot decode binary boolean: expected: Go byte(0) or byte(1); received: byte(2)",
        ),
        (r#""double""#.to_owned(), &[0; 7], "cannot decode binary double: short buffer"),
        (r#""bytes""#.to_owned(), &[4, 0], "cannot decode binary bytes: short buffer"),
        (
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#.to_owned(),
            &[4],
            "cannot decode binary enum \"E\": index ought to be between 0 and 1; read index: 2",
        ),
        (
            r#"["null","double"]"#.to_owned(),
            &[6],
            "cannot decode binary union: index ought to be between 0 and 1; read index: 3",
        ),
        (
            r#"["null","double"]"#.to_owned(),
            &[2],
            "cannot decode binary union item 2: cannot decode binary double: short buffer",
        ),
        (
            r#"{"type":"array","items":"boolean"}"#.to_owned(),
            &[4, 1, 9, 0],
            "cannot decode binary array item 2: cannot decode binary boolean: expected: Go byte(0) or byte(1); received: byte(9)",
        ),
        (r#"{"type":"array","items":"long"}"#.to_owned(), &[], "cannot decode binary array block count: short buffer"),
        (
            r#"{"type":"map","values":"null"}"#.to_owned(),
            &[4, 2, b'a', 2, b'a', 0],
            "cannot decode binary map: duplicate key: \"a\"",
        ),
        (
            r#"{"type":"fixed","name":"F","size":4}"#.to_owned(),
            &[0, 1],
            "cannot decode binary fixed \"F\": schema size exceeds remaining buffer size: 4 > 2 (short buffer)",
        ),
        (
            record("\"float\""),
            &[1],
            "cannot decode binary record \"n.R\" field \"f\": cannot decode binary float: short buffer",
        ),
    ] {
        assert_eq!(rules(&schema).check(datum).unwrap_err(), words, "{schema}");
    }
}

#[test]
fn hostile_data_take_neither_time_nor_stack() {
    let number = |value: i64| {
        let mut bytes = Vec::new();
        let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
        while rest > 0x7f {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let nulls = rules(r#"{"type":"array","items":"null"}"#);
    assert!(nulls.check(&number(i64::from(i32::MAX))).unwrap_err().ends_with("datum takes too many steps"));
    for huge in [i64::MAX, i64::MIN, i64::from(i32::MAX) + 1] {
        assert!(nulls.check(&[number(huge), vec![0]].concat()).is_err());
        assert!(rules(r#""bytes""#).check(&number(huge)).is_err());
    }
    let list = rules(r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#);
    assert_eq!(list.check(&[2, 2, 2, 0]), Ok(()));
    assert!(list.check(&[2; 1_000_000]).is_err());
    let endless = rules(r#"{"type":"record","name":"L","fields":[{"name":"next","type":"L"}]}"#);
    assert!(endless.check(&[]).is_err());
    let long = rules(r#""long""#);
    assert!(long.check(&[0xff; 11]).is_err());
    assert!(rules(r#""string""#).check(&[2, 0xff]).is_err(), "strings are UTF-8");
}
