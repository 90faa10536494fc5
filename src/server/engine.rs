//! The store behind the service: which engine the configuration names, its figures, its backup and its end.

use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::storage::cql::{CqlStore, StatementObserver};
use crate::storage::memory::MemoryStore;
use crate::storage::metered::{MeteredStore, Observer};
use crate::storage::segment::vfs::RealVfs;
use crate::storage::segment::{CommitObserver, Options, SegmentStore};
use crate::storage::{Health, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An open store.
#[derive(Debug)]
pub(super) struct Engine {
    store: Arc<dyn Store>,
    segment: Option<(Arc<SegmentStore>, PathBuf)>,
}

impl Engine {
    /// Opens the configured store; for a store on disk this is the recovery.
    pub(super) async fn open(config: &Config, clock: &Clock, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let report = Report(Arc::clone(metrics));
        let (inner, segment): (Arc<dyn Store>, _) = match config.store_url().map_err(|error| error.to_string())? {
            StoreUrl::Memory => (Arc::new(MemoryStore::new()), None),
            StoreUrl::Segment(folder) => {
                let options = Options { observer: Some(Arc::new(report.clone())), ..segment_options(config) };
                let (place, time) = (folder.clone(), clock.clone());
                let opening = move || {
                    make_folder(&place)?;
                    SegmentStore::open(&place, options, time, Arc::new(RealVfs))
                };
                let opened = tokio::task::spawn_blocking(opening).await.map_err(|error| error.to_string())?;
                let opened = Arc::new(opened.map_err(|error| at(&folder, &error))?);
                (Arc::clone(&opened) as _, Some((opened, folder)))
            }
            StoreUrl::Cql { hosts, keyspace } => {
                let observer = Some(Arc::new(report.clone()) as _);
                let options = super::cluster::options(config, hosts, keyspace, observer)?;
                let opened = CqlStore::open(&options, clock.clone()).await;
                (Arc::new(opened.map_err(|error| format!("the store {}: {error}", config.store.url))?), None)
            }
        };
        Ok(Self { store: Arc::new(MeteredStore::new(inner, report, clock.clone())), segment })
    }

    /// A store that is open already, to be served from a folder.
    #[cfg(test)]
    pub(super) fn over(store: SegmentStore, folder: &Path) -> Self {
        let store = Arc::new(store);
        Self { store: Arc::clone(&store) as _, segment: Some((store, folder.to_owned())) }
    }

    /// The store, with its calls measured.
    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The folder of a store on disk.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.segment.as_ref().map(|(_, folder)| folder.as_path())
    }

    /// Copies the store as it is now into a new folder.
    pub(super) async fn backup(&self, to: &Path) -> Result<(), String> {
        match &self.segment {
            Some((segment, _)) => copy(segment, to).await,
            None => Err("only a store in a folder is backed up by the service itself".to_owned()),
        }
    }

    /// Ends the store cleanly: the next start finds everything in order and scans nothing.
    pub(super) async fn close(&self) -> Result<(), String> {
        match &self.segment {
            Some((segment, _)) => segment.close().await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Whether the store takes anything at all.
    pub(super) fn is_usable(&self) -> bool {
        self.store.health() != Health::Down
    }

    /// Brings the store's gauges up to date.
    pub(super) fn fill(&self, metrics: &Metrics) {
        let health = self.store.health();
        for (name, condition) in [("ready", Health::Ready), ("full", Health::Full), ("down", Health::Down)] {
            metrics.store_health.with_label_values(&[name]).set(i64::from(health == condition));
        }
        if let Some((segment, _)) = &self.segment {
            let stats = segment.stats();
            metrics.store_bytes.set(signed(stats.store_bytes));
            metrics.store_segments.with_label_values(&["live"]).set(signed(stats.segments_live as u64));
            metrics.store_segments.with_label_values(&["spare"]).set(signed(stats.segments_pool as u64));
        }
    }
}

/// Makes the store's folder, if it is missing, for its owner alone: messages are nobody else's business.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| StoreError::Open(format!("cannot be made: {error}")))
}

async fn copy(store: &SegmentStore, to: &Path) -> Result<(), String> {
    make_folder(to).and(store.backup(to).await).map_err(|error| error.to_string())
}

/// A store's failure, with the store's folder if it does not name it itself.
pub(crate) fn at(folder: &Path, error: &StoreError) -> String {
    let (place, text) = (folder.display().to_string(), error.to_string());
    if text.contains(&place) { text } else { format!("the store {place}: {text}") }
}

/// A figure as gauges hold it.
pub(super) fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// How the configuration shapes the embedded store.
pub(super) fn segment_options(config: &Config) -> Options {
    Options {
        segment_bytes: config.store.segment_bytes,
        reserve_segments: config.store.reserve_segments,
        cache_bytes: config.store.cache_bytes,
        ..Options::default()
    }
}

/// Copies a store that nobody has open.
pub(crate) async fn backup_stopped(config: &Config, folder: &Path, to: &Path) -> Result<(), String> {
    let (from, options) = (folder.to_owned(), segment_options(config));
    let opening = move || SegmentStore::open(&from, options, Clock::System, Arc::new(RealVfs));
    let opened = tokio::task::spawn_blocking(opening).await.map_err(|error| error.to_string())?;
    let store = opened.map_err(|error| at(folder, &error))?;
    let copied = copy(&store, to).await;
    copied.and(store.close().await.map_err(|error| error.to_string()))
}

/// Tells the metrics what the store does.
#[derive(Clone)]
struct Report(Arc<Metrics>);

impl Observer for Report {
    fn observed(&self, operation: &'static str, outcome: &'static str, seconds: f64) {
        self.0.store_seconds.with_label_values(&[operation, outcome]).observe(seconds);
    }
}

impl CommitObserver for Report {
    #[expect(clippy::cast_precision_loss, reason = "a group's size is far below where floats lose whole numbers")]
    fn committed(&self, operations: usize, bytes: u64, sync: Duration) {
        self.0.commit_operations.observe(operations as f64);
        self.0.commit_bytes.observe(bytes as f64);
        self.0.commit_sync_seconds.observe(sync.as_secs_f64());
    }
}

impl StatementObserver for Report {
    fn sent(&self, statement: &'static str, outcome: &'static str, seconds: f64) {
        self.0.cql.seconds.with_label_values(&[statement, outcome]).observe(seconds);
    }

    fn repeated(&self, statement: &'static str) {
        self.0.cql.repeats.with_label_values(&[statement]).inc();
    }
}
