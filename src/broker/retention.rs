//! Retention: what a topic keeps no longer goes, acknowledged or not, and gives its space back.
//!
//! Takes nothing while the clock is in doubt, never a message whose lifetime a claim extended, and never a topic's newest batch, which
//! holds the topic's totals. What goes unacknowledged is an event of each subscription concerned, a metric and a log line.

use super::documents::failed;
use super::documents::keys::Series;
use super::{Broker, PageRequest};
use crate::domain::subscription::{AckMode, Command, Reply};
use crate::domain::topic::Topic;
use crate::domain::{Error, Offset, Result, Timestamp};
use crate::storage::{self, Key, LogId, Position, Read, ReadLimit, Time, Version};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

/// Where the last time that was agreed on is kept, through restarts.
const CLOCK_KEY: &str = "retention/clock";
const CLOCK_FORM: u8 = 1;
/// How often it is written.
const PERSIST_EVERY: Duration = Duration::from_secs(60);
/// After a restart, a clock this far ahead of the last time agreed on is doubted: a machine is rarely off so long, a
/// clock set wrong is often off by more.
const AHEAD_MAX: Duration = Duration::from_secs(30 * 86_400);
/// A clock that was doubted is believed again after it has run evenly for so long.
const DOUBT: Duration = Duration::from_secs(3_600);
/// A topic is looked through for age again after this part of its age, within these bounds.
const AGE_PARTS: u32 = 100;
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(600);

const MANY_BATCHES: ReadLimit = ReadLimit { bytes: 4 << 20, batches: 4_096 };

/// What retention remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Retention {
    clock: ClockWatch,
    /// When a topic may have messages that are too old.
    due: HashMap<LogId, Timestamp>,
}

impl Retention {
    /// Looks at the clock alone, when the broker starts: from here on a jump is told from time that passed.
    pub(super) async fn begin(&mut self, broker: &Broker) -> Result<()> {
        self.clock.is_sure(broker).await.map(drop)
    }

    /// Looks at all topics. A topic that fails does not keep the others from their turn.
    pub(super) async fn run(&mut self, broker: &Broker) -> Result<()> {
        if !self.clock.is_sure(broker).await? || !broker.is_fit() {
            return Ok(());
        }
        let mut seen = HashMap::new();
        for project in broker.projects().await? {
            let topics = broker.topics(project.id, PageRequest::default(), &|_| true).await?;
            for topic in topics.items {
                let log = LogId(topic.log.0);
                let due = self.due.get(&log).copied().unwrap_or_default();
                match look_at(broker, &topic, due).await {
                    Ok(due) => {
                        seen.insert(log, due);
                    }
                    Err(error) => tracing::warn!(topic = %topic.name, %error, "retention failed"),
                }
            }
        }
        self.due = seen;
        Ok(())
    }
}

/// Takes what a topic keeps no longer; answers when to look for old messages again.
async fn look_at(broker: &Broker, topic: &Topic, due: Timestamp) -> Result<Timestamp> {
    let (log, now) = (LogId(topic.log.0), broker.now());
    let Some(bounds) = broker.inner.bounds(log).await? else { return Ok(due) };
    let too_large = topic.retention.bytes.is_some_and(|most| bounds.bytes > most);
    if now < due && !too_large {
        return Ok(due);
    }
    let age = topic.retention.age;
    let again = now.plus((age / AGE_PARTS).clamp(LOOK_MIN, LOOK_MAX));
    let Some(newest) = broker.batch_at(log, Position::Tail).await? else { return Ok(now.plus(age).max(again)) };
    let cutoff = now.0.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    let young = broker.batch_at(log, Position::Time(Time(cutoff))).await?;
    if young.is_none() && broker.inner.bounds(log).await?.is_none() {
        // It was closed meanwhile: there is nothing young because there is nothing at all.
        return Ok(due);
    }
    let mut before = young.map_or(newest.first, |batch| batch.first).min(newest.first);
    if let Some(most) = topic.retention.bytes.filter(|_| too_large) {
        before = before.max(beyond(broker, log, Offset(bounds.first.0), bounds.bytes - most).await?).min(newest.first);
    }
    let first = Offset(bounds.first.0);
    if before > first {
        take(broker, topic, before).await?;
    }
    let oldest = broker.batch_at(log, Position::Offset(storage::Offset(before.max(first).0))).await?;
    Ok(oldest.map_or(again, |batch| batch.at.plus(age).max(again)))
}

