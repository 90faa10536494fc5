//! The rows, as data, and how each is run.

use crate::http::Connection;
use crate::load::{Form, SCHEMA, publish_body};
use crate::report::Figure;
use crate::server::Server;
use crate::verify::{Acknowledged, Faults, Reader, message_ids};
use crate::{Options, Result, ceiling, engine, flow};
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;
use tokio::task::LocalSet;

/// Runs a row on a fresh folder.
type Run = for<'a> fn(&'a Options, &'a Path) -> Pin<Box<dyn Future<Output = Result<Figure>> + 'a>>;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) goal: &'static str,
    /// The row that says what the machine would allow at most.
    pub(crate) ceiling: Option<&'static str>,
    pub(crate) run: Run,
}

/// All rows, in the order they are run.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "wire-1",
        what: "bare HTTP, 1 connection",
        unit: "msg/s",
        goal: "",
        ceiling: None,
        run: |o, f| Box::pin(wire(o, f, 1, 1)),
    },
    Row {
        name: "publish-1",
        what: "publish, 1 connection",
        unit: "msg/s",
        goal: ">= 3,000",
        ceiling: Some("wire-1"),
        run: |o, f| Box::pin(publish(o, f, 1, 1, Form::Noise)),
    },
    Row {
        name: "wire-64",
        what: "bare HTTP, 64 connections",
        unit: "msg/s",
        goal: "",
        ceiling: None,
        run: |o, f| Box::pin(wire(o, f, 64, 1)),
    },
    Row {
        name: "publish-64",
        what: "publish, 64 connections",
        unit: "msg/s",
        goal: ">= 35,000",
        ceiling: Some("wire-64"),
        run: |o, f| Box::pin(publish(o, f, 64, 1, Form::Noise)),
    },
    Row {
        name: "wire-batches",
        what: "bare HTTP, 100 a request, 16 conns",
        unit: "msg/s",
        goal: "",
        ceiling: None,
        run: |o, f| Box::pin(wire(o, f, 16, 100)),
    },
    Row {
        name: "batches",
        what: "publish 100 a request, 16 conns",
        unit: "msg/s",
        goal: ">= 360,000",
        ceiling: Some("wire-batches"),
        run: |o, f| Box::pin(publish(o, f, 16, 100, Form::Noise)),
    },
    Row {
        name: "batches-validated",
        what: "the same, JSON schema of 10 fields",
        unit: "msg/s",
        goal: ">= 60 %",
        ceiling: Some("batches"),
        run: |o, f| Box::pin(publish(o, f, 16, 100, Form::Document)),
    },
    Row {
        name: "consume-individual",
        what: "pull+ack 100, 16 conns, 1 individual",
        unit: "msg/s",
        goal: ">= 400,000",
        ceiling: None,
        run: |o, f| Box::pin(individual(o, f)),
    },
    Row {
        name: "consume-cumulative",
        what: "pull+ack 100, 16 cumulative",
        unit: "msg/s",
        goal: ">= 400,000",
        ceiling: None,
        run: |o, f| Box::pin(cumulative(o, f)),
    },
    Row {
        name: "fan-out",
        what: "publish and consume, 10 subs, deliveries",
        unit: "msg/s",
        goal: ">= 400,000",
        ceiling: None,
        run: |o, f| Box::pin(flow::fan_out(o, f)),
    },
    Row {
        name: "end-to-end",
        what: "end to end at 1,000/s, waiting pull",
        unit: "ms p50",
        goal: "<= 0.6",
        ceiling: None,
        run: |o, f| Box::pin(flow::end_to_end(o, f)),
    },
    Row {
        name: "disk-small",
        what: "raw disk, write 1.5 KiB and sync",
        unit: "/s",
        goal: "",
        ceiling: None,
        run: |o, f| Box::pin(async { ceiling::disk(o, f, 1_536) }),
    },
    Row {
        name: "engine-1",
        what: "engine, append 1 x 1 KiB",
        unit: "/s",
        goal: ">= 50 %",
        ceiling: Some("disk-small"),
        run: |o, f| Box::pin(engine::append(o, f, 1)),
    },
    Row {
        name: "disk-large",
        what: "raw disk, write 100.5 KiB and sync",
        unit: "/s",
        goal: "",
        ceiling: None,
        run: |o, f| Box::pin(async { ceiling::disk(o, f, 201 * 512) }),
    },
    Row {
        name: "engine-100",
        what: "engine, append 100 x 1 KiB",
        unit: "/s",
        goal: ">= 70 %",
        ceiling: Some("disk-large"),
        run: |o, f| Box::pin(engine::append(o, f, 100)),
    },
    Row {
        name: "open",
        what: "open after SIGKILL",
        unit: "s",
        goal: "<= 0.5",
        ceiling: None,
        run: |o, f| Box::pin(open(o, f)),
    },
    Row {
        name: "idle",
        what: "resident, 1,000 topics x 1 sub",
        unit: "MiB",
        goal: "<= 64",
        ceiling: None,
        run: |o, f| Box::pin(idle(o, f)),
    },
];

