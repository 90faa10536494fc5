//! The loads of the rows on NATS JetStream: the same messages, as many bytes, the same checks. Publishing a batch is as many
//! publishes without an answer yet; acknowledging is confirmed once for each pull.

use crate::consume::join;
use crate::flow::{Flow, fan_out as fan_out_flow, steady};
use crate::load::{Size, Stamp};
use crate::loads::{BATCH, CONNECTIONS, Stopwatch, to_consume};
use crate::nats::{Client, STREAM, published_at};
use crate::publish::{Book, book};
use crate::report::{Figure, percentiles};
use crate::server::Server;
use crate::verify::{Faults, Ledger, Taken, check_all};
use crate::{Options, Result};
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Bytes of a message, which are sent as they are.
const MESSAGE: usize = 1_024;
/// Seconds that a waiting pull waits before it is asked again.
const WAIT: u64 = 5;

/// When the server syncs what it acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sync {
    /// Before it answers.
    Always,
    /// Every two minutes, as it comes.
    Default,
}

/// Starts it on a folder, fresh or not.
fn open(options: &Options, folder: &Path, sync: Sync) -> Result<Server> {
    let binary = options.nats.as_ref().ok_or("there is no binary of NATS")?;
    Server::nats(binary, folder, sync == Sync::Always)
}

/// Starts it with an empty stream.
async fn start(options: &Options, folder: &Path, sync: Sync) -> Result<Server> {
    let server = open(options, folder, sync)?;
    Client::open(server.address, 0).await?.make_stream().await?;
    Ok(server)
}

async fn clients(server: &Server, count: usize) -> Result<Vec<Client>> {
    join((1..=count).map(|number| Client::open(server.address, number)).collect()).await
}

/// One publisher: at most so many messages at a time without an answer, until a time or a number.
#[derive(Clone, Copy, Debug)]
struct Producer {
    number: u32,
    outstanding: u64,
    end: Option<Instant>,
    messages: u64,
    /// From one message to the next, at least; the first after so much.
    every: Duration,
    after: Duration,
}

impl Producer {
    /// Publishes, notes what is answered; gives when each message was sent and how many microseconds its answer took.
    async fn run(self, mut client: Client, book: &Book, sent: &RefCell<Vec<Instant>>) -> Result<Vec<u32>> {
        let (begun, size, mut text) = (Instant::now() + self.after, Size::of_letters(MESSAGE), String::new());
        let (mut sequence, mut answered, mut latencies) = (0, 0, Vec::new());
        loop {
            let more = self.end.map_or(sequence < self.messages, |end| Instant::now() < end);
            if !more && answered == sequence {
                return Ok(latencies);
            }
            if more && self.every > Duration::ZERO && answered == sequence {
                tokio::time::sleep_until((begun + self.every * u32::try_from(sequence)?).into()).await;
            }
            while more && sequence - answered < self.outstanding && (self.end.is_some() || sequence < self.messages) {
                text.clear();
                Stamp { producer: self.number, sequence }.write(size, &mut text);
                sent.borrow_mut().push(Instant::now());
                client.publish(STREAM, Some(&sequence.to_string()), text.as_bytes())?;
                sequence += 1;
            }
            client.flush().await?;
            let mut incoming = Some(client.next().await?);
            while let Some(answer) = incoming {
                let (which, offset) = (client.reply_to(&answer).parse::<u64>(), published_at(client.payload(&answer)));
                let (Ok(which), Some(offset)) = (which, offset) else {
                    return Err(format!("a publish was answered {}", client.payload(&answer)).into());
                };
                if let Some(ledger) = book.borrow_mut().first_mut() {
                    ledger.record(offset, Stamp { producer: self.number, sequence: which });
                }
                let begun = sent.borrow().get(usize::try_from(which)?).copied();
                latencies.extend(begun.map(|begun| u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)));
                answered += 1;
                incoming = client.parse()?;
            }
        }
    }
}

/// Publishes over all connections until a time or a number; gives the latencies.
async fn publish_all(
    server: &Server,
    connections: usize,
    outstanding: u64,
    end: Option<Instant>,
    messages: u64,
    book: &Book,
) -> Result<Vec<u32>> {
    let producers = clients(server, connections).await?.into_iter().zip(0..).map(async |(client, number)| {
        let sent = RefCell::default();
        Producer { number, outstanding, end, messages, every: Duration::ZERO, after: Duration::ZERO }
            .run(client, book, &sent)
            .await
    });
    Ok(join(producers.collect()).await?.concat())
}

/// How a consumer is consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ack {
    /// The last of a pull stands for all.
    Last,
    Each,
}

