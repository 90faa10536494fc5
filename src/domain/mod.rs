//! The domain: what a topic, a message, a subscription and a lease mean.
//!
//! Pure and deterministic: no I/O, no clock, no randomness, no crate but `bytes`, no word of any dialect. `now` is always an
//! argument; the same inputs give the same outputs, byte for byte.

pub mod acl;
pub mod error;
pub mod id;
pub mod limits;
pub mod membership;
pub mod message;
pub mod network;
#[cfg(feature = "planted")]
pub mod planted;
pub mod project;
pub mod push;
pub mod registration;
pub mod retry;
pub mod schema;
pub mod subscription;
pub mod topic;
pub mod user;

pub use error::{Error, Resource, Result};
pub use id::{
    Day, Fence, Incarnation, LogRef, Name, Offset, ProducerId, ProjectId, RegistrationId, SchemaId, SubscriptionId,
    Timestamp, TopicId, UserId,
};
