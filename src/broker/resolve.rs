//! From documents to actors: whose log is meant, and what to do when the document turns out to be late.

use super::Broker;
use super::documents::keys::Series;
use super::subscription::SubscriptionActor;
use super::topic::TopicActor;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, Offset, ProjectId, Resource, Result};
use crate::storage::LogId;
use std::sync::Arc;

impl Broker {
    /// The actor of a topic.
    pub(super) fn topic_actor(&self, topic: &Topic) -> Result<Arc<TopicActor>> {
        let log = LogId(topic.log.0);
        self.inner.topics.find_or_start(log, self.inner.clock.monotonic(), || TopicActor::new(Series::of(topic)))
    }

    /// The actor of a subscription, which from now on knows the subscription as it is given here.
    pub(super) fn subscription_actor(&self, subscription: &Subscription) -> Result<Arc<SubscriptionActor>> {
        let log = LogId(subscription.log.0);
        let now = self.inner.clock.monotonic();
        let actor = self.inner.subscriptions.find_or_start(log, now, || SubscriptionActor::new(subscription))?;
        actor.meet(subscription);
        Ok(actor)
    }

    /// The topic of a name, with its log's extent; none while there is none.
    pub(super) async fn standing(&self, project: ProjectId, name: &Name) -> Result<Option<Standing>> {
        let cached = self.topic(project, name).await;
        if let Some(standing) = self.stand_on(cached).await? {
            return Ok(Some(standing));
        }
        // There may be one by now, or its log was closed under a cached document.
        let present = self.topic_now(project, name).await;
        self.stand_on(present).await
    }

    async fn stand_on(&self, topic: Result<Arc<Topic>>) -> Result<Option<Standing>> {
        let document = match topic {
            Ok(document) => document,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let actor = self.topic_actor(&document)?;
        let bounds = actor.bounds(self).await?;
        Ok(bounds.map(|bounds| {
            let (first, next) = (Offset(bounds.first.0), Offset(bounds.next.0));
            Standing { document, actor, first, next }
        }))
    }

    /// Has the catalogue read again when a topic that was known turned out to be gone.
    pub(super) async fn look_again<T>(&self, topic: &Topic, outcome: Result<T>) -> Result<T> {
        if matches!(outcome, Err(Error::NotFound(Resource::Topic))) {
            // What is true now matters to the next caller; this one asked for a topic that is gone.
            let _ = self.topic_now(topic.project, &topic.name).await;
        }
        outcome
    }
}

/// A topic as it stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) document: Arc<Topic>,
    pub(super) actor: Arc<TopicActor>,
    /// The first offset kept.
    pub(super) first: Offset,
    /// The offset that the next message gets.
    pub(super) next: Offset,
}
