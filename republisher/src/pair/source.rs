//! Pulling, by the subscription's own way to acknowledge.
//!
//! *Cumulative*: a pull begins where the last acknowledgement ended and gives the same again until then, so there is one window at a
//! time. *Individual*: each pull leases the next messages, so one window is fetched while another is published. There a lease that
//! nobody knows of, of a killed process or of an answer that was lost, hides messages that come before those of the next pull; to keep
//! the order, such leases are waited for.

use super::acknowledge::Unsettled;
use super::{Ending, Pair};
use crate::ams::{AckMode, Failure, Kind, Source};
use crate::clock;
use crate::retry::Backoff;
use crate::window::{Identity, Maker, Window};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The most messages that are remembered as published; beyond, all are forgotten, which makes duplicates.
const REMEMBERED_MAX: usize = 200_000;

/// How much longer than its deadline a lease may live: nodes whose clocks differ wait for each other.
const LEASE_SLACK: Duration = Duration::from_secs(10);

/// Between looks at messages that an unknown lease may hide.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where a pair is in its source.
pub(super) struct Reading {
    source: Source,
    /// The source's topic, if it is also where the target is: nothing may go there.
    own_topic: Option<String>,
    count: usize,
    /// What was published and not acknowledged, and since when.
    published: HashMap<Identity, Instant>,
    /// Since when there may be leases that nobody knows of.
    unknown_leases: Option<Instant>,
    backoff: Backoff,
}

impl Reading {
    /// Looks at the subscription.
    pub(super) async fn begin(pair: &Pair) -> Result<Self, Ending> {
        let mut backoff = pair.backoff();
        let source = loop {
            match pair.source.source(&pair.plan.subscription).await {
                Ok(source) => break source,
                Err(failure) => pair.pause("show", &pair.source, &failure, &mut backoff).await,
            }
            if pair.stop.is_cancelled() {
                return Err(Ending::Asked);
            }
        };
        pair.metrics.problem.set(0);
        tracing::info!(pair = pair.plan.name, topic = source.topic, mode = ?source.mode, "reading");
        let plan = &pair.plan;
        let here = plan.source.url == plan.target.url && plan.source_project == plan.target_project;
        let own_topic = source.topic.rsplit('/').next().filter(|_| here).map(str::to_owned);
        let unknown_leases = (source.mode == AckMode::Individual).then(clock::now);
        // With a rate, a window is what may go in a second: its acknowledgement should come before the deadline.
        let rate = usize::try_from(plan.rate).unwrap_or(usize::MAX);
        let count = if rate > 0 { plan.pull_messages.min(rate) } else { plan.pull_messages };
        Ok(Self { source, own_topic, count, published: HashMap::new(), unknown_leases, backoff: pair.backoff() })
    }

    pub(super) fn mode(&self) -> AckMode {
        self.source.mode
    }

    /// The next window that holds something; waits for it.
    pub(super) async fn next(&mut self, pair: &Pair) -> Result<Window, Ending> {
        loop {
            let pulled = tokio::select! {
                pulled = self.pull(pair) => pulled,
                () = pair.stop.cancelled() => return Err(Ending::Asked),
            };
            if let Some(window) = self.taken(pair, pulled).await {
                if !window.entries.is_empty() || window.halt.is_some() {
                    return Ok(window);
                }
                pair.sleep(pair.plan.poll).await;
            }
            if pair.stop.is_cancelled() {
                return Err(Ending::Asked);
            }
        }
    }

    /// One pull ahead, where that is possible. Not while the order asks for caution.
    pub(super) async fn ahead(&self, pair: &Pair, present: &Window) -> Option<Result<Window, Failure>> {
        let may = self.mode() == AckMode::Individual && self.unknown_leases.is_none() && present.halt.is_none();
        if !may || pair.stop.is_cancelled() {
            return None;
        }
        Some(self.pull(pair).await)
    }

