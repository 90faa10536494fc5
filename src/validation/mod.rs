//! Schemas at work: rules compiled once, then asked about messages. Pure: knows no topic, no store, no dialect's route.
//!
//! Everything is bounded by itself, whoever wrote the schema or the message: size, depth, regular expressions, work. The words for what
//! is broken are those of the original's libraries, because its users read them (`json`, `avro`).

mod avro;
mod base64;
mod defaults;
mod json;

pub use defaults::fill_defaults;

use crate::domain::message::PayloadForm;
use crate::domain::schema::{Fault, Rules, SchemaKind};
use avro::AvroRules;
use json::JsonRules;
use serde_json::Value;
use std::borrow::Cow;

/// Most bytes of a schema's text.
pub const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Rules that messages can be checked by.
#[derive(Debug)]
pub struct Compiled {
    payload: Payload,
    attributes: Option<JsonRules>,
    /// About how many bytes it takes.
    bytes: usize,
}

#[derive(Debug)]
enum Payload {
    Json(JsonRules),
    Avro(AvroRules),
}

impl Compiled {
    /// Compiles rules. Takes processor time, bounded to about a second: not for a thread that others wait for.
    ///
    /// # Errors
    /// What is wrong with them, as the original says it.
    pub fn new(rules: &Rules) -> Result<Self, String> {
        let text_bytes = rules.payload.len() + rules.attributes.as_ref().map_or(0, String::len);
        if text_bytes > SCHEMA_BYTES_MAX {
            return Err(format!("schema is larger than {SCHEMA_BYTES_MAX} bytes"));
        }
        let payload = match rules.kind {
            SchemaKind::Json => Payload::Json(JsonRules::compile(read(&rules.payload)?)?),
            SchemaKind::Avro => Payload::Avro(AvroRules::compile(&read(&rules.payload)?)?),
        };
        let attributes = match &rules.attributes {
            Some(text) => {
                let compiled = JsonRules::compile(read(text)?).map_err(|why| format!("attributes: {why}"))?;
                Some(compiled)
            }
            None => None,
        };
        let patterns = [payload.json(), attributes.as_ref()].into_iter().flatten().map(JsonRules::patterns_bytes);
        let bytes = patterns.sum::<usize>() + text_bytes * 32;
        Ok(Self { payload, attributes, bytes })
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether checking messages of so many bytes together is a matter of moments, and may be done where others wait.
    #[must_use]
    pub fn is_quick(&self, bytes: usize) -> bool {
        bytes <= 256 << 10
            && [self.payload.json(), self.attributes.as_ref()].into_iter().flatten().all(|rules| rules.is_small(bytes))
    }

    /// Checks a message: its payload, then its attributes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check<'m>(
        &self,
        form: PayloadForm,
        payload: &[u8],
        attributes: impl Iterator<Item = (&'m str, &'m str)>,
    ) -> Result<(), Fault> {
        self.check_payload(form, payload)?;
        let Some(rules) = &self.attributes else { return Ok(()) };
        let map = attributes.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        rules.broken(&Value::Object(map)).map_or(Ok(()), |broken| Err(Fault::Attributes(broken)))
    }

    /// Checks a payload alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_payload(&self, form: PayloadForm, payload: &[u8]) -> Result<(), Fault> {
        let bytes = match form {
            PayloadForm::Binary | PayloadForm::Json => Cow::Borrowed(payload),
            PayloadForm::Verbatim => Cow::Owned(base64::decode(payload).map_err(Fault::NotBase64)?),
        };
        match &self.payload {
            Payload::Json(rules) => rules.check(&bytes),
            Payload::Avro(rules) => rules.check(&bytes).map_err(Fault::NotAvro),
        }
    }
}

impl Payload {
    const fn json(&self) -> Option<&JsonRules> {
        match self {
            Self::Json(rules) => Some(rules),
            Self::Avro(_) => None,
        }
    }
}

fn read(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("schema is invalid: {error}"))
}

#[cfg(test)]
mod tests;
