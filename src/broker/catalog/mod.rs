//! Projects, topics, subscriptions and schemas as documents: names, listings, changes by compare-and-set.
//!
//! The document under an identity is the truth; name documents are hints, accepted only if the truth names them back. Lookups are
//! cached for at most `Options::cache_age`; a change made through this broker is seen at once. Listings are not cached. Users
//! are kept in the same way by `auth`. Publishes and consumes nothing.

pub(crate) mod claim;
pub(crate) mod entity;
mod life;
mod page;
mod projects;
mod schemas;
mod subscriptions;
#[cfg(test)]
pub(crate) mod tests;
mod topics;

pub use page::{Page, PageRequest};
pub use projects::{NewProject, ProjectChange};
pub use schemas::{NewSchema, SchemaChange};
pub use subscriptions::{NewSubscription, SubscriptionChange};
pub use topics::{NewTopic, TopicChange};

use super::documents::Documents;
use super::{Broker, Options};
use crate::clock::Clock;
use crate::domain::limits::ACL_USERS_MAX;
use crate::domain::{Error, ProjectId, Resource, Result, SubscriptionId, Timestamp, UserId};
use crate::storage::Store;
use crate::telemetry::metrics::Metrics;
use entity::Entity;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Changes of subscriptions that are kept for who listens and is busy.
const CHANGES: usize = 1_024;

/// What a broker keeps for its documents.
pub(crate) struct Catalog {
    documents: Documents,
    /// The last identity that was made.
    last_identity: Mutex<u128>,
    /// Who was made, changed or removed among the subscriptions.
    changes: broadcast::Sender<(ProjectId, SubscriptionId)>,
}

impl Catalog {
    /// A catalogue over a store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, options: &Options, metrics: Arc<Metrics>) -> Self {
        let documents =
            Documents::new(store, clock, metrics, options.cache_age, options.cache_entries, &options.random);
        Self { documents, last_identity: Mutex::new(0), changes: broadcast::Sender::new(CHANGES) }
    }
}

impl Broker {
    /// Tells who listens that a thing was made, changed or removed.
    fn tell<T: Entity>(&self, thing: &T) {
        if T::RESOURCE == Resource::Subscription {
            // An error means that nobody listens.
            let _ = self.inner.catalog.changes.send((thing.scope(), SubscriptionId(thing.id())));
        }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.documents.fmt(f)
    }
}

impl Broker {
    /// The documents.
    pub(crate) fn documents(&self) -> &Documents {
        &self.inner.catalog.documents
    }

    /// A fresh identity (a UUID of version 7), greater than all that this process made before, also within one microsecond and
    /// when the wall clock goes back.
    pub(crate) fn fresh_identity(&self, now: Timestamp) -> u128 {
        let [.., a, b, c, d, e, f, g, h] = self.inner.options.random.id().to_be_bytes();
        let [micros_high, micros_low] = u16::try_from(now.0 % 1_000).unwrap_or(0).to_be_bytes();
        let tail = [micros_high, micros_low, a, b, c, d, e, f, g, h];
        let fresh = uuid::Builder::from_unix_timestamp_millis(now.0 / 1_000, &tail).into_uuid().as_u128();
        let mut last = self.inner.catalog.last_identity.lock();
        *last = fresh.max(last.saturating_add(1));
        *last
    }
}

/// Refuses an access list above the limit.
fn check_acl(acl: Option<&[UserId]>) -> Result<()> {
    match acl {
        Some(acl) if acl.len() > ACL_USERS_MAX => {
            Err(Error::Invalid { what: "acl", why: format!("holds more than {ACL_USERS_MAX} users") })
        }
        _ => Ok(()),
    }
}
