//! The newest batches in memory, within a budget.
//!
//! Owns the order in which they leave; the batches themselves stand in their logs, always an unbroken stretch up to the
//! tail. Payloads are the callers' `Bytes`: nothing is copied, and what was never written takes nothing.

use super::state::Log;
use crate::storage::{LogId, StoredBatch};
use std::collections::{BTreeMap, VecDeque};

/// What a batch costs besides its payload.
const OVERHEAD: usize = 160;

/// The budget and who leaves next.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Oldest first; may name batches that have gone already.
    order: VecDeque<(LogId, u64)>,
    bytes: usize,
    count: usize,
    pub(super) budget: usize,
}

impl Recent {
    /// Bytes held now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a log's newest batch.
    pub(super) fn push(&mut self, logs: &mut BTreeMap<LogId, Log>, id: LogId, batch: StoredBatch) {
        let Some(log) = logs.get_mut(&id) else { return };
        self.bytes += cost(&batch);
        self.count += 1;
        self.order.push_back((id, batch.first.0));
        log.recent.push_back(batch);
        self.shrink(logs, self.budget);
        if self.order.len() > 2 * self.count + 1024 {
            let is_held = |&(id, first): &(LogId, u64)| {
                logs.get(&id).and_then(|log| log.recent.front()).is_some_and(|oldest| oldest.first.0 <= first)
            };
            self.order.retain(is_held);
        }
    }

    /// Lets the oldest go until no more than `budget` bytes are held.
    pub(super) fn shrink(&mut self, logs: &mut BTreeMap<LogId, Log>, budget: usize) {
        while self.bytes > budget {
            let Some((id, first)) = self.order.pop_front() else { return };
            let Some(log) = logs.get_mut(&id) else { continue };
            if log.recent.front().is_some_and(|oldest| oldest.first.0 == first) {
                self.pop(log);
            }
        }
    }

    /// Lets go what lies below a log's trim point.
    pub(super) fn trim(&mut self, log: &mut Log) {
        while log.recent.front().is_some_and(|oldest| oldest.next().0 <= log.first) {
            self.pop(log);
        }
    }

    fn pop(&mut self, log: &mut Log) {
        if let Some(batch) = log.recent.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&batch));
            self.count = self.count.saturating_sub(1);
        }
        if log.recent.is_empty() {
            log.recent.shrink_to_fit();
        }
    }
}

fn cost(batch: &StoredBatch) -> usize {
    batch.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Nonce, Offset, Time};
    use bytes::Bytes;

    fn batch(first: u64) -> StoredBatch {
        let payload = Bytes::from(vec![0; 1000 - OVERHEAD]);
        StoredBatch { first: Offset(first), count: 1, time: Time(0), nonce: Nonce::default(), payload }
    }

    #[test]
    fn the_oldest_leave_when_the_budget_is_used_up() {
        let mut logs = BTreeMap::from([(LogId(1), Log::default()), (LogId(2), Log::default())]);
        let mut recent = Recent { budget: 3000, ..Recent::default() };
        for at in 0..4_u32 {
            recent.push(&mut logs, LogId(1 + u128::from(at % 2)), batch(u64::from(at) / 2));
        }
        assert_eq!(recent.bytes(), 3000);
        assert_eq!(logs[&LogId(1)].recent.len(), 1);
        assert_eq!(logs[&LogId(2)].recent.len(), 2);
    }

    #[test]
    fn a_log_that_is_trimmed_all_the_time_leaves_nothing_behind() {
        let mut logs = BTreeMap::from([(LogId(1), Log::default())]);
        let mut recent = Recent { budget: 3000, ..Recent::default() };
        for at in 0..10_000 {
            recent.push(&mut logs, LogId(1), batch(at));
            let log = logs.get_mut(&LogId(1)).unwrap();
            log.first = at + 1;
            recent.trim(log);
        }
        assert_eq!((recent.bytes(), recent.count), (0, 0));
        assert!(recent.order.len() < 2_000);
    }
}
