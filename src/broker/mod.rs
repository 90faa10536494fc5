//! The broker: the operations that every dialect translates to, driven over a store.
//!
//! Owns the order of things: what is durable before what is answered, what is cached for how long, which actor does what.
//! Knows no dialect. Safety is only ever compare-and-append and compare-and-set; actors and caches are only ever speed, so any
//! number of brokers may run over one store.

mod adopt;
pub(crate) mod audit;
pub mod catalog;
pub mod codec;
mod daily;
pub(crate) mod documents;
#[cfg(test)]
mod fixture;
mod glance;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod hostile_tests;
mod log;
mod maintenance;
mod nodes;
pub mod queue;
mod quota;
mod random;
mod registry;
mod resolve;
mod retention;
mod schemas;
pub(crate) mod sealing;
pub mod subscription;
pub(crate) mod sweeper;
pub mod topic;

pub use catalog::{
    NewProject, NewSchema, NewSubscription, NewTopic, Page, PageRequest, ProjectChange, SchemaChange,
    SubscriptionChange, TopicChange,
};
pub use codec::message::{BatchBuilder, NewMessage};
pub use nodes::{Beacon, Growth};
pub use random::Random;
pub use subscription::{Delivery, Progress, PullRequest, Statistics};
pub use topic::{Receipt, TopicBounds};

use crate::clock::Clock;
use crate::domain::Result;
use crate::domain::subscription::{NodeId, Observer};
use crate::storage::{Health, Store};
use crate::telemetry::metrics::Metrics;
use parking_lot::RwLock;
use registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;
use subscription::SubscriptionActor;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use topic::TopicActor;

/// How a broker behaves; the defaults are the product's.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node: random at each start, unless nobody else can open the store; then zero, and what it granted before a restart
    /// is its own.
    pub node: NodeId,
    /// How old a cached document may be.
    pub cache_age: Duration,
    /// Most cached documents.
    pub cache_entries: usize,
    /// Most stored bytes of one publish request.
    pub publish_bytes: usize,
    /// Publishes are merged into one append up to this many bytes.
    pub merge_bytes: usize,
    /// Most commands that wait for one actor.
    pub queue_max: usize,
    /// An actor without work retires after this.
    pub idle_after: Duration,
    /// Most pulls that wait for messages.
    pub waiting_pulls_max: usize,
    /// How much the clocks of two nodes may differ.
    pub clock_skew_max: Duration,
    /// How often retention and the sweeper look.
    pub maintenance_every: Duration,
    /// How long a subscription's own log is kept beyond its newest snapshot: audit trail and time machine.
    pub history: Duration,
    /// A snapshot of a subscription is made after so many batches of events (or sooner, when they are large).
    pub snapshot_every: u32,
    /// Where fresh identities come from.
    pub random: Random,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: NodeId(uuid::Uuid::new_v4().as_u128()),
            cache_age: Duration::from_secs(1),
            cache_entries: 100_000,
            publish_bytes: crate::domain::limits::PUBLISH_BYTES_MAX,
            merge_bytes: 1 << 20,
            queue_max: 1_024,
            idle_after: Duration::from_secs(60),
            waiting_pulls_max: 10_000,
            clock_skew_max: Duration::from_secs(10),
            maintenance_every: Duration::from_secs(10),
            history: Duration::ZERO,
            snapshot_every: 256,
            random: Random::System,
        }
    }
}

/// The broker. Clones share everything.
#[derive(Clone, Debug)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of a broker share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) catalog: catalog::Catalog,
    topics: Registry<TopicActor>,
    subscriptions: Registry<SubscriptionActor>,
    /// What topics' reads keep, in bytes.
    cached_bytes: Arc<AtomicUsize>,
    glances: glance::Glances,
    waiting_pulls: Semaphore,
    schemas: schemas::Schemas,
    quotas: quota::Quotas,
    audit: audit::Audit,
    /// This broker in the nonces of its appends, and how many there were.
    writer: u128,
    appends: AtomicU64,
    /// Whether this node may work.
    fit: AtomicBool,
    /// What grew by this node's appends, and whether others' hints of that arrive here.
    growth: broadcast::Sender<Growth>,
    hearing: AtomicBool,
    /// What wraps the data keys of encrypted logs; none until it is set.
    wrap: RwLock<Option<Arc<dyn sealing::Wrap>>>,
    stopping: CancellationToken,
}

impl Broker {
    /// Starts a broker over an open store, with its maintenance.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(store: Arc<dyn Store>, clock: Clock, options: Options, metrics: Arc<Metrics>) -> Result<Self> {
        let catalog = catalog::Catalog::new(store.clone(), clock.clone(), &options, metrics.clone());
        let inner = Inner {
            catalog,
            topics: Registry::new(metrics.actors.with_label_values(&["topic"])),
            subscriptions: Registry::new(metrics.actors.with_label_values(&["subscription"])),
            cached_bytes: Arc::default(),
            glances: glance::Glances::default(),
            schemas: schemas::Schemas::default(),
            quotas: quota::Quotas::default(),
            audit: audit::Audit::default(),
            waiting_pulls: Semaphore::new(options.waiting_pulls_max.min(Semaphore::MAX_PERMITS)),
            writer: options.random.id(),
            appends: AtomicU64::new(0),
            fit: AtomicBool::new(true),
            growth: broadcast::channel(nodes::GROWTH_MAX).0,
            hearing: AtomicBool::new(false),
            wrap: RwLock::new(None),
            stopping: CancellationToken::new(),
            store,
            clock,
            options,
            metrics,
        };
        let broker = Self { inner: Arc::new(inner) };
        maintenance::start(&broker);
        Ok(broker)
    }

    /// Stops maintenance and actors; what was accepted is finished first, and pulls that wait are answered. The store stays open.
    pub async fn stop(&self) {
        self.inner.stopping.cancel();
        maintenance::wait_until_idle(self).await;
    }

    /// Whether the store takes anything at all, and this node may work.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.inner.store.health() != Health::Down && self.is_fit()
    }

    /// The broker's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }
}

impl Inner {
    /// As whom this node judges leases.
    pub(crate) fn observer(&self) -> Observer {
        Observer { node: self.options.node, skew: self.options.clock_skew_max }
    }
}
