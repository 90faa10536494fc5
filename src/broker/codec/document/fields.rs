//! Tagged fields with lengths: how a document's contents are laid out.
//!
//! A field is `tag: u8, length: u32 (little endian), bytes`; tags rise strictly from 1, an absent field is a value's absence; a zero
//! byte ends the fields, so that a form cut short is not taken for one with less in it. Reading is strict: a tag that the reader does not ask for, bytes too many or too few are refused, so that an older program never
//! rewrites a document without the fields it does not know. Numbers are little endian. Knows no document.

use crate::domain::{Error, Name, Result, Timestamp};
use std::time::Duration;

/// Stands where the next tag would.
const END: u8 = 0;

/// What a document that is not as it must be is answered with.
pub(crate) fn damaged(why: impl Into<String>) -> Error {
    Error::Damaged(why.into())
}

/// Writes fields one after the other; tags must rise.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    /// Writes behind these bytes.
    pub(crate) const fn after(header: Vec<u8>) -> Self {
        Self { bytes: header }
    }

    /// Adds a field.
    pub(crate) fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        self.bytes.push(tag);
        put_prefixed(&mut self.bytes, value);
        self
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, tag: u8, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    /// Adds a byte.
    pub(crate) fn u8(&mut self, tag: u8, value: u8) -> &mut Self {
        self.bytes(tag, &[value])
    }

    /// Adds a number.
    pub(crate) fn u32(&mut self, tag: u8, value: u32) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    /// Adds a number.
    pub(crate) fn u64(&mut self, tag: u8, value: u64) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    /// Adds an identity.
    pub(crate) fn u128(&mut self, tag: u8, value: u128) -> &mut Self {
        self.bytes(tag, &value.to_le_bytes())
    }

    /// Adds a duration in whole microseconds; cut to what 64 bits hold.
    pub(crate) fn duration(&mut self, tag: u8, value: Duration) -> &mut Self {
        self.u64(tag, u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }

    /// Adds identities side by side.
    pub(crate) fn ids(&mut self, tag: u8, values: impl Iterator<Item = u128>) -> &mut Self {
        let bytes: Vec<u8> = values.flat_map(u128::to_le_bytes).collect();
        self.bytes(tag, &bytes)
    }

    /// Adds texts, each with its length.
    pub(crate) fn texts<'a>(&mut self, tag: u8, values: impl Iterator<Item = &'a str>) -> &mut Self {
        let mut bytes = Vec::new();
        values.for_each(|text| put_prefixed(&mut bytes, text.as_bytes()));
        self.bytes(tag, &bytes)
    }

    /// Everything written, with its end.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.push(END);
        self.bytes
    }
}

/// Adds bytes with their length before them.
pub(crate) fn put_prefixed(to: &mut Vec<u8>, value: &[u8]) {
    to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(value);
}

/// Reads fields in the order of their tags.
#[derive(Debug)]
pub(crate) struct FieldReader<'a> {
    rest: Value<'a>,
}

impl<'a> FieldReader<'a> {
    /// Reads these bytes.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Value::new(bytes) }
    }

    /// The field of this tag, if it is there.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>> {
        match self.rest.0.first() {
            Some(next) if *next == tag => {
                self.rest.take(1)?;
                self.rest.prefixed().map(Some)
            }
            Some(&END) | None => Ok(None),
            Some(next) if *next < tag => Err(unknown_field(*next)),
            Some(_) => Ok(None),
        }
    }

    /// The field of this tag, which must be there.
    pub(crate) fn required(&mut self, tag: u8) -> Result<Value<'a>> {
        self.optional(tag)?.ok_or_else(|| damaged(format!("field {tag} is missing")))
    }

    /// Checks that this is the end.
    pub(crate) fn finish(self) -> Result<()> {
        match self.rest.0 {
            [END] => Ok(()),
            [] => Err(damaged("it is cut short")),
            [END, ..] => Err(damaged("something stands behind its end")),
            [tag, ..] => Err(unknown_field(*tag)),
        }
    }
}

fn unknown_field(tag: u8) -> Error {
    damaged(format!("field {tag} is not known: a newer version wrote it, use that or a later one"))
}

/// A field's bytes, or what is left of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a>(pub(crate) &'a [u8]);

impl<'a> Value<'a> {
    /// These bytes.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All of it.
    pub(crate) const fn all(self) -> &'a [u8] {
        self.0
    }

    /// Exactly this many bytes.
    pub(crate) fn array<const N: usize>(self) -> Result<[u8; N]> {
        self.0.try_into().map_err(|_| damaged(format!("a field of {} bytes must have {N}", self.0.len())))
    }

    /// A byte.
    pub(crate) fn u8(self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number.
    pub(crate) fn u32(self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number.
    pub(crate) fn u64(self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An identity.
    pub(crate) fn u128(self) -> Result<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// An instant.
    pub(crate) fn timestamp(self) -> Result<Timestamp> {
        self.u64().map(Timestamp)
    }

    /// A duration.
    pub(crate) fn duration(self) -> Result<Duration> {
        self.u64().map(Duration::from_micros)
    }

    /// A text.
    pub(crate) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.0).map_err(|_| damaged("a text is not UTF-8"))
    }

    /// A name within its rule.
    pub(crate) fn name(self) -> Result<Name> {
        Name::new(self.text()?).map_err(|error| damaged(error.to_string()))
    }

    /// Identities side by side.
    pub(crate) fn ids<T>(self, wrap: impl Fn(u128) -> T) -> Result<Vec<T>> {
        let (ids, rest) = self.0.as_chunks::<16>();
        if rest.is_empty() {
            Ok(ids.iter().map(|id| wrap(u128::from_le_bytes(*id))).collect())
        } else {
            Err(damaged("a list of identities is cut short"))
        }
    }

    /// Texts, each with its length.
    pub(crate) fn texts(mut self) -> Result<Vec<&'a str>> {
        let mut texts = Vec::new();
        while !self.is_empty() {
            texts.push(self.prefixed()?.text()?);
        }
        Ok(texts)
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes, taken off.
    pub(crate) fn take(&mut self, count: usize) -> Result<Self> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("it is cut short"))?;
        self.0 = rest;
        Ok(Self(taken))
    }

    /// The next bytes with their length before them, taken off.
    pub(crate) fn prefixed(&mut self) -> Result<Self> {
        let length = self.take(4)?.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}
