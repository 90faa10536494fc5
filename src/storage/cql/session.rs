//! The connection to the cluster: who we are to it, how sure each kind of statement must be, and what its answers mean.
//!
//! Owns profiles, deadlines, the meaning of errors, and how a conditional write of unknown outcome is carried through. Never knows
//! what a statement says. Conditional writes are never retried by the driver: only [`Session::settle`] repeats them.

use super::health::Pulse;
use super::statements::{Kind, Statement};
use crate::clock::Clock;
use crate::storage::{Health, Result, StoreError};
use rustls::ClientConfig;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session as Driver;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow as FromRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::frame::types::{Consistency, SerialConsistency};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::value::SerializeValue;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A node that answers nothing for this long is given up: without it a frozen node keeps its connections, and requests, for half a
/// minute.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1_100);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// For a connection to be made, and for the nodes to agree on a schema.
const CONNECT: Duration = Duration::from_secs(5);
/// A read that is not answered by then is asked of another node too.
const SPECULATE_AFTER: Duration = Duration::from_millis(500);
/// Rows of one page; statements that read large rows set their own limit.
const PAGE_ROWS: i32 = 5_000;
/// The longest pause before a conditional write is repeated; contention is over sooner when not all come back at once.
const PAUSE_MAX_MILLIS: u64 = 60;

/// Told of each statement that was sent. Called on the caller's task: it must not block.
pub trait StatementObserver: Send + Sync + 'static {
    /// The statement of this name (a small fixed set) ended after so many seconds. Outcomes: `ok` for reads and plain writes;
    /// `applied`, `refused` (its condition did not hold), `unknown` for conditional writes; `failed`.
    fn sent(&self, statement: &'static str, outcome: &'static str, seconds: f64);
    /// A conditional write is sent again because its outcome is unknown.
    fn repeated(&self, statement: &'static str);
}

/// Where the cluster is and how to speak to it.
#[derive(Clone)]
pub struct Options {
    /// Nodes to ask first, each a host with an optional port.
    pub hosts: Vec<String>,
    /// The keyspace of all tables.
    pub keyspace: String,
    /// The data centre of this node's replicas; without it any.
    pub datacenter: Option<String>,
    /// Whether writers in other data centres share the logs: decisions then need a majority of all replicas, not of the local ones.
    pub global: bool,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// TLS; without it connections are plain.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long one request may take; above the server's own limit, so that its answer tells what happened.
    pub request_timeout: Duration,
    /// How long a conditional write of unknown outcome is repeated before the caller is told that it is unknown.
    pub settle_timeout: Duration,
    /// When a segment of a log is full.
    pub roll: Roll,
    /// Told of each statement.
    pub observer: Option<Arc<dyn StatementObserver>>,
}

/// When a log's segment is full: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Roll {
    /// Payload bytes.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
    /// Since it was made.
    pub age: Duration,
}

impl Default for Roll {
    fn default() -> Self {
        Self { bytes: 64 << 20, batches: 50_000, age: Duration::from_secs(24 * 3_600) }
    }
}

