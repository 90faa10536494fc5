//! Who tells subscribers, as the dialect speaks to him. The service gives it in; without one, subscriptions are kept and nothing is told.

use crate::domain::Result;
use crate::domain::topic::Topic;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;

/// Tells subscribers of a queue what is posted to it.
#[async_trait]
pub trait Notifier: Debug + Send + Sync {
    /// A queue's notifications from its present end on, for a connection; under the queue's name as its users know it.
    ///
    /// # Errors
    /// When the queue is gone; storage.
    async fn follow(&self, topic: &Topic, queue: &str) -> Result<Box<dyn Feed>>;
}

/// A queue's notifications for one listener.
#[async_trait]
pub trait Feed: Debug + Send {
    /// The next one, a JSON text, as soon as there is one. Who drops this call and calls again misses nothing.
    ///
    /// # Errors
    /// Storage; the next call goes on where this one was.
    async fn next(&mut self) -> Result<Bytes>;
}
