//! Individual mode: what goes next. From the floor upward, past what is acknowledged, leased, held back, on its way to a
//! dead-letter topic, delayed, expired, or of the producer to be left out.

use super::decide::{Draft, offsets};
use super::event::{Event, GiveUpReason, Run};
use super::headers::Span;
use super::lease::Phase;
use super::{Decision, Grant, LeaseRequest, Reply, runs};
use crate::domain::error::Error;
use crate::domain::id::{Offset, ProducerId, Timestamp};
use crate::domain::limits::{EXHAUSTED_MAX, LEASE_BYTES_MAX, LEASE_MAX, LEASE_MESSAGES_MAX, NEED_MAX, OUTSTANDING_MAX};
use crate::domain::message::Header;
use std::ops::Range;

/// Grants exclusive leases.
pub(super) fn lease(draft: Draft<'_>, request: &LeaseRequest) -> Result<Decision, Error> {
    let duration = request.duration.unwrap_or(draft.view.settings.ack_deadline).min(LEASE_MAX);
    let deadline = draft.now.plus(duration);
    grant(draft, request, deadline, |_, _| None)
}

/// Gives messages out that are done with at once.
pub(super) fn pop(draft: Draft<'_>, request: &LeaseRequest) -> Result<Decision, Error> {
    let now = draft.now;
    grant(draft, request, now, |runs, at| Some(Event::Acknowledged { runs, at }))
}

fn grant(
    mut draft: Draft<'_>,
    request: &LeaseRequest,
    deadline: Timestamp,
    then: impl Fn(Vec<Run>, Timestamp) -> Option<Event>,
) -> Result<Decision, Error> {
    draft.end_leases();
    let mut exhausted = draft.settle_exhausted();
    let fence = draft.next_fence();
    let mut scan = Scan::new(&draft, request, deadline);
    if let Err(need) = scan.run() {
        return Ok(Decision::Need(need));
    }
    let Picked { grants, runs, expired, short_lived, unwanted, text_bytes, .. } = scan.picked;
    if !expired.is_empty() {
        draft.add(Event::GivenUp { runs: expired, reason: GiveUpReason::Expired });
    }
    if draft.view.settings.dead_letter_topic.is_some() {
        exhausted.extend(offsets(&unwanted));
        exhausted.sort_unstable();
        exhausted.truncate(EXHAUSTED_MAX);
    } else if !unwanted.is_empty() {
        draft.add(Event::GivenUp { runs: unwanted, reason: GiveUpReason::Attempts });
    }
    if let Some(grace) = request.grace
        && !short_lived.is_empty()
    {
        draft.add(Event::LifetimeExtended { runs: short_lived, until: deadline.plus(grace) });
    }
    if !runs.is_empty() {
        let (holder, group, node, at) = (request.holder, request.group, draft.view.observer.node, draft.now);
        let followed_by = then(runs.clone(), at);
        draft.add(Event::Leased { runs, fence, deadline, holder, group, node, at, bytes: text_bytes });
        if let Some(event) = followed_by {
            draft.add(event);
        }
    }
    draft.done(Reply::Leased { grants, deadline, exhausted })
}

/// What a scan found.
#[derive(Default)]
struct Picked {
    grants: Vec<Grant>,
    /// The granted messages.
    runs: Vec<Run>,
    /// Those of them that would expire before the leases' end.
    short_lived: Vec<Run>,
    /// Messages whose end has passed.
    expired: Vec<Run>,
    /// Messages that may not be given out even once: no attempt is allowed.
    unwanted: Vec<Run>,
    messages: u64,
    bytes: u64,
    text_bytes: u64,
}

/// A walk from the floor upward.
struct Scan<'a> {
    draft: &'a Draft<'a>,
    deadline: Timestamp,
    wanted: u64,
    bytes_max: u64,
    except: ProducerId,
    early: bool,
    /// How many offsets whose headers were needed did not count: the next need may be as large.
    skipped: u64,
    picked: Picked,
}

impl<'a> Scan<'a> {
    fn new(draft: &'a Draft<'a>, request: &LeaseRequest, deadline: Timestamp) -> Self {
        let room = OUTSTANDING_MAX.saturating_sub(draft.state.outstanding());
        Self {
            draft,
            deadline,
            wanted: u64::from(request.messages_max.clamp(1, LEASE_MESSAGES_MAX)).min(room),
            bytes_max: request.bytes_max.min(LEASE_BYTES_MAX),
            except: request.except_producer.unwrap_or_default(),
            early: request.early,
            skipped: 0,
            picked: Picked::default(),
        }
    }

