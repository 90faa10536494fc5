//! A report on a stopped store: what it holds, and whether every checksum holds.
//!
//! Owns the plain structures that a command prints. Changes nothing but the lock file, which it needs so that nobody
//! writes meanwhile.

use super::file::{Seal, Segment};
use super::index::{Entry, Row};
use super::lock;
use super::recovery::{self, Loaded};
use super::vfs::Vfs;
use crate::storage::{Bounds, LogId, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a store's directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the store was stopped cleanly.
    pub clean: bool,
    /// Open logs in id order.
    pub logs: Vec<LogReport>,
    /// Documents by kind: the key's part before the first `/`.
    pub documents: BTreeMap<String, DocumentKind>,
    /// Segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Places where a checksum does not hold, each with file and position.
    pub damage: Vec<String>,
}

/// An open log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// Which.
    pub id: LogId,
    /// Its extent, and the bytes it takes.
    pub bounds: Bounds,
}

/// The documents of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentKind {
    /// How many.
    pub count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file's name in the directory.
    pub file: String,
    /// The file's length.
    pub bytes: u64,
    /// Bytes of its groups.
    pub used: u64,
    /// How many groups and records it has.
    pub groups: u64,
    /// How many records.
    pub records: u64,
    /// Whether it has its footer.
    pub sealed: bool,
}

/// Reads a stopped store's directory and checks every checksum in it. Refuses one that is in use or does not open. Blocks: reads
/// every byte once.
pub fn inspect(dir: &Path, vfs: &dyn Vfs) -> Result<Report> {
    let _lock = lock(vfs, dir)?;
    let mut loaded = recovery::load(vfs, dir)?;
    loaded.adopt_runs()?;
    let mut report = Report { clean: loaded.clean, ..Report::default() };
    let Loaded { state, .. } = &loaded;
    for id in state.logs.keys() {
        report.logs.extend(state.bounds(*id).map(|bounds| LogReport { id: *id, bounds }));
    }
    for (key, document) in &state.documents {
        let kind = key.split(|byte| *byte == b'/').next().unwrap_or_default();
        let kind = report.documents.entry(kind.escape_ascii().to_string()).or_default();
        kind.count += 1;
        kind.bytes += (key.len() + document.value.len()) as u64;
    }
    for found in state.segments.values() {
        let segment = segment_report(&found.segment, found.seal, &mut report.damage);
        report.segments.push(segment);
    }
    Ok(report)
}

fn segment_report(segment: &Arc<Segment>, seal: Option<Seal>, damage: &mut Vec<String>) -> SegmentReport {
    let bytes = segment.file.size().unwrap_or(0);
    let mut report =
        SegmentReport { file: segment.name(), bytes, used: 0, groups: 0, records: 0, sealed: seal.is_some() };
    let scanned = recovery::scan(segment, seal, |_, _, _, _| report.records += 1);
    match scanned {
        Ok(end) => {
            report.used = end.end;
            report.groups = end.next_group - segment.first_group;
        }
        Err(error) => damage.push(error.to_string()),
    }
    if let Some(seal) = seal {
        match segment.rows(&seal) {
            Ok(rows) => damage.extend(rows.iter().filter_map(|row| index_damage(segment, row))),
            Err(error) => damage.push(error.to_string()),
        }
    }
    report
}

/// What is wrong with the index of one run, if anything.
fn index_damage(segment: &Segment, row: &Row) -> Option<String> {
    let at = row.run.entries;
    let mut bytes = vec![0; at.count as usize * Entry::LEN];
    let read = segment.file.read_at(&mut bytes, u64::from(at.position));
    let holds = read.is_ok() && crc32c::crc32c_append(segment.seed, &bytes) == at.crc;
    (!holds).then(|| segment.damage(u64::from(at.position), "the index's checksum does not hold").to_string())
}
