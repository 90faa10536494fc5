//! A log's life: made, appended to, rolled into a new segment, trimmed, closed.
//!
//! An append is one conditional batch on the static columns of the log's open segment: they hold the tail, so a writer with another
//! tail in mind is refused for ever. Owns the order of steps that makes each change safe against every other, at any node and after
//! any stop. What a node remembers of a log only saves reads: the conditions decide.

use super::Cluster;
use super::rows::{
    self, Author, Head, OPEN, PresentHead, PresentTail, SEALED, SegmentAt, Tail, id, number, offset, signed,
};
use super::session::{Decision, values};
use super::statements::{DATA, PART_BYTES};
use crate::storage::{Append, Batch, Bounds, Created, LogId, Nonce, Offset, Result, StoreError, Time};
use bytes::Bytes;
use futures_util::StreamExt;

/// How often a call looks at a log anew before it says that the log does not hold still.
const TURNS: usize = 64;
/// Segments that are forgotten at a time.
const FORGET_AT_A_TIME: usize = 16;

/// What an append needs to know of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    seg: i64,
    tail: Tail,
}

/// What became of an append to a segment.
enum Added {
    Done(View, Time),
    /// The log goes on from this offset.
    Behind(Offset),
    /// The segment takes no appends; the log is to be looked at anew.
    Moved,
}

