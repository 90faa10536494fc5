//! The original's collections as `mongoexport` writes them, one JSON document a line, and its topics' messages as `ams-migrate` writes
//! them. Owns these forms alone.

use super::super::{payload, times};
use crate::broker::BatchBuilder;
use crate::broker::NewMessage;
use crate::domain::message::Attributes;
use crate::domain::{Name, Timestamp};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Most bytes of a line: a message of the original's largest size, quoted twice.
const LINE_MAX: usize = 64 << 20;
/// Messages of one instant share a batch up to this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// One document of a collection.
pub(super) struct Row {
    value: Value,
    place: String,
}

impl Row {
    /// What is wrong with it, with its place.
    pub(super) fn wrong(&self, why: impl std::fmt::Display) -> String {
        format!("{}: {why}", self.place)
    }

    /// A text; empty when it is missing.
    pub(super) fn text(&self, field: &str) -> &str {
        self.value.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A text that must be a name.
    pub(super) fn name(&self, field: &str) -> Result<Name, String> {
        Name::new(self.text(field)).map_err(|error| self.wrong(format!("{field}: {error}")))
    }

    /// What a text means, which must mean something.
    pub(super) fn parsed<T>(&self, field: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        parse(self.text(field)).ok_or_else(|| self.wrong(format!("{field} `{}` makes no sense", self.text(field))))
    }

    /// A number in any of `mongoexport`'s forms; 0 when it is missing.
    pub(super) fn number(&self, field: &str) -> u64 {
        self.value.get(field).and_then(number).unwrap_or(0)
    }

    pub(super) fn flag(&self, field: &str) -> bool {
        self.value.get(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A time in any of `mongoexport`'s forms; 1970 when it is missing.
    pub(super) fn time(&self, field: &str) -> Timestamp {
        self.value.get(field).and_then(time).unwrap_or(Timestamp::EPOCH)
    }

    /// The texts of a list; none when it is missing.
    pub(super) fn texts(&self, field: &str) -> impl Iterator<Item = &str> {
        self.rows(field).filter_map(Value::as_str)
    }

    /// The entries of a list.
    pub(super) fn rows(&self, field: &str) -> impl Iterator<Item = &Value> {
        self.value.get(field).and_then(Value::as_array).into_iter().flatten()
    }
}

fn number(value: &Value) -> Option<u64> {
    let wrapped = || value.get("$numberLong").or_else(|| value.get("$numberInt"))?.as_str()?.parse().ok();
    value.as_u64().or_else(wrapped)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "milliseconds of a date are a whole number"
)]
fn time(value: &Value) -> Option<Timestamp> {
    let value = value.get("$date").unwrap_or(value);
    match value.as_str() {
        Some(text) => instant(text),
        None => number(value)
            .or_else(|| value.as_f64().map(|millis| millis.max(0.0) as u64))
            .map(|millis| Timestamp(millis.saturating_mul(1_000))),
    }
}

/// `2020-11-19T00:00:00Z` with any number of fraction digits.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.strip_suffix('Z')?.split_once('.').unwrap_or((text.strip_suffix('Z')?, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let micros: u64 = digits.parse().ok()?;
    Some(Timestamp(times::read(&format!("{whole}.000Z"))?.0.saturating_add(micros)))
}

/// A collection of the folder: `NAME.json`; none when there is no such file.
pub(super) fn collection(folder: &Path, name: &str) -> Result<Vec<Row>, String> {
    let path = folder.join(format!("{name}.json"));
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for (line, number) in Lines::open(&path)?.zip(1..) {
        let (line, place) = (line?, format!("{}, line {number}", path.display()));
        if !line.trim().is_empty() {
            let value = serde_json::from_str(&line).map_err(|error| format!("{place}: {error}"))?;
            rows.push(Row { value, place });
        }
    }
    Ok(rows)
}

/// The lines of a file, each bounded.
struct Lines {
    file: BufReader<File>,
    path: PathBuf,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { file: BufReader::with_capacity(1 << 20, file), path: path.to_owned() })
    }
}

impl Iterator for Lines {
    type Item = Result<String, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let wrong = |why: &dyn std::fmt::Display| Some(Err(format!("{}: {why}", self.path.display())));
        match std::io::Read::take(&mut self.file, LINE_MAX as u64).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(LINE_MAX..) => wrong(&"a line is too long"),
            Ok(_) => match String::from_utf8(line) {
                Ok(line) => Some(Ok(line)),
                Err(_) => wrong(&"it is not UTF-8"),
            },
            Err(error) => wrong(&error),
        }
    }
}

/// The messages of one topic, as batches.
pub(super) struct Messages {
    lines: Lines,
    /// The offset of the first one, and that after the last one.
    pub(super) first: u64,
    end: u64,
    read: u64,
    /// One that was read and begins the next batch.
    ahead: Option<Message>,
}

struct Message {
    at: Timestamp,
    data: String,
    attributes: Vec<(String, String)>,
}

