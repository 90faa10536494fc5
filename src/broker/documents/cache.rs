//! Cached documents: each at most so old, at most so many, and never older than a change made through this broker.
//!
//! A lookup that hits takes one read lock on one of a few shards and copies an [`Arc`]. Absence is cached like presence. Knows
//! no store: the caller reads, and hands in what it found with the [`Ticket`] it took before reading.

use super::keys::Keyed;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SHARDS: usize = 16;

/// The cached documents of one kind of key.
pub(crate) struct Cache<K: Keyed> {
    shards: [RwLock<Shard<K>>; SHARDS],
    /// Chooses the shard, the same in each run. Who contrives keys of one shard only makes that part of the cache less useful;
    /// the maps inside are keyed at random.
    hasher: BuildHasherDefault<DefaultHasher>,
    age_max: Duration,
    shard_max: usize,
}

struct Shard<K: Keyed> {
    entries: HashMap<K, Entry<K::Record>>,
    /// Rises with each change made through this broker.
    generation: u64,
}

struct Entry<R> {
    /// When reading it began, by the monotonic clock.
    read_at: Duration,
    record: Option<Arc<R>>,
    /// Somebody reads it anew before it is too old, so that not everybody does when it is.
    refreshing: AtomicBool,
}

/// Taken before reading the store; what was read is kept only if no change came between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    generation: u64,
    taken_at: Duration,
}

impl<K: Keyed> Cache<K> {
    /// A cache of at most about `entries_max` documents (at least one for each shard).
    pub(crate) fn new(age_max: Duration, entries_max: usize) -> Self {
        let shards = std::array::from_fn(|_| RwLock::new(Shard { entries: HashMap::new(), generation: 0 }));
        Self { shards, hasher: BuildHasherDefault::new(), age_max, shard_max: (entries_max / SHARDS).max(1) }
    }

    fn shard(&self, key: &K) -> &RwLock<Shard<K>> {
        let [first, ..] = &self.shards;
        let place = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards.get(place).unwrap_or(first)
    }

    /// What is known of a key at the monotonic instant `now`: `Some(None)` is known absence. None when the caller should read
    /// the store.
    pub(crate) fn get(&self, key: &K, now: Duration) -> Option<Option<Arc<K::Record>>> {
        let shard = self.shard(key).read();
        let entry = shard.entries.get(key)?;
        let age = now.saturating_sub(entry.read_at);
        let early = age >= self.age_max / 2 && !entry.refreshing.swap(true, Ordering::Relaxed);
        (age < self.age_max && !early).then(|| entry.record.clone())
    }

    /// To be taken before the store is read.
    pub(crate) fn ticket(&self, key: &K, now: Duration) -> Ticket {
        Ticket { generation: self.shard(key).read().generation, taken_at: now }
    }

    /// Keeps what the store answered, unless something was changed through this broker since the ticket was taken.
    pub(crate) fn fill(&self, key: &K, ticket: Ticket, record: Option<Arc<K::Record>>) {
        let mut shard = self.shard(key).write();
        if shard.generation != ticket.generation {
            return;
        }
        if shard.entries.len() >= self.shard_max && !shard.entries.contains_key(key) {
            self.make_room(&mut shard, ticket.taken_at);
        }
        let entry = Entry { read_at: ticket.taken_at, record, refreshing: AtomicBool::new(false) };
        shard.entries.insert(key.clone(), entry);
    }

    /// Drops what is too old; everything, when that was too little: what is dropped is worth one read of the store each.
    fn make_room(&self, shard: &mut Shard<K>, now: Duration) {
        shard.entries.retain(|_, entry| now.saturating_sub(entry.read_at) < self.age_max);
        if shard.entries.len() * 2 > self.shard_max {
            shard.entries.clear();
        }
    }

    /// Forgets a key and makes sure that no earlier read brings it back.
    pub(crate) fn forget(&self, key: &K) {
        let mut shard = self.shard(key).write();
        shard.generation += 1;
        shard.entries.remove(key);
    }

    /// Forgets a key when the answer is dropped, however a change ends.
    pub(crate) const fn changing<'a>(&'a self, key: &'a K) -> Changing<'a, K> {
        Changing { cache: self, key }
    }
}

impl<K: Keyed> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("age_max", &self.age_max).field("shard_max", &self.shard_max).finish()
    }
}

/// A change on its way.
pub(crate) struct Changing<'a, K: Keyed> {
    cache: &'a Cache<K>,
    key: &'a K,
}

impl<K: Keyed> Drop for Changing<'_, K> {
    fn drop(&mut self) {
        self.cache.forget(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::HintKey;
    use super::*;
    use crate::broker::codec::document::Hint;
    use crate::domain::{Name, ProjectId, Resource};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> HintKey {
        HintKey { of: Resource::Topic, scope: ProjectId(1), name: Name::new(name).unwrap() }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_entry_is_used_until_its_age_is_reached_and_one_reader_refreshes_it_early() {
        let cache = Cache::new(SECOND, 1_000);
        cache.fill(&key("a"), cache.ticket(&key("a"), at(0)), Some(Arc::new(Hint::default())));
        assert!(cache.get(&key("a"), at(499)).is_some());
        assert!(cache.get(&key("a"), at(500)).is_none(), "the first one after half the age reads anew");
        assert!(cache.get(&key("a"), at(501)).is_some(), "the others do not");
        assert!(cache.get(&key("a"), at(1_000)).is_none());
    }

    #[test]
    fn absence_is_known_too() {
        let cache = Cache::new(SECOND, 1_000);
        assert!(cache.get(&key("a"), at(0)).is_none());
        cache.fill(&key("a"), cache.ticket(&key("a"), at(0)), None);
        assert_eq!(cache.get(&key("a"), at(1)), Some(None));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::new(SECOND, 1_000);
        let ticket = cache.ticket(&key("a"), at(0));
        drop(cache.changing(&key("a")));
        cache.fill(&key("a"), ticket, None);
        assert!(cache.get(&key("a"), at(1)).is_none());
    }

    #[test]
    fn entries_are_bounded() {
        let cache = Cache::new(SECOND, 64);
        for number in 0..10_000 {
            let key = key(&format!("t{number}"));
            cache.fill(&key, cache.ticket(&key, at(0)), None);
        }
        let held: usize = cache.shards.iter().map(|shard| shard.read().entries.len()).sum();
        assert!(held <= 64, "{held}");
    }
}
