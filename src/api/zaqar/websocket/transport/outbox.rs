//! What waits to be taken by a client. The body of the answer that made its connection a WebSocket takes from it, as fast as the client
//! reads; it counts in the room of answers until then.

use crate::api::Share;
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// How much is given to the connection at once.
const PIECE: usize = 64 << 10;

/// One client's. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something was taken, or nobody will take anything again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<(Bytes, Option<Share>)>,
    bytes: usize,
    /// Bytes taken so far.
    taken: u64,
    /// Nothing comes behind what waits.
    closed: bool,
    /// Nobody takes anything any more.
    gone: bool,
    taker: Option<Waker>,
}

impl Outbox {
    /// Puts bytes behind all others, with the share of room that they hold. Nothing happens when it is closed.
    pub(super) fn push(&self, bytes: Bytes, share: Option<Share>) {
        let mut waiting = self.0.waiting.lock();
        if !waiting.closed && !bytes.is_empty() {
            waiting.bytes += bytes.len();
            waiting.pieces.push_back((bytes, share));
            wake(waiting.taker.take());
        }
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.0.waiting.lock().bytes
    }

    /// How many bytes have been taken in all.
    pub(super) fn taken(&self) -> u64 {
        self.0.waiting.lock().taken
    }

    /// Whether the connection is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.0.waiting.lock().gone
    }

    /// What waits is the last.
    pub(super) fn close(&self) {
        let mut waiting = self.0.waiting.lock();
        waiting.closed = true;
        wake(waiting.taker.take());
    }

    /// Ends when something was taken since it ended last.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

fn wake(taker: Option<Waker>) {
    if let Some(taker) = taker {
        taker.wake();
    }
}

/// The taking end.
#[derive(Debug)]
pub(super) struct Outgoing(pub(super) Outbox);

impl MessageBody for Outgoing {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let Outbox(shared) = &self.0;
        let mut waiting = shared.waiting.lock();
        let Some((bytes, _)) = waiting.pieces.front_mut() else {
            if waiting.closed {
                return Poll::Ready(None);
            }
            waiting.taker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let piece = bytes.split_to(bytes.len().min(PIECE));
        if bytes.is_empty() {
            waiting.pieces.pop_front();
        }
        waiting.bytes -= piece.len();
        waiting.taken += piece.len() as u64;
        drop(waiting);
        shared.changed.notify_one();
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Outbox(shared) = &self.0;
        let left = {
            let mut waiting = shared.waiting.lock();
            (waiting.closed, waiting.gone, waiting.bytes) = (true, true, 0);
            std::mem::take(&mut waiting.pieces)
        };
        drop(left);
        shared.changed.notify_one();
    }
}
