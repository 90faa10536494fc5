//! Messages encrypted at rest: a log whose messages are has a data key of its own, which stands in the store wrapped by a key that does not.
//! When the log goes, so does its key, and with it whatever copies of the log are left somewhere.
//!
//! Owns the data keys' documents. How a message is encrypted is the codec's affair, which key wraps is [`Wrap`]'s.

use super::Broker;
use super::codec::document::{Sealed, SealedKey};
use super::codec::message::{BatchBuilder, DataKey};
use super::documents::keys::DataKeyOf;
use super::topic::TopicActor;
use crate::domain::topic::Topic;
use crate::domain::{Error, Result};
use crate::storage::LogId;
use aws_lc_rs::rand;
use std::fmt::Debug;
use std::sync::Arc;

/// Wraps keys with a key that is not in the store. A wrapped key opens with the context that it was wrapped with alone.
pub(crate) trait Wrap: Send + Sync + Debug {
    /// The number of the key that wraps now.
    fn current(&self) -> u32;
    /// Encrypts a key.
    fn wrap(&self, secret: &[u8], context: &[u8]) -> Result<Sealed>;
    /// Decrypts what [`Wrap::wrap`] made.
    fn unwrap(&self, sealed: &Sealed, context: &[u8]) -> Result<Vec<u8>>;
}

fn context(log: LogId) -> Vec<u8> {
    [&b"data key "[..], &log.0.to_be_bytes()].concat()
}

impl Broker {
    /// Sets what wraps data keys, from now on.
    pub(crate) fn set_wrap(&self, wrap: Arc<dyn Wrap>) {
        *self.inner.wrap.write() = Some(wrap);
    }

    fn wrap(&self) -> Result<Arc<dyn Wrap>> {
        let missing = || Error::Unavailable("there is no key to encrypt messages with".to_owned());
        self.inner.wrap.read().clone().ok_or_else(missing)
    }

    /// Sets whether a topic's messages are encrypted from now on; those that it has stay as they are. [`Error::NotFound`].
    pub async fn set_sealed(&self, topic: &Topic, sealed: bool) -> Result<Arc<Topic>> {
        self.alter(topic.project, topic.id.0, None, |topic: &mut Topic| {
            topic.sealed = sealed;
            Ok(())
        })
        .await
    }

    /// The batch, encrypted for a log.
    pub(super) async fn sealed(&self, actor: &TopicActor, mut batch: BatchBuilder) -> Result<BatchBuilder> {
        let key = actor.data_key_made(self).await?;
        batch.seal(&key)?;
        Ok(batch)
    }

    /// A log's data key; none when it never had one.
    pub(super) async fn data_key(&self, log: LogId) -> Result<Option<DataKey>> {
        let Some(stored) = self.documents().fetch(&DataKeyOf(log)).await? else { return Ok(None) };
        let secret = self.wrap()?.unwrap(&stored.record.0, &context(log))?;
        Ok(Some(DataKey::new(&secret)))
    }

    /// Gives a log a data key unless it has one.
    pub(super) async fn make_data_key(&self, log: LogId) -> Result<DataKey> {
        if let Some(key) = self.data_key(log).await? {
            return Ok(key);
        }
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| Error::Unavailable("the machine gives no randomness".to_owned()))?;
        let wrapped = self.wrap()?.wrap(&secret, &context(log))?;
        if self.documents().put_new(&DataKeyOf(log), &SealedKey(wrapped)).await? {
            return Ok(DataKey::new(&secret));
        }
        // Another node was first.
        let gone = || Error::Unavailable(format!("the key of {log} went away while it was made"));
        self.data_key(log).await?.ok_or_else(gone)
    }

    /// Forgets a log's data key.
    pub(super) async fn drop_data_key(&self, log: LogId) -> Result<()> {
        if let Some(stored) = self.documents().fetch(&DataKeyOf(log)).await? {
            self.documents().delete(&DataKeyOf(log), stored.version).await?;
        }
        Ok(())
    }

    /// Wraps every data key anew that an older key than the current one wraps; how many those were. May be repeated.
    pub(crate) async fn rewrap(&self) -> Result<usize> {
        let wrap = self.wrap()?;
        let mut logs = Vec::new();
        self.documents()
            .scan(
                &DataKeyOf::prefix(),
                crate::storage::Order::Ascending,
                |key, stored: super::documents::Stored<SealedKey>| {
                    logs.extend(DataKeyOf::parse(&key).filter(|_| stored.record.0.key != wrap.current()));
                },
            )
            .await?;
        for of in &logs {
            let anew = |old: &SealedKey| {
                let secret = wrap.unwrap(&old.0, &context(of.0))?;
                wrap.wrap(&secret, &context(of.0)).map(SealedKey)
            };
            self.documents().update(of, anew).await?;
        }
        Ok(logs.len())
    }
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