/// Pulls a hundred and acknowledges, until nothing is there any more. Where the last stands for all, what is less than a hundred at
/// the end stays unacknowledged: nobody asks for it again.
async fn drain(client: &mut Client, consumer: &str, ack: Ack) -> Result<Taken> {
    let (size, mut taken) = (Size::of_letters(MESSAGE), Taken::default());
    client.ask(consumer, BATCH, None)?;
    loop {
        let (mut count, mut confirmed, mut nothing) = (0, taken.count() == 0, false);
        while (count < BATCH && !nothing) || !confirmed {
            let incoming = client.next().await?;
            match client.reply_to(&incoming) {
                "ack" => confirmed = true,
                "pull" if incoming.is_status => nothing = true,
                _ => {
                    taken.push(client.offset(&incoming), size, client.payload(&incoming));
                    count += 1;
                    if count == BATCH {
                        client.acknowledge(&incoming, Some("ack"))?;
                    } else if ack == Ack::Each {
                        client.acknowledge(&incoming, None)?;
                    }
                }
            }
        }
        if nothing {
            client.flush().await?;
            return Ok(taken);
        }
        client.ask(consumer, BATCH, None)?;
    }
}

/// The only topic's ledger.
fn ledger(book: &Book) -> Result<Ledger> {
    book.take().pop().ok_or_else(|| "a book without a topic".into())
}

/// Reads the whole stream and compares.
async fn read_back(server: &Server, book: &Book) -> Result<(u64, Faults)> {
    let mut client = Client::open(server.address, 0).await?;
    client.make_consumer("check", true).await?;
    let taken = drain(&mut client, "check", Ack::Last).await?;
    Ok(check_all(&ledger(book)?, true, &[taken]))
}

/// Publishing for the time of a row.
pub(crate) async fn publish(
    options: &Options,
    folder: &Path,
    sync: Sync,
    connections: usize,
    outstanding: u64,
) -> Result<Figure> {
    let (server, book) = (start(options, folder, sync).await?, book(1));
    let watch = Stopwatch::start(&server)?;
    let end = Some(Instant::now() + options.seconds);
    let latencies = publish_all(&server, connections, outstanding, end, 0, &book).await?;
    let figure = watch.stop(&server, latencies.len() as u64, Faults::default())?;
    let (verified, faults) = read_back(&server, &book).await?;
    Ok(Figure { latency: percentiles(latencies), verified, faults, ..figure })
}

/// A server whose stream is filled with so many messages: by one that syncs seldom, which is quicker, and then opened anew.
async fn filled(options: &Options, folder: &Path, sync: Sync, messages: u64) -> Result<(Server, Ledger)> {
    let (server, book) = (start(options, folder, Sync::Default).await?, book(1));
    publish_all(&server, CONNECTIONS, BATCH, None, messages / CONNECTIONS as u64, &book).await?;
    drop(server);
    Ok((open(options, folder, sync)?, ledger(&book)?))
}

/// Many clients of one consumer, each message acknowledged.
pub(crate) async fn consume_one(options: &Options, folder: &Path, sync: Sync) -> Result<Figure> {
    let (server, ledger) = filled(options, folder, sync, to_consume(options) / 4).await?;
    Client::open(server.address, 0).await?.make_consumer("c", false).await?;
    let mut clients = clients(&server, CONNECTIONS).await?;
    let watch = Stopwatch::start(&server)?;
    let taken = join(clients.iter_mut().map(|client| drain(client, "c", Ack::Each)).collect()).await?;
    let figure = watch.stop(&server, ledger.end(), Faults::default())?;
    let (verified, faults) = check_all(&ledger, false, &taken);
    Ok(Figure { verified, faults, ..figure })
}

/// As many consumers, a client each, the last message of a pull acknowledged for all.
pub(crate) async fn consume_each(options: &Options, folder: &Path, sync: Sync) -> Result<Figure> {
    let messages = to_consume(options) / CONNECTIONS as u64 / 4;
    let (server, ledger) = filled(options, folder, sync, messages).await?;
    let names: Vec<String> = (0..CONNECTIONS).map(|at| format!("c{at}")).collect();
    let mut admin = Client::open(server.address, 0).await?;
    for name in &names {
        admin.make_consumer(name, true).await?;
    }
    let mut clients = clients(&server, CONNECTIONS).await?;
    let watch = Stopwatch::start(&server)?;
    let consumers = clients.iter_mut().zip(&names).map(|(client, name)| drain(client, name, Ack::Last));
    let taken = join(consumers.collect()).await?;
    let figure = watch.stop(&server, taken.iter().map(Taken::count).sum(), Faults::default())?;
    let (mut verified, mut faults) = (0, Faults::default());
    for taken in taken {
        let (right, wrong) = check_all(&ledger, true, &[taken]);
        verified += right;
        faults.add(wrong);
    }
    Ok(Figure { verified, faults, ..figure })
}

