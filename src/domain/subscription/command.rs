//! Everything that can be asked of a subscription, and what it answers.

use super::event::{Event, GiveUpReason, GroupId, HolderId, NodeId, Nonce};
use crate::domain::id::{Fence, LogRef, Offset, ProducerId, Timestamp};
use std::ops::Range;
use std::time::Duration;

/// A command. Every command first settles what the view shows to have changed: a topic made again (`Attached`, floor 0), messages
/// taken by retention (`Forgotten`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The subscription's first command: stand on the view's log at this offset.
    Attach {
        /// Where delivery begins.
        floor: Offset,
    },
    /// Give messages out: a window in cumulative mode, exclusive leases in individual mode.
    Lease(LeaseRequest),
    /// Be done with messages.
    Acknowledge {
        /// Which.
        targets: Targets,
        /// The worker's fence, if a worker speaks.
        worker: Option<Fence>,
    },
    /// Lease and acknowledge in one step. Individual mode.
    Pop(LeaseRequest),
    /// Move the deadline of leases to `duration` from now. Individual mode.
    Extend {
        /// Which.
        targets: Targets,
        /// From now; more than [`LEASE_MAX`](crate::domain::limits::LEASE_MAX) is cut to it.
        duration: Duration,
        /// Messages that would expire earlier live until this long after the new deadline.
        grace: Option<Duration>,
        /// The worker's fence, if a worker speaks.
        worker: Option<Fence>,
    },
    /// Give leases back. Individual mode.
    Release {
        /// Which.
        targets: Targets,
        /// Not delivered again before this.
        not_before: Timestamp,
        /// The worker's fence, if a worker speaks.
        worker: Option<Fence>,
    },
    /// End the leases whose deadline has passed and what is held back no longer. Individual mode; otherwise it only settles what
    /// the view shows to have changed, as every command does.
    Expire,
    /// Let go of what lies before an offset, for retention is about to take it: all but messages from the oldest one on whose life
    /// a lease extended. Nothing that it lets go is given out afterwards.
    Forget {
        /// The first offset that retention keeps.
        before: Offset,
    },
    /// Be done with a message because delivering it is pointless. Individual mode.
    GiveUp {
        /// Which.
        offset: Offset,
        /// Why.
        reason: GiveUpReason,
    },
    /// Acknowledge everything there is; a new epoch.
    Purge,
    /// Move the floor, forget all acknowledgements and leases; a new epoch.
    Seek {
        /// To where, within the view's bounds inclusive.
        to: Offset,
    },
    /// Become or stay the worker of this subscription.
    AcquireWorker {
        /// Who.
        node: NodeId,
        /// For how long from now.
        duration: Duration,
        /// How long after another node's deadline it may be taken from it (its clock may be late).
        skew: Duration,
        /// A node that is known not to be at work any more: it need not be waited for.
        over: Option<NodeId>,
    },
    /// Stop being the worker; without effect if it is another by now.
    ReleaseWorker {
        /// The fence that `AcquireWorker` gave.
        fence: Fence,
    },
    /// Before copying a message to the dead-letter topic. Individual mode.
    StartDeadLetter {
        /// Which message.
        offset: Offset,
        /// The log it goes to.
        target: LogRef,
        /// That log's next offset when the copy was decided: where a recovery looks for the nonce from.
        tail: Offset,
        /// Marks the copy.
        nonce: Nonce,
    },
    /// After the copy is durable.
    FinishDeadLetter {
        /// Which message.
        offset: Offset,
        /// The copy's offset in the target.
        copy: Offset,
    },
}

/// What a consumer wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRequest {
    /// Who gets the leases.
    pub holder: HolderId,
    /// The leases' common group, for those who speak of them together.
    pub group: GroupId,
    /// Most messages; 0 counts as 1, more than [`LEASE_MESSAGES_MAX`](crate::domain::limits::LEASE_MESSAGES_MAX) as that.
    pub messages_max: u32,
    /// Most bytes, but at least one message.
    pub bytes_max: u64,
    /// How long from now; none for the subscription's ack deadline.
    pub duration: Option<Duration>,
    /// Messages that would expire earlier live until this long after the lease's end.
    pub grace: Option<Duration>,
    /// Leave this producer's messages out.
    pub except_producer: Option<ProducerId>,
    /// Give out also what is not visible yet. Individual mode.
    pub early: bool,
    /// The worker's fence, if a worker speaks.
    pub worker: Option<Fence>,
}

/// Which messages a command means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Targets {
    /// Cumulative mode: everything up to this offset, inclusive.
    Through(Offset),
    /// These leases: offset and fence as granted.
    Leased(Vec<(Offset, Fence)>),
    /// These messages, leased or not.
    Offsets(Vec<Offset>),
    /// These messages as far as nobody holds them; those that are held are refused.
    Free(Vec<Offset>),
    /// These messages as far as this group holds them; others are refused.
    Held(GroupId, Vec<Offset>),
    /// All leases of a group.
    Group(GroupId),
}

/// What `decide` answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Append these events (none: nothing to append) and give this reply once they are durable.
    Done {
        /// In order.
        events: Vec<Event>,
        /// For the caller.
        reply: Reply,
    },
    /// Load the headers of these offsets one by one ([`Span::Each`](super::headers::Span::Each)) and ask again with all that was
    /// loaded so far; a shorter beginning of the range, not empty, will do. Never empty, within the view's bounds, at most
    /// [`NEED_MAX`](crate::domain::limits::NEED_MAX) long.
    Need(Range<Offset>),
}

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// To `Lease` and `Pop`: what was given, in offset order.
    Leased {
        /// Runs of messages; none when there is nothing.
        grants: Vec<Grant>,
        /// Until when.
        deadline: Timestamp,
        /// Messages whose attempts are used up, for the dead-letter topic, in order; bounded.
        exhausted: Vec<Offset>,
    },
    /// To commands with targets, and to those that mean one message.
    Targets {
        /// How many the command changed.
        applied: usize,
        /// How many needed nothing: acknowledged already, or to be released and not leased any more (success).
        already: usize,
        /// How many were refused: granted again, of an earlier epoch, never leased, or to be extended after their deadline.
        superseded: usize,
    },
    /// To `Expire`: how many leases ended, and the messages whose attempts are used up.
    Expired {
        /// How many.
        leases: usize,
        /// For the dead-letter topic, in order; bounded.
        exhausted: Vec<Offset>,
    },
    /// To `Forget`: before which offset retention may take all.
    Forgotten(Offset),
    /// To `AcquireWorker`.
    Worker(WorkerLease),
}

/// Messages given out with one fence and attempt count: `first..next`, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The first offset.
    pub first: Offset,
    /// The offset after the last.
    pub next: Offset,
    /// The grant's fence; zero in cumulative mode.
    pub fence: Fence,
    /// Which attempt this is, from 1; 1 in cumulative mode.
    pub attempt: u32,
}

/// A worker's hold on a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerLease {
    /// Carried by everything that the worker asks.
    pub fence: Fence,
    /// Until when.
    pub deadline: Timestamp,
}