/// Trims a topic, as far as no extended lifetime forbids it, and has its subscriptions note what they lost.
async fn take(broker: &Broker, topic: &Topic, before: Offset) -> Result<()> {
    let mut before = before;
    let subscriptions = broker.subscriptions_of_topic(topic.project, &topic.name).await?;
    for subscription in subscriptions.iter().filter(|subscription| subscription.settings.mode == AckMode::Individual) {
        // Noted before it is done: a lease that comes now can extend no life of what goes.
        let actor = broker.subscription_actor(subscription)?;
        if let Reply::Forgotten(kept) = actor.command(broker, Command::Forget { before }).await?.reply {
            before = before.min(kept);
        }
    }
    // What a day took is known from its batches until it is closed.
    broker.close_days_before_trim(&Series::of(topic)).await?;
    broker.inner.trim(LogId(topic.log.0), storage::Offset(before.0)).await?;
    for subscription in subscriptions {
        let lost = broker.subscription_actor(&subscription)?.command(broker, Command::Expire).await;
        if let Err(error) = lost {
            // Its next command notes it.
            tracing::debug!(subscription = %subscription.name, %error, "what retention took is not noted yet");
        }
    }
    Ok(())
}

/// The offset from which on the log is at least `excess` bytes smaller: a batch's beginning.
async fn beyond(broker: &Broker, log: LogId, first: Offset, excess: u64) -> Result<Offset> {
    let (mut at, mut left) = (first, excess);
    loop {
        let from = Position::Offset(storage::Offset(at.0));
        let Read::Batches(batches) = broker.inner.read(log, from, MANY_BATCHES).await? else { return Ok(at) };
        if batches.is_empty() {
            return Ok(at);
        }
        for batch in batches {
            if left == 0 {
                return Ok(at);
            }
            at = Offset(batch.next().0);
            left = left.saturating_sub(batch.payload.len() as u64);
        }
    }
}

/// Compares the wall clock with the monotonic one, and with the last time that was agreed on before a restart.
#[derive(Debug, Default)]
struct ClockWatch {
    /// Wall and monotonic time of the last look.
    last: Option<(Timestamp, Duration)>,
    /// Until when, in monotonic time, the clock is doubted.
    doubted_until: Option<Duration>,
    persisted: Option<(Timestamp, Version)>,
}

impl ClockWatch {
    /// Whether the wall clock can be believed; persists it while it can.
    async fn is_sure(&mut self, broker: &Broker) -> Result<bool> {
        let (wall, monotonic) = (broker.now(), broker.inner.clock.monotonic());
        let skew = broker.inner.options.clock_skew_max;
        let agrees = match self.last {
            Some((last_wall, last_monotonic)) => {
                let expected = last_wall.plus(monotonic.saturating_sub(last_monotonic));
                wall.since(expected).max(expected.since(wall)) <= skew
            }
            None => {
                self.persisted = load(broker).await?;
                let persisted = self.persisted.map_or(wall, |(at, _)| at);
                persisted.since(wall) <= skew && wall.since(persisted) <= AHEAD_MAX
            }
        };
        self.last = Some((wall, monotonic));
        if !agrees {
            tracing::error!(wall = wall.0, "the clock jumped: retention holds until it has run evenly for an hour");
            self.doubted_until = Some(monotonic + DOUBT);
        }
        let sure = self.doubted_until.is_none_or(|until| until <= monotonic);
        broker.inner.metrics.retention_held.set(i64::from(!sure));
        if sure {
            self.doubted_until = None;
            self.persist(broker, wall).await?;
        }
        Ok(sure)
    }

    async fn persist(&mut self, broker: &Broker, wall: Timestamp) -> Result<()> {
        let (at, version) = self.persisted.unwrap_or((Timestamp::EPOCH, Version::ABSENT));
        if wall.since(at) < PERSIST_EVERY && at <= wall {
            return Ok(());
        }
        let mut value = vec![CLOCK_FORM];
        value.extend(wall.0.to_le_bytes());
        // Another node, or an earlier try, may have written a time just as good.
        match broker.inner.store.put(&Key::new(CLOCK_KEY), Bytes::from(value), version).await {
            Ok(storage::Put::Done(version)) => self.persisted = Some((wall, version)),
            Ok(storage::Put::Conflict(_)) => self.persisted = load(broker).await?,
            Err(error) if error.is_unknown() => self.persisted = load(broker).await?,
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }
}

async fn load(broker: &Broker) -> Result<Option<(Timestamp, Version)>> {
    let Some(document) = broker.inner.store.get(&Key::new(CLOCK_KEY)).await.map_err(failed)? else { return Ok(None) };
    match document.value.split_first() {
        Some((&CLOCK_FORM, time)) if time.len() == 8 => {
            let micros = time.iter().rev().fold(0, |micros, byte| micros << 8 | u64::from(*byte));
            Ok(Some((Timestamp(micros), document.version)))
        }
        _ => Err(Error::Damaged(format!("the document {CLOCK_KEY}"))),
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
