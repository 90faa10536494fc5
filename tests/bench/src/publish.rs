//! Publishing: many connections, each with one request in flight, every acknowledged offset noted.

use crate::Result;
use crate::dialect::Dialect;
use crate::http::Connection;
use crate::load::{Size, Stamp};
use crate::report::percentiles;
use crate::server::Server;
use crate::verify::Ledger;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// The part of a load that is run before it is measured.
const WARM_UP: u32 = 10;

/// When publishers stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So long after the first began.
    Time(Duration),
    /// Each has published so many messages.
    Messages(u64),
}

/// What is published, and over how many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Messages a request.
    pub(crate) batch: u64,
    pub(crate) size: Size,
    pub(crate) until: Until,
    /// Topics that each connection goes round, from t0 on.
    pub(crate) topics: usize,
    /// The number of the first producer; numbers are not used twice on a topic.
    pub(crate) first_producer: u32,
    pub(crate) dialect: Dialect,
}

impl Load {
    /// Messages of 1 KiB to the first topic.
    pub(crate) fn new(connections: usize, batch: u64, until: Until) -> Self {
        let size = Size::of_bytes(1_024);
        Self { connections, batch, size, until, topics: 1, first_producer: 0, dialect: Dialect::Ams }
    }
}

/// What was acknowledged, by topic.
pub(crate) type Book = Rc<RefCell<Vec<Ledger>>>;

/// A book of so many topics.
pub(crate) fn book(topics: usize) -> Book {
    Rc::new(RefCell::new((0..topics).map(|_| Ledger::default()).collect()))
}

/// What publishers measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// Messages acknowledged.
    pub(crate) total: u64,
    /// Messages a second of the measured span; of the whole time where a number of messages was asked for.
    pub(crate) rate: f64,
    /// Messages a processor second of the server.
    pub(crate) per_cpu: f64,
    /// Microseconds of a request, median and 99th of a hundred.
    pub(crate) latency: Option<(u32, u32)>,
}

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    measured: u64,
    latencies: Vec<u32>,
}

/// The span that counts.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Instant,
    end: Option<Instant>,
}

/// Runs a load, notes what is acknowledged.
pub(crate) async fn publish(server: &Server, load: Load, book: &Book) -> Result<Published> {
    let mut lines = Vec::new();
    for _ in 0..load.connections {
        lines.push(server.connect().await?);
    }
    let counts: Rc<RefCell<Counts>> = Rc::default();
    let (begun, cpu) = (Instant::now(), server.cpu()?);
    let span = match load.until {
        Until::Time(time) => Span { from: begun + time / WARM_UP, end: Some(begun + time) },
        Until::Messages(_) => Span { from: begun, end: None },
    };
    let tasks = LocalSet::new();
    let publisher =
        |(at, line)| tasks.spawn_local(publisher(line, at, load, span, Rc::clone(&counts), Rc::clone(book)));
    let running: Vec<_> = lines.into_iter().enumerate().map(publisher).collect();
    tasks.await;
    let (took, cpu) = (begun.elapsed(), server.cpu()? - cpu);
    for task in running {
        task.await??;
    }
    let counts = counts.take();
    let seconds = span.end.map_or(took, |end| end - span.from).as_secs_f64();
    Ok(Published {
        total: counts.total,
        rate: counts.measured as f64 / seconds,
        per_cpu: counts.total as f64 / cpu.max(0.01),
        latency: percentiles(counts.latencies),
    })
}

async fn publisher(
    mut line: Connection,
    at: usize,
    load: Load,
    span: Span,
    counts: Rc<RefCell<Counts>>,
    book: Book,
) -> Result<()> {
    let Load { batch, size, topics, dialect, .. } = load;
    let producer = load.first_producer + u32::try_from(at)?;
    let (mut body, mut sequence, mut now) = (String::new(), 0, Instant::now());
    // Connections begin far from each other.
    let mut topic = at * topics / load.connections;
    loop {
        let done = match load.until {
            Until::Time(_) => span.end.is_some_and(|end| now >= end),
            Until::Messages(count) => sequence >= count,
        };
        if done {
            return Ok(());
        }
        dialect.publish_body(producer, sequence, batch, size, &mut body);
        let path = dialect.publish_path(topic);
        let begun = Instant::now();
        let answer = line.call("POST", &path, body.as_bytes()).await?;
        now = Instant::now();
        let first = sequence;
        if let Some(ledger) = book.borrow_mut().get_mut(topic) {
            for offset in dialect.offsets(answer) {
                ledger.record(offset, Stamp { producer, sequence });
                sequence += 1;
            }
        }
        if sequence != first + batch {
            return Err(format!("{} ids for {batch} messages", sequence - first).into());
        }
        let mut counts = counts.borrow_mut();
        counts.total += batch;
        if begun >= span.from && span.end.is_none_or(|end| now <= end) {
            counts.measured += batch;
            counts.latencies.push(u32::try_from((now - begun).as_micros())?);
        }
        topic = (topic + 1) % topics;
    }
}
