//! Fuzz targets of the embedded store: damaged files, records that no writer wrote, checkpoints of any content. Whatever a directory
//! holds, opening it ends, and what is given out is what was written.

use super::checkpoint::{self, Checkpoint};
use super::file::{DATA_START, FORMAT, Segment, name_of};
use super::group::{self, Kind, Record};
use super::vfs::{MemoryVfs, Vfs};
use super::{Options, SegmentStore, reader};
use crate::clock::Clock;
use crate::storage::{
    Batch, Document, Key, LogId, Nonce, Offset, Order, Position, Purpose, Read, ReadLimit, Result, Store, StoredBatch,
    Time, Version,
};
use bytes::{Buf, BufMut, Bytes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};

const DIR: &str = "/store";
const ALL: ReadLimit = ReadLimit { bytes: usize::MAX, batches: usize::MAX };

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Everything that a store gives out: for each log where it begins and its batches, and the documents.
#[derive(Debug, Default)]
struct Content {
    logs: BTreeMap<LogId, (Offset, Vec<StoredBatch>)>,
    documents: BTreeMap<Key, Document>,
}

/// A store's files, all that it ever held, and what it holds now that something was trimmed and closed.
#[derive(Debug)]
struct Image {
    files: Files,
    ever: Content,
    now: Content,
    clean: bool,
}

fn open(files: Files) -> Result<SegmentStore> {
    let options = Options { segment_bytes: 64 << 10, reserve_segments: 1, cache_bytes: 0, ..Options::default() };
    SegmentStore::open(Path::new(DIR), options, Clock::manual(1), Arc::new(MemoryVfs::from_files(files)))
}

fn runtime() -> Option<Runtime> {
    Builder::new_current_thread().build().ok()
}

/// All that a store gives out; a log that cannot be read is left out, for it told so.
fn content(store: &SegmentStore) -> Content {
    let state = &store.shared.state;
    let mut found = Content::default();
    let logs: Vec<LogId> = state.read().logs.keys().copied().collect();
    for log in logs {
        let Some(bounds) = state.read().bounds(log) else { continue };
        if let Ok(Read::Batches(batches)) = reader::read(state, log, Position::Offset(bounds.first), ALL) {
            found.logs.insert(log, (bounds.first, batches));
        }
    }
    let documents = state.read().scan(&Bytes::new(), None, usize::MAX, Order::Ascending);
    found.documents.extend(documents.into_iter().map(|(key, document)| (Key(key), document)));
    found
}

/// Writes a store of several segments with everything that a store has, stopped cleanly or not.
async fn written(clean: bool) -> Result<Image> {
    let vfs = MemoryVfs::default();
    let options = Options { segment_bytes: 64 << 10, reserve_segments: 1, cache_bytes: 0, ..Options::default() };
    let store = SegmentStore::open(Path::new(DIR), options, Clock::manual(1), Arc::new(vfs.clone()))?;
    for log in 1..=3 {
        store.create(LogId(log), Offset(0)).await?;
    }
    for at in 0..24_u8 {
        let length = if at % 5 == 0 { 9_000 } else { 900 };
        let payload = Bytes::from(vec![at + 1; length]);
        let nonce = Nonce { writer: 1, sequence: u64::from(at) };
        let batch = Batch { count: 2, time: Time(u64::from(at)), nonce, payload };
        let (log, next) = (LogId(u128::from(at % 2) + 1), Offset(u64::from(at / 2) * 2));
        store.append(log, next, batch, Purpose::Growth).await?;
        store.put(&Key::new(format!("kind/{at}")), Bytes::from(vec![at; 100]), Version::ABSENT).await?;
    }
    let ever = content(&store);
    store.trim(LogId(2), Offset(5)).await?;
    Store::close(&store, LogId(3)).await?;
    let now = content(&store);
    if clean {
        store.close().await?;
    }
    drop(store);
    let mut files = vfs.files();
    files.retain(|path, _| path.extension().is_none_or(|ending| ending == "segment"));
    Ok(Image { files, ever, now, clean })
}

/// The two images, made once in a process.
fn image(clean: bool) -> Option<&'static Image> {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    let make = || -> Option<Vec<Image>> {
        let runtime = runtime()?;
        [false, true].into_iter().map(|clean| runtime.block_on(written(clean)).ok()).collect()
    };
    IMAGES.get_or_init(|| make().unwrap_or_default()).get(usize::from(clean))
}

/// Damages a store's files as the input says, opens it, and compares what it gives out with what was written.
pub(crate) fn files(data: &[u8]) {
    let mut input = data;
    let Ok(kind) = input.try_get_u8() else { return };
    let image = image(kind & 1 == 1);
    assert!(image.is_some(), "the store to be damaged could not be written");
    let Some(image) = image else { return };
    let mut files = image.files.clone();
    let mut whole = true;
    while let Some(change) = Change::read(&mut input) {
        whole &= change.apply(&mut files);
    }
    let Ok(store) = open(files) else { return };
    let found = content(&store);
    for (log, (_, batches)) in &found.logs {
        let written = image.ever.logs.get(log).map(|(_, written)| written.as_slice()).unwrap_or_default();
        assert!(batches.iter().all(|batch| written.contains(batch)), "{log} gives out what was not written");
        let dense = batches.iter().zip(batches.iter().skip(1)).all(|(one, next)| one.next() == next.first);
        assert!(dense, "{log} has a gap");
    }
    let known = |(key, document): (&Key, &Document)| image.ever.documents.get(key) == Some(document);
    assert!(found.documents.iter().all(known), "a document is not what was written");
    if image.clean && whole {
        // A log that cannot be read told so; all others are complete.
        let complete = |(log, (first, batches)): (&LogId, &(Offset, Vec<StoredBatch>))| {
            image.now.logs.get(log).is_some_and(|(was, written)| (was, written.len()) == (first, batches.len()))
        };
        assert!(found.logs.iter().all(complete), "what was acknowledged is not there");
        assert_eq!(found.documents.len(), image.now.documents.len(), "an acknowledged document is missing");
    }
}

