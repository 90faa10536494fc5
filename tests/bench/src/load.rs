//! The messages: 1 KiB each, every byte of them known from the producer and the sequence number, so that reading back can compare.
//!
//! The text that goes over the wire is built directly in base64's own letters; the client spends no time on encoding.

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

    /// The message that this text is, if every byte of it is right.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (stamp, rest) = text.split_at_checked(STAMP)?;
        let (producer, sequence) = stamp.split_at_checked(8)?;
        let stamp = Self {
            producer: u32::from_str_radix(producer, 16).ok()?,
            sequence: u64::from_str_radix(sequence, 16).ok()?,
        };
        (rest.strip_suffix("QQ==")? == stamp.filler()).then_some(stamp)
    }

    fn filler(self) -> &'static str {
        let spread = (self.sequence.wrapping_mul(7_919) ^ u64::from(self.producer).wrapping_mul(104_729)) as usize;
        let from = spread % (NOISE - FILLER);
        NOISE_TEXT.get(from..from + FILLER).unwrap_or_default()
    }
}

/// The body of a publish request of `count` messages from `first` on.
pub(crate) fn publish_body(producer: u32, first: u64, count: u64, out: &mut String) {
    out.clear();
    out.push_str("{\"messages\":[");
    for sequence in first..first + count {
        out.push_str(if sequence == first { "{\"data\":\"" } else { ",{\"data\":\"" });
        Stamp { producer, sequence }.write(out);
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
