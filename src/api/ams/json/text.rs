//! Strings of a JSON document: where they end, what their escapes mean, what stands for invalid UTF-8.

use std::borrow::Cow;

/// Reads a string whose opening quote was taken; answers it with the bytes it took, closing quote included. An error is the
/// place of the offending byte.
pub(super) fn string(input: &[u8]) -> Result<(Cow<'_, str>, usize), usize> {
    let plain = plain_length(input);
    if input.get(plain) == Some(&b'"') {
        return Ok((valid(input.get(..plain).unwrap_or_default()), plain + 1));
    }
    let mut unescaped = Vec::with_capacity(plain + 32);
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let (plain, special) = rest.split_at_checked(plain_length(rest)).unwrap_or((rest, &[]));
        unescaped.extend_from_slice(plain);
        at += plain.len();
        match special {
            [b'"', ..] => return Ok((owned(unescaped), at + 1)),
            [b'\\', b'u', digits @ ..] => at += unicode(digits, &mut unescaped).ok_or(at)?,
            [b'\\', escaped, ..] => {
                unescaped.push(simple(*escaped).ok_or(at)?);
                at += 2;
            }
            _ => return Err(at),
        }
    }
}

/// How many bytes from the beginning mean themselves: up to a quote, a backslash, a control character or the end.
fn plain_length(input: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Whole blocks first: the fold without a branch becomes vector instructions.
    let blocks = input
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |any, byte| any | special(*byte)))
        .count();
    let rest = input.get(blocks * BLOCK..).unwrap_or_default();
    blocks * BLOCK + rest.iter().take_while(|byte| !special(**byte)).count()
}

fn simple(escaped: u8) -> Option<u8> {
    Some(match escaped {
        b'"' | b'\\' | b'/' => escaped,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Reads what follows `\u`; answers the bytes taken, `\u` included. A surrogate without its other half is U+FFFD.
fn unicode(digits: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let (first, rest) = hexadecimal(digits)?;
    let second = match rest {
        [b'\\', b'u', digits @ ..] => hexadecimal(digits).map(|(unit, _)| unit),
        _ => None,
    };
    let (character, taken) = match second {
        Some(second) if (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second) => {
            (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        _ => (first, 6),
    };
    let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(taken)
}

fn hexadecimal(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (four, rest) = digits.split_first_chunk::<4>()?;
    let unit = four.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

fn valid(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replaced(bytes)),
    }
}

fn owned(bytes: Vec<u8>) -> Cow<'static, str> {
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| replaced(error.as_bytes())))
}

/// Each byte that is not part of a character becomes U+FFFD, one for each, as Go counts them.
fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
