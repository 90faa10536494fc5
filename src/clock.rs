//! The only place that reads the time.
//!
//! Owns [`Clock`]: wall time for what is stored, monotonic time for what is measured, and a manual clock for
//! tests. Nothing else in the crate may call `SystemTime::now`, `Instant::now` or `Utc::now`; a lint holds that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds of wall time since 1970-01-01T00:00:00Z.
pub type WallMicros = u64;

/// A source of time that can be cloned and shared. Cheap: two words and no lock.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// A clock that moves only when told to; wall and monotonic time move together unless set apart.
    Manual(Arc<ManualClock>),
}

/// The state of a manual clock, in microseconds.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl Clock {
    /// A manual clock whose wall time is `wall` and whose monotonic time is zero.
    #[must_use]
    pub fn manual(wall: WallMicros) -> Self {
        Self::Manual(Arc::new(ManualClock { wall: AtomicU64::new(wall), monotonic: AtomicU64::new(0) }))
    }

    /// Wall time in microseconds since 1970; a machine set before 1970 reads as zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn wall(&self) -> WallMicros {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
            Self::Manual(clock) => clock.wall.load(Ordering::SeqCst),
        }
    }

    /// Time since an arbitrary fixed instant of this process; never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::System => monotonic_origin().elapsed(),
            Self::Manual(clock) => Duration::from_micros(clock.monotonic.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward, wall and monotonic together. Does nothing on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(clock) = self {
            let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
            clock.wall.fetch_add(micros, Ordering::SeqCst);
            clock.monotonic.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's wall time alone, as an operator or a bad time server would.
    pub fn set_wall(&self, wall: WallMicros) {
        if let Self::Manual(clock) = self {
            clock.wall.store(wall, Ordering::SeqCst);
        }
    }
}

/// The instant that [`Clock::monotonic`] counts from.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
fn monotonic_origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(1_000);
        clock.advance(Duration::from_micros(5));
        assert_eq!(clock.wall(), 1_005);
        assert_eq!(clock.monotonic(), Duration::from_micros(5));
        clock.set_wall(1);
        assert_eq!(clock.wall(), 1);
        assert_eq!(clock.monotonic(), Duration::from_micros(5));
    }
}
