//! The auditor: knows what is truly durable, judges every change of it, and every answer that a client gets.
//!
//! Owns the promises of the design as checks. Trusts nothing of the product but the decoding of its event records.

pub(crate) mod logs;
mod rules;
mod shadow;
mod subscription;

use self::logs::Logs;
use self::subscription::Subscribed;
use crate::shape::START;
use angelia::broker::codec::event::Record;
use angelia::broker::{Delivery, Progress, Statistics};
use angelia::domain::Error;
use angelia::domain::subscription::{Subscription, Targets};
use angelia::storage::{LogId, StoredBatch};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Everything that is known.
pub(crate) struct Audit {
    pub(crate) logs: Logs,
    subscriptions: BTreeMap<u128, Subscribed>,
    violations: Vec<String>,
    /// How far clocks may be apart, in microseconds.
    skew: u64,
    /// When the run began.
    begun: Instant,
    /// Judgements made: a run without any proves nothing.
    pub(crate) judged: u64,
}

impl Audit {
    pub(crate) fn new(skew: Duration) -> Self {
        let skew = u64::try_from(skew.as_micros()).unwrap();
        let (logs, subscriptions, begun) = (Logs::default(), BTreeMap::new(), Instant::now());
        Self { logs, subscriptions, violations: Vec::new(), skew, begun, judged: 0 }
    }

    /// The first thing that went wrong, if anything did.
    pub(crate) fn violation(&self) -> Option<&String> {
        self.violations.first()
    }

    pub(crate) fn judge(&mut self, about: &str, verdict: Result<(), String>) {
        self.judged += 1;
        if let Err(why) = verdict {
            self.violations.push(format!("{about}: {why}"));
        }
    }

    /// Learns how a subscription behaves.
    pub(crate) fn learn(&mut self, subscription: &Subscription) {
        let known = self.subscriptions.entry(subscription.log.0).or_default();
        known.settings.get_or_insert_with(|| subscription.settings.clone());
    }

    /// A batch became durable.
    pub(crate) fn appended(&mut self, log: LogId, batch: &StoredBatch) {
        if self.logs.topics.contains_key(&log.0) {
            let nonce = (batch.nonce.writer, batch.nonce.sequence);
            let copy = self.subscriptions.values().any(|known| known.letters.contains(&nonce));
            let verdict = self.logs.appended(log.0, batch, copy);
            return self.judge("publish", verdict);
        }
        let verdict = match Record::decode(&batch.payload) {
            Ok(record) => {
                let known = self.subscriptions.entry(log.0).or_default();
                known.append(batch, &record, &self.logs, self.skew)
            }
            Err(error) => Err(error.to_string()),
        };
        self.judge(&format!("{log} at {}", batch.first), verdict);
    }

    /// A log's first kept offset is this now.
    pub(crate) fn trimmed(&mut self, log: LogId, first: u64) {
        if let Some(topic) = self.logs.topics.get_mut(&log.0) {
            let (before, newest) = (topic.first, topic.next());
            topic.first = before.max(first);
            let gone = before..first.max(before);
            let now = START + u64::try_from(self.begun.elapsed().as_micros()).unwrap();
            let alive =
                self.subscriptions.values().find_map(|known| known.extended(log.0, gone.clone(), now + self.skew));
            let verdict = match alive {
                Some(offset) => Err(format!("{offset} was taken while a claim gave it life")),
                None if !gone.is_empty() && first >= newest => Err("its newest batch was trimmed".to_owned()),
                None => Ok(()),
            };
            self.judge("trim of a topic", verdict);
        } else if let Some(known) = self.subscriptions.get_mut(&log.0) {
            let verdict = known.trimmed(first);
            self.judge("trim of a subscription", verdict);
        }
    }

    pub(crate) fn closed(&mut self, log: LogId) {
        if let Some(topic) = self.logs.topics.get_mut(&log.0) {
            topic.closed = true;
        } else if let Some(known) = self.subscriptions.get_mut(&log.0) {
            known.ended = true;
        }
    }

    /// The version of a subscription: how many records its log has had.
    pub(crate) fn version(&self, subscription: &Subscription) -> usize {
        self.subscriptions.get(&subscription.log.0).map_or(0, Subscribed::version)
    }

    /// The first record of a subscription's log that is kept.
    pub(crate) fn kept_from(&self, subscription: &Subscription) -> u64 {
        self.subscriptions.get(&subscription.log.0).map_or(0, |known| known.first)
    }

    fn of(&mut self, subscription: &Subscription) -> &mut Subscribed {
        self.subscriptions.entry(subscription.log.0).or_default()
    }

