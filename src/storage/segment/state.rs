//! What the store knows in memory, all of it durable: logs, documents, segments.
//!
//! Owns the effect of each record. One [`State`] stands behind a read-write lock; only the writer changes it, after the sync (and
//! the upkeep thread when it forgets a dead segment), so no reader ever sees what is not durable. Never does I/O.

use super::checkpoint;
use super::file::{Seal, Segment};
use super::group::{Kind, Record};
use super::index::{Entry, Row, Run, SegmentIndex};
use super::recent::Recent;
use crate::storage::{Bounds, Document, LogId, Offset, Order, ReadLimit, StoredBatch, Time, Version};
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// How many closed logs are remembered. A log's id is a fresh UUID, so nobody creates a closed one again but a repeated request,
/// which comes within seconds: the newest ones are enough. A forgotten one answers `Closed` like any unknown log.
const CLOSED_REMEMBERED: usize = 65_536;

/// An open log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The trim point.
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) last_time: u64,
    /// Where its batches are, by offset.
    pub(super) runs: Vec<Run>,
    /// Payload bytes of all runs.
    pub(super) bytes: u64,
    /// Its newest batches, up to the tail.
    pub(super) recent: VecDeque<StoredBatch>,
}

impl Log {
    /// Puts a run at a place of the list, or makes the one before longer if it continues it in the active segment. Answers the place
    /// behind it.
    fn put_run(&mut self, at: usize, run: Run, active: u64, segments: &mut BTreeMap<u64, SegmentState>) -> usize {
        self.bytes += run.bytes;
        let grows = |before: &&mut Run| before.segment == active && run.segment == active && before.next == run.first;
        let before = at.checked_sub(1).and_then(|before| self.runs.get_mut(before)).filter(grows);
        if let Some(segment) = segments.get_mut(&run.segment) {
            segment.bytes += run.bytes;
            segment.runs += u64::from(before.is_none());
        }
        if let Some(before) = before {
            (before.next, before.last_time) = (run.next, run.last_time);
            before.bytes += run.bytes;
            return at;
        }
        self.runs.insert(at.min(self.runs.len()), run);
        at + 1
    }
}

/// A segment has lost a run.
fn uncount(segments: &mut BTreeMap<u64, SegmentState>, run: &Run) {
    if let Some(segment) = segments.get_mut(&run.segment) {
        segment.runs = segment.runs.saturating_sub(1);
        segment.bytes = segment.bytes.saturating_sub(run.bytes);
    }
}

/// A live segment.
#[derive(Debug)]
pub(super) struct SegmentState {
    pub(super) segment: Arc<Segment>,
    /// None for the one being written.
    pub(super) seal: Option<Seal>,
    /// How many runs of open logs it holds; without any it is dead.
    pub(super) runs: u64,
    /// Their payload bytes.
    pub(super) bytes: u64,
}

/// The newest closed logs.
#[derive(Debug, Default)]
pub(super) struct ClosedLogs {
    set: HashSet<LogId>,
    order: VecDeque<LogId>,
}

impl ClosedLogs {
    pub(super) fn insert(&mut self, log: LogId) {
        if self.set.insert(log) {
            self.order.push_back(log);
        }
        if self.order.len() > CLOSED_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, log: LogId) -> bool {
        self.set.contains(&log)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = LogId> {
        self.order.iter().copied()
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) logs: BTreeMap<LogId, Log>,
    pub(super) closed: ClosedLogs,
    pub(super) documents: BTreeMap<Bytes, Document>,
    /// The bytes of their keys and values.
    pub(super) document_bytes: u64,
    /// The highest version ever given to any key: one count for the whole store, so versions never repeat and no
    /// tombstone is needed.
    pub(super) version: u64,
    /// The number of the last group applied.
    pub(super) group: u64,
    pub(super) segments: BTreeMap<u64, SegmentState>,
    /// The segment being written.
    pub(super) active: u64,
    /// Its index.
    pub(super) index: SegmentIndex,
    pub(super) recent: Recent,
}

/// Where a read finds the batch at an offset.
#[derive(Debug)]
pub(super) enum Source {
    Closed,
    Trimmed(Offset),
    End,
    /// In memory: the batches from there to the tail, as far as the limit goes.
    Recent(Vec<StoredBatch>),
    File(RunRead),
}

/// A part of a log to be read from its segment.
#[derive(Debug)]
pub(super) struct RunRead {
    pub(super) segment: Arc<Segment>,
    pub(super) log: LogId,
    pub(super) run: Run,
    /// The entries, if the segment has no footer yet.
    pub(super) open: Option<Vec<Entry>>,
}

impl State {
    /// The effect of a record on tails and documents, live and in recovery.
    pub(super) fn change(&mut self, record: &Record) {
        let Record { log, first, .. } = *record;
        match record.kind {
            Kind::Create => {
                self.logs.insert(log, Log { first, next: first, ..Log::default() });
            }
            Kind::Append => {
                if let Some(log) = self.logs.get_mut(&log) {
                    log.next = first.saturating_add(u64::from(record.count));
                    log.last_time = record.time;
                }
            }
            Kind::Moved => {}
            Kind::Put => {
                self.version = self.version.max(first);
                self.put(record.key.clone(), Document { version: Version(first), value: record.payload.clone() });
            }
            Kind::Delete => {
                self.version = self.version.max(first);
                if let Some(old) = self.documents.remove(&record.key) {
                    self.document_bytes -= (record.key.len() + old.value.len()) as u64;
                }
            }
            Kind::Trim => self.trim(log, first),
            Kind::Close => self.close(log),
        }
    }

