//! Documents of known kinds over the store: cached reads, changes by compare-and-set, unknown outcomes resolved.
//!
//! A cached document is at most `Options::cache_age` old by the monotonic clock; a change made through this broker is seen at
//! once. Each write carries a fresh nonce: after an unknown outcome the document is read back, and the nonce tells whose it is.
//! Decides nothing about what documents mean.

pub(crate) mod cache;
pub(crate) mod keys;
#[cfg(test)]
mod tests;

use super::Random;
use super::codec::document::{Record, TokenHash, decode, encode};
use crate::clock::Clock;
use crate::domain::{Error, ProjectId, RegistrationId, Result, UserId};
use crate::storage::{Key, Nonce, Order, Put, Store, StoreError, Version};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use cache::Cache;
use keys::{
    BindingKey, DataKeyOf, DayKey, HintKey, KeyCheckKey, Keyed, NodeKey, RolesKey, SchemaKey, SubjectKey,
    SubscriptionKey, TopicKey,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a change is tried against others, or against an unknown outcome, before it is given up.
const TRIES: u32 = 24;
/// Documents of one call of the store's scan.
const SCAN_PAGE: usize = 500;
/// Most cached schemas.
const SCHEMAS_MAX: usize = 1_024;
/// The label of documents in metrics.
const LABEL: &str = "document";

/// A document as it was read.
#[derive(Debug)]
pub(crate) struct Stored<R> {
    /// Expected by a change that builds on it.
    pub(crate) version: Version,
    /// Which process wrote it.
    pub(crate) writer: u128,
    /// What it says.
    pub(crate) record: Arc<R>,
}

/// The documents of a store. See the module.
#[derive(Debug)]
pub(crate) struct Documents {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    writer: u128,
    sequence: AtomicU64,
    projects: Cache<ProjectId>,
    topics: Cache<TopicKey>,
    subscriptions: Cache<SubscriptionKey>,
    accounts: Cache<UserId>,
    hints: Cache<HintKey>,
    tokens: Cache<TokenHash>,
    bindings: Cache<BindingKey>,
    subjects: Cache<SubjectKey>,
    roles: Cache<RolesKey>,
    key_checks: Cache<KeyCheckKey>,
    days: Cache<DayKey>,
    registrations: Cache<RegistrationId>,
    nodes: Cache<NodeKey>,
    schemas: Cache<SchemaKey>,
    data_keys: Cache<DataKeyOf>,
}

impl Documents {
    /// Documents over a store; `entries_max` is shared out evenly to the eight kinds that may be many.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        metrics: Arc<Metrics>,
        age_max: Duration,
        entries_max: usize,
        random: &Random,
    ) -> Self {
        let share = entries_max / 8;
        Self {
            store,
            clock,
            metrics,
            writer: random.id(),
            sequence: AtomicU64::new(0),
            projects: Cache::new(age_max, share),
            topics: Cache::new(age_max, share),
            subscriptions: Cache::new(age_max, share),
            accounts: Cache::new(age_max, share),
            hints: Cache::new(age_max, share),
            tokens: Cache::new(age_max, share),
            bindings: Cache::new(age_max, share),
            subjects: Cache::new(age_max, share),
            roles: Cache::new(age_max, 1),
            key_checks: Cache::new(age_max, 1),
            days: Cache::new(age_max, 1),
            registrations: Cache::new(age_max, 1),
            nodes: Cache::new(age_max, 1),
            // A topic in use has its own in hand.
            data_keys: Cache::new(age_max, 1),
            // They may be large.
            schemas: Cache::new(age_max, share.min(SCHEMAS_MAX)),
        }
    }

    /// Whether this process wrote the document.
    pub(crate) const fn wrote<R>(&self, stored: &Stored<R>) -> bool {
        stored.writer == self.writer
    }

    /// The document as it was at most the cache's age ago.
    pub(crate) async fn get<K: Keyed>(&self, key: &K) -> Result<Option<Arc<K::Record>>> {
        if let Some(known) = K::cache(self).get(key, self.clock.monotonic()) {
            return Ok(known);
        }
        Ok(self.fetch(key).await?.map(|stored| stored.record))
    }

    /// The document as it is.
    pub(crate) async fn fetch<K: Keyed>(&self, key: &K) -> Result<Option<Stored<K::Record>>> {
        let cache = K::cache(self);
        let ticket = cache.ticket(key, self.clock.monotonic());
        let store_key = key.key();
        let found = match self.read(&store_key).await? {
            Some((version, value)) => Some(stored::<K::Record>(&store_key, version, &value)?),
            None => None,
        };
        cache.fill(key, ticket, found.as_ref().map(|stored| stored.record.clone()));
        Ok(found)
    }

    /// Writes a document if its version is `expected`; none when it is another.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when reading back does not tell either; others promise that nothing was written.
    pub(crate) async fn put<K: Keyed>(
        &self,
        key: &K,
        record: &K::Record,
        expected: Version,
    ) -> Result<Option<Version>> {
        let nonce = Nonce { writer: self.writer, sequence: self.sequence.fetch_add(1, Ordering::Relaxed) };
        self.change(key, Some((encode(record, nonce), nonce)), expected).await
    }

    /// Writes a document where there is none; false when there is one. Errors as [`Documents::put`].
    pub(crate) async fn put_new<K: Keyed>(&self, key: &K, record: &K::Record) -> Result<bool> {
        Ok(self.put(key, record, Version::ABSENT).await?.is_some())
    }

    /// Removes a document if its version is `expected`; none when it is another. Errors as [`Documents::put`].
    pub(crate) async fn delete<K: Keyed>(&self, key: &K, expected: Version) -> Result<Option<Version>> {
        self.change(key, None, expected).await
    }

    /// Reads, changes and writes until nobody comes between; what was written, or none when there is no document. An error of
    /// `change` ends it and nothing is written. `change` may be asked more than once, also about its own earlier work when
    /// the outcome of that was unknown.
    ///
    /// # Errors
    /// [`Error::Changed`] when others came between too often; as [`Documents::put`].
    pub(crate) async fn update<K: Keyed>(
        &self,
        key: &K,
        mut change: impl FnMut(&K::Record) -> Result<K::Record> + Send,
    ) -> Result<Option<Arc<K::Record>>> {
        for attempt in 0..TRIES {
            let Some(stored) = self.fetch(key).await? else { return Ok(None) };
            let record = change(&stored.record)?;
            if self.put(key, &record, stored.version).await?.is_some() {
                return Ok(Some(Arc::new(record)));
            }
            back_off(attempt).await;
        }
        Err(Error::Changed)
    }

    /// One page of the documents that begin with a prefix, past the cache.
    pub(crate) async fn page<R: Record>(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        order: Order,
    ) -> Result<Vec<(Key, Stored<R>)>> {
        self.some(prefix, after, SCAN_PAGE, order).await
    }

    /// The last one of the documents that begin with a prefix, past the cache.
    pub(crate) async fn last<R: Record>(&self, prefix: &Key) -> Result<Option<(Key, Stored<R>)>> {
        Ok(self.some(prefix, None, 1, Order::Descending).await?.into_iter().next())
    }

    async fn some<R: Record>(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Stored<R>)>> {
        let page = self.store.scan(prefix, after, limit, order).await.map_err(failed)?;
        page.into_iter()
            .map(|(key, document)| {
                let stored = stored(&key, document.version, &document.value)?;
                Ok((key, stored))
            })
            .collect()
    }

    /// All documents that begin with a prefix, in the order of their keys, past the cache.
    pub(crate) async fn all<R: Record>(&self, prefix: &Key) -> Result<Vec<(Key, Arc<R>)>> {
        let mut all = Vec::new();
        self.scan(prefix, Order::Ascending, |key, stored: Stored<R>| all.push((key, stored.record))).await?;
        Ok(all)
    }

    /// Hands all documents that begin with a prefix to `each`, page by page, past the cache.
    pub(crate) async fn scan<R: Record>(
        &self,
        prefix: &Key,
        order: Order,
        mut each: impl FnMut(Key, Stored<R>) + Send,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.page::<R>(prefix, after.as_ref(), order).await?;
            let full = page.len() == SCAN_PAGE;
            after = page.last().map(|(key, _)| key.clone());
            page.into_iter().for_each(|(key, stored)| each(key, stored));
            if !full {
                return Ok(());
            }
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<(Version, Bytes)>> {
        let document = self.store.get(key).await.map_err(failed)?;
        Ok(document.map(|document| (document.version, document.value)))
    }

    /// Puts a value with its nonce, or deletes. The cache forgets the key however this ends.
    async fn change<K: Keyed>(
        &self,
        key: &K,
        value: Option<(Bytes, Nonce)>,
        expected: Version,
    ) -> Result<Option<Version>> {
        let _forgets = K::cache(self).changing(key);
        let store_key = key.key();
        let mut doubt = None;
        for attempt in 0..TRIES {
            let outcome = match &value {
                Some((bytes, _)) => self.store.put(&store_key, bytes.clone(), expected).await,
                None => self.store.delete(&store_key, expected).await,
            };
            match outcome {
                Ok(Put::Done(version)) => return Ok(Some(version)),
                Ok(Put::Conflict(_)) if doubt.is_none() => {
                    self.metrics.conflicts.with_label_values(&[LABEL]).inc();
                    return Ok(None);
                }
                Ok(Put::Conflict(_)) => {}
                Err(error) if error.is_unknown() => doubt = Some(error.to_string()),
                Err(error) => return Err(doubt.map_or_else(|| failed(error), Error::OutcomeUnknown)),
            }
            self.metrics.unknown_outcomes.with_label_values(&[LABEL]).inc();
            let why = doubt.clone().unwrap_or_default();
            let present = self.read(&store_key).await.map_err(|_| Error::OutcomeUnknown(why))?;
            if let Some(outcome) = settle::<K::Record>(present, value.as_ref().map(|(_, nonce)| *nonce), expected) {
                return Ok(outcome);
            }
            back_off(attempt).await;
        }
        Err(Error::OutcomeUnknown(doubt.unwrap_or_default()))
    }
}

/// What the present document says about a change of unknown outcome: done, not done and never will be (`Some(None)`), or not
/// done so far (none: try again). A change that was done and then undone by somebody counts as not done.
fn settle<R: Record>(
    present: Option<(Version, Bytes)>,
    nonce: Option<Nonce>,
    expected: Version,
) -> Option<Option<Version>> {
    let (version, value) = present.unwrap_or((Version::ABSENT, Bytes::new()));
    if version == expected {
        return None;
    }
    let done = match nonce {
        Some(nonce) => decode::<R>(&value).is_ok_and(|(written, _)| written == nonce),
        None => version == Version::ABSENT,
    };
    Some(done.then_some(version))
}

fn stored<R: Record>(key: &Key, version: Version, value: &[u8]) -> Result<Stored<R>> {
    let (nonce, record) = decode(value).map_err(|error| match error {
        Error::Damaged(why) => Error::Damaged(format!("{key}: {why}")),
        other => other,
    })?;
    Ok(Stored { version, writer: nonce.writer, record: Arc::new(record) })
}

/// Lets others finish before the next try.
async fn back_off(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(Duration::from_millis(1 << attempt.min(5))).await;
    }
}

/// A store's failure in the words of the domain.
pub(crate) fn failed(error: StoreError) -> Error {
    match error {
        StoreError::Unknown(why) => Error::OutcomeUnknown(why),
        StoreError::Full(_) => Error::StoreFull,
        StoreError::TooLarge { what, limit, .. } => Error::TooLarge { what, limit: limit as u64 },
        StoreError::Corrupt(why) => Error::Damaged(why),
        StoreError::Unavailable(why) | StoreError::Open(why) => Error::Unavailable(why),
        StoreError::Poisoned(_) => Error::Unavailable(error.to_string()),
    }
}
