//! What a schema is: rules that the messages of a topic keep, and what is wrong with one that does not.

use super::id::{Name, ProjectId, SchemaId, Timestamp, UserId};
use std::fmt;

/// The language that a schema is written in. Codes are stored: frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum SchemaKind {
    /// JSON Schema: the payload is a JSON document.
    Json = 1,
    /// Avro: the payload is the bare binary form of one datum.
    Avro = 2,
}

/// What a message must be, as texts of JSON documents.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Rules {
    /// The language of `payload`.
    pub kind: SchemaKind,
    /// What payloads must be: a JSON text.
    pub payload: String,
    /// What attributes must be: a JSON Schema of the map of attributes, whose values are strings. None asks nothing of them.
    pub attributes: Option<String>,
}

/// A schema as its document has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    /// Its identity through renames; grows with creation time.
    pub id: SchemaId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name, unique among the project's schemas.
    pub name: Name,
    /// The rules.
    pub rules: Rules,
    /// Rises with each change of the rules.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, unless that was no user.
    pub created_by: Option<UserId>,
}

/// What is wrong with a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Its text is not base64: the offset of the first offending letter or group.
    NotBase64(usize),
    /// Its payload is not JSON: why.
    NotJson(String),
    /// Its payload breaks the JSON Schema: each rule broken.
    Payload(Vec<String>),
    /// Its payload is not a datum of the Avro schema: why.
    NotAvro(String),
    /// Its attributes break their rules: each rule broken.
    Attributes(Vec<String>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64(at) => write!(f, "its data is not base64 at byte {at}"),
            Self::NotJson(why) => write!(f, "its data is not JSON: {why}"),
            Self::Payload(broken) => write!(f, "its data is not valid: {}", broken.join("; ")),
            Self::NotAvro(why) => write!(f, "its data is not valid: {why}"),
            Self::Attributes(broken) => write!(f, "its attributes are not valid: {}", broken.join("; ")),
        }
    }
}
