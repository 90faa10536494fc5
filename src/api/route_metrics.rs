//! Counts and times a dialect's requests by route, with handles made at a route's first use: no lookup by name for each request.

use crate::telemetry::metrics::Metrics;
use prometheus::{Histogram, IntCounter};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The statuses that have a counter; another one counts as its class's first here.
const STATUSES: [u16; 20] =
    [200, 201, 204, 300, 301, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 417, 429, 499, 500, 503];

#[derive(Debug, Default)]
struct Handles {
    seconds: OnceLock<Histogram>,
    answers: [OnceLock<IntCounter>; STATUSES.len()],
}

/// The handles of all routes, and of requests that took none.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    metrics: Arc<Metrics>,
    dialect: &'static str,
    routes: Vec<(&'static str, Handles)>,
    none: Handles,
}

impl RouteMetrics {
    /// Of a dialect with routes of these names, in the order of its table.
    pub(crate) fn new(metrics: Arc<Metrics>, dialect: &'static str, names: impl Iterator<Item = &'static str>) -> Self {
        let routes = names.map(|name| (name, Handles::default())).collect();
        Self { metrics, dialect, routes, none: Handles::default() }
    }

    /// Counts an answer of the route at this place of the table; none for a request that took no route.
    pub(crate) fn observe(&self, place: Option<usize>, status: u16, took: Duration) {
        let route = place.and_then(|place| self.routes.get(place));
        let (name, handles) = route.map_or(("none", &self.none), |(name, handles)| (name, handles));
        let known = |code: &u16| *code == status;
        let slot =
            STATUSES.iter().position(known).or_else(|| STATUSES.iter().position(|code| code / 100 == status / 100));
        let labels = [self.dialect, name];
        let seconds = handles.seconds.get_or_init(|| self.metrics.request_seconds.with_label_values(&labels));
        seconds.observe(took.as_secs_f64());
        if let Some((counter, code)) = slot.and_then(|slot| Some((handles.answers.get(slot)?, STATUSES.get(slot)?))) {
            let [dialect, name] = labels;
            counter
                .get_or_init(|| self.metrics.requests.with_label_values(&[dialect, name, code.to_string().as_str()]))
                .inc();
        }
    }
}
