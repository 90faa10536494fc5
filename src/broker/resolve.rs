//! From documents to actors: whose log is meant, and what to do when the document turns out to be late.

use super::Broker;
use super::subscription::SubscriptionActor;
use super::topic::TopicActor;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Error, Resource, Result};
use crate::storage::LogId;
use std::sync::Arc;

impl Broker {
    /// The actor of a topic.
    pub(super) fn topic_actor(&self, topic: &Topic) -> Result<Arc<TopicActor>> {
        let log = LogId(topic.log.0);
        self.inner.topics.find_or_start(log, self.inner.clock.monotonic(), || TopicActor::new(log))
    }

    /// The actor of a subscription, which from now on knows the subscription as it is given here.
    pub(super) fn subscription_actor(&self, subscription: &Subscription) -> Result<Arc<SubscriptionActor>> {
        let log = LogId(subscription.log.0);
        let now = self.inner.clock.monotonic();
        let actor = self.inner.subscriptions.find_or_start(log, now, || SubscriptionActor::new(subscription))?;
        actor.meet(subscription);
        Ok(actor)
    }

    /// The topic that a subscription names, as it is now; none while there is none.
    pub(super) async fn topic_of(&self, subscription: &Subscription) -> Result<Option<Arc<Topic>>> {
        match self.topic(subscription.project, &subscription.topic).await {
            Ok(topic) => Ok(Some(topic)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets go of a cached topic whose log is gone: the next caller reads the catalogue again.
    pub(super) fn forget_if_gone<T>(&self, topic: &Topic, outcome: &Result<T>) {
        if matches!(outcome, Err(Error::NotFound(Resource::Topic))) {
            self.forget_topic(topic);
        }
    }
}
