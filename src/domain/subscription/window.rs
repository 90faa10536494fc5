//! Cumulative mode: a pull opens a window at the floor, an acknowledgement inside it moves the floor and closes it. Behaves as
//! ARGO AMS 1.7; delay, attempts and the producer of a message mean nothing here.

use super::decide::Draft;
use super::event::{Event, GiveUpReason, Run};
use super::headers::Span;
use super::{Decision, Grant, LeaseRequest, Reply, runs};
use crate::domain::error::Error;
use crate::domain::id::{Fence, Offset};
use crate::domain::limits::{LEASE_BYTES_MAX, LEASE_MESSAGES_MAX, NEED_MAX};
use std::ops::Range;

/// What a pull gives out.
#[derive(Default)]
struct Picked {
    runs: Vec<Run>,
    messages: u32,
    text_bytes: u64,
    /// After the last offset considered.
    end: Offset,
}

/// Gives out what lies at the floor, again and again until it is acknowledged, and starts the clock.
pub(super) fn pull(mut draft: Draft<'_>, request: &LeaseRequest) -> Result<Decision, Error> {
    let picked = match pick(&draft, request) {
        Ok(picked) => picked,
        Err(need) => return Ok(Decision::Need(need)),
    };
    let (now, floor) = (draft.now, draft.state.floor());
    let deadline = now.plus(draft.view.settings.ack_deadline);
    let grants: Vec<Grant> =
        picked.runs.iter().map(|run| Grant { first: run.first, next: run.next, fence: Fence(0), attempt: 1 }).collect();
    let open = draft.state.window().is_some();
    if grants.is_empty() && picked.end > floor {
        // Nothing but expired messages: the floor moves over them, or every later pull would have to look at them again.
        let runs = vec![Run { first: floor, next: picked.end }];
        draft.add(Event::GivenUp { runs, reason: GiveUpReason::Expired });
    }
    if open || !grants.is_empty() {
        let (messages, bytes) = (picked.messages, picked.text_bytes);
        draft.add(Event::WindowSet { end: picked.end, at: now, messages, bytes });
    }
    draft.done(Reply::Leased { grants, deadline, exhausted: Vec::new() })
}

fn pick(draft: &Draft<'_>, request: &LeaseRequest) -> Result<Picked, Range<Offset>> {
    let (now, view) = (draft.now, draft.view);
    let wanted = request.messages_max.clamp(1, LEASE_MESSAGES_MAX);
    let bytes_max = request.bytes_max.min(LEASE_BYTES_MAX);
    let mut bytes: u64 = 0;
    let mut picked = Picked { end: draft.state.floor(), ..Picked::default() };
    while picked.end < view.next && picked.messages < wanted {
        let at = picked.end;
        if let Some((first, Span::Expired { count, by })) = view.headers.span(at)
            && *by <= now
        {
            picked.end = first.plus(*count).min(view.next);
            continue;
        }
        let Some(header) = view.headers.get(at) else {
            let considered = at.since(draft.state.floor());
            let most = considered.max(u64::from(wanted.saturating_sub(picked.messages))).min(NEED_MAX);
            return Err(at..at.plus(most).min(view.next).min(view.headers.unknown_until(at)));
        };
        if now < header.expires_at {
            bytes = bytes.saturating_add(u64::from(header.bytes));
            if picked.messages > 0 && bytes > bytes_max {
                break;
            }
            picked.messages = picked.messages.saturating_add(1);
            picked.text_bytes = picked.text_bytes.saturating_add(u64::from(header.text_bytes));
            runs::push(&mut picked.runs, Run::one(at));
        }
        picked.end = at.plus(1);
    }
    Ok(picked)
}

/// Acknowledges everything up to an offset, inclusive.
pub(super) fn acknowledge(draft: Draft<'_>, through: Offset) -> Result<Decision, Error> {
    let (now, old) = (draft.now, draft.state.floor());
    let floor = through.plus(1);
    let Some(window) = draft.state.window().filter(|window| window.end > Offset(0)) else {
        return Err(Error::NoAckPending);
    };
    if floor <= old || floor > window.end {
        return Err(Error::WrongAck);
    }
    if now.seconds().saturating_sub(window.at.seconds()) > draft.view.settings.ack_deadline.as_secs() {
        return Err(Error::AckTimeout);
    }
    let applied = usize::try_from(floor.since(old)).unwrap_or(usize::MAX);
    draft
        .done_with(Event::AcknowledgedThrough { floor, at: now }, Reply::Targets { applied, already: 0, superseded: 0 })
}
