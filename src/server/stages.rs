//! The stage of the pipeline that holds posted messages against a JSON Schema: members that the schema has defaults for are filled in, and
//! what breaks it is refused.

use crate::api::zaqar::Stage;
use crate::domain::message::PayloadForm;
use crate::domain::schema::{Rules, SchemaKind};
use crate::validation::{Compiled, fill_defaults};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// The stage.
#[derive(Clone, Debug)]
pub(super) struct SchemaStage(Arc<Schema>);

#[derive(Debug)]
struct Schema {
    text: Value,
    rules: Compiled,
}

impl SchemaStage {
    /// With the schema in a file.
    ///
    /// # Errors
    /// When it cannot be read or is no schema.
    pub(super) fn open(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
        text.and_then(|text| Self::new(&text)).map_err(|error| format!("zaqar.json_schema_file: {file}: {error}"))
    }

    fn new(text: &str) -> Result<Self, String> {
        let rules = Rules { kind: SchemaKind::Json, payload: text.to_owned(), attributes: None };
        let rules = Compiled::new(&rules)?;
        let text = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Schema { text, rules })))
    }
}

#[async_trait]
impl Stage for SchemaStage {
    async fn apply(&self, bodies: Vec<String>) -> Result<Vec<String>, String> {
        let schema = Arc::clone(&self.0);
        if schema.rules.is_quick(bodies.iter().map(String::len).sum()) {
            return schema.apply_all(bodies);
        }
        let applied = tokio::task::spawn_blocking(move || schema.apply_all(bodies)).await;
        applied.unwrap_or_else(|_| Err("The messages could not be checked, try again.".to_owned()))
    }
}

impl Schema {
    fn apply_all(&self, bodies: Vec<String>) -> Result<Vec<String>, String> {
        bodies.into_iter().enumerate().map(|(place, body)| self.apply(place, body)).collect()
    }

    fn apply(&self, place: usize, body: String) -> Result<String, String> {
        let mut value = serde_json::from_str::<Value>(&body).ok();
        let filled = value.as_mut().is_some_and(|value| fill_defaults(&self.text, value));
        // Only what is changed is written anew: a body stays the text it came as.
        let body = value.filter(|_| filled).map_or(body, |value| value.to_string());
        let checked = self.rules.check_payload(PayloadForm::Json, body.as_bytes());
        checked.map(|()| body).map_err(|fault| format!("The message {place} breaks the schema of this server: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "type": "object", "required": ["kind"],
        "properties": {"kind": {"type": "string"}, "level": {"type": "integer", "default": 3}}
    }"#;

    #[tokio::test]
    async fn defaults_are_filled_in_and_what_breaks_the_schema_is_refused() {
        let stage = SchemaStage::new(SCHEMA).unwrap();
        let apply = async |bodies: &[&str]| stage.apply(bodies.iter().map(|body| (*body).to_owned()).collect()).await;
        assert_eq!(
            apply(&[r#"{"kind": "a"}"#, r#"{"kind":  "b", "level": 1}"#]).await.unwrap(),
            [r#"{"kind":"a","level":3}"#, r#"{"kind":  "b", "level": 1}"#]
        );
        let told = apply(&[r#"{"kind": "a"}"#, r#"{"kind": 1}"#]).await.unwrap_err();
        assert!(told.starts_with("The message 1 breaks the schema of this server: "), "{told}");
        assert!(apply(&["1"]).await.is_err());
    }

    #[test]
    fn a_schema_that_is_none_is_refused_with_its_file() {
        assert!(SchemaStage::new("{\"type\": 1}").is_err());
        let told = SchemaStage::open("/nowhere/schema.json").unwrap_err();
        assert!(told.starts_with("zaqar.json_schema_file: /nowhere/schema.json: "), "{told}");
    }
}
