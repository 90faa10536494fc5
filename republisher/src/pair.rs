//! The work of one pair: pull, publish, acknowledge; again and again, until it is told to stop.
//!
//! Promises: a message is acknowledged only after its publish was answered; messages reach each topic in the order of the source,
//! one request at a time; whatever fails is tried again for ever. What was published but could not be acknowledged is remembered, so
//! that it is not published again when it comes again; a restart forgets it, which makes duplicates, never a loss.

mod acknowledge;
mod publish;
mod source;

use crate::ams::{Client, Failure, Kind};
use crate::config::{PairPlan, Patience};
use crate::metrics::PairMetrics;
use crate::retry::{Backoff, jittered};
use crate::window::Window;
use source::Reading;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A pair at work.
pub(crate) struct Pair {
    plan: PairPlan,
    patience: Patience,
    source: Client,
    target: Client,
    metrics: PairMetrics,
    stop: CancellationToken,
}

/// Why a pair ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It was told to.
    Asked,
    /// A message must not be passed over.
    Halted(String),
}

/// How often the lag is looked at.
const LAG_EVERY: Duration = Duration::from_secs(5);

impl Pair {
    /// Prepares both sides.
    ///
    /// # Errors
    /// A sentence, when a certificate or token cannot be read.
    pub(crate) fn new(
        plan: PairPlan,
        patience: Patience,
        metrics: PairMetrics,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let source = Client::new(&plan.source, &plan.source_project)?;
        let target = Client::new(&plan.target, &plan.target_project)?;
        Ok(Self { plan, patience, source, target, metrics, stop })
    }

    /// Works until it is told to stop, or must halt.
    pub(crate) async fn run(self) -> Ending {
        let ending = tokio::select! {
            biased;
            ending = self.work() => ending,
            () = self.watch_lag() => Ending::Asked,
        };
        match &ending {
            Ending::Asked => info!(pair = self.plan.name, "stopped"),
            Ending::Halted(why) => {
                self.metrics.halted.set(1);
                error!(pair = self.plan.name, "halted: {why}");
            }
        }
        ending
    }

    async fn work(&self) -> Ending {
        let mut reading = match Reading::begin(self).await {
            Ok(reading) => reading,
            Err(ending) => return ending,
        };
        let mut ahead = None;
        loop {
            let window = match ahead.take() {
                Some(window) => window,
                None => match reading.next(self).await {
                    Ok(window) => window,
                    Err(ending) => return ending,
                },
            };
            // Where messages are leased one by one, the next are fetched while these are published.
            let (settled, fetched) = tokio::join!(self.settle(&window, reading.mode()), reading.ahead(self, &window));
            ahead = reading.fetched(self, fetched).await;
            let halted = window.halt.as_ref().filter(|_| settled.is_ok());
            match settled {
                Ok(()) => reading.settled(&window),
                Err(unsettled) => reading.remember(self, unsettled).await,
            }
            if halted.is_some() || self.stop.is_cancelled() {
                let untouched = window.untouched.iter().filter(|_| window.halt.is_some());
                let mut left: Vec<&str> = untouched.map(|id| &**id).collect();
                left.extend(ahead.iter().flat_map(Window::ack_ids));
                self.give_back(reading.mode(), &left).await;
                return halted.map_or(Ending::Asked, |why| Ending::Halted(why.clone()));
            }
        }
    }

    /// Tells of a failure and waits before the next try. Ends early when told to stop.
    async fn pause(&self, operation: &str, client: &Client, failure: &Failure, backoff: &mut Backoff) {
        self.metrics.fail(operation);
        let wait = match failure.kind {
            Kind::Passing(asked) => backoff.next(asked),
            Kind::Problem(_) | Kind::TooLarge => jittered(self.patience.problem),
        };
        let (pair, seconds) = (self.plan.name.as_str(), wait.as_secs_f64());
        if let Kind::Passing(_) = failure.kind {
            warn!(pair, operation, "{failure}; again in {seconds:.1} s");
        } else {
            self.metrics.problem.set(1);
            error!(pair, operation, "{failure}; this does not pass by itself; again in {seconds:.1} s");
        }
        self.sleep(wait).await;
        if failure.is(401) {
            client.refresh_token();
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.patience.longest)
    }

    /// Waits, but no longer than until it is told to stop.
    async fn sleep(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Keeps the lag up to date; never ends. A failure is left to those who work.
    async fn watch_lag(&self) {
        loop {
            if let Ok(offsets) = self.source.offsets(&self.plan.subscription).await {
                let lag = offsets.max.saturating_sub(offsets.current);
                self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
            }
            tokio::time::sleep(LAG_EVERY).await;
        }
    }
}
