//! A subscription: a cursor over one topic, and what is leased to whom until when.
//!
//! [`decide`] turns a command into events, [`apply`] turns events into state; both are pure, and replaying the same events
//! gives the same state, byte for byte. Time travel, recovery and a second node all go through `apply`.
//! Nothing here appends, waits, or reads a clock.

mod apply;
pub mod command;
mod cursor;
mod dead_letter;
mod decide;
mod dispatch;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod headers;
pub mod lease;
mod lifetime;
mod runs;
mod seek;
pub mod state;
mod targets;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod window;
mod worker;

pub use apply::apply;
pub use command::{Command, Decision, Grant, LeaseRequest, Reply, Targets, WorkerLease};
pub(crate) use cursor::Cursor;
pub use decide::decide;
pub use event::{Event, GiveUpReason, GroupId, HolderId, NodeId, Nonce, Run};
pub use headers::{Headers, Span};
pub(crate) use lease::Leases;
pub use lease::{Lease, Observer, Phase};
pub(crate) use runs::{RunMap, tidy};
pub use state::{Attachment, Consumed, DeadLetter, State, Window, Worker};

use super::id::{Incarnation, LogRef, Name, Offset, ProjectId, SubscriptionId, Timestamp, UserId};
use super::push::Push;
use std::time::Duration;

/// How acknowledgements work. Codes are stored: frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AckMode {
    /// One cursor: a pull opens a window at the ack floor, an acknowledgement of n inside it covers everything up to n, a
    /// second pull gives the same messages again (ARGO AMS 1.7).
    Cumulative = 1,
    /// Each message is leased exclusively until its deadline and acknowledged by itself.
    Individual = 2,
}

/// A subscription as its document has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Its identity; grows with creation time.
    pub id: SubscriptionId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name, unique among the project's subscriptions.
    pub name: Name,
    /// The name of its topic, in the same project; the topic may be gone, and come back.
    pub topic: Name,
    /// The log of its own events.
    pub log: LogRef,
    /// How it behaves.
    pub settings: Settings,
    /// Where its messages are pushed to; none for consumers that pull.
    pub push: Option<Push>,
    /// Who may consume, for the roles that are bound to access lists.
    pub acl: Vec<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, unless that was no user.
    pub created_by: Option<UserId>,
}

/// How a subscription behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Its ack mode, for ever.
    pub mode: AckMode,
    /// How long a pull may take to be acknowledged; in individual mode also the length of a lease that names none.
    pub ack_deadline: Duration,
    /// After this many attempts a message goes to the dead-letter topic; none for never. Individual mode only.
    pub max_attempts: Option<u32>,
    /// The topic that such messages go to, in the same project.
    pub dead_letter_topic: Option<Name>,
    /// How long such a message lives there, counted anew; none for as long as it would have lived.
    pub dead_letter_ttl: Option<Duration>,
}

/// What a command is judged with beside the state: the topic as it is, and the headers that were loaded.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The topic's log.
    pub log: LogRef,
    /// The topic's incarnation.
    pub incarnation: Incarnation,
    /// The first offset kept.
    pub first: Offset,
    /// The offset that the next message gets.
    pub next: Offset,
    /// The subscription's settings.
    pub settings: &'a Settings,
    /// Headers of messages; what is missing is asked for by [`Decision::Need`].
    pub headers: &'a Headers,
    /// Who judges.
    pub observer: Observer,
}
