//! Random calls on two stores: every answer of the store under test must be that of the memory engine.
//!
//! Owns the random calls, the comparison, and the rule that versions agree by order and not by number. An engine's own
//! tests say
//!
//! ```ignore
//! agrees_with_memory(100, async || Subject::reopenable(store, reopen));
//! ```

use super::contract::{ALL, Subject};
use super::faulty::FaultyStore;
use super::memory::MemoryStore;
use super::metered::{MeteredStore, Observer};
use super::{
    Batch, Bounds, Document, Key, LogId, Nonce, Offset, Order, Position, Purpose, Put, ReadLimit, Store, Time, Version,
};
use crate::clock::Clock;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// Most calls of one case.
const CALLS_MAX: usize = 120;
const LOGS: u8 = 4;
const KEYS: [&[u8]; 7] = [b"a/1", b"a/2", b"a/20", b"b/1", b"b/\xff", b"b/\xff\xff", b"\xff"];
const PREFIXES: [&[u8]; 6] = [b"", b"a/", b"a/2", b"b/\xff", b"\xff", b"c"];

/// Runs `cases` random rows of calls on a memory store and on a fresh subject; panics with the smallest row found on
/// which they disagree.
pub(crate) fn agrees_with_memory(cases: u32, fresh: impl AsyncFn() -> Subject) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls = proptest::collection::vec(call(), 1..CALLS_MAX);
    let outcome = TestRunner::new(config).run(&calls, |calls| {
        runtime.block_on(async {
            let mut pair =
                Pair { oracle: Arc::new(MemoryStore::new()), subject: fresh().await, versions: HashMap::new() };
            for (index, call) in calls.iter().enumerate() {
                pair.run(call, index).await?;
            }
            pair.everything_agrees().await
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// One random call. Offsets and versions are meant relative to what stands, so that most calls apply.
#[derive(Clone, Debug)]
enum Call {
    Create { log: u8, first: u64 },
    Append { log: u8, skew: i8, count: u32, time: u64, size: usize },
    Read { log: u8, from: From, limit: ReadLimit },
    Bounds { log: u8 },
    Trim { log: u8, by: i8 },
    Close { log: u8 },
    Logs { after: Option<u8>, limit: usize },
    Get { key: usize },
    Put { key: usize, expected: Expected, size: usize },
    Delete { key: usize, expected: Expected },
    Scan { prefix: usize, after: Option<usize>, limit: usize, order: Order },
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum From {
    /// So far from the first offset kept.
    First(i8),
    /// So far from the next offset.
    Next(i8),
    Time(u64),
    Tail,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Present,
    Absent,
    /// One that the key once had, counted back from the newest.
    Earlier(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let log = || 0..LOGS;
    let key = || 0..KEYS.len();
    let skew = prop_oneof![8 => Just(0_i8), 1 => -5..5_i8];
    let limit = (prop_oneof![Just(usize::MAX), 0..200_usize], prop_oneof![Just(usize::MAX), 0..5_usize]);
    let limit = limit.prop_map(|(bytes, batches)| ReadLimit { bytes, batches });
    let order = || prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    prop_oneof![
        4 => (log(), prop_oneof![Just(0), 1..1000_u64]).prop_map(|(log, first)| Call::Create { log, first }),
        20 => (log(), skew, 1..6_u32, 0..50_u64, 0..60_usize)
            .prop_map(|(log, skew, count, time, size)| Call::Append { log, skew, count, time, size }),
        12 => (log(), from(), limit).prop_map(|(log, from, limit)| Call::Read { log, from, limit }),
        3 => log().prop_map(|log| Call::Bounds { log }),
        5 => (log(), -3..20_i8).prop_map(|(log, by)| Call::Trim { log, by }),
        1 => log().prop_map(|log| Call::Close { log }),
        2 => (proptest::option::of(log()), 0..6_usize).prop_map(|(after, limit)| Call::Logs { after, limit }),
        4 => key().prop_map(|key| Call::Get { key }),
        10 => (key(), expected(), 0..60_usize).prop_map(|(key, expected, size)| Call::Put { key, expected, size }),
        4 => (key(), expected()).prop_map(|(key, expected)| Call::Delete { key, expected }),
        6 => (0..PREFIXES.len(), proptest::option::of(key()), 0..9_usize, order())
            .prop_map(|(prefix, after, limit, order)| Call::Scan { prefix, after, limit, order }),
        2 => Just(Call::Reopen),
    ]
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        (-3..12_i8).prop_map(From::First),
        (-12..3_i8).prop_map(From::Next),
        (0..55_u64).prop_map(From::Time),
        Just(From::Tail),
    ]
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![6 => Just(Expected::Present), 1 => Just(Expected::Absent), 2 => (0..4_usize).prop_map(Expected::Earlier)]
}

/// What a check answers: a difference fails the case.
type Checked = Result<(), TestCaseError>;

/// The two stores side by side.
struct Pair {
    oracle: Arc<dyn Store>,
    subject: Subject,
    /// For each key the versions that its changes made, oldest first: the oracle's and the subject's.
    versions: HashMap<Key, Vec<(Version, Version)>>,
}

impl Pair {
    async fn run(&mut self, call: &Call, index: usize) -> Checked {
        match *call {
            Call::Get { key } => self.get(&key_of(key)).await,
            Call::Put { key, expected, size } => self.change(&key_of(key), expected, Some(filled(index, size))).await,
            Call::Delete { key, expected } => self.change(&key_of(key), expected, None).await,
            Call::Scan { prefix, after, limit, order } => {
                self.scan(&Key(Bytes::from_static(PREFIXES[prefix])), after.map(key_of), limit, order).await
            }
            Call::Reopen => {
                self.subject.reopen().await;
                Ok(())
            }
            _ => self.run_on_log(call, index).await,
        }
    }

    async fn run_on_log(&self, call: &Call, index: usize) -> Checked {
        let (oracle, subject) = (&self.oracle, &self.subject.store());
        match *call {
            Call::Create { log, first } => {
                let (log, first) = (log_of(log), Offset(first));
                same(oracle.create(log, first).await, subject.create(log, first).await)
            }
            Call::Append { log, skew, count, time, size } => {
                let log = log_of(log);
                let at = self.oracle_bounds(log).await.map_or(Offset(0), |bounds| shifted(bounds.next, skew));
                let nonce = Nonce { writer: 1, sequence: index as u64 };
                let batch = Batch { count, time: Time(time), nonce, payload: filled(index, size) };
                let answer = oracle.append(log, at, batch.clone(), Purpose::Growth).await;
                same(answer, subject.append(log, at, batch, Purpose::Growth).await)
            }
            Call::Read { log, from, limit } => {
                let log = log_of(log);
                let Bounds { first, next, .. } = self.oracle_bounds(log).await.unwrap_or(NO_BOUNDS);
                let from = match from {
                    From::First(skew) => Position::Offset(shifted(first, skew)),
                    From::Next(skew) => Position::Offset(shifted(next, skew)),
                    From::Time(time) => Position::Time(Time(time)),
                    From::Tail => Position::Tail,
                };
                same(oracle.read(log, from, limit).await, subject.read(log, from, limit).await)
            }
            Call::Bounds { log } => self.bounds_agree(log_of(log)).await,
            Call::Trim { log, by } => {
                let log = log_of(log);
                let before = shifted(self.oracle_bounds(log).await.unwrap_or(NO_BOUNDS).first, by);
                same(oracle.trim(log, before).await, subject.trim(log, before).await)
            }
            Call::Close { log } => same(oracle.close(log_of(log)).await, subject.close(log_of(log)).await),
            Call::Logs { after, limit } => {
                let after = after.map(log_of);
                same(oracle.logs(after, limit).await, subject.logs(after, limit).await)
            }
            Call::Get { .. } | Call::Put { .. } | Call::Delete { .. } | Call::Scan { .. } | Call::Reopen => {
                unreachable!("not a call on a log")
            }
        }
    }

    async fn oracle_bounds(&self, log: LogId) -> Option<Bounds> {
        self.oracle.bounds(log).await.unwrap()
    }

    /// Bounds agree but for `bytes`, which each engine counts in its own way.
    async fn bounds_agree(&self, log: LogId) -> Checked {
        let comparable = |bounds: Option<Bounds>| bounds.map(|bounds| Bounds { bytes: 0, ..bounds });
        let found = self.subject.store().bounds(log).await;
        same(Ok(comparable(self.oracle_bounds(log).await)), found.map(comparable))
    }

    async fn get(&self, key: &Key) -> Checked {
        let (one, other) = (self.oracle.get(key).await.unwrap(), self.subject.store().get(key).await.unwrap());
        self.documents_agree(key, one, other)
    }

    /// Puts the value, or deletes if there is none.
    async fn change(&mut self, key: &Key, expected: Expected, value: Option<Bytes>) -> Checked {
        let (for_oracle, for_subject) = self.expected_versions(key, expected).await;
        let (oracle, subject) = (&self.oracle, &self.subject.store());
        let (one, other) = match value {
            Some(value) => {
                (oracle.put(key, value.clone(), for_oracle).await, subject.put(key, value, for_subject).await)
            }
            None => (oracle.delete(key, for_oracle).await, subject.delete(key, for_subject).await),
        };
        match (one.unwrap(), other.unwrap()) {
            (Put::Done(one), Put::Done(other)) => {
                let made = self.versions.entry(key.clone()).or_default();
                let grown = made.last().is_none_or(|last| one > last.0 && other > last.1);
                made.push((one, other));
                prop_assert!(grown, "versions of {key} do not grow: {made:?}");
                Ok(())
            }
            (Put::Conflict(one), Put::Conflict(other)) => self.versions_agree(key, one, other),
            (one, other) => Err(TestCaseError::fail(format!("{key}: expected {one:?}, got {other:?}"))),
        }
    }

    /// The same expectation in either store's numbers.
    async fn expected_versions(&self, key: &Key, expected: Expected) -> (Version, Version) {
        let made = self.versions.get(key).map(Vec::as_slice).unwrap_or_default();
        let absent = (Version::ABSENT, Version::ABSENT);
        match expected {
            Expected::Absent => absent,
            Expected::Present if self.oracle.get(key).await.unwrap().is_none() => absent,
            Expected::Present => *made.last().unwrap(),
            Expected::Earlier(back) => made.iter().rev().nth(back).copied().unwrap_or(absent),
        }
    }

    async fn scan(&self, prefix: &Key, after: Option<Key>, limit: usize, order: Order) -> Checked {
        let found = self.oracle.scan(prefix, after.as_ref(), limit, order).await.unwrap();
        let others = self.subject.store().scan(prefix, after.as_ref(), limit, order).await.unwrap();
        let keys = |found: &[(Key, Document)]| found.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        prop_assert_eq!(keys(&found), keys(&others));
        for ((key, one), (_, other)) in found.into_iter().zip(others) {
            self.documents_agree(&key, Some(one), Some(other))?;
        }
        Ok(())
    }

    fn documents_agree(&self, key: &Key, one: Option<Document>, other: Option<Document>) -> Checked {
        let parts =
            |document: Option<Document>| document.map_or((Version::ABSENT, None), |it| (it.version, Some(it.value)));
        let ((one, value), (other, other_value)) = (parts(one), parts(other));
        prop_assert_eq!(value, other_value, "the value of {}", key);
        self.versions_agree(key, one, other)
    }

    /// Both are absent, or both were made by the same change.
    fn versions_agree(&self, key: &Key, one: Version, other: Version) -> Checked {
        let made = self.versions.get(key).map(Vec::as_slice).unwrap_or_default();
        let both_absent = (one, other) == (Version::ABSENT, Version::ABSENT);
        prop_assert!(
            both_absent || made.contains(&(one, other)),
            "{key}: {one:?} and {other:?} are of no one change: {made:?}"
        );
        Ok(())
    }

    /// Compares all that stands, as it is and after opening again.
    async fn everything_agrees(&mut self) -> Checked {
        for _ in 0..2 {
            let subject = self.subject.store();
            for log in (0..LOGS).map(log_of) {
                self.bounds_agree(log).await?;
                let from = Position::Offset(self.oracle_bounds(log).await.unwrap_or(NO_BOUNDS).first);
                same(self.oracle.read(log, from, ALL).await, subject.read(log, from, ALL).await)?;
            }
            same(self.oracle.logs(None, usize::MAX).await, subject.logs(None, usize::MAX).await)?;
            self.scan(&Key::new(""), None, usize::MAX, Order::Ascending).await?;
            drop(subject);
            self.subject.reopen().await;
        }
        Ok(())
    }
}

const NO_BOUNDS: Bounds = Bounds { first: Offset(0), next: Offset(0), last_time: Time(0), bytes: 0 };

/// Fails unless both answered, and the same.
fn same<T: PartialEq + Debug>(one: super::Result<T>, other: super::Result<T>) -> Checked {
    prop_assert_eq!(one.unwrap(), other.unwrap());
    Ok(())
}

fn log_of(index: u8) -> LogId {
    LogId(u128::from(index) + 1)
}

fn key_of(index: usize) -> Key {
    Key(Bytes::from_static(KEYS[index]))
}

fn shifted(offset: Offset, by: i8) -> Offset {
    Offset(offset.0.saturating_add_signed(i64::from(by)))
}

/// Bytes that tell which call made them.
fn filled(index: usize, size: usize) -> Bytes {
    Bytes::from(index.to_be_bytes().repeat(8)).slice(..size)
}

struct Nobody;

impl Observer for Nobody {
    fn observed(&self, _: &'static str, _: &'static str, _: f64) {}
}

#[test]
fn a_decorated_memory_store_agrees_with_memory() {
    agrees_with_memory(200, async || {
        let faulty = FaultyStore::new(Arc::new(MemoryStore::new()), 1);
        Subject::new(MeteredStore::new(Arc::new(faulty), Nobody, Clock::System))
    });
}

/// The comparison can fail.
#[test]
#[should_panic(expected = "minimal failing input")]
fn a_store_that_forgets_at_its_stop_is_found_out() {
    agrees_with_memory(200, async || {
        let empty = || -> Arc<dyn Store> { Arc::new(MemoryStore::new()) };
        Subject::reopenable(empty(), move || std::future::ready(empty()))
    });
}