impl Options {
    /// A keyspace on some hosts, with everything else as it is by default.
    #[must_use]
    pub fn new(hosts: Vec<String>, keyspace: String) -> Self {
        Self {
            hosts,
            keyspace,
            datacenter: None,
            global: false,
            credentials: None,
            tls: None,
            request_timeout: Duration::from_millis(2_500),
            settle_timeout: Duration::from_secs(3),
            roll: Roll::default(),
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("hosts", &self.hosts).field("keyspace", &self.keyspace).finish_non_exhaustive()
    }
}

/// The values of a statement's markers by name.
pub(super) type Values<'a> = BTreeMap<&'static str, Box<dyn SerializeValue + Send + Sync + 'a>>;

/// `values! { log: uuid, seg: 3_i64 }` for the markers `:log` and `:seg`.
macro_rules! values {
    ($($name:ident: $value:expr),* $(,)?) => {
        $crate::storage::cql::session::Values::from([
            $((stringify!($name), Box::new($value) as Box<dyn scylla::serialize::value::SerializeValue + Send + Sync + '_>)),*
        ])
    };
}
pub(super) use values;

/// What became of a conditional write, with certainty.
#[derive(Debug)]
pub(super) enum Decision<P> {
    /// Its condition held and it is done.
    Applied,
    /// Its condition did not hold: what the server showed of the present row. After a doubt (an earlier try of the same statement had
    /// an unknown outcome) it may have been done by that one.
    Refused {
        /// What stands there.
        present: P,
        /// Whether there was a doubt.
        doubt: bool,
    },
}

/// What a refused conditional write shows of the present row; each server shows other columns, in any order.
pub(super) trait Present: Default + Send {
    /// Takes the value of a column, if it is one that counts.
    fn take(&mut self, column: &str, value: &scylla::value::CqlValue);
}

impl Present for () {
    fn take(&mut self, _: &str, _: &scylla::value::CqlValue) {}
}

/// A connected cluster.
pub(super) struct Session {
    inner: Driver,
    keyspace: String,
    profiles: Profiles,
    observer: Option<Arc<dyn StatementObserver>>,
    pub(super) clock: Clock,
    settle_timeout: Duration,
    pub(super) pulse: Pulse,
}

/// How sure each kind of statement must be.
struct Profiles {
    decide: ExecutionProfileHandle,
    read: ExecutionProfileHandle,
    verify: ExecutionProfileHandle,
}

impl Profiles {
    fn new(options: &Options) -> Self {
        let (quorum, serial, verify) = if options.global {
            (Consistency::Quorum, SerialConsistency::Serial, Consistency::Serial)
        } else {
            (Consistency::LocalQuorum, SerialConsistency::LocalSerial, Consistency::LocalSerial)
        };
        let mut nodes = DefaultPolicy::builder().token_aware(true);
        if let Some(datacenter) = &options.datacenter {
            nodes = nodes.prefer_datacenter(datacenter.clone());
        }
        let base = ExecutionProfile::builder()
            .request_timeout(Some(options.request_timeout))
            .consistency(quorum)
            .serial_consistency(Some(serial))
            .load_balancing_policy(nodes.build())
            .speculative_execution_policy(None)
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()));
        let speculation = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: SPECULATE_AFTER };
        let read = base
            .clone()
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .speculative_execution_policy(Some(Arc::new(speculation)));
        Self {
            decide: base.clone().build().into_handle(),
            read: read.build().into_handle(),
            verify: base.consistency(verify).build().into_handle(),
        }
    }
}

/// Connects, without using any keyspace.
pub(super) async fn connect(options: &Options) -> Result<Driver> {
    let profiles = Profiles::new(options);
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.hosts)
        .default_execution_profile_handle(profiles.read)
        .connection_timeout(CONNECT)
        .keepalive_interval(KEEPALIVE_INTERVAL)
        .keepalive_timeout(KEEPALIVE_TIMEOUT)
        .schema_agreement_timeout(CONNECT * 4)
        .tls_context(options.tls.clone())
        // Of the schema only what tells which nodes hold a partition.
        .keyspaces_to_fetch([&options.keyspace])
        .fetch_full_schema_metadata(false);
    if let Some((user, password)) = &options.credentials {
        builder = builder.user(user, password);
    }
    builder.build().await.map_err(|error| StoreError::Open(format!("{}: {error}", options.hosts.join(", "))))
}

impl Session {
    /// Over a connection.
    pub(super) fn new(inner: Driver, options: &Options, clock: Clock) -> Self {
        Self {
            inner,
            keyspace: options.keyspace.clone(),
            profiles: Profiles::new(options),
            observer: options.observer.clone(),
            clock,
            settle_timeout: options.settle_timeout,
            pulse: Pulse::default(),
        }
    }

    /// The connection itself, for what is no statement of the store.
    pub(super) const fn driver(&self) -> &Driver {
        &self.inner
    }

