//! What operators see: metrics and logs. Decides nothing.

pub mod metrics;
