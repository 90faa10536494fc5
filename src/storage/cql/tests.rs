//! The contract against a real server, and what is peculiar to this engine: rolls, parts, doubts, migrations.
//!
//! These tests need a cluster, `ANGELIA_TEST_CQL=host[:port][,…]`; `cargo xtask test cassandra` starts one for them.

pub(crate) mod scene;

use super::super::contract::{self, batch, batches, bounds, contract_suite, fresh_log, made, read_all};
use super::super::differential_tests::agrees_with_memory;
use super::super::{Nonce, StoreError};
use super::*;
use scene::Scene;

contract_suite!(
    #[ignore = "needs a cluster: cargo xtask test cassandra"]
    cluster,
    async { Scene::begin().await.subject(Roll::default()).await }
);

// Every third batch begins a new segment, so that all of the contract is met at and across their borders.
contract_suite!(
    #[ignore = "needs a cluster: cargo xtask test cassandra"]
    cluster_of_tiny_segments,
    async { Scene::begin().await.subject(Roll { batches: 3, ..Roll::default() }).await }
);

#[test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
fn agrees_with_the_store_in_memory() {
    agrees_with_memory(6, async || {
        let subject = Scene::begin().await.subject(Roll { batches: 4, ..Roll::default() });
        subject.await
    });
}

/// Two stores, as two nodes have them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn two_nodes_that_append_to_one_log_lose_nothing_and_leave_no_gap() {
    let mut scene = Scene::begin().await;
    scene.options.roll = Roll { batches: 5, ..Roll::default() };
    let log = fresh_log();
    let nodes = [Arc::new(scene.open().await), Arc::new(scene.open().await)];
    nodes[0].create(log, Offset(0)).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for (writer, store) in (1_u128..).zip(nodes.clone()) {
        writers.spawn(async move {
            let (mut next, mut appended) = (Offset(0), Vec::new());
            for sequence in 0..15 {
                let mine = Batch { nonce: Nonce { writer, sequence }, ..batch(2, format!("{writer}.{sequence}")) };
                loop {
                    match store.append(log, next, mine.clone(), Purpose::Growth).await.unwrap() {
                        Append::Appended { first, .. } => {
                            next = first.plus(2);
                            appended.push((first, mine.nonce));
                            break;
                        }
                        Append::Conflict { next: real } => next = real,
                        Append::Closed => panic!("nobody closed the log"),
                    }
                }
            }
            appended
        });
    }
    let mut appended: Vec<(Offset, Nonce)> = writers.join_all().await.into_iter().flatten().collect();
    appended.sort_by_key(|(first, _)| *first);
    let stored = read_all(&*nodes[0], log).await;
    contract::assert_dense(&stored);
    assert_eq!(stored.iter().map(|batch| (batch.first, batch.nonce)).collect::<Vec<_>>(), appended);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_change_costs_one_decision_and_a_read_none() {
    let scene = Scene::begin().await;
    let store = scene.open().await;
    let log = made(&store).await;
    scene.counts.clear();
    for index in 0..5 {
        let answer = store.append(log, Offset(index), batch(1, "one"), Purpose::Growth).await.unwrap();
        assert!(matches!(answer, Append::Appended { .. }));
    }
    assert_eq!(scene.counts.decisions(), 5);
    assert_eq!(scene.counts.of("tail") + scene.counts.of("head"), 2, "the log is looked at once");
    let key = Key::new("kind/one");
    scene.counts.clear();
    let version = contract::put_new(&store, &key, "one").await;
    contract::done(store.put(&key, "two".into(), version).await.unwrap());
    assert_eq!(scene.counts.decisions(), 2);
    scene.counts.clear();
    assert_eq!(read_all(&store, log).await.len(), 5);
    store.get(&key).await.unwrap();
    store.scan(&key, None, 9, Order::Ascending).await.unwrap();
    assert_eq!(scene.counts.decisions(), 0);
}

/// Whoever sealed a segment may stop before the next one is there.
#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_roll_that_was_broken_off_is_finished_by_the_next_append() {
    let scene = Scene::begin().await;
    let store = scene.open().await;
    let log = made(&store).await;
    let first = contract::append(&store, log, batch(3, "first")).await;
    let id = uuid::Uuid::from_u128(log.0);
    scene
        .run(&format!("UPDATE log_segment SET state = 1 WHERE log = {id} AND seg = 0 IF next = 3 AND state = 0"))
        .await;
    assert_eq!(bounds(&store, log).await.next, Offset(3));
    assert_eq!(read_all(&store, log).await, std::slice::from_ref(&first));
    let second = contract::append(&store, log, batch(1, "second")).await;
    assert_eq!(second.first, Offset(3));
    assert_eq!(read_all(&scene.open().await, log).await, [first, second]);
}

