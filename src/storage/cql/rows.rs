//! What stands in the tables, as values of ours.
//!
//! Owns the rows' shapes and how offsets, times and ids become numbers that CQL has (signed, 64 bits). Sends nothing.

use super::session::Present;
use crate::storage::{Bounds, LogId, Nonce, Offset, StoredBatch, Time};
use bytes::Bytes;
use scylla::DeserializeRow;
use scylla::value::CqlValue;
use uuid::Uuid;

/// A segment takes appends.
pub(super) const OPEN: i8 = 0;
/// A segment is full; the next one goes on from its end.
pub(super) const SEALED: i8 = 1;

/// The head of a log.
#[derive(Clone, Debug, DeserializeRow)]
pub(super) struct Head {
    pub(super) version: i64,
    pub(super) cur_seg: i64,
    pub(super) cur_base: i64,
    pub(super) first_offset: i64,
    pub(super) first_bytes: i64,
    pub(super) closed: bool,
}

/// The static columns of a segment.
#[derive(Clone, Copy, Debug, DeserializeRow)]
pub(super) struct Tail {
    pub(super) next: i64,
    pub(super) state: i8,
    /// Absent on a segment that was never made but fenced.
    pub(super) last_ts: Option<i64>,
    pub(super) bytes: Option<i64>,
    pub(super) base_bytes: Option<i64>,
    pub(super) batches: Option<i64>,
    pub(super) began: Option<i64>,
}

/// A batch without its payload.
#[derive(Clone, Copy, Debug, DeserializeRow)]
pub(super) struct BatchAt {
    pub(super) base: i64,
    pub(super) cnt: i32,
    pub(super) ts: i64,
    /// Payload bytes of the log before it.
    pub(super) cum: i64,
}

impl BatchAt {
    /// The offset after its last.
    pub(super) fn end(&self) -> i64 {
        self.base.saturating_add(i64::from(self.cnt))
    }
}

/// What sizes are counted from; several rows for a batch of several parts.
#[derive(Clone, Copy, Debug, DeserializeRow)]
pub(super) struct Size {
    pub(super) base: i64,
    pub(super) cnt: i32,
    pub(super) cum: i64,
}

/// One row of a batch.
#[derive(Clone, Debug, DeserializeRow)]
pub(super) struct PartRow {
    pub(super) base: i64,
    pub(super) part: i32,
    pub(super) parts: i32,
    pub(super) cnt: i32,
    pub(super) ts: i64,
    pub(super) w: Uuid,
    pub(super) ws: i64,
    pub(super) data: Option<Bytes>,
}

/// Who did something.
#[derive(Clone, Copy, Debug, DeserializeRow)]
pub(super) struct Author {
    pub(super) w: Uuid,
    pub(super) ws: i64,
}

/// Where a segment begins.
#[derive(Clone, Copy, Debug, DeserializeRow)]
pub(super) struct SegmentAt {
    pub(super) base: i64,
    pub(super) seg: i64,
    /// No batch of it is older.
    pub(super) ts: i64,
}

impl Author {
    /// Whether it was this nonce's.
    pub(super) fn is(&self, nonce: Nonce) -> bool {
        self.w.as_u128() == nonce.writer && self.ws == nonce.sequence.cast_signed()
    }
}

/// What a refused append shows.
#[derive(Debug, Default)]
pub(super) struct PresentTail {
    pub(super) next: Option<i64>,
    pub(super) state: Option<i8>,
}

impl Present for PresentTail {
    fn take(&mut self, column: &str, value: &CqlValue) {
        match column {
            "next" => self.next = value.as_bigint(),
            "state" => self.state = value.as_tinyint(),
            _ => {}
        }
    }
}

/// What a refused creation of a log shows.
#[derive(Debug, Default)]
pub(super) struct PresentHead {
    w: Option<Uuid>,
    ws: Option<i64>,
    pub(super) closed: bool,
}

impl PresentHead {
    /// Whether the log was made with this nonce.
    pub(super) fn is(&self, nonce: Nonce) -> bool {
        self.w.zip(self.ws).is_some_and(|(w, ws)| Author { w, ws }.is(nonce))
    }
}

impl Present for PresentHead {
    fn take(&mut self, column: &str, value: &CqlValue) {
        match column {
            "w" => self.w = value.as_uuid(),
            "ws" => self.ws = value.as_bigint(),
            "closed" => self.closed = value.as_boolean().unwrap_or_default(),
            _ => {}
        }
    }
}

/// The extent of a log.
pub(super) fn bounds(head: &Head, tail: Option<&Tail>) -> Bounds {
    let (next, last, bytes) = tail.map_or((head.cur_base, 0, head.first_bytes), |tail| {
        (tail.next, tail.last_ts.unwrap_or_default(), tail.bytes.unwrap_or_default())
    });
    Bounds {
        first: offset(head.first_offset),
        next: offset(next),
        last_time: time(last),
        bytes: unsigned(bytes.saturating_sub(head.first_bytes)),
    }
}

/// The batches of rows in order, and whether the last one is missing parts (its rows are then left out).
pub(super) fn batches(rows: Vec<PartRow>) -> (Vec<StoredBatch>, bool) {
    let mut found = Vec::new();
    let mut parts: Vec<Bytes> = Vec::new();
    for row in rows {
        if row.part == 0 {
            parts.clear();
        }
        parts.push(row.data.unwrap_or_default());
        if row.part + 1 < row.parts {
            continue;
        }
        let payload = if parts.len() == 1 { parts.pop().unwrap_or_default() } else { Bytes::from(parts.concat()) };
        parts.clear();
        found.push(StoredBatch {
            first: offset(row.base),
            count: row.cnt.cast_unsigned(),
            time: time(row.ts),
            nonce: Nonce { writer: row.w.as_u128(), sequence: row.ws.cast_unsigned() },
            payload,
        });
    }
    (found, !parts.is_empty())
}

/// A log's id as CQL has it.
pub(super) fn id(log: LogId) -> Uuid {
    Uuid::from_u128(log.0)
}

/// An offset as CQL has it; none is that large that it would be cut.
pub(super) fn number(offset: Offset) -> i64 {
    signed(offset.0)
}

/// A number as CQL has it, at most the largest one.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// An offset of ours.
pub(super) fn offset(number: i64) -> Offset {
    Offset(unsigned(number))
}

/// A time of ours.
pub(super) fn time(micros: i64) -> Time {
    Time(unsigned(micros))
}
