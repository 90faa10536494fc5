//! The words of the original, and what bombs come to.

use super::*;
use serde_json::json;

fn rules(schema: Value) -> JsonRules {
    JsonRules::compile(schema).unwrap()
}

#[track_caller]
fn refused(schema: Value, words: &str) {
    assert_eq!(JsonRules::compile(schema).err().as_deref(), Some(words));
}

#[track_caller]
fn breaks(schema: Value, document: Value, lines: &[&str]) {
    let broken = rules(schema).broken(&document).unwrap_or_default();
    assert_eq!(broken, lines);
}

#[test]
fn schemas_are_refused_in_the_originals_words() {
    let types = "has a primitive type that is NOT VALID -- given: /unknown/ Expected valid values are:\
                 [array boolean integer number null object string]";
    refused(json!({"type": "unknown"}), types);
    refused(json!({"properties": {"a": {"type": "unknown"}}}), types);
    refused(json!({"required": "a"}), "required must be of an array");
    refused(json!({"properties": []}), "properties must be of type object");
    refused(json!({"minimum": "a"}), "minimum must be of a number");
    refused(json!({"pattern": "("}), "pattern must be a valid regex");
    refused(json!({"type": 5}), "Invalid type. Expected: string/array of strings, given: type");
    refused(json!({"minLength": -1}), "minLength must be greater than or equal to 0");
    refused(json!({"minItems": 3, "maxItems": 2}), "minItems cannot be greater than maxItems");
    refused(json!({"allOf": {}}), "allOf must be of an array");
    refused(json!({"$ref": "#/definitions/none"}), "Object has no key 'none'");
}

#[test]
fn nothing_is_fetched_or_read() {
    for outside in ["http://127.0.0.1/x.json", "file:///etc/passwd", "other.json", "//host/x#", "#name", "urn:x:y"] {
        for schema in [
            json!({"$ref": outside}),
            json!({"$id": "http://127.0.0.1/", "properties": {"a": {"$ref": outside}}}),
            json!({"definitions": {"a": {"items": {"$ref": outside}}}}),
        ] {
            let error = JsonRules::compile(schema).unwrap_err();
            assert!(error.contains(outside) || error.starts_with("Object has no key"), "{outside}: {error}");
        }
    }
    // A schema of an address may name itself by it.
    let own = json!({"$schema": "http://nobody.invalid/schema", "$id": "http://nobody.invalid/a",
                     "$ref": "http://nobody.invalid/a#/definitions/a", "definitions": {"a": {"type": "string"}}});
    assert!(rules(own).broken(&json!(1)).is_some());
}

