//! One subscription before the auditor: its log's history, and what its clients were told.

use super::logs::Logs;
use super::rules::{Asked, Granted, Ground, is_cumulative};
use super::shadow::{Stand, offsets};
use angelia::broker::codec::event::{Body, Record};
use angelia::broker::codec::snapshot::Assembly;
use angelia::broker::{Delivery, Progress, Statistics};
use angelia::domain::subscription::{Event, Settings, Targets};
use angelia::storage::StoredBatch;
use std::collections::BTreeSet;

/// A cumulative pull as the log has it: the version it made, floor, end, when.
struct Opened {
    version: usize,
    floor: u64,
    end: u64,
    at: u64,
    topic: u128,
}

/// What is known of one subscription.
pub(crate) struct Subscribed {
    pub(crate) settings: Option<Settings>,
    pub(crate) asked: Asked,
    /// Where it stood after so many records of its log.
    versions: Vec<Stand>,
    /// Where it stood for a moment inside the record of a version, before a move of the same record undid it.
    passing: Vec<(usize, Stand)>,
    granted: Granted,
    opened: Vec<Opened>,
    /// The nonces of all copies of dead letters that were ever noted: a seek may come before the copy does.
    pub(crate) letters: BTreeSet<(u128, u64)>,
    /// The versions that a seek made, with its floor.
    sought: Vec<(usize, u64)>,
    chunks: Assembly,
    snapshot: u64,
    pub(crate) first: u64,
    /// Whether its log is closed.
    pub(crate) ended: bool,
}

impl Default for Subscribed {
    fn default() -> Self {
        Self {
            settings: None,
            asked: Asked::default(),
            versions: vec![Stand::default()],
            passing: Vec::new(),
            granted: Granted::new(),
            opened: Vec::new(),
            letters: BTreeSet::new(),
            sought: Vec::new(),
            chunks: Assembly::default(),
            snapshot: 0,
            first: 0,
            ended: false,
        }
    }
}

impl Subscribed {
    pub(crate) fn now(&self) -> &Stand {
        self.versions.last().unwrap()
    }

    pub(crate) fn version(&self) -> usize {
        self.versions.len() - 1
    }

    /// Where it stood from a version on until now.
    fn since(&self, version: usize) -> &[Stand] {
        &self.versions[version.min(self.version())..]
    }

    /// A record became durable.
    pub(crate) fn append(
        &mut self,
        batch: &StoredBatch,
        record: &Record,
        logs: &Logs,
        skew: u64,
    ) -> Result<(), String> {
        if batch.first.0 != self.version() as u64 || batch.count != 1 {
            return Err(format!("a record at {} instead of {}", batch.first, self.version()));
        }
        if record.newest_snapshot.is_some_and(|snapshot| snapshot.0 > self.snapshot) {
            return Err(format!(
                "it speaks of a snapshot at {:?}, but {} is the newest",
                record.newest_snapshot, self.snapshot
            ));
        }
        let mut stand = self.now().clone();
        let mut judged = Ok(());
        match &record.body {
            Body::Events(events) => {
                for event in events {
                    let (asked, settings) = (&self.asked, self.settings.as_ref());
                    let ground = Ground { asked, logs, settings, time: batch.time.0, skew };
                    judged =
                        judged.and_then(|()| ground.judge(&stand, event).map_err(|why| format!("{why} ({event:?})")));
                    note(&mut self.granted, &mut self.opened, &mut self.sought, self.versions.len(), &stand, event);
                    fulfil(&mut self.asked, &stand, event);
                    if matches!(event, Event::Sought { .. } | Event::Purged { .. } | Event::Attached { .. }) {
                        self.passing.push((self.versions.len(), stand.clone()));
                    }
                    stand.apply(event);
                    if let Event::DeadLetterStarted { nonce, .. } = event {
                        self.letters.insert((nonce.writer, nonce.sequence));
                    }
                    if let Event::Leased { runs, fence, .. } = event {
                        for offset in offsets(runs) {
                            let attempt = stand.grants.get(&offset).map_or(0, |grant| grant.attempt);
                            if let Some(granted) = self.granted.get_mut(&(fence.0, offset)) {
                                granted.0 = attempt;
                            }
                        }
                    }
                }
            }
            Body::Chunk(chunk) => {
                if let Some((as_of, state)) = self.chunks.add(chunk.clone()).map_err(|error| error.to_string())? {
                    let stood = &self.versions[usize::try_from(as_of.0).unwrap()];
                    let next = stand
                        .attached
                        .and_then(|(log, ..)| logs.topics.get(&log))
                        .map_or(0, super::logs::TopicLog::next);
                    judged =
                        stood.differs(&state, next).map_or(Ok(()), |how| Err(format!("snapshot as of {as_of}: {how}")));
                    self.snapshot = self.snapshot.max(as_of.0);
                }
            }
        }
        self.versions.push(stand);
        judged
    }

