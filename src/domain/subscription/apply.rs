//! Events into state. Total: whatever the event says, the state stays sound and nothing fails, so that any log can be replayed.

use super::event::{Event, NodeId, Run};
use super::lease::{Lease, Phase};
use super::state::{Attachment, DeadLetter, State, Window, Worker};
use super::{WorkerLease, runs};
use crate::domain::id::{Fence, Offset, Timestamp};

/// Changes the state by one event. Deterministic; the same events give the same state, byte for byte.
pub fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Attached { log, incarnation, floor, mode } => {
            state.attached = Some(Attachment { log: *log, incarnation: *incarnation, mode: *mode });
            state.lifetimes.clear();
            state.restart(*floor);
        }
        Event::WindowSet { end, at, messages, bytes } => {
            state.window = Some(Window { end: (*end).max(state.floor()), at: *at });
            state.consumed.add(u64::from(*messages), *bytes, *at);
        }
        Event::AcknowledgedThrough { floor, at: _ } => state.advance(*floor),
        Event::Acknowledged { runs, at: _ } | Event::GivenUp { runs, reason: _ } => state.finish(runs),
        Event::Forgotten { before, unacknowledged } => {
            state.forgotten = state.forgotten.saturating_add(*unacknowledged);
            state.advance(*before);
        }
        Event::Purged { floor } => {
            state.revoke();
            state.advance(*floor);
        }
        Event::Sought { floor } => state.restart(*floor),
        Event::Leased { .. }
        | Event::Extended { .. }
        | Event::Renewed { .. }
        | Event::Released { .. }
        | Event::Expired { .. }
        | Event::LifetimeExtended { .. } => apply_to_leases(state, event),
        Event::WorkerLeased { node, fence, deadline } => {
            state.fence = state.fence.max(*fence);
            state.worker = Some(Worker { node: *node, lease: WorkerLease { fence: *fence, deadline: *deadline } });
        }
        Event::WorkerReleased { fence } => state.worker = state.worker.filter(|worker| worker.lease.fence != *fence),
        Event::DeadLetterStarted { offset, target, tail, nonce } => {
            state.park(DeadLetter { offset: *offset, target: *target, tail: *tail, nonce: *nonce });
        }
        Event::DeadLettered { offset, copy: _ } => state.finish(&[Run::one(*offset)]),
    }
}

/// The events of individual mode that change what is leased, and nothing else.
fn apply_to_leases(state: &mut State, event: &Event) {
    match event {
        Event::Leased { runs, fence, deadline, holder, group, node, at, bytes } => {
            let open = state.cursor.open(runs);
            state.fence = state.fence.max(*fence);
            state.consumed.add(open.iter().map(Run::count).fold(0, u64::saturating_add), *bytes, *at);
            let phase = Phase::Held { holder: *holder, group: *group, node: *node, at: *at };
            state.leases.change(&open, |old| match old {
                Some(parked) if parked.phase == Phase::DeadLetter => Some(parked),
                old => {
                    let attempt = old.map_or(0, |lease| lease.attempt).saturating_add(1);
                    Some(Lease { fence: *fence, attempt, until: *deadline, phase })
                }
            });
        }
        Event::Extended { runs, deadline } => state.renew(runs, *deadline, None),
        Event::Renewed { runs, deadline, node, at } => state.renew(runs, *deadline, Some((*node, *at))),
        Event::Released { runs, not_before } => {
            state.change_held(runs, |lease| Lease { until: *not_before, phase: Phase::Over, ..lease });
        }
        Event::Expired { runs } => state.leases.change(runs, |old| match old {
            Some(lease) if lease.phase != Phase::DeadLetter => {
                Some(Lease { until: Timestamp::EPOCH, phase: Phase::Over, ..lease })
            }
            old => old,
        }),
        Event::LifetimeExtended { runs, until } => {
            let open = state.cursor.open(runs);
            state.lifetimes.change(&open, |_, old| Some(old.unwrap_or_default().max(*until)));
        }
        _ => {}
    }
}

impl State {
    /// A new epoch: what was given out before can't be acknowledged any more.
    fn revoke(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.window = None;
        self.leases.clear();
        self.dead_letters.clear();
    }

    /// A new epoch: delivery begins at a floor, with nothing acknowledged above it.
    fn restart(&mut self, floor: Offset) {
        self.revoke();
        self.cursor.reset(floor);
        self.lifetimes.remove(&[Run { first: Offset(0), next: floor }]);
    }

    /// Everything below a floor is done with; a window is closed.
    fn advance(&mut self, floor: Offset) {
        self.cursor.advance(floor);
        self.window = None;
        self.forget(&[Run { first: Offset(0), next: self.cursor.floor() }]);
    }

    /// Runs are done with; a window stays open.
    fn finish(&mut self, runs: &[Run]) {
        self.cursor.acknowledge(runs);
        self.forget(runs);
        let floor = self.floor();
        self.window = self.window.map(|window| Window { end: window.end.max(floor), ..window });
    }

    fn forget(&mut self, runs: &[Run]) {
        self.leases.remove(runs);
        self.lifetimes.remove(runs);
        if !self.dead_letters.is_empty() {
            let runs = runs::tidy(runs);
            self.dead_letters.retain(|letter| !runs::contains(&runs, letter.offset));
        }
    }

    /// Moves deadlines; `by` tells whose clock they are meant by from now on, and since when.
    fn renew(&mut self, runs: &[Run], until: Timestamp, by: Option<(NodeId, Timestamp)>) {
        self.change_held(runs, |lease| match lease.phase {
            Phase::Held { holder, group, node, .. } => {
                let (node, at) = by.unwrap_or((node, Timestamp::EPOCH));
                Lease { until, phase: Phase::Held { holder, group, node, at }, ..lease }
            }
            Phase::Over | Phase::DeadLetter => lease,
        });
    }

    fn change_held(&mut self, runs: &[Run], change: impl Fn(Lease) -> Lease) {
        self.leases.change(runs, |old| match old {
            Some(lease) if matches!(lease.phase, Phase::Held { .. }) => Some(change(lease)),
            old => old,
        });
    }

    fn park(&mut self, letter: DeadLetter) {
        let open = self.cursor.open(&[Run::one(letter.offset)]);
        if open.is_empty() {
            return;
        }
        self.leases.change(&open, |old| {
            let old =
                old.unwrap_or(Lease { fence: Fence(0), attempt: 0, until: Timestamp::EPOCH, phase: Phase::DeadLetter });
            Some(Lease { until: Timestamp::EPOCH, phase: Phase::DeadLetter, ..old })
        });
        match self.dead_letters.binary_search_by_key(&letter.offset, |known| known.offset) {
            Ok(place) => {
                if let Some(known) = self.dead_letters.get_mut(place) {
                    *known = letter;
                }
            }
            Err(place) => self.dead_letters.insert(place, letter),
        }
    }
}