    /// Makes a statement ready to be sent, as its kind asks.
    pub(super) async fn prepare(&self, name: &'static str, kind: Kind, text: &str) -> Result<Statement> {
        let failed = |error| StoreError::Open(format!("statement {name} is not understood by the server: {error}"));
        let text = text.replace("ks.", &format!("{}.", self.keyspace));
        let mut prepared = self.inner.prepare(text).await.map_err(failed)?;
        prepared.set_execution_profile_handle(Some(match kind {
            Kind::Decide => self.profiles.decide.clone(),
            Kind::Read | Kind::Write => self.profiles.read.clone(),
            Kind::Verify => self.profiles.verify.clone(),
        }));
        prepared.set_is_idempotent(kind != Kind::Decide);
        // What a conditional statement answers has other columns each time.
        prepared.set_use_cached_result_metadata(kind == Kind::Read);
        prepared.set_page_size(PAGE_ROWS);
        Ok(Statement { name, prepared })
    }

    /// Refuses what would only wait for its deadline: nobody answers, and the store's own probe asks on.
    fn check(&self) -> Result<()> {
        match self.pulse.health(self.clock.monotonic()) {
            Health::Down => Err(StoreError::Unavailable("the cluster does not answer".to_owned())),
            Health::Ready | Health::Full => Ok(()),
        }
    }

