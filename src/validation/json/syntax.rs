//! Why a text is not JSON, in the words of Go's `encoding/json`, which the original passes on to its users. Only asked about texts
//! that were refused: not on any fast path, and decides nothing.

/// The words for a text without a whole first value; none when it has one (what follows does not count). O(length), no recursion.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0 }.document().err()
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// What must come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    AfterValue,
}

type Step<T = ()> = Result<T, String>;

impl Scanner<'_> {
    fn document(&mut self) -> Step {
        if self.blank().is_none() {
            return Err("EOF".to_owned());
        }
        let mut open: Vec<u8> = Vec::new();
        let mut expect = Expect::Value;
        loop {
            let Some(next) = self.blank() else { return Err(cut()) };
            let inside = open.last().copied();
            match (expect, next) {
                (Expect::Value | Expect::ValueOrEnd, b'{') => {
                    open.push(next);
                    self.at += 1;
                    expect = Expect::KeyOrEnd;
                }
                (Expect::Value | Expect::ValueOrEnd, b'[') => {
                    open.push(next);
                    self.at += 1;
                    expect = Expect::ValueOrEnd;
                }
                (Expect::ValueOrEnd, b']') | (Expect::KeyOrEnd, b'}') => {
                    self.at += 1;
                    open.pop();
                    expect = Expect::AfterValue;
                }
                (Expect::Value | Expect::ValueOrEnd, _) => {
                    self.scalar(next)?;
                    expect = Expect::AfterValue;
                }
                (Expect::KeyOrEnd | Expect::Key, b'"') => {
                    self.string()?;
                    match self.blank() {
                        Some(b':') => self.at += 1,
                        Some(other) => return Err(unexpected(other, "after object key")),
                        None => return Err(cut()),
                    }
                    expect = Expect::Value;
                }
                (Expect::KeyOrEnd | Expect::Key, other) => {
                    return Err(unexpected(other, "looking for beginning of object key string"));
                }
                (Expect::AfterValue, b',') => {
                    self.at += 1;
                    expect = if inside == Some(b'{') { Expect::Key } else { Expect::Value };
                }
                (Expect::AfterValue, b'}') if inside == Some(b'{') => {
                    self.at += 1;
                    open.pop();
                }
                (Expect::AfterValue, b']') if inside == Some(b'[') => {
                    self.at += 1;
                    open.pop();
                }
                (Expect::AfterValue, other) if inside == Some(b'{') => {
                    return Err(unexpected(other, "after object key:value pair"));
                }
                (Expect::AfterValue, other) => return Err(unexpected(other, "after array element")),
            }
            if expect == Expect::AfterValue && open.is_empty() {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over white space; the byte after it.
    fn blank(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.peek()
    }

    fn scalar(&mut self, first: u8) -> Step {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            other => Err(unexpected(other, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str) -> Step {
        for letter in word.bytes() {
            match self.peek() {
                Some(byte) if byte == letter => self.at += 1,
                Some(other) => {
                    let expecting = quoted(letter);
                    return Err(unexpected(other, &format!("in literal {word} (expecting {expecting})")));
                }
                None => return Err(cut()),
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Step {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.peek() {
            _ if self.at > begin => Ok(()),
            Some(other) => Err(unexpected(other, place)),
            None => Err(cut()),
        }
    }

    /// Reads a string from its opening quote on.
    fn string(&mut self) -> Step {
        self.at += 1;
        loop {
            let Some(byte) = self.peek() else { return Err(cut()) };
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                0..0x20 => return Err(unexpected(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Step {
        let Some(byte) = self.peek() else { return Err(cut()) };
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    match self.peek() {
                        Some(digit) if digit.is_ascii_hexdigit() => self.at += 1,
                        Some(other) => return Err(unexpected(other, "in \\u hexadecimal character escape")),
                        None => return Err(cut()),
                    }
                }
                Ok(())
            }
            other => Err(unexpected(other, "in string escape code")),
        }
    }
}

fn cut() -> String {
    "unexpected EOF".to_owned()
}

fn unexpected(byte: u8, place: &str) -> String {
    format!("invalid character {} {place}", quoted(byte))
}

/// A byte as Go quotes one in these words.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_in_gos_words() {
        for (text, words) in [
            ("", "EOF"),
            (" \n", "EOF"),
            ("{", "unexpected EOF"),
            (r#"{"a":"#, "unexpected EOF"),
            (r#"{"a"#, "unexpected EOF"),
            ("not json", "invalid character 'o' in literal null (expecting 'u')"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("[1.]", "invalid character ']' after decimal point in numeric literal"),
            ("[1e]", "invalid character ']' in exponent of numeric literal"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u12g4""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("\u{ff}", "invalid character 'Ã' looking for beginning of value"),
            ("Obj\x01", "invalid character 'O' looking for beginning of value"),
        ] {
            assert_eq!(complaint(text.as_bytes()).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_follows_the_first_value_does_not_count() {
        for text in ["1 x", "{} {", "null,", r#"{"a":[1,{"b":"\u00e9"}]}x"#, "-0.5e+3", "01"] {
            assert_eq!(complaint(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn deep_texts_take_no_stack() {
        assert_eq!(complaint(&[b'['; 1 << 20]).as_deref(), Some("unexpected EOF"));
    }
}