    /// Walks until enough is picked or the topic ends; `Err` names headers that are missing.
    fn run(&mut self) -> Result<(), Range<Offset>> {
        let (state, view) = (&self.draft.state, self.draft.view);
        for (run, lease) in state.open_runs(state.first_deliverable(), view.next) {
            let attempts = lease.map_or(0, |lease| lease.attempt);
            let blocked = lease.is_some_and(|lease| lease.phase != Phase::Over || self.draft.now < lease.until);
            let used_up = lease.is_some() && view.settings.max_attempts.is_some_and(|most| attempts >= most);
            if blocked || used_up {
                continue;
            }
            if self.picked.messages >= self.wanted || !self.pick(run, attempts)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Picks from a run of free messages with one count of attempts. `false` when no more is wanted.
    fn pick(&mut self, run: Run, attempts: u32) -> Result<bool, Range<Offset>> {
        let (now, headers) = (self.draft.now, self.draft.view.headers);
        let mut at = run.first;
        while at < run.next {
            if self.picked.messages >= self.wanted {
                return Ok(false);
            }
            let next = match headers.span(at) {
                Some((first, Span::Each(_))) => match headers.get(at) {
                    Some(header) if self.judge(at, header, attempts) => at.plus(1),
                    Some(_) => return Ok(false),
                    None => first,
                },
                Some((first, Span::Delayed { count, until })) if now < *until && !self.early => first.plus(*count),
                Some((first, Span::Expired { count, by })) if *by <= now => {
                    let past = Run { first: at, next: first.plus(*count).min(run.next) };
                    self.cover(past)
                }
                _ => at,
            };
            if next <= at {
                return Err(self.need(at, run.next));
            }
            at = next.min(run.next);
        }
        Ok(true)
    }

    /// Judges one message; `false` when it does not fit any more.
    fn judge(&mut self, at: Offset, header: &Header, attempts: u32) -> bool {
        let now = self.draft.now;
        let settings = self.draft.view.settings;
        let end = header.expires_at.max(self.draft.state.lifetime(at).unwrap_or_default());
        let excepted = self.except != ProducerId::default() && header.producer == self.except;
        if end <= now {
            self.skipped = self.skipped.saturating_add(1);
            runs::push(&mut self.picked.expired, Run::one(at));
            return true;
        }
        if (now < header.visible_at && !self.early) || excepted {
            self.skipped = self.skipped.saturating_add(1);
            return true;
        }
        if settings.max_attempts == Some(0) {
            runs::push(&mut self.picked.unwanted, Run::one(at));
            self.picked.messages = self.picked.messages.saturating_add(1);
            return true;
        }
        let bytes = self.picked.bytes.saturating_add(u64::from(header.bytes));
        if !self.picked.runs.is_empty() && bytes > self.bytes_max {
            return false;
        }
        self.picked.bytes = bytes;
        self.picked.text_bytes = self.picked.text_bytes.saturating_add(u64::from(header.text_bytes));
        self.picked.messages = self.picked.messages.saturating_add(1);
        if end < self.deadline {
            runs::push(&mut self.picked.short_lived, Run::one(at));
        }
        runs::push(&mut self.picked.runs, Run::one(at));
        self.give(at, attempts.saturating_add(1));
        true
    }

    fn give(&mut self, at: Offset, attempt: u32) {
        match self.picked.grants.last_mut() {
            Some(last) if last.next == at && last.attempt == attempt => last.next = at.plus(1),
            _ => {
                let fence = self.draft.next_fence();
                self.picked.grants.push(Grant { first: at, next: at.plus(1), fence, attempt });
            }
        }
    }

    /// Covers a stretch of which all have expired by their own end. Answers up to where: a message whose life was extended
    /// needs its header.
    fn cover(&mut self, past: Run) -> Offset {
        let state = &self.draft.state;
        let alive = state.lifetimes.within(past).find(|(_, until)| self.draft.now < *until);
        let next = alive.map_or(past.next, |(run, _)| run.first);
        if past.first < next {
            self.skipped = self.skipped.saturating_add(next.since(past.first));
            runs::push(&mut self.picked.expired, Run { first: past.first, next });
        }
        next
    }

    fn need(&self, at: Offset, free_until: Offset) -> Range<Offset> {
        let missing = self.wanted.saturating_sub(self.picked.messages);
        let most = missing.max(self.skipped).clamp(1, NEED_MAX);
        at..at.plus(most).min(free_until).min(self.draft.view.headers.unknown_until(at))
    }
}