    /// All rows of a reading statement.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; a read changes nothing.
    pub(super) async fn read<R>(&self, statement: &Statement, values: Values<'_>) -> Result<Vec<R>>
    where
        R: for<'row> FromRow<'row, 'row>,
    {
        self.check()?;
        self.probe(statement, values).await
    }

    /// As [`Session::read`], also while nobody answers.
    pub(super) async fn probe<R>(&self, statement: &Statement, values: Values<'_>) -> Result<Vec<R>>
    where
        R: for<'row> FromRow<'row, 'row>,
    {
        let mut found = Vec::new();
        let mut page = PagingState::start();
        loop {
            let (result, next) =
                self.send(statement, &values, page).await.map_err(|error| not_done(statement, &error))?;
            let rows = rows_of(statement, result)?;
            for row in rows.rows::<R>().map_err(|error| strange(statement, &error))? {
                found.push(row.map_err(|error| strange(statement, &error))?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(found),
                ControlFlow::Continue(state) => page = state,
            }
        }
    }

    /// The only row of a reading statement. Errors as [`Session::read`].
    pub(super) async fn read_one<R>(&self, statement: &Statement, values: Values<'_>) -> Result<Option<R>>
    where
        R: for<'row> FromRow<'row, 'row>,
    {
        Ok(self.read(statement, values).await?.into_iter().next())
    }

    /// A plain write, which may be done twice without harm.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may have been done all the same, which says nothing to anybody.
    pub(super) async fn write(&self, statement: &Statement, values: Values<'_>) -> Result<()> {
        self.check()?;
        let sent = self.send(statement, &values, PagingState::start()).await;
        sent.map(drop).map_err(|error| not_done(statement, &error))
    }

    /// A conditional write, repeated until its outcome is known.
    ///
    /// The same statement again is safe: its condition is falsified by the first try that takes effect, and once a later try was
    /// answered, an earlier one is either done already or never will be.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it stayed unknown for too long; any other promises that nothing was done.
    pub(super) async fn settle<P: Present>(&self, statement: &Statement, values: Values<'_>) -> Result<Decision<P>> {
        self.check()?;
        let until = self.clock.monotonic().saturating_add(self.settle_timeout);
        let mut doubt: Option<String> = None;
        loop {
            match self.decide(statement, &values).await {
                Ok(None) => return Ok(Decision::Applied),
                Ok(Some(present)) => return Ok(Decision::Refused { present, doubt: doubt.is_some() }),
                Err(error) if doubt.is_none() && !error.is_unknown() => return Err(error),
                Err(error) => doubt = Some(error.to_string()),
            }
            if self.clock.monotonic() >= until || self.check().is_err() {
                return Err(StoreError::Unknown(doubt.unwrap_or_default()));
            }
            if let Some(observer) = &self.observer {
                observer.repeated(statement.name);
            }
            pause().await;
        }
    }

    /// One try of a conditional write: none if it was applied, else what it showed.
    async fn decide<P: Present>(&self, statement: &Statement, values: &Values<'_>) -> Result<Option<P>> {
        let start = self.clock.monotonic();
        let sent = self.inner.execute_unpaged(&statement.prepared, values).await;
        let answer = match sent {
            Ok(result) => decision(statement, result),
            Err(error) if is_refusal(&error) => Err(not_done(statement, &error)),
            Err(error) => Err(StoreError::Unknown(format!("{}: {error}", statement.name))),
        };
        let outcome = match &answer {
            Ok(None) => "applied",
            Ok(Some(_)) => "refused",
            Err(error) if error.is_unknown() => "unknown",
            Err(_) => "failed",
        };
        self.report(statement, outcome, start);
        match &answer {
            // Contention is no illness: only what brings no answer at all is.
            Ok(_) => self.pulse.answered(),
            Err(_) => self.pulse.unanswered(self.clock.monotonic()),
        }
        answer
    }

    async fn send(
        &self,
        statement: &Statement,
        values: &Values<'_>,
        page: PagingState,
    ) -> std::result::Result<(QueryResult, PagingStateResponse), ExecutionError> {
        let start = self.clock.monotonic();
        let sent = self.inner.execute_single_page(&statement.prepared, values, page).await;
        self.report(statement, if sent.is_ok() { "ok" } else { "failed" }, start);
        match &sent {
            Ok(_) => self.pulse.answered(),
            Err(_) => self.pulse.unanswered(self.clock.monotonic()),
        }
        sent
    }

    fn report(&self, statement: &Statement, outcome: &'static str, start: Duration) {
        if let Some(observer) = &self.observer {
            let took = self.clock.monotonic().saturating_sub(start);
            observer.sent(statement.name, outcome, took.as_secs_f64());
        }
    }
}

/// Waits a little, each caller for another time.
pub(super) async fn pause() {
    let spread = uuid::Uuid::new_v4().as_u128() % u128::from(PAUSE_MAX_MILLIS);
    tokio::time::sleep(Duration::from_millis(5 + u64::try_from(spread).unwrap_or_default())).await;
}

/// Whether an error of a conditional write proves that nothing was proposed: it was never sent, or the server turned it away before
/// the first round. Too few live replicas prove it only when said of the consensus itself; said of the commit, it is too late.
fn is_refusal(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(attempt) => match attempt {
            RequestAttemptError::SerializationError(_)
            | RequestAttemptError::CqlRequestSerialization(_)
            | RequestAttemptError::UnableToAllocStreamId => true,
            RequestAttemptError::DbError(error, _) => match error {
                DbError::SyntaxError
                | DbError::Invalid
                | DbError::AuthenticationError
                | DbError::Unauthorized
                | DbError::ConfigError
                | DbError::IsBootstrapping
                | DbError::Unprepared { .. } => true,
                DbError::Unavailable { consistency, .. } => {
                    matches!(consistency, Consistency::Serial | Consistency::LocalSerial)
                }
                _ => false,
            },
            _ => false,
        },
        _ => false,
    }
}

fn not_done(statement: &Statement, error: &ExecutionError) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", statement.name))
}

/// An answer of a form that we do not know.
fn strange(statement: &Statement, error: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{} was answered in a strange way: {error}", statement.name))
}

fn rows_of(statement: &Statement, result: QueryResult) -> Result<QueryRowsResult> {
    result.into_rows_result().map_err(|error| strange(statement, &error))
}

/// What the first row of a conditional write's answer says. Some servers answer the condition's columns, some the whole old row, some
/// one row for each statement of a batch: the column `[applied]` is in the first row of all of them.
fn decision<P: Present>(statement: &Statement, result: QueryResult) -> Result<Option<P>> {
    // What was sent may have been done: an answer that cannot be read leaves that open.
    let unread = |error: &dyn fmt::Display| StoreError::Unknown(format!("{}: {error}", statement.name));
    let rows = result.into_rows_result().map_err(|error| unread(&error))?;
    let row = rows.first_row::<scylla::value::Row>().map_err(|error| unread(&error))?;
    let (mut applied, mut present) = (None, P::default());
    for (column, value) in rows.column_specs().iter().zip(&row.columns) {
        let Some(value) = value else { continue };
        match column.name() {
            "[applied]" => applied = value.as_boolean(),
            name => present.take(name, value),
        }
    }
    match applied {
        Some(true) => Ok(None),
        Some(false) => Ok(Some(present)),
        None => Err(unread(&"the answer does not say whether it was applied")),
    }
}
