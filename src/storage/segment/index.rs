//! Where the batches of a log are: runs, and sparse entries within them.
//!
//! Owns [`Run`] (a dense stretch of one log in one segment: about 64 bytes in memory for each log and segment, whatever the number
//! of batches) and [`SegmentIndex`] (the entries of the segment being written: one per log and 64 KiB; when the segment is sealed
//! they go into its footer and leave memory). Reads no file.

use crate::storage::LogId;
use bytes::{Buf, BufMut};
use std::collections::BTreeMap;

/// A batch gets an entry if it stands at least this far behind the last one of its run that has one.
pub(super) const STRETCH: u64 = 64 << 10;

/// An indexed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) time: u64,
    pub(super) position: u32,
}

impl Entry {
    /// Bytes of one entry in a footer.
    pub(super) const LEN: usize = 20;

    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        Self { offset: bytes.get_u64_le(), time: bytes.get_u64_le(), position: bytes.get_u32_le() }
    }
}

/// A place in a footer: the entries of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct EntriesAt {
    pub(super) position: u32,
    pub(super) count: u32,
    pub(super) crc: u32,
}

/// A dense stretch of a log within one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) segment: u64,
    pub(super) first: u64,
    pub(super) next: u64,
    /// The time of its last batch.
    pub(super) last_time: u64,
    /// Payload bytes; in part an estimate once the run was cut.
    pub(super) bytes: u64,
    /// Where its entries are once its segment is sealed.
    pub(super) entries: EntriesAt,
}

impl Run {
    /// The same run without what lies outside of these bounds; none if nothing is left. Bytes are shared out by offsets.
    pub(super) fn clipped(&self, first: u64, next: u64) -> Option<Self> {
        let (first, next) = (first.max(self.first), next.min(self.next));
        (first < next).then(|| Self { first, next, bytes: self.share(next - first), ..*self })
    }

    /// The bytes that so many of its offsets stand for.
    pub(super) fn share(&self, offsets: u64) -> u64 {
        let all = u128::from(self.next.saturating_sub(self.first)).max(1);
        u64::try_from(u128::from(self.bytes) * u128::from(offsets) / all).unwrap_or(self.bytes)
    }
}

/// A run as a footer's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) log: LogId,
    pub(super) run: Run,
}

impl Row {
    /// Bytes of one row.
    pub(super) const LEN: usize = 60;

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u128_le(self.log.0);
        bytes.put_u64_le(self.run.first);
        bytes.put_u64_le(self.run.next);
        bytes.put_u64_le(self.run.last_time);
        bytes.put_u64_le(self.run.bytes);
        bytes.put_u32_le(self.run.entries.position);
        bytes.put_u32_le(self.run.entries.count);
        bytes.put_u32_le(self.run.entries.crc);
    }

    /// Reads a row of [`Row::LEN`] bytes; the segment is for the caller to fill in.
    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        let log = LogId(bytes.get_u128_le());
        let (first, next) = (bytes.get_u64_le(), bytes.get_u64_le());
        let (last_time, size) = (bytes.get_u64_le(), bytes.get_u64_le());
        let entries = EntriesAt { position: bytes.get_u32_le(), count: bytes.get_u32_le(), crc: bytes.get_u32_le() };
        Self { log, run: Run { segment: 0, first, next, last_time, bytes: size, entries } }
    }
}

/// A run that may still grow.
#[derive(Clone, Debug)]
struct OpenRun {
    next: u64,
    last_time: u64,
    bytes: u64,
    entries: Vec<Entry>,
}

/// The runs of the segment being written, with their entries.
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentIndex {
    runs: BTreeMap<(LogId, u64), OpenRun>,
    entries: usize,
}

