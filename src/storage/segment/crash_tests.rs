//! Power cuts: whatever was answered is there afterwards, logs are dense, documents not older than answered.
//!
//! Each case drives a store by seeded random calls on a disk that loses power at a random change, opens what the cut
//! left, compares it with what was answered, goes on there, and is cut again.

use super::vfs::{Change, CrashVfs, Dice, Faults, MemoryVfs, Vfs};
use super::{Options, SegmentStore};
use crate::clock::Clock;
use crate::storage::contract::ALL;
use crate::storage::{
    Append, Batch, Created, Key, LogId, Nonce, Offset, Position, Purpose, Put, Read, Store, StoreError, StoredBatch,
    Time, Version,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/store";
const LOGS: u64 = 5;
const KEYS: u64 = 4;

/// What a log must be after a cut.
#[derive(Clone, Debug, Default)]
struct ExpectedLog {
    /// Answered batches (trimmed ones may be among them), dense up to the tail.
    batches: Vec<StoredBatch>,
    trimmed: u64,
    /// The trim point of a call that had no answer.
    maybe_trimmed: u64,
    /// An append that had no answer.
    maybe: Option<StoredBatch>,
    maybe_closed: bool,
}

impl ExpectedLog {
    fn next(&self) -> u64 {
        self.batches.last().map_or(0, |last| last.next().0)
    }
}

/// What a document must be after a cut.
#[derive(Clone, Debug, Default)]
struct ExpectedDocument {
    value: Option<Bytes>,
    /// The highest version that was answered.
    version: u64,
    /// What a call without an answer would have made of it.
    maybe: Option<Option<Bytes>>,
}

/// The model and the dice of one case.
struct Case {
    dice: Dice,
    logs: BTreeMap<LogId, ExpectedLog>,
    closed: Vec<LogId>,
    documents: BTreeMap<Key, ExpectedDocument>,
    made: u128,
    sequence: u64,
    /// What is under way.
    doing: &'static str,
    cuts: Cuts,
}

/// Power cuts so far, by what they hit.
type Cuts = BTreeMap<&'static str, usize>;

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        cache_bytes: 2 << 10,
        reserve_segments: 1,
        pool_segments: 2,
        ..Options::default()
    }
}

fn open(vfs: &CrashVfs) -> Result<SegmentStore, StoreError> {
    SegmentStore::open(Path::new(DIR), options(), Clock::System, Arc::new(vfs.clone()) as Arc<dyn Vfs>)
}

impl Case {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            logs: BTreeMap::new(),
            closed: Vec::new(),
            documents: BTreeMap::new(),
            made: 0,
            sequence: 0,
            doing: "recovery",
            cuts: Cuts::new(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.dice.below(limit)
    }

    /// The disk after a power cut, or after a kill: there what was not synced may still go with the next cut.
    fn end(&mut self, disk: &CrashVfs) -> CrashVfs {
        if self.below(3) == 0 {
            return disk.kill();
        }
        *self.cuts.entry(hit(disk).unwrap_or(self.doing)).or_default() += 1;
        disk.crash(self.below(u64::MAX))
    }

    /// One random call; `false` when it had no sure answer.
    async fn call(&mut self, store: &SegmentStore) -> bool {
        if self.logs.len() < LOGS as usize {
            self.doing = "create";
            self.made += 1;
            let log = LogId(self.made);
            return match store.create(log, Offset(0)).await {
                Ok(made) => {
                    assert_eq!(made, Created::Made);
                    self.logs.insert(log, ExpectedLog::default());
                    true
                }
                Err(_) => false,
            };
        }
        match self.below(20) {
            0..=10 => self.append(store).await,
            11..=12 => self.trim(store).await,
            13..=18 => self.document(store).await,
            _ => self.close_log(store).await,
        }
    }

    fn some_log(&mut self) -> LogId {
        let at = self.below(self.logs.len() as u64) as usize;
        *self.logs.keys().nth(at).unwrap()
    }

