//! Models of both modes, naive on purpose: a plain set and a plain map, message by message; and AMS's three numbers.

use crate::domain::error::Error;
use crate::domain::id::{Fence, Offset, Timestamp};
use crate::domain::message::Header;
use crate::domain::subscription::testing::World;
use crate::domain::subscription::{Command, LeaseRequest, NodeId, Observer, Reply, Settings, Targets};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the model knows of a message that was given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    fence: Fence,
    attempt: u32,
    until: Timestamp,
    held: bool,
    group: u128,
    /// On its way to the dead-letter topic.
    dead: bool,
}

/// Individual mode, naively.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    acked: BTreeSet<u64>,
    given: BTreeMap<u64, Given>,
    lives: BTreeMap<u64, Timestamp>,
    forgotten: u64,
    pub(super) first: u64,
}

/// Applied, already, superseded.
type Counts = (usize, usize, usize);

/// The topic as the model sees it.
pub(super) struct Seen<'a> {
    pub(super) now: Timestamp,
    pub(super) messages: &'a [Header],
    pub(super) settings: &'a Settings,
}

impl Model {
    fn done(&mut self, offset: u64) {
        self.acked.insert(offset);
        self.given.remove(&offset);
        self.lives.remove(&offset);
    }

    pub(super) fn remake_topic(&mut self) {
        *self = Self { forgotten: self.forgotten, ..Self::default() };
    }

    pub(super) fn forget_below(&mut self, first: u64) {
        for offset in self.first..first {
            if !self.acked.contains(&offset) {
                self.forgotten += 1;
                self.done(offset);
            }
        }
        self.first = first;
    }

    /// Notes what has ended; answers how many leases that were, and the parked messages.
    fn expire(&mut self, seen: &Seen<'_>) -> (usize, Vec<u64>) {
        let mut ended = 0;
        for given in self.given.values_mut().filter(|given| !given.dead && given.until <= seen.now) {
            ended += usize::from(given.held);
            (given.held, given.until) = (false, Timestamp(0));
        }
        let Some(most) = seen.settings.max_attempts else { return (ended, Vec::new()) };
        let used_up = |given: &Given| !given.held && !given.dead && given.attempt >= most;
        let parked: Vec<u64> =
            self.given.iter().filter(|(_, given)| used_up(given)).map(|(offset, _)| *offset).collect();
        if seen.settings.dead_letter_topic.is_some() {
            return (ended, parked);
        }
        parked.into_iter().for_each(|offset| self.done(offset));
        (ended, Vec::new())
    }

    /// The offsets and attempts that a lease gives.
    fn lease(&mut self, request: &LeaseRequest, fence: Fence, seen: &Seen<'_>) -> Vec<(u64, u32)> {
        self.expire(seen);
        let until = seen.now.plus(request.duration.unwrap_or(seen.settings.ack_deadline));
        let (mut got, mut bytes) = (Vec::new(), 0);
        for offset in 0..seen.messages.len() as u64 {
            let header = seen.messages[offset as usize];
            let given = self.given.get(&offset).copied();
            let attempt = given.map_or(0, |given| given.attempt);
            let used_up = seen.settings.max_attempts.is_some_and(|most| attempt >= most);
            let blocked = given.is_some_and(|given| given.dead || seen.now < given.until);
            if got.len() as u32 == request.messages_max.max(1) {
                break;
            }
            if self.acked.contains(&offset) || blocked || used_up {
                continue;
            }
            let end = header.expires_at.max(self.lives.get(&offset).copied().unwrap_or_default());
            if end <= seen.now {
                self.done(offset);
                continue;
            }
            let invisible = seen.now < header.visible_at && !request.early;
            if invisible || Some(header.producer) == request.except_producer {
                continue;
            }
            bytes += u64::from(header.bytes);
            if !got.is_empty() && bytes > request.bytes_max {
                break;
            }
            got.push((offset, attempt + 1));
            if let Some(grace) = request.grace
                && end < until
            {
                self.lives.insert(offset, until.plus(grace));
            }
            let group = request.group.0;
            self.given.insert(offset, Given { fence, attempt: attempt + 1, until, held: true, group, dead: false });
        }
        got
    }

    fn named(&self, targets: &Targets, now: Timestamp) -> Vec<(u64, Option<Fence>)> {
        match targets {
            Targets::Leased(leases) => leases.iter().map(|(offset, fence)| (offset.0, Some(*fence))).collect(),
            Targets::Offsets(offsets) | Targets::Free(offsets) | Targets::Held(_, offsets) => {
                offsets.iter().map(|offset| (offset.0, None)).collect()
            }
            Targets::Group(group) => {
                let of = |given: &Given| given.held && now < given.until && given.group == group.0;
                self.given.iter().filter(|(_, given)| of(given)).map(|(offset, _)| (*offset, None)).collect()
            }
            Targets::Through(_) => Vec::new(),
        }
    }

