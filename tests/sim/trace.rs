//! What happened in a run, line by line: every call of a store with its answer, and every answer that an actor got.

use parking_lot::Mutex;
use std::fmt::{self, Display};
use tokio::time::Instant;

/// The lines of one run.
pub(crate) struct Trace {
    begun: Instant,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    /// An empty trace that begins now, by the runtime's clock.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), lines: Mutex::default() }
    }

    pub(crate) fn note(&self, who: &str, what: impl Display) {
        let at = self.begun.elapsed().as_micros();
        self.lines.lock().push(format!("{at:>10} {who:<4} {what}"));
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock())
    }
}

/// Bytes by length and checksum.
pub(crate) struct Brief<'a>(pub(crate) &'a [u8]);

impl Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{:08x}", self.0.len(), crc32c::crc32c(self.0))
    }
}
