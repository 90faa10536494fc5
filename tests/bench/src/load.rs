//! The messages: 1 KiB each, every byte of them known from the producer and the sequence number, so that reading back can compare.
//!
//! The text that goes over the wire is built directly in base64's own letters; the client spends no time on encoding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Characters of a message's `data`: the base64 of 1,024 bytes.
pub(crate) const TEXT: usize = 1_368;
/// Producer and sequence number, in hexadecimal digits, which are base64 letters too.
const STAMP: usize = 24;
/// The rest: filler, then one byte and padding.
const FILLER: usize = TEXT - STAMP - 4;
/// Filler is a piece of this much noise, another one for each message.
const NOISE: usize = 64 << 10;

static NOISE_TEXT: LazyLock<String> = LazyLock::new(|| {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS.get((state >> 58) as usize).copied().unwrap_or(b'A'))
    };
    (0..NOISE).map(|_| letter()).collect()
});

/// What a message's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Noise.
    Noise,
    /// A JSON document of ten fields, as [`SCHEMA`] wants it.
    Document,
}

/// The schema of documents.
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

/// The beginning and the end of a document's text, and what fills it: letters that stand for letters.
static DOCUMENT: LazyLock<(String, String, String)> = LazyLock::new(|| {
    let filler: String = NOISE_TEXT.chars().filter(char::is_ascii_alphanumeric).cycle().take(NOISE).collect();
    let whole = filler.get(..filler.len() / 3 * 3).unwrap_or_default();
    (STANDARD.encode(HEAD), STANDARD.encode(TAIL), STANDARD.encode(whole))
});

/// Which message: who sent it, and the how manieth it is of his.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp {
    pub(crate) producer: u32,
    pub(crate) sequence: u64,
}

impl Stamp {
    /// Appends the message's `data` text.
    pub(crate) fn write(self, out: &mut String) {
        let _ = write!(out, "{:08x}{:016x}", self.producer, self.sequence);
        out.push_str(self.filler());
        out.push_str("QQ==");
    }

    /// Appends the message as a document.
    fn write_document(self, out: &mut String) {
        let (head, tail, _) = &*DOCUMENT;
        out.push_str(head);
        STANDARD.encode_string(format!("{:08x}{:016x}", self.producer, self.sequence), out);
        out.push_str(self.document_filler());
        out.push_str(tail);
    }

    /// The message that this text of a document is.
    fn read_document(text: &str) -> Option<Self> {
        let (head, tail, _) = &*DOCUMENT;
        let (stamp, filler) =
            text.strip_prefix(head.as_str())?.strip_suffix(tail.as_str())?.split_at_checked(STAMP / 3 * 4)?;
        let stamp = String::from_utf8(STANDARD.decode(stamp).ok()?).ok()?;
        let (producer, sequence) = stamp.split_at_checked(8)?;
        let stamp = Self {
            producer: u32::from_str_radix(producer, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        };
        (filler == stamp.document_filler()).then_some(stamp)
    }

    fn document_filler(self) -> &'static str {
        let (head, tail, filler) = &*DOCUMENT;
        let length = TEXT - head.len() - tail.len() - STAMP / 3 * 4;
        let from = self.spread() % ((filler.len() - length) / 4) * 4;
        filler.get(from..from + length).unwrap_or_default()
    }

    /// The message that this text is, if every byte of it is right.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // No stamp in hexadecimal begins so.
        if text.starts_with("eyJ") {
            return Self::read_document(text);
        }
        let (stamp, rest) = text.split_at_checked(STAMP)?;
        let (producer, sequence) = stamp.split_at_checked(8)?;
        let stamp = Self {
            producer: u32::from_str_radix(producer, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        };
        (rest.strip_suffix("QQ==")? == stamp.filler()).then_some(stamp)
    }

    fn spread(self) -> usize {
        (self.sequence.wrapping_mul(7_919) ^ u64::from(self.producer).wrapping_mul(104_729)) as usize
    }

    fn filler(self) -> &'static str {
        let from = self.spread() % (NOISE - FILLER);
        NOISE_TEXT.get(from..from + FILLER).unwrap_or_default()
    }
}

/// The body of a publish request of `count` messages from `first` on.
pub(crate) fn publish_body(form: Form, producer: u32, first: u64, count: u64, out: &mut String) {
    out.clear();
    out.push_str("{\"messages\":[");
    for sequence in first..first + count {
        out.push_str(if sequence == first { "{\"data\":\"" } else { ",{\"data\":\"" });
        let stamp = Stamp { producer, sequence };
        match form {
            Form::Noise => stamp.write(out),
            Form::Document => stamp.write_document(out),
        }
        out.push_str("\"}");
    }
    out.push_str("]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_1_kib_of_base64_and_reads_back() {
        let stamp = Stamp { producer: 17, sequence: 123_456_789 };
        let mut text = String::new();
        stamp.write(&mut text);
        assert_eq!(text.len(), TEXT);
        assert_eq!(Stamp::read(&text), Some(stamp));
    }

    #[test]
    fn a_document_is_as_long_and_reads_back_and_is_json() {
        let stamp = Stamp { producer: 17, sequence: 123_456_789 };
        let mut text = String::new();
        stamp.write_document(&mut text);
        assert_eq!(text.len(), TEXT);
        assert_eq!(Stamp::read(&text), Some(stamp));
        let document: serde_json::Value = serde_json::from_slice(&STANDARD.decode(&text).unwrap()).unwrap();
        assert_eq!(document.as_object().unwrap().len(), 10);
    }

    #[test]
    fn any_changed_letter_is_found() {
        let mut text = String::new();
        Stamp { producer: 1, sequence: 2 }.write(&mut text);
        for at in [0, 8, 23, 24, 700, TEXT - 5, TEXT - 4, TEXT - 1] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'z' { b'y' } else { b'z' };
            let damaged = Stamp::read(std::str::from_utf8(&bytes).unwrap());
            assert_eq!(damaged, None, "letter {at}");
        }
        assert_eq!(Stamp::read(&text[1..]), None);
    }
}
