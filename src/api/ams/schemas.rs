//! Schemas: create, show, list, update, delete, validate; and references to them in topics' bodies. The words for a message that breaks
//! one are in `error`.
//!
//! Beyond the original, a schema may hold `attributes`: a JSON Schema of the map of a message's attributes (values are texts). It is
//! shown only where it was given; an empty object takes it away. `:validate?attributes={…}` checks attributes too.

use super::bodies;
use super::error::{Failure, Refusal};
use super::json::{self, Malformed, Reader, is};
use super::projects::new_name;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::broker::{NewSchema, SchemaChange};
use crate::domain::Name;
use crate::domain::message::{Attributes, PayloadForm};
use crate::domain::project::Project;
use crate::domain::schema::{Rules, Schema, SchemaKind};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Create and update. Trailing data do not count.
#[derive(Debug, Default)]
struct SchemaBody<'a> {
    name: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    schema: Option<Map<String, Value>>,
    attributes: Option<Map<String, Value>>,
}

impl<'a> SchemaBody<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Failure> {
        let mut read = Self::default();
        let mut reader = Reader::new(body);
        let fields = reader.object(&mut |name, reader| {
            match name {
                _ if is(name, "name") => read.name = reader.optional_string()?.or(read.name.take()),
                _ if is(name, "type") => read.kind = reader.optional_string()?.or(read.kind.take()),
                _ if is(name, "schema") => read.schema = object(reader)?,
                _ if is(name, "attributes") => read.attributes = object(reader)?,
                _ if is(name, "uuid") => drop(reader.optional_string()?),
                _ => reader.skip()?,
            }
            Ok(())
        });
        fields.map_err(|_| Failure::arguments("Schema"))?;
        Ok(read)
    }

    /// The language named, if one is.
    fn kind(&self) -> Result<Option<SchemaKind>, Failure> {
        match self.kind.as_deref().unwrap_or_default().to_lowercase().as_str() {
            "" => Ok(None),
            "json" => Ok(Some(SchemaKind::Json)),
            "avro" => Ok(Some(SchemaKind::Avro)),
            _ => Err(unknown_kind()),
        }
    }

    /// The rules of attributes given: none when nothing is said of them, `Some(None)` when there are to be none.
    fn attributes(&mut self) -> Option<Option<String>> {
        self.attributes.take().map(|rules| (!rules.is_empty()).then(|| text(rules)))
    }
}

fn unknown_kind() -> Failure {
    Failure::argument("Schema type can only be 'json' or 'avro'")
}

/// Reads an object; none for `null`.
fn object(reader: &mut Reader<'_>) -> json::Result<Option<Map<String, Value>>> {
    let malformed: Malformed = reader.malformed();
    serde_json::from_slice(reader.raw()?).map_err(|_| malformed)
}

fn text(object: Map<String, Value>) -> String {
    Value::Object(object).to_string()
}

fn write(project: &Project, schema: &Schema, json: &mut Json) {
    let value = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    json.field("uuid").quoted(schema.id);
    json.field("name").string(&reference_to(project, schema));
    json.field("type").string(match schema.rules.kind {
        SchemaKind::Json => "json",
        SchemaKind::Avro => "avro",
    });
    json.field("schema").value(&value(&schema.rules.payload));
    if let Some(attributes) = &schema.rules.attributes {
        json.field("attributes").value(&value(attributes));
    }
}

/// How topics name a schema.
pub(crate) fn reference_to(project: &Project, schema: &Schema) -> String {
    format!("projects/{}/schemas/{}", project.name, schema.name)
}

fn shown(call: &Call<'_>, schema: &Schema) -> Answer {
    let project = call.project()?;
    Ok(render::object(Indent::One, |json| write(project, schema, json)))
}

