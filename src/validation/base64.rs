//! Base64 as the original decodes it where a schema asks for it: standard letters with padding, line ends passed over, stray bits
//! in the last letter taken. Everything else in the product keeps the one canonical text instead.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The bytes that a text stands for.
///
/// # Errors
/// Where it stops being base64, counted as Go's `encoding/base64` counts: the offset of a letter that is none, of a group that is
/// cut short, or behind the padding. O(length).
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let letters: Vec<u8> = text.iter().copied().filter(|letter| !matches!(letter, b'\r' | b'\n')).collect();
    LENIENT.decode(&letters).map_err(|_| offence(text))
}

/// Where a text that is not base64 goes wrong: Go's reading of one group of four after the other.
fn offence(text: &[u8]) -> usize {
    let is_end = |letter: &u8| matches!(letter, b'\r' | b'\n');
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'/');
    // How many letters of the group are read, and where it began.
    let (mut read, mut begin) = (0, 0);
    let mut letters = text.iter().enumerate().filter(|(_, letter)| !is_end(letter));
    while let Some((at, letter)) = letters.next() {
        if read == 0 {
            begin = at;
        }
        match *letter {
            letter if is_letter(letter) => read = (read + 1) % 4,
            b'=' if read == 2 => {
                // A second one must follow, and nothing after it.
                return match letters.next() {
                    Some((_, b'=')) => letters.next().map_or(text.len(), |(at, _)| at),
                    Some((at, _)) => at,
                    None => text.len(),
                };
            }
            b'=' if read == 3 => return letters.next().map_or(text.len(), |(at, _)| at),
            _ => return at,
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_as_go_takes_them() {
        for (text, bytes) in
            [("", &b""[..]), ("aGVsbG8=", b"hello"), ("aGVs\r\nbG8=\n", b"hello"), ("AB==", b"\0"), ("AAB=", b"\0\0")]
        {
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn the_offence_is_where_go_sees_it() {
        for (text, at) in [
            ("DGFnZWxvc8T8Cg", 12),
            ("not base64!", 3),
            ("abc", 0),
            ("ab=c", 3),
            ("ab=", 3),
            ("ab==x", 4),
            ("====", 0),
            ("A===", 1),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(at), "{text}");
        }
    }
}
