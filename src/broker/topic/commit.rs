//! Group commit: concurrent publishes to a topic wait in one queue, and whoever finds nobody at work sets a task to append what waits
//! until nothing does. One append carries as many whole requests as fit; the next group forms while it is being made durable.
//!
//! A caller that goes away changes nothing: its request is committed with the others, or not at all if the task never got to it.

use super::TopicActor;
use crate::broker::codec::message::{BatchBuilder, MessageBatch, Record, Totals};
use crate::broker::log::{Entry, Outcome};
use crate::broker::{Broker, Receipt};
use crate::domain::{Error, Offset, Resource, Result, Timestamp};
use crate::storage::{BATCH_COUNT_MAX, Nonce, Position, Purpose, Read, ReadLimit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most bytes that wait for one topic, beside the first request.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How often a group is tried behind others' appends before its requests are refused.
const CONFLICTS_MAX: u32 = 100;

/// What waits to be appended, and where.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Whether a task is at work; it ends only when nothing waits.
    busy: bool,
    /// The newest batch, as far as known: never relied on, an append behind a stale one conflicts.
    tail: Option<Tail>,
}

/// A log's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::broker) struct Tail {
    pub(in crate::broker) next: Offset,
    pub(in crate::broker) totals: Totals,
    /// When the batch before the newest one was stored; the epoch when there is none.
    pub(in crate::broker) before: Timestamp,
}

#[derive(Debug)]
struct Waiting {
    batch: BatchBuilder,
    /// Set for an append that must be found again: it is committed alone.
    nonce: Option<Nonce>,
    reply: oneshot::Sender<Result<Receipt>>,
}

impl Queue {
    /// Whether nothing waits and nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy && self.waiting.is_empty()
    }

    /// The next group: whole requests up to `bytes_max`, at least one. None when nothing waits: then the work is over.
    fn take(&mut self, bytes_max: usize) -> Option<Vec<Waiting>> {
        let Some(first) = self.waiting.pop_front() else {
            self.busy = false;
            return None;
        };
        let (mut bytes, mut count, alone) = (first.batch.bytes(), first.batch.count(), first.nonce.is_some());
        let mut group = Vec::with_capacity(if alone { 1 } else { self.waiting.len() + 1 });
        group.push(first);
        while let Some(next) = self.waiting.front() {
            let (bytes_then, count_then) = (bytes + next.batch.bytes(), count.saturating_add(next.batch.count()));
            if alone || next.nonce.is_some() || bytes_then > bytes_max || count_then > BATCH_COUNT_MAX {
                break;
            }
            (bytes, count) = (bytes_then, count_then);
            group.extend(self.waiting.pop_front());
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(group)
    }
}

/// Marks the queue as left when the task ends before its time, as it does when its runtime shuts down.
struct AtWork {
    topic: Arc<TopicActor>,
    over: bool,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.over {
            self.topic.queue.lock().busy = false;
        }
    }
}

