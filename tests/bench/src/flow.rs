//! Rows in which messages are published and consumed at the same time: fan-out, and the time from end to end.

use crate::http::Connection;
use crate::load::{Form, publish_body};
use crate::report::Figure;
use crate::rows::{PULL, percentiles, prepare};
use crate::server::Server;
use crate::verify::{Acknowledged, Faults, Reader, message_ids};
use crate::{Options, Result};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Subscriptions of the fan-out.
const SUBSCRIPTIONS: usize = 10;
/// Producers, and how many messages each publishes in a second when the rate is fixed.
const PRODUCERS: usize = 4;
const RATE: u64 = 250;
/// Messages a fan-out's producer publishes in a request.
const BATCH: u64 = 100;

/// What producers tell consumers: which offsets were acknowledged, and when each message was sent.
#[derive(Debug)]
struct Sent {
    acknowledged: Acknowledged,
    at: Vec<Vec<Instant>>,
}

type Shared = Rc<RefCell<Sent>>;

/// Publishes `total` messages by requests of `batch`, at most so often a second.
async fn produce(
    mut line: Connection,
    producer: usize,
    batch: u64,
    total: u64,
    every: Duration,
    sent: Shared,
) -> Result<()> {
    let mut body = String::new();
    let begun = Instant::now();
    for round in 0..total / batch {
        let due = begun + every * u32::try_from(round)?;
        tokio::time::sleep_until(due.into()).await;
        publish_body(Form::Noise, u32::try_from(producer)?, round * batch, batch, &mut body);
        let now = Instant::now();
        if let Some(own) = sent.borrow_mut().at.get_mut(producer) {
            own.extend((0..batch).map(|_| now));
        }
        let ids = message_ids(line.call("POST", "/v1/projects/b/topics/t:publish", body.as_bytes()).await?);
        if let Some(own) = sent.borrow_mut().acknowledged.get_mut(producer) {
            own.extend(ids);
        }
    }
    Ok(())
}

/// What one consumer got: offsets with the texts they came with, and when.
#[derive(Debug, Default)]
struct Got {
    answers: Vec<Vec<u8>>,
    arrivals: Vec<(Instant, usize)>,
    messages: u64,
}

/// Pulls, waiting, and acknowledges until it has so many messages.
async fn take(mut line: Connection, subscription: String, total: u64, got: Rc<RefCell<Got>>) -> Result<()> {
    let pull = format!("/v1/projects/b/subscriptions/{subscription}:pull");
    let ack = format!("/v1/projects/b/subscriptions/{subscription}:acknowledge");
    let body = format!("{{\"maxMessages\":\"{PULL}\",\"returnImmediately\":\"false\"}}");
    let nothing = Acknowledged::new();
    let mut ids = Vec::new();
    while got.borrow().messages < total {
        ids.clear();
        let answer = line.call("POST", &pull, body.as_bytes()).await?.to_vec();
        let now = Instant::now();
        let count = Reader::new(&nothing, false).take(&answer, &mut ids);
        {
            let mut got = got.borrow_mut();
            got.messages += count;
            got.arrivals.push((now, usize::try_from(count)?));
            got.answers.push(answer);
        }
        if !ids.is_empty() {
            line.call("POST", &ack, format!("{{\"ackIds\":[\"{}\"]}}", ids.join("\",\"")).as_bytes()).await?;
        }
    }
    Ok(())
}

struct Run {
    sent: Sent,
    got: Vec<Got>,
    took: Duration,
    cpu: f64,
}

/// Producers and consumers together, until each of the subscriptions has everything.
async fn run(server: &Server, subscriptions: usize, batch: u64, each: u64, every: Duration) -> Result<Run> {
    let names: Vec<(String, bool)> = (0..subscriptions).map(|at| (format!("s{at}"), true)).collect();
    prepare(server, &names).await?;
    let sent = Sent { acknowledged: vec![Vec::new(); PRODUCERS], at: vec![Vec::new(); PRODUCERS] };
    let sent: Shared = Rc::new(RefCell::new(sent));
    let got: Vec<Rc<RefCell<Got>>> = names.iter().map(|_| Rc::default()).collect();
    let tasks = LocalSet::new();
    let mut running = Vec::new();
    let (begun, cpu) = (Instant::now(), server.cpu()?);
    for ((name, _), got) in names.iter().zip(&got) {
        let line = server.connect().await?;
        running.push(tasks.spawn_local(take(line, name.clone(), each * PRODUCERS as u64, Rc::clone(got))));
    }
    for producer in 0..PRODUCERS {
        let line = server.connect().await?;
        running.push(tasks.spawn_local(produce(line, producer, batch, each, every, Rc::clone(&sent))));
    }
    tasks.await;
    for task in running {
        task.await??;
    }
    let (took, cpu) = (begun.elapsed(), server.cpu()? - cpu);
    let sent = Rc::try_unwrap(sent).map_err(|_| "a producer still runs")?.into_inner();
    let got = got.into_iter().map(|got| Rc::try_unwrap(got).map(RefCell::into_inner));
    let got = got.collect::<std::result::Result<_, _>>().map_err(|_| "a consumer still runs")?;
    Ok(Run { sent, got, took, cpu })
}

/// Compares what each consumer got with what was published.
fn check(run: &Run) -> (u64, Faults) {
    let mut total = (0, Faults::default());
    for got in &run.got {
        let mut reader = Reader::new(&run.sent.acknowledged, false);
        for answer in &got.answers {
            reader.take(answer, &mut Vec::new());
        }
        let faults = reader.faults();
        total.0 += reader.messages;
        total.1.lost += faults.lost;
        total.1.duplicated += faults.duplicated;
        total.1.damaged += faults.damaged;
    }
    total
}

/// Publishing at full speed to a topic with ten subscriptions, each consumed: deliveries a second.
pub(crate) async fn fan_out(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    let each = u64::try_from(options.seconds.as_millis())? * 10 / BATCH * BATCH;
    let run = run(&server, SUBSCRIPTIONS, BATCH, each.max(BATCH), Duration::ZERO).await?;
    let (verified, faults) = check(&run);
    let value = verified as f64 / run.took.as_secs_f64();
    let per_cpu = Some(verified as f64 / run.cpu.max(0.01));
    Ok(Figure { value, per_cpu, latency: None, peak_mib: server.memory()?.1, verified, faults })
}

/// A fixed rate and one consumer that waits: from before a publish is sent until its message is there; the median in milliseconds.
pub(crate) async fn end_to_end(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    let each = (RATE * u64::try_from(options.seconds.as_millis())? / 1_000).max(1);
    let run = run(&server, 1, 1, each, Duration::from_secs(1) / u32::try_from(RATE)?).await?;
    let (verified, faults) = check(&run);
    let mut latencies = Vec::new();
    for got in &run.got {
        for (answer, (arrived, _)) in got.answers.iter().zip(&got.arrivals) {
            for stamp in crate::verify::stamps(answer) {
                let sent = run
                    .sent
                    .at
                    .get(stamp.producer as usize)
                    .and_then(|of| of.get(usize::try_from(stamp.sequence).ok()?));
                latencies.extend(sent.map(|sent| u32::try_from((*arrived - *sent).as_micros()).unwrap_or(u32::MAX)));
            }
        }
    }
    let latency = percentiles(latencies);
    let value = latency.map_or(f64::MAX, |(p50, _)| f64::from(p50) / 1_000.0);
    let per_cpu = Some(verified as f64 / run.cpu.max(0.01));
    Ok(Figure { value, per_cpu, latency, peak_mib: server.memory()?.1, verified, faults })
}
