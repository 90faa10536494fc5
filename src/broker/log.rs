//! Logs as the broker uses them: reading, and compare-and-append carried through until its outcome is known.
//!
//! Owns the resolution of unknown outcomes by nonce. Never decides what to append, nor what to do after a conflict.

use super::Inner;
use super::documents::failed;
use crate::domain::{Error, Result, Timestamp};
use crate::storage::{
    Append, Batch, Bounds, Health, LogId, Nonce, Offset, Position, Purpose, Read, ReadLimit, StoreError, Time,
};
use bytes::Bytes;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often an append whose outcome stays unknown is looked for.
const TRIES: u32 = 20;
/// The first pause between two tries; each is twice the one before, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// For how long that is done: whoever asked wants an answer in time, and a lost majority does not come back in a moment.
const SETTLE_MAX: Duration = Duration::from_secs(8);

/// What to append.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) log: LogId,
    /// Only if this is the log's next offset.
    pub(super) expected: Offset,
    /// How many offsets it takes.
    pub(super) count: u32,
    pub(super) nonce: Nonce,
    pub(super) payload: Bytes,
    pub(super) purpose: Purpose,
    /// The log's kind, for metrics.
    pub(super) kind: &'static str,
}

/// What became of it, with certainty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It stands at the expected offset since this time.
    Appended(Timestamp),
    /// Somebody else's batch stands there.
    Conflict,
    /// The log is gone.
    Closed,
}