    /// Puts a document in place of the one before.
    pub(super) fn put(&mut self, key: Bytes, document: Document) {
        let bytes = key.len() as u64;
        self.document_bytes += bytes + document.value.len() as u64;
        if let Some(old) = self.documents.insert(key, document) {
            self.document_bytes -= bytes + old.value.len() as u64;
        }
    }

    /// How long a checkpoint of it is. O(1).
    pub(super) fn checkpoint_bytes(&self) -> u64 {
        checkpoint::length(self.logs.len(), self.closed.order.len(), self.documents.len(), self.document_bytes)
    }

    /// Notes where the writer has put a record in the active segment.
    pub(super) fn place(&mut self, record: &Record, position: u64) {
        if !matches!(record.kind, Kind::Append | Kind::Moved) {
            return;
        }
        let Record { log: id, first, count, time, .. } = *record;
        let next = first.saturating_add(u64::from(count));
        self.index.add(id, first, count, time, position, record.payload.len());
        let bytes = record.payload.len() as u64;
        let run = Run { segment: self.active, first, next, last_time: time, bytes, entries: Default::default() };
        if record.kind == Kind::Moved {
            self.relocate(id, run);
            return;
        }
        let Some(log) = self.logs.get_mut(&id) else { return };
        let at = log.runs.len();
        log.put_run(at, run, self.active, &mut self.segments);
        let batch = StoredBatch {
            first: Offset(first),
            count,
            time: Time(time),
            nonce: record.nonce,
            payload: record.payload.clone(),
        };
        self.recent.push(&mut self.logs, id, batch);
    }

    /// Puts a copied batch in the place of the original, unless that has gone or moved meanwhile.
    fn relocate(&mut self, id: LogId, moved: Run) {
        let Some(log) = self.logs.get_mut(&id).filter(|log| moved.next > log.first) else { return };
        // A batch that is trimmed in part begins before its run.
        let alive = moved.first.max(log.first);
        let Some(mut at) = log.runs.partition_point(|run| run.first <= alive).checked_sub(1) else { return };
        let is_original = |old: &Run| old.segment != moved.segment && moved.next <= old.next;
        let Some(old) = log.runs.get(at).copied().filter(is_original) else { return };
        log.runs.remove(at);
        log.bytes = log.bytes.saturating_sub(old.bytes);
        uncount(&mut self.segments, &old);
        let before = old.clipped(old.first, moved.first).filter(|before| before.next > log.first);
        let after = old.clipped(moved.next, old.next);
        for piece in before.into_iter().chain([moved]).chain(after) {
            at = log.put_run(at, piece, self.active, &mut self.segments);
        }
    }

    fn trim(&mut self, id: LogId, before: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        log.first = log.first.max(before);
        let dead = log.runs.partition_point(|run| run.next <= log.first);
        let dead: Vec<Run> = log.runs.drain(..dead).collect();
        log.bytes = log.bytes.saturating_sub(dead.iter().map(|run| run.bytes).sum());
        self.recent.trim(log);
        for run in &dead {
            uncount(&mut self.segments, run);
        }
        let cut = log.runs.first_mut().and_then(|run| Some((run.clipped(log.first, run.next)?, run)));
        if let Some((kept, run)) = cut {
            let lost = run.bytes - kept.bytes;
            log.bytes = log.bytes.saturating_sub(lost);
            if let Some(segment) = self.segments.get_mut(&run.segment) {
                segment.bytes = segment.bytes.saturating_sub(lost);
            }
            *run = kept;
        }
    }

