//! Queues: a topic together with its built-in work subscription, on which messages are claimed, deleted, popped and looked at one by
//! one. What a queue's consumer deletes is acknowledged there; the topic's other subscriptions get it all the same.
//!
//! Owns no state: all of it is the topic's log and the work subscription's.

mod browse;
mod claim;
mod subscriber;

pub use browse::{BrowseRequest, QueueMessage, QueueStatistics};
pub use claim::{Claim, ClaimRequest, Deletion};

use super::{Broker, NewSubscription, NewTopic, SubscriptionChange};
use crate::domain::limits::ACK_DEADLINE_DEFAULT;
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, ProjectId, Resource, Result, UserId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What the names of work subscriptions begin with: no dialect lets its users name anything so.
const WORK: &str = "queue:";

/// What the names of queues begin with that are kept apart from the others: no dialect lets its users write it.
pub const APART: &str = "topic:";

/// A queue's name as its users know it.
#[must_use]
pub fn label(name: &Name) -> &str {
    name.as_str().strip_prefix(APART).unwrap_or(name.as_str())
}

/// A queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its messages.
    pub topic: Arc<Topic>,
    /// What became of them.
    pub work: Arc<Subscription>,
}

/// When a queue's messages go to another one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterPolicy {
    /// After so many claims; none for never.
    pub max_attempts: Option<u32>,
    /// Where to.
    pub topic: Option<Name>,
    /// How long they live there; none for as long as they would have lived.
    pub ttl: Option<Duration>,
}

impl Queue {
    /// Whether a subscription is a queue's own: not for users to see.
    #[must_use]
    pub fn owns(subscription: &Name) -> bool {
        subscription.as_str().starts_with(WORK)
    }
}

impl Broker {
    /// The queue of this name. A topic that was no queue so far becomes one, with all that it keeps.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such topic.
    pub async fn queue(&self, project: ProjectId, name: &Name) -> Result<Queue> {
        let topic = self.topic(project, name).await?;
        let work = self.work_of(project, name, DeadLetterPolicy::default(), None).await?;
        Ok(Queue { topic, work })
    }

    /// Makes a queue, unless it is there already: then it stays as it is, and `false` comes with it.
    pub async fn create_queue(
        &self,
        project: ProjectId,
        new: NewTopic,
        metadata: Bytes,
        policy: DeadLetterPolicy,
    ) -> Result<(Queue, bool)> {
        let (name, created_by) = (new.name.clone(), new.created_by);
        let (topic, made) = match self.create_topic_with(project, new, metadata).await {
            Ok(topic) => (topic, true),
            Err(Error::AlreadyExists(Resource::Topic)) => (self.topic_now(project, &name).await?, false),
            Err(error) => return Err(error),
        };
        let work = self.work_of(project, &name, policy.clone(), created_by).await?;
        let queue = Queue { topic, work };
        // A queue of this name may have left its work subscription behind.
        if made { Ok((self.set_dead_letter_policy(&queue, policy).await?, true)) } else { Ok((queue, false)) }
    }

    /// Changes when a queue's messages go to another one.
    pub async fn set_dead_letter_policy(&self, queue: &Queue, policy: DeadLetterPolicy) -> Result<Queue> {
        let settings = work_settings(policy);
        if queue.work.settings == settings {
            return Ok(queue.clone());
        }
        let change = SubscriptionChange { settings: Some(settings), ..SubscriptionChange::default() };
        let work = self.update_subscription(queue.work.project, &queue.work.name, change).await?;
        Ok(Queue { topic: Arc::clone(&queue.topic), work })
    }

    /// Removes a queue with its topic; `false` when there was none. Other subscriptions on the topic stay.
    pub async fn delete_queue(&self, project: ProjectId, name: &Name) -> Result<bool> {
        let there = match self.delete_topic(project, name).await {
            Ok(()) => true,
            Err(Error::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        match self.delete_subscription(project, &work_name(name)?).await {
            Ok(()) | Err(Error::NotFound(_)) => Ok(there),
            Err(error) => Err(error),
        }
    }

    /// The work subscription of a topic that exists; made at the first use, from the first offset kept on.
    async fn work_of(
        &self,
        project: ProjectId,
        topic: &Name,
        policy: DeadLetterPolicy,
        created_by: Option<UserId>,
    ) -> Result<Arc<Subscription>> {
        let name = work_name(topic)?;
        match self.subscription(project, &name).await {
            Err(Error::NotFound(Resource::Subscription)) => {}
            found => return found,
        }
        let new = NewSubscription {
            name: name.clone(),
            topic: topic.clone(),
            settings: work_settings(policy),
            push: None,
            acl: Vec::new(),
            created_by,
        };
        match self.create_subscription_at(project, new, |first, _| first).await {
            Err(Error::AlreadyExists(_) | Error::Changed) => self.subscription_now(project, &name).await,
            made => made,
        }
    }
}

fn work_name(topic: &Name) -> Result<Name> {
    Name::new(&format!("{WORK}{topic}"))
}

fn work_settings(policy: DeadLetterPolicy) -> Settings {
    Settings {
        mode: AckMode::Individual,
        ack_deadline: ACK_DEADLINE_DEFAULT,
        max_attempts: policy.max_attempts,
        dead_letter_topic: policy.topic,
        dead_letter_ttl: policy.ttl,
    }
}

#[cfg(test)]
mod tests;