impl Cluster {
    /// Contract 1. The head decides who makes the log; its first segment may be made by whoever finds it missing.
    pub(super) async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        let Ok(base) = i64::try_from(first.0) else { return Err(no_offsets(first)) };
        if self.head(log).await?.is_some() {
            return Ok(Created::Exists);
        }
        let nonce = self.nonce();
        let (w, ws) = (uuid::Uuid::from_u128(nonce.writer), nonce.sequence.cast_signed());
        self.session.write(&self.statements.add_log, values! { bucket: bucket(log), log: key(log) }).await?;
        let values = values! { log: id(log), first: base, w: w, ws: ws };
        match self.session.settle::<PresentHead>(&self.statements.create_head, values).await? {
            Decision::Applied => {}
            Decision::Refused { present, doubt: true } if present.is(nonce) => {}
            Decision::Refused { present, .. } => {
                if present.closed {
                    self.forget_log(log).await?;
                }
                return Ok(Created::Exists);
            }
        }
        // The log is made already: a failure here leaves its first segment to whoever needs it.
        if let Err(error) = self.create_segment(log, 0, base, (0, 0)).await {
            tracing::debug!(%log, %error, "the first segment is left to be made later");
        }
        Ok(Created::Made)
    }

    /// Contract 2 to 7. One append of this process to a log at a time: others would only be refused.
    pub(super) async fn append(&self, log: LogId, expected: Offset, batch: Batch) -> Result<Append> {
        let seat = self.seats.of(log);
        let mut seat = seat.lock().await;
        // Whatever breaks this off leaves nothing that may be wrong.
        let mut known = seat.take().filter(|view| offset(view.tail.next) == expected);
        for _ in 0..TURNS {
            let view = match known.take() {
                Some(view) => view,
                None => match self.look(log).await? {
                    Some(view) => view,
                    None => return Ok(Append::Closed),
                },
            };
            if offset(view.tail.next) != expected {
                let next = offset(view.tail.next);
                *seat = Some(view);
                return Ok(Append::Conflict { next });
            }
            if self.is_full(&view) {
                self.seal(log, &view).await?;
                continue;
            }
            match self.add(log, &view, &batch).await? {
                Added::Done(view, time) => {
                    *seat = Some(view);
                    return Ok(Append::Appended { first: expected, time });
                }
                Added::Behind(next) => return Ok(Append::Conflict { next }),
                Added::Moved => {}
            }
        }
        Err(restless(log))
    }

    async fn add(&self, log: LogId, view: &View, batch: &Batch) -> Result<Added> {
        let (tail, base) = (view.tail, view.tail.next);
        let Some(next) = base.checked_add(i64::from(batch.count)) else { return Err(no_offsets(offset(base))) };
        let cum = tail.bytes.unwrap_or_default();
        let ts = signed(batch.time.0).max(tail.last_ts.unwrap_or_default());
        let after = Tail {
            next,
            last_ts: Some(ts),
            bytes: Some(cum.saturating_add(signed(batch.payload.len() as u64))),
            batches: Some(tail.batches.unwrap_or_default().saturating_add(1)),
            ..tail
        };
        let parts = parts(&batch.payload);
        let Some(statement) = self.statements.append.get(parts.len().saturating_sub(1)) else {
            let limit = crate::storage::BATCH_BYTES_MAX;
            return Err(StoreError::TooLarge { what: "a batch", size: batch.payload.len(), limit });
        };
        let (log_id, w) = (id(log), uuid::Uuid::from_u128(batch.nonce.writer));
        let (ws, cnt) = (batch.nonce.sequence.cast_signed(), batch.count.cast_signed());
        let count = i32::try_from(parts.len()).unwrap_or(i32::MAX);
        let mut values = values! {
            log: log_id, seg: view.seg, base: base, next: next, ts: ts, bytes: after.bytes, batches: after.batches,
            parts: count, cnt: cnt, w: w, ws: ws, cum: cum,
        };
        values.extend(DATA.into_iter().zip(&parts).map(|(name, part)| (name, Box::new(part) as _)));
        let done = Added::Done(View { tail: after, ..*view }, rows::time(ts));
        match self.session.settle::<PresentTail>(statement, values).await? {
            Decision::Applied => Ok(done),
            Decision::Refused { present, doubt: false } => Ok(behind(&present)),
            Decision::Refused { present, doubt: true } => match self.author(log, view.seg, base).await? {
                Some(author) if author.is(batch.nonce) => Ok(done),
                Some(_) => Ok(behind(&present)),
                // Nothing was ever appended here: the segment was sealed first.
                None if present.next == Some(base) => Ok(Added::Moved),
                None => Err(StoreError::Unknown(format!("offset {base} of {log} is trimmed"))),
            },
        }
    }

    /// Whose batch begins at this offset, decided. An append depends on it, so a failure leaves its outcome unknown.
    async fn author(&self, log: LogId, seg: i64, base: i64) -> Result<Option<Author>> {
        let statement = &self.statements.decided_batch;
        for _ in 0..3 {
            match self.session.read_one(statement, values! { log: id(log), seg: seg, base: base }).await {
                Ok(author) => return Ok(author),
                Err(error) => tracing::debug!(%log, base, %error, "whose batch it is could not be read"),
            }
            super::session::pause().await;
        }
        Err(StoreError::Unknown(format!("whose batch stands at {base} of {log} could not be read")))
    }

    /// What an append needs to know; none when there is no such open log. Finishes what others left unfinished.
    async fn look(&self, log: LogId) -> Result<Option<View>> {
        for _ in 0..TURNS {
            let Some(head) = self.head(log).await?.filter(|head| !head.closed) else { return Ok(None) };
            match self.tail(log, head.cur_seg).await? {
                Some(tail) if tail.state == OPEN => return Ok(Some(View { seg: head.cur_seg, tail })),
                Some(tail) if tail.state == SEALED => self.finish_roll(log, head.cur_seg).await?,
                // A fence: the log is being closed.
                Some(_) => return Ok(None),
                None if head.cur_seg == 0 => self.create_segment(log, 0, head.cur_base, (0, 0)).await?,
                None => return Err(StoreError::Corrupt(format!("{log}: its segment {} is gone", head.cur_seg))),
            }
        }
        Err(restless(log))
    }

    fn is_full(&self, view: &View) -> bool {
        let (tail, roll) = (view.tail, self.roll);
        let batches = tail.batches.unwrap_or_default();
        let bytes = tail.bytes.unwrap_or_default().saturating_sub(tail.base_bytes.unwrap_or_default());
        let age = signed(self.session.clock.wall()).saturating_sub(tail.began.unwrap_or_default());
        let age_max = i64::try_from(roll.age.as_micros()).unwrap_or(i64::MAX);
        batches > 0 && (bytes >= signed(roll.bytes) || batches >= signed(roll.batches) || age >= age_max)
    }

    /// Lets a segment take no more appends. Whether it was us or somebody else who did it is all the same.
    async fn seal(&self, log: LogId, view: &View) -> Result<()> {
        let values = values! { log: id(log), seg: view.seg, next: view.tail.next };
        not_begun(self.session.settle::<()>(&self.statements.seal_segment, values).await).map(drop)
    }

    /// Makes the segment after a sealed one current. All that is written follows from the sealed one's end, so any number of nodes
    /// may do this at once and any of them may stop anywhere.
    async fn finish_roll(&self, log: LogId, sealed: i64) -> Result<()> {
        let Some(head) = self.decided_head(log).await? else { return Ok(()) };
        let Some(tail) = self.decided_tail(log, sealed).await? else { return Ok(()) };
        if head.closed || head.cur_seg != sealed || tail.state != SEALED {
            return Ok(());
        }
        let (seg, base) = (sealed + 1, tail.next);
        self.create_segment(log, seg, base, (tail.last_ts.unwrap_or_default(), tail.bytes.unwrap_or_default())).await?;
        let values = values! { log: id(log), seg: seg, base: base, old: head.version, new: head.version + 1 };
        not_begun(self.session.settle::<()>(&self.statements.roll_head, values).await).map(drop)
    }

    /// Makes a segment unless it is there: first findable, then open.
    async fn create_segment(&self, log: LogId, seg: i64, base: i64, (ts, bytes): (i64, i64)) -> Result<()> {
        let found = values! { log: id(log), base: base, seg: seg, ts: ts };
        self.session.write(&self.statements.add_segment, found).await?;
        let began = signed(self.session.clock.wall());
        let values = values! { log: id(log), seg: seg, next: base, ts: ts, bytes: bytes, began: began };
        not_begun(self.session.settle::<()>(&self.statements.create_segment, values).await).map(drop)
    }

    /// The extent of a log.
    pub(super) async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        let Some(head) = self.head(log).await?.filter(|head| !head.closed) else { return Ok(None) };
        let tail = self.tail(log, head.cur_seg).await?;
        Ok(Some(rows::bounds(&head, tail.as_ref())))
    }

    /// Contract 12. The head first: readers are cut off before anything goes.
    pub(super) async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        for _ in 0..TURNS {
            let Some(head) = self.head(log).await?.filter(|head| !head.closed) else { return Ok(()) };
            let Some(tail) = self.tail(log, head.cur_seg).await? else { return Ok(()) };
            let first = number(before).min(tail.next);
            if first <= head.first_offset {
                return Ok(());
            }
            let bytes = if first == tail.next {
                tail.bytes
            } else {
                self.holder(log, &head, first).await?.map(|(_, batch)| batch.cum)
            };
            // Somebody else trimmed further just now.
            let Some(bytes) = bytes else { continue };
            let values = values! { log: id(log), first: first, bytes: bytes, old: head.version, new: head.version + 1 };
            if let Decision::Applied = self.session.settle::<()>(&self.statements.trim_head, values).await? {
                return self.forget_before(log, first).await;
            }
        }
        Err(restless(log))
    }

    /// Contract 13. The head first, so that no segment is made any more; then the fence, so that no append is taken any more; then
    /// the space.
    pub(super) async fn close(&self, log: LogId) -> Result<()> {
        let mut turns = 0..TURNS;
        let head = loop {
            let Some(head) = self.decided_head(log).await? else { return Ok(()) };
            if head.closed {
                break head;
            }
            let values = values! { log: id(log), old: head.version, new: head.version + 1 };
            self.session.settle::<()>(&self.statements.close_head, values).await?;
            turns.next().ok_or_else(|| restless(log))?;
        };
        let (log_id, seg) = (id(log), head.cur_seg);
        let end = loop {
            match self.decided_tail(log, seg).await? {
                None => {
                    let values = values! { log: log_id, seg: seg, next: head.cur_base };
                    self.session.settle::<()>(&self.statements.fence_segment, values).await?;
                }
                Some(tail) if tail.state == OPEN => {
                    self.session
                        .settle::<()>(&self.statements.close_segment, values! { log: log_id, seg: seg })
                        .await?;
                }
                Some(tail) => break tail.next,
            }
            turns.next().ok_or_else(|| restless(log))?;
        };
        self.seats.forget(log);
        self.forget_log(log).await?;
        let segments: Vec<SegmentAt> = self.segments(log, 0).await?;
        self.forget_segments(log, &segments, end).await
    }

    /// Gives back the segments that end at or before this offset; the one that takes appends is never among them.
    async fn forget_before(&self, log: LogId, first: i64) -> Result<()> {
        let values = values! { log: id(log), at: first };
        let Some(kept) = self.session.read_one::<SegmentAt>(&self.statements.segment_at, values).await? else {
            return Ok(());
        };
        let segments: Vec<SegmentAt> = self.segments(log, 0).await?;
        let gone: Vec<SegmentAt> = segments.into_iter().take_while(|segment| segment.base < kept.base).collect();
        if gone.is_empty() { Ok(()) } else { self.forget_segments(log, &gone, kept.base).await }
    }

    /// Takes the batches of these segments, which end at `end`, then the segments themselves; their fences stay.
    async fn forget_segments(&self, log: LogId, segments: &[SegmentAt], end: i64) -> Result<()> {
        let ends = segments.iter().skip(1).map(|segment| segment.base).chain([end]);
        let spans: Vec<(i64, i64)> = segments.iter().map(|segment| segment.seg).zip(ends).collect();
        let forgotten = futures_util::stream::iter(spans).map(|(seg, to)| async move {
            self.session.write(&self.statements.forget_batches, values! { log: id(log), seg: seg, hi: to }).await
        });
        let results: Vec<Result<()>> = forgotten.buffer_unordered(FORGET_AT_A_TIME).collect().await;
        results.into_iter().collect::<Result<()>>()?;
        let Some(last) = segments.last() else { return Ok(()) };
        self.session.write(&self.statements.forget_segments, values! { log: id(log), hi: last.base + 1 }).await
    }

    /// The open logs of the index, in id order.
    pub(super) async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        let (from, mut lowest) = after.map_or((0, Vec::new()), |after| (bucket(after), key(after)));
        let mut found: Vec<LogId> = Vec::new();
        for bucket in from..BUCKETS {
            let n = i32::try_from(limit.saturating_sub(found.len())).unwrap_or(i32::MAX);
            if n == 0 {
                break;
            }
            let values = values! { bucket: bucket, after: &lowest, n: n };
            let rows: Vec<(Vec<u8>,)> = self.session.read(&self.statements.logs_after, values).await?;
            let ids = rows.into_iter().filter_map(|(log,)| <[u8; 16]>::try_from(log).ok());
            found.extend(ids.map(|bytes| LogId(u128::from_be_bytes(bytes))));
            lowest = Vec::new();
        }
        Ok(found)
    }

    async fn forget_log(&self, log: LogId) -> Result<()> {
        self.session.write(&self.statements.forget_log, values! { bucket: bucket(log), log: key(log) }).await
    }

    /// The head at a quorum.
    pub(super) async fn head(&self, log: LogId) -> Result<Option<Head>> {
        self.session.read_one(&self.statements.head, values! { log: id(log) }).await
    }

    /// The head after everything undecided was brought to its end.
    pub(super) async fn decided_head(&self, log: LogId) -> Result<Option<Head>> {
        self.session.read_one(&self.statements.decided_head, values! { log: id(log) }).await
    }

    /// A segment's tail at a quorum; none when the segment was not made.
    pub(super) async fn tail(&self, log: LogId, seg: i64) -> Result<Option<Tail>> {
        self.session.read_one(&self.statements.tail, values! { log: id(log), seg: seg }).await
    }

    /// A segment's tail after everything undecided was brought to its end.
    pub(super) async fn decided_tail(&self, log: LogId, seg: i64) -> Result<Option<Tail>> {
        self.session.read_one(&self.statements.decided_tail, values! { log: id(log), seg: seg }).await
    }

    /// The segments that begin at or after an offset.
    pub(super) async fn segments(&self, log: LogId, from: i64) -> Result<Vec<SegmentAt>> {
        self.session.read(&self.statements.segments_from, values! { log: id(log), lo: from }).await
    }

    /// A nonce of this process that nobody has used.
    pub(super) fn nonce(&self) -> Nonce {
        let sequence = self.sequence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Nonce { writer: self.writer, sequence }
    }
}

