//! MessagePack for JSON: what a client packs becomes JSON text, and what is answered is packed. Everything between speaks JSON alone.
//!
//! What JSON has no word for is refused: bytes, extensions, keys that are no texts, infinities.

use crate::api::zaqar::json::{self, DEPTH_MAX, Text};
use rmp::{Marker, encode};
use std::io::Write;

/// What is wrong with a packed request, in Python's manner.
pub(super) type Unreadable = &'static str;

const CUT: Unreadable = "ValueError: the data ends too early";
const STRANGE: Unreadable = "ValueError: bytes and extensions have no place in JSON";

/// Unpacks one value as JSON text of at most so many bytes.
///
/// # Errors
/// When it is none, nested too deep or too large.
pub(super) fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    let mut unpacker = Unpacker { rest: packed, out: Vec::with_capacity(packed.len()), bytes_max };
    unpacker.value(0)?;
    if unpacker.rest.is_empty() { Ok(unpacker.out) } else { Err("ValueError: there is extra data") }
}

struct Unpacker<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    bytes_max: usize,
}

impl<'a> Unpacker<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn write(&mut self, value: impl std::fmt::Display) -> Result<(), Unreadable> {
        // Writing to a vector cannot fail.
        let _ = write!(self.out, "{value}");
        self.check()
    }

    fn check(&self) -> Result<(), Unreadable> {
        if self.out.len() > self.bytes_max { Err("ValueError: it is too large") } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        let [first] = self.array()?;
        match Marker::from_u8(first) {
            Marker::Null => self.write("null"),
            Marker::True => self.write(true),
            Marker::False => self.write(false),
            Marker::FixPos(number) => self.write(number),
            Marker::FixNeg(number) => self.write(number),
            Marker::U8 => self.array().map(u8::from_be_bytes).and_then(|number| self.write(number)),
            Marker::U16 => self.array().map(u16::from_be_bytes).and_then(|number| self.write(number)),
            Marker::U32 => self.array().map(u32::from_be_bytes).and_then(|number| self.write(number)),
            Marker::U64 => self.array().map(u64::from_be_bytes).and_then(|number| self.write(number)),
            Marker::I8 => self.array().map(i8::from_be_bytes).and_then(|number| self.write(number)),
            Marker::I16 => self.array().map(i16::from_be_bytes).and_then(|number| self.write(number)),
            Marker::I32 => self.array().map(i32::from_be_bytes).and_then(|number| self.write(number)),
            Marker::I64 => self.array().map(i64::from_be_bytes).and_then(|number| self.write(number)),
            Marker::F32 => self.array().map(f32::from_be_bytes).and_then(|number| self.float(number.into())),
            Marker::F64 => self.array().map(f64::from_be_bytes).and_then(|number| self.float(number)),
            Marker::FixArray(count) => self.items(count.into(), false, depth),
            Marker::FixMap(count) => self.items(count.into(), true, depth),
            Marker::Array16 => self.array().map(u16::from_be_bytes).and_then(|n| self.items(n.into(), false, depth)),
            Marker::Array32 => self.array().map(u32::from_be_bytes).and_then(|n| self.items(n, false, depth)),
            Marker::Map16 => self.array().map(u16::from_be_bytes).and_then(|n| self.items(n.into(), true, depth)),
            Marker::Map32 => self.array().map(u32::from_be_bytes).and_then(|n| self.items(n, true, depth)),
            marker => self.text(marker).ok_or(STRANGE)?,
        }
    }

    fn float(&mut self, number: f64) -> Result<(), Unreadable> {
        if !number.is_finite() {
            return Err("ValueError: JSON has no infinities");
        }
        self.write(format_args!("{number:?}"))
    }

    /// A text, if it is one that begins so.
    fn text(&mut self, marker: Marker) -> Option<Result<(), Unreadable>> {
        let length = match marker {
            Marker::FixStr(length) => Ok(length.into()),
            Marker::Str8 => self.array().map(|length| u8::from_be_bytes(length).into()),
            Marker::Str16 => self.array().map(|length| u16::from_be_bytes(length).into()),
            Marker::Str32 => self.array().map(u32::from_be_bytes),
            _ => return None,
        };
        Some(length.and_then(|length| {
            let text = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            let text = std::str::from_utf8(text).map_err(|_| "UnicodeDecodeError: a text is not UTF-8")?;
            json::string(text, &mut self.out);
            self.check()
        }))
    }

    /// The items of an array, or the pairs of a map. No room is made for what is only announced.
    fn items(&mut self, count: u32, is_map: bool, depth: usize) -> Result<(), Unreadable> {
        if depth >= DEPTH_MAX {
            return Err("RecursionError: it is nested too deep");
        }
        let (open, close) = if is_map { ('{', '}') } else { ('[', ']') };
        self.write(open)?;
        for place in 0..count {
            if place > 0 {
                self.write(',')?;
            }
            if is_map {
                let [first] = self.array()?;
                self.text(Marker::from_u8(first)).ok_or("TypeError: a key is no text")??;
                self.write(':')?;
            }
            self.value(depth + 1)?;
        }
        self.write(close)
    }
}