#[test]
fn one_rule_each_is_told_in_the_originals_words() {
    let mut wrong = Vec::new();
    for (schema, document, words) in [
        (json!({"required": ["email"]}), json!({}), "(root): email is required"),
        (json!({"type": "string"}), json!(1), "(root): Invalid type. Expected: string, given: integer"),
        (json!({"type": "integer"}), json!(1.5), "(root): Invalid type. Expected: integer, given: number"),
        (
            json!({"type": ["string", "null"]}),
            json!(2.0),
            "(root): Invalid type. Expected: [string,null], given: integer",
        ),
        (json!({"additionalProperties": false}), json!({"x": 1}), "(root): Additional property x is not allowed"),
        (json!({"minLength": 2}), json!("a"), "(root): String length must be greater than or equal to 2"),
        (json!({"maxLength": 1}), json!("ab"), "(root): String length must be less than or equal to 1"),
        (json!({"pattern": "^a+$"}), json!("b"), "(root): Does not match pattern '^a+$'"),
        (json!({"format": "ipv4"}), json!("x"), "(root): Does not match format 'ipv4'"),
        (json!({"minimum": 2}), json!(1), "(root): Must be greater than or equal to 2"),
        (json!({"exclusiveMinimum": 2}), json!(2), "(root): Must be greater than 2"),
        (json!({"minimum": 2, "exclusiveMinimum": true}), json!(2), "(root): Must be greater than 2"),
        (json!({"maximum": 2.5}), json!(3), "(root): Must be less than or equal to 2.5"),
        (json!({"exclusiveMaximum": 2}), json!(2), "(root): Must be less than 2"),
        (json!({"multipleOf": 2}), json!(3), "(root): Must be a multiple of 2"),
        (json!({"enum": ["a", 1]}), json!("b"), "(root): (root) must be one of the following: \"a\", 1"),
        (json!({"const": {"a": 1}}), json!(1), "(root): (root) does not match: {\"a\":1}"),
        (json!({"minItems": 1}), json!([]), "(root): Array must have at least 1 items"),
        (json!({"maxItems": 1}), json!([1, 2]), "(root): Array must have at most 1 items"),
        (json!({"uniqueItems": true}), json!([1, 2, 1]), "(root): array items[0,2] must be unique"),
        (json!({"contains": {"const": 1}}), json!([2]), "(root): At least one of the items must match"),
        (
            json!({"items": [{}], "additionalItems": false}),
            json!([1, 2]),
            "(root): No additional items allowed on array",
        ),
        (json!({"minProperties": 1}), json!({}), "(root): Must have at least 1 properties"),
        (json!({"maxProperties": 0}), json!({"a": 1}), "(root): Must have at most 0 properties"),
        (json!({"dependencies": {"a": ["b"]}}), json!({"a": 1}), "(root): Has a dependency on b"),
        (json!({"not": {}}), json!(1), "(root): Must not validate the schema (not)"),
        (json!({"oneOf": [{}, {}]}), json!(1), "(root): Must validate one and only one schema (oneOf)"),
        (json!({"properties": {"a": false}}), json!({"a": 1}), "a: False always fails validation"),
        (
            json!({"properties": {"o": {"properties": {"k": {"type": "null"}}}}}),
            json!({"o": {"k": true}}),
            "o.k: Invalid type. Expected: null, given: boolean",
        ),
        (
            json!({"properties": {"d": {"items": {"enum": [1]}}}}),
            json!({"d": [1, 2]}),
            "d.1: d.1 must be one of the following: 1",
        ),
        (
            json!({"$ref": "#/definitions/a", "definitions": {"a": {"type": ["null", "array"]}}}),
            json!(1),
            "(root): Invalid type. Expected: [null,array], given: integer",
        ),
    ] {
        let broken = rules(schema).broken(&document).unwrap_or_default();
        wrong.extend((broken != [words]).then_some((words, broken)));
    }
    assert_eq!(wrong, []);
}

#[test]
fn several_are_told_in_the_originals_order() {
    let person = json!({"type": "object", "required": ["email", "name"], "additionalProperties": false,
        "properties": {"telephone": {"type": "string"}, "name": {}, "email": {}, "age": {"minimum": 0}}});
    breaks(
        person,
        json!({"telephone": 5, "age": -1, "x": 0}),
        &[
            "(root): email is required",
            "(root): name is required",
            "(root): Additional property x is not allowed",
            "age: Must be greater than or equal to 0",
            "telephone: Invalid type. Expected: string, given: integer",
        ],
    );
    breaks(
        json!({"allOf": [{"required": ["a"]}, {"properties": {"b": {"type": "string"}}}], "required": ["c"]}),
        json!({"b": 1}),
        &[
            "(root): a is required",
            "b: Invalid type. Expected: string, given: integer",
            "(root): Must validate all the schemas (allOf)",
            "(root): c is required",
        ],
    );
    breaks(
        json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
        json!({"a": 1}),
        &["(root): Must validate \"then\" as \"if\" was valid", "(root): b is required"],
    );
    breaks(
        json!({"anyOf": [{"type": "string"}, {"type": "object", "required": ["a", "b"]}]}),
        json!({}),
        &["(root): Must validate at least one schema (anyOf)", "(root): a is required", "(root): b is required"],
    );
    breaks(
        json!({"propertyNames": {"maxLength": 1}}),
        json!({"ab": 1}),
        &["(root): Property name of \"ab\" does not match", "(root): String length must be less than or equal to 1"],
    );
    breaks(
        json!({"type": "object", "enum": [1]}),
        json!("x"),
        &["(root): Invalid type. Expected: object, given: string"],
    );
}

