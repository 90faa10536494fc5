//! What a topic is: a name in a project, a log, and what is kept for how long.

use super::id::{Incarnation, LogRef, Name, ProjectId, SchemaId, Timestamp, TopicId, UserId};
use bytes::Bytes;
use std::time::Duration;

/// A topic as its document has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its identity; grows with creation time.
    pub id: TopicId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name, unique among the project's topics.
    pub name: Name,
    /// Its log.
    pub log: LogRef,
    /// How many topics have borne this name in this project, this one included.
    pub incarnation: Incarnation,
    /// What is kept.
    pub retention: Retention,
    /// The schema that messages must satisfy, if any.
    pub schema: Option<SchemaId>,
    /// What a dialect keeps with the topic, in the dialect's own form.
    pub metadata: Bytes,
    /// Whether its messages are encrypted where they are stored.
    pub sealed: bool,
    /// Who may publish, for the roles that are bound to access lists.
    pub acl: Vec<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, unless that was no user.
    pub created_by: Option<UserId>,
}

/// What a topic keeps, acknowledged or not: replay needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Messages older than this go.
    pub age: Duration,
    /// The oldest messages go while the log holds more bytes than this; none for no bound.
    pub bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: super::limits::RETENTION_DEFAULT, bytes: None }
    }
}