impl TopicActor {
    /// Appends a request's messages, alone and under `nonce` if there is one; answers when they are durable.
    pub(in crate::broker) async fn publish(
        self: &Arc<Self>,
        broker: &Broker,
        batch: BatchBuilder,
        nonce: Option<Nonce>,
    ) -> Result<Receipt> {
        let (reply, answer) = oneshot::channel();
        let idle = {
            let mut queue = self.queue.lock();
            let full = queue.waiting.len() >= broker.inner.options.queue_max;
            if full || queue.bytes > QUEUE_BYTES_MAX {
                broker.inner.metrics.overloads.with_label_values(&["publish_queue"]).inc();
                return Err(Error::Overloaded("publishes"));
            }
            queue.bytes += batch.bytes();
            queue.waiting.push_back(Waiting { batch, nonce, reply });
            !std::mem::replace(&mut queue.busy, true)
        };
        if idle {
            tokio::spawn(AtWork { topic: Arc::clone(self), over: false }.work(broker.clone()));
        }
        answer.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown("the service is stopping".to_owned())))
    }

    /// The log's end as the store has it; none when the log is gone.
    pub(in crate::broker) async fn load_tail(&self, broker: &Broker) -> Result<Option<Tail>> {
        let limit = ReadLimit { bytes: 0, batches: 1 };
        let tail = match broker.inner.read(self.log, Position::Tail, limit).await? {
            Read::Closed => return Ok(None),
            Read::Batches(batches) if !batches.is_empty() => {
                let newest = batches.into_iter().next_back().map(MessageBatch::open).transpose()?;
                newest.map(|batch| Tail { next: batch.next(), totals: batch.totals, before: batch.previous.0 })
            }
            Read::Batches(_) | Read::Trimmed { .. } => {
                let Some(bounds) = broker.inner.bounds(self.log).await? else { return Ok(None) };
                Some(Tail { next: Offset(bounds.next.0), totals: Totals::default(), before: Timestamp::EPOCH })
            }
        };
        if let Some(tail) = tail {
            self.learn(tail);
        }
        Ok(tail)
    }

    /// The log's end, which is known to be at `next` or later.
    pub(in crate::broker) async fn tail_at(&self, broker: &Broker, next: Offset) -> Result<Tail> {
        let known = self.queue.lock().tail.filter(|tail| tail.next >= next);
        match known {
            Some(tail) => Ok(tail),
            None => self.load_tail(broker).await?.ok_or(Error::NotFound(Resource::Topic)),
        }
    }

    /// Remembers a log's end, unless a later one is known.
    fn learn(&self, tail: Tail) {
        let mut queue = self.queue.lock();
        if queue.tail.is_none_or(|known| known.next < tail.next) {
            queue.tail = Some(tail);
        }
        drop(queue);
        self.announce(tail.next);
    }

    /// Appends one group behind whatever the log's end is.
    async fn commit(&self, broker: &Broker, record: &mut Record, nonce: Nonce) -> Result<(Offset, Timestamp)> {
        let mut known = self.queue.lock().tail;
        let mut pause = Duration::ZERO;
        for _ in 0..CONFLICTS_MAX {
            let tail = match known {
                Some(tail) => tail,
                None => self.load_tail(broker).await?.ok_or(Error::NotFound(Resource::Topic))?,
            };
            let entry = Entry {
                log: self.log,
                expected: crate::storage::Offset(tail.next.0),
                count: record.count,
                nonce,
                payload: record.behind(&tail.totals),
                purpose: Purpose::Growth,
                kind: "topic",
            };
            match broker.inner.append(entry).await? {
                Outcome::Appended(at) => {
                    let next = tail.next.plus(u64::from(record.count));
                    let before = tail.totals.at;
                    self.learn(Tail { next, totals: record.totals(&tail.totals, at), before });
                    broker.inner.tell_growth(self.log, next);
                    broker.turn_day(&self.series, before, at);
                    return Ok((tail.next, at));
                }
                Outcome::Closed => return Err(Error::NotFound(Resource::Topic)),
                Outcome::Conflict => known = None,
            }
            tokio::time::sleep(pause).await;
            pause = (pause + Duration::from_millis(1)).min(Duration::from_millis(20));
        }
        Err(Error::Overloaded("publishes"))
    }
}

impl AtWork {
    async fn work(mut self, broker: Broker) {
        // Requests that came at the same moment are read first: they share the first append.
        tokio::task::yield_now().await;
        loop {
            let group = self.topic.queue.lock().take(broker.inner.options.merge_bytes);
            let Some(mut group) = group else {
                // From here on the queue may be another task's.
                self.over = true;
                return;
            };
            let Some((first, others)) = group.split_first_mut() else { continue };
            let mut record = Record::merge(&mut first.batch, others.iter().map(|waiting| &waiting.batch));
            let nonce = first.nonce.unwrap_or_else(|| broker.inner.nonce());
            #[cfg(feature = "planted")]
            if crate::domain::planted::is(crate::domain::planted::Bug::AcknowledgeEarly) {
                let tail = self.topic.queue.lock().tail;
                if let Some(tail) = tail {
                    answer(std::mem::take(&mut group), Ok((tail.next, broker.now())));
                }
            }
            let committed = self.topic.commit(&broker, &mut record, nonce).await;
            if committed.is_ok() {
                broker.inner.metrics.published_messages.inc_by(u64::from(record.count));
                broker.inner.metrics.published_bytes.inc_by(record.body_bytes as u64);
            }
            answer(group, committed);
        }
    }
}

/// Tells each request where its own messages stand.
fn answer(group: Vec<Waiting>, committed: Result<(Offset, Timestamp)>) {
    let mut place = committed.as_ref().map_or(Offset(0), |(first, _)| *first);
    for Waiting { batch, reply, .. } in group {
        let count = batch.count();
        let receipt = committed.as_ref().map_err(Error::clone).map(|(_, at)| Receipt { first: place, count, at: *at });
        place = place.plus(u64::from(count));
        // A caller that has gone away does not need its answer.
        let _ = reply.send(receipt);
    }
}
