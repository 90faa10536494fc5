//! The messages: every byte of them known from the producer and the sequence number, so that reading back can compare.
//!
//! The text that goes over the wire is built directly in base64's own letters; the client spends no time on encoding.

use crate::document;
use std::sync::LazyLock;

/// Producer and sequence number, in hexadecimal digits, which are base64 letters too.
const STAMP: usize = 24;
/// The letters at the end: one, two or three bytes, padded as base64 wants it.
const ENDS: [&str; 3] = ["QUFB", "QQ==", "QUE="];
const END: usize = 4;
/// Filler is a piece of this much noise, another one for each message.
const NOISE: usize = 64 << 10;

pub(crate) static NOISE_TEXT: LazyLock<String> = LazyLock::new(|| {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS.get((state >> 58) as usize).copied().unwrap_or(b'A'))
    };
    (0..NOISE).map(|_| letter()).collect()
});

/// How large a message is: as text in a body, and so as bytes stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    /// Letters of the text.
    pub(crate) letters: usize,
    end: &'static str,
    /// Whether it is a document and not noise.
    document: bool,
}

impl Size {
    /// The base64 text of so many bytes, at least 21.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        let end = ENDS.get(bytes % 3).copied().unwrap_or_default();
        Self { letters: bytes.div_ceil(3) * 4, end, document: false }
    }

    /// A text of so many letters, at least 28, that is sent and stored as it is.
    pub(crate) fn of_letters(letters: usize) -> Self {
        Self { letters, ..Self::of_bytes(0) }
    }

    /// A document.
    pub(crate) fn document() -> Self {
        Self { letters: document::LETTERS, end: "", document: true }
    }

    fn filler(self) -> usize {
        self.letters.saturating_sub(STAMP + END)
    }
}

/// Which message: who sent it, and the how manieth it is of his.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp {
    /// Less than 2^24.
    pub(crate) producer: u32,
    /// Less than 2^40.
    pub(crate) sequence: u64,
}

impl Stamp {
    /// Appends the message's text.
    pub(crate) fn write(self, size: Size, out: &mut String) {
        if size.document {
            return document::write(self, out);
        }
        hexadecimal(u64::from(self.producer), 8, out);
        hexadecimal(self.sequence, 16, out);
        let mut rest = size.filler();
        let mut from = self.place();
        while rest > 0 {
            let piece = rest.min(NOISE - from);
            out.push_str(NOISE_TEXT.get(from..from + piece).unwrap_or_default());
            (rest, from) = (rest - piece, 0);
        }
        out.push_str(size.end);
    }

    /// The message that this text is, if every byte of it is right.
    pub(crate) fn read(size: Size, text: &str) -> Option<Self> {
        if size.document {
            return document::read(text);
        }
        let (stamp, rest) = text.split_at_checked(STAMP)?;
        let (producer, sequence) = stamp.split_at_checked(8)?;
        let stamp = Self {
            producer: u32::from_str_radix(producer, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        };
        let mut rest = rest.strip_suffix(size.end).filter(|rest| rest.len() == size.filler())?;
        let mut from = stamp.place();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at_checked(rest.len().min(NOISE - from))?;
            if NOISE_TEXT.get(from..from + piece.len()) != Some(piece) {
                return None;
            }
            (rest, from) = (after, 0);
        }
        Some(stamp)
    }

    /// Both numbers in one.
    pub(crate) fn packed(self) -> u64 {
        u64::from(self.producer) << 40 | self.sequence
    }

    /// The numbers of [`Self::packed`].
    pub(crate) fn unpacked(packed: u64) -> Self {
        Self { producer: u32::try_from(packed >> 40).unwrap_or_default(), sequence: packed & ((1 << 40) - 1) }
    }

    /// Where in the noise its filler begins.
    pub(crate) fn place(self) -> usize {
        (self.sequence.wrapping_mul(7_919) ^ u64::from(self.producer).wrapping_mul(104_729)) as usize % NOISE
    }
}

/// Appends a number in so many hexadecimal digits.
fn hexadecimal(number: u64, digits: u32, out: &mut String) {
    for at in (0..digits).rev() {
        out.push(char::from_digit((number >> (4 * at) & 15) as u32, 16).unwrap_or('0'));
    }
}

/// The body of a publish request of `count` messages from `first` on.
pub(crate) fn publish_body(producer: u32, first: u64, count: u64, size: Size, out: &mut String) {
    out.clear();
    out.push_str("{\"messages\":[");
    for sequence in first..first + count {
        out.push_str(if sequence == first { "{\"data\":\"" } else { ",{\"data\":\"" });
        Stamp { producer, sequence }.write(size, out);
        out.push_str("\"}");
    }
    out.push_str("]}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn a_message_is_base64_of_its_size_and_reads_back() {
        let stamp = Stamp { producer: 17, sequence: 123_456_789 };
        for bytes in [64, 256, 1_024, 1_025, 65_536, 1_048_576] {
            let (size, mut text) = (Size::of_bytes(bytes), String::new());
            stamp.write(size, &mut text);
            assert_eq!(text.len(), size.letters);
            assert_eq!(STANDARD.decode(&text).unwrap().len(), bytes);
            assert_eq!(Stamp::read(size, &text), Some(stamp));
        }
        assert_eq!(Stamp::unpacked(stamp.packed()), stamp);
    }

    #[test]
    fn any_changed_letter_is_found() {
        let (size, mut text) = (Size::of_bytes(1_024), String::new());
        Stamp { producer: 1, sequence: 2 }.write(size, &mut text);
        for at in [0, 8, 23, 24, 700, size.letters - 5, size.letters - 4, size.letters - 1] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'z' { b'y' } else { b'z' };
            let damaged = Stamp::read(size, std::str::from_utf8(&bytes).unwrap());
            assert_eq!(damaged, None, "letter {at}");
        }
        assert_eq!(Stamp::read(size, &text[1..]), None);
        assert_eq!(Stamp::read(Size::of_bytes(1_027), &text), None);
    }
}
