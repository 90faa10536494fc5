//! Reading a topic's batches, with a small cache: consumers read one after the other what stands side by side, and the headers and
//! then the messages of the same batches. What is cached is immutable, so it can be late but never wrong.

use super::TopicActor;
use crate::broker::Broker;
use crate::broker::codec::message::{DataKey, MessageBatch};
use crate::domain::{Error, Offset, Result, Timestamp};
use crate::storage::{LogId, Position, Read, ReadLimit};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much one read fetches ahead.
const READ: ReadLimit = ReadLimit { bytes: 1 << 20, batches: 4_096 };
/// Most reads that one topic keeps: consumers of a fan-out are so far apart that they still find each other's.
const KEPT_READS: usize = 32;
/// Most bytes that all topics keep.
const KEPT_BYTES: usize = 64 << 20;

impl Broker {
    /// The batch of a topic's log at a position; none when there is none.
    pub(in crate::broker) async fn batch_at(&self, log: LogId, from: Position) -> Result<Option<MessageBatch>> {
        match self.inner.read(log, from, ReadLimit { bytes: 0, batches: 1 }).await? {
            Read::Batches(batches) => batches.into_iter().next().map(MessageBatch::open).transpose(),
            Read::Trimmed { .. } | Read::Closed => Ok(None),
        }
    }
}

/// What a read of a topic finds.
#[derive(Debug)]
pub(in crate::broker) enum Found {
    /// Batches in order without a gap, the first one holding the offset asked for; none at the log's end.
    Batches(Vec<MessageBatch>),
    /// The offset is trimmed; this is the first one kept.
    Trimmed(Offset),
    /// The log is gone.
    Closed,
}

/// The newest reads of one topic.
#[derive(Debug, Default)]
pub(super) struct Cache {
    reads: VecDeque<Kept>,
    used: bool,
}

/// One read's batches. Gives its bytes back to the budget when it goes.
#[derive(Debug)]
struct Kept {
    batches: Vec<MessageBatch>,
    bytes: usize,
    budget: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Cache {
    fn get(&mut self, range: &Range<Offset>) -> Option<Vec<MessageBatch>> {
        self.used = true;
        self.reads.iter().find_map(|kept| {
            let found = part(&kept.batches, range);
            (!found.is_empty()).then(|| found.to_vec())
        })
    }

    fn put(&mut self, batches: &[MessageBatch], budget: &Arc<AtomicUsize>) {
        let bytes = batches.iter().map(MessageBatch::bytes).sum();
        let kept = Kept { batches: batches.to_vec(), bytes, budget: Arc::clone(budget) };
        if budget.fetch_add(bytes, Ordering::Relaxed) + bytes <= KEPT_BYTES {
            self.reads.truncate(KEPT_READS - 1);
            self.reads.push_front(kept);
        }
    }

    /// Forgets everything if nobody asked since the last call.
    pub(super) fn forget_unused(&mut self) {
        if !std::mem::replace(&mut self.used, false) {
            self.reads = VecDeque::new();
        }
    }
}

/// The batches that hold the range's beginning and what follows of it; none when its first offset is not among them.
fn part<'a>(batches: &'a [MessageBatch], range: &Range<Offset>) -> &'a [MessageBatch] {
    let begin = batches.partition_point(|batch| batch.next() <= range.start);
    let end = batches.partition_point(|batch| batch.first < range.end);
    let found = batches.get(begin..end).unwrap_or_default();
    if found.first().is_some_and(|batch| batch.first <= range.start) { found } else { &[] }
}

impl TopicActor {
    /// Batches from the range's beginning on: all of it or, when that is much, a beginning of it.
    pub(in crate::broker) async fn read(&self, broker: &Broker, range: Range<Offset>) -> Result<Found> {
        if let Some(found) = self.cache.lock().get(&range) {
            return Ok(Found::Batches(found));
        }
        let from = Position::Offset(crate::storage::Offset(range.start.0));
        match broker.inner.read(self.log, from, READ).await? {
            Read::Batches(batches) => {
                let mut batches: Vec<_> = batches.into_iter().map(MessageBatch::open).collect::<Result<_>>()?;
                if batches.iter().any(MessageBatch::is_sealed) {
                    let key = self.data_key(broker).await?;
                    batches = batches.into_iter().map(|batch| batch.with_key(Arc::clone(&key))).collect();
                }
                if !batches.is_empty() {
                    self.cache.lock().put(&batches, &broker.inner.cached_bytes);
                }
                Ok(Found::Batches(part(&batches, &range).to_vec()))
            }
            Read::Trimmed { first } => Ok(Found::Trimmed(Offset(first.0))),
            Read::Closed => Ok(Found::Closed),
        }
    }

    /// What opens the log's messages.
    async fn data_key(&self, broker: &Broker) -> Result<Arc<DataKey>> {
        let lost = || Error::Damaged(format!("the key of {}, which holds encrypted messages, is not there", self.log));
        let find = async || broker.data_key(self.log).await?.map(Arc::new).ok_or_else(lost);
        self.key.get_or_try_init(find).await.cloned()
    }

    /// What encrypts the log's messages; made if need be.
    pub(in crate::broker) async fn data_key_made(&self, broker: &Broker) -> Result<Arc<DataKey>> {
        let make = async || broker.make_data_key(self.log).await.map(Arc::new);
        self.key.get_or_try_init(make).await.cloned()
    }

    /// Whether encrypted messages of the log are known.
    pub(in crate::broker) fn is_sealed(&self) -> bool {
        self.key.initialized()
    }

    /// When the message at an offset was stored; none when it is gone. Reads one batch at most.
    pub(in crate::broker) async fn stored_at(&self, broker: &Broker, at: Offset) -> Result<Option<Timestamp>> {
        let cached = self.cache.lock().get(&(at..at.plus(1))).and_then(|found| found.first().map(|batch| batch.at));
        if cached.is_some() {
            return Ok(cached);
        }
        let from = Position::Offset(crate::storage::Offset(at.0));
        match broker.inner.read(self.log, from, ReadLimit { bytes: 0, batches: 1 }).await? {
            Read::Batches(batches) => Ok(batches.first().map(|batch| Timestamp(batch.time.0))),
            Read::Trimmed { .. } | Read::Closed => Ok(None),
        }
    }

    /// Gives back what nobody read lately.
    pub(in crate::broker) fn relax(&self) {
        self.cache.lock().forget_unused();
    }
}
