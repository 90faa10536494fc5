//! Daily counters: how many messages each topic took on each day (UTC).
//!
//! A day that is over is closed into a document: what the topic's log had taken up to that day's end, out of the totals that its batches
//! carry. Whoever closes a day writes the same, so it may be repeated, broken off and done by many; a day's own count is the difference
//! from the closed day before it. Days are closed in order: by the first batch of a later day, by whoever asks, and before retention takes
//! any of their batches. The day of the newest batch is open and read from the log, until the topic is deleted.
//!
//! Days stay under the topic's name when the topic goes, and go with the project. A topic of the same name has another log, and so
//! another series.

use super::Broker;
use super::codec::document::DayEnd;
use super::codec::message::MessageBatch;
use super::documents::Stored;
use super::documents::keys::{DayKey, Keyed, Series};
use crate::domain::topic::Topic;
use crate::domain::{Day, Error, ProjectId, Resource, Result, Timestamp};
use crate::storage::{Key, LogId, Order, Position, Time};
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

impl Broker {
    /// How many messages a topic took on each of the newest `days_max` days on which it took any, newest first. A topic that bore the name
    /// before does not count. O(days kept) at most, usually O(`days_max`).
    ///
    /// # Errors
    /// [`Error::NotFound`] when the topic is gone, storage.
    pub async fn daily_messages(&self, topic: &Topic, days_max: usize) -> Result<Vec<(Day, u64)>> {
        let series = Series::of(topic);
        let Some((newest, mut end)) = self.open_day(&series).await? else {
            let there = self.inner.bounds(series.log).await?.is_some();
            return if there { Ok(Vec::new()) } else { Err(Error::NotFound(Resource::Topic)) };
        };
        let (mut day, mut days, mut after) = (newest, Vec::new(), None);
        while days.len() < days_max {
            let page = self.closed_days(&series, after.as_ref()).await?;
            after = page.last().map(|(key, _)| key.key());
            let last = page.is_empty();
            for (key, closed) in page.into_iter().filter(|(key, _)| key.day < newest) {
                days.push((day, end.messages.saturating_sub(closed.messages)));
                (day, end) = (key.day, closed);
            }
            if last {
                days.push((day, end.messages));
                break;
            }
        }
        days.truncate(days_max);
        Ok(days)
    }

    /// How many messages all topics of a project took on each of the newest `days_max` days within a period on which they took any, newest
    /// first. Topics that are gone count. O(topics and closed days of the project).
    pub async fn daily_messages_of_project(
        &self,
        project: ProjectId,
        within: RangeInclusive<Day>,
        days_max: usize,
    ) -> Result<Vec<(Day, u64)>> {
        let mut open = HashMap::new();
        for topic in self.all::<Topic>(project).await? {
            let series = Series::of(&topic);
            open.extend(self.open_day(&series).await?.map(|open| (series.log, open)));
        }
        let mut sums = BTreeMap::<Day, u64>::new();
        let mut ends = HashMap::<LogId, DayEnd>::new();
        let mut add = |log, day, end: DayEnd| {
            let before = ends.insert(log, end).unwrap_or_default();
            if within.contains(&day) {
                let sum = sums.entry(day).or_default();
                *sum = sum.saturating_add(end.messages.saturating_sub(before.messages));
            }
        };
        let mut damaged = Ok(());
        let prefix = Key::new(DayKey::prefix(project));
        let each = |key: Key, stored: Stored<DayEnd>| match DayKey::parse(&key) {
            Some(DayKey { series, day }) => {
                let closed = open.get(&series.log).is_none_or(|(open, _)| day < *open);
                if closed {
                    add(series.log, day, *stored.record);
                }
            }
            None => damaged = Err(no_day(&key)),
        };
        self.documents().scan(&prefix, Order::Ascending, each).await?;
        damaged?;
        open.into_iter().for_each(|(log, (day, end))| add(log, day, end));
        Ok(sums.into_iter().rev().take(days_max).collect())
    }

    /// Has a batch that is the first one of its day close the days before it, beside the publishing. Else costs a comparison.
    pub(super) fn turn_day(&self, series: &Series, before: Timestamp, at: Timestamp) {
        if before == Timestamp::EPOCH || before.day() >= at.day() {
            return;
        }
        let (broker, series) = (self.clone(), series.clone());
        tokio::spawn(async move {
            if let Err(error) = broker.close_days(&series).await {
                // The next day's first batch, retention or whoever asks makes up for it.
                tracing::warn!(topic = %series.topic, %error, "the messages of a day are not counted yet");
            }
        });
    }

