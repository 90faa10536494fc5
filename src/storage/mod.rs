//! The storage trait: bytes under offsets (logs) and bytes under keys (documents).
//!
//! Owns the vocabulary and the written contract that every engine keeps; its numbers are the
//! names of the tests in `contract.rs`. Knows nothing of topics, leases, dialects or HTTP.
//!
//! # The contract
//!
//! Logs:
//! 1. `create` is the only way a log begins; creating a log that exists (open or closed) changes nothing and answers
//!    [`Created::Exists`].
//! 2. Offsets are dense: a batch of `count` messages appended at `next` takes `next..next + count`.
//! 3. `append` applies only if `expected_next` is the log's next offset, else [`Append::Conflict`] names the real one
//!    and nothing changed.
//! 4. `append`, `read`, `bounds` of an unknown, closed or collected log answer `Closed`; none of them creates.
//! 5. `Ok` means durable: after a crash at any later instant the effect is there.
//! 6. An append is atomic: all of its batch is there, or nothing.
//! 7. A log's times never go back: the stored time is the later of the batch's and the log's last one.
//! 8. `read` never skips silently: batches come in offset order without a gap, the first one holds the position asked
//!    for (so it may start before it); below the trim point it answers [`Read::Trimmed`]; at or beyond the tail
//!    it answers no batches.
//! 9. `read` by time starts at the first batch whose time is at or after it.
//! 10. `read` returns at least one batch if there is one, whatever the limit; otherwise it stops at either limit.
//! 11. `read` of [`Position::Tail`] answers the newest batch alone, if the log has one that is not trimmed.
//! 12. `trim` is idempotent, never moves back, never moves beyond `next`; a batch is readable while any of its
//!     offsets is at or above the trim point. What is trimmed gives its space back.
//! 13. `close` is for ever and idempotent; afterwards the log's space comes back.
//!
//! Documents:
//! 14. `put` and `delete` apply only if `expected` is the key's present version ([`Version::ABSENT`]: there is none), else
//!     [`Put::Conflict`] names the present one and nothing changed.
//! 15. Versions of a key never repeat, across delete and create too.
//! 16. `scan` answers the keys that begin with the prefix, strictly after `after` in the order asked, at most `limit`.
//! 17. One call's effect is seen by every later call, of any kind, once it answered.
//!
//! Failures:
//! 18. Three outcomes: `Ok` (applied or refused with certainty), [`StoreError::is_unknown`] (may or may not have been
//!     applied), any other error (not applied). Unknown is resolved by reading back the batch's nonce, never by blind retry.
//! 19. A batch or value above the engine's limits answers [`StoreError::TooLarge`] before anything is written.

#[cfg(test)]
pub(crate) mod contract;
pub mod cql;
#[cfg(test)]
pub(crate) mod differential_tests;
pub mod faulty;
mod limits;
pub mod memory;
pub mod metered;
pub mod segment;
pub mod transfer;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;

/// Most bytes of one batch's payload: one publish request (8 MiB) plus what encoding adds.
pub const BATCH_BYTES_MAX: usize = 9 << 20;
/// Most messages of one batch.
pub const BATCH_COUNT_MAX: u32 = 1 << 20;
/// Most bytes of a document's value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 1024;

/// A log's identity: a fresh UUID for each log ever made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u128);

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {:032x}", self.0)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A message's place in its log, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `count` further on; saturates.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Wall time in microseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

/// Names one append for ever: a writer (random at each start) and its sequence. Tells after an unknown outcome whose batch
/// stands at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Nonce {
    /// The writer, a UUID drawn at its start.
    pub writer: u128,
    /// The writer's own count.
    pub sequence: u64,
}

/// What an append carries.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How many offsets the batch takes; at least 1.
    pub count: u32,
    /// When the batch was made.
    pub time: Time,
    /// Whose append it is.
    pub nonce: Nonce,
    /// The bytes, opaque to the engine.
    pub payload: Bytes,
}

/// A batch as it stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The offset of its first message.
    pub first: Offset,
    /// How many offsets it takes.
    pub count: u32,
    /// Its stored time (contract 7).
    pub time: Time,
    /// Whose append it was.
    pub nonce: Nonce,
    /// The bytes.
    pub payload: Bytes,
}

impl StoredBatch {
    /// The offset after its last message.
    #[must_use]
    pub const fn next(&self) -> Offset {
        self.first.plus(self.count as u64)
    }
}

/// Outcome of `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The log was made.
    Made,
    /// A log of this id exists or existed.
    Exists,
}

