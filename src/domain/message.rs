//! What a message is: a payload, attributes, and the header that delivery needs. Knows no encoding of any dialect.

use super::id::{Offset, ProducerId, Timestamp};
use bytes::{BufMut, Bytes, BytesMut};

/// What delivery needs to know of a message without looking inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Not delivered before this; [`Timestamp::EPOCH`] for at once.
    pub visible_at: Timestamp,
    /// Not delivered from this on; [`Timestamp::NEVER`] for no end of its own.
    pub expires_at: Timestamp,
    /// Who published it.
    pub producer: ProducerId,
    /// Payload and attribute bytes.
    pub bytes: u32,
    /// The payload's length as a text: of its base64 form, or of itself where it is text. What byte counters count.
    pub text_bytes: u32,
}

impl Header {
    /// The header of a message without delay, end or producer.
    #[must_use]
    pub const fn plain(bytes: u32, text_bytes: u32) -> Self {
        Self { visible_at: Timestamp::EPOCH, expires_at: Timestamp::NEVER, producer: ProducerId(0), bytes, text_bytes }
    }
}

/// How a payload's bytes are meant. Codes are stored: frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum PayloadForm {
    /// Bytes. A dialect that carries base64 encodes them.
    #[default]
    Binary = 0,
    /// A text that stood where base64 belongs but does not survive decoding and encoding: shown as it is, and as its bytes
    /// to the dialects that carry bytes.
    Verbatim = 1,
    /// A JSON document's text.
    Json = 2,
}

impl PayloadForm {
    /// The form of a stored code, if there is one.
    #[must_use]
    pub const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Binary),
            1 => Some(Self::Verbatim),
            2 => Some(Self::Json),
            _ => None,
        }
    }
}

/// A payload: bytes and how they are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payload {
    /// The bytes, often a slice of a log record.
    pub bytes: Bytes,
    /// Their form.
    pub form: PayloadForm,
}

/// A message as published and as delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// For delivery.
    pub header: Header,
    /// The attributes.
    pub attributes: Attributes,
    /// The payload.
    pub payload: Payload,
    /// Reserved for ordered delivery; empty.
    pub ordering_key: Bytes,
}

/// A message with its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its offset.
    pub offset: Offset,
    /// When it was stored; never goes back along a log.
    pub at: Timestamp,
    /// The message.
    pub message: Message,
}

/// A map of text to text in its stored form: for each entry the length and bytes of key, then of value (lengths as 32-bit
/// little-endian), sorted by key, each key once. Often a slice of a log record; iterating allocates nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes(Bytes);

impl Attributes {
    /// Builds the stored form; a key given twice keeps its last value.
    #[must_use]
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut pairs: Vec<(K, V)> = pairs.into_iter().collect();
        // Equal keys stay in the order given.
        pairs.sort_by(|(one, _), (other, _)| one.as_ref().cmp(other.as_ref()));
        let size = pairs.iter().map(|(key, value)| 8 + key.as_ref().len() + value.as_ref().len()).sum();
        let mut bytes = BytesMut::with_capacity(size);
        for same in pairs.chunk_by(|(one, _), (other, _)| one.as_ref() == other.as_ref()) {
            if let Some((key, value)) = same.last() {
                Self::put(&mut bytes, key.as_ref());
                Self::put(&mut bytes, value.as_ref());
            }
        }
        Self(bytes.freeze())
    }

    fn put(bytes: &mut BytesMut, text: &str) {
        bytes.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
        bytes.put_slice(text.as_bytes());
    }

    /// Takes bytes as the stored form; `None` when they are not one (lengths, UTF-8).
    #[must_use]
    pub fn from_stored(bytes: Bytes) -> Option<Self> {
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            for _ in 0..2 {
                let (text, after) = Self::take(rest)?;
                std::str::from_utf8(text).ok()?;
                rest = after;
            }
        }
        Some(Self(bytes))
    }

    fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
    }

    /// The stored form.
    #[must_use]
    pub const fn stored(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        Self::pairs(&self.0)
    }

    /// The entries of a stored form, in key order.
    pub fn pairs(stored: &[u8]) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = stored;
        std::iter::from_fn(move || {
            let (key, after) = Self::take(rest)?;
            let (value, after) = Self::take(after)?;
            rest = after;
            Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_sorted_and_the_last_of_a_key_wins() {
        let attributes = Attributes::from_pairs([("b", "1"), ("a", "ü\n\""), ("b", "2"), ("", "")]);
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("", ""), ("a", "ü\n\""), ("b", "2")]);
        assert_eq!(Attributes::from_stored(attributes.stored().clone()), Some(attributes));
    }

    #[test]
    fn bytes_that_are_no_attributes_are_refused() {
        for wrong in [&b"\x01"[..], b"\x05\0\0\0ab", b"\x01\0\0\0a", b"\x01\0\0\0\xff\0\0\0\0"] {
            assert_eq!(Attributes::from_stored(Bytes::from_static(wrong)), None, "{wrong:?}");
        }
    }
}
