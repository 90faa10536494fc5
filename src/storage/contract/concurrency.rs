//! The same sentences under concurrent callers: compare-and-append and compare-and-set are the only coordination there is.

use super::super::{
    Append, Batch, Created, Key, LogId, Nonce, Offset, Position, Purpose, Put, Read, ReadLimit, Store, Version,
};
use super::{Subject, append_counts, assert_dense, batch, batches, bounds, fresh_log, made, put_new, read_all};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

const TASKS: u64 = 64;
const ROUNDS: u64 = 3;

/// Contract 2, 3 and 6: whoever loses tries again at the real next offset.
pub(crate) async fn racing_appends_are_dense_and_each_there_once(subject: Subject) {
    let store = subject.store();
    let log = made(&*store).await;
    let answered = race(&store, TASKS, move |store, writer| async move {
        let mut answered = Vec::new();
        for sequence in 0..ROUNDS {
            answered.push((append_until_it_wins(&*store, log, writer, sequence).await, writer, sequence));
        }
        answered
    })
    .await;
    let stored = read_all(&*store, log).await;
    assert_dense(&stored);
    assert_eq!(stored.first().unwrap().first, Offset(0));
    assert_eq!(stored.last().unwrap().next(), bounds(&*store, log).await.next);
    let found: Vec<_> =
        stored.iter().map(|batch| (batch.first, writer_of(batch.nonce), batch.nonce.sequence)).collect();
    let mut expected: Vec<_> = answered.into_iter().flatten().collect();
    expected.sort();
    assert_eq!(found, expected, "each append stands once, where its caller was told");
}

/// Contract 1.
pub(crate) async fn of_racing_creates_one_makes_the_log(subject: Subject) {
    let store = subject.store();
    let log = fresh_log();
    let answers =
        race(&store, 16, move |store, task| async move { (store.create(log, Offset(task)).await.unwrap(), task) });
    let answers = answers.await;
    let makers: Vec<u64> =
        answers.iter().filter(|(answer, _)| *answer == Created::Made).map(|(_, task)| *task).collect();
    assert_eq!(makers.len(), 1, "{answers:?}");
    assert_eq!(bounds(&*store, log).await.first, Offset(makers[0]));
}

/// Contract 3.
pub(crate) async fn of_racing_appends_at_one_offset_one_wins(subject: Subject) {
    let store = subject.store();
    let log = made(&*store).await;
    for round in 0..ROUNDS {
        let at = Offset(round * 2);
        let answers = race(&store, 16, move |store, writer| async move {
            (store.append(log, at, mine(writer, round, 2), Purpose::Upkeep).await.unwrap(), writer)
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|(answer, _)| matches!(answer, Append::Appended { .. }));
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(lost.iter().all(|(answer, _)| *answer == Append::Conflict { next: at.plus(2) }), "{lost:?}");
        let stored = read_all(&*store, log).await;
        assert_eq!(writer_of(stored.last().unwrap().nonce), won[0].1, "the winner's batch stands");
    }
}

/// Contract 6 and 17: a reader meets batches as they were written, and never fewer than before.
pub(crate) async fn readers_never_see_part_of_an_append(subject: Subject) {
    let store = subject.store();
    let log = made(&*store).await;
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut at = Offset(0);
            while at < Offset(4 * 8 * 3) {
                let limit = ReadLimit { bytes: usize::MAX, batches: 4 };
                let found = batches(store.read(log, Position::Offset(at), limit).await.unwrap());
                assert_dense(&found);
                for batch in found {
                    assert_eq!(batch.first, at, "nothing is skipped");
                    assert_eq!(batch.payload, mine(writer_of(batch.nonce), batch.nonce.sequence, 3).payload);
                    assert_eq!(batch.count, 3);
                    at = batch.next();
                }
                assert!(bounds(&*store, log).await.next >= at);
                tokio::task::yield_now().await;
            }
        })
    };
    race(&store, 4, move |store, writer| async move {
        for sequence in 0..8 {
            append_until_it_wins(&*store, log, writer, sequence).await;
        }
    })
    .await;
    reader.await.unwrap();
}

