//! Every metric of the service: its name, its help, its labels. Label values are bounded; no message, token or free text becomes one.

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

/// The handles of all metrics, made once. Cheap to use: no lookup by name anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by dialect, operation and status.
    pub requests: IntCounterVec,
    /// Seconds from a request's first byte to its answer, by dialect and operation.
    pub request_seconds: HistogramVec,
    /// Requests refused because something was at its bound, by what.
    pub overloads: IntCounterVec,
    /// Messages published durably.
    pub published_messages: IntCounter,
    /// Payload and attribute bytes published durably.
    pub published_bytes: IntCounter,
    /// Messages given to consumers, again or for the first time.
    pub delivered_messages: IntCounter,
    /// Of those, the ones given before.
    pub redelivered_messages: IntCounter,
    /// Messages acknowledged durably.
    pub acknowledged_messages: IntCounter,
    /// Messages that retention took unacknowledged.
    pub forgotten_messages: IntCounter,
    /// 1 while retention takes nothing because the clock is in doubt.
    pub retention_held: IntGauge,
    /// Messages copied to a dead-letter topic.
    pub dead_lettered_messages: IntCounter,
    /// Administrative calls that are not in the audit topic.
    pub audit_lost: IntCounter,
    /// Compare-and-append or compare-and-set lost to another writer, by log kind.
    pub conflicts: IntCounterVec,
    /// Storage outcomes that had to be resolved by reading back, by log kind.
    pub unknown_outcomes: IntCounterVec,
    /// Actors alive, by kind.
    pub actors: IntGaugeVec,
    /// Pulls that wait for messages.
    pub waiting_pulls: IntGauge,
    /// Deliveries to endpoints.
    pub push: PushMetrics,
    /// Unacknowledged messages, by project and subscription; the largest ones only.
    pub backlog: IntGaugeVec,
    /// Age in seconds of the oldest unacknowledged message, by project and subscription; the largest backlogs only.
    pub oldest_unacknowledged_seconds: GaugeVec,
    /// Seconds of a storage call, by operation and outcome.
    pub store_seconds: HistogramVec,
    /// Operations of one group commit.
    pub commit_operations: Histogram,
    /// Bytes of one group commit.
    pub commit_bytes: Histogram,
    /// Seconds of one group commit's sync.
    pub commit_sync_seconds: Histogram,
    /// Bytes that the store takes on disk.
    pub store_bytes: IntGauge,
    /// Segment files, by state.
    pub store_segments: IntGaugeVec,
    /// 1 when the store takes writes, by condition: `ready`, `full`, `down`.
    pub store_health: IntGaugeVec,
    /// Of a store in a cluster.
    pub cql: Cql,
    /// The nodes that share it.
    pub cluster: ClusterMetrics,
    /// Client certificates.
    pub certificates: CertificateMetrics,
    /// Seconds since the process started.
    pub uptime_seconds: Gauge,
    /// Memory that the process has in use.
    pub process_resident_bytes: IntGauge,
    /// Processor seconds that the process has used.
    pub process_cpu_seconds: Counter,
    /// Files and sockets that the process has open.
    pub process_open_files: IntGauge,
}

/// The metrics of a store in a cluster.
#[derive(Debug)]
pub struct Cql {
    /// Seconds of a statement, by statement and outcome: `ok`, `applied`, `refused`, `unknown`, `failed`.
    pub seconds: HistogramVec,
    /// Conditional writes sent again because their outcome was unknown, by statement.
    pub repeats: IntCounterVec,
}

impl Cql {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let labels = ["statement", "outcome"];
        Ok(Self {
            seconds: make.histograms("angelia_cql_seconds", "Seconds of a statement in a cluster", &labels)?,
            repeats: make.counters(
                "angelia_cql_repeats_total",
                "Conditional writes repeated because their outcome was unknown",
                &["statement"],
            )?,
        })
    }
}

