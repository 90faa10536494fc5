//! Whole messages: payload and attributes together.

use super::*;

fn compiled(kind: SchemaKind, payload: &str, attributes: Option<&str>) -> Result<Compiled, String> {
    Compiled::new(&Rules { kind, payload: payload.to_owned(), attributes: attributes.map(str::to_owned) })
}

#[test]
fn a_message_is_checked_payload_first_then_attributes() {
    let site = r#"{"required":["site"],"properties":{"site":{"enum":["A","B"]}},"additionalProperties":false}"#;
    let rules = compiled(SchemaKind::Json, r#"{"type":"object"}"#, Some(site)).unwrap();
    let check = |form, payload: &[u8], attributes: &[(&'static str, &'static str)]| {
        rules.check(form, payload, attributes.iter().copied())
    };
    assert_eq!(check(PayloadForm::Binary, b"{}", &[("site", "A")]), Ok(()));
    let broken = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(check(PayloadForm::Binary, b"{}", &[]), Err(Fault::Attributes(broken(&["(root): site is required"]))));
    assert_eq!(
        check(PayloadForm::Binary, b"{}", &[("site", "C"), ("x", "")]),
        Err(Fault::Attributes(broken(&[
            "(root): Additional property x is not allowed",
            "site: site must be one of the following: \"A\", \"B\""
        ])))
    );
    let mistyped = broken(&["(root): Invalid type. Expected: object, given: integer"]);
    assert_eq!(check(PayloadForm::Binary, b"1", &[]), Err(Fault::Payload(mistyped)));
    assert_eq!(check(PayloadForm::Verbatim, b"not base64!", &[]), Err(Fault::NotBase64(3)));
    assert_eq!(check(PayloadForm::Verbatim, b"e\n30=", &[("site", "B")]), Ok(()), "line ends are passed over");
}

#[test]
fn rules_that_cannot_be_are_refused() {
    assert!(compiled(SchemaKind::Json, &"[".repeat(1_000), None).is_err());
    let large = format!(r#"{{"description":"{}"}}"#, "x".repeat(SCHEMA_BYTES_MAX));
    assert!(compiled(SchemaKind::Json, &large, None).unwrap_err().contains("larger"));
    let attributes = compiled(SchemaKind::Avro, r#""string""#, Some(r#"{"type":5}"#)).unwrap_err();
    assert!(attributes.starts_with("attributes: Invalid type."));
}

#[test]
fn a_storm_of_attributes_is_answered_soon() {
    let rules = compiled(SchemaKind::Json, "{}", Some(r#"{"additionalProperties":false}"#)).unwrap();
    let names: Vec<String> = (0..1_024).map(|at| format!("a{at}")).collect();
    let attributes = names.iter().map(|name| (name.as_str(), "x"));
    let Err(Fault::Attributes(broken)) = rules.check(PayloadForm::Binary, b"{}", attributes) else { panic!() };
    assert_eq!(broken.len(), 100, "the rest is not told");
}
