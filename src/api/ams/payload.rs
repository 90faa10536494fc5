//! How a message's `data` and what is stored relate: decoded if that loses nothing, as it stands otherwise.

use super::json::{self, Reader};
use super::render::{Json, escaped_length};
use crate::broker::BatchBuilder;
use crate::domain::message::{Payload, PayloadForm};
use base64::Engine;
use base64::engine::{GeneralPurposeConfig, Simd};
use std::sync::LazyLock;

/// Standard alphabet, padding required, no stray bits: exactly one text decodes to given bytes.
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::standard(GeneralPurposeConfig::new()));

/// Reads a string as the payload of the message that was begun: its form, and what the text takes inside a JSON string. Base64 goes
/// from the body to its place in one step.
pub(crate) fn read(reader: &mut Reader<'_>, batch: &mut BatchBuilder) -> json::Result<(PayloadForm, usize)> {
    let mut letters = 0;
    let text = reader.string_unless(|text| {
        letters = text.len();
        put_decoded(text, batch)
    })?;
    Ok(match text {
        None => (PayloadForm::Binary, letters),
        Some(text) => (put(&text, batch), escaped_length(&text)),
    })
}

/// Makes a `data` text the payload of the message that was begun, and tells in which form.
pub(super) fn put(data: &str, batch: &mut BatchBuilder) -> PayloadForm {
    if put_decoded(data.as_bytes(), batch) {
        return PayloadForm::Binary;
    }
    batch.payload_space(data.len()).copy_from_slice(data.as_bytes());
    PayloadForm::Verbatim
}

/// Makes what a text is the one base64 form of the payload of the message that was begun. Whether it is one; if not, the payload is empty.
fn put_decoded(text: &[u8], batch: &mut BatchBuilder) -> bool {
    batch.begin();
    if !text.len().is_multiple_of(4) {
        return false;
    }
    let decoded = ENGINE.decode_slice(text, batch.payload_space(text.len() / 4 * 3));
    batch.payload_truncate(decoded.as_ref().map_or(0, |length| *length));
    decoded.is_ok()
}

/// Decodes a text that is the one base64 form of some bytes; none for any other text.
pub(crate) fn decode<'s>(text: &str, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let room = text.len() / 4 * 3;
    if scratch.len() < room {
        scratch.resize(room, 0);
    }
    let length = ENGINE.decode_slice(text, scratch).ok()?;
    scratch.get(..length)
}

/// Appends the base64 form of bytes.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // There is room for exactly this.
    let written = ENGINE.encode_slice(bytes, out.get_mut(start..).unwrap_or_default()).unwrap_or(0);
    out.truncate(start + written);
}

/// Writes a payload as a `data` text.
pub(crate) fn show(payload: &Payload, json: &mut Json) {
    let text = match payload.form {
        PayloadForm::Verbatim => std::str::from_utf8(&payload.bytes).ok(),
        PayloadForm::Binary | PayloadForm::Json => None,
    };
    match text {
        Some(text) => json.string(text),
        None => json.base64(&payload.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn form(data: &str) -> PayloadForm {
        let mut batch = BatchBuilder::new(Timestamp(0));
        let form = put(data, &mut batch);
        assert_eq!(form == PayloadForm::Verbatim, batch.payload() == data.as_bytes() && !data.is_empty(), "{data}");
        form
    }

    #[test]
    fn only_what_encodes_to_the_same_text_is_decoded() {
        for canonical in ["", "aGVsbG8=", "AA==", "AAA=", "AAAA", "+/+/"] {
            assert_eq!(form(canonical), PayloadForm::Binary, "{canonical}");
        }
        for other in ["msg 1", "aGVsbG8", "AB==", "AAB=", "-_-_", "aGVs\nbG8=", " ", "====", "A===", "é"] {
            assert_eq!(form(other), PayloadForm::Verbatim, "{other}");
        }
    }

    #[test]
    fn a_used_scratch_does_not_show() {
        let mut scratch = b"something longer than it".to_vec();
        assert_eq!(decode("aGVsbG8=", &mut scratch), Some(&b"hello"[..]));
    }

    proptest::proptest! {
        #[test]
        fn what_is_decoded_encodes_to_the_same_text(text in "[A-Za-z0-9+/]{0,40}={0,3}") {
            let mut scratch = Vec::new();
            if let Some(bytes) = decode(&text, &mut scratch) {
                let mut out = Vec::new();
                encode(bytes, &mut out);
                proptest::prop_assert_eq!(out, text.into_bytes());
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_the_same_bytes(bytes: Vec<u8>) {
            let mut out = b"before".to_vec();
            encode(&bytes, &mut out);
            let text = String::from_utf8(out.split_off(6)).unwrap();
            let mut scratch = Vec::new();
            proptest::prop_assert_eq!(decode(&text, &mut scratch), Some(&bytes[..]));
        }
    }
}
