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
    /// What it may use, where that is not as configured.
    pub quota: Quota,
}

/// What a project may use. Of each: none as configured for all, zero without bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Messages published in a second.
    pub messages_per_second: Option<u64>,
    /// Stored bytes published in a second.
    pub bytes_per_second: Option<u64>,
    /// Topics.
    pub topics: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Option<u64>,
}

impl Quota {
    /// This one where it says something, else the other.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        Self {
            messages_per_second: self.messages_per_second.or(other.messages_per_second),
            bytes_per_second: self.bytes_per_second.or(other.bytes_per_second),
            topics: self.topics.or(other.topics),
            subscriptions: self.subscriptions.or(other.subscriptions),
        }
    }
}