/// Messages a request when a topic is filled, and connections that fill it.
const FILL_BATCH: u64 = 100;
const FILL_CONNECTIONS: usize = 16;
/// Messages a pull takes.
pub(crate) const PULL: u64 = 100;
/// Messages a pull takes when a topic is read back.
const READ_BACK: u64 = 1_000;
/// The part of a load that is run before it is measured.
const WARM_UP: u32 = 10;

/// When a publisher stops.
#[derive(Clone, Copy, Debug)]
enum Until {
    Time(Instant),
    Messages(u64),
}

/// What publishers measured.
#[derive(Debug, Default)]
struct Published {
    acknowledged: Acknowledged,
    /// Messages and request times within the measured span.
    messages: u64,
    latencies: Vec<u32>,
}

/// Makes the project, a topic, and subscriptions of it.
pub(crate) async fn prepare(server: &Server, subscriptions: &[(String, bool)]) -> Result<()> {
    let mut line = server.connect().await?;
    line.call("POST", "/v1/projects/b", b"{}").await?;
    line.call("PUT", "/v1/projects/b/topics/t", b"").await?;
    for (name, individual) in subscriptions {
        let mode = if *individual { "individual" } else { "cumulative" };
        let body = format!("{{\"topic\":\"projects/b/topics/t\",\"ackDeadlineSeconds\":600,\"ackMode\":\"{mode}\"}}");
        line.call("PUT", &format!("/v1/projects/b/subscriptions/{name}"), body.as_bytes()).await?;
    }
    Ok(())
}

/// Publishes over so many connections, each with one request in flight.
async fn publish_load(
    server: &Server,
    connections: usize,
    batch: (u64, Form),
    until: Until,
    measure_from: Instant,
) -> Result<Published> {
    let all = Rc::new(RefCell::new(Published { acknowledged: vec![Vec::new(); connections], ..Published::default() }));
    let tasks = LocalSet::new();
    let mut running = Vec::new();
    for producer in 0..connections {
        let (all, line) = (Rc::clone(&all), server.connect().await?);
        running.push(tasks.spawn_local(publisher(line, producer, batch, until, measure_from, all)));
    }
    tasks.await;
    for task in running {
        task.await??;
    }
    Rc::try_unwrap(all).map(RefCell::into_inner).map_err(|_| "a publisher still runs".into())
}

async fn publisher(
    mut line: Connection,
    producer: usize,
    (batch, form): (u64, Form),
    until: Until,
    measure_from: Instant,
    all: Rc<RefCell<Published>>,
) -> Result<()> {
    let mut body = String::new();
    let mut next = 0;
    let mut now = Instant::now();
    loop {
        match until {
            Until::Time(end) if now >= end => return Ok(()),
            Until::Messages(count) if next >= count => return Ok(()),
            Until::Time(_) | Until::Messages(_) => {}
        }
        publish_body(form, u32::try_from(producer)?, next, batch, &mut body);
        let begun = Instant::now();
        let ids = message_ids(line.call("POST", "/v1/projects/b/topics/t:publish", body.as_bytes()).await?);
        now = Instant::now();
        if ids.len() as u64 != batch {
            return Err(format!("{} ids for {batch} messages", ids.len()).into());
        }
        next += batch;
        let mut all = all.borrow_mut();
        if begun >= measure_from && !matches!(until, Until::Time(end) if now > end) {
            all.messages += batch;
            all.latencies.push(u32::try_from((now - begun).as_micros())?);
        }
        if let Some(own) = all.acknowledged.get_mut(producer) {
            own.extend(ids);
        }
    }
}

/// Reads a whole topic through a cumulative subscription and compares every message.
async fn read_back(server: &Server, subscription: &str, acknowledged: &Acknowledged) -> Result<(u64, Faults)> {
    let mut line = server.connect().await?;
    let mut reader = Reader::new(acknowledged, true);
    consume(&mut line, subscription, READ_BACK, &mut reader, true).await?;
    Ok((reader.messages, reader.faults()))
}

