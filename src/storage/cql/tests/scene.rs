//! A cluster for a test: one keyspace, emptied for each test, used by one test at a time.

use super::super::super::contract::Subject;
use super::super::session::connect;
use super::super::{CqlStore, Options, Roll, StatementObserver, migrate};
use crate::clock::Clock;
use crate::storage::Store;
use parking_lot::Mutex;
use scylla::value::{CqlValue, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

/// Held by the test that has the keyspace; tells whether it was migrated.
static TURN: AsyncMutex<bool> = AsyncMutex::const_new(false);

/// The tables with the columns of their partition keys.
const TABLES: [(&str, &[&str]); 7] = [
    ("log_head", &["log"]),
    ("log_segment", &["log", "seg"]),
    ("log_segments", &["log"]),
    ("log_index", &["bucket"]),
    ("doc", &["k"]),
    ("doc_index", &["dir"]),
    ("doc_dirs", &["root"]),
];

/// The keyspace, for as long as this lives.
pub(crate) struct Scene {
    pub(crate) options: Options,
    pub(crate) counts: Arc<Counts>,
    _turn: MutexGuard<'static, bool>,
}

impl Scene {
    /// Waits for the keyspace and empties it.
    pub(crate) async fn begin() -> Self {
        let mut turn = TURN.lock().await;
        let hosts =
            std::env::var("ANGELIA_TEST_CQL").expect("ANGELIA_TEST_CQL names the cluster's nodes: host[:port][,…]");
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        let replicas = hosts.len().min(3).to_string();
        let counts = Arc::new(Counts::default());
        let options = Options {
            observer: Some(Arc::clone(&counts) as _),
            // A busy machine is no reason to fail.
            settle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            ..Options::new(hosts, "angelia_test".to_owned())
        };
        if !*turn {
            migrate(&options, &replicas, Clock::System).await.unwrap();
            *turn = true;
        }
        empty(&options).await;
        Self { options, counts, _turn: turn }
    }

    /// Another process's view of the store.
    pub(crate) async fn open(&self) -> CqlStore {
        CqlStore::open(&self.options, Clock::System).await.unwrap()
    }

    /// The contract's subject, which holds the keyspace.
    pub(crate) async fn subject(mut self, roll: Roll) -> Subject {
        self.options.roll = roll;
        let store: Arc<dyn Store> = Arc::new(self.open().await);
        let scene = Arc::new(self);
        Subject::reopenable(store, move || {
            let scene = Arc::clone(&scene);
            async move { Arc::new(scene.open().await) as Arc<dyn Store> }
        })
    }

    /// Runs a statement past the store.
    pub(crate) async fn run(&self, text: &str) {
        let driver = connect(&self.options).await.unwrap();
        driver.use_keyspace(&self.options.keyspace, false).await.unwrap();
        driver.query_unpaged(text, ()).await.unwrap();
    }

    /// How many rows of a table have a value in this column.
    pub(crate) async fn rows(&self, table: &str, column: &str) -> i64 {
        let driver = connect(&self.options).await.unwrap();
        driver.use_keyspace(&self.options.keyspace, false).await.unwrap();
        let counted = driver.query_unpaged(format!("SELECT count({column}) FROM {table}"), ()).await.unwrap();
        counted.into_rows_result().unwrap().single_row::<(i64,)>().unwrap().0
    }
}

async fn empty(options: &Options) {
    let driver = connect(options).await.unwrap();
    driver.use_keyspace(&options.keyspace, false).await.unwrap();
    for (table, key) in TABLES {
        // What was written under a timestamp of ours is not outdone by one of today.
        if table == "log_index" {
            driver.query_unpaged("TRUNCATE log_index", ()).await.unwrap();
            continue;
        }
        let (columns, marks) = (key.join(", "), key.map_marks());
        let found = driver.query_unpaged(format!("SELECT DISTINCT {columns} FROM {table}"), ()).await.unwrap();
        let found = found.into_rows_result().unwrap();
        for row in found.rows::<Row>().unwrap() {
            let values: Vec<CqlValue> = row.unwrap().columns.into_iter().map(Option::unwrap).collect();
            driver.query_unpaged(format!("DELETE FROM {table} WHERE {marks}"), values).await.unwrap();
        }
    }
}

trait Marks {
    fn map_marks(&self) -> String;
}

impl Marks for &[&str] {
    fn map_marks(&self) -> String {
        self.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ")
    }
}

/// How often each statement was sent, by outcome.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: Mutex<BTreeMap<(&'static str, &'static str), usize>>,
    repeated: Mutex<usize>,
}

impl Counts {
    /// Forgets what was counted so far.
    pub(crate) fn clear(&self) {
        self.sent.lock().clear();
        *self.repeated.lock() = 0;
    }

    /// Statements of this name.
    pub(crate) fn of(&self, statement: &str) -> usize {
        self.sent.lock().iter().filter(|((name, _), _)| *name == statement).map(|(_, count)| count).sum()
    }

    /// Conditional writes that were answered or not, of any name, repeated ones left out.
    pub(crate) fn decisions(&self) -> usize {
        let sent = self.sent.lock();
        let decided = sent.iter().filter(|((_, outcome), _)| matches!(*outcome, "applied" | "refused" | "unknown"));
        decided.map(|(_, count)| count).sum::<usize>() - *self.repeated.lock()
    }
}

impl StatementObserver for Counts {
    fn sent(&self, statement: &'static str, outcome: &'static str, _: f64) {
        *self.sent.lock().entry((statement, outcome)).or_default() += 1;
    }

    fn repeated(&self, _: &'static str) {
        *self.repeated.lock() += 1;
    }
}
