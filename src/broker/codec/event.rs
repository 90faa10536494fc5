//! The stored form of what a subscription's own log holds: batches of events, and chunks of snapshots among them.
//!
//! A record is: version (1 byte), kind (1: events, 2: chunk), the offset of the newest complete snapshot (8 bytes little-endian,
//! all ones for none), then for events their count and each one's code and fields, for a chunk its offset, index, count and bytes.
//! Numbers are little-endian base 128, instants and fences among them; ids take 16 bytes; deadlines are relative to the
//! event's own time where it has one.

use super::snapshot::Chunk;
use super::wire::{Reader, Writer};
use crate::domain::subscription::{AckMode, Event, GiveUpReason, GroupId, HolderId, NodeId, Nonce, tidy};
use crate::domain::{Fence, Incarnation, LogRef, Offset, Result, Timestamp};
use bytes::Bytes;

const VERSION: u8 = 1;
const EVENTS: u8 = 1;
const CHUNK: u8 = 2;
const NO_SNAPSHOT: u64 = u64::MAX;
/// Fewest bytes of an event: code and one number.
const EVENT_LEAST: usize = 2;
/// In the flags of a lease event: a holder follows, a group follows, a node follows. The others are reserved.
const WITH_HOLDER: u8 = 1;
const WITH_GROUP: u8 = 2;
const WITH_NODE: u8 = 4;

/// One record of a subscription's own log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The newest snapshot of which all chunks stand in the log before this record: where to read from.
    pub newest_snapshot: Option<Offset>,
    /// What it holds.
    pub body: Body,
}

/// What a record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Events in order.
    Events(Vec<Event>),
    /// A part of a snapshot.
    Chunk(Chunk),
}

impl Record {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION);
        to.byte(match self.body {
            Body::Events(_) => EVENTS,
            Body::Chunk(_) => CHUNK,
        });
        to.fixed(self.newest_snapshot.map_or(NO_SNAPSHOT, |offset| offset.0));
        match &self.body {
            Body::Events(events) => {
                to.number(events.len() as u64);
                for event in events {
                    put_event(&mut to, event);
                }
            }
            Body::Chunk(chunk) => {
                to.number(chunk.as_of.0);
                to.number(u64::from(chunk.index));
                to.number(u64::from(chunk.count));
                to.bytes(&chunk.bytes);
            }
        }
        to.finish()
    }

    /// Reads the stored form. A chunk's bytes are a slice of `bytes`.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::domain::Error::Damaged) for anything that [`Record::encode`] does not make.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let mut from = Reader::new(bytes, "a record of a subscription");
        let version = from.byte()?;
        if version != VERSION {
            return Err(from.damaged(&format!("version {version} is not known")));
        }
        let kind = from.byte()?;
        let newest_snapshot = Some(from.fixed()?).filter(|offset| *offset != NO_SNAPSHOT).map(Offset);
        let body = match kind {
            EVENTS => {
                let count = from.count(EVENT_LEAST)?;
                let events = (0..count).map(|_| take_event(&mut from)).collect::<Result<_>>()?;
                from.finish()?;
                Body::Events(events)
            }
            CHUNK => {
                let (as_of, index, count) = (Offset(from.number()?), from.small()?, from.small()?);
                if index >= count {
                    return Err(from.damaged(&format!("chunk {index} of {count}")));
                }
                let bytes = bytes.slice(bytes.len().saturating_sub(from.rest())..);
                Body::Chunk(Chunk { as_of, index, count, bytes })
            }
            unknown => return Err(from.damaged(&format!("kind {unknown} is not known"))),
        };
        Ok(Self { newest_snapshot, body })
    }
}