impl Messages {
    /// A topic's file; none when it is missing or empty.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, String> {
        if !path.exists() {
            return Ok(None);
        }
        let mut lines = Lines::open(path)?;
        let Some(head) = lines.next().transpose()? else { return Ok(None) };
        let mut words = head.trim().rsplitn(3, ',');
        let mut number = || words.next().and_then(|word| word.trim().parse::<u64>().ok());
        match (number(), number()) {
            (Some(end), Some(first)) if first <= end => Ok(Some(Self { lines, first, end, read: 0, ahead: None })),
            _ => Err(format!("{}: its first line is not <topic>,<first>,<end>", path.display())),
        }
    }

    fn message(&mut self) -> Result<Option<Message>, String> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let (path, number) = (self.lines.path.display().to_string(), self.read + 2);
        let wrong = |why: &dyn std::fmt::Display| format!("{path}, line {number}: {why}");
        let Some(line) = self.lines.next().transpose()? else {
            let wanted = self.end - self.first;
            // Without every offset nobody knows which message a cursor stands at.
            let told = || format!("{path}: it holds {} messages, its first line says {wanted}", self.read);
            return if self.read == wanted { Ok(None) } else { Err(told()) };
        };
        self.read += 1;
        let text: String = serde_json::from_str(line.trim_end()).map_err(|error| wrong(&error))?;
        let text = plain(&text).ok_or_else(|| wrong(&"it is no message"))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        let at = value.get("publishTime").and_then(Value::as_str).and_then(instant);
        let attributes = value.get("attributes").and_then(Value::as_object).into_iter().flatten();
        Ok(Some(Message {
            at: at.unwrap_or(Timestamp::EPOCH),
            data: value.get("data").and_then(Value::as_str).unwrap_or_default().to_owned(),
            attributes: attributes.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
        }))
    }

    fn batch(&mut self) -> Result<Option<(Timestamp, BatchBuilder)>, String> {
        let Some(mut message) = self.message()? else { return Ok(None) };
        let at = message.at;
        let mut batch = BatchBuilder::new(at);
        loop {
            batch.begin();
            let form = payload::put(&message.data, &mut batch);
            let attributes = Attributes::from_pairs(message.attributes.iter().map(|(key, value)| (key, value)));
            let ended = batch.end(&NewMessage { form, attributes, ..NewMessage::default() });
            ended.map_err(|error| format!("{}, line {}: {error}", self.lines.path.display(), self.read + 1))?;
            match self.message()? {
                Some(next) if next.at == at && batch.bytes() + next.data.len() < BATCH_BYTES => message = next,
                ahead => {
                    self.ahead = ahead;
                    return Ok(Some((at, batch)));
                }
            }
        }
    }
}

impl Iterator for Messages {
    type Item = Result<(Timestamp, BatchBuilder), String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// The text of a stored message: itself, or what Python writes for the bytes of it (`b'…'`).
fn plain(text: &str) -> Option<String> {
    let quoted =
        ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix('b')?.strip_prefix(quote)?.strip_suffix(quote));
    let Some(quoted) = quoted else { return Some(text.to_owned()) };
    let (mut bytes, mut letters) = (Vec::with_capacity(quoted.len()), quoted.chars());
    while let Some(letter) = letters.next() {
        let byte = match letter {
            '\\' => match letters.next()? {
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'x' => u8::from_str_radix(&letters.by_ref().take(2).collect::<String>(), 16).ok()?,
                other => u8::try_from(other).ok()?,
            },
            other => u8::try_from(other).ok()?,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_form_of_bytes_is_undone() {
        for (written, meant) in [
            ("{\"a\": 1}", "{\"a\": 1}"),
            (r#"b'{\n   "a": "\'\\\\"}'"#, "{\n   \"a\": \"'\\\\\"}"),
            (r#"b"it's \xc3\xa9""#, "it's é"),
        ] {
            assert_eq!(plain(written).as_deref(), Some(meant), "{written}");
        }
        assert_eq!(plain(r"b'\xff'"), None);
    }

    #[test]
    fn times_and_numbers_are_read_in_all_forms() {
        let row = |text: &str| Row { value: serde_json::from_str(text).unwrap(), place: String::new() };
        let forms = [
            r#"{"t": {"$date": "2020-11-19T10:00:00.25Z"}}"#,
            r#"{"t": {"$date": {"$numberLong": "1605780000250"}}}"#,
            r#"{"t": {"$date": 1605780000250}}"#,
            r#"{"t": "2020-11-19T10:00:00.250000Z"}"#,
        ];
        for form in forms {
            assert_eq!(row(form).time("t"), Timestamp(1_605_780_000_250_000), "{form}");
        }
        assert_eq!(row(r#"{"n": {"$numberLong": "7"}}"#).number("n"), 7);
        assert_eq!(row(r#"{"n": {"$numberInt": "7"}}"#).number("n"), 7);
        assert_eq!(row(r#"{"n": 7}"#).number("n"), 7);
        assert_eq!((row("{}").number("n"), row("{}").time("n")), (0, Timestamp::EPOCH));
    }
}
