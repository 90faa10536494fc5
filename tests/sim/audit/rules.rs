//! What each event of a subscription's log must respect at the moment when it becomes durable.

use super::logs::Logs;
use super::shadow::{Grant, Stand, offsets};
use angelia::domain::subscription::{AckMode, DeadLetter, Event, GiveUpReason, Run, Settings};
use std::collections::{BTreeMap, BTreeSet};

/// Wishes of one sort. One that was refused for certain must not have come true, nor come true later.
pub(crate) struct Wishes<T> {
    /// How often each was asked for and not refused.
    open: BTreeMap<T, u32>,
    granted: BTreeSet<T>,
}

impl<T> Default for Wishes<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), granted: BTreeSet::new() }
    }
}

impl<T: Ord + Copy + std::fmt::Debug> Wishes<T> {
    pub(crate) fn ask(&mut self, wish: T) {
        *self.open.entry(wish).or_default() += 1;
    }

    fn allows(&self, wish: T) -> bool {
        self.open.get(&wish).is_some_and(|count| *count > 0)
    }

    pub(crate) fn grant(&mut self, wish: T) {
        self.granted.insert(wish);
    }

    /// A wish was refused, and the answer promises that nothing was changed.
    pub(crate) fn refuse(&mut self, wish: T) -> Judged {
        let open = self.open.entry(wish).or_default();
        *open = open.saturating_sub(1);
        ensure(*open > 0 || !self.granted.contains(&wish), || format!("{wish:?} was refused and came true"))
    }
}

/// What clients have asked for so far. Nothing may happen that nobody asked for.
#[derive(Default)]
pub(crate) struct Asked {
    /// Offsets with fences.
    pub(crate) acknowledge: Wishes<(u64, u64)>,
    pub(crate) release: BTreeSet<(u64, u64)>,
    pub(crate) extend: BTreeSet<(u64, u64)>,
    pub(crate) through: Wishes<u64>,
    pub(crate) seek: Wishes<u64>,
    pub(crate) purge: bool,
    /// What reached a client: only the broker gives back what did not.
    pub(crate) delivered: BTreeSet<(u64, u64)>,
}

/// What an event is judged with.
pub(crate) struct Ground<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) logs: &'a Logs,
    pub(crate) settings: Option<&'a Settings>,
    /// The time stored with the event.
    pub(crate) time: u64,
    /// How far the brokers' clocks may be apart.
    pub(crate) skew: u64,
}

pub(crate) type Judged = Result<(), String>;

fn ensure(sound: bool, why: impl FnOnce() -> String) -> Judged {
    if sound { Ok(()) } else { Err(why()) }
}

