//! What became of messages that were given out and are not acknowledged: who holds them until when, which attempt it was, and
//! which fence the last grant had. Individual mode. Knows nothing of what goes next, nor of acknowledgements.

use super::event::{GroupId, HolderId, NodeId, Run};
use super::runs::RunMap;
use crate::domain::id::{Fence, Offset, Timestamp};
use std::time::Duration;

/// The last grant of a message, kept until it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Of the last grant; zero when there was none.
    pub fence: Fence,
    /// How many grants there were.
    pub attempt: u32,
    /// Nobody gets the message before this: the deadline while it is held, else until when it is held back.
    pub until: Timestamp,
    /// Where it stands.
    pub phase: Phase,
}

/// Where a message stands that was given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Somebody has it, until the deadline.
    Held {
        /// Who.
        holder: HolderId,
        /// Spoken of as.
        group: GroupId,
        /// By which node's clock it was granted or last renewed.
        node: NodeId,
        /// When; [`Timestamp::EPOCH`] where a renewal did not tell.
        at: Timestamp,
    },
    /// Given back, or the deadline passed: goes again from `until` on. Its last fence may still acknowledge it.
    Over,
    /// On its way to the dead-letter topic: not delivered.
    DeadLetter,
}

/// Who judges whether a lease has ended. What another node granted ends for it only `skew` after the deadline, for that node's
/// clock may be late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observer {
    /// Which node.
    pub node: NodeId,
    /// How much the clocks of two nodes may differ.
    pub skew: Duration,
}

impl Observer {
    /// When an instant has surely come by a node's clock; none's is everybody's.
    fn sees(self, until: Timestamp, by: Option<NodeId>) -> Timestamp {
        if by.is_some_and(|node| node != self.node) { until.plus(self.skew) } else { until }
    }
}

impl Lease {
    /// Whether somebody holds the message at an instant, as far as the observer can tell. At its deadline a lease has ended.
    #[must_use]
    pub fn live(&self, now: Timestamp, observer: Observer) -> bool {
        matches!(self.phase, Phase::Held { .. }) && !self.over(now, observer)
    }

    /// Whether the instant it waits for has come.
    fn over(&self, now: Timestamp, observer: Observer) -> bool {
        observer.sees(self.until, self.clock()) <= now
    }

    /// By which node's clock its instant is meant.
    fn clock(&self) -> Option<NodeId> {
        match self.phase {
            Phase::Held { node, .. } => Some(node),
            Phase::Over | Phase::DeadLetter => None,
        }
    }

    /// Whether somebody holds it who speaks of this group.
    #[must_use]
    pub fn in_group(&self, wanted: GroupId) -> bool {
        matches!(self.phase, Phase::Held { group, .. } if group == wanted)
    }

    /// Whether time alone may change what it means.
    fn waits(&self) -> bool {
        match self.phase {
            Phase::Held { .. } => true,
            Phase::Over => self.until > Timestamp::EPOCH,
            Phase::DeadLetter => false,
        }
    }
}

/// Leases by offset. Beside them, kept up to date with each change, how many are held and how many wait for which instant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Leases {
    map: RunMap<Lease>,
    held: u64,
    timers: Timers,
}

impl Leases {
    /// Takes entries as they are; `None` when they are not sorted runs, merged where they can be.
    pub(crate) fn restore(entries: Vec<(Run, Lease)>) -> Option<Self> {
        let map = RunMap::restore(entries)?;
        let mut changes = Vec::new();
        let mut held = 0;
        for (run, lease) in map.entries() {
            note(&mut held, &mut changes, *run, None, Some(*lease));
        }
        let mut timers = Timers::default();
        timers.shift(changes);
        Some(Self { map, held, timers })
    }

    /// All of them, in order.
    pub(crate) fn entries(&self) -> &[(Run, Lease)] {
        self.map.entries()
    }

    /// The run of equal leases around an offset. O(log n).
    pub(crate) fn get(&self, offset: Offset) -> Option<(Run, Lease)> {
        self.map.get(offset)
    }

    /// Those that end behind an offset, in order.
    pub(crate) fn entries_from(&self, offset: Offset) -> impl Iterator<Item = &(Run, Lease)> {
        self.map.from(offset)
    }

    /// How many messages have one. O(1).
    pub(crate) const fn covered(&self) -> u64 {
        self.map.covered()
    }

    /// How many messages are held, or were when their deadline passed and nobody has noted it yet. O(1).
    pub(crate) const fn held(&self) -> u64 {
        self.held
    }

    /// The earliest instant at which a lease ends for the observer or a message is held back no longer. O(1), or O(instants
    /// within `skew` of the first) when that is another node's.
    pub(crate) fn next_timer(&self, observer: Observer) -> Option<Timestamp> {
        self.timers.first(observer)
    }

    /// The runs whose time has come. As [`Leases::next_timer`] when there are none.
    pub(crate) fn due(&self, now: Timestamp, observer: Observer) -> Vec<Run> {
        let mut due = Vec::new();
        if self.next_timer(observer).is_some_and(|first| first <= now) {
            for (run, lease) in self.entries() {
                if lease.waits() && lease.over(now, observer) {
                    super::runs::push(&mut due, *run);
                }
            }
        }
        due
    }

