//! Writes JSON as Go's encoder does, byte for byte: field order as called, three indentations, and the escapes of `<`, `>`, `&`, U+2028
//! and U+2029. Everything goes straight into one buffer.

use super::payload;
use crate::domain::Timestamp;
use serde_json::Value;
use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

/// How a body is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Indent {
    /// Three blanks a level: most bodies.
    Three,
    /// One blank a level: status, version and the averages.
    One,
    /// No white space at all.
    Compact,
}

/// A body being written.
#[derive(Debug)]
pub(crate) struct Json {
    out: Vec<u8>,
    step: usize,
    depth: usize,
    /// Nothing stands in the present object or array yet.
    first: bool,
    /// The time written last, and where: messages that were stored together have the same.
    time: Option<(Timestamp, Range<usize>)>,
}

/// Renders a body that is one object of these fields.
pub(crate) fn object(indent: Indent, fields: impl FnOnce(&mut Json)) -> Vec<u8> {
    object_of(indent, 256, fields)
}

/// As [`object`], with room for about so many bytes made at once.
pub(crate) fn object_of(indent: Indent, bytes: usize, fields: impl FnOnce(&mut Json)) -> Vec<u8> {
    let step = match indent {
        Indent::Three => 3,
        Indent::One => 1,
        Indent::Compact => 0,
    };
    let mut json = Json { out: Vec::with_capacity(bytes), step, depth: 0, first: true, time: None };
    json.object(fields);
    json.out
}

impl Json {
    /// Goes to the next field of the present object and writes its name; its value must follow. Names are plain ASCII.
    pub(crate) fn field(&mut self, name: &str) -> &mut Self {
        self.item();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.step == 0 { b"\":" } else { b"\": " });
        self
    }

    /// Goes to the next field of a map, whose name may be any text.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Self {
        self.item();
        self.string(name);
        self.out.extend_from_slice(if self.step == 0 { b":" } else { b": " });
        self
    }

    /// Goes to the next place of the present array; a value must follow.
    pub(crate) fn item(&mut self) -> &mut Self {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.line();
        self
    }

    fn line(&mut self) {
        if self.step > 0 {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + self.step * self.depth, b' ');
        }
    }

    /// A JSON value, names in order, numbers as Go writes those it has read.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.number("null"),
            Value::Bool(flag) => self.boolean(*flag),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => self.float(float),
                _ => self.number(number),
            },
            Value::String(text) => self.string(text),
            Value::Array(items) => self.array(|json| items.iter().for_each(|item| json.item().value(item))),
            Value::Object(fields) => {
                self.object(|json| fields.iter().for_each(|(name, field)| json.entry(name).value(field)));
            }
        }
    }

    /// The shortest digits that read back the same; with an exponent when very large or small.
    pub(crate) fn float(&mut self, float: f64) {
        let size = float.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{float:e}");
            self.number(if size >= 1.0 { text.replace('e', "e+") } else { text });
        } else {
            self.number(float);
        }
    }

    /// An object of these fields.
    pub(crate) fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.enclose(b'{', b'}', fields);
    }

    /// An array of these items.
    pub(crate) fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.enclose(b'[', b']', items);
    }

    /// An array of strings.
    pub(crate) fn strings<S: AsRef<str>>(&mut self, items: impl IntoIterator<Item = S>) {
        self.array(|json| items.into_iter().for_each(|item| json.item().string(item.as_ref())));
    }

    fn enclose(&mut self, open: u8, close: u8, fill: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.depth += 1;
        self.first = true;
        fill(self);
        self.depth -= 1;
        if !self.first {
            self.line();
        }
        self.first = false;
        self.out.push(close);
    }

    /// A string.
    pub(crate) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        escape(text, |piece| self.out.extend_from_slice(piece));
        self.out.push(b'"');
    }

    /// The field of this name, unless the text is empty.
    pub(crate) fn field_unless_empty(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.field(name).string(text);
        }
    }

    /// A string of plain ASCII, without looking at it: a number in quotes, an id.
    pub(crate) fn quoted(&mut self, text: impl Display) {
        self.out.push(b'"');
        self.number(text);
        self.out.push(b'"');
    }

    /// A number.
    pub(crate) fn number(&mut self, number: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.out, "{number}");
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, value: bool) {
        self.number(value);
    }

    /// Bytes as a string of base64.
    pub(crate) fn base64(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        payload::encode(bytes, &mut self.out);
        self.out.push(b'"');
    }

    /// A time in whole seconds.
    pub(crate) fn seconds(&mut self, time: Timestamp) {
        self.quoted(super::times::seconds(time));
    }

    /// A time with its fraction of a second, if it has one.
    pub(crate) fn time(&mut self, time: Timestamp) {
        if let Some((_, place)) = self.time.clone().filter(|(at, _)| *at == time) {
            self.out.extend_from_within(place);
            return;
        }
        let begin = self.out.len();
        self.out.push(b'"');
        super::times::write(time, &mut self.out);
        self.out.push(b'"');
        self.time = Some((time, begin..self.out.len()));
    }
}

