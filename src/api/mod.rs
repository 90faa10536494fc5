//! The dialects: each translates its own paths, bodies and error texts to the broker's operations and back. No dialect knows another;
//! what all of them need of HTTP stands here.

pub mod ams;
pub mod connection;
pub mod ops;

pub(crate) use connection::{client_gone, hang_up};
