//! How the rows that need a server are run: each on a server of its own with a fresh folder, each checked.

use crate::consume::{Mode, Pulls, consume, join, make_subscriptions, make_topics, read_back};
use crate::document;
use crate::flow::{self, Flow, Flowed};
use crate::http::Connection;
use crate::load::Size;
use crate::publish::{Book, Load, Until, book, publish as publish_load};
use crate::report::Figure;
use crate::server::{Server, device_written};
use crate::verify::{Acks, Faults, Ledger, Taken, check_all};
use crate::{Options, Result};
use std::path::Path;
use std::time::Instant;

/// Connections that fill topics and that consume, and messages a request.
pub(crate) const CONNECTIONS: usize = 16;
pub(crate) const BATCH: u64 = 100;
/// The name of the subscription that a topic is read back through.
const CHECK: &str = "check";

/// Makes a topic and the subscription that it is read back through.
async fn prepare(server: &Server) -> Result<()> {
    make_topics(server, 1).await?;
    make_subscriptions(server, &[CHECK.to_owned()], Mode::Cumulative).await
}

/// What the only topic of a book acknowledged.
pub(crate) fn ledger(book: Book) -> Result<Ledger> {
    book.take().pop().ok_or_else(|| "a book without a topic".into())
}

/// Publishes for the time of a row, then reads everything back.
async fn measure(server: &Server, load: Load) -> Result<Figure> {
    prepare(server).await?;
    measure_prepared(server, load).await
}

async fn measure_prepared(server: &Server, load: Load) -> Result<Figure> {
    let book = book(1);
    let published = publish_load(server, load, &book).await?;
    let (_, peak_mib) = server.memory()?;
    let (verified, faults) = read_back(server, CHECK, load.size, &ledger(book)?).await?;
    Ok(Figure {
        value: published.rate,
        per_cpu: Some(published.per_cpu),
        latency: published.latency,
        peak_mib,
        verified,
        faults,
        note: None,
    })
}

pub(crate) async fn publish(options: &Options, folder: &Path, connections: usize, batch: u64) -> Result<Figure> {
    let load = Load::new(connections, batch, Until::Time(options.seconds));
    measure(&Server::start(&options.server, folder)?, load).await
}

pub(crate) async fn publish_tls(options: &Options, folder: &Path, connections: usize, batch: u64) -> Result<Figure> {
    let load = Load::new(connections, batch, Until::Time(options.seconds));
    measure(&Server::start_tls(&options.server, folder)?, load).await
}

/// Publishes JSON documents, to a topic with their schema or to one without.
pub(crate) async fn documents(options: &Options, folder: &Path, validated: bool) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server).await?;
    if validated {
        let mut line = server.connect().await?;
        line.call("POST", "/v1/projects/b/schemas/s", document::SCHEMA.as_bytes()).await?;
        let attach = br#"{"schema":"projects/b/schemas/s"}"#;
        line.call("POST", "/v1/projects/b/topics/t0:attachSchema", attach).await?;
    }
    let load = Load::new(CONNECTIONS, BATCH, Until::Time(options.seconds));
    measure_prepared(&server, Load { size: Size::document(), ..load }).await
}

/// The load of [`publish`] on the bare server. Nothing is kept, so nothing is read back.
pub(crate) async fn wire(options: &Options, folder: &Path, connections: usize, batch: u64) -> Result<Figure> {
    let server = Server::bare(folder)?;
    let load = Load::new(connections, batch, Until::Time(options.seconds));
    let published = publish_load(&server, load, &book(1)).await?;
    Ok(Figure {
        value: published.rate,
        per_cpu: Some(published.per_cpu),
        latency: published.latency,
        peak_mib: server.memory()?.1,
        ..Figure::default()
    })
}