    /// Takes in what came of a pull ahead.
    pub(super) async fn fetched(&mut self, pair: &Pair, fetched: Option<Result<Window, Failure>>) -> Option<Window> {
        self.taken(pair, fetched?).await.filter(|window| !window.entries.is_empty() || window.halt.is_some())
    }

    /// Forgets what is acknowledged now, and what did not come again for so long that its acknowledgement must have been heard:
    /// who goes back on purpose shall get it again.
    pub(super) fn settled(&mut self, window: &Window) {
        self.backoff = self.backoff.anew();
        if self.mode() == AckMode::Cumulative {
            self.published.clear();
        } else if !self.published.is_empty() {
            for entry in &window.entries {
                self.published.remove(&entry.identity);
            }
            let longest = self.source.deadline * 2 + Duration::from_secs(60);
            self.published.retain(|_, since| since.elapsed() < longest);
        }
    }

    /// Remembers what was published and not acknowledged, and waits a little.
    pub(super) async fn remember(&mut self, pair: &Pair, (published, failure): Unsettled) {
        if self.published.len() + published.len() > REMEMBERED_MAX {
            self.published.clear();
        }
        let now = clock::now();
        self.published.extend(published.into_iter().map(|identity| (identity, now)));
        if let Some(failure) = failure {
            pair.pause("acknowledge", &pair.source, &failure, &mut self.backoff).await;
        }
    }

    async fn pull(&self, pair: &Pair) -> Result<Window, Failure> {
        let subscription = &pair.plan.subscription;
        let dense_from = match self.unknown_leases {
            Some(_) => Some(pair.source.offsets(subscription).await?.current),
            None => None,
        };
        let answer: Bytes = pair.source.pull(subscription, self.count).await?;
        let own_topic = self.own_topic.as_deref();
        let maker = Maker { plan: &pair.plan, own_topic, dense_from, published: &self.published };
        // Long answers take milliseconds to read: others get this thread's work meanwhile.
        let made = tokio::task::block_in_place(|| maker.window(&answer));
        let odd = |error| format!("the answer of a pull cannot be read: {error}");
        made.map_err(|error| Failure { kind: Kind::Problem(200), words: odd(error) })
    }

    /// Counts a window, or deals with a failure; none if there is nothing to go on with.
    async fn taken(&mut self, pair: &Pair, pulled: Result<Window, Failure>) -> Option<Window> {
        match pulled {
            Ok(window) => {
                self.backoff = self.backoff.anew();
                self.grow(pair);
                self.leave_gap(pair, &window).await;
                pair.metrics.received.inc_by(window.entries.len() as u64);
                pair.metrics.unmatched.inc_by(window.unmatched as u64);
                pair.metrics.repeated.inc_by(window.known as u64);
                pair.metrics.problem.set(0);
                Some(window)
            }
            Err(failure) => {
                if self.mode() == AckMode::Individual {
                    self.unknown_leases = Some(clock::now());
                }
                if failure.kind == Kind::TooLarge && self.count > 1 {
                    self.count = self.count.div_ceil(2);
                } else {
                    pair.pause("pull", &pair.source, &failure, &mut self.backoff).await;
                }
                None
            }
        }
    }

    /// What comes after a gap is given back until it is known that no lease hides something before it.
    async fn leave_gap(&mut self, pair: &Pair, window: &Window) {
        let Some(since) = self.unknown_leases else { return };
        if window.halt.is_none() && !window.untouched.is_empty() {
            let ids: Vec<&str> = window.untouched.iter().map(|id| &**id).collect();
            pair.give_back(self.mode(), &ids).await;
            if window.entries.is_empty() {
                pair.sleep(LOOK_AGAIN).await;
            }
        }
        if since.elapsed() > self.source.deadline + LEASE_SLACK {
            self.unknown_leases = None;
        }
    }

    /// After large answers made it small, the count comes back by and by.
    fn grow(&mut self, pair: &Pair) {
        let rate = if pair.plan.rate > 0 { pair.plan.rate as usize } else { usize::MAX };
        self.count = (self.count + self.count / 8 + 1).min(pair.plan.pull_messages).min(rate);
    }
}
