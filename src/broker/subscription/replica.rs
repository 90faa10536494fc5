//! A subscription's state as this node knows it: rebuilt from the subscription's own log, kept up with it, and changed only by what
//! was appended to it.
//!
//! Owns the reading and writing of that log: events, snapshots, trim. Decides nothing.

use crate::broker::Broker;
use crate::broker::codec::event::{Body, Record};
use crate::broker::codec::snapshot::{self, Assembly};
use crate::broker::log::{Entry, Outcome};
use crate::domain::subscription::{Event, State, apply};
use crate::domain::{Error, LogRef, Offset, Resource, Result};
use crate::storage::{LogId, Position, Purpose, Read, ReadLimit, StoredBatch, Time};

const READ: ReadLimit = ReadLimit { bytes: 1 << 20, batches: 1_024 };
/// A snapshot is made after so many bytes of events, if not sooner for their count, but never less than twice the last
/// snapshot's size.
const SNAPSHOT_BYTES: usize = 256 << 10;
/// A subscription that nobody uses any more is left with at most so many batches to read.
const BATCHES_LEFT: u32 = 16;
/// How often loading begins anew because the log was trimmed under it.
const LOADS_MAX: u32 = 5;

/// The state as of the log's offset `next`.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) state: State,
    log: LogId,
    next: Offset,
    newest_snapshot: Option<Offset>,
    /// Batches and bytes of events since the newest snapshot.
    since: (u32, usize),
    snapshot_bytes: usize,
}

/// What of a state tells the backlog.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Stand {
    /// The end of the subscription's own log that it holds for.
    pub(in crate::broker) at: Offset,
    /// The log of the topic it stands on; none before the first event.
    pub(in crate::broker) topic: Option<LogRef>,
    /// The ack floor.
    pub(in crate::broker) floor: Offset,
    /// How many messages above the floor are acknowledged.
    pub(in crate::broker) acknowledged_above: u64,
}

impl Replica {
    /// Rebuilds the state from the log.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the log is gone, [`Error::Damaged`] when it makes no sense.
    pub(super) async fn load(broker: &Broker, log: LogId) -> Result<Self> {
        let mut kept = Offset(0);
        for _ in 0..LOADS_MAX {
            let tail = read(broker, log, Position::Tail).await?.ok().and_then(|batches| batches.into_iter().next());
            // Whatever is appended from here on is caught up with, as always.
            let end = tail.as_ref().map_or(Offset(0), |batch| Offset(batch.next().0));
            let newest = tail.map(|batch| Record::decode(&batch.payload)).transpose()?;
            // Whoever trimmed a log did it up to a complete snapshot.
            let start = newest.and_then(|record| record.newest_snapshot).unwrap_or_default().max(kept);
            let mut replay = Replay { start, next: start, ..Replay::default() };
            match replay.read_to(end, broker, log).await? {
                None => return replay.finish(log),
                Some(first) => kept = first,
            }
        }
        Err(Error::Overloaded("changes of one subscription"))
    }

    /// Applies what others have appended since.
    pub(super) async fn catch_up(&mut self, broker: &Broker) -> Result<()> {
        loop {
            let from = Position::Offset(crate::storage::Offset(self.next.0));
            match read(broker, self.log, from).await? {
                Ok(batches) if batches.is_empty() => return Ok(()),
                Ok(batches) => {
                    for batch in batches {
                        let record = Record::decode(&batch.payload)?;
                        self.next = Offset(batch.next().0);
                        if record.newest_snapshot > self.newest_snapshot {
                            self.newest_snapshot = record.newest_snapshot;
                            self.since = (0, 0);
                        }
                        if let Body::Events(events) = record.body {
                            events.iter().for_each(|event| apply(&mut self.state, event));
                            self.count(batch.payload.len());
                        }
                    }
                }
                Err(_) => {
                    *self = Self::load(broker, self.log).await?;
                    return Ok(());
                }
            }
        }
    }

