//! Damage: a flipped byte anywhere that means something is found, named by file and position; only the last group after an
//! unclean stop may go.

use super::checkpoint;
use super::file::{SealFound, Segment, name_of, sequence_of};
use super::group::GROUP_HEADER;
use super::index::Row;
use super::recovery;
use super::vfs::{MemoryVfs, Vfs};
use super::{Options, SegmentStore, inspect};
use crate::clock::Clock;
use crate::storage::contract::{ALL, append, batch, made, put_new};
use crate::storage::{Document, Key, LogId, Offset, Order, Position, Result, Store, StoredBatch, Version};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "/store";
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn open(files: &Files) -> Result<SegmentStore> {
    let vfs: Arc<dyn Vfs> = Arc::new(MemoryVfs::from_files(files.clone()));
    open_on(&vfs)
}

fn open_on(vfs: &Arc<dyn Vfs>) -> Result<SegmentStore> {
    let options = Options { segment_bytes: 64 << 10, cache_bytes: 0, ..Options::default() };
    SegmentStore::open(Path::new(DIR), options, Clock::System, Arc::clone(vfs))
}

/// Everything that a store holds.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    logs: Vec<(LogId, Vec<StoredBatch>)>,
    documents: Vec<(Key, Document)>,
}

async fn content(store: &SegmentStore) -> Result<Content> {
    let mut logs = Vec::new();
    for log in store.logs(None, usize::MAX).await? {
        let first = store.bounds(log).await?.unwrap().first;
        match store.read(log, Position::Offset(first), ALL).await? {
            crate::storage::Read::Batches(batches) => logs.push((log, batches)),
            other => panic!("{other:?}"),
        }
    }
    let documents = store.scan(&Key::new(""), None, usize::MAX, Order::Ascending).await?;
    Ok(Content { logs, documents })
}

/// A store of several segments with documents and a checkpoint; its files as they are after a stop of either kind, and its content
/// without and with the last group (an append). After an unclean stop no checkpoint speaks of that group: one that does proves that
/// it was whole, and it may not go.
async fn written(clean: bool) -> (Files, [Content; 2]) {
    loop {
        let (files, contents, covered) = written_once(clean).await;
        if clean || !covered {
            return (files, contents);
        }
    }
}

/// As [`written`], and whether a checkpoint was made after the last group.
async fn written_once(clean: bool) -> (Files, [Content; 2], bool) {
    let vfs = MemoryVfs::default();
    let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
    let store = open_on(&shared).unwrap();
    let logs = [made(&store).await, made(&store).await];
    for at in 0..40 {
        append(&store, logs[at % 2], batch(2, vec![at as u8 + 1; 3_000])).await;
        put_new(&store, &Key::new(format!("kind/{at}")), vec![at as u8; 500]).await;
    }
    while vfs.open(&Path::new(DIR).join(checkpoint::NAME)).is_err() {
        tokio::task::yield_now().await;
    }
    let checkpoint = || vfs.files().remove(&Path::new(DIR).join(checkpoint::NAME));
    let (before, known) = (content(&store).await.unwrap(), checkpoint());
    append(&store, logs[0], batch(1, vec![99; 700])).await;
    let after = content(&store).await.unwrap();
    if clean {
        store.close().await.unwrap();
    }
    drop(store);
    let covered = checkpoint() != known;
    (vfs.files(), [before, after], covered)
}

/// Whether a file is more than room for later.
fn holds_data(path: &Path) -> bool {
    path.extension().is_none_or(|ending| ending == "segment")
}

