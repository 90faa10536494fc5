//! Who of this process may write to a log or a document just now: one at a time, for two would only refuse each other.
//!
//! Owns what is remembered of logs between appends, within bounds. Decides nothing: conditions in the cluster do.

use super::logs::View;
use crate::storage::LogId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

/// Most logs that are remembered; the others are looked at before an append.
const LOGS_MAX: usize = 50_000;
/// Documents share this many turns.
const TURNS: usize = 256;

/// One log's writer at a time, with what the last one left to know.
pub(super) type Seat = Arc<AsyncMutex<Option<View>>>;

/// The logs that were appended to.
#[derive(Debug, Default)]
pub(super) struct Seats {
    logs: Mutex<HashMap<LogId, Seat>>,
}

impl Seats {
    /// The seat of a log.
    pub(super) fn of(&self, log: LogId) -> Seat {
        let mut logs = self.logs.lock();
        if logs.len() >= LOGS_MAX && !logs.contains_key(&log) {
            // Those that nobody sits on; which ones are forgotten does not matter.
            let mut keep = LOGS_MAX / 2;
            logs.retain(|_, seat| {
                keep = keep.saturating_sub(1);
                keep > 0 || Arc::strong_count(seat) > 1
            });
        }
        Arc::clone(logs.entry(log).or_default())
    }

    /// Forgets a log.
    pub(super) fn forget(&self, log: LogId) {
        self.logs.lock().remove(&log);
    }
}

/// Turns of writers of documents.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Vec<AsyncMutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        let turns = std::iter::repeat_with(AsyncMutex::default).take(TURNS).collect();
        Self { turns, hasher: RandomState::new() }
    }
}

impl Turns {
    /// The turn of a key, and whether it had to be waited for.
    pub(super) async fn of(&self, key: &[u8]) -> (Option<MutexGuard<'_, ()>>, bool) {
        let index = usize::try_from(self.hasher.hash_one(key) % TURNS as u64).unwrap_or_default();
        let Some(turn) = self.turns.get(index) else { return (None, false) };
        match turn.try_lock() {
            Ok(guard) => (Some(guard), false),
            Err(_) => (Some(turn.lock().await), true),
        }
    }
}
