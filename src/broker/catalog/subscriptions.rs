//! Subscriptions.

use super::entity::Entity;
use super::page::{Page, PageRequest};
use super::{Broker, check_acl};
use crate::broker::codec::document::{Standing, Truth};
use crate::broker::documents::Stored;
use crate::broker::documents::keys::SubscriptionKey;
use crate::domain;
use crate::domain::push::Push;
use crate::domain::subscription::{Settings, Subscription};
use crate::domain::{Error, LogRef, Name, ProjectId, Resource, Result, SubscriptionId, UserId};
use crate::storage::{Key, LogId, Offset, Order};
use std::sync::Arc;
use tokio::sync::broadcast;

/// What a new subscription is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSubscription {
    /// Unique in the project.
    pub name: Name,
    /// The topic, which must exist; delivery begins at its present end.
    pub topic: Name,
    /// How it behaves.
    pub settings: Settings,
    /// Where its messages are pushed to, if anywhere.
    pub push: Option<Push>,
    /// Who may consume from the beginning.
    pub acl: Vec<UserId>,
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

/// Subscriptions. Lookups are cached as those of projects are.
impl Broker {
    /// The subscription of this name; [`Error::NotFound`].
    pub async fn subscription(&self, project: ProjectId, name: &Name) -> Result<Arc<Subscription>> {
        self.find(project, name).await?.ok_or(Error::NotFound(Resource::Subscription))
    }

    /// The subscription of this name, past the cache: for who found the log of the one he knew closed; [`Error::NotFound`].
    pub(crate) async fn subscription_now(&self, project: ProjectId, name: &Name) -> Result<Arc<Subscription>> {
        self.find_now(project, name).await?.ok_or(Error::NotFound(Resource::Subscription))
    }

    /// The project's subscriptions that `visible` accepts, newest first. O(subscriptions of the project).
    pub async fn subscriptions(
        &self,
        project: ProjectId,
        page: PageRequest,
        visible: &(dyn Fn(&Subscription) -> bool + Send + Sync),
    ) -> Result<Page<Arc<Subscription>>> {
        self.list(project, page, visible).await
    }

    /// The subscriptions that speak of a topic's name, whether it exists or not, in creation order. O(subscriptions of the
    /// project).
    pub async fn subscriptions_of_topic(&self, project: ProjectId, topic: &Name) -> Result<Vec<Arc<Subscription>>> {
        let mut found = self.all::<Subscription>(project).await?;
        found.retain(|subscription| subscription.topic == *topic);
        Ok(found)
    }

    /// Makes a subscription that begins at its topic's present end; [`Error::NotFound`] project or topic,
    /// [`Error::AlreadyExists`], [`Error::QuotaExceeded`].
    pub async fn create_subscription(&self, project: ProjectId, new: NewSubscription) -> Result<Arc<Subscription>> {
        self.create_subscription_at(project, new, |_, next| next).await
    }

    /// As [`Broker::create_subscription`], but it begins where `begin` says, given the topic's first and next offset.
    pub(crate) async fn create_subscription_at(
        &self,
        project: ProjectId,
        new: NewSubscription,
        begin: impl FnOnce(domain::Offset, domain::Offset) -> domain::Offset + Send,
    ) -> Result<Arc<Subscription>> {
        self.project_by_id(project).await?;
        let now = self.now();
        let NewSubscription { name, topic, settings, push, acl, created_by } = new;
        check_acl(Some(&acl))?;
        let _room = self.room_for::<Subscription>(project, &name, "subscriptions", |quota| quota.subscriptions).await?;
        let log = LogRef(self.inner.options.random.id());
        let subscription = Subscription {
            id: SubscriptionId(self.fresh_identity(now)),
            project,
            name,
            topic: topic.clone(),
            log,
            settings: settings.clone(),
            push,
            acl,
            created_at: now,
            created_by,
        };
        self.make(subscription, async {
            self.require_project(project).await?;
            let topic = self.topic_now(project, &topic).await?;
            self.create_log(LogId(log.0), Offset(0)).await?;
            self.attach(log, &topic, &settings, begin).await
        })
        .await
    }

    /// Changes a subscription; [`Error::NotFound`], [`Error::Invalid`] when the new settings have another ack mode.
    pub async fn update_subscription(
        &self,
        project: ProjectId,
        name: &Name,
        change: SubscriptionChange,
    ) -> Result<Arc<Subscription>> {
        check_acl(change.acl.as_deref())?;
        let id = self.subscription_now(project, name).await?.id;
        self.alter(project, id.0, None, |subscription: &mut Subscription| {
            if let Some(settings) = &change.settings {
                if settings.mode != subscription.settings.mode {
                    let why = "cannot be changed: make another subscription".to_owned();
                    return Err(Error::Invalid { what: "ack mode", why });
                }
                subscription.settings = settings.clone();
            }
            subscription.acl = change.acl.clone().unwrap_or_else(|| std::mem::take(&mut subscription.acl));
            Ok(())
        })
        .await
    }

    /// Changes where a subscription pushes to, and its access list with it. `change` gets both as they are and may be asked more
    /// than once; its error ends it and nothing is changed. [`Error::NotFound`].
    pub async fn update_push(
        &self,
        project: ProjectId,
        name: &Name,
        change: impl Fn(Option<&Push>, &mut Vec<UserId>) -> Result<Option<Push>> + Send + Sync,
    ) -> Result<Arc<Subscription>> {
        let id = self.subscription_now(project, name).await?.id;
        self.alter(project, id.0, None, |subscription: &mut Subscription| {
            let mut acl = std::mem::take(&mut subscription.acl);
            subscription.push = change(subscription.push.as_ref(), &mut acl)?;
            check_acl(Some(&acl))?;
            subscription.acl = acl;
            Ok(())
        })
        .await
    }

    /// The subscription of this identity, past the cache; [`Error::NotFound`].
    pub async fn subscription_by_id(&self, project: ProjectId, id: SubscriptionId) -> Result<Arc<Subscription>> {
        self.live_now(&SubscriptionKey(project, id)).await
    }

    /// The subscriptions of all projects that `wanted` accepts, past the cache. O(subscriptions).
    pub async fn all_subscriptions(
        &self,
        wanted: &(dyn Fn(&Subscription) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Subscription>>> {
        let mut all = Vec::new();
        self.documents()
            .scan(&Key::new("subscription/"), Order::Ascending, |_key, stored: Stored<Truth<Subscription>>| {
                if stored.record.standing == Standing::Live && wanted(&stored.record.thing) {
                    all.push(stored.record.thing.clone());
                }
            })
            .await?;
        Ok(all)
    }

    /// Hears of every subscription that this broker makes, changes or removes, from now on. Who falls behind by more than a
    /// thousand is told that he missed some.
    #[must_use]
    pub fn subscription_changes(&self) -> broadcast::Receiver<(ProjectId, SubscriptionId)> {
        self.inner.catalog.changes.subscribe()
    }

    /// Removes a subscription and its log; [`Error::NotFound`].
    pub async fn delete_subscription(&self, project: ProjectId, name: &Name) -> Result<()> {
        let subscription = self.subscription_now(project, name).await?;
        self.remove::<Subscription>(&subscription.key()).await
    }
}