    /// What of the state tells the backlog.
    pub(super) fn stand(&self) -> Stand {
        let (floor, end) = (self.state.floor(), Offset(u64::MAX));
        let acknowledged_above = end.since(floor).saturating_sub(self.state.backlog(end));
        Stand { at: self.next, topic: self.state.log(), floor, acknowledged_above }
    }

    /// Whether nobody has appended anything that is not applied here.
    pub(super) async fn is_current(&self, broker: &Broker) -> Result<bool> {
        let bounds = broker.inner.bounds(self.log).await?;
        Ok(bounds.ok_or(Error::NotFound(Resource::Subscription))?.next.0 == self.next.0)
    }

    /// Appends events that were applied to the state already. After any other outcome than [`Outcome::Appended`] the state
    /// is ahead of the log and must be thrown away.
    pub(super) async fn append(&mut self, broker: &Broker, events: Vec<Event>, purpose: Purpose) -> Result<Outcome> {
        #[cfg(feature = "planted")]
        let (again, _) = (events.clone(), crate::domain::planted::doubted());
        let record = Record { newest_snapshot: self.newest_snapshot, body: Body::Events(events) };
        let bytes = record.encode();
        let size = bytes.len();
        let outcome = self.append_record(broker, bytes, purpose).await?;
        #[cfg(feature = "planted")]
        if crate::domain::planted::doubted() && crate::domain::planted::is(crate::domain::planted::Bug::ApplyTwice) {
            again.iter().for_each(|event| apply(&mut self.state, event));
        }
        self.count(size);
        Ok(outcome)
    }

    async fn append_record(&mut self, broker: &Broker, payload: bytes::Bytes, purpose: Purpose) -> Result<Outcome> {
        let expected = crate::storage::Offset(self.next.0);
        let nonce = broker.inner.nonce();
        let entry = Entry { log: self.log, expected, count: 1, nonce, payload, purpose, kind: "subscription" };
        let outcome = broker.inner.append(entry).await?;
        if let Outcome::Appended(_) = outcome {
            self.next = self.next.plus(1);
        }
        Ok(outcome)
    }

    fn count(&mut self, bytes: usize) {
        self.since = (self.since.0.saturating_add(1), self.since.1.saturating_add(bytes));
    }

    /// Whether the way from the newest snapshot has grown long.
    pub(super) fn wants_snapshot(&self, every: u32) -> bool {
        let (batches, bytes) = self.since;
        (batches >= every && bytes >= self.snapshot_bytes) || bytes >= SNAPSHOT_BYTES.max(2 * self.snapshot_bytes)
    }

    /// Whether loading would take more than a handful of batches.
    pub(super) const fn leaves_much(&self) -> bool {
        self.since.0 > BATCHES_LEFT
    }

    /// Appends a snapshot as of now and gives up what lies before it. `false` when somebody else appended meanwhile: then
    /// there is none, and the state is as it was.
    pub(super) async fn take_snapshot(&mut self, broker: &Broker) -> Result<bool> {
        let as_of = self.next;
        let chunks = snapshot::chunks(&self.state, as_of);
        self.snapshot_bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        self.since = (0, 0);
        for chunk in chunks {
            let record = Record { newest_snapshot: self.newest_snapshot, body: Body::Chunk(chunk) };
            if !matches!(self.append_record(broker, record.encode(), Purpose::Relief).await?, Outcome::Appended(_)) {
                return Ok(false);
            }
        }
        self.newest_snapshot = Some(as_of);
        self.trim(broker, as_of).await?;
        Ok(true)
    }