/// The metrics of the nodes that share a store.
#[derive(Debug)]
pub struct ClusterMetrics {
    /// Nodes that are alive, as this one sees them; 0 when the store is shared with nobody.
    pub nodes: IntGauge,
    /// 1 while all other nodes' notices arrive.
    pub hearing: IntGauge,
    /// By how much this node's clock is ahead of the middle of all, in seconds.
    pub clock_ahead_seconds: Gauge,
    /// Notices between nodes, by what became of them: `sent`, `heard`; and connections that were `refused` or broke.
    pub notices: IntCounterVec,
}

impl ClusterMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let ahead =
            Gauge::new("angelia_cluster_clock_ahead_seconds", "How far this node's clock is ahead of the others'")?;
        Ok(Self {
            nodes: make.gauge("angelia_cluster_nodes", "Nodes alive, as this one sees them")?,
            hearing: make.gauge("angelia_cluster_hearing", "1 while all other nodes' notices arrive")?,
            clock_ahead_seconds: make.register(ahead)?,
            notices: make.counters("angelia_cluster_notices_total", "Notices between nodes", &["outcome"])?,
        })
    }
}

/// The metrics of client certificates.
#[derive(Debug)]
pub struct CertificateMetrics {
    /// Refused ones, by reason.
    pub refused: IntCounterVec,
    /// Files of authorities and revocation lists that could not be taken over.
    pub reload_failures: IntCounter,
    /// When the first revocation list is past its next update, in Unix seconds; 0 without lists.
    pub lists_until: IntGauge,
}

/// The metrics of push.
#[derive(Debug)]
pub struct PushMetrics {
    /// Subscriptions that this node pushes.
    pub subscriptions: IntGauge,
    /// Messages that endpoints have taken, by project and subscription.
    pub sent: IntCounterVec,
    /// Deliveries that endpoints did not take, by project and subscription.
    pub failed: IntCounterVec,
    /// The HTTP status of the last delivery, 0 for no answer, by project and subscription.
    pub last_status: IntGaugeVec,
    /// Seconds of the last delivery, by project and subscription.
    pub last_seconds: GaugeVec,
    /// 0 while the endpoint's circuit is closed, 1 while it is tried, 2 while it is open, by project and subscription.
    pub circuit: IntGaugeVec,
    /// Deliveries under way.
    pub in_flight: IntGauge,
    /// Seconds of a delivery, over all subscriptions.
    pub seconds: Histogram,
}

/// Bucket bounds in seconds for what takes microseconds to seconds.
const SECONDS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The labels that name an operation.
const OPERATION: &[&str] = &["dialect", "operation"];

