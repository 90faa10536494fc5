//! The engine of a cluster: logs and documents in tables of Apache Cassandra or `ScyllaDB`, shared by any number of nodes.
//!
//! Every change that must not be lost to another is one conditional write on one partition, decided by consensus; nothing else keeps
//! nodes apart. Only standard CQL. Tables are made by [`migrate`] alone.
//!
//! ```text
//! logs       append, roll, trim, close         session      profiles, errors, unknown outcomes
//! reader     slices without a gap              statements   every text that is sent
//! documents  versions, index, scans            rows         tables' rows as values
//! migrate    tables, once                      health       whether anybody answers
//! ```

mod documents;
mod health;
mod logs;
mod migrate;
mod reader;
mod rows;
mod seats;
mod session;
mod statements;
#[cfg(test)]
pub(crate) mod tests;

pub use migrate::{Migrated, migrate};
pub use session::{Options, Roll, StatementObserver};

use super::limits::{check_batch, check_document, check_key};
use super::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, Version,
};
use crate::clock::Clock;
use async_trait::async_trait;
use bytes::Bytes;
use documents::Directories;
use parking_lot::Mutex;
use seats::{Seats, Turns};
use session::{Session, values};
use statements::Statements;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Most directories of the index that are remembered.
const DIRECTORIES_MAX: usize = 100_000;
/// How often a silent cluster is asked again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A store in a cluster.
pub struct CqlStore {
    cluster: Arc<Cluster>,
}

/// The cluster as one process sees it.
struct Cluster {
    session: Session,
    statements: Statements,
    roll: Roll,
    /// This process, in the nonces that it draws.
    writer: u128,
    sequence: AtomicU64,
    seats: Seats,
    turns: Turns,
    directories: Mutex<Directories>,
}

impl CqlStore {
    /// Connects to a keyspace that was migrated.
    ///
    /// # Errors
    /// [`super::StoreError::Open`]: nobody answers, or the keyspace is not what this build needs; it says what to do.
    pub async fn open(options: &Options, clock: Clock) -> Result<Self> {
        let session = Session::new(migrate::checked(options).await?, options, clock);
        let statements = Statements::prepare(&session).await?;
        let cluster = Arc::new(Cluster {
            session,
            statements,
            roll: options.roll,
            writer: uuid::Uuid::new_v4().as_u128(),
            sequence: AtomicU64::new(0),
            seats: Seats::default(),
            turns: Turns::default(),
            directories: Mutex::new(Directories::default()),
        });
        tokio::spawn(probe(Arc::downgrade(&cluster)));
        Ok(Self { cluster })
    }
}

/// Asks a silent cluster from time to time, for nobody else may; sends nothing while others are answered.
async fn probe(cluster: Weak<Cluster>) {
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        let Some(cluster) = cluster.upgrade() else { return };
        if cluster.session.pulse.is_silent()
            && let Err(error) = cluster.session.probe::<(i32,)>(&cluster.statements.migrations, values! {}).await
        {
            tracing::warn!(%error, "the cluster does not answer");
        }
    }
}

impl fmt::Debug for CqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CqlStore")
    }
}

#[async_trait]
impl Store for CqlStore {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.cluster.create(log, first).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, _: Purpose) -> Result<Append> {
        check_batch(&batch)?;
        self.cluster.append(log, expected_next, batch).await
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.cluster.read(log, from, limit).await
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.cluster.bounds(log).await
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.cluster.trim(log, before).await
    }

    async fn close(&self, log: LogId) -> Result<()> {
        self.cluster.close(log).await
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.cluster.logs(after, limit).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        self.cluster.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        check_document(key, &value)?;
        self.cluster.put(key, &value, expected).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        check_key(key)?;
        self.cluster.delete(key, expected).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.cluster.scan(prefix, after, limit, order).await
    }

    fn health(&self) -> Health {
        let session = &self.cluster.session;
        session.pulse.health(session.clock.monotonic())
    }
}
