//! The broker: the operations that every dialect translates to, driven over a store.

pub mod codec;