impl Inner {
    /// Reads batches.
    pub(super) async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.store.read(log, from, limit).await.map_err(failed)
    }

    /// The extent of a log; none when it is gone.
    pub(super) async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.store.bounds(log).await.map_err(failed)
    }

    /// Gives up everything below `before`.
    pub(super) async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.store.trim(log, before).await.map_err(failed)
    }

    /// A nonce that nobody has used.
    pub(super) fn nonce(&self) -> Nonce {
        Nonce { writer: self.writer, sequence: self.appends.fetch_add(1, Ordering::Relaxed) }
    }

    /// Appends. After an unknown outcome it reads back what stands at the expected offset, and if that is nothing yet tries the same
    /// append again: a log's offset is taken once, so it cannot happen twice.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when that could not be found out in time; any other error promises that nothing was appended.
    pub(super) async fn append(&self, entry: Entry) -> Result<Outcome> {
        if self.store.health() == Health::Down {
            return Err(Error::Unavailable("it does not answer".to_owned()));
        }
        let mut unknown: Option<StoreError> = None;
        let mut pause = PAUSE;
        let until = self.clock.monotonic().saturating_add(SETTLE_MAX);
        for attempt in 0..TRIES {
            if attempt > 0 && (self.clock.monotonic() >= until || self.store.health() == Health::Down) {
                break;
            }
            let batch = Batch {
                count: entry.count,
                time: Time(self.clock.wall()),
                nonce: entry.nonce,
                payload: entry.payload.clone(),
            };
            match self.store.append(entry.log, entry.expected, batch, entry.purpose).await {
                Ok(Append::Appended { time, .. }) => return Ok(Outcome::Appended(Timestamp(time.0))),
                Ok(Append::Closed) => return closed(unknown),
                Ok(Append::Conflict { .. }) if unknown.is_none() => {
                    self.metrics.conflicts.with_label_values(&[entry.kind]).inc();
                    return Ok(Outcome::Conflict);
                }
                Ok(Append::Conflict { .. }) => {}
                Err(error) if error.is_unknown() => {
                    self.metrics.unknown_outcomes.with_label_values(&[entry.kind]).inc();
                    #[cfg(feature = "planted")]
                    crate::domain::planted::doubt();
                    unknown = Some(error);
                }
                Err(error) if unknown.is_none() => return Err(failed(error)),
                Err(StoreError::Poisoned(why)) => return Err(Error::OutcomeUnknown(why)),
                Err(_) => {}
            }
            match self.read_back(&entry).await {
                Ok(Some(Outcome::Closed)) => return closed(unknown),
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error @ Error::OutcomeUnknown(_)) => return Err(error),
                Err(error) => tracing::debug!(log = %entry.log, %error, "reading back failed"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err(Error::OutcomeUnknown(unknown.map_or_else(String::new, |error| error.to_string())))
    }

    /// What stands where the entry should: none when nothing does.
    async fn read_back(&self, entry: &Entry) -> Result<Option<Outcome>> {
        let limit = ReadLimit { bytes: 0, batches: 1 };
        match self.read(entry.log, Position::Offset(entry.expected), limit).await? {
            Read::Batches(batches) => Ok(batches.first().map(|batch| {
                let ours = batch.first == entry.expected && batch.nonce == entry.nonce;
                if ours { Outcome::Appended(Timestamp(batch.time.0)) } else { Outcome::Conflict }
            })),
            Read::Trimmed { .. } => {
                Err(Error::OutcomeUnknown(format!("offset {} of {} is trimmed", entry.expected, entry.log)))
            }
            Read::Closed => Ok(Some(Outcome::Closed)),
        }
    }
}

/// The log is gone. If the append may have been made before that, nobody can tell any more, but somebody may have read it.
fn closed(unknown: Option<StoreError>) -> Result<Outcome> {
    unknown.map_or(Ok(Outcome::Closed), |error| Err(Error::OutcomeUnknown(format!("{error}; then the log was closed"))))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;
    use crate::storage::Store;
    use crate::storage::faulty::{Fault, Operation};

    async fn entry(fixture: &Fixture) -> Entry {
        let log = LogId(7);
        fixture.store.create(log, Offset(0)).await.unwrap();
        let nonce = fixture.broker.inner.nonce();
        let payload = Bytes::from_static(b"x");
        Entry { log, expected: Offset(0), count: 1, nonce, payload, purpose: Purpose::Growth, kind: "topic" }
    }

    async fn next(fixture: &Fixture) -> Offset {
        fixture.store.bounds(LogId(7)).await.unwrap().unwrap().next
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_reply_is_found_by_its_nonce_and_not_appended_twice() {
        let fixture = Fixture::new().await;
        let entry = entry(&fixture).await;
        fixture.store.fail_next(Operation::Append, Fault::LoseReply);
        fixture.store.fail_next(Operation::Read, Fault::Refuse);
        assert!(matches!(fixture.broker.inner.append(entry).await, Ok(Outcome::Appended(_))));
        assert_eq!(next(&fixture).await, Offset(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_request_is_made_again() {
        let fixture = Fixture::new().await;
        let entry = entry(&fixture).await;
        fixture.store.fail_next(Operation::Append, Fault::LoseRequest);
        assert!(matches!(fixture.broker.inner.append(entry).await, Ok(Outcome::Appended(_))));
        assert_eq!(next(&fixture).await, Offset(1));
    }

    #[tokio::test(start_paused = true)]
    async fn another_writers_batch_is_a_conflict_even_after_an_unknown_outcome() {
        let fixture = Fixture::new().await;
        let entry = entry(&fixture).await;
        let other = Entry { nonce: fixture.broker.inner.nonce(), ..entry.clone() };
        assert!(matches!(fixture.broker.inner.append(other).await, Ok(Outcome::Appended(_))));
        fixture.store.fail_next(Operation::Append, Fault::LoseRequest);
        assert_eq!(fixture.broker.inner.append(entry.clone()).await, Ok(Outcome::Conflict));
        assert_eq!(fixture.broker.inner.append(entry).await, Ok(Outcome::Conflict));
        assert_eq!(next(&fixture).await, Offset(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_that_stays_unknown_is_said_to_be() {
        let fixture = Fixture::new().await;
        let entry = entry(&fixture).await;
        for _ in 0..TRIES {
            fixture.store.fail_next(Operation::Append, Fault::LoseReply);
            fixture.store.fail_next(Operation::Read, Fault::Refuse);
        }
        assert!(matches!(fixture.broker.inner.append(entry).await, Err(Error::OutcomeUnknown(_))));
    }
}
