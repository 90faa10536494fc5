//! Messages that are JSON documents of ten fields, for topics with a schema. As with noise, every byte is known from producer and
//! sequence number.

use crate::load::{NOISE_TEXT, Stamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::LazyLock;

/// Letters of a document's text: the base64 of 1,023 bytes.
pub(crate) const LETTERS: usize = 1_364;
/// The schema that documents keep.
pub(crate) const SCHEMA: &str = r#"{"type":"json","schema":{"type":"object","additionalProperties":false,
    "required":["timestamp","service","hostname","metric","status","summary"],"properties":{
    "timestamp":{"type":"string","minLength":20},"service":{"type":"string"},"hostname":{"type":"string","maxLength":255},
    "metric":{"type":"string"},"status":{"enum":["OK","WARNING","CRITICAL"]},"site":{"type":"string"},"vo":{"type":"string"},
    "duration":{"type":"number","minimum":0},"attempts":{"type":"integer","minimum":1},"summary":{"type":"string"}}}}"#;
/// A document up to its stamp: a multiple of three bytes, so that its base64 ends there.
const HEAD: &str = concat!(
    r#"{"timestamp":"2026-01-02T03:04:05Z","service":"org.argo.ams","hostname":"ams.example.org","#,
    r#""metric":"argo.AMS-Check","status":"OK","site":"SITE-A","vo":"ops","duration":0.25,"attempts":3,"summary":    ""#
);
const TAIL: &str = "\"} ";
/// Letters of a stamp's 24 bytes.
const STAMP: usize = 32;

/// The texts of head and tail, and filler: letters that stand for letters.
static PARTS: LazyLock<(String, String, String)> = LazyLock::new(|| {
    let filler: String = NOISE_TEXT.chars().filter(char::is_ascii_alphanumeric).collect();
    let whole = filler.get(..filler.len() / 3 * 3).unwrap_or_default();
    (STANDARD.encode(HEAD), STANDARD.encode(TAIL), STANDARD.encode(whole))
});

/// Appends the document's text.
pub(crate) fn write(stamp: Stamp, out: &mut String) {
    let (head, tail, _) = &*PARTS;
    out.push_str(head);
    STANDARD.encode_string(format!("{:08x}{:016x}", stamp.producer, stamp.sequence), out);
    out.push_str(filler(stamp));
    out.push_str(tail);
}

/// The message that this text is, if every byte of it is right.
pub(crate) fn read(text: &str) -> Option<Stamp> {
    let (head, tail, _) = &*PARTS;
    let (stamp, rest) = text.strip_prefix(head.as_str())?.strip_suffix(tail.as_str())?.split_at_checked(STAMP)?;
    let stamp = String::from_utf8(STANDARD.decode(stamp).ok()?).ok()?;
    let (producer, sequence) = stamp.split_at_checked(8)?;
    let producer = u32::from_str_radix(producer, 16).ok()?;
    let stamp = Stamp { producer, sequence: u64::from_str_radix(sequence, 16).ok()? };
    (rest == filler(stamp)).then_some(stamp)
}

fn filler(stamp: Stamp) -> &'static str {
    let (head, tail, filler) = &*PARTS;
    let length = LETTERS - head.len() - tail.len() - STAMP;
    let from = stamp.place() % ((filler.len() - length) / 4) * 4;
    filler.get(from..from + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_json_of_its_length_and_reads_back() {
        let stamp = Stamp { producer: 17, sequence: 123_456_789 };
        let mut text = String::new();
        write(stamp, &mut text);
        assert_eq!((text.len(), read(&text)), (LETTERS, Some(stamp)));
        let document: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&text).unwrap()).unwrap();
        assert_eq!(document.as_object().unwrap().len(), 10);
        for at in [0, text.len() / 2, text.len() - 5] {
            let mut other = text.clone();
            let letter = if other.get(at..=at) == Some("A") { "B" } else { "A" };
            other.replace_range(at..=at, letter);
            assert_eq!(read(&other), None, "letter {at} does not count");
        }
    }
}