    /// Gives the offsets of runs new leases; `change` sees each stretch of equal leases, or of none, once.
    pub(crate) fn change(&mut self, runs: &[Run], mut change: impl FnMut(Option<Lease>) -> Option<Lease>) {
        let Self { map, held, timers } = self;
        let mut changes = Vec::new();
        map.change(runs, |run, old| {
            let new = change(old);
            note(held, &mut changes, run, old, new);
            new
        });
        timers.shift(changes);
    }

    /// Forgets the leases of runs.
    pub(crate) fn remove(&mut self, runs: &[Run]) {
        self.change(runs, |_| None);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Counts a changed stretch, and collects what its change means to the timers.
fn note(held: &mut u64, changes: &mut Vec<(Timer, i128)>, run: Run, old: Option<Lease>, new: Option<Lease>) {
    let count = run.count();
    let is_held = |lease: &Lease| matches!(lease.phase, Phase::Held { .. });
    if old.as_ref().is_some_and(is_held) {
        *held = held.saturating_sub(count);
    }
    if new.as_ref().is_some_and(is_held) {
        *held = held.saturating_add(count);
    }
    let timer = |lease: Lease| (lease.until, lease.clock());
    changes.extend(old.filter(Lease::waits).map(|lease| (timer(lease), -i128::from(count))));
    changes.extend(new.filter(Lease::waits).map(|lease| (timer(lease), i128::from(count))));
}

/// An instant by a node's clock, or by everybody's.
type Timer = (Timestamp, Option<NodeId>);

/// How many messages wait for which instant, sorted; none waits for an instant that is not here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Timers(Vec<(Timer, i128)>);

impl Timers {
    fn first(&self, observer: Observer) -> Option<Timestamp> {
        let mut first: Option<Timestamp> = None;
        for ((until, by), _) in &self.0 {
            if first.is_some_and(|first| first <= *until) {
                break;
            }
            let seen = observer.sees(*until, *by);
            first = Some(first.map_or(seen, |first| first.min(seen)));
        }
        first
    }

    /// Adds signed counts, given in any order, in one pass over the stretch they lie in.
    fn shift(&mut self, mut changes: Vec<(Timer, i128)>) {
        changes.sort_unstable_by_key(|(at, _)| *at);
        let (Some((first, _)), Some((last, _))) = (changes.first(), changes.last()) else { return };
        let low = self.0.partition_point(|(at, _)| at < first);
        let high = self.0.partition_point(|(at, _)| at <= last);
        changes.extend(self.0.get(low..high).unwrap_or_default());
        changes.sort_by_key(|(at, _)| *at);
        changes.dedup_by(|(later, more), (at, count)| {
            let same = later == at;
            if same {
                *count += *more;
            }
            same
        });
        changes.retain(|(_, count)| *count > 0);
        self.0.splice(low..high, changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Observer = Observer { node: NodeId(3), skew: Duration::from_micros(10) };
    const ELSEWHERE: Observer = Observer { node: NodeId(4), ..HERE };

    fn run(first: u64, next: u64) -> Run {
        Run { first: Offset(first), next: Offset(next) }
    }

    fn held(until: u64) -> Lease {
        let phase = Phase::Held { holder: HolderId(1), group: GroupId(2), node: NodeId(3), at: Timestamp(1) };
        Lease { fence: Fence(1), attempt: 1, until: Timestamp(until), phase }
    }

    #[test]
    fn held_messages_and_the_next_timer_follow_every_change() {
        let mut leases = Leases::default();
        leases.change(&[run(0, 10)], |_| Some(held(50)));
        leases.change(&[run(3, 5)], |_| Some(held(20)));
        assert_eq!((leases.held(), leases.next_timer(HERE)), (10, Some(Timestamp(20))));
        assert_eq!(leases.due(Timestamp(19), HERE), []);
        assert_eq!(leases.due(Timestamp(20), HERE), [run(3, 5)]);
        assert_eq!(leases.due(Timestamp(50), HERE), [run(0, 10)]);
        leases.remove(&[run(4, 10)]);
        leases.change(&[run(3, 4)], |old| {
            old.map(|lease| Lease { until: Timestamp::EPOCH, phase: Phase::Over, ..lease })
        });
        assert_eq!((leases.held(), leases.next_timer(HERE)), (3, Some(Timestamp(50))));
        assert_eq!(Leases::restore(leases.entries().to_vec()), Some(leases.clone()));
        leases.remove(&[run(0, 3)]);
        assert_eq!((leases.held(), leases.next_timer(HERE)), (0, None));
    }

    #[test]
    fn a_lease_has_ended_at_its_deadline() {
        assert!(held(50).live(Timestamp(49), HERE));
        assert!(!held(50).live(Timestamp(50), HERE));
    }

    #[test]
    fn another_nodes_lease_ends_later_by_the_skew_of_clocks_and_what_is_held_back_does_not() {
        assert!(held(50).live(Timestamp(59), ELSEWHERE));
        assert!(!held(50).live(Timestamp(60), ELSEWHERE));
        let mut leases = Leases::default();
        leases.change(&[run(0, 1)], |_| Some(held(50)));
        leases.change(&[run(1, 2)], |_| Some(Lease { phase: Phase::Over, ..held(58) }));
        assert_eq!((leases.next_timer(HERE), leases.next_timer(ELSEWHERE)), (Some(Timestamp(50)), Some(Timestamp(58))));
        assert_eq!(leases.due(Timestamp(58), ELSEWHERE), [run(1, 2)]);
        assert_eq!(leases.due(Timestamp(60), ELSEWHERE), [run(0, 2)]);
    }
}
