//! What every topic's log really holds, and what publishers were told of it.

use angelia::broker::Receipt;
use angelia::domain::message::Published;
use angelia::domain::topic::Topic;
use angelia::domain::{Error, Result};
use angelia::storage::StoredBatch;
use std::collections::{BTreeMap, BTreeSet};

/// One message of one publish request. Its payload says so in plain text, so that the auditor needs no decoder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mark {
    pub(crate) request: usize,
    pub(crate) index: usize,
}

impl Mark {
    const LENGTH: usize = 14;

    pub(crate) fn text(self) -> String {
        format!("[[{:07}.{:02}]]", self.request, self.index)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_prefix("[[")?.strip_suffix("]]")?;
        let (request, index) = text.split_once('.')?;
        Some(Self { request: request.parse().ok()?, index: index.parse().ok()? })
    }

    /// All marks in some bytes, in order.
    pub(crate) fn find(bytes: &[u8]) -> Vec<Self> {
        bytes.windows(Self::LENGTH).filter(|window| window.starts_with(b"[[")).filter_map(Self::parse).collect()
    }
}

/// What is known of a publish request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Under way, or its outcome is unknown.
    Open,
    Published,
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    log: u128,
    fate: Fate,
    /// For each message when it becomes visible and when its life ends.
    pub(crate) times: Vec<(u64, u64)>,
    place: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) mark: Mark,
    pub(crate) at: u64,
}

/// One topic's log; all of it, also what is trimmed.
#[derive(Clone, Debug)]
pub(crate) struct TopicLog {
    pub(crate) topic: Topic,
    pub(crate) first: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) closed: bool,
}

impl TopicLog {
    pub(crate) fn next(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// All topics' logs and all publish requests.
#[derive(Default)]
pub(crate) struct Logs {
    pub(crate) topics: BTreeMap<u128, TopicLog>,
    pub(crate) requests: Vec<Request>,
    /// Logs whose end was answered.
    removed: BTreeSet<u128>,
    /// Publishes that began when their topic's end had been answered.
    late: BTreeSet<usize>,
}

impl Logs {
    /// Learns that a log is a topic's.
    pub(crate) fn learn(&mut self, topic: &Topic) {
        let known = || TopicLog { topic: topic.clone(), first: 0, entries: Vec::new(), closed: false };
        self.topics.entry(topic.log.0).or_insert_with(known);
    }

    pub(crate) fn removed(&mut self, topic: &Topic) {
        self.removed.insert(topic.log.0);
    }

    /// A publish begins; answers its number.
    pub(crate) fn asked(&mut self, topic: &Topic, times: Vec<(u64, u64)>) -> usize {
        let number = self.requests.len();
        if self.removed.contains(&topic.log.0) {
            self.late.insert(number);
        }
        self.requests.push(Request { log: topic.log.0, fate: Fate::Open, times, place: None });
        number
    }

    /// When a message becomes visible, and when its life ends.
    pub(crate) fn times(&self, mark: Mark) -> (u64, u64) {
        self.requests[mark.request].times[mark.index]
    }

    pub(crate) fn entry(&self, log: u128, offset: u64) -> Option<&Entry> {
        self.topics.get(&log)?.entries.get(usize::try_from(offset).ok()?)
    }

    /// A batch is durable. `copy` tells that it is a dead letter's copy.
    pub(crate) fn appended(&mut self, log: u128, batch: &StoredBatch, copy: bool) -> Result<(), String> {
        let marks = Mark::find(&batch.payload);
        let Some(topic) = self.topics.get_mut(&log) else { return Err(format!("an append to an unknown log {log:x}")) };
        if batch.first.0 != topic.next() || marks.len() != batch.count as usize {
            return Err(format!("a batch of {} holds {} messages at {}", batch.count, marks.len(), batch.first));
        }
        if topic.entries.last().is_some_and(|last| last.at > batch.time.0) {
            return Err(format!("time went back at {}", batch.first));
        }
        for (offset, mark) in (batch.first.0..).zip(&marks) {
            topic.entries.push(Entry { mark: *mark, at: batch.time.0 });
            let Some(request) = self.requests.get_mut(mark.request).filter(|_| !copy) else { continue };
            if request.log != log || request.fate != Fate::Open {
                return Err(format!("{mark:?} is {:?} and stands in {log:x} all the same", request.fate));
            }
            match request.place {
                None if mark.index == 0 => request.place = Some(offset),
                Some(first) if first + mark.index as u64 == offset => {}
                place => return Err(format!("{mark:?} at {offset}, but its request at {place:?}")),
            }
        }
        for mark in marks.iter().filter(|_| !copy) {
            let request = &self.requests[mark.request];
            let end = request.place.unwrap_or(0) + request.times.len() as u64;
            if end > batch.first.0 + u64::from(batch.count) {
                return Err(format!("half of request {} stands in one batch", mark.request));
            }
        }
        Ok(())
    }

    /// A publish was answered; none when its answer was lost.
    pub(crate) fn answered(&mut self, number: usize, answer: Option<&Result<Receipt>>) -> Result<(), String> {
        let request = &mut self.requests[number];
        match answer {
            None | Some(Err(Error::OutcomeUnknown(_))) => Ok(()),
            Some(Ok(receipt)) => {
                request.fate = Fate::Published;
                if request.place != Some(receipt.first.0) || receipt.count as usize != request.times.len() {
                    return Err(format!("request {number} was said to stand at {receipt:?}: {:?}", request.place));
                }
                if self.late.contains(&number) {
                    return Err(format!("request {number} was acknowledged into a topic that had been removed"));
                }
                Ok(())
            }
            Some(Err(error)) => {
                request.fate = Fate::Refused;
                match request.place {
                    Some(place) => Err(format!("request {number} was refused ({error}) and stands at {place}")),
                    None => Ok(()),
                }
            }
        }
    }

    /// Messages that were read: each one is what stands there, and they are in order without a gap.
    pub(crate) fn read(&self, log: u128, messages: &[Published]) -> Result<(), String> {
        for pair in messages.windows(2) {
            if pair[0].offset.0 + 1 != pair[1].offset.0 {
                return Err(format!("{} follows {}", pair[1].offset, pair[0].offset));
            }
        }
        messages.iter().try_for_each(|message| self.same(log, message))
    }

    /// One message that was read is what stands there.
    pub(crate) fn same(&self, log: u128, message: &Published) -> Result<(), String> {
        let marks = Mark::find(&message.message.payload.bytes);
        match self.entry(log, message.offset.0) {
            None => Err(format!("{} was read beyond the end of {log:x}", message.offset)),
            Some(entry) if marks != [entry.mark] || entry.at != message.at.0 => {
                Err(format!("{marks:?} was read at {}, where {entry:?} stands", message.offset))
            }
            Some(_) => Ok(()),
        }
    }
}
