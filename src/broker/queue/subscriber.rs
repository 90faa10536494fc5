//! Subscribers of queues: those who are told of each message posted. Each is a subscription of the topic's, under a name that no dialect
//! lets its users give, so what he was not told yet outlives restarts, and he outlives the queue. A queue has one for each URI.

use super::Broker;
use crate::broker::NewSubscription;
use crate::domain::limits::ACK_DEADLINE_DEFAULT;
use crate::domain::push::{Notify, Push, Target};
use crate::domain::retry::RetryPolicy;
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::{Error, Name, ProjectId, Resource, Result, SubscriptionId};
use aws_lc_rs::digest;
use std::sync::Arc;

/// What the names of such subscriptions begin with.
const SUBSCRIBER: &str = "notify:";
/// How often somebody may come between.
const TRIES: usize = 8;

impl Broker {
    /// Adds a subscriber, who is told of what is posted from now on. One of this URI who is there already stays as he is, and `false`
    /// comes with him.
    ///
    /// # Errors
    /// [`Error::NotFound`] project or topic, [`Error::QuotaExceeded`], storage.
    pub async fn add_subscriber(
        &self,
        project: ProjectId,
        queue: &Name,
        notify: Notify,
    ) -> Result<(Arc<Subscription>, bool)> {
        let name = subscriber_name(queue, &notify.subscriber)?;
        for _ in 0..TRIES {
            if let Some(present) = self.present(project, &name).await? {
                return Ok((present, false));
            }
            let settings = Settings {
                mode: AckMode::Individual,
                ack_deadline: ACK_DEADLINE_DEFAULT,
                max_attempts: None,
                dead_letter_topic: None,
                dead_letter_ttl: None,
            };
            let (target, retry) = (Target::Notify(notify.clone()), RetryPolicy::EachMessage);
            let push = Some(Push { target, retry, decode: false, verified: false });
            let (name, topic) = (name.clone(), queue.clone());
            let new = NewSubscription { name, topic, settings, push, acl: Vec::new(), created_by: None };
            match self.create_subscription(project, new).await {
                Err(Error::AlreadyExists(_) | Error::Changed) => {}
                made => return made.map(|made| (made, true)),
            }
        }
        Err(Error::Changed)
    }

    /// A queue's subscribers whose time is not over, in the order in which they came; also of a queue that is gone. O(subscriptions of
    /// the project).
    pub async fn subscribers(&self, project: ProjectId, queue: &Name) -> Result<Vec<Arc<Subscription>>> {
        let mut found = self.subscriptions_of_topic(project, queue).await?;
        found.retain(|subscription| self.tells(subscription));
        Ok(found)
    }

    /// A subscriber of a queue; [`Error::NotFound`] also when his time is over.
    pub async fn subscriber(&self, project: ProjectId, queue: &Name, id: SubscriptionId) -> Result<Arc<Subscription>> {
        let found = self.subscription_by_id(project, id).await?;
        let his = found.topic == *queue && self.tells(&found);
        if his { Ok(found) } else { Err(Error::NotFound(Resource::Subscription)) }
    }

    /// Changes a subscriber. `change` may be asked more than once.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::AlreadyExists`] when the queue has another one of the new URI.
    pub async fn change_subscriber(
        &self,
        subscription: &Subscription,
        change: impl Fn(&mut Notify) + Send + Sync,
    ) -> Result<Arc<Subscription>> {
        let gone = || Error::NotFound(Resource::Subscription);
        let project = subscription.project;
        let mut wanted = subscription.push.as_ref().and_then(Push::notify).cloned().ok_or_else(gone)?;
        change(&mut wanted);
        let name = subscriber_name(&subscription.topic, &wanted.subscriber)?;
        if name != subscription.name && self.present(project, &name).await?.is_some() {
            return Err(Error::AlreadyExists(Resource::Subscription));
        }
        self.alter(project, subscription.id.0, Some(&name), |subscription: &mut Subscription| {
            let push = subscription.push.as_mut().ok_or_else(gone)?;
            let Target::Notify(notify) = &mut push.target else { return Err(gone()) };
            change(notify);
            subscription.name = name.clone();
            Ok(())
        })
        .await
    }

    /// Notes whether a subscriber has said that he wants to be told. With `from_now`, one who had not said so is told of nothing that
    /// was posted before.
    ///
    /// # Errors
    /// [`Error::NotFound`]; storage.
    pub async fn confirm_subscriber(
        &self,
        subscription: &Subscription,
        confirmed: bool,
        from_now: bool,
    ) -> Result<Arc<Subscription>> {
        let before = subscription.push.as_ref().is_some_and(|push| push.verified);
        if from_now && confirmed && !before {
            match self.purge(subscription).await {
                Ok(()) | Err(Error::TopicGone) => {}
                Err(error) => return Err(error),
            }
        }
        self.alter(subscription.project, subscription.id.0, None, |subscription: &mut Subscription| {
            let push = subscription.push.as_mut().ok_or(Error::NotFound(Resource::Subscription))?;
            push.verified = confirmed;
            Ok(())
        })
        .await
    }

    /// The subscription of a subscriber's name, unless his time is over: then he is removed.
    async fn present(&self, project: ProjectId, name: &Name) -> Result<Option<Arc<Subscription>>> {
        let found = match self.subscription_now(project, name).await {
            Err(Error::NotFound(Resource::Subscription)) => return Ok(None),
            found => found?,
        };
        if self.tells(&found) {
            return Ok(Some(found));
        }
        match self.delete_subscription(project, name).await {
            Ok(()) | Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a subscription is one of a subscriber whose time is not over.
    fn tells(&self, subscription: &Subscription) -> bool {
        let notify = subscription.push.as_ref().and_then(Push::notify);
        notify.is_some_and(|notify| notify.until() > self.now())
    }
}

/// The name of a subscriber's subscription: one for each queue and URI.
fn subscriber_name(queue: &Name, subscriber: &str) -> Result<Name> {
    let hash = digest::digest(&digest::SHA256, subscriber.as_bytes());
    let mut name = format!("{SUBSCRIBER}{queue}:");
    name.extend(hash.as_ref().iter().map(|byte| format!("{byte:02x}")));
    Name::new(&name)
}
