//! Zaqar's projects and queues among ours. A Zaqar project is a project of ours that no other dialect can name, made when its first queue
//! is; whatever it is called, it collides with no other.

use super::Zaqar;
use crate::broker::queue::{DeadLetterPolicy, Queue};
use crate::broker::{NewProject, NewTopic};
use crate::domain::{Error, Name, ProjectId, Resource, Result};
use aws_lc_rs::digest;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What their names begin with: a colon is in no name of AMS.
const PREFIX: &str = "zaqar:";
/// Longer ids are known by their hash, which begins with what no escaped id has.
const ID_BYTES_MAX: usize = 512;
const HASH: char = '#';
/// What the name holds of an id as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The name that a Zaqar project has here.
///
/// # Errors
/// Never for an id that came in a header.
pub(crate) fn project_name(id: &str) -> Result<Name> {
    let mut name = PREFIX.to_owned();
    name.extend(utf8_percent_encode(id, KEPT));
    if name.len() > ID_BYTES_MAX {
        name.truncate(PREFIX.len());
        name.push(HASH);
        name.extend(digest::digest(&digest::SHA256, id.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")));
    }
    Name::new(&name)
}

impl Zaqar {
    /// A Zaqar project; none while nothing was ever put into it.
    pub(crate) async fn project(&self, id: &str) -> Result<Option<ProjectId>> {
        let bound = self.options().bindings.project(id).cloned();
        let name = bound.map_or_else(|| project_name(id), Ok)?;
        missing_is_none(self.broker.project(&name).await.map(|project| project.id))
    }

    /// A Zaqar project, made if need be.
    pub(crate) async fn project_made(&self, id: &str) -> Result<ProjectId> {
        if let Some(project) = self.project(id).await? {
            return Ok(project);
        }
        if let Some(bound) = self.options().bindings.project(id) {
            return Err(Error::Unavailable(format!("the project {bound}, which is bound, does not exist")));
        }
        let name = project_name(id)?;
        let new = NewProject { name: name.clone(), description: String::new(), created_by: None };
        match self.broker.create_project(new).await {
            Err(Error::AlreadyExists(_)) => self.broker.project(&name).await.map(|project| project.id),
            made => made.map(|project| project.id),
        }
    }

    /// A queue; none when there is none.
    pub(crate) async fn queue(&self, project: &str, name: &Name) -> Result<Option<Queue>> {
        let Some(project) = self.project(project).await? else { return Ok(None) };
        missing_is_none(self.broker.queue(project, name).await)
    }

    /// Makes a queue unless it is there, and tells whether it did.
    pub(crate) async fn make_queue(
        &self,
        project: &str,
        name: &Name,
        metadata: Bytes,
        policy: DeadLetterPolicy,
    ) -> Result<(Queue, bool)> {
        let project = self.project_made(project).await?;
        let retention = self.options().retention;
        let new = NewTopic { name: name.clone(), retention, schema: None, created_by: None };
        self.broker.create_queue(project, new, metadata, policy).await
    }

    /// A queue with nothing special about it, made if need be.
    pub(crate) async fn queue_made(&self, project: &str, name: &Name) -> Result<Queue> {
        let metadata = Bytes::from_static(b"{}");
        self.make_queue(project, name, metadata, DeadLetterPolicy::default()).await.map(|(queue, _)| queue)
    }
}

/// What is not there, or went away meanwhile, is none.
pub(crate) fn missing_is_none<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(Error::NotFound(Resource::Project | Resource::Topic | Resource::Subscription) | Error::TopicGone) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_of_any_id_have_names_of_their_own() {
        let name = |id: &str| project_name(id).unwrap().as_str().to_owned();
        assert_eq!(name("proj-1_a.b"), "zaqar:proj-1_a.b");
        assert_eq!(name("a/b %ü"), "zaqar:a%2Fb%20%25%C3%BC");
        let (one, other) = (name(&"ü".repeat(256)), name(&format!("{}x", "ü".repeat(255))));
        assert!(one.starts_with("zaqar:#") && one != other && one.len() == other.len());
        assert_ne!(name(one.strip_prefix("zaqar:").unwrap()), one, "nobody names another's hash");
    }
}
