//! Throughput and memory by the number of subscriptions on one topic.

use super::Sample;
use crate::consume::{Mode, make_subscriptions, make_topics, read_back};
use crate::flow::{self, Flow};
use crate::loads::ledger;
use crate::publish::{Load, Until, book, publish};
use crate::server::Server;
use crate::{Options, Result};
use std::path::Path;
use std::time::Duration;

/// Deliveries for each second of a load, whatever the number of subscriptions.
const DELIVERIES: u64 = 200_000;
/// Consumers, as far as there are not more subscriptions.
const CONSUMERS: usize = 16;
/// Producers, and messages a request.
const PRODUCERS: u64 = 4;
const BATCH: u64 = 100;

pub(super) async fn run(options: &Options, folder: &Path, subscriptions: usize) -> Result<Sample> {
    let mut sample = Sample::default();
    let resting = folder.join("resting");
    std::fs::create_dir_all(&resting)?;
    let server = Server::start(&options.server, &resting)?;
    make_topics(&server, 1).await?;
    let names: Vec<String> = (0..subscriptions).map(|at| format!("s{at}")).collect();
    make_subscriptions(&server, &names, Mode::Individual).await?;
    make_subscriptions(&server, &["check".to_owned()], Mode::Cumulative).await?;
    let book = book(1);
    let load = Load::new(16, BATCH, Until::Time(options.seconds));
    let published = publish(&server, load, &book).await?;
    sample.cell("publish 100 × 16, nobody pulls, msg/s", published.rate);
    sample.cell("a CPU-s", published.per_cpu);
    sample.checked(read_back(&server, "check", load.size, &ledger(book)?).await?);
    drop(server);
    std::fs::remove_dir_all(&resting)?;

    let server = Server::start(&options.server, folder)?;
    let deliveries = DELIVERIES * options.seconds.as_secs().max(1);
    let each = deliveries / subscriptions as u64 / PRODUCERS / BATCH * BATCH;
    let flow = Flow {
        producers: usize::try_from(PRODUCERS)?,
        batch: BATCH,
        each: each.max(BATCH),
        every: Duration::ZERO,
        subscriptions,
        consumers_each: CONSUMERS.div_ceil(subscriptions),
    };
    let flowed = flow::run(&server, flow).await?;
    sample.cell("publish and consume, deliveries/s", flowed.rate);
    sample.cell("a CPU-s ", flowed.per_cpu);
    sample.cell("resident at most, MiB", flowed.memory.1);
    sample.checked((flowed.verified, flowed.faults));
    Ok(sample)
}
