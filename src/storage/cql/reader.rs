//! Reading a log: slices of one segment after the other, never with a gap.
//!
//! Reads are at a quorum, which shows everything that was answered. Owns where a position lies, how much is asked for at a time, and
//! what a gap means: somebody trimmed, or a decided batch is not everywhere yet; neither is ever skipped. Writes nothing.

use super::Cluster;
use super::rows::{self, BatchAt, Head, PartRow, SegmentAt, Size, id, number, offset, signed};
use super::session::values;
use super::statements::PARTS_MAX;
use crate::storage::{LogId, Position, Read, ReadLimit, Result, StoreError, StoredBatch};

/// Rows of a first look, when nothing is known of their sizes: a few MiB at worst.
const FIRST_ROWS: usize = 32;
/// Rows whose sizes are looked at before more is asked for.
const SIZE_ROWS: i32 = 4_096;
/// Payload bytes of one request, once sizes are known.
const SLICE_BYTES: i64 = 4 << 20;
/// How often a read begins anew because the log changed under it.
const TURNS: usize = 16;

/// Where a read begins.
enum Start {
    /// With the batch that begins here.
    At(i64),
    /// Nowhere: there is nothing at or after the position.
    Nowhere,
    /// The log changed meanwhile.
    Changed,
}

/// What a read found.
enum Found {
    Batches(Vec<StoredBatch>),
    /// No batch begins at the offset.
    NoBatchHere,
    /// The batch that should come next is not there.
    Gap(i64),
}

