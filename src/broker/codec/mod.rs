//! The binary forms of what the broker stores: messages, events, snapshots, documents. Each carries a version; golden bytes hold them.

pub(crate) mod document;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub mod message;
pub mod snapshot;
mod wire;
