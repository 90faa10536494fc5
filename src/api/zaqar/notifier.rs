//! Who tells subscribers, as the dialect speaks to him. The service gives it in; without one, subscriptions are kept and nothing is told.

use crate::domain::Result;
use crate::domain::push::Notify;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// Something that a subscriber is told beside the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// For who is reached by a POST: a JSON text.
    pub json: String,
    /// For who is reached by mail: subject and text; nothing is mailed without.
    pub mail: Option<(String, String)>,
}

/// Tells subscribers of a queue what is posted to it.
#[async_trait]
pub trait Notifier: Debug + Send + Sync {
    /// Whether a subscriber can be told anything, as far as what he asks for says.
    ///
    /// # Errors
    /// Why not, for whoever asks for it.
    fn check(&self, notify: &Notify) -> std::result::Result<(), String>;

    /// Tells a subscriber something beside the messages, in the background.
    fn notice(&self, subscription: Arc<Subscription>, notice: Notice);

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
