//! Where a subscription stands: the sum of its events. Changed by [`apply`](super::apply) alone; judged by
//! [`decide`](super::decide). What is asked of it costs O(1) or O(log n), unless its contract says otherwise.

use super::cursor::Cursor;
use super::event::{GroupId, NodeId, Nonce, Run};
use super::lease::{Lease, Leases, Observer, Phase};
use super::runs::{self, RunMap};
use super::{AckMode, WorkerLease};
use crate::domain::id::{Fence, Incarnation, LogRef, Offset, Timestamp};

/// The state. The default is that of a subscription without events: attached to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub(crate) attached: Option<Attachment>,
    pub(crate) cursor: Cursor,
    /// Cumulative mode.
    pub(crate) window: Option<Window>,
    /// Individual mode; offsets that are not acknowledged.
    pub(crate) leases: Leases,
    /// Until when messages live at least, where that is later than their own end; offsets that are not acknowledged.
    pub(crate) lifetimes: RunMap<Timestamp>,
    /// Sorted by offset; exactly the offsets whose lease is in [`Phase::DeadLetter`].
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) worker: Option<Worker>,
    /// The last fence that was given out.
    pub(crate) fence: Fence,
    pub(crate) epoch: u64,
    pub(crate) consumed: Consumed,
    pub(crate) forgotten: u64,
}

/// What a subscription stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The topic's log.
    pub log: LogRef,
    /// The topic's incarnation.
    pub incarnation: Incarnation,
    /// How acknowledgements work.
    pub mode: AckMode,
}

/// Cumulative mode: what the last pull gave out, from the floor on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// After the last offset considered; the floor when the pull was empty.
    pub end: Offset,
    /// When.
    pub at: Timestamp,
}

/// Who works on a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Which node.
    pub node: NodeId,
    /// Its hold.
    pub lease: WorkerLease,
}

/// A message on its way to a dead-letter topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Which message.
    pub offset: Offset,
    /// The log it goes to.
    pub target: LogRef,
    /// Where to look for the copy from.
    pub tail: Offset,
    /// Marks the copy.
    pub nonce: Nonce,
}

/// What was given out so far; what was given out again counts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Consumed {
    /// Messages.
    pub messages: u64,
    /// Their text bytes.
    pub bytes: u64,
    /// When messages were last given out; [`Timestamp::EPOCH`] for never.
    pub at: Timestamp,
    /// When they were the time before; [`Timestamp::EPOCH`] for never.
    pub before: Timestamp,
    /// How many it were the last time.
    pub last: u64,
}

impl Consumed {
    pub(crate) fn add(&mut self, messages: u64, bytes: u64, at: Timestamp) {
        self.messages = self.messages.saturating_add(messages);
        self.bytes = self.bytes.saturating_add(bytes);
        self.before = std::mem::replace(&mut self.at, at);
        self.last = messages;
    }
}

impl State {
    /// What it stands on; none before the first event.
    #[must_use]
    pub const fn attached(&self) -> Option<Attachment> {
        self.attached
    }

    /// The ack mode; none before the first event.
    #[must_use]
    pub fn mode(&self) -> Option<AckMode> {
        self.attached.map(|attached| attached.mode)
    }

