//! The only caller of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, for people who look at metrics.
#[expect(clippy::disallowed_methods, reason = "this binary's one place that reads the time")]
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
