//! The sentences about logs: contract 1 to 13, and 17 to 19 as far as they speak of logs.

use super::super::{
    Append, BATCH_BYTES_MAX, BATCH_COUNT_MAX, Batch, Bounds, Created, LogId, Nonce, Offset, Position, Purpose, Read,
    ReadLimit, Store, StoreError, Time,
};
use super::{
    ALL, Subject, append, append_counts, assert_dense, batch, batch_at, batches, bounds, fresh_log, made, read,
    read_all,
};

/// Contract 1.
pub(crate) async fn creating_a_log_that_exists_changes_nothing(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[2, 1]).await;
    assert_eq!(store.create(log, Offset(77)).await.unwrap(), Created::Exists);
    let Bounds { first, next, .. } = bounds(store, log).await;
    assert_eq!((first, next), (Offset(0), Offset(3)));
    assert_eq!(read_all(store, log).await, stored);
}

/// Contract 1 and 13.
pub(crate) async fn creating_a_closed_log_does_not_bring_it_back(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    store.close(log).await.unwrap();
    assert_eq!(store.create(log, Offset(0)).await.unwrap(), Created::Exists);
    assert_closed(store, log).await;
}

/// Contract 1: import starts a log at its old offset.
pub(crate) async fn a_log_begins_where_it_is_told_to(subject: Subject) {
    let store = &*subject.store();
    let log = fresh_log();
    let begin = Offset(1 << 40);
    assert_eq!(store.create(log, begin).await.unwrap(), Created::Made);
    let empty = Bounds { first: begin, next: begin, last_time: Time(0), bytes: 0 };
    assert_eq!(bounds(store, log).await, empty);
    assert_eq!(read(store, log, Position::Offset(Offset(0))).await, Read::Trimmed { first: begin });
    let stored = append_counts(store, log, &[3]).await;
    assert_eq!(stored[0].first, begin);
    assert_eq!(read_all(store, log).await, stored);
}

/// Contract 2.
pub(crate) async fn offsets_are_dense(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[1, 3, 100, 1, 1]).await;
    let firsts: Vec<u64> = stored.iter().map(|batch| batch.first.0).collect();
    assert_eq!(firsts, [0, 1, 4, 104, 105]);
    assert_eq!(bounds(store, log).await.next, Offset(106));
}

/// Contract 3.
pub(crate) async fn an_append_elsewhere_than_at_the_next_offset_is_a_conflict(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[3, 2]).await;
    for elsewhere in [0, 3, 4, 6, u64::MAX] {
        let answer = store.append(log, Offset(elsewhere), batch(1, "lost"), Purpose::Growth).await.unwrap();
        assert_eq!(answer, Append::Conflict { next: Offset(5) }, "appending at {elsewhere}");
    }
    assert_eq!(read_all(store, log).await, stored);
    assert_eq!(bounds(store, log).await.next, Offset(5));
}

/// Contract 4.
pub(crate) async fn an_unknown_log_is_closed_and_stays_unmade(subject: Subject) {
    let store = &*subject.store();
    let log = fresh_log();
    assert_closed(store, log).await;
    store.trim(log, Offset(5)).await.unwrap();
    store.close(log).await.unwrap();
    assert_closed(store, log).await;
    assert!(!store.logs(None, usize::MAX).await.unwrap().contains(&log));
    assert_eq!(store.create(log, Offset(0)).await.unwrap(), Created::Made, "none of these calls made the log");
}

/// Contract 4.
pub(crate) async fn a_closed_log_is_closed_to_everything(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    append_counts(store, log, &[2, 2]).await;
    store.close(log).await.unwrap();
    assert_closed(store, log).await;
    store.trim(log, Offset(1)).await.unwrap();
    assert_closed(store, log).await;
}

/// Contract 13.
pub(crate) async fn closing_is_idempotent_and_touches_no_other_log(subject: Subject) {
    let store = &*subject.store();
    let (log, other) = (made(store).await, made(store).await);
    append_counts(store, log, &[2]).await;
    let stored = append_counts(store, other, &[1, 2]).await;
    store.close(log).await.unwrap();
    store.close(log).await.unwrap();
    assert_closed(store, log).await;
    assert_eq!(read_all(store, other).await, stored);
}

