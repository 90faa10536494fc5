//! Consuming: one actor for each subscription in use merges waiting commands into one append on the subscription's own log.

use super::Broker;
use crate::domain::message::Published;
use crate::domain::subscription::{GroupId, HolderId, Subscription, Targets};
use crate::domain::{Error, Fence, Offset, ProducerId, Result, Timestamp};
use std::time::Duration;

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
    /// Messages that retention took unacknowledged.
    pub forgotten: u64,
}

impl Broker {
    /// Gives messages out and answers when that is durable. Empty when there is nothing.
    ///
    /// # Errors
    /// [`Error::TopicGone`], [`Error::NotFound`] when the subscription is gone, [`Error::NotTheWorker`], [`Error::Overloaded`], storage.
    pub async fn pull(&self, _subscription: &Subscription, _request: PullRequest) -> Result<Vec<Delivery>> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Acknowledges; answers when durable. Cumulative mode takes [`Targets::Through`], individual mode the others.
    ///
    /// # Errors
    /// Cumulative: [`Error::NoAckPending`], [`Error::WrongAck`], [`Error::AckTimeout`]. Individual: [`Error::LeaseSuperseded`] after
    /// the valid targets were applied. Both: [`Error::NotFound`], [`Error::WrongAckMode`], storage.
    pub async fn acknowledge(
        &self,
        _subscription: &Subscription,
        _targets: Targets,
        _worker: Option<Fence>,
    ) -> Result<()> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Individual mode: moves the leases' deadline to `duration` from now. Errors as [`Broker::acknowledge`].
    pub async fn extend(
        &self,
        _subscription: &Subscription,
        _targets: Targets,
        _duration: Duration,
        _worker: Option<Fence>,
    ) -> Result<()> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Individual mode: gives leases back, deliverable again after `delay`. Errors as [`Broker::acknowledge`].
    pub async fn release(
        &self,
        _subscription: &Subscription,
        _targets: Targets,
        _delay: Duration,
        _worker: Option<Fence>,
    ) -> Result<()> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Moves the floor to an offset within the topic's bounds, inclusive; [`Error::OffsetOutOfBounds`] and nothing changes.
    pub async fn seek(&self, _subscription: &Subscription, _to: Offset) -> Result<()> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Acknowledges everything there is.
    pub async fn purge(&self, _subscription: &Subscription) -> Result<()> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Where the subscription stands. A floor below the first kept offset is first moved there, durably.
    pub async fn progress(&self, _subscription: &Subscription) -> Result<Progress> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// What the subscription has done so far.
    pub async fn statistics(&self, _subscription: &Subscription) -> Result<Statistics> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }
}
