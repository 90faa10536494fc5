//! What a request becomes: a record, or an answer that changes nothing.
//!
//! Owns the draft of one group and the judgement of compare-and-append and compare-and-set against the durable state
//! plus what the draft already holds. Does no I/O.

use super::group::{Kind, Record, elements};
use super::queue::{Reply, Request};
use super::state::State;
use crate::storage::{
    Append, Batch, Created, LogId, Offset, Purpose, Put, Result, StoreError, StoredBatch, Time, Version,
};
use bytes::Bytes;
use std::collections::HashMap;

/// Most elements of one vectored write; the system's limit is 1,024.
const ELEMENTS_MAX: usize = 1000;

/// How a draft ended, told to each who waits for it.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It is on the disk.
    Durable,
    /// Nothing was written.
    Refused(StoreError),
    /// The write or the sync failed.
    Broken(String),
}

type Answer = Box<dyn FnOnce(&Fate) + Send>;

/// A log's end as the draft sees it.
#[derive(Clone, Copy)]
struct Head {
    first: u64,
    next: u64,
    last_time: u64,
}

/// Records that will be one group, and the answers that wait for it.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) records: Vec<Record>,
    /// Bytes of the records as written.
    pub(super) bytes: usize,
    elements: usize,
    answers: Vec<Answer>,
    logs: HashMap<LogId, Option<Head>>,
    documents: HashMap<Bytes, Version>,
    version: u64,
}

/// What the disk still takes, if that is in question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes left in the active segment and the spares.
    pub(super) left: u64,
    /// Below this new data is refused.
    pub(super) reserve: u64,
    /// Below this everything but relief is refused.
    pub(super) last: u64,
    /// Below this everything but trims and closes is refused: they free what everything else needs.
    pub(super) trims: u64,
}

impl Room {
    fn refusal(room: Option<Self>, purpose: Purpose) -> Option<StoreError> {
        let room = room?;
        let refused = match purpose {
            Purpose::Growth => room.left < room.reserve,
            Purpose::Upkeep => room.left < room.last,
            Purpose::Relief => room.left < room.trims,
        };
        refused.then(|| StoreError::Full("the disk has no room for another segment; free some or trim".into()))
    }
}

impl Draft {
    /// Whether another request still goes in.
    pub(super) fn has_room(&self, request: &Request, bytes: usize) -> bool {
        self.answers.is_empty() || (self.elements + 2 < ELEMENTS_MAX && self.bytes + request.bytes() <= bytes)
    }

    /// Whether nobody waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// How many requests are in it.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Tells everybody how it ended.
    pub(super) fn end(self, fate: &Fate) {
        for answer in self.answers {
            answer(fate);
        }
    }

    /// Judges a request and takes it in. Barriers are not for drafts: they are answered as refused.
    pub(super) fn add(&mut self, state: &State, request: Request, room: Option<Room>) {
        match request {
            Request::Create { log, first, reply } => {
                let result =
                    Room::refusal(room, Purpose::Upkeep).map_or_else(|| Ok(self.create(state, log, first)), Err);
                self.promise(reply, result);
            }
            Request::Append { log, expected, batch, purpose, reply } => {
                let result =
                    Room::refusal(room, purpose).map_or_else(|| Ok(self.append(state, log, expected, batch)), Err);
                self.promise(reply, result);
            }
            Request::Trim { log, before, reply } => {
                let changed = self.trim(state, log, before);
                self.promise(reply, Ok((changed, ())));
            }
            Request::Close { log, reply } => {
                let changed = self.close(state, log);
                self.promise(reply, Ok((changed, ())));
            }
            Request::Put { key, value, expected, reply } => {
                let put = || Ok(self.document(state, Kind::Put, key.0, value, expected));
                let result = Room::refusal(room, Purpose::Upkeep).map_or_else(put, Err);
                self.promise(reply, result);
            }
            Request::Delete { key, expected, reply } => {
                let result = self.document(state, Kind::Delete, key.0, Bytes::new(), expected);
                self.promise(reply, Ok(result));
            }
            Request::Move { log, batch, reply } => {
                let changed = self.copy(state, log, batch);
                self.promise(reply, Ok((changed, ())));
            }
            Request::Cut { .. } | Request::Stop { .. } => {}
        }
    }

