//! Commands into events: the entrance, what every command settles first, and the small commands. The large ones have a file each:
//! `window` (cumulative mode), `dispatch`, `targets`, `seek`, `worker`, `dead_letter`.

use super::apply::apply;
use super::event::{Event, GiveUpReason, Run};
use super::state::State;
use super::{AckMode, Command, Decision, Reply, View, dead_letter, dispatch, seek, targets, window, worker};
use crate::domain::error::Error;
use crate::domain::id::{Fence, Offset, Timestamp};
use std::borrow::Cow;

/// Judges a command: which events it makes, and what it is answered. Changes nothing; deterministic.
///
/// # Errors
/// [`Error::StaleIncarnation`] when the view is of an earlier topic than the state, [`Error::WrongAckMode`], [`Error::NotTheWorker`],
/// [`Error::OffsetOutOfBounds`], [`Error::Invalid`]; in cumulative mode [`Error::NoAckPending`], [`Error::WrongAck`] and
/// [`Error::AckTimeout`].
pub fn decide(state: &State, command: &Command, now: Timestamp, view: &View<'_>) -> Result<Decision, Error> {
    let mut draft = Draft { state: Cow::Borrowed(state), now, view, events: Vec::new() };
    if let Command::Attach { floor } = command
        && state.attached().is_none()
    {
        seek::check_bounds(*floor, view)?;
        return draft.done_with(attached(view, *floor, view.settings.mode), Reply::Done);
    }
    draft.settle()?;
    match command {
        Command::Attach { .. } => draft.done(Reply::Done),
        Command::Lease(request) => {
            draft.check_worker(request.worker)?;
            match draft.mode() {
                AckMode::Cumulative => window::pull(draft, request),
                AckMode::Individual => dispatch::lease(draft, request),
            }
        }
        Command::Pop(request) => {
            draft.check_worker(request.worker)?;
            draft.check_mode(AckMode::Individual)?;
            dispatch::pop(draft, request)
        }
        Command::Acknowledge { targets, worker } => {
            draft.check_worker(*worker)?;
            targets::acknowledge(draft, targets)
        }
        Command::Extend { targets, duration, grace, worker } => {
            draft.check_worker(*worker)?;
            draft.check_mode(AckMode::Individual)?;
            targets::extend(draft, targets, *duration, *grace)
        }
        Command::Release { targets, not_before, worker } => {
            draft.check_worker(*worker)?;
            draft.check_mode(AckMode::Individual)?;
            targets::release(draft, targets, *not_before)
        }
        Command::Expire => draft.expire(),
        Command::Forget { before } => draft.forget(*before),
        Command::Purge => seek::purge(draft),
        Command::Seek { to } => seek::seek(draft, *to),
        Command::AcquireWorker { node, duration, skew, over } => worker::acquire(draft, *node, *duration, *skew, *over),
        Command::ReleaseWorker { fence } => worker::release(draft, *fence),
        Command::GiveUp { .. } | Command::StartDeadLetter { .. } | Command::FinishDeadLetter { .. } => {
            draft.check_mode(AckMode::Individual)?;
            dead_letter::decide(draft, command)
        }
    }
}

fn attached(view: &View<'_>, floor: Offset, mode: AckMode) -> Event {
    Event::Attached { log: view.log, incarnation: view.incarnation, floor, mode }
}

/// A decision in the making: the events so far, and the state as they leave it. The state is copied when the first event comes
/// that later parts of the same decision must see.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) state: Cow<'a, State>,
    pub(super) now: Timestamp,
    pub(super) view: &'a View<'a>,
    events: Vec<Event>,
}

