//! Throughput and memory by the size of messages.

use super::Sample;
use crate::consume::{Mode, make_subscriptions, make_topics, read_back};
use crate::load::Size;
use crate::loads::ledger;
use crate::publish::{Load, Until, book, publish};
use crate::server::Server;
use crate::{Options, Result};
use std::path::Path;
use std::time::Instant;

/// Bytes that a request of many messages holds at most, and how many messages.
const REQUEST: usize = 4 << 20;
const BATCH: usize = 100;

pub(super) async fn run(options: &Options, folder: &Path, bytes: usize) -> Result<Sample> {
    let server = Server::start(&options.server, folder)?;
    make_topics(&server, 1).await?;
    make_subscriptions(&server, &["check".to_owned()], Mode::Cumulative).await?;
    let (book, size, mut sample) = (book(1), Size::of_bytes(bytes), Sample::default());
    let mib = bytes as f64 / 1_048_576.0;
    let batch = (REQUEST / bytes).min(BATCH) as u64;
    for (rate, volume, batch, first_producer) in
        [("single, msg/s", "MiB/s", 1, 0), ("batches, msg/s", "MiB/s ", batch, 16)]
    {
        let load = Load { size, first_producer, ..Load::new(16, batch, Until::Time(options.seconds)) };
        let published = publish(&server, load, &book).await?;
        sample.cell(rate, published.rate);
        sample.cell(volume, published.rate * mib);
    }
    let begun = Instant::now();
    let (verified, faults) = read_back(&server, "check", size, &ledger(book)?).await?;
    let rate = verified as f64 / begun.elapsed().as_secs_f64();
    sample.cell("read by 1, msg/s", rate);
    sample.cell("MiB/s  ", rate * mib);
    sample.cell("resident at most, MiB", server.memory()?.1);
    sample.checked((verified, faults));
    Ok(sample)
}