    async fn append(&mut self, store: &SegmentStore) -> bool {
        self.doing = "append";
        let log = self.some_log();
        self.sequence += 1;
        let size = if self.below(4) == 0 { self.below(9_000) } else { self.below(300) };
        let payload: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| self.dice.below(u64::MAX).to_le_bytes()).collect();
        let count = 1 + self.below(3) as u32;
        let nonce = Nonce { writer: 1, sequence: self.sequence };
        let first = Offset(self.logs[&log].next());
        let batch = Batch { count, time: Time(self.sequence), nonce, payload: payload.into() };
        let stored = StoredBatch { first, count, time: batch.time, nonce, payload: batch.payload.clone() };
        let answer = store.append(log, first, batch, Purpose::Growth).await;
        let expected = self.logs.get_mut(&log).unwrap();
        match answer {
            Ok(answer) => {
                assert_eq!(answer, Append::Appended { first, time: stored.time });
                expected.batches.push(stored);
                true
            }
            Err(_) => {
                expected.maybe = Some(stored);
                false
            }
        }
    }

    async fn trim(&mut self, store: &SegmentStore) -> bool {
        self.doing = "trim";
        let log = self.some_log();
        let (low, next) = (self.logs[&log].trimmed, self.logs[&log].next());
        let before = low + self.below(next - low + 1);
        let answer = store.trim(log, Offset(before)).await;
        let expected = self.logs.get_mut(&log).unwrap();
        expected.maybe_trimmed = before;
        if answer.is_ok() {
            expected.trimmed = before;
        }
        answer.is_ok()
    }

    async fn close_log(&mut self, store: &SegmentStore) -> bool {
        self.doing = "close";
        let log = self.some_log();
        let answer = Store::close(store, log).await;
        if answer.is_ok() {
            self.logs.remove(&log);
            self.closed.push(log);
        } else {
            self.logs.get_mut(&log).unwrap().maybe_closed = true;
        }
        answer.is_ok()
    }

    async fn document(&mut self, store: &SegmentStore) -> bool {
        self.doing = "document";
        let key = Key::new(format!("kind/{}", self.below(KEYS)));
        let remove = self.below(4) == 0;
        let value = Bytes::from(vec![7; self.below(600) as usize]);
        let Ok(present) = store.get(&key).await else { return false };
        let version = present.map_or(Version::ABSENT, |document| document.version);
        let answer = match remove {
            true => store.delete(&key, version).await,
            false => store.put(&key, value.clone(), version).await,
        };
        let expected = self.documents.entry(key).or_default();
        let value = (!remove).then_some(value);
        match answer {
            Ok(Put::Done(version)) => {
                assert!(version.0 > expected.version, "a version came back");
                *expected = ExpectedDocument { value, version: version.0, maybe: None };
                true
            }
            Ok(Put::Conflict(_)) => panic!("nobody else writes"),
            Err(_) => {
                expected.maybe = Some(value);
                false
            }
        }
    }

    /// What was found after a cut is what was answered, plus at most the call that had no answer. Goes on from there.
    async fn check(&mut self, store: &SegmentStore) {
        for log in &self.closed {
            assert_eq!(store.bounds(*log).await.unwrap(), None, "{log} came back");
        }
        for (log, mut expected) in std::mem::take(&mut self.logs) {
            let Some(bounds) = store.bounds(log).await.unwrap() else {
                assert!(expected.maybe_closed, "{log} is lost");
                self.closed.push(log);
                continue;
            };
            let may_be = [expected.trimmed, expected.maybe_trimmed];
            assert!(may_be.contains(&bounds.first.0), "{log}: {bounds:?}, trimmed at {may_be:?}");
            if bounds.next.0 != expected.next() {
                let extra = expected.maybe.take().expect("an append was under way");
                assert_eq!(bounds.next, extra.next(), "{log}");
                expected.batches.push(extra);
            }
            let found = match store.read(log, Position::Offset(bounds.first), ALL).await.unwrap() {
                Read::Batches(found) => found,
                other => panic!("{log}: {other:?}"),
            };
            expected.batches.retain(|batch| batch.next() > bounds.first || batch.next() == bounds.next);
            let kept = expected.batches.iter().filter(|batch| batch.next() > bounds.first);
            assert!(kept.eq(found.iter()), "{log} holds something else");
            let (trimmed, maybe_trimmed) = (bounds.first.0, bounds.first.0);
            self.logs.insert(log, ExpectedLog { trimmed, maybe_trimmed, maybe: None, maybe_closed: false, ..expected });
        }
        for (key, expected) in &mut self.documents {
            let found = store.get(key).await.unwrap();
            let value = found.as_ref().map(|document| document.value.clone());
            let applied = expected.maybe.take().is_some_and(|maybe| maybe == value);
            assert!(applied || value == expected.value, "{key}");
            if let Some(document) = &found {
                assert!(document.version.0 >= expected.version, "{key} has gone back");
                expected.version = document.version.0;
            }
            expected.value = value;
        }
    }
}

