//! Messages held against schemas: which compiled rules are kept in memory, and where the work is done. What the rules mean is
//! `validation`'s; the schemas' documents are the catalogue's.

use super::Broker;
use super::codec::message::BatchBuilder;
use crate::domain::message::{Attributes, PayloadForm};
use crate::domain::schema::{Rules, Schema};
use crate::domain::topic::Topic;
use crate::domain::{Error, Result, SchemaId};
use crate::validation::Compiled;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OnceCell, Semaphore};

/// Most compiled schemas kept, and most bytes that they take; to forget them costs compiling again.
const KEPT_MAX: usize = 1_000;
const KEPT_BYTES_MAX: usize = 128 << 20;
/// How much compiling and checking of large requests goes on at a time.
const HEAVY_MAX: usize = 4;

/// A schema in one of its revisions.
type Revision = (SchemaId, u64);

/// Compiled schemas.
#[derive(Debug)]
pub(super) struct Schemas {
    kept: Mutex<HashMap<Revision, Arc<OnceCell<Arc<Compiled>>>>>,
    heavy: Semaphore,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { kept: Mutex::default(), heavy: Semaphore::new(HEAVY_MAX) }
    }
}

impl Schemas {
    /// The place of a revision, made if there is none. Forgets all others when they are too many or too large.
    fn place(&self, of: Revision) -> Arc<OnceCell<Arc<Compiled>>> {
        let mut kept = self.kept.lock();
        if let Some(place) = kept.get(&of) {
            return Arc::clone(place);
        }
        let bytes: usize = kept.values().filter_map(|place| place.get()).map(|compiled| compiled.bytes()).sum();
        if kept.len() >= KEPT_MAX || bytes > KEPT_BYTES_MAX {
            kept.clear();
        }
        // The revisions before it are of no use any more.
        kept.retain(|(schema, revision), _| *schema != of.0 || *revision > of.1);
        Arc::clone(kept.entry(of).or_default())
    }
}

impl Broker {
    /// Compiles rules to see whether they can be.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong.
    pub(super) async fn try_rules(&self, rules: Rules) -> Result<()> {
        let compiled = self.heavy(move || Compiled::new(&rules)).await?;
        compiled.map(|_| ()).map_err(|why| Error::Invalid { what: "schema", why })
    }

    /// Checks one message against a schema.
    ///
    /// # Errors
    /// [`Error::Violation`] of message 0, [`Error::SchemaUnusable`].
    pub async fn check_message(
        &self,
        schema: &Arc<Schema>,
        form: PayloadForm,
        payload: bytes::Bytes,
        attributes: Option<Attributes>,
    ) -> Result<()> {
        let compiled = self.compiled(schema).await?;
        let check = move || match &attributes {
            Some(attributes) => compiled.check(form, &payload, attributes.iter()),
            None => compiled.check_payload(form, &payload),
        };
        self.heavy(check).await?.map_err(|fault| Error::Violation { message: 0, fault })
    }

    /// The batch, if its messages keep the topic's schema; the first that does not decides.
    pub(super) async fn checked(&self, topic: &Topic, batch: BatchBuilder) -> Result<BatchBuilder> {
        let unusable = |error: Error| Error::SchemaUnusable(error.to_string());
        let Some(schema) = self.schema_of(topic).await.map_err(unusable)? else { return Ok(batch) };
        let compiled = self.compiled(&schema).await?;
        if compiled.is_quick(batch.bytes()) {
            return check_all(&compiled, &batch).map(|()| batch);
        }
        self.heavy(move || check_all(&compiled, &batch).map(|()| batch)).await?
    }

    async fn compiled(&self, schema: &Arc<Schema>) -> Result<Arc<Compiled>> {
        let place = self.inner.schemas.place((schema.id, schema.revision));
        if let Some(compiled) = place.get() {
            return Ok(Arc::clone(compiled));
        }
        // Many may ask at once; one compiles.
        let compiling = place.get_or_try_init(|| async {
            let schema = Arc::clone(schema);
            let compiled = self.heavy(move || Compiled::new(&schema.rules)).await?;
            compiled.map(Arc::new).map_err(Error::SchemaUnusable)
        });
        compiling.await.map(Arc::clone)
    }

    /// Does what takes processor time where nobody else waits for it.
    async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let ended = |_| Error::Unavailable("the service is stopping".to_owned());
        let _turn = self.inner.schemas.heavy.acquire().await.map_err(|_| Error::Overloaded("checks of messages"))?;
        tokio::task::spawn_blocking(work).await.map_err(ended)
    }
}

fn check_all(compiled: &Compiled, batch: &BatchBuilder) -> Result<()> {
    for (message, (form, payload, attributes)) in batch.messages().enumerate() {
        let checked = compiled.check(form, payload, Attributes::pairs(attributes));
        checked.map_err(|fault| Error::Violation { message, fault })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "schemas_tests.rs"]
mod tests;