/// Contract 8: a reader that trims overtake is told so, and finds everything from there on.
pub(crate) async fn a_reader_behind_racing_trims_never_skips(subject: Subject) {
    let store = subject.store();
    let log = made(&*store).await;
    let stored = append_counts(&*store, log, &[3; 40]).await;
    let trimmer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for before in (0..60).step_by(2) {
                store.trim(log, Offset(before)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let mut at = Offset(0);
    while at < Offset(120) {
        let limit = ReadLimit { bytes: usize::MAX, batches: 2 };
        match store.read(log, Position::Offset(at), limit).await.unwrap() {
            Read::Trimmed { first } => {
                assert!(first > at && first <= Offset(58), "{first} is no trim point above {at}");
                at = first;
            }
            Read::Batches(found) => {
                let holder = usize::try_from(at.0 / 3).unwrap();
                assert!(!found.is_empty() && found[..] == stored[holder..holder + found.len()], "from {at}: {found:?}");
                at = found.last().unwrap().next();
            }
            Read::Closed => panic!("nobody closed the log"),
        }
        tokio::task::yield_now().await;
    }
    trimmer.await.unwrap();
    assert_eq!(bounds(&*store, log).await.first, Offset(58));
}

/// Contract 13: a node that does not know yet can't write into a log that is gone.
pub(crate) async fn an_append_racing_with_a_close_is_kept_or_refused(subject: Subject) {
    let store = subject.store();
    let log = made(&*store).await;
    race(&store, 8, move |store, task| async move {
        if task == 3 {
            store.close(log).await.unwrap();
            assert_eq!(store.append(log, Offset(0), mine(task, 0, 1), Purpose::Relief).await.unwrap(), Append::Closed);
            return;
        }
        let mut next = Offset(0);
        for sequence in 0..1000 {
            match store.append(log, next, mine(task, sequence, 1), Purpose::Growth).await.unwrap() {
                Append::Appended { first, .. } => next = first.plus(1),
                Append::Conflict { next: real } => next = real,
                Append::Closed => return,
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(store.bounds(log).await.unwrap(), None);
}

/// Contract 14 and 15.
pub(crate) async fn racing_changes_of_a_document_lose_no_update(subject: Subject) {
    let store = subject.store();
    let key = Key::new("kind/counter");
    put_new(&*store, &key, count_bytes(0)).await;
    let versions = race(&store, TASKS, |store, _| async move {
        let key = Key::new("kind/counter");
        let mut made = Vec::new();
        for _ in 0..ROUNDS {
            made.push(increment(&*store, &key).await);
        }
        made
    })
    .await;
    let expected = TASKS * ROUNDS;
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, count_bytes(expected));
    let distinct: BTreeSet<Version> = versions.into_iter().flatten().collect();
    assert_eq!(distinct.len() as u64, expected, "each change made a version of its own");
}

/// Runs `work` in `tasks` tasks at once; the results in no order.
async fn race<F, T>(store: &Arc<dyn Store>, tasks: u64, work: impl Fn(Arc<dyn Store>, u64) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut set: JoinSet<T> = (0..tasks).map(|task| work(Arc::clone(store), task)).collect();
    let mut results = Vec::new();
    while let Some(result) = set.join_next().await {
        results.push(result.unwrap());
    }
    results
}

/// A batch that tells whose it is.
fn mine(writer: u64, sequence: u64, count: u32) -> Batch {
    let payload = format!("{writer}.{sequence};").repeat(usize::try_from(count).unwrap());
    Batch { nonce: Nonce { writer: u128::from(writer), sequence }, ..batch(count, payload) }
}

fn writer_of(nonce: Nonce) -> u64 {
    u64::try_from(nonce.writer).unwrap()
}

async fn append_until_it_wins(store: &dyn Store, log: LogId, writer: u64, sequence: u64) -> Offset {
    let mut next = Offset(0);
    loop {
        match store.append(log, next, mine(writer, sequence, 3), Purpose::Growth).await.unwrap() {
            Append::Appended { first, .. } => return first,
            Append::Conflict { next: real } => next = real,
            Append::Closed => panic!("nobody closed the log"),
        }
    }
}

async fn increment(store: &dyn Store, key: &Key) -> Version {
    loop {
        let present = store.get(key).await.unwrap().unwrap();
        let count = u64::from_be_bytes(present.value.as_ref().try_into().unwrap());
        match store.put(key, count_bytes(count + 1), present.version).await.unwrap() {
            Put::Done(version) => return version,
            Put::Conflict(real) => assert_ne!(real, present.version, "a conflict with the expected version"),
        }
    }
}

fn count_bytes(count: u64) -> Bytes {
    Bytes::copy_from_slice(&count.to_be_bytes())
}