impl Ground<'_> {
    /// Judges an event against where the subscription stands before it.
    pub(crate) fn judge(&self, stand: &Stand, event: &Event) -> Judged {
        match event {
            Event::Attached { log, incarnation, .. } => {
                let known = stand.attached.map_or(0, |(_, known, _)| known);
                ensure(incarnation.0 > known, || format!("attached to incarnation {incarnation:?} after {known}"))?;
                let topic = self.logs.topics.get(&log.0);
                ensure(topic.is_none_or(|known| known.topic.incarnation == *incarnation), || {
                    format!("attached to {log} as {incarnation:?}, which is {topic:?}")
                })
            }
            Event::Leased { runs, fence, at, deadline, .. } => {
                ensure(fence.0 > stand.fence, || format!("fence {} after {}", fence.0, stand.fence))?;
                ensure(deadline > at, || "a lease that ends before it begins".to_owned())?;
                offsets(runs).try_for_each(|offset| self.may_lease(stand, offset, at.0))
            }
            Event::Acknowledged { runs, .. } => {
                self.all(stand, runs, |named| self.asked.acknowledge.allows(named), "acknowledged")
            }
            Event::Released { runs, .. } => offsets(runs).try_for_each(|offset| {
                let grant = held(stand, offset)?;
                let named = (offset, grant.fence);
                let ours = self.asked.release.contains(&named) || !self.asked.delivered.contains(&named);
                ensure(ours, || format!("{offset} was released and nobody asked for it: {grant:?}"))
            }),
            Event::Extended { runs, .. } | Event::Renewed { runs, .. } => {
                self.all(stand, runs, |named| self.asked.extend.contains(&named), "extended")
            }
            Event::Expired { runs } => offsets(runs).try_for_each(|offset| {
                let grant = stand.grants.get(&offset).filter(|grant| grant.until <= self.time + self.skew);
                ensure(grant.is_some(), || {
                    format!("{offset} was ended before its time: {:?}", stand.grants.get(&offset))
                })
            }),
            Event::GivenUp { runs, reason } => {
                offsets(runs).try_for_each(|offset| self.may_give_up(stand, offset, *reason))
            }
            Event::WindowSet { end, at, messages, .. } => self.may_open(stand, end.0, at.0, u64::from(*messages)),
            Event::AcknowledgedThrough { floor, at } => self.may_advance(stand, floor.0, at.0),
            Event::Sought { floor } => {
                ensure(self.asked.seek.allows(floor.0), || format!("sought to {floor} and nobody asked for it"))
            }
            Event::Purged { .. } => ensure(self.asked.purge, || "purged and nobody asked for it".to_owned()),
            Event::Forgotten { before, unacknowledged } => self.may_forget(stand, before.0, *unacknowledged),
            Event::WorkerLeased { node, fence, .. } => {
                let free = stand
                    .worker
                    .is_none_or(|(worker, _, deadline)| worker == node.0 || deadline <= self.time + self.skew);
                ensure(free, || format!("two workers: {node:?} {fence:?} beside {:?}", stand.worker))
            }
            Event::DeadLetterStarted { offset, .. } => {
                let grant = stand.grants.get(&offset.0);
                let most = self.settings.and_then(|settings| settings.max_attempts);
                let used_up = grant.is_some_and(|grant| most.is_none_or(|most| grant.attempt >= most));
                ensure(used_up && !stand.is_acked(offset.0), || format!("{offset} became a dead letter: {grant:?}"))
            }
            Event::DeadLettered { offset, copy } => match stand.letters.get(&offset.0) {
                Some(letter) => self.is_copy(stand, letter, copy.0),
                None => Err(format!("{offset} was dead-lettered without a note")),
            },
            Event::WorkerReleased { .. } | Event::LifetimeExtended { .. } => Ok(()),
        }
    }

    /// All of the runs are leased with a fence that was named.
    fn all(&self, stand: &Stand, runs: &[Run], named: impl Fn((u64, u64)) -> bool, what: &str) -> Judged {
        offsets(runs).try_for_each(|offset| {
            let grant = stand.grants.get(&offset);
            let allowed = grant.is_some_and(|grant| named((offset, grant.fence)));
            ensure(allowed, || format!("{offset} was {what} and nobody could ask for it: {grant:?}"))
        })
    }

    fn topic(&self, stand: &Stand) -> Option<u128> {
        stand.attached.map(|(log, ..)| log)
    }

    /// When a message becomes visible and when its life ends, as far as known.
    fn times(&self, stand: &Stand, offset: u64) -> Option<(u64, u64)> {
        let entry = self.logs.entry(self.topic(stand)?, offset)?;
        let (visible, end) = self.logs.times(entry.mark);
        Some((visible, end.max(stand.lifetimes.get(&offset).copied().unwrap_or(0))))
    }

    fn may_lease(&self, stand: &Stand, offset: u64, at: u64) -> Judged {
        ensure(!stand.is_acked(offset), || format!("{offset} was given out after its acknowledgement"))?;
        if let Some(grant) = stand.grants.get(&offset) {
            let free = !grant.parked && grant.until <= at;
            ensure(free, || format!("{offset} was given out at {at} while somebody had it: {grant:?}"))?;
            let most = self.settings.and_then(|settings| settings.max_attempts);
            ensure(most.is_none_or(|most| grant.attempt < most), || format!("{offset} was given out too often"))?;
        }
        let Some((visible, end)) = self.times(stand, offset) else {
            return Err(format!("{offset} was given out and does not exist"));
        };
        ensure(visible <= at, || format!("{offset} was given out before its delay was over"))?;
        ensure(at < end, || format!("{offset} was given out after its end"))
    }

    fn may_give_up(&self, stand: &Stand, offset: u64, reason: GiveUpReason) -> Judged {
        let ended = || self.times(stand, offset).is_none_or(|(_, end)| end <= self.time + self.skew);
        let most = self.settings.and_then(|settings| settings.max_attempts);
        let sound = match reason {
            GiveUpReason::Expired => ended(),
            GiveUpReason::Attempts => {
                stand.grants.get(&offset).is_some_and(|grant| most.is_none_or(|most| grant.attempt >= most))
            }
            GiveUpReason::Refused | GiveUpReason::Operator => false,
        };
        ensure(stand.is_acked(offset) || sound, || format!("{offset} was given up as {reason:?}"))
    }

    fn may_open(&self, stand: &Stand, end: u64, at: u64, messages: u64) -> Judged {
        let topic = self.topic(stand).and_then(|log| self.logs.topics.get(&log));
        let next = topic.map_or(0, super::logs::TopicLog::next);
        ensure(end <= next && end >= stand.floor, || format!("a window to {end} of {} to {next}", stand.floor))?;
        let alive = |offset: &u64| self.times(stand, *offset).is_some_and(|(_, end)| at < end);
        let expected = (stand.floor..end).filter(alive).count() as u64;
        ensure(messages == expected, || format!("a window to {end} with {messages} instead of {expected} messages"))
    }

    fn may_advance(&self, stand: &Stand, floor: u64, at: u64) -> Judged {
        let asked = floor > stand.floor && self.asked.through.allows(floor - 1);
        ensure(asked, || format!("acknowledged up to {floor} from {} and nobody asked for it", stand.floor))?;
        let Some((end, since)) = stand.window else {
            return Err(format!("acknowledged up to {floor} without a window"));
        };
        let deadline = self.settings.map_or(u64::MAX, |settings| settings.ack_deadline.as_secs());
        let late = (at / 1_000_000).saturating_sub(since / 1_000_000) > deadline;
        ensure(floor <= end && !late, || format!("acknowledged up to {floor} of a window to {end}, late: {late}"))
    }

    fn may_forget(&self, stand: &Stand, before: u64, unacknowledged: u64) -> Judged {
        // Noted before the trim or after it; before it only of what is old enough, and lives by no claim.
        let topic = self.topic(stand).and_then(|log| self.logs.topics.get(&log));
        let first = topic.map_or(0, |topic| topic.first);
        let age = topic.map_or(0, |topic| topic.topic.retention.age.as_micros());
        let cutoff = (self.time + self.skew).saturating_sub(u64::try_from(age).unwrap_or(u64::MAX));
        let mut noted = topic.into_iter().flat_map(|topic| topic.entries.iter()).take(usize::try_from(before).unwrap());
        let young = noted.find(|entry| entry.at > cutoff);
        ensure(before <= first || young.is_none(), || format!("forgot up to {before}: {young:?} is young"))?;
        let alive = stand.lifetimes.range(first..before).find(|(_, until)| self.time + self.skew < **until);
        ensure(alive.is_none() || before <= first, || format!("forgot {alive:?}, which lives"))?;
        let expected = stand.backlog(before);
        ensure(unacknowledged == expected, || format!("forgot {unacknowledged} instead of {expected} below {before}"))
    }

    /// The copy of a dead letter is durable and the same message.
    fn is_copy(&self, stand: &Stand, letter: &DeadLetter, copy: u64) -> Judged {
        let original = self.topic(stand).and_then(|log| self.logs.entry(log, letter.offset.0));
        let copied = self.logs.entry(letter.target.0, copy);
        let same = original.zip(copied).is_some_and(|(original, copied)| original.mark == copied.mark);
        ensure(same, || format!("{letter:?} has no copy at {copy}: {original:?}, {copied:?}"))
    }
}

fn held(stand: &Stand, offset: u64) -> Result<Grant, String> {
    let grant = stand.grants.get(&offset).filter(|grant| grant.held);
    grant.copied().ok_or_else(|| format!("{offset} was not leased"))
}

/// What was granted when: fence and offset, with the attempt, the time and the topic's log.
pub(crate) type Granted = BTreeMap<(u64, u64), (u32, u64, u128)>;

/// Whether a stand is of cumulative mode.
pub(crate) fn is_cumulative(stand: &Stand) -> bool {
    stand.attached.is_some_and(|(_, _, mode)| mode == AckMode::Cumulative)
}