#[test]
fn only_the_first_value_of_a_text_counts() {
    let rules = rules(json!({"type": "object"}));
    assert_eq!(rules.check(b" {} trailing {"), Ok(()));
    for (text, why) in
        [(&b""[..], "EOF"), (b"{", "unexpected EOF"), (b"not", "invalid character 'o' in literal null (expecting 'u')")]
    {
        assert_eq!(rules.check(text), Err(Fault::NotJson(why.to_owned())));
    }
    assert_eq!(rules.check(b"{\"a\":\"\xff\"}"), Ok(()), "as Go does");
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(matches!(rules.check(&deep), Err(Fault::NotJson(_))));
}

/// A schema or document that must be refused or answered within a second or so, even on a slow machine.
#[track_caller]
fn soon<T>(work: impl FnOnce() -> T + Send + 'static) -> T
where
    T: Send + 'static,
{
    let (tell, told) = std::sync::mpsc::channel();
    // As little stack as a worker has.
    std::thread::Builder::new().stack_size(2 << 20).spawn(move || tell.send(work())).unwrap();
    told.recv_timeout(std::time::Duration::from_secs(20)).expect("it took too long, or died")
}

#[test]
fn schema_bombs_are_refused_soon() {
    let nested = |depth: usize, open: &str, close: &str| {
        let text = format!("{}true{}", open.repeat(depth), close.repeat(depth));
        let mut reader = serde_json::Deserializer::from_str(&text);
        Value::deserialize(&mut reader).unwrap_or(Value::Null)
    };
    let chain = |link: fn(usize) -> Value| {
        let mut all: serde_json::Map<String, Value> = (0..60).map(|at| (format!("d{at}"), link(at + 1))).collect();
        all.insert("d60".to_owned(), json!({"type": "string"}));
        json!({"$ref": "#/definitions/d0", "definitions": all})
    };
    for bomb in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}]}),
        json!({"not": {"$ref": "#/definitions/a"}, "definitions": {"a": {"allOf": [{"$ref": "#"}]}}}),
        nested(70, r#"{"not":"#, "}"),
        chain(
            |at| json!({"allOf": [{"$ref": format!("#/definitions/d{at}")}, {"$ref": format!("#/definitions/d{at}")}]}),
        ),
        json!({"pattern": "(a{1000}){1000}"}),
        json!({"pattern": "(?=a)b"}),
        json!({"pattern": r"(a)\1"}),
        json!({"patternProperties": {"x{1000}{1000}": {}}}),
        json!({"anyOf": vec![json!({"pattern": "a"}); 200]}),
        json!({"allOf": vec![json!({}); 5_000]}),
    ] {
        let told = bomb.to_string().chars().take(80).collect::<String>();
        let refused = soon(move || JsonRules::compile(bomb).err());
        assert!(refused.is_some(), "{told}");
    }
}

#[test]
fn parts_shared_by_many_compile_soon() {
    // Each level names the next one twice: 2^60 if it were written out.
    let mut all = serde_json::Map::new();
    for at in 0..60 {
        let next = json!({"$ref": format!("#/definitions/d{}", at + 1)});
        all.insert(format!("d{at}"), json!({"properties": {"a": next, "b": next}}));
    }
    all.insert("d60".to_owned(), json!({"type": "string"}));
    let schema = json!({"$ref": "#/definitions/d0", "definitions": all});
    soon(move || {
        if let Ok(rules) = JsonRules::compile(schema) {
            assert!(rules.broken(&json!({"a": {"b": {}}})).is_none());
        }
    });
}

#[test]
fn catastrophic_patterns_take_linear_time() {
    let found =
        soon(|| rules(json!({"pattern": "^(a+)+$"})).check(format!("\"{}!\"", "a".repeat(1_000_000)).as_bytes()));
    assert!(matches!(found, Err(Fault::Payload(_))));
}

#[test]
fn documents_that_take_too_long_are_refused_soon() {
    let twice =
        json!({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}, {"items": {"$ref": "#"}, "type": "array"}]});
    let text = [vec![b'['; 100], b"1".to_vec(), vec![b']'; 100]].concat();
    let found = soon(move || rules(twice).check(&text));
    assert_eq!(found, Err(Fault::Payload(vec!["(root): Takes too long to check against this schema".to_owned()])));
    let many = format!("[{}1]", "1,".repeat(500_000));
    let broken = soon(move || rules(json!({"items": {"type": "string"}})).check(many.as_bytes()));
    assert_eq!(broken, Err(Fault::Payload(vec!["0: Invalid type. Expected: string, given: integer".to_owned()])));
}
