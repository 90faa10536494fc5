//! The embedded store: one directory, one stream of records for all logs and documents.
//!
//! The map:
//!
//! - `group`, `file`, `index`, `checkpoint`: the bytes on the disk, each file's format in its head;
//! - `state`, `recent`: what is known in memory; `reader`: reading batches back;
//! - `queue`, `decide`, `writer`: from a request to a synced group and its answer, on one thread of its own;
//! - `pool`, `compact`, `upkeep`: spare segments, copying forward, checkpoints, on a second thread;
//! - `recovery`: opening; `backup`, `inspect`: a copy of a running store, a report on a stopped one;
//! - `vfs`: the disk, real, in memory, or failing.
//!
//! This file owns [`SegmentStore`]: its life, and the [`Store`] trait over the parts.

mod backup;
mod checkpoint;
mod compact;
mod decide;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
mod index;
mod inspect;
mod pool;
mod queue;
mod reader;
mod recent;
mod recovery;
mod state;
mod upkeep;
pub mod vfs;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

pub use inspect::{DocumentKind, LogReport, Report, SegmentReport, inspect};

use self::decide::Room;
use self::file::DATA_START;
use self::pool::Pool;
use self::queue::{Queue, Reply, Request};
use self::state::State;
use self::upkeep::{Covered, Signal};
use self::vfs::{Lock, Vfs};
use self::writer::Writer;
use super::limits::{check_batch, check_document, check_key};
use super::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, StoreError, Version,
};
use crate::clock::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// The file whose lock says that the directory is in use.
const LOCK: &str = "LOCK";
/// A checkpoint is written when the stream has grown by so many times its size.
const CHECKPOINT_SHARE: u64 = 4;
/// What recent batches may take when nothing is written for a while.
const IDLE_CACHE_BYTES: usize = 8 << 20;
/// The largest segment: positions take 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Settings of a store.
#[derive(Clone)]
pub struct Options {
    /// The size of a segment file, 64 KiB to 2 GiB. A batch that is larger gets a file of its own size.
    pub segment_bytes: u64,
    /// Spares kept ready. When the disk gives no more: below this many segments' room new data is refused, below one
    /// everything but relief.
    pub reserve_segments: usize,
    /// Freed segments kept for reuse; further ones are removed.
    pub pool_segments: usize,
    /// Most bytes of recent batches in memory.
    pub cache_bytes: usize,
    /// Whether new spares are filled with zeros in the background: once, so that later syncs are cheap.
    pub zero_fill: bool,
    /// Who is told of each commit.
    pub observer: Option<Arc<dyn CommitObserver>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_segments: 2,
            pool_segments: 4,
            cache_bytes: 32 << 20,
            zero_fill: true,
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment_bytes, reserve_segments, pool_segments, cache_bytes, zero_fill, .. } = self;
        f.debug_struct("Options")
            .field("segment_bytes", segment_bytes)
            .field("reserve_segments", reserve_segments)
            .field("pool_segments", pool_segments)
            .field("cache_bytes", cache_bytes)
            .field("zero_fill", zero_fill)
            .finish_non_exhaustive()
    }
}

/// Is told of every commit, on the writer's thread: must be quick.
pub trait CommitObserver: Send + Sync {
    /// A group of `operations` requests and `bytes` bytes is durable; its sync took `sync`.
    fn committed(&self, operations: usize, bytes: u64, sync: Duration);
}

/// Figures of a running store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups committed since the start.
    pub commits: u64,
    /// Requests answered by them.
    pub operations: u64,
    /// Bytes written and synced by them.
    pub synced_bytes: u64,
    /// Bytes of all segment files and spares.
    pub store_bytes: u64,
    /// Segments in use.
    pub segments_live: usize,
    /// Spares.
    pub segments_pool: usize,
    /// Open logs.
    pub logs: usize,
    /// Documents.
    pub documents: usize,
    /// Bytes of recent batches in memory.
    pub cache_bytes: usize,
    /// Whether new data is refused for want of room.
    pub full: bool,
}

/// The embedded store. Dropping it without [`SegmentStore::close`] is like a crash: sound, but the next open scans the last segment.
#[derive(Debug)]
pub struct SegmentStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Given back last.
    lock: Mutex<Option<Box<dyn Lock>>>,
}