/// The schema that a topic's body names, by its full name; the project in it does not count. None for none.
pub(crate) async fn named(call: &Call<'_>) -> Result<Option<Arc<Schema>>, Refusal> {
    if call.body.is_empty() {
        return Ok(None);
    }
    let body = bodies::map(&call.body).map_err(|_| Failure::INVALID_BODY)?;
    let reference = body.get("schema").map_or("", String::as_str);
    if reference.is_empty() {
        return Ok(None);
    }
    let name = Name::new(last_of(reference)?).map_err(|_| Failure::not_found("Schema"))?;
    Ok(Some(call.ams.broker.schema(call.project_id()?, &name).await?))
}

/// The name in a reference to a schema.
fn last_of(reference: &str) -> Result<&str, Failure> {
    let mut parts = reference.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("projects"), Some(_), Some("schemas"), Some(name), None) => Ok(name),
        _ => Err(Failure::argument("wrong schema name declaration")),
    }
}

async fn of_path(call: &Call<'_>) -> Result<Arc<Schema>, Refusal> {
    Ok(call.ams.broker.schema(call.project_id()?, &call.name("schema")?).await?)
}

/// All schemas in creation order.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let project = call.project()?;
    let schemas = call.ams.broker.schemas(project.id).await?;
    Ok(render::object(Indent::One, |json| {
        json.field("schemas").array(|json| {
            schemas.iter().for_each(|schema| json.item().object(|json| write(project, schema, json)));
        });
    }))
}

/// The path's schema.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    shown(call, &*of_path(call).await?)
}

/// Makes the path's schema.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let mut body = SchemaBody::decode(&call.body)?;
    let (project, name) = (call.project_id()?, call.name("schema")?);
    call.ams.broker.refuse_taken_schema(project, &name, None).await?;
    let kind = body.kind()?.ok_or_else(unknown_kind)?;
    let attributes = body.attributes().flatten();
    // Without a schema nothing could ever be valid (quirk 36).
    let payload = text(body.schema.ok_or_else(|| Failure::argument("schema is invalid"))?);
    let rules = Rules { kind, payload, attributes };
    let new = NewSchema { name, rules, created_by: call.principal.user_id() };
    shown(call, &*call.ams.broker.create_schema(project, new).await?)
}

/// Changes the path's schema: what the body does not tell stays.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let schema = of_path(call).await?;
    let mut body = SchemaBody::decode(&call.body)?;
    let name = match body.name.take().filter(|name| !name.is_empty()) {
        Some(reference) => {
            let last = last_of(&reference)?.to_owned();
            new_name(Some(Cow::Owned(last)), "schema")?
        }
        None => None,
    };
    if let Some(name) = &name {
        call.ams.broker.refuse_taken_schema(schema.project, name, Some(schema.id)).await?;
    }
    let change =
        SchemaChange { name, kind: body.kind()?, attributes: body.attributes(), payload: body.schema.map(text) };
    shown(call, &*call.ams.broker.update_schema(schema.project, &schema.name, change).await?)
}

/// Removes the path's schema; topics that have it have none then.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    call.ams.broker.delete_schema(call.project_id()?, &call.name("schema")?).await?;
    Ok(Vec::new())
}

/// Checks one message: the body is the JSON document, or holds an Avro datum as base64.
pub(crate) async fn validate(call: &Call<'_>) -> Answer {
    let schema = of_path(call).await?;
    let (form, payload) = match schema.rules.kind {
        SchemaKind::Json => (PayloadForm::Json, call.body.clone()),
        SchemaKind::Avro => {
            let mut body = bodies::map(&call.body).map_err(|_| Failure::INVALID_BODY)?;
            let data = body.remove("data").ok_or_else(|| Failure::arguments("Schema Payload"))?;
            (PayloadForm::Verbatim, data.into())
        }
    };
    let attributes = match call.query.get("attributes") {
        Some(map) => {
            let map = bodies::map(map.as_bytes()).map_err(|_| Failure::arguments("Schema Payload"))?;
            Some(Attributes::from_pairs(&map))
        }
        None => None,
    };
    call.ams.broker.check_message(&schema, form, payload, attributes).await?;
    Ok(render::object(Indent::One, |json| json.field("message").string("Message validated successfully")))
}