impl Cluster {
    /// Contract 8 to 11.
    pub(super) async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        let mut gap = None;
        for _ in 0..TURNS {
            let head = if gap.is_none() { self.head(log).await? } else { self.decided_head(log).await? };
            let Some(head) = head.filter(|head| !head.closed) else { return Ok(Read::Closed) };
            if let Position::Offset(at) = from {
                if number(at) < head.first_offset {
                    return Ok(Read::Trimmed { first: offset(head.first_offset) });
                }
                // Readers go from batch to batch: mostly one begins exactly there.
                match self.collect(log, &head, number(at), limit).await? {
                    Found::Batches(batches) => return Ok(Read::Batches(batches)),
                    Found::NoBatchHere => {}
                    Found::Gap(at) => {
                        gap = Some(self.bring_to_its_end(log, at).await?);
                        continue;
                    }
                }
            }
            let start = match self.start(log, &head, from).await? {
                Start::At(base) => base,
                Start::Nowhere => return Ok(Read::Batches(Vec::new())),
                Start::Changed => continue,
            };
            let limit = if from == Position::Tail { ReadLimit { bytes: 0, batches: 1 } } else { limit };
            match self.collect(log, &head, start, limit).await? {
                Found::Batches(batches) => return Ok(Read::Batches(batches)),
                Found::NoBatchHere => gap = Some(self.bring_to_its_end(log, start).await?),
                Found::Gap(at) => gap = Some(self.bring_to_its_end(log, at).await?),
            }
        }
        Err(match gap {
            Some(at) => StoreError::Corrupt(format!("{log}: no batch at offset {at}, and it is not trimmed")),
            None => StoreError::Unavailable(format!("{log} changes all the time; try again")),
        })
    }

    /// Has everything undecided at an offset's segment decided; the offset again.
    async fn bring_to_its_end(&self, log: LogId, at: i64) -> Result<i64> {
        if let Some(segment) = self.segment_at(log, at).await? {
            self.decided_tail(log, segment.seg).await?;
        }
        Ok(at)
    }

    async fn start(&self, log: LogId, head: &Head, from: Position) -> Result<Start> {
        let at = match from {
            Position::Offset(at) => number(at),
            Position::Time(time) => match self.first_since(log, head, signed(time.0)).await? {
                Some(base) => base.max(head.first_offset),
                None => return Ok(Start::Nowhere),
            },
            Position::Tail => return self.newest(log, head).await,
        };
        Ok(match self.holder(log, head, at).await? {
            Some((_, batch)) if batch.end() > at => Start::At(batch.base),
            _ if at >= head.cur_base => Start::Nowhere,
            _ => Start::Changed,
        })
    }

    /// The newest batch; after a roll it may be the last one of the segment before.
    async fn newest(&self, log: LogId, head: &Head) -> Result<Start> {
        let newest = match self.holder(log, head, i64::MAX).await? {
            None if head.cur_base > head.first_offset => self.holder(log, head, head.cur_base - 1).await?,
            found => found,
        };
        Ok(match newest {
            Some((_, batch)) if batch.end() > head.first_offset => Start::At(batch.base),
            None if head.cur_base > head.first_offset => Start::Changed,
            _ => Start::Nowhere,
        })
    }

    /// The last batch that begins at or before an offset, in the segment that the offset lies in.
    pub(super) async fn holder(&self, log: LogId, head: &Head, at: i64) -> Result<Option<(i64, BatchAt)>> {
        let Some(seg) = self.segment_of(log, head, at).await? else { return Ok(None) };
        Ok(self.batch_at(log, seg, at).await?.map(|batch| (seg, batch)))
    }

    async fn batch_at(&self, log: LogId, seg: i64, at: i64) -> Result<Option<BatchAt>> {
        self.session.read_one(&self.statements.batch_at, values! { log: id(log), seg: seg, at: at }).await
    }

    async fn segment_of(&self, log: LogId, head: &Head, at: i64) -> Result<Option<i64>> {
        if at >= head.cur_base {
            return Ok(Some(head.cur_seg));
        }
        Ok(self.segment_at(log, at).await?.map(|segment| segment.seg))
    }

    async fn segment_at(&self, log: LogId, at: i64) -> Result<Option<SegmentAt>> {
        self.session.read_one(&self.statements.segment_at, values! { log: id(log), at: at }).await
    }

    /// Where the first batch begins whose time is not before this one. Times never go back, so segments and batches can be halved;
    /// at most 64 small reads.
    async fn first_since(&self, log: LogId, head: &Head, micros: i64) -> Result<Option<i64>> {
        let mut segments = self.segments(log, 0).await?;
        // One that is just being made is not the log's yet.
        segments.retain(|segment| segment.base <= head.cur_base);
        // The last segment that began before that time, or the first one at all.
        let index = segments.partition_point(|segment| segment.ts < micros).saturating_sub(1);
        let Some(segment) = segments.get(index) else { return Ok(None) };
        let after = segments.get(index + 1).map(|next| next.base);
        let end = match after {
            Some(base) => base,
            None => self.tail(log, segment.seg).await?.map_or(segment.base, |tail| tail.next),
        };
        let (mut low, mut high, mut found) = (segment.base, end, after);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.batch_at(log, segment.seg, middle).await? {
                Some(batch) if batch.ts >= micros => {
                    found = Some(batch.base);
                    high = batch.base;
                }
                Some(batch) => low = batch.end(),
                None => low = middle + 1,
            }
        }
        Ok(found)
    }

    /// The batches from the one that begins at `base` on, as far as the limit goes.
    async fn collect(&self, log: LogId, head: &Head, base: i64, limit: ReadLimit) -> Result<Found> {
        let Some(mut seg) = self.segment_of(log, head, base).await? else { return Ok(Found::NoBatchHere) };
        let (mut found, mut bytes, mut next) = (Vec::<StoredBatch>::new(), 0_usize, base);
        loop {
            let (slice, more) = if found.is_empty() {
                self.first_slice(log, seg, next, limit).await?
            } else {
                let left = limit.bytes.saturating_sub(bytes);
                self.slice(log, seg, next, left, limit.batches.saturating_sub(found.len())).await?
            };
            for batch in slice {
                if batch.first != offset(next) {
                    return Ok(if found.is_empty() { Found::NoBatchHere } else { Found::Gap(next) });
                }
                bytes = bytes.saturating_add(batch.payload.len());
                if !found.is_empty() && (bytes > limit.bytes || found.len() >= limit.batches) {
                    return Ok(Found::Batches(found));
                }
                next = number(batch.next());
                found.push(batch);
            }
            if found.is_empty() && (more || seg == head.cur_seg) {
                return Ok(Found::NoBatchHere);
            }
            if bytes > limit.bytes || found.len() >= limit.batches.max(1) {
                return Ok(Found::Batches(found));
            }
            if more {
                continue;
            }
            if seg == head.cur_seg {
                return Ok(Found::Batches(found));
            }
            match self.segment_at(log, next).await? {
                Some(segment) if segment.base == next && segment.seg > seg => seg = segment.seg,
                _ => return Ok(if found.is_empty() { Found::NoBatchHere } else { Found::Gap(next) }),
            }
        }
    }

    /// A segment's first batches from an offset on, few enough to be asked for unseen; and whether there may be more of them.
    async fn first_slice(&self, log: LogId, seg: i64, from: i64, limit: ReadLimit) -> Result<(Vec<StoredBatch>, bool)> {
        // One batch has so many rows at most.
        let one = limit.bytes == 0 || limit.batches <= 1;
        let wanted = if one { PARTS_MAX } else { FIRST_ROWS };
        let n = i32::try_from(wanted).unwrap_or(i32::MAX);
        let values = values! { log: id(log), seg: seg, lo: from, n: n };
        let rows: Vec<PartRow> = self.session.read(&self.statements.batches_from, values).await?;
        let more = rows.len() >= wanted;
        Ok((rows::batches(rows).0, more))
    }

    /// As many batches from an offset on as these bytes and batches allow, but at least one; and whether there may be more of them.
    async fn slice(
        &self,
        log: LogId,
        seg: i64,
        from: i64,
        bytes: usize,
        batches: usize,
    ) -> Result<(Vec<StoredBatch>, bool)> {
        let values = values! { log: id(log), seg: seg, lo: from, n: SIZE_ROWS };
        let sizes: Vec<Size> = self.session.read(&self.statements.sizes_from, values).await?;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).min(SLICE_BYTES);
        let Some(to) = end_of_slice(&sizes, bytes, batches) else { return Ok((Vec::new(), false)) };
        let values = values! { log: id(log), seg: seg, lo: from, hi: to };
        let rows: Vec<PartRow> = self.session.read(&self.statements.batches_between, values).await?;
        let more = sizes.len() >= usize::try_from(SIZE_ROWS).unwrap_or(usize::MAX)
            || sizes.last().is_some_and(|last| last.base >= to);
        Ok((rows::batches(rows).0, more))
    }
}

