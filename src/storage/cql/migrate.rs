//! The tables, made and changed by numbered migrations: by one node at a time, and only when asked to.
//!
//! Owns the keyspace's birth, the order of migrations and the lock. A service never migrates: servers whose schemas change from two
//! sides at once may end up with two tables of one name. It checks, and says what to do.

use super::session::{Decision, Options, Session, connect, values};
use super::statements::Kind;
use crate::clock::Clock;
use crate::storage::{Result, StoreError};
use scylla::client::session::Session as Driver;
use std::collections::BTreeSet;
use std::time::Duration;

/// The migrations in order: number, name, text.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "logs", include_str!("../../../schemas/cql/0001_logs.cql")),
    (2, "documents", include_str!("../../../schemas/cql/0002_documents.cql")),
];
/// What keeps account of them.
const ACCOUNT: &str = include_str!("../../../schemas/cql/0000_migrations.cql");

/// How long another's migration is waited for; its lock ends by itself after [`LOCK_SECONDS`].
const WAIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);
const LOCK_SECONDS: i32 = 300;

/// What a migration did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// The number of the newest one.
    pub version: i32,
}

/// Makes the keyspace if there is none, and applies what it misses.
///
/// `replication` is a number of replicas in each data centre, or `dc1:3,dc2:3`; it counts only for a new keyspace.
///
/// # Errors
/// [`StoreError::Open`] with what is wrong and what to do. Broken off at any point, it may be done again.
pub async fn migrate(options: &Options, replication: &str, clock: Clock) -> Result<Migrated> {
    let driver = connect(options).await?;
    make_keyspace(&driver, options, replication).await?;
    use_keyspace(&driver, options).await?;
    apply(&driver, ACCOUNT).await?;
    let session = Session::new(driver, options, clock);
    let lock = Lock::prepare(&session).await?;
    lock.take(&session).await?;
    let done = apply_missing(&session, &options.keyspace).await;
    lock.give_back(&session).await;
    done
}

async fn apply_missing(session: &Session, keyspace: &str) -> Result<Migrated> {
    let driver = session.driver();
    let known = versions(driver, keyspace).await?;
    let note = "INSERT INTO ks.migration (version, name, applied) VALUES (:version, :name, toTimestamp(now()))";
    let note = session.prepare("note_migration", Kind::Write, note).await?;
    let mut applied = Vec::new();
    for (version, name, text) in MIGRATIONS {
        if known.contains(version) {
            continue;
        }
        apply(driver, text).await?;
        session.write(&note, values! { version: *version, name: *name }).await?;
        applied.push(format!("{version:04}_{name}"));
    }
    Ok(Migrated { applied, version: newest() })
}

/// A connection to a keyspace that this build can work with.
pub(super) async fn checked(options: &Options) -> Result<Driver> {
    let keyspace = &options.keyspace;
    let missing =
        || StoreError::Open(format!("keyspace {keyspace} is not ready: run `angelia migrate` once, on one node"));
    let driver = connect(options).await?;
    if !exists_in(&driver, keyspace, "migration").await? {
        return Err(missing());
    }
    let known = versions(&driver, keyspace).await?;
    let newest_there = known.last().copied().unwrap_or_default();
    if newest_there > newest() {
        return Err(StoreError::Open(format!(
            "keyspace {keyspace} has tables of version {newest_there}, this build knows {}: start a newer build",
            newest()
        )));
    }
    if MIGRATIONS.iter().all(|(version, ..)| known.contains(version)) { Ok(driver) } else { Err(missing()) }
}

async fn use_keyspace(driver: &Driver, options: &Options) -> Result<()> {
    driver.use_keyspace(&options.keyspace, false).await.map_err(|error| failed(&error))
}

fn newest() -> i32 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

async fn versions(driver: &Driver, keyspace: &str) -> Result<BTreeSet<i32>> {
    let rows = driver
        .query_unpaged(format!("SELECT version FROM {keyspace}.migration"), ())
        .await
        .map_err(|error| failed(&error))?;
    let rows = rows.into_rows_result().map_err(|error| failed(&error))?;
    let versions = rows.rows::<(i32,)>().map_err(|error| failed(&error))?;
    versions.map(|row| row.map(|(version,)| version).map_err(|error| failed(&error))).collect()
}

async fn make_keyspace(driver: &Driver, options: &Options, replication: &str) -> Result<()> {
    if keyspace_exists(driver, &options.keyspace).await? {
        return Ok(());
    }
    let mut text = format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': 'NetworkTopologyStrategy', {}}}",
        options.keyspace,
        replicas(replication)?
    );
    // Conditional writes are refused on tables in tablets by servers that may still be in use; others do not know the word.
    if exists_in(driver, "system", "scylla_local").await? {
        text.push_str(" AND tablets = {'enabled': false}");
    }
    driver.query_unpaged(text, ()).await.map_err(|error| failed(&error))?;
    agree(driver).await
}

async fn keyspace_exists(driver: &Driver, keyspace: &str) -> Result<bool> {
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let rows = driver.query_unpaged(text, (keyspace,)).await.map_err(|error| failed(&error))?;
    Ok(rows.into_rows_result().map_err(|error| failed(&error))?.rows_num() > 0)
}

