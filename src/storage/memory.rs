//! The reference engine: everything in memory, one lock, nothing clever.
//!
//! Owns the plainest reading of the storage contract; it ships as `store.url = "memory:"` and is the oracle that
//! other engines are compared with. Never touches a disk: what it holds ends with the process.

use super::limits::{check_batch, check_document, check_key};
use super::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, StoreError, StoredBatch, Time, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;

/// A store in memory. No call ever waits; "durable" means as long as the value lives.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every log ever made; a closed one keeps its id (contract 1, 13) and nothing else.
    logs: BTreeMap<LogId, Option<Log>>,
    documents: BTreeMap<Key, Document>,
    /// The last version given out, to any key.
    last_version: Version,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        let mut state = self.state.lock();
        if state.logs.contains_key(&log) {
            return Ok(Created::Exists);
        }
        state.logs.insert(log, Some(Log::new(first)));
        Ok(Created::Made)
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, _: Purpose) -> Result<Append> {
        check_batch(&batch)?;
        match self.state.lock().open(log) {
            Some(log) => log.append(expected_next, batch),
            None => Ok(Append::Closed),
        }
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        Ok(self.state.lock().open(log).map_or(Read::Closed, |log| log.read(from, limit)))
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        Ok(self.state.lock().open(log).map(|log| log.bounds()))
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        if let Some(log) = self.state.lock().open(log) {
            log.trim(before);
        }
        Ok(())
    }

    async fn close(&self, log: LogId) -> Result<()> {
        if let Some(slot) = self.state.lock().logs.get_mut(&log) {
            *slot = None;
        }
        Ok(())
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let open = state.logs.range((lower, Bound::Unbounded)).filter(|(_, log)| log.is_some());
        Ok(open.map(|(id, _)| *id).take(limit).collect())
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        Ok(self.state.lock().documents.get(key).cloned())
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        check_document(key, &value)?;
        let mut state = self.state.lock();
        Ok(state.change(key, expected, |documents, version| {
            documents.insert(key.clone(), Document { version, value });
        }))
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        check_key(key)?;
        let mut state = self.state.lock();
        Ok(state.change(key, expected, |documents, _| {
            documents.remove(key);
        }))
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        let state = self.state.lock();
        let found = state.documents.range::<Key, _>(scan_range(prefix, after, order));
        let wanted = |(key, _): &(&Key, &Document)| key.0.starts_with(&prefix.0);
        let copied = |(key, document): (&Key, &Document)| (key.clone(), document.clone());
        Ok(match order {
            Order::Ascending => found.take_while(wanted).take(limit).map(copied).collect(),
            Order::Descending => found.rev().take_while(wanted).take(limit).map(copied).collect(),
        })
    }

    fn health(&self) -> Health {
        Health::Ready
    }
}

impl State {
    fn open(&mut self, log: LogId) -> Option<&mut Log> {
        self.logs.get_mut(&log)?.as_mut()
    }

    /// Makes a change with a new version, if the key's present version is `expected`.
    fn change(
        &mut self,
        key: &Key,
        expected: Version,
        change: impl FnOnce(&mut BTreeMap<Key, Document>, Version),
    ) -> Put {
        let present = self.documents.get(key).map_or(Version::ABSENT, |document| document.version);
        if present != expected {
            return Put::Conflict(present);
        }
        self.last_version = Version(self.last_version.0 + 1);
        change(&mut self.documents, self.last_version);
        Put::Done(self.last_version)
    }
}

/// One open log.
struct Log {
    first: Offset,
    next: Offset,
    last_time: Time,
    bytes: u64,
    /// Everything kept, in offset order and so in time order.
    batches: VecDeque<StoredBatch>,
}

impl Log {
    const fn new(first: Offset) -> Self {
        Self { first, next: first, last_time: Time(0), bytes: 0, batches: VecDeque::new() }
    }