/// The offset after the last batch that fits. A batch's own size shows only in what the next one says that came before it; the last
/// one is taken to be small, as it is at most one batch too many.
fn end_of_slice(sizes: &[Size], bytes: i64, batches: usize) -> Option<i64> {
    let first = sizes.first()?;
    let (mut to, mut count) = (first.base.saturating_add(i64::from(first.cnt)), 0_usize);
    let mut last = None;
    for size in sizes {
        if last == Some(size.base) {
            continue;
        }
        if count > 0 && (size.cum.saturating_sub(first.cum) >= bytes || count >= batches) {
            return Some(to);
        }
        to = size.base.saturating_add(i64::from(size.cnt));
        (last, count) = (Some(size.base), count + 1);
    }
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: &[i64]) -> Vec<Size> {
        let mut cum = 7;
        let size = |(index, bytes): (usize, &i64)| {
            let size = Size { base: 10 * index as i64, cnt: 10, cum };
            cum += bytes;
            size
        };
        bytes.iter().enumerate().map(size).collect()
    }

    #[test]
    fn a_slice_ends_where_its_bytes_or_batches_do() {
        let sizes = sizes(&[5, 5, 5, 5]);
        assert_eq!(end_of_slice(&sizes, 0, 9), Some(10), "one batch at least");
        assert_eq!(end_of_slice(&sizes, 10, 9), Some(20));
        assert_eq!(end_of_slice(&sizes, 11, 9), Some(30));
        assert_eq!(end_of_slice(&sizes, i64::MAX, 3), Some(30));
        assert_eq!(end_of_slice(&sizes, i64::MAX, 9), Some(40));
        assert_eq!(end_of_slice(&[], 1, 1), None);
    }

    #[test]
    fn the_parts_of_a_batch_count_once() {
        let mut rows = sizes(&[5, 5]);
        rows.insert(0, rows[0]);
        assert_eq!(end_of_slice(&rows, i64::MAX, 1), Some(10));
    }
}