/// Pulls and acknowledges made-up messages of the bare server, which never end.
pub(crate) async fn wire_consume(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::bare(folder)?;
    let end = Instant::now() + options.seconds;
    let watch = Stopwatch::start(&server)?;
    let consumers = (0..CONNECTIONS).map(async |_| {
        let mut line = server.connect().await?;
        let (mut acks, mut count) = (Acks::new(false), 0);
        while Instant::now() < end {
            let answer = line.call("POST", "/v1/projects/b/subscriptions/s:pull", b"{}").await?;
            count += Taken::default().take(answer, Size::of_bytes(1_024), &mut acks);
            line.call("POST", "/v1/projects/b/subscriptions/s:acknowledge", acks.body.as_bytes()).await?;
        }
        Ok(count)
    });
    let count = join(consumers.collect()).await?.iter().sum();
    Ok(Figure { verified: 0, ..watch.stop(&server, count, Faults::default())? })
}

/// The time and the server's processor time since a beginning.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    begun: Instant,
    cpu: f64,
}

impl Stopwatch {
    pub(crate) fn start(server: &Server) -> Result<Self> {
        Ok(Self { cpu: server.cpu()?, begun: Instant::now() })
    }

    /// The figure of so many messages since the start.
    pub(crate) fn stop(&self, server: &Server, messages: u64, faults: Faults) -> Result<Figure> {
        let (took, cpu) = (self.begun.elapsed().as_secs_f64(), server.cpu()? - self.cpu);
        let count = messages as f64;
        let per_cpu = Some(count / cpu.max(0.01));
        Ok(Figure {
            value: count / took,
            per_cpu,
            peak_mib: server.memory()?.1,
            verified: messages,
            faults,
            ..Figure::default()
        })
    }
}

/// How many messages are consumed so that it lasts about as long as is asked for.
pub(crate) fn to_consume(options: &Options) -> u64 {
    let messages = u64::try_from(options.seconds.as_millis()).unwrap_or(u64::MAX).saturating_mul(200);
    messages.div_ceil(CONNECTIONS as u64 * BATCH) * CONNECTIONS as u64 * BATCH
}

/// Fills the first topic with so many messages.
async fn fill(server: &Server, messages: u64) -> Result<Ledger> {
    let book = book(1);
    let each = messages.div_ceil(CONNECTIONS as u64 * BATCH) * BATCH;
    publish_load(server, Load::new(CONNECTIONS, BATCH, Until::Messages(each)), &book).await?;
    ledger(book)
}

async fn lines(server: &Server) -> Result<Vec<Connection>> {
    join((0..CONNECTIONS).map(|_| server.connect()).collect()).await
}

/// Many consumers of one individual subscription.
pub(crate) async fn individual(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    make_topics(&server, 1).await?;
    make_subscriptions(&server, &["work".to_owned()], Mode::Individual).await?;
    let ledger = fill(&server, to_consume(options)).await?;
    let mut lines = lines(&server).await?;
    let watch = Stopwatch::start(&server)?;
    let consumers = lines.iter_mut().map(|line| consume(line, "work", Pulls::by_100(Mode::Individual)));
    let taken = join(consumers.collect()).await?;
    let figure = watch.stop(&server, ledger.end(), Faults::default())?;
    let (verified, faults) = check_all(&ledger, false, &taken);
    Ok(Figure { verified, faults, ..figure })
}

