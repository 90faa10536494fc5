//! From grants to messages: reads what was given out, and waits for the count that a cumulative pull wants. Grants nothing.

use super::actor::SubscriptionActor;
use super::{Broker, Delivery, Grant};
use crate::broker::codec::message::MessageBatch;
use crate::broker::topic::{Found, TopicActor};
use crate::domain::subscription::Subscription;
use crate::domain::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// The messages of grants, in order; without those that retention has taken since. Payloads are slices of the log's records.
pub(super) async fn read(broker: &Broker, topic: &TopicActor, grants: &[Grant]) -> Result<Vec<Delivery>> {
    let count: u64 = grants.iter().map(|grant| grant.next.since(grant.first)).sum();
    let mut deliveries = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for grant in grants {
        let mut at = grant.first;
        while at < grant.next {
            let batches = match topic.read(broker, at..grant.next).await? {
                Found::Batches(batches) => batches,
                Found::Trimmed(first) => {
                    at = first;
                    continue;
                }
                Found::Closed => return Err(Error::TopicGone),
            };
            let Some(end) = batches.last().map(MessageBatch::next) else {
                return Err(Error::Damaged(format!("{} ends before offset {at}, which was given out", topic.log())));
            };
            for message in batches.iter().flat_map(|batch| batch.messages(at..grant.next)) {
                deliveries.push(Delivery { published: message?, fence: grant.fence, attempt: grant.attempt });
            }
            at = end;
        }
    }
    Ok(deliveries)
}

/// What was granted and not handed over yet: goes back when the pull fails or its caller leaves.
pub(super) struct Granted<'a> {
    pub(super) broker: &'a Broker,
    pub(super) actor: &'a Arc<SubscriptionActor>,
    pub(super) grants: Vec<Grant>,
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        self.actor.give_back(self.broker, &self.grants);
    }
}

/// Counts one waiting pull in the metrics as long as it lives.
#[derive(Debug)]
pub(super) struct WaitingPull<'a> {
    broker: &'a Broker,
    _permit: SemaphorePermit<'a>,
}

impl Drop for WaitingPull<'_> {
    fn drop(&mut self) {
        self.broker.inner.metrics.waiting_pulls.dec();
    }
}

impl Broker {
    /// A place among the pulls that wait; [`Error::Overloaded`] when all are taken.
    pub(super) fn waiting_pull(&self) -> Result<WaitingPull<'_>> {
        let permit = self.inner.waiting_pulls.try_acquire().map_err(|_| {
            self.inner.metrics.overloads.with_label_values(&["waiting_pulls"]).inc();
            Error::Overloaded("pulls")
        })?;
        self.inner.metrics.waiting_pulls.inc();
        Ok(WaitingPull { broker: self, _permit: permit })
    }

    /// Cumulative mode: when something lies at the floor but less than `wanted`, waits until that much does or the time is over.
    pub(super) async fn wait_for_count(
        &self,
        actor: &Arc<SubscriptionActor>,
        wanted: u32,
        wait: Duration,
    ) -> Result<()> {
        let look =
            actor.look(self, |seen| seen.topic.map(|topic| (topic.clone(), seen.state.floor().max(topic.first))));
        let Some((topic, floor)) = look.await? else { return Err(Error::TopicGone) };
        let enough = floor.plus(u64::from(wanted.max(1)));
        if topic.next <= floor || topic.next >= enough {
            return Ok(());
        }
        let mut tail = topic.actor.watch(self);
        // Over or not, what there is by then is given out.
        tokio::select! {
            biased;
            _ = tokio::time::timeout(wait, tail.reaches(enough)) => {}
            () = self.inner.stopping.cancelled() => {}
        }
        Ok(())
    }

    /// Waits until something is not acknowledged, at most for `wait`; whether there is. Leases nothing, appends nothing and takes no
    /// place among the pulls that wait. What another node moves back is seen when the next wait begins.
    ///
    /// # Errors
    /// [`Error::TopicGone`], [`Error::NotFound`](crate::domain::Error::NotFound) when the subscription is gone, storage.
    pub async fn wait_for_backlog(&self, subscription: &Subscription, wait: Duration) -> Result<bool> {
        let actor = self.subscription_actor(subscription)?;
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        loop {
            let mut moved = std::pin::pin!(actor.moved.notified());
            // From here on, so that no move between the look and the wait is missed.
            moved.as_mut().enable();
            let look = actor.look(self, |seen| {
                let topic = seen.topic?;
                Some((topic.clone(), seen.state.backlog(topic.next) > 0))
            });
            let Some((topic, backlog)) = look.await? else { return Err(Error::TopicGone) };
            if backlog {
                return Ok(true);
            }
            let mut tail = topic.actor.watch(self);
            tokio::select! {
                biased;
                () = tail.reaches(topic.next.plus(1)) => {}
                () = moved => {}
                () = &mut over => return Ok(false),
                () = self.inner.stopping.cancelled() => return Ok(false),
            }
        }
    }
}
