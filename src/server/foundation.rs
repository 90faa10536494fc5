//! What everything else stands on: the store, the broker over it, the users. Opened together, closed together.

use super::engine::Engine;
use crate::api::ams::default_roles;
use crate::auth::{Auth, KeyRing};
use crate::broker::{Broker, Options};
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::domain::subscription::NodeId;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// An open store with its broker and users.
#[derive(Debug)]
pub(super) struct Foundation {
    pub(super) engine: Arc<Engine>,
    pub(super) broker: Broker,
    pub(super) auth: Auth,
}

impl Foundation {
    /// Opens store, broker and users, in this order; on a failure the store is left as clean as it was.
    pub(super) async fn open(config: &Config, clock: &Clock, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let engine = Arc::new(Engine::open(config, clock, metrics).await?);
        match Self::over(Arc::clone(&engine), config, clock, metrics).await {
            Ok(foundation) => Ok(foundation),
            Err(error) => {
                // The first failure is the one to tell.
                drop(engine.close().await);
                Err(error)
            }
        }
    }

    async fn over(engine: Arc<Engine>, config: &Config, clock: &Clock, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let options = Options {
            publish_bytes: config.limits.publish_bytes,
            waiting_pulls_max: config.limits.waiting_pulls,
            maintenance_every: maintenance_every(config),
            node: node(config),
            ..Options::default()
        };
        let broker = Broker::start(engine.store(), clock.clone(), options, Arc::clone(metrics)).await;
        let broker = broker.map_err(|error| format!("the store cannot be read: {error}"))?;
        match start_auth(config, &broker).await {
            Ok(auth) => Ok(Self { engine, broker, auth }),
            Err(error) => {
                broker.stop().await;
                Err(error)
            }
        }
    }

    /// Ends the broker, then the store with its end mark.
    pub(super) async fn close(&self) -> Result<(), String> {
        self.broker.stop().await;
        self.engine.close().await.map_err(|error| format!("the store did not close cleanly: {error}"))
    }
}

/// Who this process is among those that share its store: nobody else does, except in a cluster.
fn node(config: &Config) -> NodeId {
    if in_cluster(config) { Options::default().node } else { NodeId::default() }
}

/// How often retention and the sweeper look. In a cluster each look is a request for each topic: what is idle should cost nothing.
fn maintenance_every(config: &Config) -> Duration {
    if in_cluster(config) { Duration::from_secs(60) } else { Options::default().maintenance_every }
}

/// Whether other nodes may share the store.
pub(super) fn in_cluster(config: &Config) -> bool {
    matches!(config.store_url(), Ok(StoreUrl::Cql { .. }))
}

/// Opens the keys and the users. A key file that was made for a store that turns out to have another is taken away again.
async fn start_auth(config: &Config, broker: &Broker) -> Result<Auth, String> {
    let path = config.key_file();
    let made = path.as_deref().is_some_and(|path| !path.exists());
    let started = async {
        let keys = match &path {
            Some(path) => KeyRing::open(path)?,
            None => KeyRing::generate()?,
        };
        Auth::start(broker.clone(), keys, default_roles()).await
    };
    started.await.map_err(|error| {
        if let (true, Some(path)) = (made, &path) {
            drop(std::fs::remove_file(path));
        }
        let place = path.as_deref().map_or_else(String::new, |path| format!(" ({})", path.display()));
        format!("secrets.key_file{place}: {error}")
    })
}

/// Gives the store of a stopped service a new key, and everything that was encrypted with the old one. Answers the number of
/// users whose tokens that were. Broken off at any point, it may be done again.
///
/// # Errors
/// When the service runs, or the key is not the store's.
pub(crate) async fn rotate_key(config: &Config) -> Result<usize, String> {
    let path = config.key_file().ok_or("a store in memory keeps no key: there is nothing to change")?;
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    // Opened with the present key first: only who has the right one may add another.
    let foundation = Foundation::open(config, &Clock::System, &metrics).await?;
    let rotate = async {
        let auth = Auth::start(foundation.broker.clone(), KeyRing::add_key(&path)?, default_roles()).await?;
        let renewed = auth.rotate().await?;
        KeyRing::drop_old(&path)?;
        Ok(renewed)
    };
    let rotated = rotate.await.map_err(|error: crate::domain::Error| error.to_string());
    foundation.close().await?;
    rotated
}
