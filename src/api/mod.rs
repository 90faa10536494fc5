//! The dialects: each translates its own paths, bodies and error texts to the broker's operations and back. No dialect knows another.

pub mod ams;
pub mod connection;
pub mod ops;
