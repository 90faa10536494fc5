//! How long to wait before the next try: exponential with jitter, never less than the service asked for.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait that a service may ask for.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// The waits of one call that fails again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    tries: u32,
    longest: Duration,
}

impl Backoff {
    /// Begins with a tenth of a second, doubles up to `longest`.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { tries: 0, longest }
    }

    /// As it was before anything failed.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.longest)
    }

    /// The next wait: between half of it and all of it by chance, and at least what was `asked` for, up to five minutes.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(20)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        let wait = jittered(whole);
        asked.map_or(wait, |asked| asked.min(ASKED_MAX) + wait.min(FIRST))
    }
}

/// Between half of it and all of it, by chance: many that failed together do not come back together.
pub(crate) fn jittered(whole: Duration) -> Duration {
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new(longest);
        for whole in [100, 200, 400, 800, 1600, 2000, 2000] {
            let wait = backoff.next(None);
            let whole = Duration::from_millis(whole);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        let mut many: Vec<Duration> = (0..50).map(|_| jittered(longest)).collect();
        many.dedup();
        assert!(many.len() > 1);
    }

    #[test]
    fn what_the_service_asks_for_is_kept_within_reason() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let wait = backoff.next(Some(Duration::from_secs(7)));
        assert!(wait >= Duration::from_secs(7) && wait < Duration::from_secs(8));
        assert!(backoff.next(Some(Duration::from_secs(1 << 40))) < Duration::from_secs(302));
    }
}