/// Contract 5, as far as a clean stop shows it; all kinds of effects, and those that refuse something later.
pub(crate) async fn what_was_answered_is_there_after_opening_again(mut subject: Subject) {
    let (kept, trimmed, closed) = {
        let store = &*subject.store();
        let logs = (made(store).await, made(store).await, made(store).await);
        append_counts(store, logs.1, &[1, 2, 4]).await;
        append_counts(store, logs.2, &[1]).await;
        store.trim(logs.1, Offset(2)).await.unwrap();
        store.close(logs.2).await.unwrap();
        logs
    };
    let timed = append(&*subject.store(), kept, Batch { nonce: nonce(9), ..batch_at(50) }).await;
    let before = bounds(&*subject.store(), trimmed).await;
    let left = read(&*subject.store(), trimmed, Position::Offset(Offset(2))).await;
    subject.reopen().await;

    let store = &*subject.store();
    assert_eq!(read_all(store, kept).await, [timed]);
    assert_eq!(bounds(store, kept).await.last_time, Time(50));
    let after = bounds(store, trimmed).await;
    assert_eq!((after.first, after.next), (before.first, before.next));
    assert_eq!(read(store, trimmed, Position::Offset(Offset(2))).await, left);
    assert_eq!(read(store, trimmed, Position::Offset(Offset(1))).await, Read::Trimmed { first: Offset(2) });
    assert_closed(store, closed).await;
    assert_eq!(store.create(closed, Offset(0)).await.unwrap(), Created::Exists);
    assert_eq!(append(store, kept, batch_at(7)).await.time, Time(50), "times do not go back after opening again");
}

/// Contract 7.
pub(crate) async fn stored_times_never_go_back(subject: Subject) {
    let store = &*subject.store();
    let (log, other) = (made(store).await, made(store).await);
    let mut answered = Vec::new();
    for time in [10, 5, 7, 20, 0, 21] {
        answered.push(append(store, log, batch_at(time)).await.time.0);
    }
    assert_eq!(answered, [10, 10, 10, 20, 20, 21]);
    let stored: Vec<u64> = read_all(store, log).await.iter().map(|batch| batch.time.0).collect();
    assert_eq!(stored, answered);
    assert_eq!(bounds(store, log).await.last_time, Time(21));
    assert_eq!(append(store, other, batch_at(3)).await.time, Time(3), "each log has its own time");
}

/// Contract 7: the last time outlives the batch that brought it.
pub(crate) async fn times_do_not_go_back_behind_what_is_trimmed(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    append(store, log, batch_at(100)).await;
    store.trim(log, Offset(1)).await.unwrap();
    assert_eq!(bounds(store, log).await.last_time, Time(100));
    assert_eq!(append(store, log, batch_at(1)).await.time, Time(100));
}

/// Contract 8, by pages as a consumer reads.
pub(crate) async fn a_read_is_in_order_and_without_a_gap(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[1, 2, 3, 4, 5, 6, 7]).await;
    let mut met = Vec::new();
    let mut at = Offset(0);
    loop {
        let limit = ReadLimit { bytes: usize::MAX, batches: 2 };
        let page = batches(store.read(log, Position::Offset(at), limit).await.unwrap());
        let Some(last) = page.last() else { break };
        at = last.next();
        met.extend(page);
    }
    assert_dense(&met);
    assert_eq!(met, stored);
}

/// Contract 8.
pub(crate) async fn a_read_starts_at_the_batch_that_holds_the_offset(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[3, 1, 4]).await;
    for (offset, holder) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (7, 2)] {
        let found = batches(read(store, log, Position::Offset(Offset(offset))).await);
        assert_eq!(found, stored[holder..], "reading from {offset}");
    }
}

/// Contract 8.
pub(crate) async fn a_read_at_or_beyond_the_tail_has_no_batches(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    assert_eq!(read(store, log, Position::Offset(Offset(0))).await, Read::Batches(vec![]));
    append_counts(store, log, &[3]).await;
    for offset in [3, 4, u64::MAX] {
        let beyond = read(store, log, Position::Offset(Offset(offset))).await;
        assert_eq!(beyond, Read::Batches(vec![]), "reading from {offset}");
    }
}

