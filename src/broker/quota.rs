//! What projects may use: messages and bytes a second by buckets in the memory of this node, topics and subscriptions by counting.
//!
//! A bucket holds what a second brings and is filled as time goes. A request is taken while there is anything in it, however large the
//! request is; what it takes too much is owed, and the next ones wait for that. Decides nothing about who may do what.

use super::Broker;
use super::catalog::entity::Entity;
use crate::domain::project::Quota;
use crate::domain::{Error, Name, ProjectId, Result};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Above so many projects with buckets the full ones are forgotten.
const PROJECTS_MAX: usize = 10_000;

/// Quotas of one broker.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// For projects that have none of their own.
    common: ArcSwap<Quota>,
    buckets: Mutex<HashMap<ProjectId, Buckets>>,
    /// Held while something that is counted is made, so that two do not take the last place both.
    making: Arc<Turn<()>>,
}

#[derive(Clone, Copy, Debug)]
struct Buckets {
    messages: f64,
    bytes: f64,
    at: Duration,
}

impl Broker {
    /// Sets what projects may use that have no quota of their own.
    pub fn set_common_quota(&self, quota: Quota) {
        self.inner.quotas.common.store(Arc::new(quota));
    }

    /// What a project may use; its own quota counts within the cache's age.
    async fn quota(&self, project: ProjectId) -> Result<Quota> {
        let own = match self.project_by_id(project).await {
            Ok(project) => project.quota,
            // Its topics' logs are closed: they say so better.
            Err(Error::NotFound(_)) => Quota::default(),
            Err(error) => return Err(error),
        };
        Ok(own.over(**self.inner.quotas.common.load()))
    }

    /// Takes so many messages and bytes from the project's buckets.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] with when to come again; storage.
    pub(super) async fn admit(&self, project: ProjectId, messages: u64, bytes: u64) -> Result<()> {
        let quota = self.quota(project).await?;
        let rates = (quota.messages_per_second.unwrap_or(0), quota.bytes_per_second.unwrap_or(0));
        if rates == (0, 0) {
            return Ok(());
        }
        let admitted = self.inner.quotas.take(project, rates, (messages, bytes), self.inner.clock.monotonic());
        if let Err(Error::QuotaExceeded { what, .. }) = &admitted {
            self.inner.metrics.overloads.with_label_values(&[&format!("quota of {what}")]).inc();
        }
        admitted
    }

    /// Fails when the project has as many things of this kind as it may; what is answered is held until the new one is made. Costs
    /// nothing where there is no quota, else O(things of the project).
    pub(super) async fn room_for<T: Entity>(
        &self,
        project: ProjectId,
        name: &Name,
        what: &'static str,
        bound: fn(Quota) -> Option<u64>,
    ) -> Result<Option<OwnedMutexGuard<()>>> {
        let Some(most) = bound(self.quota(project).await?).filter(|most| *most > 0) else { return Ok(None) };
        let turn = Arc::clone(&self.inner.quotas.making).lock_owned().await;
        if self.find_now::<T>(project, name).await?.is_some() {
            return Err(Error::AlreadyExists(T::RESOURCE));
        }
        if self.all::<T>(project).await?.len() as u64 >= most {
            self.inner.metrics.overloads.with_label_values(&[&format!("quota of {what}")]).inc();
            return Err(Error::QuotaExceeded { what, after: None });
        }
        Ok(Some(turn))
    }
}

impl Quotas {
    #[expect(clippy::cast_precision_loss, reason = "rates and sizes are far below where floats lose whole numbers")]
    fn take(&self, project: ProjectId, rates: (u64, u64), taken: (u64, u64), now: Duration) -> Result<()> {
        let rates = (rates.0 as f64, rates.1 as f64);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= PROJECTS_MAX && !buckets.contains_key(&project) {
            // Owing nothing for a second, they are as good as new.
            buckets.retain(|_, bucket| {
                bucket.messages < 0.0 || bucket.bytes < 0.0 || now.saturating_sub(bucket.at) < Duration::from_secs(1)
            });
        }
        let full = Buckets { messages: rates.0, bytes: rates.1, at: now };
        let bucket = buckets.entry(project).or_insert(full);
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.messages = (bucket.messages + passed * rates.0).min(rates.0);
        bucket.bytes = (bucket.bytes + passed * rates.1).min(rates.1);
        bucket.at = bucket.at.max(now);
        let owed = [("messages a second", bucket.messages, rates.0), ("bytes a second", bucket.bytes, rates.1)];
        for (what, level, rate) in owed {
            if rate > 0.0 && level < 1.0 {
                let after = Duration::try_from_secs_f64((1.0 - level) / rate).unwrap_or(Duration::MAX);
                return Err(Error::QuotaExceeded { what, after: Some(after) });
            }
        }
        bucket.messages -= if rates.0 > 0.0 { taken.0 as f64 } else { 0.0 };
        bucket.bytes -= if rates.1 > 0.0 { taken.1 as f64 } else { 0.0 };
        Ok(())
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
