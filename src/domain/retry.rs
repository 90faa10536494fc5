//! When a delivery is tried again: the policies, and the pace that each makes of successes and failures. Waits for nothing itself.

mod phases;

pub use phases::{BackOff, Phases};

use std::time::Duration;

/// Slow start: before the first delivery, and after the first success that follows failures.
const SLOW_START_FIRST: Duration = Duration::from_secs(1);
/// Slow start: the shortest and the longest pause.
const SLOW_START_LEAST: Duration = Duration::from_millis(300);
const SLOW_START_MOST: Duration = Duration::from_secs(86_400);
/// Each message by itself: the longest pause while nothing can be taken.
const EACH_MOST: Duration = Duration::from_secs(8);

/// How the pauses between deliveries go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryPolicy {
    /// Always the same pause, after successes and failures alike.
    Linear {
        /// The pause.
        period: Duration,
    },
    /// Failures double the pause, successes halve it.
    SlowStart,
    /// Each message goes as soon as it is there, and is tried again when its own [`Phases`] say. Only when nothing at all can be taken,
    /// pauses double.
    EachMessage,
}

/// The pauses of one row of deliveries. The numbers of slow start are ARGO AMS's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    policy: RetryPolicy,
    pause: Duration,
    failing: bool,
}

impl Pace {
    /// A row that begins.
    #[must_use]
    pub const fn new(policy: RetryPolicy) -> Self {
        Self { policy, pause: SLOW_START_FIRST, failing: false }
    }

    /// The pause before the first delivery.
    #[must_use]
    pub const fn first(&self) -> Duration {
        match self.policy {
            RetryPolicy::Linear { .. } | RetryPolicy::EachMessage => Duration::ZERO,
            RetryPolicy::SlowStart => SLOW_START_FIRST,
        }
    }

    /// The pause after a delivery.
    pub fn after(&mut self, succeeded: bool) -> Duration {
        let failed_before = std::mem::replace(&mut self.failing, !succeeded);
        self.pause = match self.policy {
            RetryPolicy::Linear { period } => period,
            RetryPolicy::EachMessage if succeeded => return Duration::ZERO,
            RetryPolicy::EachMessage if !failed_before => SLOW_START_FIRST,
            RetryPolicy::EachMessage => self.pause.saturating_mul(2).min(EACH_MOST),
            RetryPolicy::SlowStart if !succeeded => self.pause.saturating_mul(2).min(SLOW_START_MOST),
            RetryPolicy::SlowStart if failed_before => SLOW_START_FIRST,
            RetryPolicy::SlowStart => (self.pause / 2).max(SLOW_START_LEAST),
        };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_pauses_are_all_the_same() {
        let mut pace = Pace::new(RetryPolicy::Linear { period: Duration::from_millis(7) });
        assert_eq!(pace.first(), Duration::ZERO);
        assert!([true, false, false, true].iter().all(|ok| pace.after(*ok) == Duration::from_millis(7)));
    }

    #[test]
    fn messages_by_themselves_follow_each_other_at_once_until_nothing_can_be_taken() {
        let mut pace = Pace::new(RetryPolicy::EachMessage);
        assert_eq!(pace.first(), Duration::ZERO);
        let pauses: Vec<u64> =
            [true, false, false, false, false, false, true, false].iter().map(|ok| pace.after(*ok).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 8, 0, 1]);
    }

    #[test]
    fn slow_start_doubles_on_failure_and_halves_on_success() {
        let mut pace = Pace::new(RetryPolicy::SlowStart);
        assert_eq!(pace.first().as_millis(), 1_000);
        let pauses: Vec<u128> =
            [false, false, true, true, true, true, false].iter().map(|ok| pace.after(*ok).as_millis()).collect();
        assert_eq!(pauses, [2_000, 4_000, 1_000, 500, 300, 300, 600]);
        (0..40).for_each(|_| _ = pace.after(false));
        assert_eq!(pace.after(false), SLOW_START_MOST);
    }
}