/// Contract 8.
pub(crate) async fn a_read_below_the_trim_point_is_trimmed(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[2, 2, 2]).await;
    store.trim(log, Offset(2)).await.unwrap();
    for offset in [0, 1] {
        let below = read(store, log, Position::Offset(Offset(offset))).await;
        assert_eq!(below, Read::Trimmed { first: Offset(2) }, "reading from {offset}");
    }
    assert_eq!(batches(read(store, log, Position::Offset(Offset(2))).await), stored[1..]);
    store.trim(log, Offset(6)).await.unwrap();
    assert_eq!(read(store, log, Position::Offset(Offset(5))).await, Read::Trimmed { first: Offset(6) });
    assert_eq!(read(store, log, Position::Offset(Offset(6))).await, Read::Batches(vec![]));
}

/// Contract 9.
pub(crate) async fn a_read_by_time_starts_at_the_first_batch_not_before_it(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    assert_eq!(read(store, log, Position::Time(Time(0))).await, Read::Batches(vec![]));
    let mut stored = Vec::new();
    for time in [10, 20, 20, 30] {
        stored.push(append(store, log, batch_at(time)).await);
    }
    for (time, first) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 3), (30, 3), (31, 4), (u64::MAX, 4)] {
        let found = batches(read(store, log, Position::Time(Time(time))).await);
        assert_eq!(found, stored[first..], "reading from time {time}");
    }
}

/// Contract 9: a time before everything kept means everything kept.
pub(crate) async fn a_read_by_time_of_a_trimmed_log_starts_with_what_is_kept(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let mut stored = Vec::new();
    for time in [10, 20, 30] {
        stored.push(append(store, log, batch_at(time)).await);
    }
    store.trim(log, Offset(1)).await.unwrap();
    for (time, first) in [(0, 1), (10, 1), (20, 1), (21, 2), (31, 3)] {
        let found = batches(read(store, log, Position::Time(Time(time))).await);
        assert_eq!(found, stored[first..], "reading from time {time}");
    }
    store.trim(log, Offset(3)).await.unwrap();
    assert_eq!(read(store, log, Position::Time(Time(0))).await, Read::Batches(vec![]));
}

/// Contract 10.
pub(crate) async fn a_read_has_at_least_one_batch_whatever_the_limit(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[1, 1]).await;
    let nothing = ReadLimit { bytes: 0, batches: 0 };
    for (from, found) in [
        (Position::Offset(Offset(0)), &stored[..1]),
        (Position::Offset(Offset(1)), &stored[1..]),
        (Position::Time(Time(0)), &stored[..1]),
        (Position::Tail, &stored[1..]),
    ] {
        assert_eq!(batches(store.read(log, from, nothing).await.unwrap()), found, "reading from {from:?}");
    }
}

/// Contract 10.
pub(crate) async fn a_read_stops_at_either_limit(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    for size in [10, 10, 30, 1] {
        append(store, log, batch(1, vec![b'x'; size])).await;
    }
    for (bytes, many, expected) in [
        (usize::MAX, 1, 1),
        (usize::MAX, 3, 3),
        (9, usize::MAX, 1),
        (19, usize::MAX, 1),
        (20, usize::MAX, 2),
        (49, usize::MAX, 2),
        (50, usize::MAX, 3),
        (51, usize::MAX, 4),
        (50, 2, 2),
    ] {
        let limit = ReadLimit { bytes, batches: many };
        let found = batches(store.read(log, Position::Offset(Offset(0)), limit).await.unwrap());
        assert_eq!(found.len(), expected, "reading with {limit:?}");
    }
}

/// Contract 11.
pub(crate) async fn a_read_of_the_tail_is_the_newest_batch_alone(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    for count in [1, 5, 2] {
        let newest = append(store, log, batch(count, format!("of {count}"))).await;
        assert_eq!(batches(read(store, log, Position::Tail).await), [newest]);
    }
}

