//! The durable facts of a subscription's life. Replaying them through `apply` rebuilds its state.
//!
//! The code of each kind ([`Event::code`]) is stored and frozen: a kind may fall out of use, its code is never used again.

use crate::domain::id::{Fence, Incarnation, LogRef, Offset, Timestamp};
use crate::domain::subscription::AckMode;

/// Who holds leases: a consumer's connection, a claim, a worker. Zero is nobody in particular.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct HolderId(pub u128);

/// Leases that are spoken of together. Zero is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupId(pub u128);

/// A node of the service. Zero is the only node there is: of a store that one process at a time can open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u128);

/// Marks one append to a log, so that it can be found again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nonce {
    /// Who appended.
    pub writer: u128,
    /// His count.
    pub sequence: u64,
}

/// Offsets `first..next`, not empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Run {
    /// The first.
    pub first: Offset,
    /// After the last.
    pub next: Offset,
}

impl Run {
    /// One offset.
    #[must_use]
    pub const fn one(offset: Offset) -> Self {
        Self { first: offset, next: offset.plus(1) }
    }

    /// How many offsets it holds.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.next.since(self.first)
    }

    /// Whether it holds an offset.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        self.first <= offset && offset < self.next
    }
}

/// Why a message was given up. Codes are stored: frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum GiveUpReason {
    /// Its attempts were used up and there is no dead-letter topic.
    Attempts = 1,
    /// The receiver refused it for good.
    Refused = 2,
    /// An operator said so.
    Operator = 3,
    /// Its own end passed before it was delivered and acknowledged.
    Expired = 4,
}

/// A fact. Runs are sorted, not empty, and do not touch each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Stands on this log from here; windows, leases, acknowledgements of an earlier incarnation are gone.
    Attached {
        /// The topic's log.
        log: LogRef,
        /// The topic's incarnation.
        incarnation: Incarnation,
        /// Everything below is acknowledged.
        floor: Offset,
        /// The ack mode, for ever.
        mode: AckMode,
    },
    /// Cumulative: a pull gave out what lies between the floor and `end` and started the clock.
    WindowSet {
        /// After the last offset considered.
        end: Offset,
        /// When.
        at: Timestamp,
        /// Messages delivered.
        messages: u32,
        /// Their text bytes.
        bytes: u64,
    },
    /// Cumulative: everything below `floor` is acknowledged; the window is closed.
    AcknowledgedThrough {
        /// The new floor.
        floor: Offset,
        /// When.
        at: Timestamp,
    },
    /// Individual: leases were granted. Attempts of the messages rise by one.
    Leased {
        /// The messages.
        runs: Vec<Run>,
        /// Of this grant.
        fence: Fence,
        /// Until when.
        deadline: Timestamp,
        /// To whom.
        holder: HolderId,
        /// Spoken of as.
        group: GroupId,
        /// By which node's clock.
        node: NodeId,
        /// When.
        at: Timestamp,
        /// The messages' text bytes.
        bytes: u64,
    },
    /// Individual: acknowledged.
    Acknowledged {
        /// The messages.
        runs: Vec<Run>,
        /// When.
        at: Timestamp,
    },
    /// Individual: the leases' deadline moved. Not made any more: [`Event::Renewed`] tells when and by whom, too.
    Extended {
        /// The messages.
        runs: Vec<Run>,
        /// The new deadline.
        deadline: Timestamp,
    },
    /// Individual: given back.
    Released {
        /// The messages.
        runs: Vec<Run>,
        /// Not delivered again before this.
        not_before: Timestamp,
    },
    /// Individual: the leases' deadline passed, or what was held back may go again.
    Expired {
        /// The messages.
        runs: Vec<Run>,
    },
    /// Done with, without an acknowledgement by a consumer.
    GivenUp {
        /// The messages.
        runs: Vec<Run>,
        /// Why.
        reason: GiveUpReason,
    },
    /// Everything below `floor` was acknowledged by a purge, leases are forgotten; a new epoch. Acknowledgements above it stay: the
    /// purging node may not know of the newest messages yet.
    Purged {
        /// The new floor.
        floor: Offset,
    },
    /// The floor was set; acknowledgements and leases are forgotten; a new epoch.
    Sought {
        /// The new floor.
        floor: Offset,
    },
    /// A node works on this subscription.
    WorkerLeased {
        /// Who.
        node: NodeId,
        /// Of this hold.
        fence: Fence,
        /// Until when.
        deadline: Timestamp,
    },
    /// The worker with this fence stopped.
    WorkerReleased {
        /// Its fence.
        fence: Fence,
    },
    /// A message is about to be copied to a dead-letter topic; it is not delivered any more.
    DeadLetterStarted {
        /// The message.
        offset: Offset,
        /// The log it goes to.
        target: LogRef,
        /// Where to look for the copy from.
        tail: Offset,
        /// Marks the copy.
        nonce: Nonce,
    },
    /// The copy is durable; the message is acknowledged.
    DeadLettered {
        /// The message.
        offset: Offset,
        /// The copy's offset.
        copy: Offset,
    },
    /// Retention took what lies below `before`.
    Forgotten {
        /// The first offset kept.
        before: Offset,
        /// How many of them were not acknowledged.
        unacknowledged: u64,
    },
    /// Messages live at least until `until`, whatever their own end.
    LifetimeExtended {
        /// The messages.
        runs: Vec<Run>,
        /// Until when.
        until: Timestamp,
    },
    /// Individual: the leases' deadline moved.
    Renewed {
        /// The messages.
        runs: Vec<Run>,
        /// The new deadline.
        deadline: Timestamp,
        /// By which node's clock.
        node: NodeId,
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// The kind's frozen code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Attached { .. } => 1,
            Self::WindowSet { .. } => 2,
            Self::AcknowledgedThrough { .. } => 3,
            Self::Leased { .. } => 4,
            Self::Acknowledged { .. } => 5,
            Self::Extended { .. } => 6,
            Self::Released { .. } => 7,
            Self::Expired { .. } => 8,
            Self::GivenUp { .. } => 9,
            Self::Purged { .. } => 10,
            Self::Sought { .. } => 11,
            Self::WorkerLeased { .. } => 12,
            Self::WorkerReleased { .. } => 13,
            Self::DeadLetterStarted { .. } => 14,
            Self::DeadLettered { .. } => 15,
            Self::Forgotten { .. } => 16,
            Self::LifetimeExtended { .. } => 17,
            Self::Renewed { .. } => 18,
        }
    }
}