/// An array or object that is being packed.
struct Open {
    /// Where its length stands.
    at: usize,
    /// Values so far, keys among them.
    values: u32,
    is_map: bool,
}

/// Packs valid JSON text. Lengths of arrays and objects stand in their longest form: they are known when they end.
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    let mut open: Vec<Open> = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        let is_value = !matches!(byte, b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r');
        if let (true, Some(last)) = (is_value, open.last_mut()) {
            last.values += 1;
        }
        rest = match byte {
            b'{' | b'[' => {
                let is_map = *byte == b'{';
                out.push(if is_map { Marker::Map32 } else { Marker::Array32 }.to_u8());
                open.push(Open { at: out.len(), values: 0, is_map });
                out.extend_from_slice(&[0; 4]);
                after
            }
            b'}' | b']' => {
                if let Some(Open { at, values, is_map }) = open.pop() {
                    let count = if is_map { values / 2 } else { values };
                    let place = out.get_mut(at..).and_then(|place| place.first_chunk_mut());
                    *place.unwrap_or(&mut [0; 4]) = count.to_be_bytes();
                }
                after
            }
            b'"' => {
                let after = json::after_string(after);
                let (string, _) = rest.split_at_checked(rest.len() - after.len()).unwrap_or_default();
                if let Ok(Text(string)) = serde_json::from_slice(string) {
                    drop(encode::write_str(&mut out, &string));
                }
                after
            }
            _ if is_value => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
                let (scalar, after) = rest.split_at_checked(length.count().max(1)).unwrap_or_default();
                pack_scalar(scalar, &mut out);
                after
            }
            _ => after,
        };
    }
    out
}

fn pack_scalar(text: &[u8], out: &mut Vec<u8>) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    // Writing to a vector cannot fail.
    match text {
        "true" | "false" => drop(encode::write_bool(out, text == "true")),
        "null" => drop(encode::write_nil(out)),
        _ => match text.parse::<i64>() {
            Ok(number) => drop(encode::write_sint(out, number)),
            Err(_) => drop(encode::write_f64(out, text.parse().unwrap_or_default())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8]) -> Result<String, Unreadable> {
        unpack(packed, 1_000).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn json_is_packed_and_comes_back() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a":[1,-1,127,128,-129,70000,9223372036854775807,-9223372036854775808],"é\n":{"b":null}}"#,
            r#"[true,false,1.5,-2.0,"","\"\\"]"#,
            &deep,
        ] {
            assert_eq!(unpacked(&pack(text.as_bytes())).unwrap(), text);
        }
        assert_eq!(unpacked(&pack(b" { \"a\" : [ 1 , 2.50 ] } ")).unwrap(), r#"{"a":[1,2.5]}"#);
    }

    #[test]
    fn all_forms_of_lengths_and_numbers_are_read() {
        for (packed, text) in [
            (&[0x82, 0xa1, b'a', 1, 0xa1, b'b', 0xff][..], r#"{"a":1,"b":-1}"#),
            (&[0xd9, 1, b'x'], r#""x""#),
            (&[0xda, 0, 1, b'x'], r#""x""#),
            (&[0xdb, 0, 0, 0, 1, b'x'], r#""x""#),
            (&[0xdc, 0, 1, 0xc0], "[null]"),
            (&[0xde, 0, 1, 0xa0, 0xc3], r#"{"":true}"#),
            (&[0xca, 0x3f, 0x80, 0, 0], "1.0"),
            (&[0xcd, 1, 0], "256"),
            (&[0xd1, 0xff, 0], "-256"),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"),
        ] {
            assert_eq!(unpacked(packed).as_deref(), Ok(text));
        }
    }

    #[test]
    fn bombs_and_what_json_cannot_say_are_refused_at_once() {
        let nested = vec![0x91; 100_000];
        let announced = [0xdd, 255, 255, 255, 255];
        let long_text = [0xdb, 255, 255, 255, 255, b'x'];
        let swelling = [&[0xda, 0x03, 0x00][..], &[1; 0x300]].concat();
        let infinite = [&[0xcb][..], &f64::INFINITY.to_be_bytes()].concat();
        for bomb in [
            &nested[..],
            &announced,
            &long_text,
            &swelling,
            &infinite,
            b"",
            &[0xc4, 1, b'x'],
            &[0xd4, 1, 1],
            &[0xc1],
            &[0x81, 1, 2],
            &[0x81, 0xa1],
            &[0xc0, 0xc0],
            &[0xa1, 0xff],
        ] {
            assert!(unpacked(bomb).is_err(), "{:?}", bomb.get(..8));
        }
    }
}