impl SegmentIndex {
    /// Notes a batch. Positions within a segment only grow.
    pub(super) fn add(&mut self, log: LogId, first: u64, count: u32, time: u64, position: u64, bytes: usize) {
        let entry = Entry { offset: first, time, position: u32::try_from(position).unwrap_or(u32::MAX) };
        let next = first.saturating_add(u64::from(count));
        let before = self.runs.range_mut((log, 0)..=(log, first)).next_back().map(|(_, run)| run);
        if let Some(run) = before.filter(|run| run.next == first) {
            run.next = next;
            run.last_time = time;
            run.bytes += bytes as u64;
            let far = run.entries.last().is_none_or(|last| position >= u64::from(last.position) + STRETCH);
            if far {
                run.entries.push(entry);
                self.entries += 1;
            }
            return;
        }
        self.runs.insert((log, first), OpenRun { next, last_time: time, bytes: bytes as u64, entries: vec![entry] });
        self.entries += 1;
    }

    /// The entries needed to read from an offset on; empty if the segment does not hold it.
    pub(super) fn entries_from(&self, log: LogId, offset: u64) -> Vec<Entry> {
        let holder = self.runs.range((log, 0)..=(log, offset)).next_back().filter(|(_, run)| offset < run.next);
        let Some((_, run)) = holder else { return Vec::new() };
        let from = run.entries.partition_point(|entry| entry.offset <= offset).saturating_sub(1);
        run.entries.get(from..).unwrap_or_default().to_vec()
    }

    /// Bytes of the footer if it were written after so many more batches, each a run of its own.
    pub(super) fn footer_len(&self, more: usize) -> u64 {
        ((self.runs.len() + more) * Row::LEN + (self.entries + more) * Entry::LEN) as u64
    }

    /// The entries as they stand from `position` on in a footer, and the table's rows.
    pub(super) fn encode(&self, position: u64, seed: u32) -> (Vec<u8>, Vec<Row>) {
        let mut bytes = Vec::with_capacity(self.entries * Entry::LEN);
        let mut rows = Vec::with_capacity(self.runs.len());
        for (&(log, first), run) in &self.runs {
            let begin = bytes.len();
            for entry in &run.entries {
                bytes.put_u64_le(entry.offset);
                bytes.put_u64_le(entry.time);
                bytes.put_u32_le(entry.position);
            }
            let entries = EntriesAt {
                position: u32::try_from(position + begin as u64).unwrap_or(u32::MAX),
                count: u32::try_from(run.entries.len()).unwrap_or(u32::MAX),
                crc: crc32c::crc32c_append(seed, bytes.get(begin..).unwrap_or_default()),
            };
            let run = Run { segment: 0, first, next: run.next, last_time: run.last_time, bytes: run.bytes, entries };
            rows.push(Row { log, run });
        }
        (bytes, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_a_stretch_of_its_run() {
        let mut index = SegmentIndex::default();
        let log = LogId(1);
        for at in 0..200_u64 {
            index.add(log, at, 1, at, 4096 + at * 1024, 1000);
        }
        let entries = index.entries_from(log, 130);
        assert_eq!(entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [128, 192]);
        assert_eq!(index.entries_from(log, 200), []);
        assert_eq!(index.entries_from(LogId(2), 0), []);
    }

    #[test]
    fn a_batch_that_does_not_follow_begins_a_run_of_its_own() {
        let mut index = SegmentIndex::default();
        index.add(LogId(1), 10, 2, 5, 4096, 7);
        index.add(LogId(1), 0, 1, 1, 5000, 7);
        index.add(LogId(1), 12, 1, 6, 6000, 7);
        let rows = index.encode(9000, 1).1;
        assert_eq!(rows.iter().map(|row| (row.run.first, row.run.next)).collect::<Vec<_>>(), [(0, 1), (10, 13)]);
    }

    #[test]
    fn a_clipped_run_keeps_its_share_of_bytes() {
        let run = Run { segment: 1, first: 10, next: 20, last_time: 0, bytes: 100, entries: EntriesAt::default() };
        assert_eq!(run.clipped(15, 99).map(|run| (run.first, run.next, run.bytes)), Some((15, 20, 50)));
        assert_eq!(run.clipped(20, 30), None);
    }
}