    pub(crate) fn trimmed(&mut self, first: u64) -> Result<(), String> {
        self.first = self.first.max(first);
        if first <= self.snapshot {
            Ok(())
        } else {
            Err(format!("trimmed to {first} with a snapshot at {}", self.snapshot))
        }
    }

    /// A message among those of its topic that is not acknowledged and that lives on because of a claim.
    pub(crate) fn extended(&self, topic: u128, among: std::ops::Range<u64>, now: u64) -> Option<u64> {
        let stand = self.now();
        stand.attached.filter(|(log, ..)| *log == topic && !self.ended)?;
        stand.lifetimes.range(among).find(|(_, until)| now < **until).map(|(offset, _)| *offset)
    }

    /// Whoever worked with a fence was the worker at some time since the call began.
    pub(crate) fn worked(&self, since: usize, fence: u64) -> Result<(), String> {
        let found = self.since(since).iter().any(|stand| stand.worker.is_some_and(|worker| worker.1 == fence));
        if found { Ok(()) } else { Err(format!("{fence} worked, but {:?} is the worker", self.now().worker)) }
    }

    /// What a pull gave out was granted by a record made since it began, to it alone, and is what stands there.
    pub(crate) fn pulled(&mut self, since: usize, deliveries: &[Delivery], logs: &Logs) -> Result<(), String> {
        if deliveries.windows(2).any(|pair| pair[0].published.offset >= pair[1].published.offset) {
            return Err("messages are not in order".to_owned());
        }
        if deliveries.is_empty() {
            return Ok(());
        }
        if is_cumulative(self.now()) {
            return self.opened(since, deliveries, logs);
        }
        for delivery in deliveries {
            let (offset, fence) = (delivery.published.offset.0, delivery.fence.0);
            let Some((attempt, _, topic)) = self.granted.get(&(fence, offset)) else {
                return Err(format!("{offset} came with fence {fence}, which nothing durable gave to it"));
            };
            if *attempt != delivery.attempt {
                return Err(format!("{offset} came as attempt {} and is {attempt}", delivery.attempt));
            }
            logs.same(*topic, &delivery.published)?;
            if !self.asked.delivered.insert((offset, fence)) {
                return Err(format!("{offset} came to two clients with one fence {fence}"));
            }
        }
        Ok(())
    }

    fn opened(&self, since: usize, deliveries: &[Delivery], logs: &Logs) -> Result<(), String> {
        let found: Vec<u64> = deliveries.iter().map(|delivery| delivery.published.offset.0).collect();
        let matches = |opened: &&Opened| {
            let alive = |offset: &u64| {
                logs.entry(opened.topic, *offset).is_some_and(|entry| opened.at < logs.times(entry.mark).1)
            };
            let given: Vec<u64> = (opened.floor..opened.end).filter(alive).collect();
            opened.version > since && given.ends_with(&found)
        };
        let Some(opened) = self.opened.iter().rev().take_while(|opened| opened.version > since).find(matches) else {
            return Err(format!("{found:?} came and no window since version {since} gave it"));
        };
        deliveries.iter().try_for_each(|delivery| logs.same(opened.topic, &delivery.published))
    }

