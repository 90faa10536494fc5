//! The metrics of one pushed subscription. Their labels go with it, and only so many subscriptions have labels of their own.

use super::endpoint::CircuitState;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Subscriptions with labels of their own; all others share one set.
const LABELLED_MAX: usize = 1_000;
/// The labels of those.
const OTHERS: [&str; 2] = ["", "others"];

/// Makes figures.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    metrics: Arc<Metrics>,
    given: Arc<AtomicUsize>,
}

/// The figures of one subscription as long as it is pushed.
#[derive(Debug)]
pub(super) struct Figures {
    labels: Labels,
    own: Option<[String; 2]>,
}

impl Labels {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, given: Arc::default() }
    }

    /// Figures for a subscription that begins to be pushed.
    pub(super) fn figures(&self, project: &str, subscription: &str) -> Figures {
        let first = self.given.fetch_add(1, Ordering::Relaxed) < LABELLED_MAX;
        let own = first.then(|| [project.to_owned(), subscription.to_owned()]);
        self.metrics.push.subscriptions.inc();
        Figures { labels: self.clone(), own }
    }
}

impl Figures {
    fn values(&self) -> [&str; 2] {
        self.own.as_ref().map_or(OTHERS, |[project, subscription]| [project, subscription])
    }

    /// Notes an attempt: its status (0 for no answer), how many messages it delivered, and how long it took.
    pub(super) fn attempt(&self, status: u16, delivered: Option<usize>, took: Duration) {
        let (metrics, values) = (&self.labels.metrics, self.values());
        match delivered {
            Some(messages) => metrics.push.sent.with_label_values(&values).inc_by(messages as u64),
            None => metrics.push.failed.with_label_values(&values).inc(),
        }
        metrics.push.last_status.with_label_values(&values).set(i64::from(status));
        metrics.push.last_seconds.with_label_values(&values).set(took.as_secs_f64());
        metrics.push.seconds.observe(took.as_secs_f64());
    }

    /// Shows the endpoint's circuit.
    pub(super) fn circuit(&self, state: CircuitState) {
        let value = match state {
            CircuitState::Closed => 0,
            CircuitState::Probing => 1,
            CircuitState::Open => 2,
        };
        self.labels.metrics.push.circuit.with_label_values(&self.values()).set(value);
    }

    /// Counts a delivery as under way as long as the answer lives.
    pub(super) fn under_way(&self) -> UnderWay {
        self.labels.metrics.push.in_flight.inc();
        UnderWay(Arc::clone(&self.labels.metrics))
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        let metrics = &self.labels.metrics;
        self.labels.given.fetch_sub(1, Ordering::Relaxed);
        metrics.push.subscriptions.dec();
        if self.own.is_some() {
            let values = self.values();
            // Errors mean that there was nothing to show yet.
            drop(metrics.push.sent.remove_label_values(&values));
            drop(metrics.push.failed.remove_label_values(&values));
            drop(metrics.push.last_status.remove_label_values(&values));
            drop(metrics.push.last_seconds.remove_label_values(&values));
            drop(metrics.push.circuit.remove_label_values(&values));
        }
    }
}

/// A delivery under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Metrics>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.push.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_go_with_their_subscription() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let labels = Labels::new(Arc::clone(&metrics));
        let all: Vec<_> = (0..LABELLED_MAX + 50).map(|n| labels.figures("p", &format!("s{n}"))).collect();
        all.iter().for_each(|figures| figures.attempt(200, Some(1), Duration::from_millis(1)));
        let lines = |text: &str| metrics.render().unwrap().lines().filter(|line| line.starts_with(text)).count();
        assert_eq!(lines("angelia_push_sent_messages_total{"), LABELLED_MAX + 1);
        assert_eq!(metrics.push.sent.with_label_values(&OTHERS).get(), 50);
        assert_eq!(metrics.push.subscriptions.get(), 1_050);
        drop(all);
        assert_eq!((lines("angelia_push_sent_messages_total{"), metrics.push.subscriptions.get()), (1, 0));
        labels.figures("p", "s").attempt(0, None, Duration::ZERO);
        assert_eq!(lines("angelia_push_last_status{"), 1);
    }
}
