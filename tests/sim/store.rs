//! The two places where a run is watched: [`Tap`] over the one true store, where the auditor sees what really happens, and [`Wire`]
//! between a broker and its faults, where the trace sees what the broker sees, and where a broker's death cuts everything off.

use crate::audit::Audit;
use crate::trace::{Brief, Trace};
use angelia::storage::memory::MemoryStore;
use angelia::storage::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, StoredBatch, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The true store. Tells the auditor of every change in the order in which they happen.
pub(crate) struct Tap {
    store: MemoryStore,
    audit: Arc<Mutex<Audit>>,
}

impl Tap {
    pub(crate) fn new(audit: Arc<Mutex<Audit>>) -> Self {
        Self { store: MemoryStore::new(), audit }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

#[async_trait]
impl Store for Tap {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.store.create(log, first).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        let Batch { count, nonce, payload, .. } = batch.clone();
        let answer = self.store.append(log, expected_next, batch, purpose).await;
        if let Ok(Append::Appended { first, time }) = &answer {
            let stored = StoredBatch { first: *first, count, time: *time, nonce, payload };
            self.audit.lock().appended(log, &stored);
        }
        answer
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.store.read(log, from, limit).await
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.store.bounds(log).await
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        let answer = self.store.trim(log, before).await;
        if let Some(bounds) = self.store.bounds(log).await? {
            self.audit.lock().trimmed(log, bounds.first.0);
        }
        answer
    }

    async fn close(&self, log: LogId) -> Result<()> {
        let answer = self.store.close(log).await;
        self.audit.lock().closed(log);
        answer
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.store.logs(after, limit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        self.store.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        self.store.put(key, value, expected).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.store.delete(key, expected).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.store.scan(prefix, after, limit, order).await
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

/// What one broker calls its store. After its death no call comes through and none is answered.
pub(crate) struct Wire {
    inner: Arc<dyn Store>,
    name: String,
    trace: Arc<Trace>,
    dead: CancellationToken,
    /// The broker dies at the n-th change from now, before or after it is done.
    fuse: Mutex<Option<(u64, bool)>>,
}

impl Wire {
    pub(crate) fn new(inner: Arc<dyn Store>, name: String, trace: Arc<Trace>, dead: CancellationToken) -> Self {
        Self { inner, name, trace, dead, fuse: Mutex::new(None) }
    }

    /// Lets the broker die at the n-th change from now (1 is the next one), before or after it is done.
    pub(crate) fn die_at(&self, change: u64, done: bool) {
        *self.fuse.lock() = Some((change, done));
    }

    /// A change: dies of it if it is time.
    async fn change<T: Brevity>(&self, call: String, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let done = {
            let mut fuse = self.fuse.lock();
            let left = fuse.as_mut().map(|(left, done)| {
                *left = left.saturating_sub(1);
                (*left, *done)
            });
            left.filter(|(left, _)| *left == 0).map(|(_, done)| done)
        };
        match done {
            None => return self.run(call, future).await,
            Some(true) => drop(self.run(call, future).await),
            Some(false) => {}
        }
        self.dead.cancel();
        std::future::pending().await
    }

    async fn run<T: Brevity>(&self, call: String, future: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.dead.is_cancelled() {
            return std::future::pending().await;
        }
        let answer = tokio::select! {
            biased;
            () = self.dead.cancelled() => std::future::pending().await,
            answer = future => answer,
        };
        let brief = answer.as_ref().map_or_else(ToString::to_string, Brevity::brief);
        self.trace.note(&self.name, format_args!("{call} = {brief}"));
        answer
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire of {}", self.name)
    }
}

/// An answer as one short line that tells everything in it.
trait Brevity {
    fn brief(&self) -> String;
}

macro_rules! brief_by_debug {
    ($($answer:ty),*) => {
        $(impl Brevity for $answer {
            fn brief(&self) -> String {
                format!("{self:?}")
            }
        })*
    };
}

brief_by_debug!(Created, Append, (), Option<Bounds>, Put, Vec<LogId>);

impl Brevity for Read {
    fn brief(&self) -> String {
        let Self::Batches(batches) = self else { return format!("{self:?}") };
        let of = |batch: &StoredBatch| {
            let StoredBatch { first, count, time, nonce, payload } = batch;
            format!("{first}+{count}@{} {:x}/{} {}", time.0, nonce.writer, nonce.sequence, Brief(payload))
        };
        format!("[{}]", batches.iter().map(of).collect::<Vec<_>>().join(", "))
    }
}

impl Brevity for Option<Document> {
    fn brief(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |found| format!("v{} {}", found.version.0, Brief(&found.value)))
    }
}

impl Brevity for Vec<(Key, Document)> {
    fn brief(&self) -> String {
        let of = |(key, found): &(Key, Document)| format!("{key} v{} {}", found.version.0, Brief(&found.value));
        format!("[{}]", self.iter().map(of).collect::<Vec<_>>().join(", "))
    }
}

#[async_trait]
impl Store for Wire {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.change(format!("create {log} {first}"), self.inner.create(log, first)).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        let Batch { count, time, nonce, payload } = &batch;
        let what = format!("{} {:x}/{} {}", time.0, nonce.writer, nonce.sequence, Brief(payload));
        let call = format!("append {log} {expected_next}+{count}@{what} {purpose:?}");
        self.change(call, self.inner.append(log, expected_next, batch, purpose)).await
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.run(format!("read {log} {from:?}"), self.inner.read(log, from, limit)).await
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.run(format!("bounds {log}"), self.inner.bounds(log)).await
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.change(format!("trim {log} {before}"), self.inner.trim(log, before)).await
    }

    async fn close(&self, log: LogId) -> Result<()> {
        self.change(format!("close {log}"), self.inner.close(log)).await
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.run(format!("logs {after:?}"), self.inner.logs(after, limit)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        self.run(format!("get {key}"), self.inner.get(key)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        let call = format!("put {key} v{} {}", expected.0, Brief(&value));
        self.change(call, self.inner.put(key, value, expected)).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.change(format!("delete {key} v{}", expected.0), self.inner.delete(key, expected)).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.run(format!("scan {prefix} {after:?} {order:?}"), self.inner.scan(prefix, after, limit, order)).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
