//! Who is at work: the actors of one kind, by log, found or started on demand and retired when idle.
//!
//! An actor is shared state behind an `Arc`, and a task only while there is something to do. It retires only when nobody else
//! holds it, which the registry knows under its lock: so there is never more than one for a log, and none retires between
//! lookup and use.

use crate::domain::{Error, Result};
use crate::storage::LogId;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most actors of one kind at a time.
const ACTORS_MAX: usize = 100_000;

/// Actors by log.
#[derive(Debug)]
pub(super) struct Registry<A> {
    actors: Mutex<HashMap<LogId, Seat<A>>>,
    alive: IntGauge,
}

#[derive(Debug)]
struct Seat<A> {
    actor: Arc<A>,
    /// When it was last asked for, or last seen in use.
    used: Duration,
}

impl<A> Registry<A> {
    pub(super) fn new(alive: IntGauge) -> Self {
        Self { actors: Mutex::new(HashMap::new()), alive }
    }

    /// The actor of a log; `make` starts it. O(1).
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many are in use.
    pub(super) fn find_or_start(&self, log: LogId, now: Duration, make: impl FnOnce() -> A) -> Result<Arc<A>> {
        let mut actors = self.actors.lock();
        if let Some(seat) = actors.get_mut(&log) {
            seat.used = now;
            return Ok(Arc::clone(&seat.actor));
        }
        if actors.len() >= ACTORS_MAX {
            actors.retain(|_, seat| Arc::strong_count(&seat.actor) > 1);
            if actors.len() >= ACTORS_MAX {
                return Err(Error::Overloaded("topics and subscriptions in use"));
            }
        }
        let actor = Arc::new(make());
        actors.insert(log, Seat { actor: Arc::clone(&actor), used: now });
        self.alive.set(actors.len() as i64);
        Ok(actor)
    }

    /// The actor of a log, if it is at work; this does not count as use. O(1).
    pub(super) fn find(&self, log: LogId) -> Option<Arc<A>> {
        self.actors.lock().get(&log).map(|seat| Arc::clone(&seat.actor))
    }

    /// Lets those go that nobody has used for `idle_after`, but for those that still have something to do first, and answers
    /// those that stay. O(actors).
    pub(super) fn sweep(
        &self,
        now: Duration,
        idle_after: Duration,
        has_to_do: impl Fn(&Arc<A>) -> bool,
    ) -> Vec<Arc<A>> {
        let mut actors = self.actors.lock();
        actors.retain(|_, seat| {
            if Arc::strong_count(&seat.actor) > 1 {
                seat.used = now;
            }
            now.saturating_sub(seat.used) < idle_after || has_to_do(&seat.actor)
        });
        self.alive.set(actors.len() as i64);
        actors.values().map(|seat| Arc::clone(&seat.actor)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry<u32> {
        Registry::new(IntGauge::new("actors", "of the test").unwrap())
    }

    #[test]
    fn an_actor_in_use_never_retires() {
        let registry = registry();
        let held = registry.find_or_start(LogId(1), Duration::ZERO, || 1).unwrap();
        assert_eq!(registry.sweep(Duration::from_secs(100), Duration::from_secs(60), |_| false).len(), 1);
        let again = registry.find_or_start(LogId(1), Duration::from_secs(100), || 2).unwrap();
        assert!(Arc::ptr_eq(&held, &again));
    }

    #[test]
    fn an_actor_that_nobody_uses_retires_after_its_time() {
        let registry = registry();
        drop(registry.find_or_start(LogId(1), Duration::ZERO, || 1).unwrap());
        assert_eq!(registry.sweep(Duration::from_secs(59), Duration::from_secs(60), |_| false).len(), 1);
        assert_eq!(registry.sweep(Duration::from_secs(60), Duration::from_secs(60), |actor| **actor == 1).len(), 1);
        assert_eq!(registry.sweep(Duration::from_secs(60), Duration::from_secs(60), |_| false).len(), 0);
        assert_eq!(registry.alive.get(), 0);
        assert_eq!(*registry.find_or_start(LogId(1), Duration::ZERO, || 2).unwrap(), 2);
    }
}
