//! What a connection's subscription hears: the notifications of a queue from its present end on, as long as somebody listens. Nothing of
//! it is stored, and who listens slowly holds up nobody: his cursor waits for him.

use super::notification::notification;
use crate::broker::Broker;
use crate::broker::topic::Follower;
use crate::domain::Result;
use crate::domain::topic::Topic;
use bytes::Bytes;

/// A queue's notifications for one listener.
#[derive(Debug)]
pub struct Feed {
    broker: Broker,
    follower: Follower,
    queue: String,
}

impl Feed {
    /// The notifications of what is posted from now on, under the queue's name as its users know it.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::domain::Error::NotFound) when the topic is gone.
    pub async fn begin(broker: &Broker, topic: &Topic, queue: &str) -> Result<Self> {
        Ok(Self { broker: broker.clone(), follower: broker.follow(topic).await?, queue: queue.to_owned() })
    }

    /// The next notification, a JSON text, as soon as there is one; those of messages whose life is over are left out. Who drops this
    /// call and calls again misses nothing.
    ///
    /// # Errors
    /// Storage; the next call goes on where this one was.
    pub async fn next(&mut self) -> Result<Bytes> {
        loop {
            let published = self.follower.next().await?;
            if published.message.header.expires_at > self.broker.now() {
                return Ok(Bytes::from(notification(&self.queue, &published)));
            }
        }
    }
}
