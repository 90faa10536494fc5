//! Throughput and memory by the number of topics.

use super::Sample;
use crate::consume::{make_topics, read_back_each, subscribe_each};
use crate::publish::{Load, Until, book, publish};
use crate::server::Server;
use crate::{Options, Result};
use std::path::Path;

pub(super) async fn run(options: &Options, folder: &Path, topics: usize) -> Result<Sample> {
    let server = Server::start(&options.server, folder)?;
    make_topics(&server, topics).await?;
    subscribe_each(&server, topics).await?;
    let mut sample = Sample::default();
    sample.cell("resident before, MiB", server.memory()?.0);
    let book = book(topics);
    let until = Until::Time(options.seconds);
    let singles = Load { topics, ..Load::new(64, 1, until) };
    let batches = Load { topics, first_producer: 64, ..Load::new(16, 100, until) };
    let size = singles.size;
    let singles = publish(&server, singles, &book).await?;
    sample.cell("singles × 64, msg/s", singles.rate);
    sample.cell("a CPU-s", singles.per_cpu);
    let batches = publish(&server, batches, &book).await?;
    sample.cell("100 × 16, msg/s", batches.rate);
    sample.cell("a CPU-s ", batches.per_cpu);
    sample.cell("resident at most, MiB", server.memory()?.1);
    sample.checked(read_back_each(&server, size, &book.take()).await?);
    Ok(sample)
}