    fn acknowledge(&mut self, targets: &Targets, seen: &Seen<'_>) -> Counts {
        let mut counts = (0, 0, 0);
        for (offset, fence) in self.named(targets, seen.now) {
            let valid = match fence {
                Some(fence) => self.given.get(&offset).is_some_and(|given| given.fence == fence),
                None => {
                    let holder = self.given.get(&offset).filter(|given| given.held && seen.now < given.until);
                    match targets {
                        Targets::Held(group, _) => holder.is_some_and(|given| given.group == group.0),
                        Targets::Free(_) if holder.is_some() => false,
                        _ => offset < seen.messages.len() as u64,
                    }
                }
            };
            if self.acked.contains(&offset) {
                counts.1 += 1;
            } else if valid {
                self.done(offset);
                counts.0 += 1;
            } else {
                counts.2 += 1;
            }
        }
        counts
    }

    fn extend(&mut self, targets: &Targets, by: Duration, grace: Option<Duration>, seen: &Seen<'_>) -> Counts {
        let mut counts = (0, 0, 0);
        for (offset, fence) in self.named(targets, seen.now) {
            if self.acked.contains(&offset) {
                counts.1 += 1;
                continue;
            }
            let live =
                |given: &&mut Given| given.held && seen.now < given.until && fence.is_none_or(|f| f == given.fence);
            let Some(given) = self.given.get_mut(&offset).filter(live) else {
                counts.2 += 1;
                continue;
            };
            counts.0 += 1;
            given.until = seen.now.plus(by);
            let header = seen.messages[offset as usize];
            let end = header.expires_at.max(self.lives.get(&offset).copied().unwrap_or_default());
            if let Some(grace) = grace
                && end < given.until
            {
                self.lives.insert(offset, given.until.plus(grace));
            }
        }
        counts
    }

    fn release(&mut self, targets: &Targets, not_before: Timestamp, seen: &Seen<'_>) -> Counts {
        let mut counts = (0, 0, 0);
        for (offset, fence) in self.named(targets, seen.now) {
            let latest = |given: &&mut Given| fence.is_none_or(|fence| fence == given.fence);
            match self.given.get_mut(&offset).filter(latest) {
                _ if self.acked.contains(&offset) => counts.1 += 1,
                Some(given) if given.held && seen.now < given.until => {
                    (given.held, given.until) = (false, not_before);
                    counts.0 += 1;
                }
                Some(_) => counts.1 += 1,
                None if fence.is_none() => counts.1 += 1,
                None => counts.2 += 1,
            }
        }
        counts
    }

    fn seek(&mut self, to: u64) {
        self.acked = (0..to).collect();
        self.given.clear();
        self.lives.retain(|offset, _| *offset >= to);
    }