    fn append(&mut self, expected_next: Offset, batch: Batch) -> Result<Append> {
        if expected_next != self.next {
            return Ok(Append::Conflict { next: self.next });
        }
        let Some(next) = self.next.0.checked_add(u64::from(batch.count)) else {
            return Err(StoreError::Full(format!("the log's offsets end after {}", self.next)));
        };
        let (first, time) = (self.next, batch.time.max(self.last_time));
        self.next = Offset(next);
        self.last_time = time;
        self.bytes += size(&batch.payload);
        let Batch { count, nonce, payload, .. } = batch;
        self.batches.push_back(StoredBatch { first, count, time, nonce, payload });
        Ok(Append::Appended { first, time })
    }

    fn read(&self, from: Position, limit: ReadLimit) -> Read {
        let start = match from {
            Position::Offset(at) if at < self.first => return Read::Trimmed { first: self.first },
            Position::Offset(at) => self.batches.partition_point(|batch| batch.next() <= at),
            Position::Time(time) => self.batches.partition_point(|batch| batch.time < time),
            Position::Tail => self.batches.len().saturating_sub(1),
        };
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for batch in self.batches.range(start..) {
            bytes = bytes.saturating_add(batch.payload.len());
            if !taken.is_empty() && (bytes > limit.bytes || taken.len() >= limit.batches) {
                break;
            }
            taken.push(batch.clone());
        }
        Read::Batches(taken)
    }

    const fn bounds(&self) -> Bounds {
        Bounds { first: self.first, next: self.next, last_time: self.last_time, bytes: self.bytes }
    }

    fn trim(&mut self, before: Offset) {
        self.first = self.first.max(before.min(self.next));
        while let Some(gone) = self.batches.pop_front_if(|batch| batch.next() <= self.first) {
            self.bytes -= size(&gone.payload);
        }
        if self.batches.len() < self.batches.capacity() / 4 {
            self.batches.shrink_to(self.batches.len() * 2);
        }
    }
}

fn size(payload: &Bytes) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX)
}

/// Where a scan looks: from its first candidate to the map's end in the order asked, so that the scan may stop at the
/// first key without the prefix.
fn scan_range(prefix: &Key, after: Option<&Key>, order: Order) -> (Bound<Key>, Bound<Key>) {
    match order {
        Order::Ascending => {
            let after = after.filter(|after| *after >= prefix);
            (
                after.map_or_else(|| Bound::Included(prefix.clone()), |after| Bound::Excluded(after.clone())),
                Bound::Unbounded,
            )
        }
        Order::Descending => {
            let ends = [prefix.prefix_end(), after.cloned()];
            (Bound::Unbounded, ends.into_iter().flatten().min().map_or(Bound::Unbounded, Bound::Excluded))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Nonce;
    use super::super::contract::{Subject, contract_suite};
    use super::*;

    contract_suite!(memory, async { Subject::new(MemoryStore::new()) });

    #[tokio::test]
    async fn trimming_and_closing_free_the_memory() {
        let (store, log) = (MemoryStore::new(), LogId(1));
        store.create(log, Offset(0)).await.unwrap();
        let payloads = [Bytes::from(vec![1; 1000]), Bytes::from(vec![2; 1000])];
        for (at, payload) in (0..).zip(&payloads) {
            let batch = Batch { count: 1, time: Time(0), nonce: Nonce::default(), payload: payload.clone() };
            store.append(log, Offset(at), batch, Purpose::Growth).await.unwrap();
        }
        assert!(payloads.iter().all(|payload| !payload.is_unique()));
        store.trim(log, Offset(1)).await.unwrap();
        assert!(payloads[0].is_unique() && !payloads[1].is_unique());
        store.close(log).await.unwrap();
        assert!(payloads[1].is_unique());
    }

    #[tokio::test]
    async fn a_log_without_offsets_left_is_full() {
        let (store, log) = (MemoryStore::new(), LogId(1));
        store.create(log, Offset(u64::MAX - 1)).await.unwrap();
        let batch = Batch { count: 2, time: Time(0), nonce: Nonce::default(), payload: Bytes::new() };
        let refused = store.append(log, Offset(u64::MAX - 1), batch, Purpose::Growth).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        assert_eq!(store.bounds(log).await.unwrap().unwrap().next, Offset(u64::MAX - 1));
    }
}
