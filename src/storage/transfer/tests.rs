//! A store goes into a file and comes out of it as it was, whatever the engines are and wherever it is broken off.

use super::*;
use crate::clock::Clock;
use crate::storage::contract::ALL;
use crate::storage::cql::tests::scene::Scene;
use crate::storage::faulty::{Fault, FaultyStore, Operation};
use crate::storage::memory::MemoryStore;
use crate::storage::segment::vfs::MemoryVfs;
use crate::storage::segment::{Options, SegmentStore};
use crate::storage::{Bounds, Nonce, Time};
use std::path::PathBuf;
use std::sync::Arc;

const PASSPHRASE: &str = "correct horse";
const KEYS: &[u8] = b"1 00ff\n";

/// Everything that a store holds, but for versions.
type Content = (Vec<(LogId, Offset, Offset, Vec<StoredBatch>)>, Vec<(Key, Bytes)>);

async fn content(store: &dyn Store) -> Content {
    let mut logs = Vec::new();
    for log in store.logs(None, 1_000).await.unwrap() {
        let Bounds { first, next, .. } = store.bounds(log).await.unwrap().unwrap();
        let Read::Batches(batches) = store.read(log, Position::Offset(first), ALL).await.unwrap() else { panic!() };
        logs.push((log, first, next, batches));
    }
    let documents = store.scan(&Key::new(""), None, 1_000, Order::Ascending).await.unwrap();
    (logs, documents.into_iter().map(|(key, document)| (key, document.value)).collect())
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    let nonce = |sequence| Nonce { writer: 1 << 100, sequence };
    for log in 1..=5_u64 {
        let id = LogId(u128::from(log) << 96);
        let mut next = Offset(if log == 2 { 1 << 40 } else { 0 });
        store.create(id, next).await.unwrap();
        // The last one stays empty.
        for at in 0..(5 - log) * 3 {
            let count = u32::try_from(at).unwrap() + 1;
            let payload = Bytes::from(vec![u8::try_from(at).unwrap(); 300]);
            let batch = Batch { count, time: Time(1_000 * at), nonce: nonce(at), payload };
            store.append(id, next, batch, Purpose::Growth).await.unwrap();
            next = next.plus(u64::from(count));
        }
    }
    // In the middle of a batch, at a batch's beginning, everything.
    for (log, before) in [(1_u128, 7), (3, 3), (4, 1_000)] {
        store.trim(LogId(log << 96), Offset(before)).await.unwrap();
    }
    for at in 0..250 {
        let key = Key::new(format!("kind{}/{at:03}", at % 3));
        store.put(&key, Bytes::from(format!("secret {at}")), Version::ABSENT).await.unwrap();
    }
    store
}

fn segment() -> SegmentStore {
    let options = Options { segment_bytes: 1 << 20, reserve_segments: 1, ..Options::default() };
    SegmentStore::open(Path::new("/store"), options, Clock::System, Arc::new(MemoryVfs::default())).unwrap()
}

struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    Place { _folder: folder, file }
}

async fn out(store: &dyn Store, file: &Path) -> Result<Progress, String> {
    export(store, file, KEYS, PASSPHRASE, &|_, value| Ok(Some(value)), &mut |_| {}).await
}

async fn into(store: &dyn Store, file: &Path) -> Result<Progress, String> {
    let keys = |keys: &[u8]| {
        assert_eq!(keys, KEYS);
        Ok(())
    };
    import(store, file, PASSPHRASE, keys, &mut |_| {}).await
}

/// From a store through another one and back into a third.
async fn there_and_back(between: &dyn Store) {
    let (first, one, two) = (filled().await, place(), place());
    let wanted = content(&first).await;
    let progress = out(&first, &one.file).await.unwrap();
    assert_eq!((progress.logs, progress.documents), (5, 250));
    assert_eq!(into(between, &one.file).await.unwrap(), progress);
    assert_eq!(content(between).await, wanted);
    out(between, &two.file).await.unwrap();
    let last = MemoryStore::new();
    into(&last, &two.file).await.unwrap();
    assert_eq!(content(&last).await, wanted);
}

#[tokio::test]
async fn a_store_comes_back_as_it_was() {
    there_and_back(&segment()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_store_comes_back_from_a_cql_cluster_as_it_was() {
    let scene = Scene::begin().await;
    there_and_back(&scene.open().await).await;
}

#[tokio::test]
async fn an_export_that_was_broken_off_goes_on() {
    let (store, whole, cut) = (filled().await, place(), place());
    out(&store, &whole.file).await.unwrap();
    let bytes = std::fs::read(&whole.file).unwrap();
    let wanted = content(&store).await;
    for part in [200, bytes.len() / 5, bytes.len() / 3, bytes.len() - 5_000, bytes.len() - 1] {
        std::fs::write(&cut.file, &bytes[..part]).unwrap();
        assert!(into(&MemoryStore::new(), &cut.file).await.unwrap_err().contains("not complete"), "{part}");
        let progress = out(&store, &cut.file).await.unwrap();
        assert_eq!((progress.logs, progress.documents), (5, 250), "{part}");
        let back = MemoryStore::new();
        into(&back, &cut.file).await.unwrap();
        assert_eq!(content(&back).await, wanted, "{part}");
    }
    assert!(out(&store, &cut.file).await.unwrap_err().contains("complete export already"));
}

#[tokio::test(start_paused = true)]
async fn an_import_that_was_broken_off_goes_on() {
    let (store, file) = (filled().await, place());
    out(&store, &file.file).await.unwrap();
    let faulty = FaultyStore::new(Arc::new(MemoryStore::new()), 1);
    for operation in [Operation::Create, Operation::Append, Operation::Trim, Operation::Put] {
        for fault in [Fault::Refuse, Fault::LoseReply] {
            (0..TRIES).for_each(|_| faulty.fail_next(operation, fault));
        }
    }
    let mut tries = 0;
    while let Err(why) = into(&faulty, &file.file).await {
        tries += 1;
        assert!(tries < 50, "{why}");
    }
    assert!(tries > 0);
    assert_eq!(content(&faulty).await, content(&store).await);
}

#[tokio::test]
async fn a_file_that_is_not_whole_and_a_store_that_is_not_empty_are_refused() {
    let (store, file) = (filled().await, place());
    out(&store, &file.file).await.unwrap();
    assert!(into(&store, &file.file).await.unwrap_err().contains("not empty"));
    let bytes = std::fs::read(&file.file).unwrap();
    let empty = MemoryStore::new();
    for at in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        std::fs::write(&file.file, changed).unwrap();
        into(&empty, &file.file).await.unwrap_err();
    }
    assert_eq!(content(&empty).await, (Vec::new(), Vec::new()), "nothing was written");
}

#[tokio::test]
async fn secrets_are_shown_to_who_has_the_passphrase_alone() {
    let (store, file, target) = (filled().await, place(), MemoryStore::new());
    out(&store, &file.file).await.unwrap();
    let bytes = std::fs::read(&file.file).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"secret" || part == KEYS));
    let wrong = import(&target, &file.file, "incorrect", |_| Ok(()), &mut |_| {}).await.unwrap_err();
    assert!(wrong.contains("passphrase"), "{wrong}");
}