/// What the threads and the callers share.
#[derive(Debug)]
struct Shared {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    options: Options,
    clock: Clock,
    state: RwLock<State>,
    pool: Pool,
    queue: Queue,
    upkeep: Signal,
    covered: Mutex<Covered>,
    /// Where the active segment's groups end.
    end: AtomicU64,
    /// Backups under way: no segment may go meanwhile.
    pins: AtomicUsize,
    down: AtomicBool,
    /// Why, if it was a failure.
    poison: Mutex<Option<String>>,
    stats: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    operations: AtomicU64,
    synced_bytes: AtomicU64,
}

impl Shared {
    fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// What to answer if the store takes nothing more.
    fn down(&self) -> Option<StoreError> {
        self.is_down().then(|| match self.poison.lock().clone() {
            Some(why) => StoreError::Poisoned(why),
            None => StoreError::Unavailable("the store is closed".into()),
        })
    }

    /// Ends the store's life, with a failure's reason or without.
    fn shut_down(&self, failure: Option<&str>) {
        if let Some(why) = failure {
            let mut poison = self.poison.lock();
            if !self.is_down() && poison.is_none() {
                tracing::error!(why, "the store takes nothing more until it is opened anew");
                *poison = Some(why.to_owned());
            }
        }
        self.down.store(true, Ordering::SeqCst);
        self.queue.close();
        self.upkeep.wake();
    }

    /// What room is left, if the disk refuses to give more.
    fn room(&self) -> Option<Room> {
        let bytes = self.options.segment_bytes;
        self.pool.no_room().then(|| Room {
            left: bytes.saturating_sub(self.end.load(Ordering::Relaxed)) + self.pool.len() as u64 * bytes,
            reserve: self.options.reserve_segments as u64 * bytes,
            last: bytes,
            trims: bytes / 16,
        })
    }

    fn is_full(&self) -> bool {
        self.room().is_some_and(|room| room.left < room.reserve)
    }

    fn committed(&self, operations: usize, bytes: u64, sync: Duration) {
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.operations.fetch_add(operations as u64, Ordering::Relaxed);
        self.stats.synced_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(observer) = &self.options.observer {
            observer.committed(operations, bytes, sync);
        }
    }

    /// Hands a request to the writer and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(request(reply)).await;
        match answer.await {
            Ok(answer) => answer,
            // The request was dropped before anybody looked at it.
            Err(_) => Err(self.down().unwrap_or_else(|| StoreError::Unknown("the writer has gone".into()))),
        }
    }
}

impl SegmentStore {
    /// Opens the store of a directory, or makes one. Blocks for the recovery: reading checkpoint and footers, scanning the last
    /// segment. Refuses a directory in use, damaged data (naming file and position) and another on-disk format.
    pub fn open(dir: &Path, options: Options, clock: Clock, vfs: Arc<dyn Vfs>) -> Result<Self> {
        if !(64 << 10..=SEGMENT_BYTES_MAX).contains(&options.segment_bytes) {
            let what = format!("a segment of {} bytes is not within 64 KiB and 2 GiB", options.segment_bytes);
            return Err(StoreError::Open(what));
        }
        vfs.make_dir(dir).map_err(|error| StoreError::Open(format!("{} cannot be made: {error}", dir.display())))?;
        let lock = lock(vfs.as_ref(), dir)?;
        let loaded = recovery::load(vfs.as_ref(), dir)?;
        let Options { segment_bytes, reserve_segments, pool_segments, cache_bytes, .. } = options;
        let pool = Pool::new(Arc::clone(&vfs), dir, segment_bytes, reserve_segments.max(1), pool_segments);
        let (mut loaded, segment) = recovery::open(vfs.as_ref(), dir, &pool, loaded, options.zero_fill)?;
        loaded.state.recent.budget = cache_bytes;
        let (covered, last) = (loaded.covered, loaded.last.take());
        let group = last.map_or(1, |last| last.next_group);
        let shared = Arc::new(Shared {
            vfs,
            dir: dir.to_owned(),
            options,
            clock,
            state: RwLock::new(loaded.state),
            pool,
            queue: Queue::new(),
            upkeep: Signal::default(),
            covered: Mutex::new(Covered { segment: covered, ..Covered::default() }),
            end: AtomicU64::new(DATA_START),
            pins: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            poison: Mutex::new(None),
            stats: Counters::default(),
        });
        let chain = segment.crc;
        let writer = Writer { shared: Arc::clone(&shared), segment, end: DATA_START, chain, group };
        let upkeep = Arc::clone(&shared);
        let mut store = Self { shared, threads: Mutex::default(), lock: Mutex::new(Some(lock)) };
        store.start("angelia-store", move || writer.run())?;
        store.start("angelia-upkeep", move || upkeep::run(&upkeep))?;
        Ok(store)
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.threads.lock().push(thread.map_err(|error| StoreError::Open(format!("no thread: {error}")))?);
        Ok(())
    }