/// A node with an old view of a log that others rolled, trimmed and closed.
#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_late_writer_is_kept_out_by_what_is_left_of_a_segment() {
    let mut scene = Scene::begin().await;
    scene.options.roll = Roll { batches: 1, ..Roll::default() };
    let (late, other) = (scene.open().await, scene.open().await);
    let log = made(&late).await;
    contract::append(&late, log, batch(1, "first")).await;
    for _ in 0..3 {
        contract::append(&other, log, batch(1, "more")).await;
    }
    other.trim(log, Offset(3)).await.unwrap();
    let answer = late.append(log, Offset(1), batch(1, "late"), Purpose::Growth).await.unwrap();
    assert_eq!(answer, Append::Conflict { next: Offset(4) });
    other.close(log).await.unwrap();
    let answer = late.append(log, Offset(4), batch(1, "late"), Purpose::Growth).await.unwrap();
    assert_eq!(answer, Append::Closed);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn what_is_trimmed_or_closed_leaves_only_fences() {
    let mut scene = Scene::begin().await;
    scene.options.roll = Roll { batches: 2, ..Roll::default() };
    let store = scene.open().await;
    let log = made(&store).await;
    contract::append_counts(&store, log, &[1; 7]).await;
    assert_eq!(scene.rows("log_segment", "base").await, 7);
    store.trim(log, Offset(5)).await.unwrap();
    assert_eq!(scene.rows("log_segment", "base").await, 3, "the segment with offset 5 is kept whole");
    store.close(log).await.unwrap();
    assert_eq!(scene.rows("log_segment", "base").await, 0);
    assert_eq!(scene.rows("log_segments", "base").await, 0);
    assert_eq!(scene.rows("log_index", "log").await, 0);
    assert_eq!(store.create(log, Offset(0)).await.unwrap(), Created::Exists, "its head keeps its id taken");
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_large_batch_stands_in_rows_of_a_mebibyte() {
    let scene = Scene::begin().await;
    let store = scene.open().await;
    let log = made(&store).await;
    let payload: Vec<u8> = (0..=255_u8).cycle().take((2 << 20) + 1).collect();
    let stored = contract::append(&store, log, batch(9, payload)).await;
    let small = contract::append(&store, log, batch(1, "small")).await;
    assert_eq!(scene.rows("log_segment", "base").await, 4);
    assert!(read_all(&store, log).await == [stored.clone(), small.clone()]);
    let tail = contract::read(&store, log, Position::Offset(Offset(8))).await;
    assert!(tail == Read::Batches(vec![stored, small]), "read from its middle");
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_long_read_asks_by_sizes_and_skips_nothing() {
    let mut scene = Scene::begin().await;
    scene.options.roll = Roll { batches: 60, ..Roll::default() };
    let store = scene.open().await;
    let log = made(&store).await;
    let stored = contract::append_counts(&store, log, &[2; 130]).await;
    scene.counts.clear();
    assert_eq!(read_all(&store, log).await, stored);
    let reads = scene.counts.of("batches_from") + scene.counts.of("batches_between") + scene.counts.of("sizes_from");
    assert!(reads <= 10, "{reads} reads");
    let limit = ReadLimit { bytes: 800, batches: usize::MAX };
    let some = batches(store.read(log, Position::Offset(Offset(10)), limit).await.unwrap());
    let bytes: usize = some.iter().map(|batch| batch.payload.len()).sum();
    assert!((793..=800).contains(&bytes), "{bytes} of 800 bytes");
    assert_eq!(some, stored[5..5 + some.len()]);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_keyspace_that_is_not_migrated_is_refused_with_what_to_do() {
    let scene = Scene::begin().await;
    let options = Options { keyspace: "angelia_nowhere".to_owned(), ..scene.options.clone() };
    let error = CqlStore::open(&options, Clock::System).await.unwrap_err();
    assert!(matches!(error, StoreError::Open(_)) && error.to_string().contains("run `angelia migrate`"), "{error}");
    scene.run("INSERT INTO migration (version, name) VALUES (999, 'future')").await;
    let error = CqlStore::open(&scene.options, Clock::System).await.unwrap_err().to_string();
    scene.run("DELETE FROM migration WHERE version = 999").await;
    assert!(error.contains("start a newer build"), "{error}");
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_migration_waits_for_another_and_does_nothing_twice() {
    let scene = Scene::begin().await;
    let owner = uuid::Uuid::new_v4();
    scene.run(&format!("INSERT INTO migration_lock (id, owner) VALUES (0, {owner}) USING TTL 1")).await;
    let began = Clock::System.monotonic();
    let migrated = migrate(&scene.options, "1", Clock::System).await.unwrap();
    let took = Clock::System.monotonic() - began;
    assert!(took >= Duration::from_millis(400), "it waited for the lock: {took:?}");
    assert_eq!(migrated, Migrated { applied: vec![], version: 2 });
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_told_in_one_line() {
    let options = Options::new(vec!["127.0.0.1:1".to_owned()], "angelia".to_owned());
    let error = CqlStore::open(&options, Clock::System).await.unwrap_err().to_string();
    assert!(error.starts_with("127.0.0.1:1: ") && !error.contains('\n'), "{error}");
}
