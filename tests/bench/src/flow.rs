//! Messages that are published and consumed at the same time: fan-out, and the time from end to end.

use crate::consume::{Mode, make_subscriptions, make_topics};
use crate::http::Connection;
use crate::load::{Size, Stamp, publish_body};
use crate::publish::{Book, book};
use crate::report::percentiles;
use crate::server::Server;
use crate::verify::{Acks, Faults, Taken, check_all, message_ids};
use crate::{Options, Result};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Messages a waiting pull takes.
const PULL: u64 = 100;
/// How often it is looked whether everything has come.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Who publishes how much, and who consumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) producers: usize,
    /// Messages a request.
    pub(crate) batch: u64,
    /// Messages that each producer publishes.
    pub(crate) each: u64,
    /// From one request of a producer to the next, at least.
    pub(crate) every: Duration,
    /// Individual subscriptions of the topic.
    pub(crate) subscriptions: usize,
    /// Consumers that share a subscription.
    pub(crate) consumers_each: usize,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Flowed {
    /// Deliveries that were right.
    pub(crate) verified: u64,
    pub(crate) faults: Faults,
    /// Deliveries a second, and a processor second of the server.
    pub(crate) rate: f64,
    pub(crate) per_cpu: f64,
    /// Microseconds from before a publish was sent until its message was there, median and 99th of a hundred.
    pub(crate) latency: Option<(u32, u32)>,
    /// The server's resident memory, now and at most.
    pub(crate) memory: (f64, f64),
}

/// When each message was sent: by producer, then by sequence number.
type SentAt = Rc<RefCell<Vec<Vec<Instant>>>>;

/// What one consumer got, and when: each moment with how many deliveries had come before it.
#[derive(Debug, Default)]
struct Got {
    taken: Taken,
    arrivals: Vec<(Instant, usize)>,
    acknowledged: u64,
}

async fn produce(mut line: Connection, producer: usize, flow: Flow, book: Book, sent: SentAt) -> Result<()> {
    let (size, batch, number) = (Size::of_bytes(1_024), flow.batch, u32::try_from(producer)?);
    let mut body = String::new();
    // Producers that keep a rate take turns.
    let begun = Instant::now() + flow.every * number / u32::try_from(flow.producers)?;
    for round in 0..flow.each / batch {
        let due = begun + flow.every * u32::try_from(round)?;
        tokio::time::sleep_until(due.into()).await;
        let first = round * batch;
        publish_body(number, first, batch, size, &mut body);
        let now = Instant::now();
        if let Some(own) = sent.borrow_mut().get_mut(producer) {
            own.extend((0..batch).map(|_| now));
        }
        let answer = line.call("POST", "/v1/projects/b/topics/t0:publish", body.as_bytes()).await?;
        if let Some(ledger) = book.borrow_mut().first_mut() {
            for (offset, sequence) in message_ids(answer).zip(first..) {
                ledger.record(offset, Stamp { producer: number, sequence });
            }
        }
    }
    Ok(())
}

/// Pulls, waiting, and acknowledges, until it is stopped.
async fn take(mut line: Connection, subscription: usize, got: Rc<RefCell<Got>>) -> Result<()> {
    let pull = format!("/v1/projects/b/subscriptions/s{subscription}:pull");
    let ack = format!("/v1/projects/b/subscriptions/s{subscription}:acknowledge");
    let body = format!("{{\"maxMessages\":\"{PULL}\",\"returnImmediately\":\"false\"}}");
    let mut acks = Acks::new(false);
    loop {
        let answer = line.call("POST", &pull, body.as_bytes()).await?;
        let count = {
            let mut got = got.borrow_mut();
            let place = (Instant::now(), usize::try_from(got.taken.count())?);
            got.arrivals.push(place);
            got.taken.take(answer, Size::of_bytes(1_024), &mut acks)
        };
        if count > 0 {
            line.call("POST", &ack, acks.body.as_bytes()).await?;
            got.borrow_mut().acknowledged += count;
        }
    }
}

