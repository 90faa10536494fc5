//! What consumers say of messages that they were given: acknowledge, extend, release. Valid targets are applied, whatever the
//! others are; the reply counts them.

use super::decide::Draft;
use super::event::{Event, GroupId, Run};
use super::lease::Lease;
use super::{AckMode, Decision, Reply, State, Targets, runs, window};
use crate::domain::error::Error;
use crate::domain::id::{Offset, Timestamp};
use crate::domain::limits::{LEASE_MAX, TARGETS_MAX};
use std::time::Duration;

/// What a command means to one target.
enum Verdict {
    Apply,
    Already,
    Refused,
}

/// Counted targets: the offsets to apply the command to, and how many others there are.
#[derive(Default)]
struct Sorted {
    apply: Vec<Offset>,
    already: usize,
    refused: usize,
}

impl Sorted {
    fn put(&mut self, offset: Offset, verdict: &Verdict) {
        match verdict {
            Verdict::Apply => self.apply.push(offset),
            Verdict::Already => self.already += 1,
            Verdict::Refused => self.refused += 1,
        }
    }

    /// The runs to apply the command to, and the reply.
    fn finish(mut self) -> (Vec<Run>, Reply) {
        let all = self.apply.len();
        self.apply.sort_unstable();
        self.apply.dedup();
        let applied = self.apply.len();
        let already = self.already + (all - applied);
        (runs::from_offsets(self.apply), Reply::Targets { applied, already, superseded: self.refused })
    }
}

/// Be done with messages.
pub(super) fn acknowledge(draft: Draft<'_>, targets: &Targets) -> Result<Decision, Error> {
    match (draft.mode(), targets) {
        (AckMode::Cumulative, Targets::Through(offset)) => return window::acknowledge(draft, *offset),
        (AckMode::Cumulative, _) | (AckMode::Individual, Targets::Through(_)) => return Err(Error::WrongAckMode),
        (AckMode::Individual, _) => {}
    }
    // The latest fence acknowledges also after the deadline: nobody else has got the message since.
    let next = draft.view.next;
    let (now, observer) = (draft.now, draft.view.observer);
    let held = |lease: Option<Lease>| lease.filter(|lease| lease.live(now, observer));
    let (runs, reply) = select(&draft, targets, |offset, lease, named| match (lease, named) {
        (Some(_), Named::Lease) => Verdict::Apply,
        (_, Named::Offset) if offset < next => Verdict::Apply,
        (lease, Named::Free) if offset < next && held(lease).is_none() => Verdict::Apply,
        (lease, Named::Held(group)) if held(lease).is_some_and(|lease| lease.in_group(group)) => Verdict::Apply,
        _ => Verdict::Refused,
    })?;
    let at = draft.now;
    if runs.is_empty() { draft.done(reply) } else { draft.done_with(Event::Acknowledged { runs, at }, reply) }
}

/// Move the deadline of leases that have not ended.
pub(super) fn extend(
    mut draft: Draft<'_>,
    targets: &Targets,
    duration: Duration,
    grace: Option<Duration>,
) -> Result<Decision, Error> {
    if duration.is_zero() {
        return release(draft, targets, Timestamp::EPOCH);
    }
    let (now, observer) = (draft.now, draft.view.observer);
    let (runs, reply) = select(&draft, targets, |_, lease, _| match lease {
        Some(lease) if lease.live(now, observer) => Verdict::Apply,
        _ => Verdict::Refused,
    })?;
    if runs.is_empty() {
        return draft.done(reply);
    }
    let deadline = now.plus(duration.min(LEASE_MAX));
    if let Some(grace) = grace {
        match super::lifetime::extended(&draft, &runs, deadline) {
            Ok(runs) if runs.is_empty() => {}
            Ok(runs) => draft.add(Event::LifetimeExtended { runs, until: deadline.plus(grace) }),
            Err(need) => return Ok(Decision::Need(need)),
        }
    }
    draft.done_with(Event::Renewed { runs, deadline, node: observer.node, at: now }, reply)
}

