//! What operators see: metrics and logs. Decides nothing.

pub mod logging;
pub mod metrics;
pub(crate) mod process;
