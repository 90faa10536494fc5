//! Every metric name of the republisher, and the handles of a pair.

use crate::clock;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// All metrics of the process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    received: IntCounterVec,
    published: IntCounterVec,
    acknowledged: IntCounterVec,
    unmatched: IntCounterVec,
    repeated: IntCounterVec,
    failed: IntCounterVec,
    lag: IntGaugeVec,
    last_error: GaugeVec,
    problem: IntGaugeVec,
    halted: IntGaugeVec,
}

/// The metrics of one pair.
#[derive(Clone, Debug)]
pub(crate) struct PairMetrics {
    pair: String,
    pub(crate) received: IntCounter,
    pub(crate) published: IntCounter,
    pub(crate) acknowledged: IntCounter,
    pub(crate) unmatched: IntCounter,
    pub(crate) repeated: IntCounter,
    failed: IntCounterVec,
    pub(crate) lag: IntGauge,
    last_error: Gauge,
    pub(crate) problem: IntGauge,
    pub(crate) halted: IntGauge,
}

impl Metrics {
    /// Metrics without a pair yet.
    ///
    /// # Errors
    /// When two have one name.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(format!("republisher_{name}"), help), labels)?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGaugeVec::new(Opts::new(format!("republisher_{name}"), help), &["pair"])?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let about = "Time of the last failed request, in seconds since 1970; 0 for none.";
        let last_error = GaugeVec::new(Opts::new("republisher_last_error_timestamp_seconds", about), &["pair"])?;
        registry.register(Box::new(last_error.clone()))?;
        Ok(Self {
            received: counter("received_messages_total", "Messages that the source gave out.", &["pair"])?,
            published: counter("published_messages_total", "Messages that a target has answered to keep.", &["pair"])?,
            acknowledged: counter("acknowledged_messages_total", "Messages acknowledged at the source.", &["pair"])?,
            unmatched: counter("unmatched_messages_total", "Messages that no rule took.", &["pair"])?,
            repeated: counter(
                "repeated_messages_total",
                "Messages that came again after they were published; they were acknowledged only.",
                &["pair"],
            )?,
            failed: counter(
                "failed_requests_total",
                "Requests without success, by operation.",
                &["pair", "operation"],
            )?,
            lag: gauge("lag_messages", "Messages that wait at the source.")?,
            problem: gauge("problem", "1 while somebody must change something before it goes on.")?,
            halted: gauge("halted", "1 when a message that no rule takes has ended the pair.")?,
            last_error,
            registry,
        })
    }

    /// The handles of a pair, all of them visible at once.
    pub(crate) fn pair(&self, name: &str) -> PairMetrics {
        let label = [name];
        for operation in ["pull", "publish", "acknowledge"] {
            drop(self.failed.with_label_values(&[name, operation]));
        }
        PairMetrics {
            pair: name.to_owned(),
            received: self.received.with_label_values(&label),
            published: self.published.with_label_values(&label),
            acknowledged: self.acknowledged.with_label_values(&label),
            unmatched: self.unmatched.with_label_values(&label),
            repeated: self.repeated.with_label_values(&label),
            failed: self.failed.clone(),
            lag: self.lag.with_label_values(&label),
            last_error: self.last_error.with_label_values(&label),
            problem: self.problem.with_label_values(&label),
            halted: self.halted.with_label_values(&label),
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a metric cannot be written down.
    pub(crate) fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl PairMetrics {
    /// Counts a request without success, now.
    pub(crate) fn fail(&self, operation: &str) {
        self.failed.with_label_values(&[self.pair.as_str(), operation]).inc();
        self.last_error.set(clock::unix_seconds());
    }

    /// What keeps the pair from its work, if anything.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.halted.get() == 1 {
            Some(format!("{}: halted by a message that no rule takes", self.pair))
        } else if self.problem.get() == 1 {
            Some(format!("{}: refused; somebody must change something (see the log)", self.pair))
        } else {
            None
        }
    }
}