    /// Gives up what lies before a snapshot, but not what is younger than the history to keep.
    async fn trim(&self, broker: &Broker, snapshot: Offset) -> Result<()> {
        let mut before = snapshot;
        let history = broker.inner.options.history;
        if !history.is_zero() {
            let micros = u64::try_from(history.as_micros()).unwrap_or(u64::MAX);
            let since = Position::Time(Time(broker.inner.clock.wall().saturating_sub(micros)));
            let young = read(broker, self.log, since).await?.ok().and_then(|batches| batches.into_iter().next());
            let young =
                young.map(|batch| Record::decode(&batch.payload).map(|record| (batch.first, record))).transpose()?;
            // What leads to the state at that time is the snapshot before it.
            before = young.map_or(snapshot, |(first, record)| {
                record.newest_snapshot.unwrap_or_default().min(Offset(first.0)).min(snapshot)
            });
        }
        broker.inner.trim(self.log, crate::storage::Offset(before.0)).await
    }
}

/// A log that is being read from a snapshot's offset, or from its beginning.
#[derive(Default)]
struct Replay {
    start: Offset,
    next: Offset,
    chunks: Assembly,
    snapshot: Option<(Offset, State)>,
    snapshot_bytes: usize,
    /// With their place and size; those that no snapshot covers.
    events: Vec<(Offset, usize, Vec<Event>)>,
    newest_snapshot: Option<Offset>,
}

impl Replay {
    /// Reads on to an offset; answers the first kept one when the way there is trimmed.
    async fn read_to(&mut self, end: Offset, broker: &Broker, log: LogId) -> Result<Option<Offset>> {
        while self.next < end {
            let from = Position::Offset(crate::storage::Offset(self.next.0));
            let batches = match read(broker, log, from).await? {
                Ok(batches) => batches,
                Err(first) => return Ok(Some(first)),
            };
            if batches.is_empty() {
                return Err(Error::Damaged(format!("{log} ends at offset {}, before its end {end}", self.next)));
            }
            for batch in batches {
                let record = Record::decode(&batch.payload)?;
                self.newest_snapshot = self.newest_snapshot.max(record.newest_snapshot);
                match record.body {
                    Body::Chunk(chunk) => {
                        if let Some((as_of, state)) = self.chunks.add(chunk)? {
                            self.events.retain(|(at, ..)| *at >= as_of);
                            self.snapshot_bytes = snapshot::encode(&state).len();
                            self.snapshot = Some((as_of, state));
                        }
                    }
                    Body::Events(events) => self.events.push((Offset(batch.first.0), batch.payload.len(), events)),
                }
                self.next = Offset(batch.next().0);
            }
        }
        Ok(None)
    }

    fn finish(self, log: LogId) -> Result<Replica> {
        let (as_of, state) = match self.snapshot {
            Some((as_of, state)) => (Some(as_of), state),
            None if self.start == Offset(0) => (None, State::default()),
            None => return Err(Error::Damaged(format!("{log} has no snapshot at or after offset {}", self.start))),
        };
        let (next, newest_snapshot) = (self.next, as_of.max(self.newest_snapshot));
        let mut replica =
            Replica { state, log, next, newest_snapshot, since: (0, 0), snapshot_bytes: self.snapshot_bytes };
        #[cfg(feature = "planted")]
        if as_of.is_some() && crate::domain::planted::is(crate::domain::planted::Bug::ForgetTrimmedFloor) {
            replica.state.cursor.reset(Offset(0));
        }
        for (_, bytes, events) in &self.events {
            events.iter().for_each(|event| apply(&mut replica.state, event));
            replica.count(*bytes);
        }
        Ok(replica)
    }
}

/// Batches of a subscription's log, or its first kept offset when the position is trimmed.
async fn read(broker: &Broker, log: LogId, from: Position) -> Result<std::result::Result<Vec<StoredBatch>, Offset>> {
    match broker.inner.read(log, from, READ).await? {
        Read::Batches(batches) => Ok(Ok(batches)),
        Read::Trimmed { first } => Ok(Err(Offset(first.0))),
        Read::Closed => Err(Error::NotFound(Resource::Subscription)),
    }
}
