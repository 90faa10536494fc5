//! The suite that every engine passes: each test is named after the behaviour that a sentence of the storage contract asks for.
//!
//! Owns the subject under test, the macro that makes the tests, and the small words that they are written in. Knows
//! nothing of any engine. An engine's own tests say
//!
//! ```ignore
//! contract_suite!(memory, async { Subject::new(MemoryStore::new()) });
//! ```
//!
//! Only durability across a crash (contract 5) is more than this suite can show: it opens a store again after a clean
//! stop, an engine's own tests cut the power.

pub(crate) mod concurrency;
pub(crate) mod documents;
pub(crate) mod logs;

use super::{
    Append, Batch, Bounds, Created, Document, Key, LogId, Nonce, Offset, Position, Purpose, Put, Read, ReadLimit,
    Store, StoredBatch, Time, Version,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::Arc;

/// A store under test, and how it is opened again.
pub(crate) struct Subject {
    store: Option<Arc<dyn Store>>,
    reopen: Box<dyn FnMut() -> BoxFuture<'static, Arc<dyn Store>> + Send>,
}

impl Subject {
    /// A store that is never really opened again: it stays as it is.
    pub(crate) fn new(store: impl Store) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        let same = Arc::clone(&store);
        Self::reopenable(store, move || std::future::ready(Arc::clone(&same)))
    }

    /// A store that `reopen` opens again from what it left behind. `reopen` runs when the suite has dropped every handle of
    /// its own; it may own what has to live as long as the subject, such as a temporary folder.
    pub(crate) fn reopenable<F>(store: Arc<dyn Store>, mut reopen: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        Self { store: Some(store), reopen: Box::new(move || reopen().boxed()) }
    }

    /// The store as it is open now.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("the subject is open"))
    }

    /// Gives up the open store and opens it again.
    pub(crate) async fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some((self.reopen)().await);
    }
}