impl Metrics {
    /// All metrics, registered in a registry of their own.
    ///
    /// # Errors
    /// When two metrics have one name: a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let make = Maker { registry: Registry::new() };
        Ok(Self {
            requests: make.counters(
                "angelia_requests_total",
                "Requests answered",
                &["dialect", "operation", "status"],
            )?,
            request_seconds: make.histograms("angelia_request_seconds", "Seconds of a request", OPERATION)?,
            overloads: make.counters("angelia_overloads_total", "Requests refused at a bound", &["bound"])?,
            published_messages: make.counter("angelia_published_messages_total", "Messages published durably")?,
            published_bytes: make.counter("angelia_published_bytes_total", "Bytes published durably")?,
            delivered_messages: make.counter("angelia_delivered_messages_total", "Messages given to consumers")?,
            redelivered_messages: make.counter("angelia_redelivered_messages_total", "Messages given again")?,
            acknowledged_messages: make.counter("angelia_acknowledged_messages_total", "Messages acknowledged")?,
            forgotten_messages: make
                .counter("angelia_forgotten_messages_total", "Unacknowledged messages that retention took")?,
            retention_held: make.gauge("angelia_retention_held", "1 while retention doubts the clock")?,
            dead_lettered_messages: make
                .counter("angelia_dead_lettered_messages_total", "Messages copied to dead letters")?,
            audit_lost: make.counter("angelia_audit_lost_total", "Calls missing in the audit topic")?,
            conflicts: make.counters(
                "angelia_store_conflicts_total",
                "Conditional writes lost to another writer",
                &["kind"],
            )?,
            unknown_outcomes: make.counters(
                "angelia_store_unknown_total",
                "Unknown storage outcomes resolved",
                &["kind"],
            )?,
            actors: make.gauges("angelia_actors", "Actors alive", &["kind"])?,
            waiting_pulls: make.gauge("angelia_waiting_pulls", "Pulls that wait for messages")?,
            push: PushMetrics::new(&make)?,
            backlog: make.gauges(
                "angelia_backlog_messages",
                "Unacknowledged messages",
                &["project", "subscription"],
            )?,
            oldest_unacknowledged_seconds: make.register(GaugeVec::new(
                Opts::new("angelia_oldest_unacknowledged_seconds", "Age of the oldest unacknowledged message"),
                &["project", "subscription"],
            )?)?,
            store_seconds: make.histograms(
                "angelia_store_seconds",
                "Seconds of a storage call",
                &["operation", "outcome"],
            )?,
            commit_operations: make.histogram(
                "angelia_commit_operations",
                "Operations of one group commit",
                &doubling(1.0, 11),
            )?,
            commit_bytes: make.histogram("angelia_commit_bytes", "Bytes of one group commit", &doubling(512.0, 16))?,
            commit_sync_seconds: make.histogram("angelia_commit_sync_seconds", "Seconds of one sync", &SECONDS)?,
            store_bytes: make.gauge("angelia_store_bytes", "Bytes that the store takes on disk")?,
            store_segments: make.gauges("angelia_store_segments", "Segment files", &["state"])?,
            store_health: make.gauges("angelia_store_health", "1 for the store's present condition", &["condition"])?,
            cql: Cql::new(&make)?,
            cluster: ClusterMetrics::new(&make)?,
            certificates: CertificateMetrics::new(&make)?,
            uptime_seconds: make.register(Gauge::new("angelia_uptime_seconds", "Seconds since the start")?)?,
            process_resident_bytes: make.gauge("angelia_process_resident_bytes", "Memory in use")?,
            process_cpu_seconds: make
                .register(Counter::new("angelia_process_cpu_seconds_total", "Processor seconds used")?)?,
            process_open_files: make.gauge("angelia_process_open_files", "Files and sockets open")?,
            registry: make.registry,
        })
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl CertificateMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        let (refused, failures) =
            ("angelia_client_certificates_refused_total", "angelia_client_certificate_reload_failures_total");
        let until = "angelia_revocation_lists_until_seconds";
        Ok(Self {
            refused: make.counters(refused, "Client certificates refused", &["reason"])?,
            reload_failures: make.counter(failures, "Files of authorities and revocation lists not taken over")?,
            lists_until: make.gauge(until, "Unix time at which the first revocation list is past its next update")?,
        })
    }
}

impl PushMetrics {
    fn new(make: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            subscriptions: make.gauge("angelia_pushed_subscriptions", "Subscriptions that this node pushes")?,
            sent: make.counters(
                "angelia_push_sent_messages_total",
                "Messages that an endpoint has taken",
                &["project", "subscription"],
            )?,
            failed: make.counters(
                "angelia_push_failed_total",
                "Deliveries that an endpoint did not take",
                &["project", "subscription"],
            )?,
            last_status: make.gauges(
                "angelia_push_last_status",
                "HTTP status of the last delivery, 0 for no answer",
                &["project", "subscription"],
            )?,
            last_seconds: make.register(GaugeVec::new(
                Opts::new("angelia_push_last_seconds", "Seconds of the last delivery"),
                &["project", "subscription"],
            )?)?,
            circuit: make.gauges(
                "angelia_push_circuit",
                "The endpoint's circuit: 0 closed, 1 being tried, 2 open",
                &["project", "subscription"],
            )?,
            in_flight: make.gauge("angelia_push_in_flight", "Deliveries under way")?,
            seconds: make.histogram("angelia_push_seconds", "Seconds of a delivery", &SECONDS)?,
        })
    }
}

/// `count` bounds from `from`, each twice the one before.
fn doubling(from: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(from), |bound| Some(bound * 2.0)).take(count).collect()
}

/// Makes and registers.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_named_and_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.requests.with_label_values(&["ams", "topics:publish", "200"]).inc();
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"angelia_requests_total{dialect="ams",operation="topics:publish",status="200"} 1"#));
        assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.starts_with("angelia_")));
    }
}
