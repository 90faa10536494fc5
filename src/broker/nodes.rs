//! What the nodes that share a store tell each other: heartbeats as documents, and growth of topics as hints.
//!
//! Owns how a beat is kept, and whether this node may work at all. Judges nobody: `domain::membership` does; carries no hint to another
//! node: the server does. A hint is never more than a reason to look.

use super::documents::Stored;
use super::documents::keys::{self, NodeKey};
use super::{Broker, Inner};
use crate::domain::membership::Heartbeat;
use crate::domain::subscription::NodeId;
use crate::domain::{Error, LogRef, Offset, Result};
use crate::storage::{Health, LogId, Order, Version};
use std::sync::atomic::Ordering;
use tokio::sync::broadcast;

/// Growth that is announced and was not yet taken up by everybody who listens; more is forgotten, as hints may be.
pub(super) const GROWTH_MAX: usize = 4_096;

/// A topic's log reaches up to `next` since a moment ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    /// The log.
    pub log: LogRef,
    /// Its next offset.
    pub next: Offset,
}

/// This node's place among the heartbeats.
#[derive(Debug)]
pub struct Beacon {
    broker: Broker,
    version: Version,
}

impl Beacon {
    /// Says how this node is.
    ///
    /// # Errors
    /// Storage.
    pub async fn beat(&mut self, beat: &Heartbeat) -> Result<()> {
        let (documents, key) = (self.broker.documents(), NodeKey(beat.node));
        for _ in 0..2 {
            if let Some(version) = documents.put(&key, beat, self.version).await? {
                self.version = version;
                return Ok(());
            }
            // An earlier beat of unknown outcome came through.
            self.version = documents.fetch(&key).await?.map_or(Version::ABSENT, |stored| stored.version);
        }
        Err(Error::Changed)
    }

    /// All heartbeats that there are. One look into one place.
    ///
    /// # Errors
    /// Storage.
    pub async fn look(&self) -> Result<Vec<Heartbeat>> {
        let mut beats = Vec::new();
        let each = |_, stored: Stored<Heartbeat>| beats.push(Heartbeat::clone(&stored.record));
        self.broker.documents().scan(&keys::nodes(), Order::Ascending, each).await?;
        Ok(beats)
    }

    /// Takes a node's heartbeat away, this one's or that of one that is long gone.
    ///
    /// # Errors
    /// Storage.
    pub async fn forget(&self, node: NodeId) -> Result<()> {
        let (documents, key) = (self.broker.documents(), NodeKey(node));
        if let Some(stored) = documents.fetch(&key).await? {
            documents.delete(&key, stored.version).await?;
        }
        Ok(())
    }
}

impl Broker {
    /// Who this node is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.options.node
    }

    /// This node's place among the heartbeats; nobody sees it before its first beat.
    #[must_use]
    pub fn beacon(&self) -> Beacon {
        Beacon { broker: self.clone(), version: Version::ABSENT }
    }

    /// Whether this node may work: false while its clock is wrong. Then it publishes, grants and expires nothing.
    pub fn set_fit(&self, fit: bool) {
        self.inner.fit.store(fit, Ordering::Release);
    }

    /// Whether this node may work.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.inner.fit.load(Ordering::Acquire)
    }

    /// Hears of what grows by this node's own appends.
    #[must_use]
    pub fn growth(&self) -> broadcast::Receiver<Growth> {
        self.inner.growth.subscribe()
    }

    /// Somebody says that a topic's log reaches so far: whoever waits for it looks.
    pub fn heard(&self, growth: Growth) {
        if let Some(topic) = self.inner.topics.find(LogId(growth.log.0)) {
            topic.announce(growth.next);
        }
    }

    /// Whether all other nodes' hints arrive: then waiting needs hardly any looking.
    pub fn set_hearing(&self, hearing: bool) {
        self.inner.hearing.store(hearing, Ordering::Release);
    }
}

impl Inner {
    /// Refuses work while this node may not do any, or the store takes nothing: there is no use in waiting for that.
    pub(super) fn check_able(&self) -> Result<()> {
        let not = |why: &str| Err(Error::Unavailable(why.to_owned()));
        match self.fit.load(Ordering::Acquire) {
            false => not("this node's clock differs from the others'"),
            true if self.store.health() == Health::Down => not("it does not answer"),
            true => Ok(()),
        }
    }

    /// Tells whoever carries hints that a log has grown.
    pub(super) fn tell_growth(&self, log: LogId, next: Offset) {
        // Nobody listens where there are no other nodes.
        let _ = self.growth.send(Growth { log: LogRef(log.0), next });
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::domain::Timestamp;

    fn beat(node: u128, beat: u64) -> Heartbeat {
        Heartbeat { node: NodeId(node), beat, at: Timestamp(7), leaving: false, address: "n:1".to_owned() }
    }

    #[tokio::test]
    async fn a_beat_replaces_the_one_before_it_and_goes_when_it_is_forgotten() {
        let fixture = Fixture::new().await;
        let (mut one, mut two) = (fixture.broker.beacon(), fixture.broker.beacon());
        for count in 0..3 {
            one.beat(&beat(1, count)).await.unwrap();
            two.beat(&beat(2, count)).await.unwrap();
        }
        assert_eq!(two.look().await.unwrap(), [beat(1, 2), beat(2, 2)]);
        two.forget(NodeId(1)).await.unwrap();
        two.forget(NodeId(1)).await.unwrap();
        assert_eq!(two.look().await.unwrap(), [beat(2, 2)]);
        one.beat(&beat(1, 3)).await.unwrap();
        assert_eq!(one.look().await.unwrap(), [beat(1, 3), beat(2, 2)]);
    }
}
