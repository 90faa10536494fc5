//! A subscription as its log says it is, by the auditor's own plain reading: sets of single offsets, no runs, no cleverness.

use angelia::domain::subscription::{AckMode, DeadLetter, Event, State};
use std::collections::{BTreeMap, BTreeSet};

/// What became of a message that was given out and is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    pub(crate) fence: u64,
    pub(crate) attempt: u32,
    /// While it is held the deadline, else until when it is held back.
    pub(crate) until: u64,
    pub(crate) held: bool,
    pub(crate) parked: bool,
}

/// Where a subscription stands.
#[derive(Clone, Default, Debug)]
pub(crate) struct Stand {
    /// The topic's log, its incarnation, and the ack mode.
    pub(crate) attached: Option<(u128, u64, AckMode)>,
    pub(crate) floor: u64,
    /// Above the floor.
    pub(crate) acked: BTreeSet<u64>,
    pub(crate) grants: BTreeMap<u64, Grant>,
    pub(crate) lifetimes: BTreeMap<u64, u64>,
    /// End and beginning of the open window.
    pub(crate) window: Option<(u64, u64)>,
    pub(crate) letters: BTreeMap<u64, DeadLetter>,
    /// Node, fence and deadline.
    pub(crate) worker: Option<(u128, u64, u64)>,
    pub(crate) fence: u64,
    pub(crate) consumed: u64,
    pub(crate) forgotten: u64,
    /// How many purges and seeks there were.
    pub(crate) moved: u64,
}

impl Stand {
    pub(crate) fn is_acked(&self, offset: u64) -> bool {
        offset < self.floor || self.acked.contains(&offset)
    }

    pub(crate) fn backlog(&self, next: u64) -> u64 {
        let above = self.acked.range(..next).count() as u64;
        next.saturating_sub(self.floor).saturating_sub(above)
    }

    /// Takes one event over.
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Attached { log, incarnation, floor, mode } => {
                self.attached = Some((log.0, incarnation.0, *mode));
                self.lifetimes.clear();
                self.restart(floor.0);
            }
            Event::WindowSet { end, at, messages, .. } => {
                self.window = Some((end.0.max(self.floor), at.0));
                self.consumed += u64::from(*messages);
            }
            Event::AcknowledgedThrough { floor, .. } => self.advance(floor.0),
            Event::Acknowledged { runs, .. } | Event::GivenUp { runs, .. } => self.finish(runs),
            Event::Forgotten { before, unacknowledged } => {
                self.forgotten += unacknowledged;
                self.advance(before.0);
            }
            Event::Purged { floor } => {
                self.revoke();
                self.advance(floor.0);
            }
            Event::Sought { floor } => self.restart(floor.0),
            Event::WorkerLeased { node, fence, deadline } => {
                self.fence = self.fence.max(fence.0);
                self.worker = Some((node.0, fence.0, deadline.0));
            }
            Event::WorkerReleased { fence } => self.worker = self.worker.filter(|worker| worker.1 != fence.0),
            Event::DeadLetterStarted { offset, target, tail, nonce } => {
                let letter = DeadLetter { offset: *offset, target: *target, tail: *tail, nonce: *nonce };
                self.letters.insert(offset.0, letter);
                let grant = Grant { fence: 0, attempt: 0, until: 0, held: false, parked: true };
                let grant = self.grants.get(&offset.0).copied().unwrap_or(grant);
                self.grants.insert(offset.0, Grant { held: false, parked: true, until: 0, ..grant });
            }
            Event::DeadLettered { offset, .. } => self.done([offset.0]),
            Event::Leased { .. }
            | Event::Extended { .. }
            | Event::Renewed { .. }
            | Event::Released { .. }
            | Event::Expired { .. } => {
                self.apply_to_grants(event);
            }
            Event::LifetimeExtended { runs, until } => {
                for offset in offsets(runs).filter(|offset| !self.is_acked(*offset)).collect::<Vec<_>>() {
                    let end = self.lifetimes.entry(offset).or_default();
                    *end = until.0.max(*end);
                }
            }
        }
    }

    fn apply_to_grants(&mut self, event: &Event) {
        match event {
            Event::Leased { runs, fence, deadline, .. } => {
                self.fence = self.fence.max(fence.0);
                for offset in offsets(runs) {
                    let attempt = self.grants.get(&offset).map_or(0, |grant| grant.attempt) + 1;
                    let (fence, until) = (fence.0, deadline.0);
                    self.grants.insert(offset, Grant { fence, attempt, until, held: true, parked: false });
                    self.consumed += 1;
                }
            }
            Event::Extended { runs, deadline } | Event::Renewed { runs, deadline, .. } => {
                self.change(runs, |grant| grant.until = deadline.0)
            }
            Event::Released { runs, not_before } => {
                self.change(runs, |grant| (grant.until, grant.held) = (not_before.0, false));
            }
            Event::Expired { runs } => self.change(runs, |grant| (grant.until, grant.held) = (0, false)),
            _ => {}
        }
    }

    fn change(&mut self, runs: &[angelia::domain::subscription::Run], change: impl Fn(&mut Grant)) {
        offsets(runs).for_each(|offset| {
            if let Some(grant) = self.grants.get_mut(&offset) {
                change(grant);
            }
        });
    }

    fn revoke(&mut self) {
        self.moved += 1;
        self.window = None;
        self.grants.clear();
        self.letters.clear();
    }

    fn restart(&mut self, floor: u64) {
        self.revoke();
        self.floor = floor;
        self.acked.clear();
        self.lifetimes.retain(|offset, _| *offset >= floor);
    }

    fn advance(&mut self, floor: u64) {
        self.window = None;
        self.done(self.floor..floor);
    }

    fn finish(&mut self, runs: &[angelia::domain::subscription::Run]) {
        self.done(offsets(runs));
        self.window = self.window.map(|(end, at)| (end.max(self.floor), at));
    }

    fn done(&mut self, offsets: impl IntoIterator<Item = u64>) {
        for offset in offsets {
            if offset >= self.floor {
                self.acked.insert(offset);
            }
            self.grants.remove(&offset);
            self.lifetimes.remove(&offset);
            self.letters.remove(&offset);
        }
        while self.acked.remove(&self.floor) {
            self.floor += 1;
        }
    }

    /// How a state of the product differs; none when it says the same.
    pub(crate) fn differs(&self, state: &State, next: u64) -> Option<String> {
        let offset = angelia::domain::Offset;
        let wrong = |what: &str| Some(format!("{what} differs: {state:?} instead of {self:?}"));
        if state.floor().0 != self.floor {
            return wrong("the floor");
        }
        if (self.floor..next).any(|at| state.acknowledged(offset(at)) != self.is_acked(at)) {
            return wrong("what is acknowledged");
        }
        let attempts = |at| self.grants.get(&at).map_or(0, |grant: &Grant| grant.attempt);
        if (self.floor..next).any(|at| state.attempts(offset(at)) != attempts(at)) {
            return wrong("attempts");
        }
        let counted = (state.consumed().messages, state.forgotten(), state.dead_letters().len());
        if counted != (self.consumed, self.forgotten, self.letters.len()) {
            return wrong("a count");
        }
        None
    }
}

/// The offsets of runs.
pub(crate) fn offsets(runs: &[angelia::domain::subscription::Run]) -> impl Iterator<Item = u64> {
    runs.iter().flat_map(|run| run.first.0..run.next.0)
}