/// Makes a module `$name` with one test for each sentence; `$fresh` is a future of a fresh [`Subject`], made anew for
/// each test. Attributes before the name, such as `#[ignore = "…"]`, are those of each test.
macro_rules! contract_suite {
    ($(#[$attribute:meta])* $name:ident, $fresh:expr) => {
        mod $name {
            use super::*;
            $crate::storage::contract::contract_suite! {
                @tests ($fresh) [$(#[$attribute])*]
                logs: [
                    creating_a_log_that_exists_changes_nothing,
                    creating_a_closed_log_does_not_bring_it_back,
                    a_log_begins_where_it_is_told_to,
                    offsets_are_dense,
                    an_append_elsewhere_than_at_the_next_offset_is_a_conflict,
                    an_unknown_log_is_closed_and_stays_unmade,
                    a_closed_log_is_closed_to_everything,
                    closing_is_idempotent_and_touches_no_other_log,
                    what_was_answered_is_there_after_opening_again,
                    stored_times_never_go_back,
                    times_do_not_go_back_behind_what_is_trimmed,
                    a_read_is_in_order_and_without_a_gap,
                    a_read_starts_at_the_batch_that_holds_the_offset,
                    a_read_at_or_beyond_the_tail_has_no_batches,
                    a_read_below_the_trim_point_is_trimmed,
                    a_read_by_time_starts_at_the_first_batch_not_before_it,
                    a_read_by_time_of_a_trimmed_log_starts_with_what_is_kept,
                    a_read_has_at_least_one_batch_whatever_the_limit,
                    a_read_stops_at_either_limit,
                    a_read_of_the_tail_is_the_newest_batch_alone,
                    the_tail_of_an_empty_or_trimmed_log_is_nothing,
                    a_trim_is_idempotent_and_never_moves_back,
                    a_trim_never_moves_beyond_the_next_offset,
                    a_trim_in_the_middle_of_a_batch_keeps_the_batch,
                    a_trimmed_log_goes_on_where_it_was,
                    what_is_trimmed_no_longer_counts,
                    open_logs_are_listed_in_order_by_pages,
                    a_nonce_read_back_names_its_append,
                    the_largest_batch_is_taken_and_a_larger_one_refused,
                    an_empty_payload_is_a_batch_too,
                    an_append_is_seen_by_every_later_call,
                ],
                documents: [
                    a_put_applies_only_to_the_expected_version,
                    a_delete_applies_only_to_the_expected_version,
                    deleting_nothing_as_expected_is_done,
                    a_refused_change_changes_nothing,
                    versions_grow_and_never_repeat,
                    versions_do_not_repeat_after_opening_again,
                    a_value_may_be_empty_or_any_bytes,
                    a_scan_answers_only_the_keys_with_the_prefix,
                    a_scan_goes_in_the_order_asked,
                    a_scan_starts_strictly_after,
                    a_scan_by_pages_meets_every_key_once,
                    a_scan_stops_at_its_limit,
                    a_scan_of_nothing_is_empty,
                    a_scan_of_a_prefix_of_highest_bytes_ends_with_it,
                    keys_are_ordered_as_bytes,
                    a_change_is_seen_by_every_later_call,
                    the_largest_document_is_taken_and_a_larger_one_refused,
                ],
                concurrency: [
                    racing_appends_are_dense_and_each_there_once,
                    of_racing_creates_one_makes_the_log,
                    of_racing_appends_at_one_offset_one_wins,
                    readers_never_see_part_of_an_append,
                    a_reader_behind_racing_trims_never_skips,
                    an_append_racing_with_a_close_is_kept_or_refused,
                    racing_changes_of_a_document_lose_no_update,
                ],
            }
        }
    };
    (@tests ($fresh:expr) $attributes:tt $($area:ident: [$($sentence:ident,)*],)*) => {
        $($(
            $crate::storage::contract::contract_suite! { @test $attributes ($fresh) $area $sentence }
        )*)*
    };
    (@test [$(#[$attribute:meta])*] ($fresh:expr) $area:ident $sentence:ident) => {
            $(#[$attribute])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                $crate::storage::contract::$area::$sentence($fresh.await).await;
            }
    };
}
pub(crate) use contract_suite;

/// No limit that a test would meet.
pub(crate) const ALL: ReadLimit = ReadLimit { bytes: usize::MAX, batches: usize::MAX };

/// A log id that nobody has used.
pub(crate) fn fresh_log() -> LogId {
    LogId(uuid::Uuid::new_v4().as_u128())
}

/// A batch of `count` messages at time zero.
pub(crate) fn batch(count: u32, payload: impl Into<Bytes>) -> Batch {
    Batch { count, time: Time(0), nonce: Nonce::default(), payload: payload.into() }
}

/// A batch of one message, made at `time`.
pub(crate) fn batch_at(time: u64) -> Batch {
    Batch { time: Time(time), ..batch(1, "at a time") }
}

/// Makes an open, empty log that begins at 0.
pub(crate) async fn made(store: &dyn Store) -> LogId {
    let log = fresh_log();
    assert_eq!(store.create(log, Offset(0)).await.unwrap(), Created::Made);
    log
}

/// Appends at the log's next offset; answers what stands in the log now.
pub(crate) async fn append(store: &dyn Store, log: LogId, batch: Batch) -> StoredBatch {
    let next = bounds(store, log).await.next;
    let Batch { count, nonce, payload, .. } = batch.clone();
    match store.append(log, next, batch, Purpose::Growth).await.unwrap() {
        Append::Appended { first, time } => StoredBatch { first, count, time, nonce, payload },
        refused => panic!("append at {next} of {log}: {refused:?}"),
    }
}

/// Appends batches of these counts, each with a payload of its own.
pub(crate) async fn append_counts(store: &dyn Store, log: LogId, counts: &[u32]) -> Vec<StoredBatch> {
    let mut stored = Vec::new();
    for (index, count) in counts.iter().enumerate() {
        stored.push(append(store, log, batch(*count, format!("batch {index}"))).await);
    }
    stored
}

/// The extent of an open log.
pub(crate) async fn bounds(store: &dyn Store, log: LogId) -> Bounds {
    store.bounds(log).await.unwrap().expect("the log is open")
}

/// Reads without a limit.
pub(crate) async fn read(store: &dyn Store, log: LogId, from: Position) -> Read {
    store.read(log, from, ALL).await.unwrap()
}

/// Everything that the log keeps.
pub(crate) async fn read_all(store: &dyn Store, log: LogId) -> Vec<StoredBatch> {
    let first = bounds(store, log).await.first;
    batches(read(store, log, Position::Offset(first)).await)
}

/// The batches of an answer that holds batches.
pub(crate) fn batches(read: Read) -> Vec<StoredBatch> {
    match read {
        Read::Batches(batches) => batches,
        other => panic!("expected batches, got {other:?}"),
    }
}

/// Fails unless each batch begins where the one before ends.
pub(crate) fn assert_dense(batches: &[StoredBatch]) {
    for pair in batches.windows(2) {
        assert_eq!(pair[0].next(), pair[1].first, "a gap between {:?} and {:?}", pair[0], pair[1]);
    }
}

/// The version that a change made.
pub(crate) fn done(put: Put) -> Version {
    match put {
        Put::Done(version) => version,
        Put::Conflict(present) => panic!("conflict with {present:?}"),
    }
}

/// Writes a new document.
pub(crate) async fn put_new(store: &dyn Store, key: &Key, value: impl Into<Bytes>) -> Version {
    done(store.put(key, value.into(), Version::ABSENT).await.unwrap())
}

/// The document that is expected to stand under a key.
pub(crate) fn document(version: Version, value: impl Into<Bytes>) -> Document {
    Document { version, value: value.into() }
}