/// What somebody who takes part in a flow did.
#[derive(Debug)]
enum Done {
    Published,
    /// With when each message came.
    Consumed(Taken, Vec<Instant>),
}

/// Waits for messages and acknowledges each, until so many have come; notes when each came.
async fn follow(mut client: Client, consumer: &str, total: u64) -> Result<Done> {
    let (size, mut taken, mut arrivals) = (Size::of_letters(MESSAGE), Taken::default(), Vec::new());
    let mut asked = 0;
    while taken.count() < total {
        if asked == 0 {
            client.ask(consumer, BATCH, Some(WAIT))?;
            asked = BATCH;
        }
        let incoming = client.next().await?;
        if incoming.is_status {
            asked = 0;
        } else {
            taken.push(client.offset(&incoming), size, client.payload(&incoming));
            arrivals.push(Instant::now());
            let last = taken.count() == total;
            client.acknowledge(&incoming, last.then_some("ack"))?;
            asked -= 1;
        }
    }
    loop {
        let incoming = client.next().await?;
        if client.reply_to(&incoming) == "ack" {
            return Ok(Done::Consumed(taken, arrivals));
        }
    }
}

/// Runs producers and consumers of a flow together.
async fn run(server: &Server, flow: Flow) -> Result<Figure> {
    let names: Vec<String> = (0..flow.subscriptions).map(|at| format!("c{at}")).collect();
    let mut admin = Client::open(server.address, 0).await?;
    for name in &names {
        admin.make_consumer(name, false).await?;
    }
    let (book, total) = (book(1), flow.each * flow.producers as u64);
    let sent: Vec<RefCell<Vec<Instant>>> = (0..flow.producers).map(|_| RefCell::default()).collect();
    let mut clients = clients(server, flow.producers + flow.subscriptions).await?;
    let watch = Stopwatch::start(server)?;
    let mut all: Vec<Pin<Box<dyn Future<Output = Result<Done>> + '_>>> = Vec::new();
    for ((client, number), sent) in clients.split_off(flow.subscriptions).into_iter().zip(0..).zip(&sent) {
        let (outstanding, messages) = (flow.batch, flow.each);
        let after = flow.every * number / u32::try_from(flow.producers)?;
        let producer = Producer { number, outstanding, end: None, messages, every: flow.every, after };
        let book = &book;
        all.push(Box::pin(async move { producer.run(client, book, sent).await.map(|_| Done::Published) }));
    }
    for (client, name) in clients.into_iter().zip(&names) {
        all.push(Box::pin(follow(client, name, total)));
    }
    let done = join(all).await?;
    let figure = watch.stop(server, total * flow.subscriptions as u64, Faults::default())?;
    let ledger = ledger(&book)?;
    let (mut verified, mut faults, mut latencies) = (0, Faults::default(), Vec::new());
    for done in done {
        let Done::Consumed(taken, arrivals) = done else { continue };
        for (stamp, arrived) in taken.stamps(0).zip(&arrivals) {
            let at = sent.get(stamp.producer as usize);
            let at = at.and_then(|of| of.borrow().get(usize::try_from(stamp.sequence).ok()?).copied());
            latencies.extend(at.map(|at| u32::try_from((*arrived - at).as_micros()).unwrap_or(u32::MAX)));
        }
        let (right, wrong) = check_all(&ledger, false, &[taken]);
        verified += right;
        faults.add(wrong);
    }
    Ok(Figure { latency: percentiles(latencies), verified, faults, ..figure })
}

/// As our fan-out.
pub(crate) async fn fan_out(options: &Options, folder: &Path, sync: Sync) -> Result<Figure> {
    let mut flow = fan_out_flow(options);
    // So that it lasts about as long as ours: each publish synced is slower by far.
    flow.each = (flow.each / if sync == Sync::Always { 40 } else { 4 }).max(flow.batch);
    let figure = run(&start(options, folder, sync).await?, flow).await?;
    Ok(Figure { latency: None, ..figure })
}

/// As our end to end.
pub(crate) async fn end_to_end(options: &Options, folder: &Path, sync: Sync) -> Result<Figure> {
    let figure = run(&start(options, folder, sync).await?, steady(options)).await?;
    let value = figure.latency.map_or(f64::MAX, |(p50, _)| f64::from(p50) / 1_000.0);
    Ok(Figure { value, ..figure })
}
