//! A glance at where subscriptions stand, for who looks at all of them again and again: reads, and starts no actor.
//!
//! What was seen of a subscription is remembered with the end of its log: while that has not moved, nothing has changed. So a subscription
//! that nobody uses costs no more than two looks at the ends of logs. Decides and appends nothing.

use super::Broker;
use super::documents::keys::Series;
use super::subscription::Stand;
use super::{Progress, subscription};
use crate::domain::subscription::Subscription;
use crate::domain::{Error, Offset, Resource, Result, Timestamp};
use crate::storage::{self, LogId, Position};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Most subscriptions that are remembered; to forget one costs one more reading of its log.
const REMEMBERED_MAX: usize = 100_000;

/// What was seen, by the subscriptions' logs.
#[derive(Debug, Default)]
pub(super) struct Glances {
    seen: Mutex<HashMap<LogId, Glance>>,
}

#[derive(Clone, Copy, Debug)]
struct Glance {
    stand: Stand,
    /// When the message at an offset of a topic's log was stored.
    oldest: Option<(LogId, Offset, Timestamp)>,
}

impl Broker {
    /// Where a subscription stands, as [`Broker::progress`] tells it, but changes nothing: a floor below the first kept offset is not moved
    /// there. While individually acknowledged messages lie below it, the backlog may be too small until the subscription is next used.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the subscription is gone, storage.
    pub async fn glance(&self, subscription: &Subscription) -> Result<Progress> {
        let log = LogId(subscription.log.0);
        let end = self.inner.bounds(log).await?.ok_or(Error::NotFound(Resource::Subscription))?.next;
        let current = |stand: &Stand| stand.at.0 == end.0;
        let known = self.inner.glances.seen.lock().get(&log).copied();
        let mut glance = match known.filter(|known| current(&known.stand)) {
            Some(glance) => glance,
            None => {
                let live = self.inner.subscriptions.find(log).and_then(|actor| actor.stand());
                let stand = match live.filter(current) {
                    Some(stand) => stand,
                    None => subscription::load_stand(self, log).await?,
                };
                Glance { stand, oldest: known.and_then(|known| known.oldest) }
            }
        };
        let progress = self.compare(subscription, &mut glance).await;
        self.inner.glances.remember(log, glance);
        progress
    }

    /// What a stand means on the topic as it is now.
    async fn compare(&self, subscription: &Subscription, glance: &mut Glance) -> Result<Progress> {
        let topic = match self.topic(subscription.project, &subscription.topic).await {
            Ok(topic) => Some(Series::of(&topic)),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let bounds = match &topic {
            Some(topic) => self.inner.bounds(topic.log).await?,
            None => None,
        };
        let (Some(topic), Some(bounds)) = (topic, bounds) else {
            let floor = glance.stand.floor;
            return Ok(Progress { first: Offset(0), next: Offset(0), floor, backlog: 0, oldest_at: None });
        };
        let (first, next) = (Offset(bounds.first.0), Offset(bounds.next.0));
        let on_it = glance.stand.topic.is_some_and(|log| log.0 == topic.log.0);
        let floor = if on_it { glance.stand.floor.max(first) } else { first };
        let acknowledged = if on_it { glance.stand.acknowledged_above } else { 0 };
        let backlog = next.since(floor).saturating_sub(acknowledged);
        glance.oldest = match glance.oldest.filter(|(log, at, _)| (*log, *at) == (topic.log, floor)) {
            _ if backlog == 0 => None,
            Some(oldest) => Some(oldest),
            None => {
                let oldest = self.batch_at(topic.log, Position::Offset(storage::Offset(floor.0))).await?;
                oldest.map(|batch| (topic.log, floor, batch.at))
            }
        };
        Ok(Progress { first, next, floor, backlog, oldest_at: glance.oldest.map(|(.., at)| at) })
    }
}

impl Glances {
    fn remember(&self, log: LogId, glance: Glance) {
        let mut seen = self.seen.lock();
        if seen.len() >= REMEMBERED_MAX && !seen.contains_key(&log) {
            seen.clear();
        }
        seen.insert(log, glance);
    }
}

#[cfg(test)]
#[path = "glance_tests.rs"]
mod tests;
