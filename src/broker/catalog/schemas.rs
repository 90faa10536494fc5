//! Schemas as documents. A topic names its schema by identity: when the schema is removed, the topic's messages are free again. Checks
//! no message: that is [`crate::broker::schemas`].

use super::Broker;
use super::entity::Entity;
use crate::broker::documents::keys::SchemaKey;
use crate::domain::schema::{Rules, Schema, SchemaKind};
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, ProjectId, Resource, Result, SchemaId, UserId};
use std::sync::Arc;

/// What a new schema is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSchema {
    /// Unique in the project.
    pub name: Name,
    /// The rules.
    pub rules: Rules,
    /// Who asks, unless that is no user.
    pub created_by: Option<UserId>,
}

/// What to change; none leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchemaChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new language.
    pub kind: Option<SchemaKind>,
    /// The new rules of payloads.
    pub payload: Option<String>,
    /// The new rules of attributes, or none for no rules.
    pub attributes: Option<Option<String>>,
}

/// Schemas. Lookups are cached as those of projects are: a change is in force on another node within the cache's age.
impl Broker {
    /// The schema of this name; [`Error::NotFound`].
    pub async fn schema(&self, project: ProjectId, name: &Name) -> Result<Arc<Schema>> {
        self.find(project, name).await?.ok_or(Error::NotFound(Resource::Schema))
    }

    /// The schema that a topic's messages must keep; none when it has none, or the schema is gone.
    pub async fn schema_of(&self, topic: &Topic) -> Result<Option<Arc<Schema>>> {
        let Some(id) = topic.schema else { return Ok(None) };
        match self.live::<Schema>(&SchemaKey(topic.project, id)).await {
            Ok(schema) => Ok(Some(schema)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The project's schemas in creation order. O(schemas of the project).
    pub async fn schemas(&self, project: ProjectId) -> Result<Vec<Arc<Schema>>> {
        self.all(project).await
    }

    /// Makes a schema; [`Error::AlreadyExists`], [`Error::NotFound`] project, [`Error::Invalid`] when the rules cannot be.
    pub async fn create_schema(&self, project: ProjectId, new: NewSchema) -> Result<Arc<Schema>> {
        self.project_by_id(project).await?;
        let NewSchema { name, rules, created_by } = new;
        self.refuse_taken_schema(project, &name, None).await?;
        self.try_rules(rules.clone()).await?;
        let now = self.now();
        let id = SchemaId(self.fresh_identity(now));
        let schema = Schema { id, project, name, rules, revision: 1, created_at: now, created_by };
        self.make(schema, self.require_project(project)).await
    }

    /// Changes a schema; topics keep it. [`Error::NotFound`], [`Error::AlreadyExists`] when the new name is another's,
    /// [`Error::Invalid`] when the rules as changed cannot be, [`Error::Changed`] when somebody else changes them meanwhile.
    pub async fn update_schema(&self, project: ProjectId, name: &Name, change: SchemaChange) -> Result<Arc<Schema>> {
        let present = self.find_now::<Schema>(project, name).await?.ok_or(Error::NotFound(Resource::Schema))?;
        if let Some(new) = &change.name {
            self.refuse_taken_schema(project, new, Some(present.id)).await?;
        }
        let before = &present.rules;
        let rules = Rules {
            kind: change.kind.unwrap_or(before.kind),
            payload: change.payload.unwrap_or_else(|| before.payload.clone()),
            attributes: change.attributes.unwrap_or_else(|| before.attributes.clone()),
        };
        if rules != *before {
            self.try_rules(rules.clone()).await?;
        }
        self.alter(project, present.id.0, change.name.as_ref(), |schema: &mut Schema| {
            schema.name = change.name.clone().unwrap_or_else(|| schema.name.clone());
            if schema.rules != rules {
                if schema.revision != present.revision {
                    return Err(Error::Changed);
                }
                (schema.rules, schema.revision) = (rules.clone(), present.revision + 1);
            }
            Ok(())
        })
        .await
    }

    /// Removes a schema, also one that topics name: they have none then; [`Error::NotFound`].
    pub async fn delete_schema(&self, project: ProjectId, name: &Name) -> Result<()> {
        let schema = self.find_now::<Schema>(project, name).await?.ok_or(Error::NotFound(Resource::Schema))?;
        self.remove::<Schema>(&schema.key()).await
    }

    /// Fails when another schema than this one has the name.
    pub async fn refuse_taken_schema(&self, project: ProjectId, name: &Name, own: Option<SchemaId>) -> Result<()> {
        match self.find_now::<Schema>(project, name).await? {
            Some(other) if Some(other.id) != own => Err(Error::AlreadyExists(Resource::Schema)),
            _ => Ok(()),
        }
    }
}