    fn close(&mut self, id: LogId) {
        self.closed.insert(id);
        let Some(mut log) = self.logs.remove(&id) else { return };
        log.first = log.next;
        self.recent.trim(&mut log);
        for run in &log.runs {
            uncount(&mut self.segments, run);
        }
    }

    /// Adds runs found at open: those of newer segments win, older ones fill the gaps. To be called from the newest segment to the
    /// oldest.
    pub(super) fn adopt(&mut self, id: LogId, found: Run) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let mut from = found.first.max(log.first);
        let mut pieces = Vec::new();
        for run in log.runs.iter().filter(|run| run.next > found.first && run.first < found.next) {
            pieces.extend(found.clipped(from, run.first));
            from = from.max(run.next);
        }
        pieces.extend(found.clipped(from, found.next.min(log.next)));
        for piece in pieces {
            let at = log.runs.partition_point(|run| run.first < piece.first);
            log.put_run(at, piece, self.active, &mut self.segments);
        }
    }

    /// The first offset that an open log should hold and does not.
    pub(super) fn missing(&self) -> Option<(LogId, u64)> {
        self.logs.iter().find_map(|(id, log)| {
            let mut at = log.first;
            for run in &log.runs {
                if run.first > at {
                    break;
                }
                at = at.max(run.next);
            }
            (at < log.next).then_some((*id, at))
        })
    }

    /// Closes the book on the active segment: its runs are found through the footer from now on. Then another one is active.
    pub(super) fn roll(&mut self, sealed: Option<(Seal, &[Row])>, segment: Arc<Segment>) {
        if let Some((seal, rows)) = sealed {
            for row in rows {
                let Some(log) = self.logs.get_mut(&row.log) else { continue };
                let within = |run: &&mut Run| {
                    run.segment == self.active && row.run.first <= run.first && run.next <= row.run.next
                };
                for run in log.runs.iter_mut().filter(within) {
                    run.entries = row.run.entries;
                }
            }
            if let Some(old) = self.segments.get_mut(&self.active) {
                old.seal = Some(seal);
            }
        }
        self.index = SegmentIndex::default();
        self.active = segment.sequence;
        self.segments.insert(segment.sequence, SegmentState { segment, seal: None, runs: 0, bytes: 0 });
    }

    /// The sealed segments before `covered` that hold nothing of any open log.
    pub(super) fn dead(&self, covered: u64) -> impl Iterator<Item = u64> {
        let before = self.segments.range(..covered.min(self.active));
        before.filter(|(_, segment)| segment.runs == 0).map(|(sequence, _)| *sequence)
    }

    /// Where the batch that holds an offset is; of batches in memory as many as the limit may take.
    pub(super) fn source(&self, id: LogId, offset: u64, limit: ReadLimit) -> Source {
        let Some(log) = self.logs.get(&id) else { return Source::Closed };
        if offset < log.first {
            return Source::Trimmed(Offset(log.first));
        }
        if offset >= log.next {
            return Source::End;
        }
        if log.recent.front().is_some_and(|oldest| oldest.first.0 <= offset) {
            let from = log.recent.partition_point(|batch| batch.next().0 <= offset);
            let mut bytes = 0_usize;
            let within = |batch: &&StoredBatch| {
                let room = bytes <= limit.bytes;
                bytes = bytes.saturating_add(batch.payload.len());
                room
            };
            let batches = log.recent.iter().skip(from).take(limit.batches.max(1)).take_while(within);
            return Source::Recent(batches.cloned().collect());
        }
        let run = log.runs.get(log.runs.partition_point(|run| run.next <= offset));
        run.and_then(|run| self.run_read(id, offset, *run)).map_or(Source::End, Source::File)
    }

    /// What is needed to read a run from an offset on.
    pub(super) fn run_read(&self, log: LogId, offset: u64, run: Run) -> Option<RunRead> {
        let SegmentState { segment, seal, .. } = self.segments.get(&run.segment)?;
        let open = seal.is_none().then(|| self.index.entries_from(log, offset));
        Some(RunRead { segment: Arc::clone(segment), log, run, open })
    }

    /// The extent of a log.
    pub(super) fn bounds(&self, id: LogId) -> Option<Bounds> {
        let log = self.logs.get(&id)?;
        Some(Bounds {
            first: Offset(log.first),
            next: Offset(log.next),
            last_time: Time(log.last_time),
            bytes: log.bytes,
        })
    }