/// Pulls and acknowledges until nothing comes any more; acknowledges the last id, or all.
async fn consume(
    line: &mut Connection,
    subscription: &str,
    count: u64,
    reader: &mut Reader<'_>,
    last_only: bool,
) -> Result<()> {
    let shared = RefCell::new(reader);
    consume_shared(line, subscription, count, &shared, last_only).await
}

async fn consume_shared(
    line: &mut Connection,
    subscription: &str,
    count: u64,
    reader: &RefCell<&mut Reader<'_>>,
    last_only: bool,
) -> Result<()> {
    let pull = format!("/v1/projects/b/subscriptions/{subscription}:pull");
    let ack = format!("/v1/projects/b/subscriptions/{subscription}:acknowledge");
    let body = format!("{{\"maxMessages\":\"{count}\",\"returnImmediately\":\"true\"}}");
    let mut ids = Vec::new();
    loop {
        ids.clear();
        let answer = line.call("POST", &pull, body.as_bytes()).await?;
        if reader.borrow_mut().take(answer, &mut ids) == 0 {
            return Ok(());
        }
        let from = if last_only { ids.len().saturating_sub(1) } else { 0 };
        let list = ids.get(from..).unwrap_or_default().join("\",\"");
        line.call("POST", &ack, format!("{{\"ackIds\":[\"{list}\"]}}").as_bytes()).await?;
    }
}

async fn publish(options: &Options, folder: &Path, connections: usize, batch: u64, form: Form) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server, &[("check".to_owned(), false)]).await?;
    if form == Form::Document {
        let mut line = server.connect().await?;
        line.call("POST", "/v1/projects/b/schemas/s", SCHEMA.as_bytes()).await?;
        line.call("POST", "/v1/projects/b/topics/t:attachSchema", br#"{"schema":"projects/b/schemas/s"}"#).await?;
    }
    let begun = Instant::now();
    let measure_from = begun + options.seconds / WARM_UP;
    let cpu_before = server.cpu()?;
    let published =
        publish_load(&server, connections, (batch, form), Until::Time(begun + options.seconds), measure_from).await?;
    let cpu = server.cpu()? - cpu_before;
    let (_, peak_mib) = server.memory()?;
    let total: usize = published.acknowledged.iter().map(Vec::len).sum();
    let (verified, faults) = read_back(&server, "check", &published.acknowledged).await?;
    let span = options.seconds - options.seconds / WARM_UP;
    Ok(Figure {
        value: published.messages as f64 / span.as_secs_f64(),
        per_cpu: Some(total as f64 / cpu.max(0.01)),
        latency: percentiles(published.latencies),
        peak_mib,
        verified,
        faults,
    })
}

/// The same load on the bare server. Nothing is kept, so nothing is read back.
async fn wire(options: &Options, folder: &Path, connections: usize, batch: u64) -> Result<Figure> {
    let server = Server::bare(folder)?;
    let begun = Instant::now();
    let (measure_from, cpu_before) = (begun + options.seconds / WARM_UP, server.cpu()?);
    let published =
        publish_load(&server, connections, (batch, Form::Noise), Until::Time(begun + options.seconds), measure_from)
            .await?;
    let cpu = server.cpu()? - cpu_before;
    let total: usize = published.acknowledged.iter().map(Vec::len).sum();
    let span = options.seconds - options.seconds / WARM_UP;
    Ok(Figure {
        value: published.messages as f64 / span.as_secs_f64(),
        per_cpu: Some(total as f64 / cpu.max(0.01)),
        latency: percentiles(published.latencies),
        peak_mib: server.memory()?.1,
        verified: 0,
        faults: Faults::default(),
    })
}

/// How many messages a topic is filled with so that consuming lasts about as long as is asked for.
fn to_consume(options: &Options) -> u64 {
    let rounds =
        u64::try_from(options.seconds.as_millis()).unwrap_or(u64::MAX) * 100 / FILL_BATCH / FILL_CONNECTIONS as u64;
    rounds.max(1) * FILL_BATCH
}

async fn fill(server: &Server, each: u64) -> Result<Acknowledged> {
    let until = Until::Messages(each);
    Ok(publish_load(server, FILL_CONNECTIONS, (FILL_BATCH, Form::Noise), until, Instant::now()).await?.acknowledged)
}

async fn individual(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server, &[("work".to_owned(), true)]).await?;
    let acknowledged = fill(&server, to_consume(options)).await?;
    let mut reader = Reader::new(&acknowledged, false);
    let (begun, cpu_before) = (Instant::now(), server.cpu()?);
    {
        let shared = RefCell::new(&mut reader);
        let mut lines = Vec::new();
        for _ in 0..FILL_CONNECTIONS {
            lines.push(server.connect().await?);
        }
        join(lines.iter_mut().map(|line| consume_shared(line, "work", PULL, &shared, false)).collect()).await?;
    }
    finish(&server, begun, cpu_before, reader.messages, reader.faults())
}