/// Contract 11.
pub(crate) async fn the_tail_of_an_empty_or_trimmed_log_is_nothing(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    assert_eq!(read(store, log, Position::Tail).await, Read::Batches(vec![]));
    let stored = append_counts(store, log, &[1, 2]).await;
    store.trim(log, Offset(2)).await.unwrap();
    assert_eq!(batches(read(store, log, Position::Tail).await), stored[1..], "part of the newest batch is kept");
    store.trim(log, Offset(3)).await.unwrap();
    assert_eq!(read(store, log, Position::Tail).await, Read::Batches(vec![]));
    let newest = append(store, log, batch(1, "newest")).await;
    assert_eq!(batches(read(store, log, Position::Tail).await), [newest]);
}

/// Contract 12.
pub(crate) async fn a_trim_is_idempotent_and_never_moves_back(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[1, 1, 1, 1]).await;
    for before in [3, 3, 1, 0] {
        store.trim(log, Offset(before)).await.unwrap();
        assert_eq!(bounds(store, log).await.first, Offset(3), "after a trim to {before}");
        assert_eq!(read_all(store, log).await, stored[3..]);
    }
}

/// Contract 12.
pub(crate) async fn a_trim_never_moves_beyond_the_next_offset(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    store.trim(log, Offset(9)).await.unwrap();
    assert_eq!(bounds(store, log).await.first, Offset(0));
    append_counts(store, log, &[2, 3]).await;
    store.trim(log, Offset(u64::MAX)).await.unwrap();
    let Bounds { first, next, .. } = bounds(store, log).await;
    assert_eq!((first, next), (Offset(5), Offset(5)));
}

/// Contract 12 and 8.
pub(crate) async fn a_trim_in_the_middle_of_a_batch_keeps_the_batch(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = append_counts(store, log, &[4, 4]).await;
    store.trim(log, Offset(3)).await.unwrap();
    assert_eq!(bounds(store, log).await.first, Offset(3));
    assert_eq!(read(store, log, Position::Offset(Offset(2))).await, Read::Trimmed { first: Offset(3) });
    assert_eq!(batches(read(store, log, Position::Offset(Offset(3))).await), stored);
    assert_eq!(batches(read(store, log, Position::Time(Time(0))).await), stored);
    store.trim(log, Offset(4)).await.unwrap();
    assert_eq!(read_all(store, log).await, stored[1..]);
    assert_eq!(batches(read(store, log, Position::Time(Time(0))).await), stored[1..]);
}

/// Contract 12 and 2.
pub(crate) async fn a_trimmed_log_goes_on_where_it_was(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    append_counts(store, log, &[2, 2]).await;
    store.trim(log, Offset(4)).await.unwrap();
    let stored = append_counts(store, log, &[3]).await;
    assert_eq!(stored[0].first, Offset(4));
    assert_eq!(read_all(store, log).await, stored);
}

/// Contract 12, as far as every engine can show it: the log's own count of bytes.
pub(crate) async fn what_is_trimmed_no_longer_counts(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    append(store, log, batch(1, vec![b'x'; 5000])).await;
    append(store, log, batch(1, vec![b'y'; 3000])).await;
    assert!(bounds(store, log).await.bytes >= 8000);
    store.trim(log, Offset(1)).await.unwrap();
    let left = bounds(store, log).await.bytes;
    assert!((3000..8000).contains(&left), "{left} bytes are left");
    store.trim(log, Offset(2)).await.unwrap();
    assert_eq!(bounds(store, log).await.bytes, 0);
}

/// The listing that a sweeper reads, and contract 13.
pub(crate) async fn open_logs_are_listed_in_order_by_pages(subject: Subject) {
    let store = &*subject.store();
    assert_eq!(store.logs(None, usize::MAX).await.unwrap(), []);
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(made(store).await);
    }
    store.close(open.swap_remove(3)).await.unwrap();
    open.sort();
    assert_eq!(store.logs(None, usize::MAX).await.unwrap(), open);
    assert_eq!(store.logs(None, 2).await.unwrap(), open[..2]);
    assert_eq!(store.logs(Some(open[1]), 3).await.unwrap(), open[2..5]);
    assert_eq!(store.logs(Some(open[5]), 3).await.unwrap(), []);
    assert_eq!(store.logs(None, 0).await.unwrap(), []);
    let between = LogId(open[2].0 + 1);
    assert_eq!(store.logs(Some(between), usize::MAX).await.unwrap(), open[3..], "after an id that no log has");
}

