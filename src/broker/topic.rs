//! Publishing and reading: one actor for each topic in use merges concurrent publishes into one append.

mod commit;
mod follow;
mod reader;
mod tail;

pub use follow::Follower;
pub(in crate::broker) use reader::Found;
pub(in crate::broker) use tail::TailReader;

use super::Broker;
use super::codec::message::{BatchBuilder, DataKey, MessageBatch};
use super::documents::keys::Series;
use crate::domain::message::Published;
use crate::domain::topic::Topic;
use crate::domain::{Error, Offset, Resource, Result, Timestamp};
use crate::storage::{Bounds, LogId, Position, Read, ReadLimit, Time};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Where a publish request's messages stand: `first..first + count`, all durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The first message's offset.
    pub first: Offset,
    /// How many.
    pub count: u32,
    /// When they were stored.
    pub at: Timestamp,
}

/// The extent of a topic's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicBounds {
    /// The first offset kept.
    pub first: Offset,
    /// The offset that the next message gets.
    pub next: Offset,
    /// Messages ever published.
    pub messages: u64,
    /// Their text bytes (see [`Header::text_bytes`](crate::domain::message::Header)).
    pub bytes: u64,
    /// When the newest publish was stored, if there was one. Publishes that come together are stored as one.
    pub published_at: Option<Timestamp>,
    /// How many messages it brought.
    pub published: u32,
    /// When the publish before it was stored, if there was one.
    pub published_before: Option<Timestamp>,
}

/// A topic in use: the publishes that wait, what is known of the log's end, and what was read lately.
#[derive(Debug)]
pub(super) struct TopicActor {
    log: LogId,
    series: Series,
    queue: Mutex<commit::Queue>,
    tail: tail::TailWatch,
    cache: Mutex<reader::Cache>,
    /// Of encrypted messages, once there was one.
    key: OnceCell<Arc<DataKey>>,
}

impl TopicActor {
    pub(super) fn new(series: Series) -> Self {
        Self {
            log: series.log,
            series,
            queue: Mutex::default(),
            tail: tail::TailWatch::default(),
            cache: Mutex::default(),
            key: OnceCell::new(),
        }
    }

    /// Which log.
    pub(super) const fn log(&self) -> LogId {
        self.log
    }

    /// The log's extent; none when it is gone.
    pub(super) async fn bounds(&self, broker: &Broker) -> Result<Option<Bounds>> {
        broker.inner.bounds(self.log).await
    }

    /// Whether no publish waits or is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.lock().is_idle()
    }
}

impl Broker {
    /// A builder for one publish request: encodes messages straight into the form they are stored in.
    #[must_use]
    pub fn batch(&self) -> BatchBuilder {
        BatchBuilder::new(Timestamp(self.inner.clock.wall()))
    }

    /// Appends the request's messages, all or none, if they keep the topic's schema, and answers when they are durable. An empty batch answers at the tail with
    /// count 0 and appends nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the topic is gone by now, [`Error::TooLarge`], [`Error::QuotaExceeded`], [`Error::Violation`],
    /// [`Error::SchemaUnusable`], [`Error::Protected`], [`Error::Overloaded`], [`Error::StoreFull`],
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`].
    pub async fn publish(&self, topic: &Topic, batch: BatchBuilder) -> Result<Receipt> {
        let limit = self.inner.options.publish_bytes;
        if batch.bytes() > limit {
            return Err(Error::TooLarge { what: "publish request", limit: limit as u64 });
        }
        if batch.count() == 0 {
            let bounds = self.bounds_of(topic).await?;
            return Ok(Receipt { first: Offset(bounds.next.0), count: 0, at: Timestamp(self.inner.clock.wall()) });
        }
        self.inner.check_able()?;
        self.refuse_audit(topic.project, &topic.name)?;
        self.admit(topic.project, u64::from(batch.count()), batch.bytes() as u64).await?;
        let batch = self.checked(topic, batch).await?;
        let actor = self.topic_actor(topic)?;
        let batch = if topic.sealed { self.sealed(&actor, batch).await? } else { batch };
        let published = actor.publish(self, batch, None).await;
        self.look_again(topic, published).await
    }

    /// The extent and totals of a topic; [`Error::NotFound`] when it is gone.
    pub async fn topic_bounds(&self, topic: &Topic) -> Result<TopicBounds> {
        let bounds = self.bounds_of(topic).await?;
        let tail = self.topic_actor(topic)?.tail_at(self, Offset(bounds.next.0)).await?;
        Ok(TopicBounds {
            first: Offset(bounds.first.0),
            next: tail.next,
            messages: tail.totals.messages,
            bytes: tail.totals.bytes,
            published_at: (tail.totals.messages > 0).then_some(tail.totals.at),
            published: tail.totals.count,
            published_before: Some(tail.before).filter(|before| *before > Timestamp::EPOCH),
        })
    }

    /// The offset of the first message stored at or after `time` (rounded as given); below the first kept time that is the first
    /// offset kept; [`Error::NothingAtTime`] when all are older.
    pub async fn offset_at_time(&self, topic: &Topic, time: Timestamp) -> Result<Offset> {
        let bounds = self.bounds_of(topic).await?;
        let limit = ReadLimit { bytes: 0, batches: 1 };
        match self.inner.read(LogId(topic.log.0), Position::Time(Time(time.0)), limit).await? {
            Read::Batches(batches) => {
                let first = batches.first().ok_or(Error::NothingAtTime)?.first;
                Ok(Offset(first.max(bounds.first).0))
            }
            Read::Trimmed { first } => Ok(Offset(first.0)),
            Read::Closed => Err(Error::NotFound(Resource::Topic)),
        }
    }

    /// Messages from an offset on, without leasing them: at most `messages_max`, at least one if there is one, about `bytes_max`.
    /// Begins at the first kept offset when `from` is below it.
    pub async fn browse(
        &self,
        topic: &Topic,
        from: Offset,
        messages_max: u32,
        bytes_max: u64,
    ) -> Result<Vec<Published>> {
        let bounds = self.bounds_of(topic).await?;
        let actor = self.topic_actor(topic)?;
        let mut next = from.max(Offset(bounds.first.0));
        let end = next.plus(u64::from(messages_max)).min(Offset(bounds.next.0));
        let (mut messages, mut bytes) = (Vec::new(), 0_u64);
        while next < end {
            let batches = match actor.read(self, next..end).await? {
                Found::Batches(batches) if batches.is_empty() => return Ok(messages),
                Found::Batches(batches) => batches,
                Found::Trimmed(first) => {
                    next = first.max(next);
                    continue;
                }
                Found::Closed => return Err(Error::NotFound(Resource::Topic)),
            };
            for message in batches.iter().flat_map(|batch| batch.messages(next..end)) {
                let message = message?;
                bytes += u64::from(message.message.header.bytes);
                if bytes > bytes_max && !messages.is_empty() {
                    return Ok(messages);
                }
                messages.push(message);
            }
            next = batches.last().map_or(end, MessageBatch::next);
        }
        Ok(messages)
    }

    /// The topic's log as the store has it now.
    async fn bounds_of(&self, topic: &Topic) -> Result<Bounds> {
        let bounds = self.inner.bounds(LogId(topic.log.0)).await?.ok_or(Error::NotFound(Resource::Topic));
        self.look_again(topic, bounds).await
    }
}

#[cfg(test)]
mod tests;
