//! Projects.

use super::Broker;
use super::entity::Entity;
use crate::broker::codec::document::{Hint, Standing, Truth};
use crate::broker::documents::keys::HintKey;
use crate::domain::project::{Project, Quota};
use crate::domain::schema::Schema;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, ProjectId, Resource, Result, UserId};
use crate::storage::{Key, Order};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::sync::Arc;

/// How many things of a project are removed at a time.
const REMOVED_AT_ONCE: usize = 16;

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

/// Projects. Lookups are cached for at most `Options::cache_age`; a change made through this broker is seen at once.
impl Broker {
    /// The project of this name; [`Error::NotFound`].
    pub async fn project(&self, name: &Name) -> Result<Arc<Project>> {
        self.find(ProjectId::default(), name).await?.ok_or(Error::NotFound(Resource::Project))
    }

    /// The project of this id; [`Error::NotFound`].
    pub async fn project_by_id(&self, id: ProjectId) -> Result<Arc<Project>> {
        self.live::<Project>(&id).await
    }

    /// All projects in creation order.
    pub async fn projects(&self) -> Result<Vec<Arc<Project>>> {
        self.all(ProjectId::default()).await
    }

    /// Makes a project; [`Error::AlreadyExists`]. A name that another project gave up within twice the cache's age is waited
    /// for.
    pub async fn create_project(&self, new: NewProject) -> Result<Arc<Project>> {
        let now = self.now();
        let NewProject { name, description, created_by } = new;
        let id = ProjectId(self.fresh_identity(now));
        let project =
            Project { id, name, description, created_by, created_at: now, modified_at: now, quota: Quota::default() };
        self.make(project, async { Ok(()) }).await
    }

    /// Changes a project; [`Error::NotFound`], [`Error::AlreadyExists`] when the new name is another project's. Waits as
    /// [`Broker::create_project`].
    pub async fn update_project(&self, id: ProjectId, change: ProjectChange) -> Result<Arc<Project>> {
        let now = self.now();
        let ProjectChange { name, description } = change;
        self.alter(ProjectId::default(), id.0, name.as_ref(), |project: &mut Project| {
            project.name = name.clone().unwrap_or_else(|| project.name.clone());
            project.description = description.clone().unwrap_or_else(|| project.description.clone());
            project.modified_at = now;
            Ok(())
        })
        .await
    }

    /// Sets what a project may use; [`Error::NotFound`].
    pub async fn set_project_quota(&self, id: ProjectId, quota: Quota) -> Result<Arc<Project>> {
        let now = self.now();
        self.alter(ProjectId::default(), id.0, None, |project: &mut Project| {
            (project.quota, project.modified_at) = (quota, now);
            Ok(())
        })
        .await
    }

    /// Removes a project with its topics, subscriptions and schemas; [`Error::NotFound`], [`Error::Protected`] when the audit topic
    /// is in it. Memberships are the users' to remove.
    pub async fn delete_project(&self, id: ProjectId) -> Result<()> {
        self.refuse_audit_project(id)?;
        self.remove::<Project>(&id).await
    }

    /// Removes all that a marked project holds: topics and subscriptions with their logs, schemas, then what is left of names, then
    /// what was counted day by day.
    pub(crate) fn empty_project(&self, project: ProjectId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.remove_all::<Topic>(project).await?;
            self.remove_all::<Subscription>(project).await?;
            self.remove_all::<Schema>(project).await?;
            self.remove_names(Resource::Topic, project).await?;
            self.remove_names(Resource::Subscription, project).await?;
            self.remove_names(Resource::Schema, project).await?;
            self.remove_days(project).await
        })
    }

    async fn remove_all<T: Entity>(&self, project: ProjectId) -> Result<()> {
        loop {
            let page = self.documents().page::<Truth<T>>(&T::prefix(project), None, Order::Ascending).await?;
            if page.is_empty() {
                return Ok(());
            }
            stream::iter(page)
                .map(|(_key, stored)| async move { self.remove_any::<T>(&stored.record.thing.key()).await })
                .buffer_unordered(REMOVED_AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
    }

    /// Removes a thing however far it has come.
    async fn remove_any<T: Entity>(&self, key: &T::Key) -> Result<()> {
        let marked = self
            .documents()
            .update(key, |truth: &Truth<T>| Ok(Truth { standing: Standing::Deleting, ..truth.clone() }));
        match marked.await? {
            Some(truth) => self.finish(&*truth.thing).await,
            None => Ok(()),
        }
    }

    async fn remove_names(&self, of: Resource, project: ProjectId) -> Result<()> {
        let prefix = Key::new(HintKey::prefix(of, project));
        loop {
            let page = self.documents().page::<Hint>(&prefix, None, Order::Ascending).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, stored) in page {
                let hint = HintKey::parse(of, &key).ok_or_else(|| Error::Damaged(format!("{key} is no name's key")))?;
                self.documents().delete(&hint, stored.version).await?;
            }
        }
    }
}