fn put_event(to: &mut Writer, event: &Event) {
    to.byte(event.code());
    match event {
        Event::Attached { log, incarnation, floor, mode } => {
            to.id(log.0);
            to.number(incarnation.0);
            to.number(floor.0);
            to.byte(*mode as u8);
        }
        Event::WindowSet { end, at, messages, bytes } => {
            to.number(end.0);
            to.number(at.0);
            to.number(u64::from(*messages));
            to.number(*bytes);
        }
        Event::AcknowledgedThrough { floor, at } => {
            to.number(floor.0);
            to.number(at.0);
        }
        Event::Acknowledged { runs, at } => {
            to.number(at.0);
            to.runs(&tidy(runs));
        }
        Event::GivenUp { runs, reason } => {
            to.byte(*reason as u8);
            to.runs(&tidy(runs));
        }
        Event::Purged { floor } | Event::Sought { floor } => to.number(floor.0),
        Event::WorkerLeased { node, fence, deadline } => {
            to.id(node.0);
            to.number(fence.0);
            to.number(deadline.0);
        }
        Event::WorkerReleased { fence } => to.number(fence.0),
        Event::DeadLetterStarted { offset, target, tail, nonce } => {
            to.number(offset.0);
            to.id(target.0);
            to.number(tail.0);
            to.id(nonce.writer);
            to.number(nonce.sequence);
        }
        Event::DeadLettered { offset, copy } => {
            to.number(offset.0);
            to.number(copy.0);
        }
        Event::Forgotten { before, unacknowledged } => {
            to.number(before.0);
            to.number(*unacknowledged);
        }
        Event::Leased { .. }
        | Event::Extended { .. }
        | Event::Released { .. }
        | Event::Expired { .. }
        | Event::LifetimeExtended { .. }
        | Event::Renewed { .. } => put_lease_event(to, event),
    }
}

fn put_lease_event(to: &mut Writer, event: &Event) {
    match event {
        Event::Leased { runs, fence, deadline, holder, group, node, at, bytes } => {
            put_flagged(to, 0, &[(holder.0, WITH_HOLDER), (group.0, WITH_GROUP), (node.0, WITH_NODE)]);
            to.number(fence.0);
            to.number(at.0);
            to.number(deadline.0.wrapping_sub(at.0));
            to.number(*bytes);
            to.runs(&tidy(runs));
        }
        Event::Extended { runs, deadline: until }
        | Event::Released { runs, not_before: until }
        | Event::LifetimeExtended { runs, until } => {
            to.number(until.0);
            to.runs(&tidy(runs));
        }
        Event::Expired { runs } => to.runs(&tidy(runs)),
        Event::Renewed { runs, deadline, node, at } => {
            put_flagged(to, 0, &[(node.0, WITH_NODE)]);
            to.number(at.0);
            to.number(deadline.0.wrapping_sub(at.0));
            to.runs(&tidy(runs));
        }
        _ => {}
    }
}

/// A byte of flags that tells which of these ids are not zero, and those.
pub(super) fn put_flagged(to: &mut Writer, base: u8, ids: &[(u128, u8)]) {
    let there = || ids.iter().filter(|(id, _)| *id != 0);
    to.byte(there().fold(base, |flags, (_, flag)| flags | flag));
    there().for_each(|(id, _)| to.id(*id));
}