/// Outcome of `append`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// The batch is durable.
    Appended {
        /// The offset of its first message (= `expected_next`).
        first: Offset,
        /// The time it was stored with.
        time: Time,
    },
    /// Somebody else appended; nothing changed.
    Conflict {
        /// The log's real next offset.
        next: Offset,
    },
    /// There is no such open log.
    Closed,
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the batch that holds this offset.
    Offset(Offset),
    /// At the first batch whose time is at or after this.
    Time(Time),
    /// At the newest batch, which is all that comes back.
    Tail,
}

/// Where a read stops: whichever comes first, but never before one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most payload bytes.
    pub bytes: usize,
    /// Most batches.
    pub batches: usize,
}

/// Outcome of `read`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Batches in order, none when the position is at or beyond the tail.
    Batches(Vec<StoredBatch>),
    /// The position lies below the trim point.
    Trimmed {
        /// The first offset that is still kept.
        first: Offset,
    },
    /// There is no such open log.
    Closed,
}

/// The extent of an open log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset kept (the trim point).
    pub first: Offset,
    /// The offset that the next message gets.
    pub next: Offset,
    /// The time of the newest batch ever appended, or zero.
    pub last_time: Time,
    /// Payload bytes kept, as the engine counts them.
    pub bytes: u64,
}

/// A key: bytes, ordered as bytes. The part before the first `/` is a bounded kind, fit for a metric's label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Bytes);

impl Key {
    /// A key of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Bytes::from(text.into()))
    }

    /// The smallest key above all that begin with this one; none if it is empty or all `0xff`.
    pub(crate) fn prefix_end(&self) -> Option<Self> {
        let mut end = self.0.to_vec();
        while let Some(last) = end.pop() {
            if let Some(above) = last.checked_add(1) {
                end.push(above);
                return Some(Self(end.into()));
            }
        }
        None
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.0.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

/// The version of a document; grows with each change of its key, never repeats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u64);

impl Version {
    /// No document stands under the key.
    pub const ABSENT: Self = Self(0);
}

/// A document as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its version, never [`Version::ABSENT`].
    pub version: Version,
    /// Its bytes.
    pub value: Bytes,
}

/// Outcome of `put` and `delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Done; the version that it made (a delete makes one too, which nobody will see on a document).
    Done(Version),
    /// The key's version is another; nothing changed.
    Conflict(Version),
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// How a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes everything.
    Ready,
    /// The disk is nearly full: growth is refused, acknowledgements and trims go on.
    Full,
    /// It takes nothing more until it is opened anew (or the cluster is back).
    Down,
}

/// Why a call failed. All but the unknown kind promise that nothing was applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The effect may or may not have happened.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Not now; nothing happened. A later try may work.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// There is no room; nothing happened.
    #[error("the store is full: {0}")]
    Full(String),
    /// An earlier write or sync failed: the store takes nothing more until it is opened anew. The call that met the failure
    /// itself answers [`StoreError::Unknown`].
    #[error("the store stopped after a write error: {0}")]
    Poisoned(String),
    /// The batch, key or value is above a limit.
    #[error("{what} of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Stored bytes are not what was written: the place and what is wrong with it.
    #[error("damaged data: {0}")]
    Corrupt(String),
    /// The store cannot be opened as it is: what is wrong and what to do.
    #[error("{0}")]
    Open(String),
}

impl StoreError {
    /// Whether the effect may have happened all the same.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// What a storage call answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What an append is for; decides who is served last when room runs out (see [`Health::Full`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New data: refused first.
    Growth,
    /// Leases and other bookkeeping: served while a reserve is left.
    Upkeep,
    /// What frees room (acknowledgements, snapshots): served to the very end.
    Relief,
}

/// Bytes under offsets and bytes under keys. See the module for the contract.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Begins a log at `first`.
    async fn create(&self, log: LogId, first: Offset) -> Result<Created>;

    /// Appends a batch if the log's next offset is `expected_next`.
    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append>;

    /// Reads batches in order.
    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read>;

    /// The extent of a log; none when there is no such open log. Sees every append that answered before (contract 17).
    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>>;

    /// Gives up everything below `before`.
    async fn trim(&self, log: LogId, before: Offset) -> Result<()>;

    /// Closes a log for ever.
    async fn close(&self, log: LogId) -> Result<()>;

    /// The open logs, at most `limit`, after `after`, in id order: what a sweeper compares with the documents.
    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>>;

    /// A document, if there is one.
    async fn get(&self, key: &Key) -> Result<Option<Document>>;

    /// Writes a document if its version is `expected`.
    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put>;

    /// Removes a document if its version is `expected`.
    async fn delete(&self, key: &Key, expected: Version) -> Result<Put>;

    /// Documents whose keys begin with `prefix`.
    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize, order: Order)
    -> Result<Vec<(Key, Document)>>;

    /// How the store is, without touching it.
    fn health(&self) -> Health;
}