/// As many cumulative subscriptions, a consumer each.
pub(crate) async fn cumulative(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    let names: Vec<String> = (0..CONNECTIONS).map(|at| format!("s{at}")).collect();
    make_topics(&server, 1).await?;
    make_subscriptions(&server, &names, Mode::Cumulative).await?;
    let ledger = fill(&server, to_consume(options) / CONNECTIONS as u64).await?;
    let mut lines = lines(&server).await?;
    let watch = Stopwatch::start(&server)?;
    let consumers = lines.iter_mut().zip(&names);
    let consumers = consumers.map(|(line, name)| consume(line, name, Pulls::by_100(Mode::Cumulative)));
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

/// A figure of a flow, its value yet to be chosen.
fn flowed(flowed: Flowed) -> Figure {
    Figure {
        value: flowed.rate,
        per_cpu: Some(flowed.per_cpu),
        latency: None,
        peak_mib: flowed.memory.1,
        verified: flowed.verified,
        faults: flowed.faults,
        note: None,
    }
}

async fn run_flow(options: &Options, folder: &Path, flow: Flow) -> Result<Flowed> {
    flow::run(&Server::start(&options.server, folder)?, flow).await
}

/// Publishing at full speed to a topic with ten subscriptions, each consumed: deliveries a second.
pub(crate) async fn fan_out(options: &Options, folder: &Path) -> Result<Figure> {
    Ok(flowed(run_flow(options, folder, flow::fan_out(options)).await?))
}

/// A fixed rate and one consumer that waits: the median in milliseconds.
pub(crate) async fn end_to_end(options: &Options, folder: &Path) -> Result<Figure> {
    let run = run_flow(options, folder, flow::steady(options)).await?;
    let (latency, value) = (run.latency, run.latency.map_or(f64::MAX, |(p50, _)| f64::from(p50) / 1_000.0));
    Ok(Figure { value, latency, ..flowed(run) })
}

/// Everything at once: the server's resident memory at most.
pub(crate) async fn full_load(options: &Options, folder: &Path) -> Result<Figure> {
    let figure = flowed(run_flow(options, folder, flow::everything(options)).await?);
    Ok(Figure { value: figure.peak_mib, ..figure })
}

/// From the start of the process, after it was killed, until it serves.
pub(crate) async fn open(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server).await?;
    let ledger = fill(&server, options.fill_mib * 1_024).await?;
    drop(server);
    let server = Server::start(&options.server, folder)?;
    let value = server.opened_in.as_secs_f64();
    let (verified, faults) = read_back(&server, CHECK, Size::of_bytes(1_024), &ledger).await?;
    let note = Some(format!("{} MiB of messages were there", ledger.end() / 1_024));
    Ok(Figure { value, peak_mib: server.memory()?.1, verified, faults, note, ..Figure::default() })
}

/// Resident memory of a service that was started on many topics and has listed them.
pub(crate) async fn idle(options: &Options, folder: &Path) -> Result<Figure> {
    const TOPICS: usize = 1_000;
    let server = Server::start(&options.server, folder)?;
    make_topics(&server, TOPICS).await?;
    crate::consume::subscribe_each(&server, TOPICS).await?;
    drop(server);
    let server = Server::start(&options.server, folder)?;
    let mut line = server.connect().await?;
    let listed = line.call("GET", "/v1/projects/b/subscriptions", b"").await?;
    let found = memchr::memmem::find_iter(listed, b"\"createdOn\"").count();
    let (value, peak_mib) = server.memory()?;
    let faults = Faults { lost: (TOPICS - found.min(TOPICS)) as u64, ..Faults::default() };
    Ok(Figure { value, peak_mib, verified: found as u64, faults, ..Figure::default() })
}

/// Bytes written for each byte of payload, while batches are published: at the device, and of the server's own account.
pub(crate) async fn amplification(options: &Options, folder: &Path) -> Result<Figure> {
    let server = Server::start(&options.server, folder)?;
    prepare(&server).await?;
    let book = book(1);
    let (device, own) = (device_written(folder), server.written()?);
    let load = Load::new(CONNECTIONS, BATCH, Until::Time(options.seconds));
    let published = publish_load(&server, load, &book).await?;
    let (device_after, own_after) = (device_written(folder), server.written()?);
    let (verified, faults) = read_back(&server, CHECK, load.size, &ledger(book)?).await?;
    let payload = (published.total * 1_024) as f64;
    let own = own_after.saturating_sub(own) as f64 / payload;
    let device = device.zip(device_after).map(|(before, after)| (after - before) as f64 / payload);
    let told = device.map_or_else(|| "not told by the kernel".to_owned(), |device| format!("{device:.2}"));
    let note = format!(
        "sectors that the block device wrote during the load, other programs' and the file system's journal included: {told}; \
         pages that the kernel wrote for the server, spare segments included: {own:.2}"
    );
    Ok(Figure {
        value: device.unwrap_or(own),
        peak_mib: server.memory()?.1,
        verified,
        faults,
        note: Some(note),
        ..Figure::default()
    })
}
