//! What Keystone said, for a while: bounded in time and in number. Reads no clock.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Answers by the hash of what was asked about.
pub(super) struct Cache<T> {
    entries: RwLock<HashMap<[u8; 32], Entry<T>>>,
    entries_max: usize,
}

struct Entry<T> {
    value: Arc<T>,
    /// By the monotonic clock.
    until: Duration,
}

impl<T> Cache<T> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: RwLock::default(), entries_max: entries_max.max(1) }
    }

    /// What is still believed at a monotonic instant.
    pub(super) fn get(&self, key: &[u8; 32], now: Duration) -> Option<Arc<T>> {
        let entries = self.entries.read();
        entries.get(key).filter(|entry| now < entry.until).map(|entry| Arc::clone(&entry.value))
    }

    /// Keeps an answer for a while. In a full cache what is over goes, and if nothing is, any one. O(entries) when full.
    pub(super) fn put(&self, key: [u8; 32], value: T, now: Duration, age: Duration) -> Arc<T> {
        let value = Arc::new(value);
        let mut entries = self.entries.write();
        if entries.len() >= self.entries_max && !entries.contains_key(&key) {
            entries.retain(|_, entry| now < entry.until);
            // Half a cache at a time, so that the next ones come in for nothing.
            let surplus = entries.len().saturating_sub(self.entries_max / 2);
            if entries.len() >= self.entries_max {
                let gone: Vec<_> = entries.keys().take(surplus).copied().collect();
                gone.iter().for_each(|key| drop(entries.remove(key)));
            }
        }
        entries.insert(key, Entry { value: Arc::clone(&value), until: now.saturating_add(age) });
        value
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} of {})", self.entries.read().len(), self.entries_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_believed_until_its_time_is_over() {
        let cache = Cache::new(4);
        cache.put([1; 32], 'a', seconds(10), seconds(5));
        assert_eq!(cache.get(&[1; 32], seconds(14)).as_deref(), Some(&'a'));
        assert_eq!(cache.get(&[1; 32], seconds(15)), None);
        assert_eq!(cache.get(&[2; 32], seconds(10)), None);
    }

    #[test]
    fn a_cache_holds_no_more_than_it_may_and_drops_what_is_over_first() {
        let cache = Cache::new(4);
        for key in 0..3 {
            cache.put([key; 32], key, seconds(0), seconds(1));
        }
        cache.put([3; 32], 3, seconds(0), seconds(100));
        cache.put([4; 32], 4, seconds(50), seconds(100));
        assert_eq!(cache.get(&[3; 32], seconds(60)).as_deref(), Some(&3));
        for key in 5..100 {
            cache.put([key; 32], key, seconds(50), seconds(100));
            assert!(cache.entries.read().len() <= 4);
            assert_eq!(cache.get(&[key; 32], seconds(60)).as_deref(), Some(&key));
        }
    }
}
