//! A decorator that reports how long each call of a store took and how it ended.
//!
//! Owns the names of operations and outcomes; both sets are small and fixed, fit for a metric's labels. Never changes a
//! call or its answer.

use super::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, StoreError, Version,
};
use crate::clock::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who is told about the calls of a [`MeteredStore`]. Called on the caller's task at the end of each call: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A call of `operation` (the method's name) ended with `outcome` after so many seconds.
    ///
    /// Outcomes: `ok`; the certain refusals `exists`, `conflict`, `closed`, `trimmed`, `absent`; a kind of [`StoreError`]:
    /// `unknown`, `unavailable`, `full`, `poisoned`, `too_large`, `corrupt`, `open`; and `abandoned` if the caller did not
    /// wait for the answer.
    fn observed(&self, operation: &'static str, outcome: &'static str, seconds: f64);
}

/// A store whose calls are reported.
pub struct MeteredStore<O> {
    inner: Arc<dyn Store>,
    observer: O,
    clock: Clock,
}

impl<O: Observer> MeteredStore<O> {
    /// Reports the calls of `inner` to `observer`, timed by the clock's monotonic time.
    pub const fn new(inner: Arc<dyn Store>, observer: O, clock: Clock) -> Self {
        Self { inner, observer, clock }
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        name: impl FnOnce(&T) -> &'static str + Send,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut report = Report { store: self, operation, outcome: "abandoned", start: self.clock.monotonic() };
        let answer = call.await;
        report.outcome = match &answer {
            Ok(answer) => name(answer),
            Err(error) => error_name(error),
        };
        answer
    }
}

/// Reports a call when it is dropped: at its end, or when its caller gives it up.
struct Report<'a, O: Observer> {
    store: &'a MeteredStore<O>,
    operation: &'static str,
    outcome: &'static str,
    start: Duration,
}

impl<O: Observer> Drop for Report<'_, O> {
    fn drop(&mut self) {
        let took = self.store.clock.monotonic().saturating_sub(self.start);
        self.store.observer.observed(self.operation, self.outcome, took.as_secs_f64());
    }
}

const fn error_name(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unknown(_) => "unknown",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Full(_) => "full",
        StoreError::Poisoned(_) => "poisoned",
        StoreError::TooLarge { .. } => "too_large",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Open(_) => "open",
    }
}

const fn created_name(created: &Created) -> &'static str {
    match created {
        Created::Made => "ok",
        Created::Exists => "exists",
    }
}

const fn append_name(append: &Append) -> &'static str {
    match append {
        Append::Appended { .. } => "ok",
        Append::Conflict { .. } => "conflict",
        Append::Closed => "closed",
    }
}

const fn read_name(read: &Read) -> &'static str {
    match read {
        Read::Batches(_) => "ok",
        Read::Trimmed { .. } => "trimmed",
        Read::Closed => "closed",
    }
}

const fn put_name(put: &Put) -> &'static str {
    match put {
        Put::Done(_) => "ok",
        Put::Conflict(_) => "conflict",
    }
}

/// The outcome of what has only one.
const fn ok<T>(_: &T) -> &'static str {
    "ok"
}

impl<O> fmt::Debug for MeteredStore<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredStore").field(&self.inner).finish()
    }
}

