//! Reading batches back: from memory at once, from segments by positioned reads, checked.
//!
//! Owns the walk over a segment's records and the store's `read`. A cold read costs one positioned read of the run's entries
//! (at most 20 KiB for a 64 MiB segment) and those of the data; it starts within 64 KiB of the batch asked for, whatever the size of
//! the log. Never maps a file, never writes.

use super::file::Segment;
use super::group::{RECORD_HEADER, RecordHead, record_after};
use super::index::{Entry, STRETCH};
use super::state::{RunRead, Source, State};
use crate::storage::{LogId, Offset, Position, Read, ReadLimit, Result, StoredBatch, Time};
use bytes::Bytes;
use parking_lot::RwLock;
use std::cell::Cell;
use std::sync::Arc;

/// The least that one positioned read fetches.
const CHUNK: usize = 64 << 10;
/// The largest buffer that a thread keeps for its next read.
const KEPT: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A moving view of a file.
#[derive(Debug)]
pub(super) struct Window {
    segment: Arc<Segment>,
    size: u64,
    chunk: usize,
    /// The first `filled` bytes of it are the file's from `start` on. The thread's: a new one would be cleared for each read.
    buffer: Vec<u8>,
    filled: usize,
    start: u64,
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.buffer.len() <= KEPT {
            // At the end of its life a thread keeps nothing.
            let _ = BUFFER.try_with(|kept| kept.set(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Window {
    /// A view that fetches at least `chunk` bytes at a time.
    pub(super) fn new(segment: Arc<Segment>, chunk: usize) -> Result<Self> {
        let size = segment.file.size().map_err(|error| segment.damage(0, &format!("no size: {error}")))?;
        Ok(Self { segment, size, chunk, buffer: BUFFER.take(), filled: 0, start: 0 })
    }

    /// The bytes at a position, or none if the file ends before.
    pub(super) fn get(&mut self, position: u64, len: usize) -> Result<Option<&[u8]>> {
        let end = position.saturating_add(len as u64);
        if end > self.size {
            return Ok(None);
        }
        if position < self.start || end > self.start + self.filled as u64 {
            self.fill(position, len)?;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let filled = self.buffer.get(..self.filled).unwrap_or_default();
        Ok(filled.get(from..from.saturating_add(len)))
    }

    /// Reads at least so many bytes, which the file has, from a position.
    fn fill(&mut self, position: u64, len: usize) -> Result<()> {
        let left = usize::try_from(self.size - position).unwrap_or(usize::MAX);
        let wanted = len.max(self.chunk).min(left);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        (self.start, self.filled) = (position, 0);
        let into = self.buffer.get_mut(..wanted).unwrap_or_default();
        self.segment
            .file
            .read_at(into, position)
            .map_err(|error| self.segment.damage(position, &format!("cannot be read: {error}")))?;
        self.filled = wanted;
        Ok(())
    }

    /// The record header at a position, which must hold.
    fn record(&mut self, position: u64) -> Result<RecordHead> {
        let seed = self.segment.seed;
        let head = self.get(position, RECORD_HEADER)?.and_then(|bytes| RecordHead::parse(bytes, seed));
        head.ok_or_else(|| self.segment.damage(position, "a record's checksum does not hold"))
    }

    /// The body of a record that stands at a position.
    fn body(&mut self, position: u64, head: &RecordHead) -> Result<Bytes> {
        let body = self.get(position + RECORD_HEADER as u64, head.body_len)?;
        match body.filter(|body| head.body_holds(body)) {
            Some(body) => Ok(Bytes::copy_from_slice(body)),
            None => Err(self.segment.damage(position, "a payload's checksum does not hold")),
        }
    }
}

/// What a walk over a run looks for.
#[derive(Clone, Copy)]
enum Seek {
    Offset(u64),
    Time(u64),
}

impl RunRead {
    /// The entries of the run, from the one at or before the place looked for.
    fn entries(&self) -> Result<Vec<Entry>> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let at = self.run.entries;
        let mut bytes = vec![0; at.count as usize * Entry::LEN];
        let position = u64::from(at.position);
        self.segment
            .file
            .read_at(&mut bytes, position)
            .map_err(|error| self.segment.damage(position, &format!("the index cannot be read: {error}")))?;
        if crc32c::crc32c_append(self.segment.seed, &bytes) != at.crc {
            return Err(self.segment.damage(position, "the index's checksum does not hold"));
        }
        Ok(bytes.chunks_exact(Entry::LEN).map(Entry::decode).collect())
    }

    /// Walks the run's batches in order from the one that holds the place (or follows it), until `take` says enough.
    fn walk(
        &self,
        from: Seek,
        chunk: usize,
        mut take: impl FnMut(&mut Window, u64, &RecordHead) -> Result<bool>,
    ) -> Result<()> {
        let entries = self.entries()?;
        let at = match from {
            Seek::Offset(offset) => entries.partition_point(|entry| entry.offset <= offset),
            Seek::Time(time) => entries.partition_point(|entry| entry.time < time),
        };
        let mut ahead = entries.get(at.saturating_sub(1)..).unwrap_or_default().iter().peekable();
        let Some(entry) = ahead.next() else { return Err(self.segment.damage(0, "a run has no index")) };
        let mut window = Window::new(Arc::clone(&self.segment), chunk)?;
        let (mut position, mut stretch, mut wanted) =
            (u64::from(entry.position), u64::from(entry.position) + STRETCH, entry.offset);
        loop {
            if let Some(entry) = ahead.next_if(|entry| position >= stretch || position >= u64::from(entry.position)) {
                position = u64::from(entry.position);
                stretch = position + STRETCH;
            } else if position >= stretch {
                let what = format!("{} should hold offset {wanted} and does not", self.log);
                return Err(self.segment.damage(position, &what));
            }
            let head = window.record(position)?;
            if head.is_batch() && head.log == self.log && head.first <= wanted && wanted < head.next() {
                if !take(&mut window, position, &head)? {
                    return Ok(());
                }
                wanted = head.next();
                if wanted >= self.run.next {
                    return Ok(());
                }
            }
            position = record_after(position + (RECORD_HEADER + head.body_len) as u64, head.last);
        }
    }

    /// Reads batches from the one that holds `offset` to the run's end, as far as there is room.
    fn read(&self, offset: u64, chunk: usize, into: &mut Taken) -> Result<()> {
        self.walk(Seek::Offset(offset), chunk, |window, position, head| {
            if head.next() <= offset {
                return Ok(true);
            }
            if !into.has_room(head.body_len) {
                return Ok(false);
            }
            let payload = window.body(position, head)?;
            into.put(StoredBatch {
                first: Offset(head.first),
                count: head.count,
                time: Time(head.time),
                nonce: head.nonce,
                payload,
            });
            Ok(true)
        })
    }

    /// The offset of the first batch whose time is at or after `time`, at or above `from`.
    fn seek_time(&self, time: u64, from: u64) -> Result<Option<u64>> {
        let mut found = None;
        self.walk(Seek::Time(time), CHUNK, |_, _, head| {
            if head.time >= time && head.next() > from {
                found = Some(head.first.max(from));
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Reads all batches of the run from an offset on, at most about `bytes` of them (but one at least).
    pub(super) fn batches(&self, offset: u64, bytes: usize) -> Result<Vec<StoredBatch>> {
        let mut taken = Taken::new(ReadLimit { bytes, batches: usize::MAX });
        let chunk = usize::try_from(self.run.bytes).unwrap_or(bytes).saturating_add(4 << 10).min(bytes);
        self.read(offset, chunk, &mut taken)?;
        Ok(taken.batches)
    }
}

/// Batches read so far, and the limit.
struct Taken {
    batches: Vec<StoredBatch>,
    bytes: usize,
    limit: ReadLimit,
    full: bool,
}

impl Taken {
    fn new(limit: ReadLimit) -> Self {
        Self { batches: Vec::new(), bytes: 0, limit, full: false }
    }

    /// Whether a batch of this size may still come; the first one always may.
    fn has_room(&mut self, bytes: usize) -> bool {
        let fits = self.batches.len() < self.limit.batches && self.bytes.saturating_add(bytes) <= self.limit.bytes;
        self.full = !(fits || self.batches.is_empty());
        !self.full
    }

    fn put(&mut self, batch: StoredBatch) {
        self.bytes += batch.payload.len();
        self.batches.push(batch);
    }

    fn extend(&mut self, batches: Vec<StoredBatch>) {
        for batch in batches {
            if !self.has_room(batch.payload.len()) {
                return;
            }
            self.put(batch);
        }
    }
}

/// Answers a read from memory alone; none if segments are needed.
pub(super) fn read_recent(state: &RwLock<State>, log: LogId, from: Position, limit: ReadLimit) -> Option<Read> {
    let state = state.read();
    let Some(found) = state.logs.get(&log) else { return Some(Read::Closed) };
    let offset = match from {
        Position::Offset(offset) => offset.0,
        Position::Tail if found.first == found.next => return Some(Read::Batches(Vec::new())),
        Position::Tail => found.next - 1,
        Position::Time(time) if found.first == found.next || found.last_time < time.0 => {
            return Some(Read::Batches(Vec::new()));
        }
        Position::Time(time) => {
            let at = found.recent.partition_point(|batch| batch.time < time);
            let known = at > 0 || found.recent.front().is_some_and(|oldest| oldest.first.0 <= found.first);
            known.then(|| found.recent.get(at)).flatten()?.first.0.max(found.first)
        }
    };
    match state.source(log, offset, limit) {
        Source::Closed => Some(Read::Closed),
        Source::Trimmed(first) => Some(Read::Trimmed { first }),
        Source::End => Some(Read::Batches(Vec::new())),
        Source::Recent(batches) => {
            let mut taken = Taken::new(limit);
            taken.extend(batches);
            Some(Read::Batches(taken.batches))
        }
        Source::File(_) => None,
    }
}

/// Reads from segments and memory. Blocks.
pub(super) fn read(state: &RwLock<State>, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
    let chunk = limit.bytes.clamp(16 << 10, 1 << 20);
    'search: loop {
        let Some(mut offset) = offset_of(state, log, from)? else { return Ok(Read::Batches(Vec::new())) };
        let mut taken = Taken::new(limit);
        while !taken.full {
            let source = state.read().source(log, offset, limit);
            match source {
                Source::Recent(batches) => taken.extend(batches),
                Source::File(run) => run.read(offset, chunk, &mut taken)?,
                Source::End => break,
                Source::Closed if taken.batches.is_empty() => return Ok(Read::Closed),
                Source::Trimmed(first) if taken.batches.is_empty() => match from {
                    Position::Offset(_) => return Ok(Read::Trimmed { first }),
                    // Trimmed since the search: search again.
                    Position::Time(_) | Position::Tail => continue 'search,
                },
                Source::Closed | Source::Trimmed(_) => break,
            }
            offset = taken.batches.last().map_or(offset, |last| last.next().0);
        }
        return Ok(Read::Batches(taken.batches));
    }
}

/// The offset that a position stands for; none if it is beyond the tail (or the log has nothing).
fn offset_of(state: &RwLock<State>, log: LogId, from: Position) -> Result<Option<u64>> {
    let time = match from {
        Position::Offset(offset) => return Ok(Some(offset.0)),
        Position::Tail => {
            let state = state.read();
            return Ok(state.logs.get(&log).map(|log| log.next.saturating_sub(1).max(log.first)));
        }
        Position::Time(time) => time.0,
    };
    let mut at = 0;
    loop {
        let (first, run) = {
            let state = state.read();
            let Some(found) = state.logs.get(&log) else { return Ok(Some(0)) };
            at = at.max(found.first);
            let Some(run) = found.runs.iter().find(|run| run.last_time >= time && run.next > at) else {
                return Ok(None);
            };
            (found.first, state.run_read(log, at.max(run.first), *run))
        };
        let Some(run) = run else { return Ok(None) };
        if let Some(offset) = run.seek_time(time, first)? {
            return Ok(Some(offset));
        }
        at = run.run.next;
    }
}