    /// Judges a command as the state machine should, given the fence that it would use; panics where the reply is another.
    pub(super) fn judge(&mut self, command: &Command, reply: &Result<Reply, Error>, fence: Fence, seen: &Seen<'_>) {
        match (command, reply) {
            (Command::Lease(request) | Command::Pop(request), Ok(Reply::Leased { grants, exhausted, .. })) => {
                let parked = self.clone().expire(seen).1;
                let expected = self.lease(request, fence, seen);
                let got: Vec<(u64, u32)> = grants
                    .iter()
                    .flat_map(|grant| (grant.first.0..grant.next.0).map(|offset| (offset, grant.attempt)))
                    .collect();
                assert_eq!(got, expected);
                assert_eq!(exhausted.iter().map(|offset| offset.0).collect::<Vec<_>>(), parked);
                if matches!(command, Command::Pop(_)) {
                    expected.iter().for_each(|(offset, _)| self.done(*offset));
                }
            }
            (Command::Expire, Ok(Reply::Expired { leases, exhausted })) => {
                let got = (*leases, exhausted.iter().map(|offset| offset.0).collect());
                assert_eq!(got, self.expire(seen));
            }
            (Command::Seek { to }, Ok(Reply::Done)) => self.seek(to.0),
            (Command::Purge, Ok(Reply::Done)) => self.seek(seen.messages.len() as u64),
            (command, Ok(Reply::Targets { applied, already, superseded })) => {
                let counts = match command {
                    Command::Acknowledge { targets, .. } => self.acknowledge(targets, seen),
                    Command::Extend { targets, duration, grace, .. } => self.extend(targets, *duration, *grace, seen),
                    Command::Release { targets, not_before, .. } => self.release(targets, *not_before, seen),
                    Command::StartDeadLetter { offset, .. } => self.start_dead_letter(offset.0, seen),
                    Command::FinishDeadLetter { offset, .. } => self.finish_dead_letter(offset.0),
                    Command::GiveUp { offset, .. } => self.acknowledge(&Targets::Offsets(vec![*offset]), seen),
                    other => panic!("{other:?}"),
                };
                assert_eq!((*applied, *already, *superseded), counts, "{command:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn start_dead_letter(&mut self, offset: u64, seen: &Seen<'_>) -> Counts {
        if self.acked.contains(&offset) {
            return (0, 1, 0);
        }
        let (attempt, dead) = self.given.get(&offset).map_or((0, false), |given| (given.attempt, given.dead));
        if !dead && seen.settings.max_attempts.is_some_and(|most| attempt < most) {
            return (0, 0, 1);
        }
        let none = Given { fence: Fence(0), attempt: 0, until: Timestamp(0), held: false, group: 0, dead: false };
        let given = self.given.entry(offset).or_insert(none);
        let started = std::mem::replace(&mut given.dead, true);
        (given.held, given.until) = (false, Timestamp(0));
        if started { (0, 1, 0) } else { (1, 0, 0) }
    }

    fn finish_dead_letter(&mut self, offset: u64) -> Counts {
        let started = self.given.get(&offset).is_some_and(|given| given.dead);
        match (self.acked.contains(&offset), started) {
            (true, _) => (0, 1, 0),
            (false, false) => (0, 0, 1),
            (false, true) => {
                self.done(offset);
                (1, 0, 0)
            }
        }
    }

    /// Compares everything that can be asked of the state.
    pub(super) fn compare(&self, world: &World) {
        let (state, next) = (&world.state, world.messages.len() as u64);
        let open: Vec<u64> = (0..next).filter(|offset| !self.acked.contains(offset)).collect();
        assert_eq!(state.oldest_unacknowledged().0.min(next), open.first().copied().unwrap_or(next));
        assert_eq!(state.backlog(world.next()), open.len() as u64);
        assert_eq!(state.outstanding(), self.given.values().filter(|given| given.held).count() as u64);
        assert_eq!(state.forgotten(), self.forgotten);
        let waits = self.given.values().filter(|given| !given.dead && (given.held || given.until > Timestamp(0)));
        let observer = Observer { node: NodeId(1), skew: Duration::ZERO };
        assert_eq!(state.next_deadline(observer), waits.map(|given| given.until).min());
        for offset in 0..next + 2 {
            assert_eq!(state.acknowledged(Offset(offset)), self.acked.contains(&offset), "{offset}");
            let given = self.given.get(&offset).map(|given| (given.fence, given.attempt, given.until));
            let lease = state.lease(Offset(offset)).map(|lease| (lease.fence, lease.attempt, lease.until));
            assert_eq!(lease, given, "{offset}");
            assert_eq!(state.lifetime(Offset(offset)), self.lives.get(&offset).copied(), "{offset}");
        }
        let dead = self.given.iter().filter(|(_, given)| given.dead).map(|(offset, _)| Offset(*offset));
        assert!(state.dead_letters().iter().map(|letter| letter.offset).eq(dead));
    }
}

/// Cumulative mode, naively: three numbers, as AMS stores them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ams {
    pub(super) offset: u64,
    /// 0 for none.
    pub(super) next_offset: u64,
    pub(super) pending_seconds: u64,
}

impl Ams {
    /// What a pull gives.
    pub(super) fn pull(&mut self, wanted: u32, seen: &Seen<'_>) -> Vec<u64> {
        let (mut got, mut end) = (Vec::new(), self.offset);
        while end < seen.messages.len() as u64 && got.len() < wanted.max(1) as usize {
            if seen.now < seen.messages[end as usize].expires_at {
                got.push(end);
            }
            end += 1;
        }
        if got.is_empty() {
            self.offset = end;
        }
        if !got.is_empty() || self.next_offset > 0 {
            (self.next_offset, self.pending_seconds) = (end, seen.now.seconds());
        }
        got
    }

    pub(super) fn acknowledge(&mut self, offset: u64, seen: &Seen<'_>) -> Result<(), Error> {
        let new = offset + 1;
        if self.next_offset == 0 {
            return Err(Error::NoAckPending);
        }
        if new <= self.offset || new > self.next_offset {
            return Err(Error::WrongAck);
        }
        if seen.now.seconds() - self.pending_seconds > seen.settings.ack_deadline.as_secs() {
            return Err(Error::AckTimeout);
        }
        self.seek(new);
        Ok(())
    }

    pub(super) fn seek(&mut self, to: u64) {
        (self.offset, self.next_offset) = (to, 0);
    }
}
