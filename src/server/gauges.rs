//! The gauges that are filled when somebody reads them: the store, the largest backlogs, the process itself.

use super::engine::{Engine, signed};
use super::foundation::Foundation;
use crate::api::ops::Service;
use crate::broker::{Broker, PageRequest};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Subscriptions that get labels of their own: the ones with the largest backlogs.
const LABELLED: usize = 100;
/// Backlogs are looked at again after this.
const BACKLOG_AGE: Duration = Duration::from_secs(5);
/// Longest time spent looking at backlogs for one reading; what is left is not shown.
const BACKLOG_TIME: Duration = Duration::from_secs(2);

/// Fills gauges.
#[derive(Debug)]
pub(super) struct Gauges {
    metrics: Arc<Metrics>,
    engine: Arc<Engine>,
    broker: Broker,
    /// When backlogs were last looked at, in monotonic time.
    looked: Mutex<Option<Duration>>,
}

/// One subscription's backlog.
struct Backlog {
    messages: u64,
    age_seconds: Option<f64>,
    project: String,
    subscription: String,
}

impl Gauges {
    pub(super) fn new(metrics: Arc<Metrics>, foundation: &Foundation) -> Self {
        let Foundation { engine, broker, .. } = foundation;
        Self { metrics, engine: Arc::clone(engine), broker: broker.clone(), looked: Mutex::new(None) }
    }

    async fn fill(&self) {
        let now = self.broker.clock().monotonic();
        self.metrics.uptime_seconds.set(now.as_secs_f64());
        self.engine.fill(&self.metrics);
        fill_process(&self.metrics);
        let due = {
            let mut looked = self.looked.lock();
            let due = looked.is_none_or(|before| now.saturating_sub(before) >= BACKLOG_AGE);
            if due {
                *looked = Some(now);
            }
            due
        };
        if due {
            self.fill_backlogs().await;
        }
    }

    async fn fill_backlogs(&self) {
        let mut found = Vec::new();
        let look = self.look(&mut found);
        if tokio::time::timeout(BACKLOG_TIME, look).await.is_err() {
            tracing::warn!("there are too many subscriptions to look at all backlogs; the metrics show some");
        }
        found.sort_by_key(|backlog: &Backlog| std::cmp::Reverse(backlog.messages));
        self.metrics.backlog.reset();
        self.metrics.oldest_unacknowledged_seconds.reset();
        for backlog in found.iter().take(LABELLED) {
            let labels = [backlog.project.as_str(), backlog.subscription.as_str()];
            self.metrics.backlog.with_label_values(&labels).set(signed(backlog.messages));
            if let Some(age) = backlog.age_seconds {
                self.metrics.oldest_unacknowledged_seconds.with_label_values(&labels).set(age);
            }
        }
    }

    async fn look(&self, found: &mut Vec<Backlog>) {
        let wall = crate::domain::Timestamp(self.broker.clock().wall());
        for project in self.broker.projects().await.unwrap_or_default() {
            let all = self.broker.subscriptions(project.id, PageRequest::default(), &|_| true).await;
            for subscription in all.map(|page| page.items).unwrap_or_default() {
                let Ok(progress) = self.broker.glance(&subscription).await else { continue };
                found.push(Backlog {
                    messages: progress.backlog,
                    age_seconds: match progress.oldest_at {
                        _ if progress.backlog == 0 => Some(0.0),
                        oldest => oldest.map(|at| wall.since(at).as_secs_f64()),
                    },
                    project: project.name.to_string(),
                    subscription: subscription.name.to_string(),
                });
            }
        }
    }
}

impl Service for Gauges {
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.fill())
    }

    fn trouble(&self) -> Option<&'static str> {
        match (self.engine.is_usable(), self.broker.is_fit()) {
            (false, _) => Some("the store is down\n"),
            (true, false) => Some("this node's clock is wrong\n"),
            (true, true) => None,
        }
    }
}

/// What the kernel says of this process.
fn fill_process(metrics: &Metrics) {
    metrics.process_resident_bytes.set(signed(process::resident_bytes()));
    metrics.process_open_files.set(signed(process::open_files()));
    let more = process::cpu_time().as_secs_f64() - metrics.process_cpu_seconds.get();
    if more > 0.0 {
        metrics.process_cpu_seconds.inc_by(more);
    }
}