    /// A client is about to ask for something.
    pub(crate) fn will_acknowledge(&mut self, subscription: &Subscription, targets: &Targets) {
        let asked = &mut self.of(subscription).asked;
        match targets {
            Targets::Leased(leased) => leased.iter().for_each(|(at, fence)| asked.acknowledge.ask((at.0, fence.0))),
            Targets::Through(at) => asked.through.ask(at.0),
            Targets::Offsets(_) | Targets::Free(_) | Targets::Held(..) | Targets::Group(_) => {}
        }
    }

    pub(crate) fn will_release(&mut self, subscription: &Subscription, leased: &[(u64, u64)]) {
        self.of(subscription).asked.release.extend(leased);
    }

    pub(crate) fn will_extend(&mut self, subscription: &Subscription, leased: &[(u64, u64)]) {
        self.of(subscription).asked.extend.extend(leased);
    }

    pub(crate) fn will_seek(&mut self, subscription: &Subscription, to: u64) {
        self.of(subscription).asked.seek.ask(to);
    }

    pub(crate) fn will_purge(&mut self, subscription: &Subscription) {
        self.of(subscription).asked.purge = true;
    }

    /// A pull was answered that began at a version.
    pub(crate) fn pulled(&mut self, subscription: &Subscription, since: usize, deliveries: &[Delivery]) {
        let Some(known) = self.subscriptions.get_mut(&subscription.log.0) else { return };
        let verdict = known.pulled(since, deliveries, &self.logs);
        self.judge(&format!("pull of {}", subscription.name), verdict);
    }

    /// An acknowledgement was answered; none when the answer was lost.
    pub(crate) fn acknowledged(
        &mut self,
        subscription: &Subscription,
        since: usize,
        targets: &Targets,
        answer: Option<&Result<(), Error>>,
    ) {
        let known = self.of(subscription);
        let verdict = match answer {
            Some(Ok(())) => known.acknowledged(since, targets),
            // Part of it may be done.
            None | Some(Err(Error::OutcomeUnknown(_) | Error::LeaseSuperseded { .. })) => Ok(()),
            Some(Err(_)) => known.refused(targets),
        };
        self.judge(&format!("acknowledgement on {}", subscription.name), verdict);
    }

    /// A pull with a worker's fence was answered well.
    pub(crate) fn worked(&mut self, subscription: &Subscription, since: usize, fence: u64) {
        let verdict = self.of(subscription).worked(since, fence);
        self.judge(&format!("work on {}", subscription.name), verdict);
    }

    /// A seek was answered; none when the answer was lost.
    pub(crate) fn moved(
        &mut self,
        subscription: &Subscription,
        since: usize,
        to: u64,
        answer: Option<&Result<(), Error>>,
    ) {
        let known = self.of(subscription);
        let verdict = match answer {
            Some(Ok(())) => known.moved(since, to),
            None | Some(Err(Error::OutcomeUnknown(_))) => Ok(()),
            Some(Err(_)) => known.asked.seek.refuse(to),
        };
        self.judge(&format!("move of {}", subscription.name), verdict);
    }

    pub(crate) fn progress(&mut self, subscription: &Subscription, since: usize, progress: &Progress) {
        let Some(known) = self.subscriptions.get(&subscription.log.0) else { return };
        let verdict = known.progress(since, progress, &self.logs);
        self.judge(&format!("progress of {}", subscription.name), verdict);
    }

    pub(crate) fn statistics(&mut self, subscription: &Subscription, since: usize, statistics: &Statistics) {
        let verdict = self.of(subscription).statistics(since, statistics);
        self.judge(&format!("statistics of {}", subscription.name), verdict);
    }

    /// Retention trimmed a topic at most to what is older than this, in microseconds of wall time.
    pub(crate) fn trimmed_before(&mut self, name: &str, age: Duration, now: u64) {
        let cutoff = now.saturating_sub(u64::try_from(age.as_micros()).unwrap()) + self.skew;
        let young = self.logs.topics.values().filter(|topic| topic.topic.name.as_str() == name).find_map(|topic| {
            let gone = topic.entries.iter().take(usize::try_from(topic.first).unwrap());
            gone.clone().find(|entry| entry.at > cutoff).copied()
        });
        let verdict = young.map_or(Ok(()), |entry| Err(format!("{entry:?} was taken before {cutoff}")));
        self.judge("retention", verdict);
    }

    /// Whether all that stands in a subscription's topic is done with.
    pub(crate) fn is_through(&self, subscription: &Subscription, next: u64) -> bool {
        self.subscriptions.get(&subscription.log.0).is_some_and(|known| known.now().backlog(next) == 0)
    }
}
