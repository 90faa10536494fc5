//! What waits for the writer thread: a bounded queue with awaitable back-pressure.
//!
//! Owns the waiting requests and wakes the writer directly. Decides nothing.

use super::checkpoint::Checkpoint;
use crate::storage::{Append, Batch, Created, Key, LogId, Offset, Purpose, Put, Result, StoredBatch, Version};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Most bytes that may wait; callers beyond wait their turn.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// What a request costs besides its payload: bounds their number too.
const REQUEST_COST: usize = 4 << 10;
/// Semaphores count in these.
const UNIT: usize = 1 << 10;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A change that somebody asks for.
#[derive(Debug)]
pub(super) enum Request {
    Create {
        log: LogId,
        first: Offset,
        reply: Reply<Created>,
    },
    Append {
        log: LogId,
        expected: Offset,
        batch: Batch,
        purpose: Purpose,
        reply: Reply<Append>,
    },
    Trim {
        log: LogId,
        before: Offset,
        reply: Reply<()>,
    },
    Close {
        log: LogId,
        reply: Reply<()>,
    },
    Put {
        key: Key,
        value: Bytes,
        expected: Version,
        reply: Reply<Put>,
    },
    Delete {
        key: Key,
        expected: Version,
        reply: Reply<Put>,
    },
    /// A live batch of an old segment, to be written again.
    Move {
        log: LogId,
        batch: StoredBatch,
        reply: Reply<()>,
    },
    /// Seal the segment and say what everything before is worth: the cut of a backup.
    Cut {
        reply: Reply<Checkpoint>,
    },
    /// The end of the stream.
    Stop {
        reply: Reply<()>,
    },
}

impl Request {
    /// Payload bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.payload.len(),
            Self::Move { batch, .. } => batch.payload.len(),
            Self::Put { key, value, .. } => key.0.len() + value.len(),
            _ => 0,
        }
    }

    fn is_barrier(&self) -> bool {
        matches!(self, Self::Cut { .. } | Self::Stop { .. })
    }
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<(Request, Option<OwnedSemaphorePermit>)>,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX / UNIT));
        Self { inner: Mutex::default(), wake: Condvar::new(), room }
    }

    /// Puts a request in, waiting for room. A closed queue drops it, and with it its reply.
    pub(super) async fn push(&self, request: Request) {
        let units = u32::try_from((request.bytes() + REQUEST_COST) / UNIT).unwrap_or(u32::MAX);
        // Only `close` makes it fail, and then the request is dropped below.
        let permit = Arc::clone(&self.room).acquire_many_owned(units).await.ok();
        self.enter(request, permit);
    }

    /// Puts a request in at once: the engine's own few.
    pub(super) fn push_now(&self, request: Request) {
        self.enter(request, None);
    }

    fn enter(&self, request: Request, permit: Option<OwnedSemaphorePermit>) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.waiting.push_back((request, permit));
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Waits for requests and takes them in order, up to these limits or the first that stands for itself. None: closed.
    pub(super) fn drain(&self, count: usize, bytes: usize) -> Option<Vec<Request>> {
        let mut inner = self.inner.lock();
        while inner.waiting.is_empty() {
            if inner.closed {
                return None;
            }
            self.wake.wait(&mut inner);
        }
        let (mut taken, mut size) = (Vec::new(), 0);
        while let Some((request, _)) = inner.waiting.front() {
            size += request.bytes();
            if !taken.is_empty() && (taken.len() >= count || size > bytes) {
                break;
            }
            let Some((request, _permit)) = inner.waiting.pop_front() else { break };
            let stop = request.is_barrier();
            taken.push(request);
            if stop {
                break;
            }
        }
        Some(taken)
    }

    /// Drops what waits and whatever comes.
    pub(super) fn close(&self) {
        let waiting = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            std::mem::take(&mut inner.waiting)
        };
        drop(waiting);
        self.room.close();
        self.wake.notify_all();
    }
}
