//! JSON as Zaqar reads and writes it: values of no interest pass as the text they came as.
//!
//! A body is looked over once for what a parser would not refuse (depth, integers above 64 bits), and then parsed once.

use super::error::Failure;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Deepest nesting: Python clients read no deeper than about a thousand.
pub(crate) const DEPTH_MAX: usize = 500;
/// Fewer digits than these always fit into 64 bits.
const DIGITS_SAFE: usize = 18;

/// Parses a whole body.
///
/// # Errors
/// The contract's failures about bodies.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    let fits = look_over(body)?;
    let value = serde_json::from_slice(body).map_err(|_| Failure::UNPARSED)?;
    if fits { Ok(value) } else { Err(Failure::BIG_INTEGER) }
}

/// Parses a whole body as an object.
///
/// # Errors
/// As [`parse`]; an array is no document, and a plain value cannot be parsed.
pub(crate) fn object(body: &[u8]) -> Result<Object<'_>, Failure> {
    match parse::<Shape<Object<'_>, IgnoredAny>>(body)? {
        Shape::Object(object) => Ok(object),
        Shape::Array(_) => Err(Failure::WRONG_DOCUMENT),
        Shape::Other => Err(Failure::UNPARSED),
    }
}

/// Whether all integers have at most 64 bits; an error when it is nested too deep. Texts that are no JSON are the parser's to refuse.
fn look_over(body: &[u8]) -> Result<bool, Failure> {
    let (mut depth, mut fits) = (0_usize, true);
    let mut rest = body;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => after_string(after),
            b'-' | b'0'..=b'9' => {
                let length =
                    rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                let (number, after) = rest.split_at_checked(length.count()).unwrap_or_default();
                fits &= number.len() <= DIGITS_SAFE || is_64_bits(number);
                after
            }
            b'{' | b'[' => {
                depth += 1;
                after
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ => after,
        };
        if depth > DEPTH_MAX {
            return Err(Failure::UNPARSED);
        }
    }
    Ok(fits)
}

/// What follows a string whose opening quote was read.
pub(crate) fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(place) = memchr::memchr2(b'"', b'\\', rest) {
        let (found, after) = rest.split_at_checked(place).unwrap_or_default();
        debug_assert_eq!(found.len(), place);
        let skipped = if after.first() == Some(&b'"') { 1 } else { 2 };
        rest = after.get(skipped..).unwrap_or_default();
        if skipped == 1 {
            return rest;
        }
    }
    &[]
}

fn is_64_bits(number: &[u8]) -> bool {
    let text = std::str::from_utf8(number).unwrap_or_default();
    text.contains(['.', 'e', 'E']) || text.parse::<i64>().is_ok()
}

/// A value by its outer form.
#[derive(Clone, Debug)]
pub(crate) enum Shape<O, A> {
    /// An object.
    Object(O),
    /// An array.
    Array(A),
    /// A plain value.
    Other,
}

impl<'de, O: Deserialize<'de>, A: Deserialize<'de>> Deserialize<'de> for Shape<O, A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes(PhantomData))
    }
}

struct Shapes<O, A>(PhantomData<(O, A)>);

impl<'de, O: Deserialize<'de>, A: Deserialize<'de>> Visitor<'de> for Shapes<O, A> {
    type Value = Shape<O, A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        O::deserialize(MapAccessDeserializer::new(map)).map(Shape::Object)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, items: S) -> Result<Self::Value, S::Error> {
        A::deserialize(SeqAccessDeserializer::new(items)).map(Shape::Array)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Shape::Other)
    }
}

/// A text, borrowed where it holds no escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Texts)
    }
}

/// An object: its members as they came, their values as their text. Of a key given twice the last one counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'a> Object<'a> {
    /// A member's value.
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// A member's value unless it is null, which counts as none.
    pub(crate) fn given(&self, key: &str) -> Option<&'a RawValue> {
        self.get(key).filter(|value| value.get() != "null")
    }

    /// The members in their order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// Sets a member, at its place or at the end.
    pub(crate) fn set(&mut self, key: &str, value: &'a RawValue) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, place)) => *place = value,
            None => self.0.push((Cow::Owned(key.to_owned()), value)),
        }
    }

    /// Takes a member out; whether there was one.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(name, _)| name != key);
        self.0.len() < before
    }

    /// Leaves of each key the last value alone.
    pub(crate) fn settle(&mut self) {
        let mut last = std::collections::HashSet::with_capacity(self.0.len());
        let mut kept: Vec<_> = std::mem::take(&mut self.0);
        kept.reverse();
        kept.retain(|(key, _)| last.insert(key.clone()));
        kept.reverse();
        self.0 = kept;
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (key, value)) in self.members().enumerate() {
            member(key, value.get(), place == 0, out);
        }
        out.push(b'}');
    }
}