#[async_trait]
impl<O: Observer> Store for MeteredStore<O> {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.timed("create", created_name, self.inner.create(log, first)).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        self.timed("append", append_name, self.inner.append(log, expected_next, batch, purpose)).await
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.timed("read", read_name, self.inner.read(log, from, limit)).await
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        let name = |found: &Option<Bounds>| if found.is_some() { "ok" } else { "closed" };
        self.timed("bounds", name, self.inner.bounds(log)).await
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.timed("trim", ok, self.inner.trim(log, before)).await
    }

    async fn close(&self, log: LogId) -> Result<()> {
        self.timed("close", ok, self.inner.close(log)).await
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.timed("logs", ok, self.inner.logs(after, limit)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        let name = |found: &Option<Document>| if found.is_some() { "ok" } else { "absent" };
        self.timed("get", name, self.inner.get(key)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        self.timed("put", put_name, self.inner.put(key, value, expected)).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.timed("delete", put_name, self.inner.delete(key, expected)).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.timed("scan", ok, self.inner.scan(prefix, after, limit, order)).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{ALL, Subject, batch, contract_suite, fresh_log, made};
    use super::super::faulty::{Fault, FaultyStore, Operation};
    use super::super::memory::MemoryStore;
    use super::*;
    use parking_lot::Mutex;

    contract_suite!(metered, async { Subject::new(Meter::of(Arc::new(MemoryStore::new())).store) });

    type Seen = Arc<Mutex<Vec<(&'static str, &'static str, f64)>>>;

    impl Observer for Seen {
        fn observed(&self, operation: &'static str, outcome: &'static str, seconds: f64) {
            self.lock().push((operation, outcome, seconds));
        }
    }

    struct Meter {
        store: MeteredStore<Seen>,
        seen: Seen,
    }

    impl Meter {
        fn of(inner: Arc<dyn Store>) -> Self {
            let seen = Seen::default();
            Self { store: MeteredStore::new(inner, Arc::clone(&seen), Clock::System), seen }
        }

        /// What was reported since the last look.
        fn names(&self) -> Vec<(&'static str, &'static str)> {
            self.seen.lock().drain(..).map(|(operation, outcome, _)| (operation, outcome)).collect()
        }
    }

    #[tokio::test]
    async fn each_call_on_a_log_is_reported_with_its_outcome() {
        let meter = Meter::of(Arc::new(MemoryStore::new()));
        let store = &meter.store;
        let log = made(store).await;
        store.create(log, Offset(0)).await.unwrap();
        for _ in 0..2 {
            store.append(log, Offset(0), batch(1, "x"), Purpose::Growth).await.unwrap();
        }
        store.trim(log, Offset(1)).await.unwrap();
        store.read(log, Position::Offset(Offset(0)), ALL).await.unwrap();
        store.read(log, Position::Tail, ALL).await.unwrap();
        store.bounds(log).await.unwrap();
        store.logs(None, 1).await.unwrap();
        store.close(log).await.unwrap();
        store.append(log, Offset(0), batch(1, "x"), Purpose::Growth).await.unwrap();
        store.read(log, Position::Tail, ALL).await.unwrap();
        store.bounds(log).await.unwrap();
        let expected = [
            ("create", "ok"),
            ("create", "exists"),
            ("append", "ok"),
            ("append", "conflict"),
            ("trim", "ok"),
            ("read", "trimmed"),
            ("read", "ok"),
            ("bounds", "ok"),
            ("logs", "ok"),
            ("close", "ok"),
            ("append", "closed"),
            ("read", "closed"),
            ("bounds", "closed"),
        ];
        assert_eq!(meter.names(), expected);
    }

    #[tokio::test]
    async fn each_call_on_a_document_is_reported_with_its_outcome() {
        let meter = Meter::of(Arc::new(MemoryStore::new()));
        let (store, key) = (&meter.store, Key::new("kind/one"));
        store.get(&key).await.unwrap();
        store.put(&key, "a".into(), Version::ABSENT).await.unwrap();
        store.put(&key, "a".into(), Version::ABSENT).await.unwrap();
        let version = store.get(&key).await.unwrap().unwrap().version;
        store.scan(&key, None, 1, Order::Ascending).await.unwrap();
        store.delete(&key, version).await.unwrap();
        store.delete(&key, version).await.unwrap();
        let expected = [
            ("get", "absent"),
            ("put", "ok"),
            ("put", "conflict"),
            ("get", "ok"),
            ("scan", "ok"),
            ("delete", "ok"),
            ("delete", "conflict"),
        ];
        assert_eq!(meter.names(), expected);
    }

    #[tokio::test]
    async fn a_failure_is_reported_by_its_kind() {
        let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        let meter = Meter::of(faulty.clone());
        for fault in [Fault::Refuse, Fault::LoseReply] {
            faulty.fail_next(Operation::Create, fault);
            meter.store.create(fresh_log(), Offset(0)).await.unwrap_err();
        }
        assert_eq!(meter.names(), [("create", "unavailable"), ("create", "unknown")]);
    }

    #[tokio::test]
    async fn the_time_of_a_call_is_measured_even_if_nobody_waits_for_its_end() {
        let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        let (seen, clock) = (Seen::default(), Clock::manual(0));
        let store = MeteredStore::new(faulty.clone(), Arc::clone(&seen), clock.clone());
        faulty.fail_next(Operation::Logs, Fault::DelayRequest(Duration::from_secs(3600)));
        let mut call = store.logs(None, 1);
        assert!(futures_util::poll!(&mut call).is_pending());
        clock.advance(Duration::from_millis(1500));
        drop(call);
        assert_eq!(*seen.lock(), [("logs", "abandoned", 1.5)]);
    }
}