/// Contract 18: what resolves an unknown outcome.
pub(crate) async fn a_nonce_read_back_names_its_append(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let extreme = Nonce { writer: u128::MAX, sequence: u64::MAX };
    for nonce in [nonce(1), nonce(2), extreme] {
        let at = append(store, log, Batch { nonce, ..batch(2, "mine") }).await.first;
        let lost = Batch { nonce: Nonce { writer: 1, sequence: 1 }, ..batch(1, "not mine") };
        let refused = store.append(log, at, lost, Purpose::Growth).await.unwrap();
        assert!(matches!(refused, Append::Conflict { .. }), "{refused:?}");
        assert_eq!(batches(read(store, log, Position::Offset(at)).await)[0].nonce, nonce);
    }
}

/// Contract 19.
pub(crate) async fn the_largest_batch_is_taken_and_a_larger_one_refused(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    for too_large in [batch(1, vec![b'x'; BATCH_BYTES_MAX + 1]), batch(BATCH_COUNT_MAX + 1, "many")] {
        let refused = store.append(log, Offset(0), too_large, Purpose::Growth).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
        assert_eq!(bounds(store, log).await.next, Offset(0), "nothing was written");
    }
    let many = append(store, log, batch(BATCH_COUNT_MAX, "many")).await;
    let large = append(store, log, batch(1, vec![b'x'; BATCH_BYTES_MAX])).await;
    assert_eq!(large.first, Offset(u64::from(BATCH_COUNT_MAX)));
    assert!(read_all(store, log).await == [many, large], "both come back as they were");
}

/// Contract 2 and 8.
pub(crate) async fn an_empty_payload_is_a_batch_too(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    let stored = [append(store, log, batch(1, "")).await, append(store, log, batch(2, "")).await];
    assert_eq!(read_all(store, log).await, stored);
}

/// Contract 17.
pub(crate) async fn an_append_is_seen_by_every_later_call(subject: Subject) {
    let store = &*subject.store();
    let log = made(store).await;
    for index in 0..20 {
        let (sought, next) = (Offset(index), Offset(index + 1));
        let stored = append(store, log, batch_at(index + 1)).await;
        let (found, listed) =
            tokio::join!(async { (bounds(store, log).await, read(store, log, Position::Tail).await) }, async {
                store.logs(None, usize::MAX).await.unwrap()
            });
        assert_eq!((found.0.next, found.0.last_time), (next, stored.time));
        let newest = Read::Batches(vec![stored]);
        assert_eq!(found.1, newest);
        assert_eq!(listed, [log]);
        assert_eq!(read(store, log, Position::Offset(sought)).await, newest);
        assert_eq!(read(store, log, Position::Time(Time(index + 1))).await, newest);
        let late = store.append(log, sought, batch(1, "late"), Purpose::Growth).await.unwrap();
        assert_eq!(late, Append::Conflict { next });
        store.trim(log, sought).await.unwrap();
        assert_eq!(bounds(store, log).await.first, sought);
    }
}

/// Fails unless the log answers `Closed` to everything.
async fn assert_closed(store: &dyn Store, log: LogId) {
    for next in [Offset(0), Offset(4)] {
        let answer = store.append(log, next, batch(1, "late"), Purpose::Relief).await.unwrap();
        assert_eq!(answer, Append::Closed);
    }
    for from in [Position::Offset(Offset(0)), Position::Time(Time(0)), Position::Tail] {
        assert_eq!(store.read(log, from, ALL).await.unwrap(), Read::Closed);
    }
    assert_eq!(store.bounds(log).await.unwrap(), None);
    assert!(!store.logs(None, usize::MAX).await.unwrap().contains(&log));
}

const fn nonce(sequence: u64) -> Nonce {
    Nonce { writer: 0xA11CE, sequence }
}