    /// Closes the days of a topic before that of its newest batch, as far as they are not. One read for each of them.
    pub(super) async fn close_days(&self, series: &Series) -> Result<()> {
        let newest = self.documents().last::<DayEnd>(&Key::new(series.prefix())).await?;
        let newest = newest.map(|(key, _)| DayKey::parse(&key).ok_or_else(|| no_day(&key))).transpose()?;
        let from = newest.map_or(Day(0), |newest| newest.day.next());
        let Some(mut batch) = self.first_batch_since(series.log, from).await? else { return Ok(()) };
        while let Some(later) = self.first_batch_since(series.log, batch.at.day().next()).await? {
            self.close_day(series, batch.at.day(), before(&later)?).await?;
            batch = later;
        }
        Ok(())
    }

    /// Closes days before retention takes some of their batches.
    pub(super) async fn close_days_before_trim(&self, series: &Series) -> Result<()> {
        go_on_if_hopeless(series, self.close_days(series).await)
    }

    /// Closes all days of a topic that is being deleted, unless its project is, too.
    pub(super) async fn close_series(&self, series: &Series) -> Result<()> {
        let close = async {
            match self.require_project(series.project).await {
                Err(Error::NotFound(_)) => return Ok(()),
                project => project?,
            }
            match self.open_day(series).await? {
                Some((day, end)) => self.close_day(series, day, end).await,
                None => Ok(()),
            }
        };
        go_on_if_hopeless(series, close.await)
    }

    /// Removes the days of all topics of a project.
    pub(super) async fn remove_days(&self, project: ProjectId) -> Result<()> {
        let prefix = Key::new(DayKey::prefix(project));
        loop {
            let page = self.documents().page::<DayEnd>(&prefix, None, Order::Ascending).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, stored) in page {
                let day = DayKey::parse(&key).ok_or_else(|| no_day(&key))?;
                self.documents().delete(&day, stored.version).await?;
            }
        }
    }

    /// The day of a topic's newest batch with what the log has taken so far, after the days before it were closed.
    async fn open_day(&self, series: &Series) -> Result<Option<(Day, DayEnd)>> {
        let Some(newest) = self.batch_at(series.log, Position::Tail).await? else { return Ok(None) };
        self.close_days(series).await?;
        let MessageBatch { at, totals, .. } = newest;
        Ok(Some((at.day(), DayEnd { messages: totals.messages, bytes: totals.bytes })))
    }

    /// Writes a day down unless somebody has. Nothing stays behind in a project that is gone.
    async fn close_day(&self, series: &Series, day: Day, end: DayEnd) -> Result<()> {
        let key = DayKey { series: series.clone(), day };
        let written = self.documents().put_new(&key, &end).await?;
        // Looked at after writing: either this sees that the project goes, or who removes the project sees the day.
        let late = written && matches!(self.require_project(series.project).await, Err(Error::NotFound(_)));
        if late && let Some(stored) = self.documents().fetch(&key).await? {
            self.documents().delete(&key, stored.version).await?;
        }
        Ok(())
    }

    /// Closed days of a topic, newest first; some of them.
    async fn closed_days(&self, series: &Series, after: Option<&Key>) -> Result<Vec<(DayKey, DayEnd)>> {
        let page = self.documents().page::<DayEnd>(&Key::new(series.prefix()), after, Order::Descending).await?;
        page.into_iter()
            .map(|(key, stored)| Ok((DayKey::parse(&key).ok_or_else(|| no_day(&key))?, *stored.record)))
            .collect()
    }

    async fn first_batch_since(&self, log: LogId, day: Day) -> Result<Option<MessageBatch>> {
        self.batch_at(log, Position::Time(Time(day.start().0))).await
    }
}

/// What the log had taken before a batch.
fn before(batch: &MessageBatch) -> Result<DayEnd> {
    let mut bytes = batch.totals.bytes;
    for header in batch.headers(batch.first..batch.next()) {
        bytes = bytes.saturating_sub(u64::from(header?.text_bytes));
    }
    Ok(DayEnd { messages: batch.totals.messages.saturating_sub(u64::from(batch.count)), bytes })
}

/// Counts must not keep from going what frees room or cannot be read anyway; what may come to a better end later is tried again.
fn go_on_if_hopeless(series: &Series, counted: Result<()>) -> Result<()> {
    match counted {
        Err(error @ (Error::Damaged(_) | Error::StoreFull)) => {
            tracing::warn!(topic = %series.topic, %error, "messages go without being counted for their day");
            Ok(())
        }
        counted => counted,
    }
}

fn no_day(key: &Key) -> Error {
    Error::Damaged(format!("{key} is no day's key"))
}

#[cfg(test)]
#[path = "daily_tests.rs"]
mod tests;
