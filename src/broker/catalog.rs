//! Projects, topics and subscriptions as documents: names, listings, changes by compare-and-set.
//!
//! The document under an id is the truth; name documents are hints, accepted only if the truth names them back.

use super::Broker;
use crate::domain::project::Project;
use crate::domain::subscription::{Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Error, Name, ProjectId, Result, SchemaId, UserId};
use std::sync::Arc;

/// A page to list: newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageRequest {
    /// Most items; none for all.
    pub size: Option<usize>,
    /// Begin at this id or the next older one; none for the newest.
    pub from: Option<u128>,
}

/// A page of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// The id of the next page's first item, if there is one.
    pub next: Option<u128>,
    /// How many items there are on all pages.
    pub total: usize,
}

/// What a new project is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewProject {
    /// Unique.
    pub name: Name,
    /// Free text.
    pub description: String,
    /// Who asks, unless that is no user.
    pub created_by: Option<UserId>,
}

/// What to change; none leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProjectChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<String>,
}

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

/// What a new subscription is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSubscription {
    /// Unique in the project.
    pub name: Name,
    /// The topic, which must exist; delivery begins at its present end.
    pub topic: Name,
    /// How it behaves.
    pub settings: Settings,
    /// Who asks, unless that is no user.
    pub created_by: Option<UserId>,
}

/// What to change; none leaves as it is. The ack mode never changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SubscriptionChange {
    /// The whole new access list.
    pub acl: Option<Vec<UserId>>,
    /// How it behaves; its mode must be the present one.
    pub settings: Option<Settings>,
}

fn later<T>() -> Result<T> {
    Err(Error::Unavailable("not built yet".to_owned()))
}

/// Projects. Lookups are cached for at most `Options::cache_age`; a change made through this broker is seen at once.
impl Broker {
    /// The project of this name; [`Error::NotFound`].
    pub async fn project(&self, _name: &Name) -> Result<Arc<Project>> {
        later()
    }
    /// The project of this id; [`Error::NotFound`].
    pub async fn project_by_id(&self, _id: ProjectId) -> Result<Arc<Project>> {
        later()
    }
    /// All projects in creation order.
    pub async fn projects(&self) -> Result<Vec<Arc<Project>>> {
        later()
    }
    /// Makes a project; [`Error::AlreadyExists`].
    pub async fn create_project(&self, _new: NewProject) -> Result<Arc<Project>> {
        later()
    }
    /// Changes a project; [`Error::NotFound`], [`Error::AlreadyExists`] when the new name is another project's.
    pub async fn update_project(&self, _id: ProjectId, _change: ProjectChange) -> Result<Arc<Project>> {
        later()
    }
    /// Removes a project with its topics and subscriptions; [`Error::NotFound`]. Memberships are the users' to remove.
    pub async fn delete_project(&self, _id: ProjectId) -> Result<()> {
        later()
    }
}

/// Topics.
impl Broker {
    /// The topic of this name; [`Error::NotFound`].
    pub async fn topic(&self, project: ProjectId, name: &Name) -> Result<Arc<Topic>> {
        let topics = self.inner.stub_topics.lock();
        topics.get(&(project, name.clone())).cloned().ok_or(Error::NotFound(crate::domain::Resource::Topic))
    }
    pub(crate) async fn topic_now(&self, project: ProjectId, name: &Name) -> Result<Arc<Topic>> {
        self.topic(project, name).await
    }
    pub(crate) fn now(&self) -> crate::domain::Timestamp {
        crate::domain::Timestamp(self.inner.clock.wall())
    }
    /// The project's topics that `visible` accepts, newest first. O(topics of the project).
    pub async fn topics(
        &self,
        _project: ProjectId,
        _page: PageRequest,
        _visible: &(dyn Fn(&Topic) -> bool + Send + Sync),
    ) -> Result<Page<Arc<Topic>>> {
        later()
    }
    /// Makes a topic with an empty log; [`Error::AlreadyExists`].
    pub async fn create_topic(&self, _project: ProjectId, _new: NewTopic) -> Result<Arc<Topic>> {
        later()
    }
    /// Changes a topic; [`Error::NotFound`].
    pub async fn update_topic(&self, _project: ProjectId, _name: &Name, _change: TopicChange) -> Result<Arc<Topic>> {
        later()
    }
    /// Removes a topic and its log; its subscriptions stay; [`Error::NotFound`].
    pub async fn delete_topic(&self, _project: ProjectId, _name: &Name) -> Result<()> {
        later()
    }
}

/// Subscriptions.
impl Broker {
    /// The subscription of this name; [`Error::NotFound`].
    pub async fn subscription(&self, _project: ProjectId, _name: &Name) -> Result<Arc<Subscription>> {
        later()
    }
    /// The project's subscriptions that `visible` accepts, newest first. O(subscriptions of the project).
    pub async fn subscriptions(
        &self,
        _project: ProjectId,
        _page: PageRequest,
        _visible: &(dyn Fn(&Subscription) -> bool + Send + Sync),
    ) -> Result<Page<Arc<Subscription>>> {
        later()
    }
    /// Makes a subscription that begins at its topic's present end; [`Error::NotFound`] topic, [`Error::AlreadyExists`].
    pub async fn create_subscription(&self, _project: ProjectId, _new: NewSubscription) -> Result<Arc<Subscription>> {
        later()
    }
    /// Changes a subscription; [`Error::NotFound`].
    pub async fn update_subscription(
        &self,
        _project: ProjectId,
        _name: &Name,
        _change: SubscriptionChange,
    ) -> Result<Arc<Subscription>> {
        later()
    }
    /// Removes a subscription and its log; [`Error::NotFound`].
    pub async fn delete_subscription(&self, _project: ProjectId, _name: &Name) -> Result<()> {
        later()
    }
}
