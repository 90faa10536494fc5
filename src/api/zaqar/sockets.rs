//! Subscriptions of connections: known in the memory of this node while the connection lives, read from the queue's tail, stored nowhere.
//! Lists and lookups show them beside the others.

use super::Zaqar;
use super::notifier::Feed;
use crate::broker::queue::label;
use crate::domain::push::Notify;
use crate::domain::{Error, Name, ProjectId, Resource, Result, SubscriptionId, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify as Bell;

/// Most subscriptions of all connections.
const SUBSCRIPTIONS_MAX: usize = 200_000;
/// Longest time between two looks whether it is over.
const LOOK: Duration = Duration::from_secs(3_600);
/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection's subscription.
#[derive(Debug)]
pub(crate) struct SocketSubscription {
    pub(crate) id: SubscriptionId,
    pub(crate) project: ProjectId,
    pub(crate) queue: Name,
    pub(crate) created_at: Timestamp,
    notify: Mutex<Notify>,
    /// Rings when the subscription is changed or removed.
    bell: Bell,
}

impl SocketSubscription {
    /// How it is now.
    pub(crate) fn notify(&self) -> Notify {
        self.notify.lock().clone()
    }

    /// Makes it another.
    pub(crate) fn change(&self, notify: Notify) {
        *self.notify.lock() = notify;
        self.bell.notify_one();
    }
}

/// The subscriptions of all connections, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    known: Mutex<BTreeMap<(ProjectId, SubscriptionId), Arc<SocketSubscription>>>,
}

impl Sockets {
    /// A project's subscription of this id; none when it is over.
    pub(crate) fn find(
        &self,
        project: ProjectId,
        id: SubscriptionId,
        now: Timestamp,
    ) -> Option<Arc<SocketSubscription>> {
        let found = self.known.lock().get(&(project, id)).cloned();
        found.filter(|found| found.notify.lock().until() > now)
    }

    /// A queue's subscriptions that are not over.
    pub(crate) fn of(&self, project: ProjectId, queue: &Name, now: Timestamp) -> Vec<Arc<SocketSubscription>> {
        let known = self.known.lock();
        let ids = (project, SubscriptionId(0))..=(project, SubscriptionId(u128::MAX));
        let own = known.range(ids).map(|(_, found)| found).filter(|found| found.queue == *queue);
        own.filter(|found| found.notify.lock().until() > now).cloned().collect()
    }

    /// Ends a subscription.
    pub(crate) fn remove(&self, project: ProjectId, id: SubscriptionId) {
        if let Some(removed) = self.known.lock().remove(&(project, id)) {
            removed.bell.notify_one();
        }
    }

    fn add(&self, subscription: &Arc<SocketSubscription>) -> Result<()> {
        let (project, wanted, now) = (subscription.project, subscription.notify(), subscription.created_at);
        let same = |other: &Arc<SocketSubscription>| other.notify.lock().subscriber == wanted.subscriber;
        if self.of(project, &subscription.queue, now).iter().any(same) {
            return Err(Error::AlreadyExists(Resource::Subscription));
        }
        let mut known = self.known.lock();
        if known.len() >= SUBSCRIPTIONS_MAX {
            return Err(Error::Overloaded("subscriptions of connections"));
        }
        known.insert((project, subscription.id), Arc::clone(subscription));
        Ok(())
    }

    fn knows(&self, subscription: &SocketSubscription) -> bool {
        self.known.lock().contains_key(&(subscription.project, subscription.id))
    }
}

/// A connection's subscription at work. Dropped, it is over.
#[derive(Debug)]
pub(crate) struct Following {
    subscription: Arc<SocketSubscription>,
    zaqar: Arc<Zaqar>,
    feed: Box<dyn Feed>,
}

impl Following {
    /// Has a connection follow a queue that is made if need be. `notify.subscriber` names the connection, by a URI of its own; of each
    /// there is one on a queue.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Overloaded`], [`Error::Unavailable`] where nothing is told; storage.
    pub(crate) async fn begin(zaqar: &Arc<Zaqar>, project: &str, queue: &Name, notify: Notify) -> Result<Self> {
        let none = || Error::Unavailable("this server has no notification stage in zaqar.pipeline".to_owned());
        let notifier = zaqar.notifier.as_ref().ok_or_else(none)?;
        let topic = zaqar.queue_made(project, queue).await?.topic;
        let feed = notifier.follow(&topic, label(queue)).await?;
        let subscription = Arc::new(SocketSubscription {
            id: SubscriptionId(zaqar.broker.fresh_identity(zaqar.now())),
            project: topic.project,
            queue: queue.clone(),
            created_at: zaqar.now(),
            notify: Mutex::new(notify),
            bell: Bell::new(),
        });
        zaqar.sockets.add(&subscription)?;
        Ok(Self { subscription, zaqar: Arc::clone(zaqar), feed })
    }

    /// The id that lists show.
    pub(crate) fn id(&self) -> SubscriptionId {
        self.subscription.id
    }

    /// The next notification, a JSON text; none once the subscription is over: its time has come or somebody removed it. Who drops this
    /// call and calls again misses nothing.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            let left = self.subscription.notify.lock().until().since(self.zaqar.now());
            if left.is_zero() || !self.zaqar.sockets.knows(&self.subscription) {
                return None;
            }
            tokio::select! {
                biased;
                () = self.subscription.bell.notified() => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
                told = self.feed.next() => match told {
                    Ok(told) => return Some(told),
                    Err(error) => {
                        tracing::warn!(queue = %self.subscription.queue, %error, "a connection's queue could not be read");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.zaqar.sockets.remove(self.subscription.project, self.subscription.id);
    }
}
