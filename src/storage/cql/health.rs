//! Whether the cluster answers: what readiness asks, without sending anything.
//!
//! Owns the time since when nothing was answered. Never sends: the store's own probe asks again while nothing else does.

use crate::storage::Health;
use parking_lot::Mutex;
use std::time::Duration;

/// For how long nothing may be answered before the store counts as down: longer than the loss of one node takes to be noticed.
const DOWN_AFTER: Duration = Duration::from_secs(4);

/// When answers stopped coming, if they have.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    silent_since: Mutex<Option<Duration>>,
}

impl Pulse {
    /// A request was answered.
    pub(super) fn answered(&self) {
        *self.silent_since.lock() = None;
    }

    /// A request was not, at this monotonic time.
    pub(super) fn unanswered(&self, now: Duration) {
        self.silent_since.lock().get_or_insert(now);
    }

    /// Whether the last request was not answered.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_since.lock().is_some()
    }

    /// The store's health at this monotonic time.
    pub(super) fn health(&self, now: Duration) -> Health {
        let silent = self.silent_since.lock().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if silent > DOWN_AFTER { Health::Down } else { Health::Ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_silent_for_seconds_is_down_until_it_answers() {
        let (pulse, second) = (Pulse::default(), Duration::from_secs(1));
        assert_eq!(pulse.health(second * 99), Health::Ready, "nothing was asked");
        pulse.unanswered(second * 10);
        pulse.unanswered(second * 13);
        assert_eq!(pulse.health(second * 14), Health::Ready);
        assert_eq!(pulse.health(second * 15), Health::Down);
        pulse.answered();
        assert_eq!(pulse.health(second * 99), Health::Ready);
        assert!(!pulse.is_silent());
    }
}
