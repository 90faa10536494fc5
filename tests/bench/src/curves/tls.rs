//! What TLS costs.

use super::Sample;
use crate::consume::{Mode, Pulls, consume, join, make_subscriptions, make_topics};
use crate::http::Connection;
use crate::loads::{CONNECTIONS, Stopwatch, ledger};
use crate::publish::{Load, Until, book, publish};
use crate::server::Server;
use crate::verify::{Faults, check_all};
use crate::{Options, Result};
use std::path::Path;

pub(super) async fn run(options: &Options, folder: &Path, tls: bool) -> Result<Sample> {
    let start = if tls { Server::start_tls } else { Server::start };
    let server = start(&options.server, folder)?;
    make_topics(&server, 1).await?;
    make_subscriptions(&server, &["work".to_owned()], Mode::Individual).await?;
    let (book, mut sample) = (book(1), Sample::default());
    for (rate, per_cpu, connections, batch, first_producer) in [
        ("1 connection, msg/s", "a CPU-s", 1, 1, 0),
        ("64, msg/s", "a CPU-s ", 64, 1, 1),
        ("100 × 16, msg/s", "a CPU-s  ", 16, 100, 65),
    ] {
        let load = Load { first_producer, ..Load::new(connections, batch, Until::Time(options.seconds)) };
        let published = publish(&server, load, &book).await?;
        sample.cell(rate, published.rate);
        sample.cell(per_cpu, published.per_cpu);
    }
    let ledger = ledger(book)?;
    let mut lines: Vec<Connection> = join((0..CONNECTIONS).map(|_| server.connect()).collect()).await?;
    let watch = Stopwatch::start(&server)?;
    let consumers = lines.iter_mut().map(|line| consume(line, "work", Pulls::by_100(Mode::Individual)));
    let taken = join(consumers.collect()).await?;
    let figure = watch.stop(&server, ledger.end(), Faults::default())?;
    sample.cell("pull and ack 100 × 16, msg/s", figure.value);
    sample.cell("a CPU-s   ", figure.per_cpu.unwrap_or_default());
    sample.cell("resident at most, MiB", figure.peak_mib);
    sample.checked(check_all(&ledger, false, &taken));
    Ok(sample)
}