/// One piece of damage to a file.
struct Change<'a> {
    file: u8,
    at: usize,
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Change<'a> {
    fn read(input: &mut &'a [u8]) -> Option<Self> {
        let (file, kind) = (input.try_get_u8().ok()?, input.try_get_u8().ok()?);
        let at = usize::from(input.try_get_u16_le().ok()?) * if kind & 8 == 0 { 1 } else { 512 };
        let length = usize::from(input.try_get_u8().ok()?);
        let (bytes, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
        *input = rest;
        Some(Self { file, at, kind: kind & 7, bytes })
    }

    /// Damages; whether every file is still there.
    fn apply(&self, files: &mut Files) -> bool {
        let count = files.len().max(1);
        let Some(path) = files.keys().nth(usize::from(self.file) % count).cloned() else { return false };
        let Some(file) = files.get_mut(&path) else { return false };
        let length = file.len();
        let at = self.at % length.max(1);
        let here = file.get_mut(at..).unwrap_or_default();
        match self.kind {
            0..=2 => here.iter_mut().zip(self.bytes).for_each(|(to, from)| *to ^= from),
            3 => here.iter_mut().zip(self.bytes).for_each(|(to, from)| *to = *from),
            4 => here.iter_mut().take(512).for_each(|byte| *byte = 0),
            5 => file.copy_within(at..length.min(at + 512), at.saturating_sub(512)),
            6 => file.truncate(at),
            _ => {
                files.remove(&path);
                return false;
            }
        }
        true
    }
}

/// Records of any content, in groups whose checksums hold: opening and reading end, whatever they say.
pub(crate) fn records(data: &[u8]) {
    let mut input = data;
    let vfs = MemoryVfs::default();
    let path = Path::new(DIR).join(name_of(1));
    let Some(segment) = vfs.create(&path).ok().and_then(|file| Segment::begin(file, 1, 0, 0, 1).ok()) else { return };
    let (mut end, mut chain, mut number) = (DATA_START, segment.crc, 1);
    while let Ok(count) = input.try_get_u8() {
        let records: Vec<Record> = (0..count % 4 + 1).map_while(|_| record(&mut input)).collect();
        if records.is_empty() {
            break;
        }
        let group = group::encode(&records, segment.seed, number, chain);
        if segment.file.write_at(&mut group.slices(), end).is_err() {
            return;
        }
        (end, chain, number) = (end + group.len, group.crc, number + 1);
    }
    if segment.file.allocate(end.max(64 << 10)).is_err() {
        return;
    }
    for _ in 0..2 {
        // The second time what the first has sealed.
        let Ok(store) = open(vfs.files()) else { return };
        drop(content(&store));
        let tail = |log: &LogId| reader::read(&store.shared.state, *log, Position::Tail, ALL).is_ok();
        let logs: Vec<LogId> = store.shared.state.read().logs.keys().copied().collect();
        assert!(logs.iter().filter(|log| tail(log)).count() <= logs.len());
    }
}

fn record(input: &mut &[u8]) -> Option<Record> {
    let kinds =
        [Kind::Create, Kind::Append, Kind::Append, Kind::Put, Kind::Delete, Kind::Trim, Kind::Close, Kind::Moved];
    let code = input.try_get_u8().ok()?;
    let kind = *kinds.get(usize::from(code & 7))?;
    let mut number = || match input.try_get_u8() {
        Ok(255) => input.try_get_u64_le().ok(),
        small => small.ok().map(u64::from),
    };
    let (first, time, count) = (number()?, number()?, number()?);
    let length = usize::try_from(number()?).unwrap_or(0) % 2_000;
    let is_document = matches!(kind, Kind::Put | Kind::Delete);
    Some(Record {
        kind,
        log: LogId(u128::from(code >> 3 & 3)),
        first,
        time,
        nonce: Nonce::default(),
        count: u32::try_from(count).unwrap_or(u32::MAX),
        key: if is_document { Bytes::from(vec![b'k'; length % 5]) } else { Bytes::new() },
        payload: Bytes::from(vec![code; length]),
    })
}

/// Any bytes as a checkpoint's body, its checksum right: what reads has no other form.
pub(crate) fn checkpoints(data: &[u8]) {
    let mut file = b"ANGELCHK".to_vec();
    file.put_u32_le(u32::from(FORMAT));
    let length = (data.len() as u64).to_le_bytes();
    file.put_u32_le(crc32c::crc32c(&[file.as_slice(), &length, data].concat()));
    file.extend_from_slice(&length);
    file.extend_from_slice(data);
    let path = Path::new(DIR).join(checkpoint::NAME);
    let vfs = MemoryVfs::from_files(Files::from([(path, file.clone())]));
    if let Ok(Some(found)) = Checkpoint::read(&vfs, Path::new(DIR)) {
        assert_eq!(found.encode(), file);
        drop(found.into_state());
    }
}