/// What a cut hit, where the file tells: a checkpoint; a spare that becomes a segment, or is made; a segment that becomes a spare, or goes.
fn hit(disk: &CrashVfs) -> Option<&'static str> {
    let (change, path) = disk.cut_at()?;
    let is_entry = change == Change::Entry;
    match path.file_name()?.to_str()?.rsplit('.').next()? {
        "checkpoint" | "CHECKPOINT" => Some("checkpoint"),
        "spare" if is_entry => Some("roll"),
        "segment" if is_entry => Some("recycle"),
        _ => None,
    }
}

/// Opens, cutting the power during some of the recoveries, or as soon as they are done.
fn open_through_cuts(mut disk: CrashVfs, case: &mut Case) -> (CrashVfs, SegmentStore) {
    case.doing = "recovery";
    for _ in 0..3 {
        if case.below(2) != 0 {
            break;
        }
        let power_cut_in = Some(1 + case.below(25));
        disk.set_faults(Faults { power_cut_in, ..Faults::default() });
        drop(open(&disk));
        disk = case.end(&disk);
    }
    disk.set_faults(Faults::default());
    let store = open(&disk).unwrap();
    (disk, store)
}

/// Drives a store through so many ends, each within so many calls; the cuts that were made.
async fn run(seed: u64, ends: usize, calls: u64) -> Cuts {
    let mut case = Case::new(seed);
    let (mut disk, mut store) = open_through_cuts(CrashVfs::over(MemoryVfs::default()), &mut case);
    for end in 0..ends {
        // Now and then before anything else has happened to what was recovered, now and then when files come and go.
        let (within, power_cut_at_entry) = match case.below(6) {
            0 => (6, false),
            1 => (8, true),
            _ => (calls * 2, false),
        };
        let power_cut_in = Some(1 + case.below(within));
        disk.set_faults(Faults { power_cut_in, power_cut_at_entry, ..Faults::default() });
        while case.call(&store).await {}
        assert!(disk.power_is_off(), "seed {seed}: a call failed with the power on");
        let after = case.end(&disk);
        drop(store);
        (disk, store) = open_through_cuts(after, &mut case);
        case.check(&store).await;
        if end % 5 == 4 {
            store.close().await.unwrap();
            drop(store);
            store = open(&disk).unwrap();
            case.check(&store).await;
        }
    }
    case.cuts
}

fn add(sum: &mut Cuts, more: Cuts) {
    for (what, count) in more {
        *sum.entry(what).or_default() += count;
    }
}

/// Appends, trims, closes, documents, rolls, recycled segments, checkpoints and recoveries: each is cut, a thousand times together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_a_power_cut() {
    let mut cuts = Cuts::new();
    for seed in 0..100 {
        add(&mut cuts, run(seed, 10, 100).await);
    }
    let total: usize = cuts.values().sum();
    assert!(total >= 1_000, "only {total} cuts: {cuts:?}");
    for what in ["append", "document", "trim", "create", "close", "roll", "recycle", "checkpoint", "recovery"] {
        assert!(cuts.get(what).is_some_and(|count| *count >= 5), "{what} was hardly ever cut: {cuts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_a_power_cut_after_much_recycling() {
    let mut cuts = Cuts::new();
    for seed in 1000..1008 {
        add(&mut cuts, run(seed, 3, 2_000).await);
    }
    assert!(cuts.values().sum::<usize>() >= 16, "{cuts:?}");
}

/// The power goes at every single change of a short story, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_may_go_at_any_change() {
    for change in 1..120 {
        let mut case = Case::new(77);
        let disk = CrashVfs::over(MemoryVfs::default());
        disk.set_faults(Faults { power_cut_in: Some(change), ..Faults::default() });
        if let Ok(store) = open(&disk) {
            while case.call(&store).await {}
        }
        let disk = disk.crash(change);
        case.check(&open(&disk).unwrap()).await;
    }
}
