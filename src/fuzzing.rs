//! The fuzz targets: each takes arbitrary bytes and panics if a decoder, or what is made of its answer, is not as promised.
//!
//! Owns the table of names that `tests/fuzz` and the replay of `tests/corpus` share. Compiled for tests and under the feature
//! `fuzzing` alone. What a target checks stands beside the code it is about.

#[cfg(test)]
mod tests;

use crate::{api, broker, config, domain, storage};

/// A target: its name, and what it does with an input.
type Target = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    ("ack_ids", api::ams::fuzzing::ack_ids),
    ("batches", broker::codec::fuzzing::batches),
    ("bodies", api::ams::fuzzing::bodies),
    ("checkpoints", storage::segment::fuzzing::checkpoints),
    ("config", config::fuzzing::text),
    ("documents", broker::codec::fuzzing::documents),
    ("events", broker::codec::fuzzing::events),
    ("page_tokens", api::ams::fuzzing::page_tokens),
    ("paths", api::ams::fuzzing::paths),
    ("segment_files", storage::segment::fuzzing::files),
    ("segment_records", storage::segment::fuzzing::records),
    ("snapshots", broker::codec::fuzzing::snapshots),
    ("subscription", subscription),
    ("times", api::ams::fuzzing::times),
];

/// Runs one target.
///
/// # Panics
/// When there is no such target, or it found something.
pub fn run(target: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    assert!(found.is_some(), "there is no target {target}");
    if let Some((_, run)) = found {
        run(data);
    }
}

/// The life of a subscription, with stored events and snapshots in between.
fn subscription(data: &[u8]) {
    domain::subscription::fuzzing::life(data, &broker::codec::fuzzing::stored_events, &|state| {
        broker::codec::fuzzing::snapshot_holds(state);
    });
}
