//! Counts and times requests by route, with handles made at a route's first use: no lookup by name for each request.

use super::paths;
use crate::telemetry::metrics::Metrics;
use prometheus::{Histogram, IntCounter};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The statuses that have a counter; another one counts as its class's first here.
const STATUSES: [u16; 15] = [200, 301, 400, 401, 403, 404, 405, 408, 409, 413, 417, 429, 499, 500, 503];

#[derive(Debug, Default)]
struct Handles {
    seconds: OnceLock<Histogram>,
    answers: [OnceLock<IntCounter>; STATUSES.len()],
}

/// The handles of all routes, and of requests that took none.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    metrics: Arc<Metrics>,
    routes: Vec<Handles>,
    logins: Handles,
}

impl RouteMetrics {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let routes = paths::all().map(|_| Handles::default()).chain([Handles::default()]).collect();
        Self { metrics, routes, logins: Handles::default() }
    }

    /// Counts an answer of the route at this place of the table; none for a request that took no route.
    pub(crate) fn observe(&self, place: Option<usize>, status: u16, took: Duration) {
        let name = place.and_then(|place| paths::all().nth(place)).map_or("none", |route| route.name);
        // The last one is of no route.
        let Some(handles) = self.routes.get(place.unwrap_or(self.routes.len() - 1)) else { return };
        self.count(handles, "ams", name, status, took);
    }

    /// Counts an answer of the listener for client certificates.
    pub(crate) fn observe_login(&self, status: u16, took: Duration) {
        self.count(&self.logins, "ams_x509", "authx509", status, took);
    }

    fn count(&self, handles: &Handles, dialect: &str, name: &str, status: u16, took: Duration) {
        let known = |code: &u16| *code == status;
        let slot =
            STATUSES.iter().position(known).or_else(|| STATUSES.iter().position(|code| code / 100 == status / 100));
        let seconds = handles.seconds.get_or_init(|| self.metrics.request_seconds.with_label_values(&[dialect, name]));
        seconds.observe(took.as_secs_f64());
        if let Some((counter, code)) = slot.and_then(|slot| Some((handles.answers.get(slot)?, STATUSES.get(slot)?))) {
            counter
                .get_or_init(|| self.metrics.requests.with_label_values(&[dialect, name, code.to_string().as_str()]))
                .inc();
        }
    }
}