/// A step before the append itself: when its outcome is unknown, the append is certain not to have been made.
fn not_begun<T>(outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| match error {
        StoreError::Unknown(why) => StoreError::Unavailable(why),
        other => other,
    })
}

/// What a refused append says of the log.
fn behind(present: &PresentTail) -> Added {
    match (present.next, present.state) {
        (Some(next), Some(OPEN)) => Added::Behind(offset(next)),
        _ => Added::Moved,
    }
}

/// The payload in parts of one row each; an empty one has one part too.
fn parts(payload: &Bytes) -> Vec<Bytes> {
    let mut rest = payload.clone();
    let mut parts = Vec::new();
    loop {
        parts.push(rest.split_to(rest.len().min(PART_BYTES)));
        if rest.is_empty() {
            return parts;
        }
    }
}

/// Buckets of the index of logs.
const BUCKETS: i32 = 16;

/// The index's bucket of a log: the buckets' order is that of ids.
fn bucket(log: LogId) -> i32 {
    i32::try_from(log.0 >> 124).unwrap_or_default()
}

/// A log's id as bytes in id order.
fn key(log: LogId) -> Vec<u8> {
    log.0.to_be_bytes().to_vec()
}

fn no_offsets(at: Offset) -> StoreError {
    StoreError::Full(format!("the log's offsets end at {at}"))
}

fn restless(log: LogId) -> StoreError {
    StoreError::Unavailable(format!("{log} changes all the time; try again"))
}
