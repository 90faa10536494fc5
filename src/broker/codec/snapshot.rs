//! The stored form of a subscription's whole state, and its parts in the subscription's own log.
//!
//! A snapshot is the state *as of* an offset N of that log: what the records before N add up to. Its chunks stand at N or behind,
//! among events that are not in it, and count only when all are there. Reading the log from N on therefore suffices: put the
//! chunks together, then apply the events. Two nodes that make the same snapshot make the same chunks.

use super::event::{put_flagged, take_flagged, take_mode, take_nonce};
use super::wire::{Reader, Writer};
use crate::domain::subscription::{
    Attachment, Consumed, Cursor, DeadLetter, GroupId, HolderId, Lease, Leases, NodeId, Phase, Run, RunMap, State,
    Window, Worker, WorkerLease,
};
use crate::domain::{Error, Fence, Incarnation, LogRef, Offset, Result, Timestamp};
use bytes::Bytes;
use std::collections::BTreeMap;

const VERSION: u8 = 1;
/// Most bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Most chunks of a snapshot; far more than the limits on outstanding messages lead to.
const CHUNKS_MAX: u32 = 4_096;
/// How a lease stands; for a held one a holder, a group, a node and an instant may follow.
const OVER: u8 = 0;
const DEAD_LETTER: u8 = 1;
const HELD: u8 = 4;
const WITH_HOLDER: u8 = 1;
const WITH_GROUP: u8 = 2;
const WITH_NODE: u8 = 8;
const WITH_AT: u8 = 16;
const HELD_FLAGS: u8 = WITH_HOLDER | WITH_GROUP | WITH_NODE | WITH_AT;

/// A part of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Which snapshot: the offset of the own log that it is as of.
    pub as_of: Offset,
    /// Which part, from 0.
    pub index: u32,
    /// How many parts there are.
    pub count: u32,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Encodes a state as of an offset of its own log, in parts of at most 256 KiB. At least one part.
#[must_use]
pub fn chunks(state: &State, as_of: Offset) -> Vec<Chunk> {
    let whole = encode(state);
    let count = u32::try_from(whole.len().div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX);
    let part = |index: u32| {
        let first = (index as usize).saturating_mul(CHUNK_BYTES);
        let bytes = whole.slice(first..whole.len().min(first.saturating_add(CHUNK_BYTES)));
        Chunk { as_of, index, count, bytes }
    };
    (0..count).map(part).collect()
}

/// Puts chunks together, in whatever order and however often they come. Keeps the parts of the newest snapshot only.
#[derive(Debug, Default)]
pub struct Assembly {
    as_of: Offset,
    count: u32,
    parts: BTreeMap<u32, Bytes>,
}

impl Assembly {
    /// Adds a chunk. When it was the last one missing, answers the snapshot's offset and its state.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the parts do not add up to a state.
    pub fn add(&mut self, chunk: Chunk) -> Result<Option<(Offset, State)>> {
        if chunk.count > CHUNKS_MAX || chunk.index >= chunk.count {
            return Err(Error::Damaged(format!("chunk {} of {} of a snapshot", chunk.index, chunk.count)));
        }
        if (self.as_of, self.count) != (chunk.as_of, chunk.count) {
            if chunk.as_of < self.as_of {
                return Ok(None);
            }
            *self = Self { as_of: chunk.as_of, count: chunk.count, parts: BTreeMap::new() };
        }
        let was_missing = self.parts.insert(chunk.index, chunk.bytes).is_none();
        if !was_missing || self.parts.len() < self.count as usize {
            return Ok(None);
        }
        let whole: Vec<u8> = self.parts.values().flat_map(|part| part.iter().copied()).collect();
        decode(&whole).map(|state| Some((self.as_of, state)))
    }
}

/// The stored form of a state. Equal states have equal bytes.
#[must_use]
pub fn encode(state: &State) -> Bytes {
    let mut to = Writer::default();
    to.byte(VERSION);
    to.byte(u8::from(state.attached.is_some()));
    if let Some(attached) = state.attached {
        to.id(attached.log.0);
        to.number(attached.incarnation.0);
        to.byte(attached.mode as u8);
    }
    to.number(state.floor().0);
    to.runs(&state.cursor.above().collect::<Vec<_>>());
    to.byte(u8::from(state.window.is_some()));
    if let Some(window) = state.window {
        to.number(window.end.0);
        to.number(window.at.0);
    }
    put_leases(&mut to, &state.leases);
    to.number(state.lifetimes.entries().len() as u64);
    let mut after = Offset(0);
    for (run, until) in state.lifetimes.entries() {
        to.run(after, *run);
        to.number(until.0);
        after = run.next;
    }
    to.number(state.dead_letters.len() as u64);
    for letter in &state.dead_letters {
        to.number(letter.offset.0);
        to.id(letter.target.0);
        to.number(letter.tail.0);
        to.id(letter.nonce.writer);
        to.number(letter.nonce.sequence);
    }
    to.byte(u8::from(state.worker.is_some()));
    if let Some(worker) = state.worker {
        to.id(worker.node.0);
        to.number(worker.lease.fence.0);
        to.number(worker.lease.deadline.0);
    }
    let Consumed { messages, bytes, at, before, last } = state.consumed;
    for number in [state.fence.0, state.epoch, messages, bytes, at.0, before.0, last, state.forgotten] {
        to.number(number);
    }
    to.finish()
}