    /// Documents whose keys begin with a prefix.
    pub(super) fn scan(
        &self,
        prefix: &Bytes,
        after: Option<&Bytes>,
        limit: usize,
        order: Order,
    ) -> Vec<(Bytes, Document)> {
        let beyond = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let start = Bound::Included(prefix.clone());
        let copy = |(key, document): (&Bytes, &Document)| (key.clone(), document.clone());
        match (order, after) {
            (Order::Ascending, Some(after)) if after >= prefix => {
                let range = (Bound::Excluded(after.clone()), beyond);
                if !in_order(&range) {
                    return Vec::new();
                }
                self.documents.range(range).take(limit).map(copy).collect()
            }
            (Order::Ascending, _) => self.documents.range((start, beyond)).take(limit).map(copy).collect(),
            (Order::Descending, Some(after)) if after < prefix => Vec::new(),
            (Order::Descending, after) => {
                let end = match (after, beyond) {
                    (Some(after), Bound::Excluded(beyond)) if *after >= beyond => Bound::Excluded(beyond),
                    (Some(after), _) => Bound::Excluded(after.clone()),
                    (None, beyond) => beyond,
                };
                self.documents.range((start, end)).rev().take(limit).map(copy).collect()
            }
        }
    }
}

/// Whether a range's begin lies before its end.
fn in_order(range: &(Bound<Bytes>, Bound<Bytes>)) -> bool {
    match range {
        (Bound::Excluded(from), Bound::Excluded(to)) => from < to,
        _ => true,
    }
}

/// The smallest key that is greater than all keys with this prefix.
fn prefix_end(prefix: &Bytes) -> Option<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(more) = last.checked_add(1) {
            end.push(more);
            return Some(Bytes::from(end));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::index::EntriesAt;
    use super::*;

    const ID: LogId = LogId(1);

    fn run(segment: u64, first: u64, next: u64) -> Run {
        Run { segment, first, next, last_time: 0, bytes: next - first, entries: EntriesAt::default() }
    }

    fn state(first: u64, next: u64) -> State {
        let log = Log { first, next, ..Log::default() };
        State { logs: BTreeMap::from([(ID, log)]), active: 9, ..State::default() }
    }

    fn runs(state: &State) -> Vec<(u64, u64, u64)> {
        state.logs[&ID].runs.iter().map(|run| (run.segment, run.first, run.next)).collect()
    }

    #[test]
    fn of_two_copies_the_newer_wins_and_the_older_fills_the_gaps() {
        let mut state = state(2, 30);
        state.adopt(ID, run(8, 20, 30));
        state.adopt(ID, run(7, 5, 10));
        state.adopt(ID, run(3, 0, 22));
        assert_eq!(runs(&state), [(3, 2, 5), (7, 5, 10), (3, 10, 20), (8, 20, 30)]);
        assert_eq!(state.missing(), None);
    }

    #[test]
    fn an_offset_that_no_segment_holds_is_missing() {
        let mut state = state(5, 30);
        state.adopt(ID, run(8, 20, 30));
        state.adopt(ID, run(7, 0, 19));
        assert_eq!(state.missing(), Some((ID, 19)));
    }

    #[test]
    fn a_moved_batch_takes_the_place_of_its_original() {
        let mut state = state(0, 10);
        state.adopt(ID, run(3, 0, 10));
        state.relocate(ID, run(9, 4, 6));
        assert_eq!(runs(&state), [(3, 0, 4), (9, 4, 6), (3, 6, 10)]);
        state.relocate(ID, run(9, 6, 8));
        assert_eq!(runs(&state), [(3, 0, 4), (9, 4, 8), (3, 8, 10)]);
        assert_eq!(state.logs[&ID].bytes, 10);
        // Not there any more: moved, or trimmed.
        state.relocate(ID, run(9, 4, 6));
        state.trim(ID, 8);
        state.relocate(ID, run(9, 6, 8));
        assert_eq!(runs(&state), [(3, 8, 10)]);
    }

    #[test]
    fn the_newest_closed_logs_are_remembered() {
        let mut closed = ClosedLogs::default();
        for id in 0..=CLOSED_REMEMBERED as u128 {
            closed.insert(LogId(id));
        }
        assert!(!closed.contains(LogId(0)) && closed.contains(LogId(1)));
        assert_eq!(closed.iter().count(), CLOSED_REMEMBERED);
    }
}