fn take_event(from: &mut Reader<'_>) -> Result<Event> {
    Ok(match from.byte()? {
        1 => Event::Attached {
            log: LogRef(from.id()?),
            incarnation: Incarnation(from.number()?),
            floor: Offset(from.number()?),
            mode: take_mode(from)?,
        },
        2 => Event::WindowSet {
            end: Offset(from.number()?),
            at: Timestamp(from.number()?),
            messages: from.small()?,
            bytes: from.number()?,
        },
        3 => Event::AcknowledgedThrough { floor: Offset(from.number()?), at: Timestamp(from.number()?) },
        4 => take_leased(from)?,
        5 => Event::Acknowledged { at: Timestamp(from.number()?), runs: from.runs()? },
        6 => Event::Extended { deadline: Timestamp(from.number()?), runs: from.runs()? },
        7 => Event::Released { not_before: Timestamp(from.number()?), runs: from.runs()? },
        8 => Event::Expired { runs: from.runs()? },
        9 => Event::GivenUp { reason: take_reason(from)?, runs: from.runs()? },
        10 => Event::Purged { floor: Offset(from.number()?) },
        11 => Event::Sought { floor: Offset(from.number()?) },
        12 => Event::WorkerLeased {
            node: NodeId(from.id()?),
            fence: Fence(from.number()?),
            deadline: Timestamp(from.number()?),
        },
        13 => Event::WorkerReleased { fence: Fence(from.number()?) },
        14 => Event::DeadLetterStarted {
            offset: Offset(from.number()?),
            target: LogRef(from.id()?),
            tail: Offset(from.number()?),
            nonce: take_nonce(from)?,
        },
        15 => Event::DeadLettered { offset: Offset(from.number()?), copy: Offset(from.number()?) },
        16 => Event::Forgotten { before: Offset(from.number()?), unacknowledged: from.number()? },
        17 => Event::LifetimeExtended { until: Timestamp(from.number()?), runs: from.runs()? },
        18 => take_renewed(from)?,
        unknown => return Err(from.damaged(&format!("event code {unknown} is not known"))),
    })
}

fn take_leased(from: &mut Reader<'_>) -> Result<Event> {
    let flags = take_flags(from, WITH_HOLDER | WITH_GROUP | WITH_NODE)?;
    let holder = HolderId(take_flagged(from, flags & WITH_HOLDER != 0)?);
    let group = GroupId(take_flagged(from, flags & WITH_GROUP != 0)?);
    let node = NodeId(take_flagged(from, flags & WITH_NODE != 0)?);
    let (fence, at) = (Fence(from.number()?), Timestamp(from.number()?));
    let deadline = Timestamp(from.number()?.wrapping_add(at.0));
    Ok(Event::Leased { fence, deadline, holder, group, node, at, bytes: from.number()?, runs: from.runs()? })
}

fn take_renewed(from: &mut Reader<'_>) -> Result<Event> {
    let flags = take_flags(from, WITH_NODE)?;
    let node = NodeId(take_flagged(from, flags & WITH_NODE != 0)?);
    let at = Timestamp(from.number()?);
    let deadline = Timestamp(from.number()?.wrapping_add(at.0));
    Ok(Event::Renewed { node, at, deadline, runs: from.runs()? })
}

fn take_flags(from: &mut Reader<'_>, known: u8) -> Result<u8> {
    let flags = from.byte()?;
    if flags & !known != 0 {
        return Err(from.damaged(&format!("lease flags {flags:#x} are not known")));
    }
    Ok(flags)
}

/// An id that is there only when it is not zero.
pub(super) fn take_flagged(from: &mut Reader<'_>, flag: bool) -> Result<u128> {
    if !flag {
        return Ok(0);
    }
    match from.id()? {
        0 => Err(from.damaged("an id is zero")),
        id => Ok(id),
    }
}

pub(super) fn take_nonce(from: &mut Reader<'_>) -> Result<Nonce> {
    Ok(Nonce { writer: from.id()?, sequence: from.number()? })
}

pub(super) fn take_mode(from: &mut Reader<'_>) -> Result<AckMode> {
    match from.byte()? {
        1 => Ok(AckMode::Cumulative),
        2 => Ok(AckMode::Individual),
        unknown => Err(from.damaged(&format!("ack mode {unknown} is not known"))),
    }
}

fn take_reason(from: &mut Reader<'_>) -> Result<GiveUpReason> {
    match from.byte()? {
        1 => Ok(GiveUpReason::Attempts),
        2 => Ok(GiveUpReason::Refused),
        3 => Ok(GiveUpReason::Operator),
        4 => Ok(GiveUpReason::Expired),
        unknown => Err(from.damaged(&format!("reason {unknown} is not known"))),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