/// Runs producers and consumers together until everything is delivered and acknowledged on each subscription; checks it.
pub(crate) async fn run(server: &Server, flow: Flow) -> Result<Flowed> {
    make_topics(server, 1).await?;
    let names: Vec<String> = (0..flow.subscriptions).map(|at| format!("s{at}")).collect();
    make_subscriptions(server, &names, Mode::Individual).await?;
    let (book, sent): (Book, SentAt) = (book(1), Rc::new(RefCell::new(vec![Vec::new(); flow.producers])));
    let got: Vec<Vec<Rc<RefCell<Got>>>> =
        names.iter().map(|_| (0..flow.consumers_each).map(|_| Rc::default()).collect()).collect();
    let tasks = LocalSet::new();
    let (mut producers, mut consumers) = (Vec::new(), Vec::new());
    for (at, got) in got.iter().enumerate().flat_map(|(at, all)| all.iter().map(move |got| (at, got))) {
        consumers.push(tasks.spawn_local(take(server.connect().await?, at, Rc::clone(got))));
    }
    let (begun, cpu) = (Instant::now(), server.cpu()?);
    for at in 0..flow.producers {
        let line = server.connect().await?;
        producers.push(tasks.spawn_local(produce(line, at, flow, Rc::clone(&book), Rc::clone(&sent))));
    }
    let total = flow.each / flow.batch * flow.batch * flow.producers as u64;
    let has_all = |all: &[Rc<RefCell<Got>>]| all.iter().map(|got| got.borrow().acknowledged).sum::<u64>() >= total;
    tasks
        .run_until(async {
            for producer in producers {
                producer.await??;
            }
            while !got.iter().all(|all| has_all(all)) {
                if let Some(at) = consumers.iter().position(|consumer| consumer.is_finished()) {
                    return consumers.remove(at).await?;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
        .await?;
    let (took, cpu, memory) = (begun.elapsed(), server.cpu()? - cpu, server.memory()?);
    // The consumers that still wait end here, and give back what they share.
    drop((consumers, tasks));
    let got = got.into_iter().map(|all| all.into_iter().map(|got| got.take()).collect()).collect();
    let (verified, faults, latencies) = check_flow(&book, &sent.borrow(), got);
    Ok(Flowed {
        verified,
        faults,
        rate: verified as f64 / took.as_secs_f64(),
        per_cpu: verified as f64 / cpu.max(0.01),
        latency: percentiles(latencies),
        memory,
    })
}

/// Compares what each subscription got with what was published, and tells how long each message took.
fn check_flow(book: &Book, sent: &[Vec<Instant>], got: Vec<Vec<Got>>) -> (u64, Faults, Vec<u32>) {
    let (mut verified, mut faults, mut latencies) = (0, Faults::default(), Vec::new());
    for all in got {
        let mut consumers = Vec::new();
        for got in all {
            let ends = got.arrivals.iter().skip(1).map(|(_, from)| *from).chain([usize::MAX]);
            for ((arrived, from), end) in got.arrivals.iter().zip(ends) {
                for stamp in got.taken.stamps(*from).take(end - from) {
                    let at =
                        sent.get(stamp.producer as usize).and_then(|of| of.get(usize::try_from(stamp.sequence).ok()?));
                    latencies.extend(at.map(|at| u32::try_from((*arrived - *at).as_micros()).unwrap_or(u32::MAX)));
                }
            }
            consumers.push(got.taken);
        }
        if let Some(ledger) = book.borrow().first() {
            let (right, wrong) = check_all(ledger, false, &consumers);
            verified += right;
            faults.add(wrong);
        }
    }
    (verified, faults, latencies)
}

/// Four producers at full speed, ten subscriptions, each consumed by one.
pub(crate) fn fan_out(options: &Options) -> Flow {
    let each = u64::try_from(options.seconds.as_millis()).unwrap_or(u64::MAX).saturating_mul(10);
    Flow { producers: 4, batch: 100, each: each.max(100), every: Duration::ZERO, subscriptions: 10, consumers_each: 1 }
}

/// Everything at once: 64 connections publish batches, 16 subscriptions are consumed.
pub(crate) fn everything(options: &Options) -> Flow {
    Flow { producers: 64, each: (fan_out(options).each / 32).max(100), subscriptions: 16, ..fan_out(options) }
}

/// A thousand messages a second by four producers, and one consumer that waits.
pub(crate) fn steady(options: &Options) -> Flow {
    let each = u64::try_from(options.seconds.as_millis()).unwrap_or(u64::MAX) / 4;
    let every = Duration::from_millis(4);
    Flow { producers: 4, batch: 1, each: each.max(1), every, subscriptions: 1, consumers_each: 1 }
}
