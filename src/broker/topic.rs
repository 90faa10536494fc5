//! Publishing and reading: one actor for each topic in use merges concurrent publishes into one append.

use super::Broker;
use super::codec::message::BatchBuilder;
use crate::domain::message::Published;
use crate::domain::topic::Topic;
use crate::domain::{Error, Offset, Result, Timestamp};

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
    /// When the newest publish was stored, if there was one.
    pub published_at: Option<Timestamp>,
}

impl Broker {
    /// A builder for one publish request: encodes messages straight into the form they are stored in.
    #[must_use]
    pub fn batch(&self) -> BatchBuilder {
        BatchBuilder::new(Timestamp(self.inner.clock.wall()))
    }

    /// Appends the request's messages, all or none, and answers when they are durable. An empty batch answers at the tail with
    /// count 0 and appends nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the topic is gone by now, [`Error::TooLarge`], [`Error::Overloaded`], [`Error::StoreFull`],
    /// [`Error::Unavailable`], [`Error::OutcomeUnknown`].
    pub async fn publish(&self, _topic: &Topic, _batch: BatchBuilder) -> Result<Receipt> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// The extent and totals of a topic; [`Error::NotFound`] when it is gone.
    pub async fn topic_bounds(&self, _topic: &Topic) -> Result<TopicBounds> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// The offset of the first message stored at or after `time` (rounded as given); below the first kept time that is the first
    /// offset kept; [`Error::NothingAtTime`] when all are older.
    pub async fn offset_at_time(&self, _topic: &Topic, _time: Timestamp) -> Result<Offset> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }

    /// Messages from an offset on, without leasing them: at most `messages_max`, at least one if there is one, about `bytes_max`.
    /// Begins at the first kept offset when `from` is below it.
    pub async fn browse(
        &self,
        _topic: &Topic,
        _from: Offset,
        _messages_max: u32,
        _bytes_max: u64,
    ) -> Result<Vec<Published>> {
        Err(Error::Unavailable("not built yet".to_owned()))
    }
}
