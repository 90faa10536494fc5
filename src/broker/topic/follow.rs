//! Following a topic with a cursor in memory: for who wants to hear of each message while he is there, and of nothing after.
//!
//! Leases, acknowledges and stores nothing: with the follower everything about it is gone.

use super::Found;
use crate::broker::Broker;
use crate::domain::message::Published;
use crate::domain::topic::Topic;
use crate::domain::{Error, LogRef, Name, Offset, ProjectId, Result};
use std::collections::VecDeque;
use std::time::Duration;

/// Most messages that are held ready; their payloads are slices of what the topic's readers share.
const AHEAD_MAX: u64 = 64;
/// The pause between two looks for a topic that is gone.
const GONE: Duration = Duration::from_secs(1);

/// A cursor over the topics that bear one name. It lives through their deletion: of one made again it sees everything.
#[derive(Debug)]
pub struct Follower {
    broker: Broker,
    project: ProjectId,
    name: Name,
    log: LogRef,
    at: Offset,
    ahead: VecDeque<Published>,
}

impl Broker {
    /// Follows a topic from its present end on; [`Error::NotFound`] when it is gone.
    pub async fn follow(&self, topic: &Topic) -> Result<Follower> {
        let at = Offset(self.bounds_of(topic).await?.next.0);
        let (project, name, log) = (topic.project, topic.name.clone(), topic.log);
        Ok(Follower { broker: self.clone(), project, name, log, at, ahead: VecDeque::new() })
    }
}

impl Follower {
    /// The next message, as soon as there is one. Who drops this call and calls again misses nothing.
    ///
    /// # Errors
    /// Storage; the next call goes on where this one was.
    pub async fn next(&mut self) -> Result<Published> {
        loop {
            if let Some(message) = self.ahead.pop_front() {
                return Ok(message);
            }
            if !self.read().await? {
                tokio::time::sleep(GONE).await;
            }
        }
    }

    /// Waits for messages and reads some; `false` when the topic is gone.
    async fn read(&mut self) -> Result<bool> {
        let topic = match self.broker.topic(self.project, &self.name).await {
            Ok(topic) => topic,
            Err(Error::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        if topic.log != self.log {
            (self.log, self.at) = (topic.log, Offset(0));
        }
        let actor = self.broker.topic_actor(&topic)?;
        actor.watch(&self.broker).reaches(self.at.plus(1)).await;
        match actor.read(&self.broker, self.at..self.at.plus(AHEAD_MAX)).await? {
            Found::Batches(batches) => {
                let end = self.at.plus(AHEAD_MAX);
                let messages = batches.iter().flat_map(|batch| batch.messages(self.at..end));
                let messages: VecDeque<_> = messages.collect::<Result<_>>()?;
                self.at = messages.back().map_or(self.at, |last| last.offset.plus(1));
                self.ahead = messages;
                Ok(!self.ahead.is_empty())
            }
            Found::Trimmed(first) => {
                self.at = first;
                Ok(true)
            }
            Found::Closed => Ok(false),
        }
    }
}
