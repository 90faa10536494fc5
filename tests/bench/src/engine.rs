//! The storage engine by itself, in this process: one append after the other, each waited for, read back and compared at the end.

use crate::report::{Figure, percentiles};
use crate::verify::Faults;
use crate::{Options, Result};
use angelia::clock::Clock;
use angelia::storage::segment::vfs::RealVfs;
use angelia::storage::segment::{self, SegmentStore};
use angelia::storage::{Append, Batch, LogId, Nonce, Offset, Position, Purpose, Read, ReadLimit, Store, Time};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a message.
const MESSAGE: usize = 1_024;

/// Appends batches of so many messages: appends a second.
pub(crate) async fn append(options: &Options, folder: &Path, count: u32) -> Result<Figure> {
    let store = SegmentStore::open(folder, segment::Options::default(), Clock::System, Arc::new(RealVfs))?;
    let log = LogId(1);
    store.create(log, Offset(0)).await?;
    let payload = Bytes::from(vec![7; MESSAGE * count as usize]);
    let (begun, mut next, mut latencies) = (Instant::now(), Offset(0), Vec::new());
    while begun.elapsed() < options.seconds {
        let start = Instant::now();
        let batch = Batch { count, time: Time(1), nonce: Nonce::default(), payload: payload.clone() };
        let appended = store.append(log, next, batch, Purpose::Growth).await?;
        if !matches!(appended, Append::Appended { first, .. } if first == next) {
            return Err(format!("an append answered {appended:?}").into());
        }
        latencies.push(u32::try_from(start.elapsed().as_micros())?);
        next = next.plus(u64::from(count));
    }
    let value = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    let (verified, damaged) = read_back(&store, log, &payload).await?;
    let faults = Faults { lost: next.0 - verified, damaged, ..Faults::default() };
    segment::SegmentStore::close(&store).await?;
    Ok(Figure { value, latency: percentiles(latencies), verified, faults, ..Figure::default() })
}

/// How many messages there are, and how many batches are not what was appended.
async fn read_back(store: &SegmentStore, log: LogId, payload: &Bytes) -> Result<(u64, u64)> {
    let (mut at, mut damaged) = (Offset(0), 0);
    loop {
        let limit = ReadLimit { bytes: 8 << 20, batches: 4_096 };
        let Read::Batches(batches) = store.read(log, Position::Offset(at), limit).await? else {
            return Err("the log is gone".into());
        };
        damaged += batches.iter().filter(|batch| batch.payload != *payload).count() as u64;
        match batches.last() {
            Some(last) => at = last.next(),
            None => return Ok((at.0, damaged)),
        }
    }
}
