//! JSON Schema: compiled once, then asked about documents. Owns the bounds (nothing fetched, linear-time patterns, depth, work) and
//! the original's words for what is broken.

mod prepare;
mod syntax;
#[cfg(test)]
mod tests;
mod words;
mod work;

use crate::domain::schema::Fault;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde::Deserialize;
use serde_json::Value;
use work::Work;

/// Above so many values only the first broken rule of a document is told: telling all takes memory for each.
const TELL_ALL_VALUES: usize = 10_000;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct JsonRules {
    validator: Validator,
    /// The schema as it was compiled: the words look things up in it.
    schema: Value,
    work: Work,
    patterns: usize,
}

/// Refuses whatever is not in the schema itself.
struct Nothing;

impl Retrieve for Nothing {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is outside the schema").into())
    }
}

impl JsonRules {
    /// Compiles a schema: takes processor time in proportion to its size, up to a good part of a second.
    ///
    /// # Errors
    /// What is wrong with it, as the original says it.
    pub(super) fn compile(schema: Value) -> Result<Self, String> {
        let prepared = prepare::prepare(schema)?;
        let patterns =
            PatternOptions::regex().size_limit(prepare::PATTERN_BYTES).dfa_size_limit(prepare::PATTERN_CACHE_BYTES);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft7)
            .with_retriever(Nothing)
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .with_format("regex", prepare::is_pattern)
            .build(&prepared.schema)
            .map_err(|error| words::of_schema(&error))?;
        Ok(Self { validator, schema: prepared.schema, work: prepared.work, patterns: prepared.patterns })
    }

    /// About how many bytes it takes beside its text.
    pub(super) const fn patterns_bytes(&self) -> usize {
        self.patterns * (prepare::PATTERN_BYTES + prepare::PATTERN_CACHE_BYTES)
    }

    /// Whether checking so many bytes is a matter of moments.
    pub(super) fn is_small(&self, bytes: usize) -> bool {
        self.work.is_small(bytes) && (self.patterns == 0 || bytes <= 64 << 10)
    }

    /// Checks the first JSON value of a text; what follows it does not count.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), Fault> {
        if !self.work.allows(text) {
            return Err(Fault::Payload(vec!["(root): Takes too long to check against this schema".to_owned()]));
        }
        let value = parse(text).map_err(Fault::NotJson)?;
        self.broken(&value).map_or(Ok(()), |broken| Err(Fault::Payload(broken)))
    }

    /// The rules that a value breaks, in the original's words and order; none when it keeps them all.
    pub(super) fn broken(&self, value: &Value) -> Option<Vec<String>> {
        if self.validator.is_valid(value) {
            return None;
        }
        let few = values(value, TELL_ALL_VALUES) <= TELL_ALL_VALUES;
        let errors = if few {
            self.validator.iter_errors(value).collect()
        } else {
            self.validator.validate(value).err().into_iter().collect()
        };
        Some(words::of_errors(errors, &self.schema, value))
    }
}

/// Reads the first value of a text.
///
/// # Errors
/// Why it has none, in Go's words.
fn parse(text: &[u8]) -> Result<Value, String> {
    let read = |text: &[u8]| Value::deserialize(&mut serde_json::Deserializer::from_slice(text));
    read(text).or_else(|error| {
        if let Some(complaint) = syntax::complaint(text) {
            return Err(complaint);
        }
        // Go replaces what is no UTF-8 where the parser here refuses it; else it is too deep, or a number out of bounds.
        match std::str::from_utf8(text) {
            Ok(_) => Err(error.to_string()),
            Err(_) => read(String::from_utf8_lossy(text).as_bytes()).map_err(|error| error.to_string()),
        }
    })
}

/// How many values a value holds, itself included; counts no further than just above `most`.
fn values(value: &Value, most: usize) -> usize {
    let mut count = 0;
    let mut open = vec![value];
    while let Some(next) = open.pop() {
        count += 1;
        if count > most {
            break;
        }
        match next {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    count
}
