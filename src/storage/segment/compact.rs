//! Copying forward: a segment in which little is alive is emptied, so that a small quiet log does not keep 64 MiB for ever.
//!
//! Owns the choice of the segment and the copying. The copies are ordinary records of the stream, so a crash at any instant
//! leaves either place whole; the writer drops what was trimmed or closed meanwhile.

use super::Shared;
use super::queue::Request;
use super::state::{Log, RunRead, State};
use crate::storage::{LogId, Result};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A sealed segment is emptied when less than this part of it, in percent, is alive.
const ALIVE_PERCENT: u64 = 30;
/// What is copied at a time.
const STEP_BYTES: usize = 1 << 20;
/// How many batches are under way at a time.
const STEP_BATCHES: usize = 512;

/// Empties one segment, if one is worth it. Answers whether it did.
pub(super) fn step(shared: &Arc<Shared>) -> bool {
    let room = shared.room();
    let Some((victim, alive)) = victim(&shared.state.read(), shared.options.segment_bytes) else { return false };
    if room.is_some_and(|room| room.left < 2 * alive + shared.options.segment_bytes / 2) {
        return false;
    }
    match empty(shared, victim) {
        Ok(copied) => copied,
        Err(error) => {
            tracing::error!(%error, "a segment cannot be emptied");
            false
        }
    }
}

/// The sealed segment with the least alive, if that is little, and how much that is.
fn victim(state: &State, segment_bytes: u64) -> Option<(u64, u64)> {
    let sealed = state.segments.iter().filter(|(sequence, segment)| **sequence != state.active && segment.runs > 0);
    let least = sealed.map(|(sequence, segment)| (*sequence, segment.bytes)).min_by_key(|(_, alive)| *alive)?;
    (least.1 * 100 < segment_bytes * ALIVE_PERCENT).then_some(least)
}

/// Copies all that is alive of a segment, log by log, a step at a time. Answers whether nothing is left in it.
fn empty(shared: &Arc<Shared>, sequence: u64) -> Result<bool> {
    let logs: Vec<LogId> = {
        let state = shared.state.read();
        let holds = |log: &Log| log.runs.iter().any(|run| run.segment == sequence);
        state.logs.iter().filter(|(_, log)| holds(log)).map(|(id, _)| *id).collect()
    };
    let (mut answers, mut bytes) = (Vec::new(), 0);
    for log in logs {
        let mut from = 0;
        loop {
            // The lock must be free again before anybody waits for the writer.
            let found = next_run(&shared.state.read(), log, from, sequence);
            let Some((offset, run)) = found else { break };
            for batch in run.batches(offset, STEP_BYTES)? {
                from = batch.next().0;
                bytes += batch.payload.len();
                let (reply, answer) = oneshot::channel();
                shared.queue.push_now(Request::Move { log, batch, reply });
                answers.push(answer);
            }
            if bytes >= STEP_BYTES || answers.len() >= STEP_BATCHES {
                bytes = 0;
                if !all_done(&mut answers) {
                    return Ok(false);
                }
            }
        }
    }
    let done = all_done(&mut answers);
    Ok(done && shared.state.read().segments.get(&sequence).is_none_or(|segment| segment.runs == 0))
}

fn all_done(answers: &mut Vec<oneshot::Receiver<Result<()>>>) -> bool {
    answers.drain(..).all(|answer| matches!(answer.blocking_recv(), Ok(Ok(()))))
}

/// The next run of a log in a segment at or above an offset, and where it is alive.
fn next_run(state: &State, log: LogId, from: u64, sequence: u64) -> Option<(u64, RunRead)> {
    let found = state.logs.get(&log)?;
    let from = from.max(found.first);
    let run = found.runs.iter().find(|run| run.segment == sequence && run.next > from)?;
    let offset = run.first.max(from);
    Some((offset, state.run_read(log, offset, *run)?))
}
