//! Opening: reads checkpoint and footers, replays what is newer, tells a torn end from damage.
//!
//! Owns the rules of what may be missing: only the last group of the last segment after an unclean stop. Everything else
//! that does not hold refuses, naming file and position. [`load`] changes nothing; [`open`] then makes durable what it found and
//! begins a new segment, so that nothing is ever written behind a torn end.

use super::checkpoint::{self, Checkpoint};
use super::file::{DATA_START, Seal, SealFound, Segment, name_of, sequence_of};
use super::group::{GROUP_HEADER, GroupHead, Kind, RECORD_HEADER, Record, RecordHead, SECTOR};
use super::index::{Row, SegmentIndex};
use super::pool::{Pool, SUFFIX};
use super::reader::Window;
use super::state::{SegmentState, State};
use super::vfs::Vfs;
use super::writer::begin_segment;
use crate::storage::{Result, StoreError};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What a scan fetches at a time.
const CHUNK: usize = 1 << 20;

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    /// Segments before this one need no replay.
    pub(super) covered: u64,
    /// How the newest segment ends, if there is one.
    pub(super) last: Option<End>,
    /// Whether the store was stopped cleanly.
    pub(super) clean: bool,
    /// The tables of all segments, oldest first.
    rows: Vec<(u64, Vec<Row>)>,
    spares: Vec<String>,
    leftovers: Vec<String>,
}

/// The end of a segment's groups.
#[derive(Debug)]
pub(super) struct End {
    pub(super) segment: Arc<Segment>,
    pub(super) end: u64,
    pub(super) chain: u32,
    pub(super) next_group: u64,
    /// The index of a segment that has no footer that holds.
    pub(super) index: Option<SegmentIndex>,
    /// Why the group that would follow does not hold.
    pub(super) stopped_by: String,
}

/// Reads a directory without changing it.
pub(super) fn load(vfs: &dyn Vfs, dir: &Path) -> Result<Loaded> {
    let names =
        vfs.list(dir).map_err(|error| StoreError::Open(format!("{} cannot be read: {error}", dir.display())))?;
    let ending = |end: &str| names.iter().filter(|name| name.ends_with(end)).cloned().collect();
    let sequences: BTreeSet<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    let found = Checkpoint::read(vfs, dir)?;
    let clean_at = found.as_ref().map_or((0, 0), |found| (found.segment, found.clean_end));
    let covered = found.as_ref().map_or(1, |found| found.segment);
    check_presence(&sequences, covered, found.is_some())?;
    let mut loaded = Loaded {
        state: found.map(Checkpoint::into_state).unwrap_or_default(),
        covered,
        last: None,
        clean: false,
        rows: Vec::new(),
        spares: ending(SUFFIX),
        leftovers: ending(checkpoint::TEMPORARY),
    };
    let newest = sequences.last().copied().unwrap_or(0);
    for sequence in sequences {
        let clean_end = (clean_at.0 == sequence && clean_at.1 != 0).then_some(clean_at.1);
        loaded.add(vfs, dir, sequence, sequence == newest, clean_end)?;
    }
    Ok(loaded)
}

/// The segments that must be there: all from the checkpoint's on.
fn check_presence(sequences: &BTreeSet<u64>, covered: u64, checkpoint: bool) -> Result<()> {
    let Some(newest) = sequences.last().copied() else {
        if checkpoint {
            let what = format!("{} is missing: the checkpoint needs it", name_of(covered));
            return Err(StoreError::Open(what));
        }
        return Ok(());
    };
    match (covered..=newest.max(covered)).find(|sequence| !sequences.contains(sequence)) {
        Some(missing) => {
            Err(StoreError::Open(format!("{} is missing: put it back or restore a backup", name_of(missing))))
        }
        None => Ok(()),
    }
}

impl Loaded {
    /// Takes in the next segment.
    fn add(&mut self, vfs: &dyn Vfs, dir: &Path, sequence: u64, newest: bool, clean_end: Option<u64>) -> Result<()> {
        let name = name_of(sequence);
        let file = vfs
            .open(&dir.join(&name))
            .map_err(|error| StoreError::Open(format!("{name} cannot be opened: {error}")))?;
        let (segment, seal) = Segment::open(file, sequence)?;
        let segment = Arc::new(segment);
        if let Some(before) = self.last.take().filter(|before| before.segment.sequence + 1 == sequence)
            && (before.chain != segment.chain || before.next_group != segment.first_group)
        {
            return Err(segment.damage(0, &format!("does not continue {}", before.segment.name())));
        }
        let must_be_sealed = !newest || clean_end.is_some();
        let sealed = match (seal, must_be_sealed) {
            (SealFound::Seal(seal), true) => Some((seal, segment.rows(&seal)?)),
            (SealFound::Seal(seal), false) => segment.rows(&seal).ok().map(|rows| (seal, rows)),
            (SealFound::None | SealFound::Damaged, true) => {
                return Err(segment.damage(SECTOR, "the segment's seal does not hold"));
            }
            (SealFound::None | SealFound::Damaged, false) => None,
        };
        if let (Some((seal, _)), Some(clean_end)) = (&sealed, clean_end)
            && seal.end != clean_end
        {
            return Err(segment.damage(seal.end, &format!("the store was stopped at position {clean_end}")));
        }
        self.clean = newest && clean_end.is_some();
        self.take_in(segment, sealed)
    }