/// The places of a segment file that mean something, and where its last group is.
fn meaning(vfs: &MemoryVfs, path: &Path) -> ([Range<u64>; 2], Range<u64>) {
    let sequence = sequence_of(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let (segment, seal) = Segment::open(vfs.open(path).unwrap(), sequence).unwrap();
    let segment = Arc::new(segment);
    let seal = match seal {
        SealFound::Seal(seal) => Some(seal),
        _ => None,
    };
    let mut last = 0;
    let (mut number, mut begin) = (0, 0);
    let end = recovery::scan(&segment, seal, |group, _, position, _| {
        if group != number {
            (number, begin) = (group, position - GROUP_HEADER as u64);
        }
        last = begin;
    })
    .unwrap();
    match seal {
        Some(seal) => ([0..0, 0..seal.table + u64::from(seal.runs) * Row::LEN as u64], last..end.end),
        // A seal that does not hold is what an interrupted one looks like.
        None => ([0..512, 1024..end.end], last..end.end),
    }
}

/// What became of a flipped byte.
async fn verdict(files: &Files, path: &Path) -> std::result::Result<Content, String> {
    let store = match open(files) {
        Ok(store) => store,
        Err(error) => return Err(error.to_string()),
    };
    let found = content(&store).await;
    store.close().await.unwrap();
    drop(store);
    let found = found.map_err(|error| error.to_string())?;
    let report = inspect(Path::new(DIR), &MemoryVfs::from_files(files.clone())).map_err(|error| error.to_string())?;
    match report.damage.into_iter().find(|place| place.contains(path.file_name().unwrap().to_str().unwrap())) {
        Some(place) => Err(place),
        None => Ok(found),
    }
}

async fn flip_everywhere(clean: bool, step: usize) {
    let (files, [before, after]) = written(clean).await;
    let vfs = MemoryVfs::from_files(files.clone());
    let newest = files.keys().filter(|path| path.to_string_lossy().ends_with(".segment")).max().unwrap();
    let mut flips = 0;
    for path in files.keys() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (places, last) = match name.as_str() {
            checkpoint::NAME => ([0..0, 0..files[path].len() as u64], 0..0),
            name if name.ends_with(".segment") => meaning(&vfs, path),
            _ => continue,
        };
        for at in places.into_iter().flat_map(|place| place.step_by(step)) {
            let mut flipped = files.clone();
            flipped.get_mut(path).unwrap()[at as usize] ^= 0x40;
            let may_go = !clean && path == newest && last.contains(&at);
            match verdict(&flipped, path).await {
                Err(error) => {
                    assert!(!may_go, "{name} at {at}: {error}");
                    assert!(
                        error.contains(&name) && (error.contains("position") || error.contains("format")),
                        "{at}: {error}"
                    );
                }
                Ok(found) => {
                    assert!(may_go, "{name} at {at}: not found");
                    assert_eq!(found, before, "{name} at {at}: more than the last group has gone");
                }
            }
            flips += 1;
        }
    }
    assert!(flips > 200);
    assert_eq!(verdict(&files, newest).await, Ok(after));
}

#[tokio::test]
async fn a_flipped_byte_is_found_unless_it_is_in_the_last_group_after_an_unclean_stop() {
    flip_everywhere(false, 331).await;
}

#[tokio::test]
async fn a_flipped_byte_is_found_anywhere_after_a_clean_stop() {
    flip_everywhere(true, 331).await;
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let (files, _) = written(true).await;
    for path in files.keys().filter(|path| path.to_string_lossy().ends_with(".segment")) {
        let mut fewer = files.clone();
        fewer.remove(path);
        let error = open(&fewer).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("missing") || error.contains("misses"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_checkpoint_is_no_fresh_start() {
    let (mut files, _) = written(true).await;
    let first = Path::new(DIR).join(name_of(1));
    files.remove(&Path::new(DIR).join(checkpoint::NAME));
    files.remove(&first);
    let error = open(&files).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&name_of(1)), "{error}");
}

#[tokio::test]
async fn a_file_cut_short_is_found() {
    for clean in [false, true] {
        let (files, _) = written(clean).await;
        for path in files.keys().filter(|path| holds_data(path)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let length = files[path].len();
            let (end, _) = if name == checkpoint::NAME {
                (length as u64, 0)
            } else {
                (meaning(&MemoryVfs::from_files(files.clone()), path).0.last().unwrap().end, 0)
            };
            for cut in [0, 100, end as usize / 2, end as usize - 1] {
                let mut short = files.clone();
                short.get_mut(path).unwrap().truncate(cut);
                let error = open(&short).map(|_| ()).unwrap_err().to_string();
                assert!(error.contains(name), "{name} cut at {cut}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn another_format_is_refused_with_what_to_do() {
    let (files, _) = written(true).await;
    for path in files.keys().filter(|path| holds_data(path)) {
        let mut newer = files.clone();
        newer.get_mut(path).unwrap()[8] = 2;
        let error = open(&newer).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("newer program"), "{error}");
    }
}

#[tokio::test]
async fn a_read_of_a_damaged_batch_names_the_place_and_spares_the_others() {
    let (mut files, [_, after]) = written(true).await;
    let (log, batches) = after.logs[0].clone();
    let needle = &batches[0].payload[..64];
    let path = Path::new(DIR).join(name_of(1));
    let bytes = files.get_mut(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == needle).unwrap();
    bytes[at + 5] ^= 1;
    let store = open(&files).unwrap();
    let error = store.read(log, Position::Offset(Offset(0)), ALL).await.unwrap_err().to_string();
    assert!(error.contains(&name_of(1)) && error.contains("position"), "{error}");
    let next = batches[1].first;
    let read = store.read(log, Position::Offset(next), ALL).await.unwrap();
    assert_eq!(read, crate::storage::Read::Batches(batches[1..].to_vec()));
    assert_eq!(store.get(&Key(Bytes::from_static(b"none"))).await.unwrap().map(|found| found.version), None::<Version>);
}