/// Give leases back. One that has ended is given back already.
pub(super) fn release(draft: Draft<'_>, targets: &Targets, not_before: Timestamp) -> Result<Decision, Error> {
    let (now, observer) = (draft.now, draft.view.observer);
    let (runs, reply) = select(&draft, targets, |_, lease, named| match (lease, named) {
        (Some(lease), _) if lease.live(now, observer) => Verdict::Apply,
        (Some(_), Named::Lease) | (_, Named::Offset | Named::Free) => Verdict::Already,
        (None, Named::Lease) | (_, Named::Held(_)) => Verdict::Refused,
    })?;
    if runs.is_empty() { draft.done(reply) } else { draft.done_with(Event::Released { runs, not_before }, reply) }
}

/// How a target was named.
#[derive(Clone, Copy)]
enum Named {
    /// By its lease. A verdict sees that lease only if it is the last one of the message.
    Lease,
    /// By its offset alone. A verdict sees any lease that it has.
    Offset,
    /// By its offset, to be free. A verdict sees any lease that it has.
    Free,
    /// By its offset, to be held by this group. A verdict sees any lease that it has.
    Held(GroupId),
}

/// Sorts targets by verdict; acknowledged ones are `Already` without asking.
fn select(
    draft: &Draft<'_>,
    targets: &Targets,
    verdict: impl Fn(Offset, Option<Lease>, Named) -> Verdict,
) -> Result<(Vec<Run>, Reply), Error> {
    let state = &draft.state;
    let mut sorted = Sorted::default();
    let mut put = |offset, lease, named| {
        let judged = if state.acknowledged(offset) { Verdict::Already } else { verdict(offset, lease, named) };
        sorted.put(offset, &judged);
    };
    match targets {
        Targets::Through(_) => return Err(Error::WrongAckMode),
        Targets::Leased(leases) => {
            check_count(leases.len())?;
            for (offset, fence) in leases {
                let current = |lease: &Lease| lease.fence == *fence;
                #[cfg(feature = "planted")]
                let current = |lease: &Lease| {
                    current(lease) || crate::domain::planted::is(crate::domain::planted::Bug::SkipFence)
                };
                put(*offset, state.lease(*offset).filter(current), Named::Lease);
            }
        }
        Targets::Offsets(offsets) => put_all(offsets, Named::Offset, &mut put, state)?,
        Targets::Free(offsets) => put_all(offsets, Named::Free, &mut put, state)?,
        Targets::Held(group, offsets) => put_all(offsets, Named::Held(*group), &mut put, state)?,
        Targets::Group(group) => return members(draft, *group),
    }
    Ok(sorted.finish())
}

/// Puts messages that are named by offset.
fn put_all(
    offsets: &[Offset],
    named: Named,
    put: &mut impl FnMut(Offset, Option<Lease>, Named),
    state: &State,
) -> Result<(), Error> {
    check_count(offsets.len())?;
    offsets.iter().for_each(|offset| put(*offset, state.lease(*offset), named));
    Ok(())
}

/// A group's targets are the leases that it holds now: all apply.
fn members(draft: &Draft<'_>, group: GroupId) -> Result<(Vec<Run>, Reply), Error> {
    if group == GroupId::default() {
        return Err(Error::Invalid { what: "lease group", why: "is none".to_owned() });
    }
    let mut runs = Vec::new();
    for (run, _) in draft.state.group(group, draft.now, draft.view.observer) {
        runs::push(&mut runs, run);
    }
    let count: u64 = runs.iter().map(Run::count).sum();
    let applied = usize::try_from(count).unwrap_or(usize::MAX);
    Ok((runs, Reply::Targets { applied, already: 0, superseded: 0 }))
}

fn check_count(count: usize) -> Result<(), Error> {
    if count <= TARGETS_MAX {
        return Ok(());
    }
    Err(Error::Invalid { what: "number of targets", why: format!("is {count}, more than {TARGETS_MAX}") })
}