/// Writes a member of an object.
pub(crate) fn member(key: &str, value: &str, first: bool, out: &mut Vec<u8>) {
    if !first {
        out.extend_from_slice(b", ");
    }
    string(key, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
}

/// Writes a text as a JSON string.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and a text is no map with odd keys.
    let _ = serde_json::to_writer(out, text);
}

/// Writes an array.
pub(crate) fn array<T>(items: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b", ");
        }
        write(item, out);
    }
    out.push(b']');
}

/// A value as an integer as Python sees it: true is 1, false is 0. None for what is none.
pub(crate) fn integer(value: &RawValue) -> Option<i64> {
    match value.get() {
        "true" => Some(1),
        "false" => Some(0),
        text => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}

/// A member that must be an integer if it is given.
///
/// # Errors
/// The contract's text when it is something else.
pub(crate) fn integer_member(object: &Object<'_>, key: &str) -> Result<Option<i64>, Failure> {
    let wrong = || Failure::body(format!("The value of the \"{key}\" field must be a int."));
    object.get(key).map(|value| integer(value).ok_or_else(wrong)).transpose()
}

/// A value as a text; none for what is none.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// Whether Python takes a value for false.
pub(crate) fn is_falsy(value: &RawValue) -> bool {
    let text: &str = value.get();
    let empty = |open, close| {
        text.strip_prefix(open)
            .and_then(|rest: &str| rest.strip_suffix(close))
            .is_some_and(|rest| rest.trim().is_empty())
    };
    matches!(text, "null" | "false" | "\"\"")
        || empty('[', ']')
        || empty('{', '}')
        || (text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && text.parse::<f64>().is_ok_and(|number| number == 0.0))
}

/// A body of a request for messages: what its member `messages` holds.
#[derive(Debug)]
pub(crate) struct Messages<'a>(pub(crate) Option<Shape<IgnoredAny, Vec<Shape<Object<'a>, IgnoredAny>>>>);

impl<'de> Deserialize<'de> for Messages<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wrapper;
        impl<'de> Visitor<'de> for Wrapper {
            type Value = Messages<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Messages<'de>, M::Error> {
                let mut messages = None;
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    if key == "messages" {
                        messages = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>().map_err(M::Error::custom)?;
                    }
                }
                Ok(Messages(messages))
            }
        }
        deserializer.deserialize_map(Wrapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Option<Failure> {
        object(body.as_bytes()).err()
    }

    #[test]
    fn what_no_client_could_read_is_refused() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refused(&nested(DEPTH_MAX - 1)), None);
        for unparsed in [&nested(DEPTH_MAX), "", " ", "{", "\"x\"", "1", "{\"a\":NaN}", "{\"a\":1}}", "{\"a\":\"\\\"}"]
        {
            assert_eq!(refused(unparsed), Some(Failure::UNPARSED), "{unparsed}");
        }
        assert_eq!(refused("[]"), Some(Failure::WRONG_DOCUMENT));
    }

    #[test]
    fn integers_above_64_bits_are_refused_wherever_they_stand_but_not_in_texts() {
        for big in ["9223372036854775808", "-9223372036854775809", "[{\"b\":99999999999999999999}]"] {
            assert_eq!(refused(&format!("{{\"a\":{big}}}")), Some(Failure::BIG_INTEGER), "{big}");
        }
        for fine in [
            "9223372036854775807",
            "-9223372036854775808",
            "\"99999999999999999999\"",
            "99999999999999999999.5",
            "1e30",
            "\"\\\"99999999999999999999\"",
        ] {
            assert_eq!(refused(&format!("{{\"a\":{fine}}}")), None, "{fine}");
        }
    }

    #[test]
    fn the_last_of_a_key_counts_and_values_keep_their_text() {
        let mut read = object(br#"{"b": 1, "a": [1,  2.50], "b": {"z":1}}"#).unwrap();
        assert_eq!(read.get("b").unwrap().get(), r#"{"z":1}"#);
        read.settle();
        let mut out = Vec::new();
        read.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a": [1,  2.50], "b": {"z":1}}"#);
    }

    #[test]
    fn falsy_is_what_python_says() {
        let read = object(
            br#"{"n":null,"f":false,"z":0,"d":0.0,"m":-0,"s":"","a":[ ],"o":{},"t":true,"one":1,"x":"0","l":[0]}"#,
        );
        let falsy: Vec<_> =
            read.unwrap().members().filter(|(_, value)| is_falsy(value)).map(|(key, _)| key.to_owned()).collect();
        assert_eq!(falsy, ["n", "f", "z", "d", "m", "s", "a", "o"]);
    }
}
