//! What a project is: a namespace of topics, subscriptions and schemas, with members.

use super::id::{Name, ProjectId, Timestamp, UserId};

/// A project as its document has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Project {
    /// Its identity through renames.
    pub id: ProjectId,
    /// Its present name.
    pub name: Name,
    /// Free text.
    pub description: String,
    /// Who made it, unless that was no user.
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}