    /// Answers once the draft has ended: with the result if it is durable.
    fn promise<T: Send + 'static>(&mut self, reply: Reply<T>, result: Result<(bool, T)>) {
        self.answers.push(Box::new(move |fate| {
            let answer = match (fate, result) {
                (_, Err(error)) => Err(error),
                (Fate::Durable, Ok((_, value))) => Ok(value),
                (Fate::Refused(error), Ok(_)) => Err(error.clone()),
                (Fate::Broken(why), Ok((true, _))) => Err(StoreError::Unknown(why.clone())),
                (Fate::Broken(why), Ok((false, _))) => Err(StoreError::Poisoned(why.clone())),
            };
            // Whoever asked may have left.
            drop(reply.send(answer));
        }));
    }

    fn push(&mut self, record: Record) {
        self.bytes += record.written_len();
        self.elements += elements(&record);
        self.records.push(record);
    }

    fn head(&self, state: &State, log: LogId) -> Option<Head> {
        let durable =
            || state.logs.get(&log).map(|log| Head { first: log.first, next: log.next, last_time: log.last_time });
        self.logs.get(&log).copied().unwrap_or_else(durable)
    }

    fn create(&mut self, state: &State, log: LogId, first: Offset) -> (bool, Created) {
        if self.logs.contains_key(&log) || state.logs.contains_key(&log) || state.closed.contains(log) {
            return (false, Created::Exists);
        }
        self.logs.insert(log, Some(Head { first: first.0, next: first.0, last_time: 0 }));
        self.push(Record::of_log(Kind::Create, log, first.0));
        (true, Created::Made)
    }

    fn append(&mut self, state: &State, log: LogId, expected: Offset, batch: Batch) -> (bool, Append) {
        let Some(head) = self.head(state, log) else { return (false, Append::Closed) };
        if head.next != expected.0 {
            return (false, Append::Conflict { next: Offset(head.next) });
        }
        let time = batch.time.0.max(head.last_time);
        let next = expected.plus(u64::from(batch.count)).0;
        self.logs.insert(log, Some(Head { next, last_time: time, ..head }));
        self.push(Record {
            kind: Kind::Append,
            log,
            first: expected.0,
            time,
            nonce: batch.nonce,
            count: batch.count,
            key: Bytes::new(),
            payload: batch.payload,
        });
        (true, Append::Appended { first: expected, time: Time(time) })
    }

    fn trim(&mut self, state: &State, log: LogId, before: Offset) -> bool {
        let Some(head) = self.head(state, log) else { return false };
        let first = before.0.min(head.next);
        if first <= head.first {
            return false;
        }
        self.logs.insert(log, Some(Head { first, ..head }));
        self.push(Record::of_log(Kind::Trim, log, first));
        true
    }

    fn close(&mut self, state: &State, log: LogId) -> bool {
        if self.head(state, log).is_none() {
            return false;
        }
        self.logs.insert(log, None);
        self.push(Record::of_log(Kind::Close, log, 0));
        true
    }

    fn document(&mut self, state: &State, kind: Kind, key: Bytes, value: Bytes, expected: Version) -> (bool, Put) {
        let durable = || state.documents.get(&key).map_or(Version::ABSENT, |document| document.version);
        let present = self.documents.get(&key).copied().unwrap_or_else(durable);
        if present != expected {
            return (false, Put::Conflict(present));
        }
        self.version = self.version.max(state.version) + 1;
        let stands = if kind == Kind::Put { Version(self.version) } else { Version::ABSENT };
        self.documents.insert(key.clone(), stands);
        self.push(Record::of_document(kind, key, value, self.version));
        (true, Put::Done(Version(self.version)))
    }

    fn copy(&mut self, state: &State, log: LogId, batch: StoredBatch) -> bool {
        if self.head(state, log).is_none_or(|head| batch.next().0 <= head.first) {
            return false;
        }
        self.push(Record {
            kind: Kind::Moved,
            log,
            first: batch.first.0,
            time: batch.time.0,
            nonce: batch.nonce,
            count: batch.count,
            key: Bytes::new(),
            payload: batch.payload,
        });
        true
    }
}