/// How many bytes a text takes as a JSON string, without its quotes.
pub(crate) fn escaped_length(text: &str) -> usize {
    let mut length = 0;
    escape(text, |piece| length += piece.len());
    length
}

/// Gives out a text as the inside of a JSON string, piece by piece.
fn escape(text: &str, mut out: impl FnMut(&[u8])) {
    const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEXADECIMAL.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, special) = rest.split_at_checked(place).unwrap_or((rest, &[]));
        out(plain);
        rest = match special {
            [b'"', after @ ..] => (out(b"\\\""), after).1,
            [b'\\', after @ ..] => (out(b"\\\\"), after).1,
            [b'\n', after @ ..] => (out(b"\\n"), after).1,
            [b'\r', after @ ..] => (out(b"\\r"), after).1,
            [b'\t', after @ ..] => (out(b"\\t"), after).1,
            [0x08, after @ ..] => (out(b"\\b"), after).1,
            [0x0c, after @ ..] => (out(b"\\f"), after).1,
            [0xe2, 0x80, 0xa8, after @ ..] => (out(b"\\u2028"), after).1,
            [0xe2, 0x80, 0xa9, after @ ..] => (out(b"\\u2029"), after).1,
            [0xe2, after @ ..] => (out(&[0xe2]), after).1,
            [byte, after @ ..] => (out(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(*byte)]), after).1,
            [] => special,
        };
    }
    out(rest);
}

/// Whether a byte may begin something that is escaped; 0xe2 begins U+2028 and U+2029, among much else.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: &mut Json) {
        json.field("name").string("a");
        json.field("none").object(|_| ());
        json.field("empty").array(|_| ());
        json.field("list").array(|json| {
            json.item().object(|json| json.field("n").number(1));
            json.item().number(2);
        });
        json.field_unless_empty("left", "");
        json.field("yes").boolean(true);
    }

    #[test]
    fn bodies_are_laid_out_as_go_does() {
        let three = object(Indent::Three, sample);
        let expected = "{\n   \"name\": \"a\",\n   \"none\": {},\n   \"empty\": [],\n   \"list\": [\n      {\n         \"n\": 1\n      },\n      2\n   ],\n   \"yes\": true\n}";
        assert_eq!(String::from_utf8(three).unwrap(), expected);
        let one = object(Indent::One, |json| json.field("a").strings(["x", "y"]));
        assert_eq!(String::from_utf8(one).unwrap(), "{\n \"a\": [\n  \"x\",\n  \"y\"\n ]\n}");
        let compact = object(Indent::Compact, sample);
        let expected = r#"{"name":"a","none":{},"empty":[],"list":[{"n":1},2],"yes":true}"#;
        assert_eq!(String::from_utf8(compact).unwrap(), expected);
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, expected) in [
            (0.0, "0"),
            (10.0, "10"),
            (0.03, "0.03"),
            (1.0 / 3.0, "0.3333333333333333"),
            (0.000_001, "0.000001"),
            (0.000_000_25, "2.5e-7"),
            (123_456_789.5, "123456789.5"),
            (1e20, "100000000000000000000"),
            (1.5e21, "1.5e+21"),
        ] {
            let body = object(Indent::Compact, |json| json.field("n").float(number));
            assert_eq!(String::from_utf8(body).unwrap(), format!("{{\"n\":{expected}}}"));
        }
    }

    #[test]
    fn values_are_written_as_go_writes_what_it_has_read() {
        let value: Value =
            serde_json::from_str(r#"{"b":[1.0,0.5,1e21,1.5e-7,18446744073709551615],"a":{"<":null},"c":true}"#)
                .unwrap();
        let body = object(Indent::Compact, |json| json.field("v").value(&value));
        let expected = r#"{"v":{"a":{"\u003c":null},"b":[1,0.5,1e+21,1.5e-7,18446744073709551615],"c":true}}"#;
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let text = "a\"b\\c<d>e&f\u{2028}\u{2029}–é𝄞\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}";
        let expected = "a\\\"b\\\\c\\u003cd\\u003ee\\u0026f\\u2028\\u2029–é𝄞\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}";
        let body = object(Indent::Compact, |json| json.field("s").string(text));
        assert_eq!(String::from_utf8(body).unwrap(), format!("{{\"s\":\"{expected}\"}}"));
        assert_eq!(escaped_length(text), expected.len());
    }

    proptest::proptest! {
        #[test]
        fn any_text_reads_back(text: String) {
            let body = object(Indent::Three, |json| json.entry(&text).string(&text));
            let read: std::collections::BTreeMap<String, String> = serde_json::from_slice(&body).unwrap();
            proptest::prop_assert_eq!(read.get(&text), Some(&text));
        }
    }
}
