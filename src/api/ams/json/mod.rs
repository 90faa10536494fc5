//! The one decoder of all AMS bodies: a pull parser over the request's bytes, one pass, no tree.
//!
//! It reads JSON as Go's `encoding/json` does, because clients were written against that (`ams-v1.md` §1.5): field names match without
//! regard to ASCII case, unknown fields are checked and passed over, the last of two equal fields wins, `null` is an absent value,
//! integers have no fraction or exponent, invalid UTF-8 and lone surrogates inside strings become U+FFFD. It differs in two
//! places, on purpose: nesting is bounded by [`DEPTH_MAX`], and the Kelvin sign and the long s do not match `k` and `s`.
//!
//! Knows no body in particular: those are in `bodies`.

mod text;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::str;

/// How deep objects and arrays may stand in each other.
pub(crate) const DEPTH_MAX: u32 = 128;

/// The body is not what was expected: not JSON, or of a wrong type at this place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    /// The byte where reading stopped.
    pub(crate) at: usize,
}

/// What the decoder answers.
pub(crate) type Result<T, E = Malformed> = std::result::Result<T, E>;

/// Reads one document from front to back.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: u32,
}

/// Decodes a document that must be an object or `null`: `field` gets each name and the reader standing before its value, which it
/// must take or [`Reader::skip`]. Nothing but white space may follow.
///
/// # Errors
/// [`Malformed`], also when `field` says so.
pub(crate) fn document<'a>(
    body: &'a [u8],
    mut field: impl FnMut(&Cow<'a, str>, &mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new(body);
    reader.object(&mut field)?;
    reader.end()
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of a body.
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, depth: 0 }
    }

    /// The error for the present place.
    pub(crate) fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    /// Passes over white space and shows the next byte without taking it.
    fn peek(&mut self) -> Result<u8> {
        loop {
            match self.input.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.malformed()),
            }
        }
    }

    /// Takes exactly this byte, white space before it included.
    fn take(&mut self, byte: u8) -> Result<()> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    /// Takes exactly this word.
    fn word(&mut self, word: &str) -> Result<()> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek() {
            Ok(_) => Err(self.malformed()),
            Err(_) => Ok(()),
        }
    }

    /// Takes `null` if it stands here.
    pub(crate) fn null(&mut self) -> Result<bool> {
        if self.peek()? == b'n' { self.word("null").map(|()| true) } else { Ok(false) }
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.malformed()) } else { Ok(()) }
    }

    /// Reads an object, or `null` as an empty one: `field` takes each value.
    pub(crate) fn object(&mut self, field: &mut dyn FnMut(&Cow<'a, str>, &mut Self) -> Result<()>) -> Result<()> {
        if self.null()? {
            return Ok(());
        }
        self.take(b'{')?;
        self.enter()?;
        if self.peek()? != b'}' {
            loop {
                let name = self.string()?;
                self.take(b':')?;
                field(&name, self)?;
                if self.peek()? != b',' {
                    break;
                }
                self.at += 1;
                if self.peek()? != b'"' {
                    return Err(self.malformed());
                }
            }
        }
        self.take(b'}')?;
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array: `item` takes each element. `null` is for the caller to take first.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.take(b'[')?;
        self.enter()?;
        if self.peek()? != b']' {
            loop {
                item(self)?;
                if self.peek()? != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        self.take(b']')?;
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string: borrowed from the body unless it holds an escape or invalid UTF-8.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.take(b'"')?;
        let rest = self.input.get(self.at..).unwrap_or_default();
        let (read, length) = text::string(rest).map_err(|at| Malformed { at: self.at + at })?;
        self.at += length;
        Ok(read)
    }

    /// Reads a string unless `take` takes it as it stands in the body: then none. `take` gets the bytes up to the next quote and must
    /// refuse all that hold one that does not mean itself: a backslash, a control character, a part of a character.
    pub(crate) fn string_unless(&mut self, take: impl FnOnce(&[u8]) -> bool) -> Result<Option<Cow<'a, str>>> {
        let begin = self.at;
        self.take(b'"')?;
        let rest = self.input.get(self.at..).unwrap_or_default();
        let letters = memchr::memchr(b'"', rest).and_then(|length| rest.get(..length));
        if let Some(letters) = letters.filter(|letters| take(letters)) {
            self.at += letters.len() + 1;
            return Ok(None);
        }
        self.at = begin;
        self.string().map(Some)
    }

    /// Reads a string; none for `null`.
    pub(crate) fn optional_string(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.null()? { Ok(None) } else { self.string().map(Some) }
    }

    /// Reads `true` or `false`; none for `null`.
    pub(crate) fn optional_boolean(&mut self) -> Result<Option<bool>> {
        match self.peek()? {
            b'n' => self.word("null").map(|()| None),
            b't' => self.word("true").map(|()| Some(true)),
            _ => self.word("false").map(|()| Some(false)),
        }
    }

    /// Reads an integer of 64 bits, written without fraction and exponent; none for `null`.
    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>> {
        if self.null()? {
            return Ok(None);
        }
        let start = self.at;
        let number = self.number()?;
        number.parse().map(Some).map_err(|_| Malformed { at: start })
    }

    /// Reads a string, a number or a boolean as the text it was written with (a string without its quotes); none for `null`.
    pub(crate) fn optional_scalar(&mut self) -> Result<Option<Cow<'a, str>>> {
        match self.peek()? {
            b'"' => self.string().map(Some),
            b'n' => self.word("null").map(|()| None),
            b't' => self.word("true").map(|()| Some(Cow::Borrowed("true"))),
            b'f' => self.word("false").map(|()| Some(Cow::Borrowed("false"))),
            _ => self.number().map(|number| Some(Cow::Borrowed(number))),
        }
    }

    /// Reads a number and answers its text.
    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.input.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.input.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.input.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.input.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.input.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.input.get(start..self.at).unwrap_or_default();
        str::from_utf8(text).map_err(|_| self.malformed())
    }

    /// Takes one digit or more.
    fn digits(&mut self) -> Result<()> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(self.malformed()),
            count => {
                self.at += count;
                Ok(())
            }
        }
    }

    /// One value of any kind as it was written.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8]> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(self.input.get(start..self.at).unwrap_or_default())
    }

    /// Passes over one value of any kind, checking its syntax.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            b'{' => self.object(&mut |_, reader| reader.skip()),
            b'[' => self.array(Self::skip),
            _ => self.optional_scalar().map(|_| ()),
        }
    }
}

/// Whether a field's name is the one meant.
pub(crate) fn is(name: &str, field: &str) -> bool {
    name.eq_ignore_ascii_case(field)
}
