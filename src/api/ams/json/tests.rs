//! The decoder against what Go's does, against `serde_json`, and against any bytes.

use super::*;
use proptest::prelude::*;

fn string_of(input: &[u8]) -> Result<String> {
    let mut reader = Reader::new(input);
    let text = reader.string()?.into_owned();
    reader.end()?;
    Ok(text)
}

fn accepts(input: &[u8]) -> bool {
    let mut reader = Reader::new(input);
    reader.skip().and_then(|()| reader.end()).is_ok()
}

#[test]
fn strings_are_read_as_go_reads_them() {
    let table: [(&[u8], &str); 14] = [
        (br#""""#, ""),
        (br#""plain""#, "plain"),
        ("\"héé ✓ 𝄞\"".as_bytes(), "héé ✓ 𝄞"),
        (br#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (br#""\u0041\u00e9""#, "Aé"),
        (br#""\ud834\udd1e""#, "𝄞"),
        (br#""\ud834""#, "\u{fffd}"),
        (br#""\udd1ex""#, "\u{fffd}x"),
        (br#""\ud834\u0041""#, "\u{fffd}A"),
        (br#""\ud834\ud834\udd1e""#, "\u{fffd}𝄞"),
        (br#""\u0000""#, "\0"),
        (b"\"a\xffb\"", "a\u{fffd}b"),
        (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        (b"\"\\n\xff\x7f\"", "\n\u{fffd}\u{7f}"),
    ];
    for (input, expected) in table {
        assert_eq!(string_of(input).as_deref(), Ok(expected), "{}", input.escape_ascii());
    }
}

#[test]
fn strings_that_are_none_are_refused() {
    let table: [&[u8]; 11] = [
        b"",
        b"\"",
        b"\"abc",
        b"\"\\",
        b"\"\\\"",
        br#""\x""#,
        br#""\u12""#,
        br#""\u12g4""#,
        b"\"line\nbreak\"",
        b"'a'",
        b"\"a\" b",
    ];
    for input in table {
        assert!(string_of(input).is_err(), "{}", input.escape_ascii());
    }
}

#[test]
fn integers_have_neither_fraction_nor_exponent_and_fit_64_bits() {
    let integer = |input: &str| {
        let mut reader = Reader::new(input.as_bytes());
        reader.optional_integer().and_then(|number| reader.end().map(|()| number)).ok()
    };
    assert_eq!(integer("10"), Some(Some(10)));
    assert_eq!(integer(" -0 "), Some(Some(0)));
    assert_eq!(integer("null"), Some(None));
    assert_eq!(integer("9223372036854775807"), Some(Some(i64::MAX)));
    assert_eq!(integer("-9223372036854775808"), Some(Some(i64::MIN)));
    for wrong in ["10.0", "1e1", "\"10\"", "9223372036854775808", "01", "+1", "-", "true", "[1]", "1 2", "0x1", ""] {
        assert_eq!(integer(wrong), None, "{wrong}");
    }
}

#[test]
fn a_scalar_is_the_text_it_was_written_with() {
    for (input, expected) in
        [("\"5\"", Some("5")), ("5", Some("5")), ("true", Some("true")), ("\"false\"", Some("false")), ("null", None)]
    {
        assert_eq!(Reader::new(input.as_bytes()).optional_scalar().unwrap().as_deref(), expected, "{input}");
    }
    assert!(Reader::new(b"{}").optional_scalar().is_err());
    assert!(Reader::new(b"[]").optional_scalar().is_err());
}

#[test]
fn booleans_are_booleans() {
    let boolean = |input: &str| Reader::new(input.as_bytes()).optional_boolean().ok();
    assert_eq!(boolean("true"), Some(Some(true)));
    assert_eq!(boolean("false"), Some(Some(false)));
    assert_eq!(boolean("null"), Some(None));
    for wrong in ["\"true\"", "1", "tru", "nul", "[]"] {
        assert_eq!(boolean(wrong), None, "{wrong}");
    }
}

#[test]
fn documents_outside_the_grammar_are_refused() {
    for right in ["null", "{}", " { } ", "{\"a\":[1,{\"b\":null}],\"c\":-1.5e+3}", "[]", "\"x\"", "0", "true"] {
        assert!(accepts(right.as_bytes()), "{right}");
    }
    for wrong in [
        "",
        " ",
        "{",
        "}",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "[1,]",
        "[,]",
        "[1 2]",
        "nul",
        "nulll",
        "tru",
        "1.",
        ".5",
        "1e",
        "-",
        "{} {}",
        "{}x",
        "\u{feff}{}",
        "{\"a\":1 \"b\":2}",
    ] {
        assert!(!accepts(wrong.as_bytes()), "{wrong}");
    }
    assert!(!accepts(b"{\"a\":\xff}"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(accepts(&nested(DEPTH_MAX as usize)));
    assert!(!accepts(&nested(DEPTH_MAX as usize + 1)));
    assert!(!accepts(&vec![b'['; 1 << 20]));
    assert!(!accepts("{\"a\":".repeat(1 << 18).as_bytes()));
}

#[test]
fn fields_match_without_case_unknown_ones_are_passed_over_and_the_last_wins() {
    let mut seen = Vec::new();
    let body = br#"{"DATA":"1","other":{"data":[1,2,{"x":"\u00e9"}]},"data":"2","Data":null}"#;
    document(body, |name, reader| {
        if is(name, "data") {
            seen.extend(reader.optional_string()?.map(Cow::into_owned));
            Ok(())
        } else {
            reader.skip()
        }
    })
    .unwrap();
    assert_eq!(seen, ["1", "2"]);
}

#[test]
fn a_document_is_an_object_or_null_and_nothing_follows() {
    let check = |body: &str| document(body.as_bytes(), |_, reader| reader.skip());
    for right in ["{}", "null", " null\n", "{\"a\":1}\r\n\t "] {
        assert!(check(right).is_ok(), "{right}");
    }
    for wrong in ["", "[]", "\"\"", "1", "{}{}", "null null", "{} x"] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}

/// Any JSON value.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Rebuilds a tree with the reader.
fn tree(reader: &mut Reader<'_>) -> Result<serde_json::Value> {
    Ok(match reader.peek()? {
        b'{' => {
            let mut map = serde_json::Map::new();
            reader.object(&mut |name, reader| {
                map.insert(name.to_string(), tree(reader)?);
                Ok(())
            })?;
            map.into()
        }
        b'[' => {
            let mut items = Vec::new();
            reader.array(|reader| {
                items.push(tree(reader)?);
                Ok(())
            })?;
            items.into()
        }
        b'"' => reader.string()?.into_owned().into(),
        b't' | b'f' => reader.optional_boolean()?.into(),
        b'n' => reader.null().map(|_| serde_json::Value::Null)?,
        _ => serde_json::from_str(reader.number()?).map_err(|_| reader.malformed())?,
    })
}

proptest! {
    #[test]
    fn it_reads_what_serde_json_wrote(value in value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut reader = Reader::new(text.as_bytes());
        let read = tree(&mut reader);
        prop_assert!(reader.end().is_ok());
        prop_assert_eq!(read.ok(), serde_json::from_str(&text).ok());
        prop_assert!(accepts(text.as_bytes()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = accepts(&bytes);
        let _ = string_of(&[b"\"", &bytes[..]].concat());
    }

    #[test]
    fn it_agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}",:\\u0-9a-f .eE+truefalsn-]{0,24}"#) {
        // `RawValue` checks the grammar alone: a number beyond the range of f64 is JSON too.
        let valid = serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok();
        prop_assert_eq!(accepts(text.as_bytes()), valid, "{}", text);
    }
}