    fn take_in(&mut self, segment: Arc<Segment>, sealed: Option<(Seal, Vec<Row>)>) -> Result<()> {
        let sequence = segment.sequence;
        let replay = sealed.as_ref().is_none_or(|(seal, _)| seal.next_group > self.state.group + 1);
        let mut index = SegmentIndex::default();
        let scanned = if replay {
            let after = self.state.group;
            let state = &mut self.state;
            Some(scan(&segment, sealed.as_ref().map(|(seal, _)| *seal), |group, record, position, len| {
                if group > after {
                    state.change(record);
                    state.group = group;
                }
                if matches!(record.kind, Kind::Append | Kind::Moved) {
                    index.add(record.log, record.first, record.count, record.time, position, len);
                }
            })?)
        } else {
            None
        };
        let (rows, seal, end) = match (sealed, scanned) {
            (Some((seal, rows)), _) => {
                let Seal { end, chain, next_group, .. } = seal;
                let stopped_by = String::new();
                (
                    rows,
                    Some(seal),
                    End { segment: Arc::clone(&segment), end, chain, next_group, index: None, stopped_by },
                )
            }
            (None, Some(end)) => (index.encode(end.end, segment.seed).1, None, End { index: Some(index), ..end }),
            (None, None) => return Err(segment.damage(SECTOR, "the segment has no end")),
        };
        self.state.segments.insert(sequence, SegmentState { segment, seal, runs: 0, bytes: 0 });
        self.rows.push((sequence, rows));
        self.last = Some(end);
        Ok(())
    }

    /// Tells every log where its batches are, newest segments first, and checks that none is missing.
    pub(super) fn adopt_runs(&mut self) -> Result<()> {
        for (sequence, rows) in std::mem::take(&mut self.rows).into_iter().rev() {
            for mut row in rows {
                row.run.segment = sequence;
                self.state.adopt(row.log, row.run);
            }
        }
        match self.state.missing() {
            Some((log, offset)) => {
                Err(StoreError::Open(format!("{log} misses offset {offset}: a segment file is missing")))
            }
            None => Ok(()),
        }
    }
}

/// Walks the groups of a segment, giving each record with the group's number, its position and payload length. With a seal every
/// group up to it must hold; without, the first that does not is the end, unless a later one does.
pub(super) fn scan(
    segment: &Arc<Segment>,
    seal: Option<Seal>,
    mut visit: impl FnMut(u64, &Record, u64, usize),
) -> Result<End> {
    let mut window = Window::new(Arc::clone(segment), CHUNK)?;
    let (mut end, mut chain, mut next_group) = (DATA_START, segment.crc, segment.first_group);
    let stopped_by = loop {
        if seal.is_some_and(|seal| seal.end == end) {
            break String::new();
        }
        match group_at(&mut window, segment, end, chain, next_group)? {
            Err(reason) => break reason,
            Ok((head, records)) => {
                for (record, position, len) in &records {
                    visit(head.number, record, end + position, *len);
                }
                end += head.written_len();
                chain = head.crc;
                next_group += 1;
            }
        }
    };
    match seal {
        Some(seal) if (seal.end, seal.chain, seal.next_group) != (end, chain, next_group) => {
            return Err(segment.damage(end, &format!("a group does not hold: {stopped_by}")));
        }
        Some(_) => {}
        None => refuse_later_group(&mut window, segment, end, &stopped_by)?,
    }
    Ok(End { segment: Arc::clone(segment), end, chain, next_group, index: None, stopped_by })
}

/// A group behind the first that does not hold proves that the bytes were whole once.
fn refuse_later_group(window: &mut Window, segment: &Segment, end: u64, reason: &str) -> Result<()> {
    let mut at = end + SECTOR;
    while let Some(bytes) = window.get(at, GROUP_HEADER)? {
        if GroupHead::parse(bytes, segment.seed).is_some() {
            return Err(segment.damage(end, &format!("a group does not hold ({reason}), but a later one at {at} does")));
        }
        at += SECTOR;
    }
    Ok(())
}

/// Records with their positions in the group and payload lengths.
type Records = Vec<(Record, u64, usize)>;