    /// Stops cleanly: what waits is committed, the end mark and a checkpoint are written, the threads end, the directory is free.
    /// Later calls answer [`StoreError::Unavailable`].
    pub async fn close(&self) -> Result<()> {
        let stopped = self.shared.ask(|reply| Request::Stop { reply }).await;
        self.shared.shut_down(None);
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(|| join(threads)).await;
        drop(self.lock.lock().take());
        stopped.and(joined.map_err(|error| StoreError::Unavailable(error.to_string())))
    }

    /// Figures, cheap enough for every scrape of metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared { stats, pool, state, options, .. } = &*self.shared;
        let state = state.read();
        let spares = pool.len();
        Stats {
            commits: stats.commits.load(Ordering::Relaxed),
            operations: stats.operations.load(Ordering::Relaxed),
            synced_bytes: stats.synced_bytes.load(Ordering::Relaxed),
            store_bytes: (state.segments.len() + spares) as u64 * options.segment_bytes,
            segments_live: state.segments.len(),
            segments_pool: spares,
            logs: state.logs.len(),
            documents: state.documents.len(),
            cache_bytes: state.recent.bytes(),
            full: self.shared.is_full(),
        }
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        self.shared.shut_down(None);
        join(std::mem::take(&mut *self.threads.lock()));
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the store has panicked");
        }
    }
}

/// Takes the directory for this process.
fn lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn Lock>> {
    vfs.lock(&dir.join(LOCK)).map_err(|error| {
        StoreError::Open(match error.kind() {
            ErrorKind::WouldBlock => format!("{} is in use by another process; stop it first", dir.display()),
            _ => format!("{} cannot be locked: {error}", dir.display()),
        })
    })
}

#[async_trait]
impl Store for SegmentStore {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.shared.ask(|reply| Request::Create { log, first, reply }).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        check_batch(&batch)?;
        let request = |reply| Request::Append { log, expected: expected_next, batch, purpose, reply };
        self.shared.ask(request).await
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        let batches = if from == Position::Tail { 1 } else { limit.batches };
        let limit = ReadLimit { batches, ..limit };
        if let Some(read) = reader::read_recent(&self.shared.state, log, from, limit) {
            return Ok(read);
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || reader::read(&shared.state, log, from, limit)).await;
        read.map_err(|error| StoreError::Unavailable(format!("a read was given up: {error}")))?
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        Ok(self.shared.state.read().bounds(log))
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.shared.ask(|reply| Request::Trim { log, before, reply }).await
    }

    async fn close(&self, log: LogId) -> Result<()> {
        self.shared.ask(|reply| Request::Close { log, reply }).await
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.shared.state.read().logs.range((from, Bound::Unbounded)).take(limit).map(|(id, _)| *id).collect())
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        Ok(self.shared.state.read().documents.get(&key.0).cloned())
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        check_document(key, &value)?;
        let key = key.clone();
        self.shared.ask(|reply| Request::Put { key, value, expected, reply }).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        check_key(key)?;
        let key = key.clone();
        self.shared.ask(|reply| Request::Delete { key, expected, reply }).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        let found = self.shared.state.read().scan(&prefix.0, after.map(|key| &key.0), limit, order);
        Ok(found.into_iter().map(|(key, document)| (Key(key), document)).collect())
    }

    fn health(&self) -> Health {
        if self.shared.is_down() {
            Health::Down
        } else if self.shared.is_full() {
            Health::Full
        } else {
            Health::Ready
        }
    }
}
