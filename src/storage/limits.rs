//! The checks of contract 19, the same on every engine.
//!
//! Owns: which batch, key and value an engine takes. Never: what an engine does with them.

use super::{BATCH_BYTES_MAX, BATCH_COUNT_MAX, Batch, KEY_BYTES_MAX, Key, Result, StoreError, VALUE_BYTES_MAX};
use bytes::Bytes;

/// Refuses a batch that is above a limit.
pub(crate) fn check_batch(batch: &Batch) -> Result<()> {
    debug_assert_ne!(batch.count, 0, "a batch takes at least one offset");
    at_most("a batch", batch.payload.len(), BATCH_BYTES_MAX)?;
    at_most("a batch's message count", to_usize(batch.count), to_usize(BATCH_COUNT_MAX))
}

/// Refuses a key that is above the limit.
pub(crate) fn check_key(key: &Key) -> Result<()> {
    at_most("a key", key.0.len(), KEY_BYTES_MAX)
}

/// Refuses a document whose key or value is above a limit.
pub(crate) fn check_document(key: &Key, value: &Bytes) -> Result<()> {
    check_key(key)?;
    at_most("a value", value.len(), VALUE_BYTES_MAX)
}

const fn at_most(what: &'static str, size: usize, limit: usize) -> Result<()> {
    if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
