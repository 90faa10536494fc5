//! The rows, as data. How each is run is elsewhere.

use crate::peer::{self, Sync};
use crate::report::Figure;
use crate::{Options, Result, ceiling, engine, loads};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

/// Runs a row on a fresh folder.
type Run = for<'a> fn(&'a Options, &'a Path) -> Pin<Box<dyn Future<Output = Result<Figure>> + 'a>>;

/// What a row is held to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    None,
    AtLeast(f64),
    /// At least so much, or this part of the ceiling of the same run: machines differ.
    AtLeastOr(f64, f64),
    OfCeiling(f64),
    AtMost(f64),
    Milliseconds {
        p50: f64,
        p99: f64,
    },
}

impl Goal {
    pub(crate) fn text(self) -> String {
        use crate::table::{number, percent};
        match self {
            Self::None => String::new(),
            Self::AtLeast(least) => format!("≥ {}", number(least)),
            Self::AtLeastOr(least, part) => format!("≥ {} or {}", number(least), percent(part)),
            Self::OfCeiling(part) => format!("≥ {}", percent(part)),
            Self::AtMost(most) => format!("≤ {}", number(most)),
            Self::Milliseconds { p50, p99 } => format!("p50 ≤ {p50}, p99 ≤ {p99}"),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    /// The row that says what the machine would allow at most.
    pub(crate) ceiling: Option<&'static str>,
    pub(crate) run: Run,
}

impl Row {
    /// Whether it measures the peer.
    pub(crate) fn is_peer(&self) -> bool {
        self.name.starts_with("nats-")
    }
}

pub(crate) const fn row(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    goal: Goal,
    ceiling: Option<&'static str>,
    run: Run,
) -> Row {
    Row { name, what, unit, goal, ceiling, run }
}

/// All rows, in the order they are run: a ceiling before what is compared with it, a peer's row behind ours.
pub(crate) const ROWS: &[Row] = &[
    row("wire-1", "bare HTTP, 1 connection", "msg/s", Goal::None, None, |o, f| Box::pin(loads::wire(o, f, 1, 1))),
    row("publish-1", "publish, 1 connection", "msg/s", Goal::AtLeast(3_000.0), Some("wire-1"), |o, f| {
        Box::pin(loads::publish(o, f, 1, 1))
    }),
    row("nats-synced-publish-1", "NATS synced: publish, 1 connection", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::publish(o, f, Sync::Always, 1, 1))
    }),
    row("nats-publish-1", "NATS default: publish, 1 connection", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::publish(o, f, Sync::Default, 1, 1))
    }),
    row("wire-64", "bare HTTP, 64 connections", "msg/s", Goal::None, None, |o, f| Box::pin(loads::wire(o, f, 64, 1))),
    row("publish-64", "publish, 64 connections", "msg/s", Goal::AtLeastOr(35_000.0, 0.6), Some("wire-64"), |o, f| {
        Box::pin(loads::publish(o, f, 64, 1))
    }),
    row("nats-synced-publish-64", "NATS synced: publish, 64 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::publish(o, f, Sync::Always, 64, 1))
    }),
    row("nats-publish-64", "NATS default: publish, 64 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::publish(o, f, Sync::Default, 64, 1))
    }),
    row("tls-64", "publish over TLS, 64 connections", "msg/s", Goal::OfCeiling(0.7), Some("publish-64"), |o, f| {
        Box::pin(loads::publish_tls(o, f, 64, 1))
    }),
    row("wire-batches", "bare HTTP, 100 a request, 16 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(loads::wire(o, f, 16, 100))
    }),
    row(
        "batches",
        "publish 100 a request, 16 connections",
        "msg/s",
        Goal::AtLeastOr(360_000.0, 0.6),
        Some("wire-batches"),
        |o, f| Box::pin(loads::publish(o, f, 16, 100)),
    ),
    row(
        "nats-synced-batches",
        "NATS synced: publish, 100 outstanding, 16 connections",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::publish(o, f, Sync::Always, 16, 100)),
    ),
    row("nats-batches", "NATS default: publish, 100 outstanding, 16 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::publish(o, f, Sync::Default, 16, 100))
    }),
    row(
        "tls-batches",
        "publish over TLS, 100 a request, 16 connections",
        "msg/s",
        Goal::OfCeiling(0.7),
        Some("batches"),
        |o, f| Box::pin(loads::publish_tls(o, f, 16, 100)),
    ),
    row("documents", "publish JSON documents, 100 a request, 16 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(loads::documents(o, f, false))
    }),
    row(
        "documents-validated",
        "the same with a JSON schema of 10 fields",
        "msg/s",
        Goal::OfCeiling(0.6),
        Some("documents"),
        |o, f| Box::pin(loads::documents(o, f, true)),
    ),
    row("wire-consume", "bare HTTP, pull and acknowledge 100, 16 connections", "msg/s", Goal::None, None, |o, f| {
        Box::pin(loads::wire_consume(o, f))
    }),
    row(
        "consume",
        "pull and acknowledge 100, 16 connections, 1 individual",
        "msg/s",
        Goal::AtLeast(400_000.0),
        Some("wire-consume"),
        |o, f| Box::pin(loads::individual(o, f)),
    ),
    row(
        "nats-synced-consume",
        "NATS synced: pull and acknowledge 100, 16 connections, 1 consumer",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::consume_one(o, f, Sync::Always)),
    ),
    row(
        "nats-consume",
        "NATS default: pull and acknowledge 100, 16 connections, 1 consumer",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::consume_one(o, f, Sync::Default)),
    ),
    row(
        "consume-16",
        "pull and acknowledge 100, 16 cumulative",
        "msg/s",
        Goal::AtLeast(400_000.0),
        Some("wire-consume"),
        |o, f| Box::pin(loads::cumulative(o, f)),
    ),
    row(
        "nats-synced-consume-16",
        "NATS synced: pull and acknowledge 100, 16 consumers",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::consume_each(o, f, Sync::Always)),
    ),
    row(
        "nats-consume-16",
        "NATS default: pull and acknowledge 100, 16 consumers",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::consume_each(o, f, Sync::Default)),
    ),
    row("fan-out", "publish and consume 1:10, deliveries", "msg/s", Goal::AtLeast(400_000.0), None, |o, f| {
        Box::pin(loads::fan_out(o, f))
    }),
    row(
        "nats-synced-fan-out",
        "NATS synced: publish and consume 1:10, deliveries",
        "msg/s",
        Goal::None,
        None,
        |o, f| Box::pin(peer::fan_out(o, f, Sync::Always)),
    ),
    row("nats-fan-out", "NATS default: publish and consume 1:10, deliveries", "msg/s", Goal::None, None, |o, f| {
        Box::pin(peer::fan_out(o, f, Sync::Default))
    }),
    row(
        "end-to-end",
        "end to end at 1,000/s, waiting pull",
        "ms",
        Goal::Milliseconds { p50: 0.6, p99: 3.0 },
        None,
        |o, f| Box::pin(loads::end_to_end(o, f)),
    ),
    row("nats-synced-end-to-end", "NATS synced: end to end at 1,000/s", "ms", Goal::None, None, |o, f| {
        Box::pin(peer::end_to_end(o, f, Sync::Always))
    }),
    row("nats-end-to-end", "NATS default: end to end at 1,000/s", "ms", Goal::None, None, |o, f| {
        Box::pin(peer::end_to_end(o, f, Sync::Default))
    }),
    row("disk-small", "raw disk, write 1.5 KiB and sync", "/s", Goal::None, None, |o, f| {
        Box::pin(async { ceiling::disk(o, f, 1_536) })
    }),
    row("engine-1", "engine, append 1 × 1 KiB", "/s", Goal::OfCeiling(0.5), Some("disk-small"), |o, f| {
        Box::pin(engine::append(o, f, 1))
    }),
    row("disk-large", "raw disk, write 100.5 KiB and sync", "/s", Goal::None, None, |o, f| {
        Box::pin(async { ceiling::disk(o, f, 201 * 512) })
    }),
    row("engine-100", "engine, append 100 × 1 KiB", "/s", Goal::OfCeiling(0.7), Some("disk-large"), |o, f| {
        Box::pin(engine::append(o, f, 100))
    }),
    row("open", "open after SIGKILL", "s", Goal::AtMost(0.5), None, |o, f| Box::pin(loads::open(o, f))),
    row("idle", "resident, 1,000 topics × 1 subscription", "MiB", Goal::AtMost(64.0), None, |o, f| {
        Box::pin(loads::idle(o, f))
    }),
    row("full-load", "resident at most, 64 publish batches, 16 consume", "MiB", Goal::AtMost(300.0), None, |o, f| {
        Box::pin(loads::full_load(o, f))
    }),
    row("amplification", "written at the device, batches of 100", "× payload", Goal::AtMost(1.3), None, |o, f| {
        Box::pin(loads::amplification(o, f))
    }),
];
