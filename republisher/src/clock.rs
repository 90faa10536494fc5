//! The only caller of `now()`.

use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The time that never jumps; in tests it can be paused.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for people who look at metrics.
#[expect(clippy::disallowed_methods, reason = "this binary's one place that reads the wall clock")]
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