/// The group at a position, checked whole, or why it is none. Payloads are kept of documents only.
fn group_at(
    window: &mut Window,
    segment: &Segment,
    at: u64,
    chain: u32,
    number: u64,
) -> Result<std::result::Result<(GroupHead, Records), String>> {
    let seed = segment.seed;
    let Some(head) = window.get(at, GROUP_HEADER)?.and_then(|bytes| GroupHead::parse(bytes, seed)) else {
        return Ok(Err("the header's checksum does not hold".into()));
    };
    if (head.chain, head.number) != (chain, number) {
        return Ok(Err("it does not continue the group before".into()));
    }
    let len = usize::try_from(head.written_len()).unwrap_or(usize::MAX);
    Ok(match window.get(at, len)? {
        None => Err("it is longer than the file".into()),
        Some(bytes) => {
            records_of(bytes, &head, seed).map(|records| (head, records)).ok_or("a record does not hold".into())
        }
    })
}

fn records_of(group: &[u8], head: &GroupHead, seed: u32) -> Option<Records> {
    let mut records = Vec::with_capacity(head.records.min(4096) as usize);
    let (mut at, mut crc) = (GROUP_HEADER, 0);
    for count in 1..=head.records {
        let header = group.get(at..at.checked_add(RECORD_HEADER)?)?;
        crc = crc32c::crc32c_append(crc, header);
        let record = RecordHead::parse(header, seed)?;
        let body = group.get(at + RECORD_HEADER..)?.get(..record.body_len)?;
        if !record.body_holds(body) || record.last != (count == head.records) {
            return None;
        }
        let (key, payload) = body.split_at_checked(record.key_len)?;
        let keep = |bytes: &[u8]| if record.is_batch() { Bytes::new() } else { Bytes::copy_from_slice(bytes) };
        let RecordHead { kind, log, first, time, nonce, count, .. } = record;
        let whole = Record { kind, log, first, time, nonce, count, key: keep(key), payload: keep(payload) };
        records.push((whole, at as u64, payload.len()));
        at += RECORD_HEADER + record.body_len;
    }
    let padding = group.get(at..)?;
    let holds = at == GROUP_HEADER + head.body_len && crc == head.records_crc && padding.iter().all(|byte| *byte == 0);
    holds.then_some(records)
}

/// Makes durable what was loaded, removes leftovers, and begins the next segment, with `fill` in a file that was written before.
/// Answers the last one's successor and its chain.
pub(super) fn open(
    vfs: &dyn Vfs,
    dir: &Path,
    pool: &Pool,
    mut loaded: Loaded,
    fill: bool,
) -> Result<(Loaded, Arc<Segment>)> {
    let failed = |what: &str, error: std::io::Error| StoreError::Open(format!("{}: {what}: {error}", dir.display()));
    for name in &loaded.leftovers {
        vfs.remove(&dir.join(name)).map_err(|error| failed("removing an unfinished checkpoint", error))?;
    }
    let (mut sequence, mut chain, mut group) = (0, 0, 1);
    if let Some(last) = &mut loaded.last {
        (sequence, chain, group) = (last.segment.sequence, last.chain, last.next_group);
        if !loaded.clean {
            let reason = if last.stopped_by.is_empty() { "nothing was dropped" } else { &last.stopped_by };
            tracing::warn!(
                file = last.segment.name(),
                position = last.end,
                reason,
                "the store was not stopped cleanly; a group begun at this position, never answered, is dropped"
            );
        }
        // Its bytes may have been read from memory only. They must be durable before a seal says so.
        last.segment.file.sync().map_err(|error| failed("syncing the last segment", error))?;
        if let Some(index) = last.index.take() {
            let sealed = last.segment.seal(&index, last.end, last.chain, last.next_group);
            let (seal, rows) = sealed.map_err(|error| failed("sealing the last segment", error))?;
            loaded.rows.retain(|(of, _)| *of != sequence);
            loaded.rows.push((sequence, rows));
            if let Some(state) = loaded.state.segments.get_mut(&sequence) {
                state.seal = Some(seal);
            }
        }
    }
    vfs.sync_dir(dir).map_err(|error| failed("syncing the directory", error))?;
    loaded.adopt_runs()?;
    for name in &loaded.spares {
        pool.adopt(name).map_err(|error| failed("taking in a spare segment", error))?;
    }
    loaded.state.active = sequence + 1;
    for dead in loaded.state.dead(loaded.covered).collect::<Vec<_>>() {
        let file = loaded.state.segments.remove(&dead).map(|state| Arc::clone(&state.segment.file));
        pool.recycle(&name_of(dead), file).map_err(|error| failed("recycling a dead segment", error))?;
    }
    let spare = if fill { pool.take_filled() } else { pool.take() };
    let begun = spare.and_then(|spare| begin_segment(vfs, dir, spare, sequence + 1, chain, group));
    let segment = begun.map_err(|error| failed("no new segment can be begun (is the disk full?)", error))?;
    loaded.state.roll(None, Arc::clone(&segment));
    Ok((loaded, segment))
}
