//! Consuming: one actor for each subscription in use merges waiting commands into one append on the subscription's own log.

mod actor;
mod dead_letter;
mod deliver;
mod replica;
mod round;

pub(super) use actor::SubscriptionActor;
pub(super) use replica::Stand;

use super::Broker;
use super::codec::event::{Body, Record};
use super::log::{Entry, Outcome};
use crate::domain::limits::{LEASE_BYTES_MAX, PULL_WAIT_MAX};
use crate::domain::message::Published;
use crate::domain::subscription::{
    AckMode, Command, Decision, Grant, GroupId, Headers, HolderId, LeaseRequest, NodeId, Reply, Settings, State,
    Subscription, Targets, View, WorkerLease, decide,
};
use crate::domain::topic::Topic;
use crate::domain::{Error, Fence, LogRef, Offset, ProducerId, Resource, Result, Timestamp};
use crate::storage::{self, LogId, Purpose};
use std::sync::Arc;
use std::time::Duration;

/// How often a pull whose messages were trimmed before they could be read is tried.
const PULLS_MAX: u32 = 5;

/// What a consumer wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PullRequest {
    /// Most messages; 0 counts as 1.
    pub messages_max: u32,
    /// How long to wait: in cumulative mode for the full count once there is at least one message (none: answer at once), in
    /// individual mode for the first message. None for not at all; cut to `PULL_WAIT_MAX`. Dropping the call ends the wait.
    pub wait: Option<Duration>,
    /// Individual mode: how long the leases last; none for the subscription's ack deadline.
    pub duration: Option<Duration>,
    /// Messages that would expire earlier live until this long after the lease's end.
    pub grace: Option<Duration>,
    /// Who holds the leases.
    pub holder: HolderId,
    /// The leases' common group.
    pub group: GroupId,
    /// Leave this producer's messages out.
    pub except_producer: Option<ProducerId>,
    /// Individual mode: take also what is not visible yet.
    pub early: bool,
    /// Most payload bytes, but at least one message; none for `LEASE_BYTES_MAX`.
    pub bytes_max: Option<u64>,
    /// The worker's fence, if a worker asks.
    pub worker: Option<Fence>,
}

/// A message given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The message and its place.
    pub published: Published,
    /// Individual mode: the lease's fence; zero in cumulative mode.
    pub fence: Fence,
    /// Individual mode: which attempt this is, from 1.
    pub attempt: u32,
}

/// Where a subscription stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The first offset kept; 0 while the topic is gone.
    pub first: Offset,
    /// The offset that the next message gets; 0 while the topic is gone.
    pub next: Offset,
    /// The ack floor: everything below is acknowledged.
    pub floor: Offset,
    /// Messages not acknowledged.
    pub backlog: u64,
    /// When the oldest of them was stored, if that was cheap to know.
    pub oldest_at: Option<Timestamp>,
}

/// What a subscription has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Messages given out, again or for the first time.
    pub messages: u64,
    /// Their text bytes.
    pub bytes: u64,
    /// When messages were last given out.
    pub consumed_at: Option<Timestamp>,
    /// How many those were.
    pub consumed: u64,
    /// When messages were given out the time before.
    pub consumed_before: Option<Timestamp>,
    /// Messages that retention took unacknowledged.
    pub forgotten: u64,
}

impl Broker {
    /// Gives messages out and answers when that is durable. Empty when there is nothing.
    ///
    /// # Errors
    /// [`Error::TopicGone`], [`Error::NotFound`] when the subscription is gone, [`Error::NotTheWorker`], [`Error::Overloaded`], storage.
    pub async fn pull(&self, subscription: &Subscription, request: PullRequest) -> Result<Vec<Delivery>> {
        let actor = self.subscription_actor(subscription)?;
        let mut wait = request.wait.unwrap_or_default().min(PULL_WAIT_MAX);
        let _waiting = if wait.is_zero() { None } else { Some(self.waiting_pull()?) };
        if subscription.settings.mode == AckMode::Cumulative && !wait.is_zero() {
            self.wait_for_count(&actor, request.messages_max, wait).await?;
            wait = Duration::ZERO;
        }
        let lease = Command::Lease(LeaseRequest {
            holder: request.holder,
            group: request.group,
            messages_max: request.messages_max,
            bytes_max: request.bytes_max.unwrap_or(LEASE_BYTES_MAX),
            duration: request.duration,
            grace: request.grace,
            except_producer: request.except_producer,
            early: request.early,
            worker: request.worker,
        });
        self.give_out(&actor, lease, wait).await
    }