fn put_leases(to: &mut Writer, leases: &Leases) {
    to.number(leases.entries().len() as u64);
    let mut after = Offset(0);
    for (run, lease) in leases.entries() {
        to.run(after, *run);
        after = run.next;
        to.number(lease.fence.0);
        to.number(u64::from(lease.attempt));
        to.number(lease.until.0);
        match lease.phase {
            Phase::Over => to.byte(OVER),
            Phase::DeadLetter => to.byte(DEAD_LETTER),
            Phase::Held { holder, group, node, at } => {
                let since = at > Timestamp::EPOCH;
                let base = if since { HELD | WITH_AT } else { HELD };
                put_flagged(to, base, &[(holder.0, WITH_HOLDER), (group.0, WITH_GROUP), (node.0, WITH_NODE)]);
                if since {
                    to.number(at.0);
                }
            }
        }
    }
}

/// Reads the stored form.
///
/// # Errors
/// [`Error::Damaged`] for anything that [`encode`] does not make of some state.
pub fn decode(bytes: &[u8]) -> Result<State> {
    let mut from = Reader::new(bytes, "a snapshot of a subscription");
    let version = from.byte()?;
    if version != VERSION {
        return Err(from.damaged(&format!("version {version} is not known")));
    }
    let attached = take_optional(&mut from, |from| {
        Ok(Attachment { log: LogRef(from.id()?), incarnation: Incarnation(from.number()?), mode: take_mode(from)? })
    })?;
    let (floor, above) = (Offset(from.number()?), from.runs()?);
    let cursor = Cursor::restore(floor, above);
    let window =
        take_optional(&mut from, |from| Ok(Window { end: Offset(from.number()?), at: Timestamp(from.number()?) }))?;
    let leases = Leases::restore(take_entries(&mut from, take_lease)?);
    let lifetimes = RunMap::restore(take_entries(&mut from, |from| Ok(Timestamp(from.number()?)))?);
    let dead_letters = (0..from.count(35)?).map(|_| take_dead_letter(&mut from)).collect::<Result<_>>()?;
    let worker = take_optional(&mut from, |from| {
        let node = NodeId(from.id()?);
        let lease = WorkerLease { fence: Fence(from.number()?), deadline: Timestamp(from.number()?) };
        Ok(Worker { node, lease })
    })?;
    let (fence, epoch) = (Fence(from.number()?), from.number()?);
    let consumed = Consumed {
        messages: from.number()?,
        bytes: from.number()?,
        at: Timestamp(from.number()?),
        before: Timestamp(from.number()?),
        last: from.number()?,
    };
    let forgotten = from.number()?;
    let unsound = from.damaged("its parts do not agree");
    from.finish()?;
    let (Some(cursor), Some(leases), Some(lifetimes)) = (cursor, leases, lifetimes) else { return Err(unsound) };
    let state =
        State { attached, cursor, window, leases, lifetimes, dead_letters, worker, fence, epoch, consumed, forgotten };
    if state.is_sound() { Ok(state) } else { Err(unsound) }
}

fn take_optional<T>(from: &mut Reader<'_>, take: impl Fn(&mut Reader<'_>) -> Result<T>) -> Result<Option<T>> {
    match from.byte()? {
        0 => Ok(None),
        1 => take(from).map(Some),
        other => Err(from.damaged(&format!("{other} stands for neither there nor not"))),
    }
}

fn take_entries<V>(from: &mut Reader<'_>, take: impl Fn(&mut Reader<'_>) -> Result<V>) -> Result<Vec<(Run, V)>> {
    let count = from.count(3)?;
    let mut entries = Vec::with_capacity(count);
    let mut after = Offset(0);
    for _ in 0..count {
        let run = from.run(after)?;
        after = run.next;
        entries.push((run, take(from)?));
    }
    Ok(entries)
}

fn take_lease(from: &mut Reader<'_>) -> Result<Lease> {
    let (fence, attempt, until) = (Fence(from.number()?), from.small()?, Timestamp(from.number()?));
    let phase = match from.byte()? {
        OVER => Phase::Over,
        DEAD_LETTER => Phase::DeadLetter,
        held if held & !HELD_FLAGS == HELD => Phase::Held {
            holder: HolderId(take_flagged(from, held & WITH_HOLDER != 0)?),
            group: GroupId(take_flagged(from, held & WITH_GROUP != 0)?),
            node: NodeId(take_flagged(from, held & WITH_NODE != 0)?),
            at: if held & WITH_AT == 0 { Timestamp::EPOCH } else { take_instant(from)? },
        },
        unknown => return Err(from.damaged(&format!("lease phase {unknown} is not known"))),
    };
    Ok(Lease { fence, attempt, until, phase })
}

/// An instant that is there only when it is not the epoch.
fn take_instant(from: &mut Reader<'_>) -> Result<Timestamp> {
    match from.number()? {
        0 => Err(from.damaged("an instant is zero")),
        at => Ok(Timestamp(at)),
    }
}

fn take_dead_letter(from: &mut Reader<'_>) -> Result<DeadLetter> {
    Ok(DeadLetter {
        offset: Offset(from.number()?),
        target: LogRef(from.id()?),
        tail: Offset(from.number()?),
        nonce: take_nonce(from)?,
    })
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
