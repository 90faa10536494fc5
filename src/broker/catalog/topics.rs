//! Topics.

use super::page::{Page, PageRequest};
use super::{Broker, check_acl};
use crate::domain::limits::METADATA_BYTES_MAX;
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Error, Incarnation, LogRef, Name, ProjectId, Resource, Result, SchemaId, TopicId, UserId};
use crate::storage::{LogId, Offset};
use bytes::Bytes;
use std::sync::Arc;

/// What a new topic is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Unique in the project.
    pub name: Name,
    /// What to keep.
    pub retention: Retention,
    /// The schema that messages must satisfy.
    pub schema: Option<SchemaId>,
    /// Who asks, unless that is no user.
    pub created_by: Option<UserId>,
}

/// What to change; none leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicChange {
    /// The whole new access list.
    pub acl: Option<Vec<UserId>>,
    /// The new schema, or none for no schema.
    pub schema: Option<Option<SchemaId>>,
    /// What to keep.
    pub retention: Option<Retention>,
}

/// Topics. Lookups are cached as those of projects are.
impl Broker {
    /// The topic of this name; [`Error::NotFound`].
    pub async fn topic(&self, project: ProjectId, name: &Name) -> Result<Arc<Topic>> {
        self.find(project, name).await?.ok_or(Error::NotFound(Resource::Topic))
    }

    /// The topic of this name, past the cache: for who found the log of the one he knew closed; [`Error::NotFound`].
    pub(crate) async fn topic_now(&self, project: ProjectId, name: &Name) -> Result<Arc<Topic>> {
        self.find_now(project, name).await?.ok_or(Error::NotFound(Resource::Topic))
    }

    /// The project's topics that `visible` accepts, newest first. O(topics of the project).
    pub async fn topics(
        &self,
        project: ProjectId,
        page: PageRequest,
        visible: &(dyn Fn(&Topic) -> bool + Send + Sync),
    ) -> Result<Page<Arc<Topic>>> {
        self.list(project, page, visible).await
    }

    /// Makes a topic with an empty log; [`Error::AlreadyExists`], [`Error::NotFound`] project, [`Error::QuotaExceeded`].
    pub async fn create_topic(&self, project: ProjectId, new: NewTopic) -> Result<Arc<Topic>> {
        self.create_topic_with(project, new, Bytes::new()).await
    }

    /// As [`Broker::create_topic`], with metadata.
    pub(crate) async fn create_topic_with(
        &self,
        project: ProjectId,
        new: NewTopic,
        metadata: Bytes,
    ) -> Result<Arc<Topic>> {
        check_metadata(&metadata)?;
        self.project_by_id(project).await?;
        let now = self.now();
        let NewTopic { name, retention, schema, created_by } = new;
        let _room = self.room_for::<Topic>(project, &name, "topics", |quota| quota.topics).await?;
        let log = LogRef(self.inner.options.random.id());
        let topic = Topic {
            id: TopicId(self.fresh_identity(now)),
            project,
            name,
            log,
            incarnation: Incarnation::default(),
            retention,
            schema,
            metadata,
            sealed: false,
            acl: Vec::new(),
            created_at: now,
            created_by,
        };
        self.make(topic, async {
            self.require_project(project).await?;
            self.create_log(LogId(log.0), Offset(0)).await
        })
        .await
    }

    /// Changes a topic; [`Error::NotFound`], [`Error::Protected`] when the audit topic is to get a schema.
    pub async fn update_topic(&self, project: ProjectId, name: &Name, change: TopicChange) -> Result<Arc<Topic>> {
        check_acl(change.acl.as_deref())?;
        if change.schema.is_some() {
            self.refuse_audit(project, name)?;
        }
        let id = self.topic_now(project, name).await?.id;
        self.alter(project, id.0, None, |topic: &mut Topic| {
            topic.acl = change.acl.clone().unwrap_or_else(|| std::mem::take(&mut topic.acl));
            topic.schema = change.schema.unwrap_or(topic.schema);
            topic.retention = change.retention.unwrap_or(topic.retention);
            Ok(())
        })
        .await
    }

    /// The project's topics that `visible` accepts, by name from the first one after `after` on, at most `size`. O(topics of the
    /// project up to the last one taken).
    pub async fn topics_by_name(
        &self,
        project: ProjectId,
        after: Option<&str>,
        size: usize,
        visible: &(dyn Fn(&Topic) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Topic>>> {
        let mut named = self.all::<Topic>(project).await?;
        named.retain(|topic| after.is_none_or(|after| after < topic.name.as_str()) && visible(topic));
        named.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        named.truncate(size);
        Ok(named)
    }

    /// Changes what a dialect keeps with a topic: `change` makes new metadata from the present; [`Error::NotFound`], what
    /// `change` answers.
    pub async fn update_metadata(
        &self,
        topic: &Topic,
        change: impl Fn(&Bytes) -> Result<Bytes> + Send + Sync,
    ) -> Result<Arc<Topic>> {
        self.alter(topic.project, topic.id.0, None, |topic: &mut Topic| {
            topic.metadata = change(&topic.metadata)?;
            check_metadata(&topic.metadata)
        })
        .await
    }

    /// Removes a topic and its log; its subscriptions stay; [`Error::NotFound`], [`Error::Protected`].
    pub async fn delete_topic(&self, project: ProjectId, name: &Name) -> Result<()> {
        self.refuse_audit(project, name)?;
        let topic = self.topic_now(project, name).await?;
        self.remove::<Topic>(&super::entity::Entity::key(&*topic)).await
    }
}

fn check_metadata(metadata: &Bytes) -> Result<()> {
    let limit = METADATA_BYTES_MAX;
    if metadata.len() > limit { Err(Error::TooLarge { what: "metadata", limit: limit as u64 }) } else { Ok(()) }
}
