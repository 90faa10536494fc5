//! The engine as a whole: the storage contract on a disk in memory and on a real one, and what only this engine promises.

use super::upkeep::Reason;
use super::vfs::{CrashVfs, Faults, MemoryVfs, RealVfs, Vfs};
use super::{CommitObserver, Options, SegmentStore, inspect};
use crate::clock::Clock;
use crate::storage::contract::{
    ALL, Subject, append, append_counts, batch, bounds, contract_suite, done, made, put_new, read_all,
};
use crate::storage::differential_tests::agrees_with_memory;
use crate::storage::{Append, Health, Key, LogId, Offset, Position, Purpose, Put, Read, Store, StoreError, Version};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DIR: &str = "/store";

/// Small segments, and a small cache so that reads go to the disk.
fn small() -> Options {
    Options { segment_bytes: 64 << 10, cache_bytes: 4 << 10, ..Options::default() }
}

fn open_with(vfs: &Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<SegmentStore, StoreError> {
    SegmentStore::open(dir, options, Clock::System, Arc::clone(vfs))
}

fn memory() -> Arc<dyn Vfs> {
    Arc::new(MemoryVfs::default())
}

fn open(vfs: &Arc<dyn Vfs>) -> SegmentStore {
    open_with(vfs, Path::new(DIR), small()).unwrap()
}

/// A subject in memory, opened again after the crash that dropping a store is.
fn subject_in_memory(options: Options) -> Subject {
    let vfs = memory();
    let reopened = (Arc::clone(&vfs), options.clone());
    let store: Arc<dyn Store> = Arc::new(open_with(&vfs, Path::new(DIR), options).unwrap());
    Subject::reopenable(store, move || {
        let store = open_with(&reopened.0, Path::new(DIR), reopened.1.clone()).unwrap();
        std::future::ready(Arc::new(store) as Arc<dyn Store>)
    })
}

/// A subject on the disk, with the defaults but the segments' size.
fn subject_on_disk() -> Subject {
    let (vfs, dir): (Arc<dyn Vfs>, _) = (Arc::new(RealVfs), tempfile::tempdir().unwrap());
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(open_with(&vfs, dir.path(), options.clone()).unwrap());
    Subject::reopenable(store, move || {
        let store = open_with(&vfs, dir.path(), options.clone()).unwrap();
        std::future::ready(Arc::new(store) as Arc<dyn Store>)
    })
}

contract_suite!(in_memory, async { subject_in_memory(small()) });
contract_suite!(on_disk, async { subject_on_disk() });

#[test]
fn the_engine_agrees_with_the_memory_engine() {
    agrees_with_memory(60, async || subject_in_memory(small()));
}

/// Waits until something holds; fails after a long while.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// Appends many batches of 4,000 bytes; answers the log's next offset.
async fn fill(store: &SegmentStore, log: LogId, batches: usize) -> Offset {
    for _ in 0..batches {
        append(store, log, batch(1, vec![1; 4_000])).await;
    }
    bounds(store, log).await.next
}

#[tokio::test]
async fn what_is_trimmed_gives_its_segments_back() {
    let disk = MemoryVfs::default();
    let store = open(&(Arc::new(disk.clone()) as Arc<dyn Vfs>));
    let log = made(&store).await;
    let next = fill(&store, log, 300).await;
    assert!(store.stats().segments_live > 15);
    store.trim(log, next).await.unwrap();
    eventually("two segments are left", || store.stats().segments_live <= 2).await;
    eventually("the disk holds few spares", || disk.used() < 8 * (64 << 10)).await;
    assert!(store.stats().segments_pool <= Options::default().pool_segments);
}

#[tokio::test]
async fn a_stream_that_is_trimmed_lives_in_recycled_segments() {
    let disk = MemoryVfs::default();
    let store = open(&(Arc::new(disk.clone()) as Arc<dyn Vfs>));
    let log = made(&store).await;
    for _ in 0..20 {
        let next = fill(&store, log, 40).await;
        store.trim(log, next).await.unwrap();
        eventually("the old segments are back", || store.stats().segments_live <= 2).await;
    }
    assert!(disk.used() < 10 * (64 << 10), "{} bytes", disk.used());
}

#[tokio::test]
async fn a_small_quiet_log_does_not_keep_its_segment() {
    let vfs = memory();
    let store = open(&vfs);
    let mut quiet = Vec::new();
    let busy = made(&store).await;
    for at in 0..20 {
        let log = made(&store).await;
        quiet.push((log, append_counts(&store, log, &[1, 2, 3]).await));
        let next = fill(&store, busy, 16).await;
        if at % 5 == 4 {
            store.trim(busy, next).await.unwrap();
        }
    }
    eventually("what is alive moves together", || store.stats().segments_live <= 3).await;
    for (log, batches) in &quiet {
        assert_eq!(read_all(&store, *log).await, *batches);
    }
    drop(store);
    let store = open(&vfs);
    for (log, batches) in &quiet {
        assert_eq!(read_all(&store, *log).await, *batches);
        assert_eq!(append(&store, *log, batch(1, "more")).await.first, Offset(6));
    }
}

#[tokio::test]
async fn the_last_messages_of_a_large_log_do_not_keep_its_segment() {
    let vfs = memory();
    let store = open(&vfs);
    let (large, busy) = (made(&store).await, made(&store).await);
    append_counts(&store, large, &[3; 300]).await;
    let expected = read_all(&store, large).await;
    store.trim(large, Offset(895)).await.unwrap();
    fill(&store, busy, 20).await;
    let moved = || store.shared.state.read().logs[&large].runs.iter().all(|run| run.segment > 1);
    eventually("the rest has moved", moved).await;
    assert_eq!(read_all(&store, large).await, expected[298..]);
    drop(store);
    assert_eq!(read_all(&open(&vfs), large).await, expected[298..]);
}

#[tokio::test]
async fn more_than_one_step_of_what_is_alive_moves_while_others_write() {
    let options = Options { segment_bytes: 16 << 20, cache_bytes: 0, ..Options::default() };
    let store = open_with(&memory(), Path::new(DIR), options).unwrap();
    let (kept, busy) = (made(&store).await, made(&store).await);
    for at in 0..30_u8 {
        append(&store, kept, batch(1, vec![at; 100_000])).await;
    }
    let expected = read_all(&store, kept).await;
    for _ in 0..40 {
        let written = append(&store, busy, batch(1, vec![1; 1_000_000])).await;
        store.trim(busy, written.next()).await.unwrap();
    }
    let moved = || store.shared.state.read().logs[&kept].runs.iter().all(|run| run.segment > 1);
    eventually("the kept log has moved", moved).await;
    assert_eq!(read_all(&store, kept).await, expected);
}

#[tokio::test]
async fn restarts_do_not_pile_up_segments() {
    let vfs = memory();
    let mut store = open(&vfs);
    let log = made(&store).await;
    for at in 0..20 {
        append(&store, log, batch(1, format!("{at}"))).await;
        if at % 2 == 0 {
            store.close().await.unwrap();
        }
        drop(store);
        store = open(&vfs);
    }
    eventually("old segments are emptied", || store.stats().segments_live <= 3).await;
    assert_eq!(read_all(&store, log).await.len(), 20);
}

#[tokio::test]
async fn a_failed_write_poisons_the_store_and_leaves_nothing_to_read() {
    for fault in [Faults { writes_fail: true, ..Faults::default() }, Faults { syncs_fail: true, ..Faults::default() }] {
        let disk = CrashVfs::over(MemoryVfs::default());
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let store = open(&vfs);
        let log = made(&store).await;
        let kept = append(&store, log, batch(1, "kept")).await;
        disk.set_faults(fault);
        let error = store.append(log, Offset(1), batch(1, "lost"), Purpose::Growth).await.unwrap_err();
        assert!(error.is_unknown(), "{error}");
        assert_eq!(store.health(), Health::Down);
        let error = store.put(&Key::new("a/b"), Bytes::new(), Version::ABSENT).await.unwrap_err();
        assert!(matches!(error, StoreError::Poisoned(_)), "{error}");
        // Whatever the disk does now, nothing more is taken.
        disk.set_faults(Faults::default());
        assert!(matches!(store.trim(log, Offset(1)).await, Err(StoreError::Poisoned(_))));
        assert!(matches!(SegmentStore::close(&store).await, Err(StoreError::Poisoned(_))));
        assert_eq!(read_all(&store, log).await, std::slice::from_ref(&kept));
        drop(store);
        let found = read_all(&open(&vfs), log).await;
        assert_eq!(found[0], kept);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_data_first_and_relief_last_and_recovers() {
    let disk = CrashVfs::over(MemoryVfs::default());
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    let store = open(&vfs);
    let log = made(&store).await;
    fill(&store, log, 100).await;
    eventually("spares are ready", || store.stats().segments_pool >= 2 && store.shared.covered.lock().kept.is_some())
        .await;
    disk.set_faults(Faults { room: Some(disk.disk().used()), ..Faults::default() });

    let write = async |purpose| {
        let next = bounds(&store, log).await.next;
        store.append(log, next, batch(1, vec![1; 4_000]), purpose).await.map(|_| ())
    };
    let until_full = async |purpose| {
        for _ in 0..1_000 {
            match write(purpose).await {
                Ok(()) => {}
                Err(StoreError::Full(_)) => return,
                Err(other) => panic!("{other}"),
            }
        }
        panic!("never full");
    };
    until_full(Purpose::Growth).await;
    assert_eq!(store.health(), Health::Full);
    write(Purpose::Upkeep).await.unwrap();
    put_new(&store, &Key::new("a/b"), "still taken").await;
    until_full(Purpose::Upkeep).await;
    write(Purpose::Relief).await.unwrap();
    until_full(Purpose::Relief).await;
    assert!(matches!(store.put(&Key::new("a/c"), Bytes::new(), Version::ABSENT).await, Err(StoreError::Full(_))));
    assert_eq!(
        store.read(log, Position::Offset(Offset(3)), ALL).await.map(|read| read != Read::Closed).ok(),
        Some(true)
    );

    let next = bounds(&store, log).await.next;
    store.trim(log, next).await.unwrap();
    eventually("room has come back", || store.health() == Health::Ready).await;
    write(Purpose::Growth).await.unwrap();
    assert!(matches!(store.append(log, next, batch(1, "x"), Purpose::Growth).await, Ok(Append::Conflict { .. })));
}

#[tokio::test]
async fn checkpoints_that_free_nothing_leave_a_full_disk_its_way_out() {
    let disk = CrashVfs::over(MemoryVfs::default());
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    let store = open(&vfs);
    let log = made(&store).await;
    for _ in 0..40 {
        let next = bounds(&store, log).await.next;
        store.append(log, next, batch(1, vec![1; 4_000]), Purpose::Growth).await.unwrap();
    }
    eventually("spares are ready", || store.stats().segments_pool >= 2 && store.shared.covered.lock().kept.is_some())
        .await;
    disk.set_faults(Faults { room: Some(disk.disk().used()), ..Faults::default() });
    // What is to be kept outgrows the room that was kept for it, for as long as documents are taken.
    let mut documents = 0;
    while store.put(&Key::new(format!("d/{documents}")), vec![7; 900].into(), Version::ABSENT).await.is_ok() {
        documents += 1;
        store.shared.write_checkpoint(Reason::Shortens).unwrap();
    }
    assert!(documents > 10, "{documents} documents, too few to outgrow anything");
    let next = bounds(&store, log).await.next;
    store.trim(log, next).await.unwrap();
    eventually("room has come back", || store.health() == Health::Ready).await;
    assert!(store.append(log, next, batch(1, "x"), Purpose::Growth).await.is_ok());
}

#[tokio::test]
async fn a_full_disk_that_gets_room_is_used_again() {
    let disk = CrashVfs::over(MemoryVfs::default());
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    let store = open(&vfs);
    let log = made(&store).await;
    eventually("spares are ready", || store.stats().segments_pool >= 2 && store.shared.covered.lock().kept.is_some())
        .await;
    disk.set_faults(Faults { room: Some(disk.disk().used()), ..Faults::default() });
    let mut next = Offset(0);
    while store.append(log, next, batch(1, vec![1; 4_000]), Purpose::Growth).await.is_ok() {
        next = next.plus(1);
    }
    assert_eq!(store.health(), Health::Full);
    disk.set_faults(Faults::default());
    eventually("the disk is asked again", || store.health() == Health::Ready).await;
    assert_eq!(fill(&store, log, 30).await, next.plus(30));
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let vfs = memory();
    let store = open(&vfs);
    let error = open_with(&vfs, Path::new(DIR), small()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("/store is in use"), "{error}");
    store.close().await.unwrap();
    open(&vfs);
}

#[tokio::test]
async fn a_closed_store_takes_nothing_more() {
    let vfs = memory();
    let store = open(&vfs);
    let log = made(&store).await;
    SegmentStore::close(&store).await.unwrap();
    assert!(matches!(store.trim(log, Offset(0)).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.health(), Health::Down);
    assert!(inspect(Path::new(DIR), vfs.as_ref()).unwrap().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_store_opens_as_it_was() {
    let vfs = memory();
    let store = Arc::new(open(&vfs));
    let (log, other) = (made(store.as_ref()).await, made(store.as_ref()).await);
    fill(&store, log, 60).await;
    store.trim(log, Offset(20)).await.unwrap();
    let version = put_new(store.as_ref(), &Key::new("a/b"), "value").await;
    let expected = read_all(store.as_ref(), log).await;
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { fill(&store, other, 100).await })
    };
    store.backup(Path::new("/copy")).await.unwrap();
    writing.await.unwrap();
    assert!(store.backup(Path::new("/copy")).await.is_err(), "a directory that is not empty");

    let report = inspect(Path::new("/copy"), vfs.as_ref()).unwrap();
    assert!(report.clean && report.damage.is_empty(), "{report:?}");
    let copy = open_with(&vfs, Path::new("/copy"), small()).unwrap();
    assert_eq!(read_all(&copy, log).await, expected);
    assert_eq!(copy.get(&Key::new("a/b")).await.unwrap().map(|found| found.version), Some(version));
    assert!(done(copy.put(&Key::new("a/b"), Bytes::new(), version).await.unwrap()) > version);
    assert_eq!(fill(&copy, log, 1).await, Offset(61));
    assert_eq!(fill(&store, log, 1).await, Offset(61));
}

#[tokio::test]
async fn an_inspection_counts_and_checks_everything() {
    let vfs = memory();
    let store = open(&vfs);
    let log = made(&store).await;
    fill(&store, log, 40).await;
    store.trim(log, Offset(1)).await.unwrap();
    put_new(&store, &Key::new("topic/a"), "12").await;
    put_new(&store, &Key::new("topic/b"), "345").await;
    put_new(&store, &Key::new("user/a"), "").await;
    drop(store);
    let report = inspect(Path::new(DIR), vfs.as_ref()).unwrap();
    assert!(!report.clean && report.damage.is_empty());
    assert_eq!(report.logs.len(), 1);
    assert_eq!((report.logs[0].bounds.first, report.logs[0].bounds.next), (Offset(1), Offset(40)));
    assert_eq!(report.documents["topic"].count, 2);
    assert_eq!(report.documents["topic"].bytes, 19);
    assert!(report.segments.len() > 1 && report.segments.iter().map(|segment| segment.records).sum::<u64>() >= 45);
}

/// Counts what it is told.
#[derive(Default)]
struct Counter(AtomicUsize);

impl CommitObserver for Counter {
    fn committed(&self, operations: usize, bytes: u64, _sync: Duration) {
        assert!(bytes > 0);
        self.0.fetch_add(operations, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_come_together_share_a_commit() {
    let counter = Arc::new(Counter::default());
    let observer = Arc::clone(&counter) as Arc<dyn CommitObserver>;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { observer: Some(observer), zero_fill: false, segment_bytes: 1 << 20, ..Options::default() };
    let store = Arc::new(open_with(&(Arc::new(RealVfs) as Arc<dyn Vfs>), dir.path(), options).unwrap());
    let mut callers = Vec::new();
    for _ in 0..64 {
        let store = Arc::clone(&store);
        callers.push(tokio::spawn(async move {
            let log = made(store.as_ref()).await;
            fill(&store, log, 5).await;
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.operations, 64 * 6);
    assert_eq!(counter.0.load(Ordering::SeqCst), 64 * 6);
    assert!(stats.commits < 64 * 3, "{} commits", stats.commits);
    store.close().await.unwrap();
}

#[tokio::test]
async fn memory_holds_no_more_than_the_budget() {
    let store = open(&memory());
    let log = made(&store).await;
    fill(&store, log, 50).await;
    assert!(store.stats().cache_bytes <= 4 << 10);
    assert_eq!(read_all(&store, log).await.len(), 50);
}

#[tokio::test]
async fn a_conflict_is_answered_with_what_is_durable() {
    let store = open(&memory());
    let log = made(&store).await;
    let (first, second) = tokio::join!(
        store.append(log, Offset(0), batch(2, "one"), Purpose::Growth),
        store.append(log, Offset(0), batch(2, "two"), Purpose::Growth),
    );
    assert!(matches!(first.unwrap(), Append::Appended { .. }));
    assert_eq!(second.unwrap(), Append::Conflict { next: Offset(2) });
    let version = put_new(&store, &Key::new("a/b"), "value").await;
    assert_eq!(store.delete(&Key::new("a/b"), Version(77)).await.unwrap(), Put::Conflict(version));
}