    /// The incarnation of the topic that it stands on; 0, which no topic has, before the first event.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.attached.map(|attached| attached.incarnation).unwrap_or_default()
    }

    /// The topic's log that it stands on; none before the first event.
    #[must_use]
    pub fn log(&self) -> Option<LogRef> {
        self.attached.map(|attached| attached.log)
    }

    /// The ack floor: everything below is acknowledged, the message at it is not.
    #[must_use]
    pub const fn floor(&self) -> Offset {
        self.cursor.floor()
    }

    /// Cumulative mode: the open window.
    #[must_use]
    pub const fn window(&self) -> Option<Window> {
        self.window
    }

    /// How many messages below the topic's `next` offset are not acknowledged.
    #[must_use]
    pub fn backlog(&self, next: Offset) -> u64 {
        self.cursor.unacknowledged(next)
    }

    /// The oldest offset that is not acknowledged; there may be no message at it yet.
    #[must_use]
    pub const fn oldest_unacknowledged(&self) -> Offset {
        self.cursor.floor()
    }

    /// Whether a message is acknowledged, or done with in another way.
    #[must_use]
    pub fn acknowledged(&self, offset: Offset) -> bool {
        self.cursor.acknowledged(offset)
    }

    /// How many messages are leased. Leases whose deadline has passed count until that is noted (by `Expire` or `Lease`).
    #[must_use]
    pub const fn outstanding(&self) -> u64 {
        self.leases.held()
    }

    /// The earliest deadline of a lease, or end of a message's being held back: when `Expire` will have something to do for this
    /// observer.
    #[must_use]
    pub fn next_deadline(&self, observer: Observer) -> Option<Timestamp> {
        self.leases.next_timer(observer)
    }

    /// How often a message was given out; 0 once it is acknowledged. Individual mode.
    #[must_use]
    pub fn attempts(&self, offset: Offset) -> u32 {
        self.leases.get(offset).map_or(0, |(_, lease)| lease.attempt)
    }

    /// What became of a message that was given out and is not acknowledged. Individual mode.
    #[must_use]
    pub fn lease(&self, offset: Offset) -> Option<Lease> {
        self.leases.get(offset).map(|(_, lease)| lease)
    }

    /// The messages that a group holds at an instant, as runs of equal leases. O(n) in runs.
    pub fn group(&self, group: GroupId, now: Timestamp, observer: Observer) -> impl Iterator<Item = (Run, Lease)> {
        let members = move |(_, lease): &&(Run, Lease)| lease.in_group(group) && lease.live(now, observer);
        self.leases.entries().iter().filter(members).copied()
    }

    /// Until when a message lives at least, if a claim gave it more than its own end.
    #[must_use]
    pub fn lifetime(&self, offset: Offset) -> Option<Timestamp> {
        self.lifetimes.get(offset).map(|(_, until)| until)
    }

    /// The oldest message whose lifetime was extended and still runs: retention must not take it. O(n) in runs.
    #[must_use]
    pub fn oldest_extended(&self, now: Timestamp) -> Option<Offset> {
        self.lifetimes.entries().iter().find(|(_, until)| now < *until).map(|(run, _)| run.first)
    }

    /// The messages on their way to a dead-letter topic, by offset.
    #[must_use]
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// The worker. Its lease may have ended.
    #[must_use]
    pub const fn worker(&self) -> Option<Worker> {
        self.worker
    }

    /// What was given out so far.
    #[must_use]
    pub const fn consumed(&self) -> Consumed {
        self.consumed
    }

    /// How many messages retention took before they were acknowledged. A message whose own end had passed unnoticed counts.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many seeks, purges and attachments there were: each revokes all leases.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Not held messages whose attempts are used up and that are not on their way to a dead-letter topic yet: at most `limit`
    /// of them, as runs. O(n) in runs.
    #[must_use]
    pub fn exhausted(&self, max_attempts: u32, limit: usize) -> Vec<Run> {
        let mut room = limit as u64;
        let mut exhausted = Vec::new();
        for (run, lease) in self.leases.entries() {
            if room > 0 && lease.phase == Phase::Over && lease.attempt >= max_attempts {
                let run = Run { first: run.first, next: run.next.min(run.first.plus(room)) };
                room = room.saturating_sub(run.count());
                runs::push(&mut exhausted, run);
            }
        }
        exhausted
    }

    /// An offset below which nothing can be given out: the floor, or, when all between was given out and nothing has come back,
    /// the end of that. O(1): whoever takes one message at a time need not walk over all that others hold.
    pub(super) fn first_deliverable(&self) -> Offset {
        let acknowledged = self.cursor.above().next_back().map(|run| run.next);
        let given_out = self.leases.entries().last().map(|(run, _)| run.next);
        let end = self.floor().max(acknowledged.max(given_out).unwrap_or_default());
        let never_given_out = self.backlog(end).saturating_sub(self.leases.covered());
        let blocked = self.leases.held().saturating_add(self.dead_letters.len() as u64);
        if never_given_out == 0 && blocked == self.leases.covered() { end } else { self.floor() }
    }

    /// The runs of offsets in `from..next` that are not acknowledged, with the lease of each. Walks in O(1) a run.
    pub(crate) fn open_runs(&self, from: Offset, next: Offset) -> impl Iterator<Item = (Run, Option<Lease>)> {
        let mut acknowledged = self.cursor.above_from(from).peekable();
        let mut leases = self.leases.entries_from(from).peekable();
        let mut at = from.max(self.floor());
        std::iter::from_fn(move || {
            while let Some(run) = acknowledged.next_if(|run| run.first <= at) {
                at = at.max(run.next);
            }
            let first = at;
            if first >= next {
                return None;
            }
            if let Some((run, lease)) = leases.next_if(|(run, _)| run.first <= first) {
                at = run.next.min(next);
                return Some((Run { first, next: at }, Some(*lease)));
            }
            let barriers = [acknowledged.peek().map(|run| run.first), leases.peek().map(|(run, _)| run.first)];
            at = barriers.into_iter().flatten().fold(next, Offset::min);
            Some((Run { first, next: at }, None))
        })
    }

    /// The parts of a run that live equally long, with until when at least; together they are the run.
    pub(crate) fn lifetimes_within(&self, run: Run) -> Vec<(Run, Option<Timestamp>)> {
        let (mut parts, mut at) = (Vec::new(), run.first);
        for (longer, until) in self.lifetimes.within(run) {
            if at < longer.first {
                parts.push((Run { first: at, next: longer.first }, None));
            }
            parts.push((longer, Some(until)));
            at = longer.next;
        }
        if at < run.next {
            parts.push((Run { first: at, next: run.next }, None));
        }
        parts
    }

    /// Whether its parts agree with each other, as they always do after `apply`. O(n).
    pub(crate) fn is_sound(&self) -> bool {
        let open = |run: &Run| self.cursor.open(&[*run]) == [*run];
        let sorted = self.dead_letters.iter().zip(self.dead_letters.iter().skip(1)).all(|(a, b)| a.offset < b.offset);
        let parked = |lease: &Lease| lease.phase == Phase::DeadLetter;
        let count: u64 = self.leases.entries().iter().filter(|(_, l)| parked(l)).map(|(run, _)| run.count()).sum();
        sorted
            && count == self.dead_letters.len() as u64
            && self.dead_letters.iter().all(|letter| self.lease(letter.offset).is_some_and(|lease| parked(&lease)))
            && self.leases.entries().iter().all(|(run, lease)| open(run) && lease.fence <= self.fence)
            && self.lifetimes.entries().iter().all(|(run, _)| open(run))
            && self.window.is_none_or(|window| window.end >= self.floor())
            && self.worker.is_none_or(|worker| worker.lease.fence <= self.fence)
    }
}