async fn cumulative(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    let names: Vec<(String, bool)> = (0..FILL_CONNECTIONS).map(|at| (format!("s{at}"), false)).collect();
    prepare(&server, &names).await?;
    let acknowledged =
        fill(&server, to_consume(options).div_ceil(FILL_CONNECTIONS as u64 * FILL_BATCH) * FILL_BATCH).await?;
    let mut readers: Vec<Reader<'_>> = names.iter().map(|_| Reader::new(&acknowledged, true)).collect();
    let (begun, cpu_before) = (Instant::now(), server.cpu()?);
    let mut lines = Vec::new();
    for _ in &names {
        lines.push(server.connect().await?);
    }
    let consumers = lines.iter_mut().zip(&mut readers).zip(&names);
    join(consumers.map(|((line, reader), (name, _))| consume(line, name, PULL, reader, true)).collect()).await?;
    let sum = |of: fn(Faults) -> u64| readers.iter().map(|reader| of(reader.faults())).sum();
    let faults = Faults {
        lost: sum(|faults| faults.lost),
        duplicated: sum(|faults| faults.duplicated),
        damaged: sum(|faults| faults.damaged),
        out_of_order: sum(|faults| faults.out_of_order),
    };
    finish(&server, begun, cpu_before, readers.iter().map(|reader| reader.messages).sum(), faults)
}

fn finish(server: &Server, begun: Instant, cpu_before: f64, messages: u64, faults: Faults) -> Result<Figure> {
    let took = begun.elapsed();
    let cpu = server.cpu()? - cpu_before;
    let value = messages as f64 / took.as_secs_f64();
    let per_cpu = Some(messages as f64 / cpu.max(0.01));
    Ok(Figure { value, per_cpu, latency: None, peak_mib: server.memory()?.1, verified: messages, faults })
}

async fn open(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server, &[("check".to_owned(), false)]).await?;
    let each = (options.fill_mib * 1_024).div_ceil(FILL_CONNECTIONS as u64 * FILL_BATCH) * FILL_BATCH;
    let acknowledged = fill(&server, each).await?;
    drop(server);
    let server = Server::start(&options.server, folder)?;
    let value = server.opened_in.as_secs_f64();
    let (verified, faults) = read_back(&server, "check", &acknowledged).await?;
    Ok(Figure { value, per_cpu: None, latency: None, peak_mib: server.memory()?.1, verified, faults })
}

async fn idle(options: &Options, folder: &Path) -> Result<Figure> {
    const TOPICS: usize = 1_000;
    let server = Server::start(&options.server, folder)?;
    let mut line = server.connect().await?;
    line.call("POST", "/v1/projects/b", b"{}").await?;
    for at in 0..TOPICS {
        line.call("PUT", &format!("/v1/projects/b/topics/t{at}"), b"").await?;
        let body = format!("{{\"topic\":\"projects/b/topics/t{at}\"}}");
        line.call("PUT", &format!("/v1/projects/b/subscriptions/s{at}"), body.as_bytes()).await?;
    }
    drop((line, server));
    let server = Server::start(&options.server, folder)?;
    let mut line = server.connect().await?;
    let listed = line.call("GET", "/v1/projects/b/subscriptions", b"").await?;
    let found = memchr::memmem::find_iter(listed, b"\"createdOn\"").count();
    let (now, peak_mib) = server.memory()?;
    let faults = Faults { lost: (TOPICS - found.min(TOPICS)) as u64, ..Faults::default() };
    Ok(Figure { value: now, per_cpu: None, latency: None, peak_mib, verified: found as u64, faults })
}

/// Drives all futures on this thread to their end; the first error ends it.
async fn join<F: Future<Output = Result<()>>>(futures: Vec<F>) -> Result<()> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut error = None;
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(result) => {
                error = error.take().or(result.err());
                false
            }
        });
        match error {
            Some(error) => std::task::Poll::Ready(Err(error)),
            None if waiting.is_empty() => std::task::Poll::Ready(Ok(())),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

/// The median and the 99th of a hundred; none of nothing.
pub(crate) fn percentiles(mut latencies: Vec<u32>) -> Option<(u32, u32)> {
    latencies.sort_unstable();
    let at = |hundredth: usize| latencies.get(latencies.len() * hundredth / 100).copied();
    Some((at(50)?, at(99)?))
}