    /// Gives messages out by a lease or a pop, at once.
    pub(super) async fn give_out_now(&self, subscription: &Subscription, command: Command) -> Result<Vec<Delivery>> {
        self.give_out(&self.subscription_actor(subscription)?, command, Duration::ZERO).await
    }

    async fn give_out(
        &self,
        actor: &Arc<SubscriptionActor>,
        command: Command,
        wait: Duration,
    ) -> Result<Vec<Delivery>> {
        for _ in 0..PULLS_MAX {
            let answer = actor.lease(self, command.clone(), wait).await?;
            let (Reply::Leased { grants, exhausted, .. }, topic) = (answer.reply, answer.topic) else { break };
            if !exhausted.is_empty() {
                actor.start_dead_letters(self);
            }
            let (false, Some(topic)) = (grants.is_empty(), topic) else { break };
            let mut granted = deliver::Granted { broker: self, actor, grants };
            let deliveries = deliver::read(self, &topic, &granted.grants).await?;
            granted.grants.clear();
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
        Ok(Vec::new())
    }

    /// Acknowledges; answers when durable. Cumulative mode takes [`Targets::Through`], individual mode the others.
    ///
    /// # Errors
    /// Cumulative: [`Error::NoAckPending`], [`Error::WrongAck`], [`Error::AckTimeout`]. Individual: [`Error::LeaseSuperseded`] after
    /// the valid targets were applied. Both: [`Error::NotFound`], [`Error::WrongAckMode`], storage.
    pub async fn acknowledge(
        &self,
        subscription: &Subscription,
        targets: Targets,
        worker: Option<Fence>,
    ) -> Result<()> {
        self.on_targets(subscription, Command::Acknowledge { targets, worker }).await
    }

    /// Individual mode: moves the leases' deadline to `duration` from now. Errors as [`Broker::acknowledge`].
    pub async fn extend(
        &self,
        subscription: &Subscription,
        targets: Targets,
        duration: Duration,
        worker: Option<Fence>,
    ) -> Result<()> {
        self.on_targets(subscription, Command::Extend { targets, duration, grace: None, worker }).await
    }

    /// Individual mode: gives leases back, deliverable again after `delay`. Errors as [`Broker::acknowledge`].
    pub async fn release(
        &self,
        subscription: &Subscription,
        targets: Targets,
        delay: Duration,
        worker: Option<Fence>,
    ) -> Result<()> {
        let not_before = if delay.is_zero() { Timestamp::EPOCH } else { self.now().plus(delay) };
        self.on_targets(subscription, Command::Release { targets, not_before, worker }).await
    }

    /// Moves the floor to an offset within the topic's bounds, inclusive; [`Error::OffsetOutOfBounds`] and nothing changes.
    pub async fn seek(&self, subscription: &Subscription, to: Offset) -> Result<()> {
        self.command(subscription, Command::Seek { to }).await?;
        self.subscription_actor(subscription)?.tell_moved();
        Ok(())
    }

    /// Acknowledges everything there is.
    pub async fn purge(&self, subscription: &Subscription) -> Result<()> {
        self.command(subscription, Command::Purge).await.map(drop)
    }

    /// Where the subscription stands. A floor below the first kept offset is first moved there, durably.
    pub async fn progress(&self, subscription: &Subscription) -> Result<Progress> {
        let actor = self.subscription_actor(subscription)?;
        match actor.command(self, Command::Expire).await {
            // One that never stood on anything has nothing to settle while its topic is gone.
            Ok(_) | Err(Error::TopicGone) => {}
            Err(error) => return Err(error),
        }
        let (progress, topic) = actor
            .look(self, |seen| {
                let (first, next) = seen.topic.map(|topic| (topic.first, topic.next)).unwrap_or_default();
                let (floor, backlog) = (seen.state.floor(), seen.state.backlog(next));
                let progress = Progress { first, next, floor, backlog, oldest_at: None };
                (progress, seen.topic.map(|topic| topic.actor.clone()))
            })
            .await?;
        let oldest_at = match topic {
            Some(topic) if progress.backlog > 0 => topic.stored_at(self, progress.floor).await?,
            _ => None,
        };
        Ok(Progress { oldest_at, ..progress })
    }

    /// What the subscription has done so far.
    pub async fn statistics(&self, subscription: &Subscription) -> Result<Statistics> {
        let actor = self.subscription_actor(subscription)?;
        actor.look(self, |seen| statistics(seen.state)).await
    }

    /// Becomes or stays the worker of the subscription for `duration`; [`Error::NotTheWorker`] while it is another node than `over`, which
    /// is one that is known not to be at work any more.
    pub async fn acquire_worker(
        &self,
        subscription: &Subscription,
        duration: Duration,
        over: Option<NodeId>,
    ) -> Result<WorkerLease> {
        let (node, skew) = (self.inner.options.node, self.inner.options.clock_skew_max);
        match self.command(subscription, Command::AcquireWorker { node, duration, skew, over }).await? {
            Reply::Worker(lease) => Ok(lease),
            _ => Err(Error::NotTheWorker),
        }
    }

    /// Which node is the worker, or was the last one whose lease was not given back.
    pub async fn worker(&self, subscription: &Subscription) -> Result<Option<NodeId>> {
        let actor = self.subscription_actor(subscription)?;
        actor.look(self, |seen| seen.state.worker().map(|worker| worker.node)).await
    }

    /// Stops being the worker; without effect if it is another by now.
    pub async fn release_worker(&self, subscription: &Subscription, fence: Fence) -> Result<()> {
        self.command(subscription, Command::ReleaseWorker { fence }).await.map(drop)
    }

    /// A new subscription's first event, in its own empty log: it stands where `begin` says, given the topic's first and next
    /// offset.
    pub(crate) async fn attach(
        &self,
        log: LogRef,
        topic: &Topic,
        settings: &Settings,
        begin: impl FnOnce(Offset, Offset) -> Offset,
    ) -> Result<()> {
        let bounds = self.inner.bounds(LogId(topic.log.0)).await?.ok_or(Error::NotFound(Resource::Topic))?;
        let (first, next, headers) = (Offset(bounds.first.0), Offset(bounds.next.0), Headers::default());
        let (log_of_topic, incarnation, observer) = (topic.log, topic.incarnation, self.inner.observer());
        let view = View { log: log_of_topic, incarnation, first, next, settings, headers: &headers, observer };
        let attach = Command::Attach { floor: begin(first, next) };
        let Decision::Done { events, .. } = decide(&State::default(), &attach, self.now(), &view)? else {
            return Ok(());
        };
        let entry = Entry {
            log: LogId(log.0),
            expected: storage::Offset(0),
            count: 1,
            nonce: self.inner.nonce(),
            payload: Record { newest_snapshot: None, body: Body::Events(events) }.encode(),
            purpose: Purpose::Upkeep,
            kind: "subscription",
        };
        match self.inner.append(entry).await? {
            // Whoever was first has attached it.
            Outcome::Appended(_) | Outcome::Conflict => Ok(()),
            Outcome::Closed => Err(Error::NotFound(Resource::Subscription)),
        }
    }

    async fn command(&self, subscription: &Subscription, command: Command) -> Result<Reply> {
        let actor = self.subscription_actor(subscription)?;
        actor.command(self, command).await.map(|answer| answer.reply)
    }

    async fn on_targets(&self, subscription: &Subscription, command: Command) -> Result<()> {
        match self.command(subscription, command).await? {
            Reply::Targets { superseded: 0, .. } => Ok(()),
            Reply::Targets { superseded, .. } => Err(Error::LeaseSuperseded { refused: superseded }),
            _ => Ok(()),
        }
    }
}

/// Reads where a subscription stands from its log.
pub(super) async fn load_stand(broker: &Broker, log: LogId) -> Result<Stand> {
    replica::Replica::load(broker, log).await.map(|replica| replica.stand())
}

fn statistics(state: &State) -> Statistics {
    let consumed = state.consumed();
    Statistics {
        messages: consumed.messages,
        bytes: consumed.bytes,
        consumed_at: Some(consumed.at).filter(|at| *at > Timestamp::EPOCH),
        consumed: consumed.last,
        consumed_before: Some(consumed.before).filter(|before| *before > Timestamp::EPOCH),
        forgotten: state.forgotten(),
    }
}

#[cfg(test)]
mod tests;