    /// What was acknowledged is durably so, at some time since the call began.
    pub(crate) fn acknowledged(&self, since: usize, targets: &Targets) -> Result<(), String> {
        let passing = self.passing.iter().filter(|(version, _)| *version > since).map(|(_, stand)| stand);
        let stands: Vec<&Stand> = self.since(since).iter().chain(passing).collect();
        let done = |offset: u64| stands.iter().any(|stand| stand.is_acked(offset));
        let missing = match targets {
            Targets::Through(through) => Some(through.0).filter(|through| !done(*through)),
            Targets::Leased(leased) => leased.iter().map(|(offset, _)| offset.0).find(|offset| !done(*offset)),
            Targets::Offsets(_) | Targets::Free(_) | Targets::Held(..) | Targets::Group(_) => None,
        };
        missing.map_or(Ok(()), |offset| Err(format!("{offset} was said to be acknowledged and is not durably so")))
    }

    /// An acknowledgement was refused, and the answer promises that nothing was changed.
    pub(crate) fn refused(&mut self, targets: &Targets) -> Result<(), String> {
        match targets {
            Targets::Through(through) => self.asked.through.refuse(through.0),
            Targets::Leased(leased) => {
                let mut named = leased.iter().map(|(offset, fence)| (offset.0, fence.0));
                named.try_for_each(|named| self.asked.acknowledge.refuse(named))
            }
            Targets::Offsets(_) | Targets::Free(_) | Targets::Held(..) | Targets::Group(_) => Ok(()),
        }
    }

    pub(crate) fn moved(&self, since: usize, to: u64) -> Result<(), String> {
        let done = self.sought.iter().any(|(version, floor)| *version > since && *floor == to);
        if done { Ok(()) } else { Err(format!("no durable seek to {to}")) }
    }

    /// The figures are those of one moment since the call began.
    pub(crate) fn progress(&self, since: usize, progress: &Progress, logs: &Logs) -> Result<(), String> {
        let (floor, next) = (progress.floor.0, progress.next.0);
        let fits = |stand: &Stand| {
            let topic = stand.attached.and_then(|(log, ..)| logs.topics.get(&log));
            let within = next == 0 || topic.is_none_or(|topic| next <= topic.next());
            stand.floor == floor && stand.backlog(next) == progress.backlog && within
        };
        if self.since(since).iter().any(fits) {
            return Ok(());
        }
        let stood: Vec<_> = self.since(since).iter().map(|stand| (stand.floor, stand.backlog(next))).collect();
        Err(format!("{progress:?} fits none of {stood:?}"))
    }

    pub(crate) fn statistics(&self, since: usize, statistics: &Statistics) -> Result<(), String> {
        let told = (statistics.messages, statistics.forgotten);
        let found: Vec<_> = self.since(since).iter().map(|stand| (stand.consumed, stand.forgotten)).collect();
        if found.contains(&told) { Ok(()) } else { Err(format!("{told:?} given out and forgotten, but {found:?}")) }
    }
}

/// Remembers which wishes an event fulfils, given where the subscription stands before it.
fn fulfil(asked: &mut Asked, stand: &Stand, event: &Event) {
    match event {
        Event::Acknowledged { runs, .. } => {
            let grants = offsets(runs).filter_map(|offset| Some((offset, stand.grants.get(&offset)?.fence)));
            grants.for_each(|named| asked.acknowledge.grant(named));
        }
        Event::AcknowledgedThrough { floor, .. } => asked.through.grant(floor.0 - 1),
        Event::Sought { floor } => asked.seek.grant(floor.0),
        _ => {}
    }
}

/// Remembers what an event gave out or moved; `version` is the one that its record makes.
fn note(
    granted: &mut Granted,
    opened: &mut Vec<Opened>,
    sought: &mut Vec<(usize, u64)>,
    version: usize,
    stand: &Stand,
    event: &Event,
) {
    let topic = stand.attached.map_or(0, |(log, ..)| log);
    match event {
        Event::Leased { runs, fence, at, .. } => {
            granted.extend(offsets(runs).map(|offset| ((fence.0, offset), (0, at.0, topic))));
        }
        Event::WindowSet { end, at, .. } => {
            opened.push(Opened { version, floor: stand.floor, end: end.0, at: at.0, topic });
        }
        Event::Sought { floor } => sought.push((version, floor.0)),
        _ => {}
    }
}