async fn exists_in(driver: &Driver, keyspace: &str, table: &str) -> Result<bool> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
    let rows = driver.query_unpaged(text, (keyspace, table)).await.map_err(|error| failed(&error))?;
    Ok(rows.into_rows_result().map_err(|error| failed(&error))?.rows_num() > 0)
}

/// The replication's options as CQL has them.
fn replicas(text: &str) -> Result<String> {
    let wrong = || StoreError::Open(format!("replication `{text}` is neither a number such as 3 nor dc1:3,dc2:3"));
    let number = |text: &str| text.trim().parse::<u8>().ok().filter(|number| *number > 0).ok_or_else(wrong);
    if !text.contains(':') {
        return Ok(format!("'replication_factor': {}", number(text)?));
    }
    let mut parts = Vec::new();
    for part in text.split(',') {
        let (name, count) = part.split_once(':').ok_or_else(wrong)?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if name.trim().is_empty() || !name.trim().chars().all(plain) {
            return Err(wrong());
        }
        parts.push(format!("'{}': {}", name.trim(), number(count)?));
    }
    Ok(parts.join(", "))
}

/// Runs a file's statements one after the other, each agreed on by all nodes before the next.
async fn apply(driver: &Driver, text: &str) -> Result<()> {
    for statement in statements(text) {
        match driver.query_unpaged(statement.as_str(), ()).await {
            Ok(_) => {}
            // Left by a migration that was broken off.
            Err(error) if exists(&error) => {}
            Err(error) => return Err(failed(&error)),
        }
        agree(driver).await?;
    }
    Ok(())
}

fn exists(error: &scylla::errors::ExecutionError) -> bool {
    use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
    matches!(error, ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::AlreadyExists { .. }, _)))
}

async fn agree(driver: &Driver) -> Result<()> {
    driver.await_schema_agreement().await.map(drop).map_err(|error| failed(&error))
}

/// The statements of a file, without comments.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

fn failed(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open(format!("the tables cannot be made or read: {error}"))
}

/// The right to migrate.
struct Lock {
    take: super::statements::Statement,
    give_back: super::statements::Statement,
    owner: uuid::Uuid,
}

impl Lock {
    async fn prepare(session: &Session) -> Result<Self> {
        let take = format!(
            "INSERT INTO ks.migration_lock (id, owner) VALUES (0, :owner) IF NOT EXISTS USING TTL {LOCK_SECONDS}"
        );
        let give_back = "DELETE FROM ks.migration_lock WHERE id = 0 IF owner = :owner";
        Ok(Self {
            take: session.prepare("lock_migration", Kind::Decide, &take).await?,
            give_back: session.prepare("unlock_migration", Kind::Decide, give_back).await?,
            owner: uuid::Uuid::new_v4(),
        })
    }

    async fn take(&self, session: &Session) -> Result<()> {
        let until = session.clock.monotonic().saturating_add(WAIT);
        loop {
            match session.settle::<Owner>(&self.take, values! { owner: self.owner }).await? {
                Decision::Applied => return Ok(()),
                Decision::Refused { present: Owner(Some(owner)), .. } if owner == self.owner => return Ok(()),
                Decision::Refused { .. } if session.clock.monotonic() < until => tokio::time::sleep(LOOK).await,
                Decision::Refused { .. } => {
                    return Err(StoreError::Open(format!(
                        "somebody else migrates for more than {} s; if that one died, try again in {LOCK_SECONDS} s",
                        WAIT.as_secs()
                    )));
                }
            }
        }
    }

    /// It ends by itself too.
    async fn give_back(&self, session: &Session) {
        if let Err(error) = session.settle::<()>(&self.give_back, values! { owner: self.owner }).await {
            tracing::warn!(%error, "the lock of migrations was not given back; it ends after {LOCK_SECONDS} s");
        }
    }
}

/// Who holds the lock.
#[derive(Default)]
struct Owner(Option<uuid::Uuid>);

impl super::session::Present for Owner {
    fn take(&mut self, column: &str, value: &scylla::value::CqlValue) {
        if column == "owner" {
            self.0 = value.as_uuid();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_gap_and_hold_statements() {
        for ((version, name, text), expected) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(*version, expected, "{name}");
            assert!(statements(text).iter().all(|statement| statement.starts_with("CREATE TABLE ")), "{name}");
        }
    }

    #[test]
    fn a_comment_is_no_statement() {
        assert_eq!(statements("-- a; b\nCREATE x; -- c\n\nCREATE\n y -- d\n;\n"), ["CREATE x", "CREATE\n y"]);
    }

    #[test]
    fn replication_is_a_number_or_one_for_each_data_centre() {
        assert_eq!(replicas("3").unwrap(), "'replication_factor': 3");
        assert_eq!(replicas("east:3, west-1:2").unwrap(), "'east': 3, 'west-1': 2");
        for wrong in ["", "0", "three", "a:", ":3", "a'b:3", "a:3,b"] {
            assert!(replicas(wrong).is_err(), "{wrong}");
        }
    }
}
