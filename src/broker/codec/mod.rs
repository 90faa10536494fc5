//! The binary forms of what the broker stores: messages, events, snapshots, documents. Each carries a version; golden bytes hold them.

pub mod event;
pub mod snapshot;
mod wire;