impl Draft<'_> {
    /// Adds an event that what follows must see.
    fn emit(&mut self, event: Event) {
        apply(self.state.to_mut(), &event);
        self.events.push(event);
    }

    /// Adds an event that nothing in this decision looks at any more.
    pub(super) fn add(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Ends the decision.
    pub(super) fn done(self, reply: Reply) -> Result<Decision, Error> {
        Ok(Decision::Done { events: self.events, reply })
    }

    /// Ends the decision with one more event.
    pub(super) fn done_with(mut self, event: Event, reply: Reply) -> Result<Decision, Error> {
        self.add(event);
        self.done(reply)
    }

    /// What the view shows to have changed: a topic made again, messages taken by retention.
    fn settle(&mut self) -> Result<(), Error> {
        let view = self.view;
        let known = self.state.incarnation();
        if view.incarnation > known {
            let mode = self.state.mode().unwrap_or(view.settings.mode);
            self.emit(attached(view, Offset(0), mode));
        } else if view.incarnation < known || self.state.log() != Some(view.log) {
            return Err(Error::StaleIncarnation);
        }
        if view.first > self.state.floor() {
            let unacknowledged = self.state.backlog(view.first);
            self.emit(Event::Forgotten { before: view.first, unacknowledged });
        }
        Ok(())
    }

    /// The subscription's mode; settled states have one.
    pub(super) fn mode(&self) -> AckMode {
        self.state.mode().unwrap_or(self.view.settings.mode)
    }

    pub(super) fn check_mode(&self, wanted: AckMode) -> Result<(), Error> {
        if self.mode() == wanted { Ok(()) } else { Err(Error::WrongAckMode) }
    }

    fn check_worker(&self, fence: Option<Fence>) -> Result<(), Error> {
        let Some(fence) = fence else { return Ok(()) };
        let current = self.state.worker().is_some_and(|worker| {
            let lease = worker.lease;
            lease.fence == fence && self.now < lease.deadline
        });
        if current { Ok(()) } else { Err(Error::NotTheWorker) }
    }

    /// The next fence to give out.
    pub(super) fn next_fence(&self) -> Fence {
        Fence(self.state.fence.0.saturating_add(1))
    }

    fn expire(mut self) -> Result<Decision, Error> {
        if self.mode() == AckMode::Cumulative {
            return self.done(Reply::Expired { leases: 0, exhausted: Vec::new() });
        }
        let leases = self.end_leases();
        let exhausted = self.settle_exhausted();
        self.done(Reply::Expired { leases, exhausted })
    }

    fn forget(self, before: Offset) -> Result<Decision, Error> {
        let alive = self.state.oldest_extended(self.now).unwrap_or(before);
        let before = before.min(alive).min(self.view.next);
        let reply = Reply::Forgotten(before);
        if before <= self.state.floor() {
            return self.done(reply);
        }
        let unacknowledged = self.state.backlog(before);
        self.done_with(Event::Forgotten { before, unacknowledged }, reply)
    }

    /// Notes the leases that have ended and what is held back no longer; answers how many leases ended.
    pub(super) fn end_leases(&mut self) -> usize {
        let runs = self.state.leases.due(self.now, self.view.observer);
        if runs.is_empty() {
            return 0;
        }
        let before = self.state.outstanding();
        self.emit(Event::Expired { runs });
        usize::try_from(before.saturating_sub(self.state.outstanding())).unwrap_or(usize::MAX)
    }

    /// Messages whose attempts are used up: given up when there is no dead-letter topic, else answered for it.
    pub(super) fn settle_exhausted(&mut self) -> Vec<Offset> {
        let Some(max_attempts) = self.view.settings.max_attempts else { return Vec::new() };
        if self.view.settings.dead_letter_topic.is_some() {
            let runs = self.state.exhausted(max_attempts, crate::domain::limits::EXHAUSTED_MAX);
            return offsets(&runs);
        }
        let runs = self.state.exhausted(max_attempts, usize::MAX);
        if !runs.is_empty() {
            self.emit(Event::GivenUp { runs, reason: GiveUpReason::Attempts });
        }
        Vec::new()
    }
}

/// The offsets of runs.
pub(super) fn offsets(runs: &[Run]) -> Vec<Offset> {
    runs.iter().flat_map(|run| (run.first.0..run.next.0).map(Offset)).collect()
}
