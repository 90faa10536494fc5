//! Bounds on the memory that clients can make the service hold: request bodies on their way in, answers on their way out. What does not
//! fit is refused until others are done. Small ones are not counted: the number of connections bounds them.

use crate::domain::limits::LEASE_BYTES_MAX;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// How many bodies of the largest size there is room for, and as much again for answers.
pub(crate) const LARGEST: usize = 16;
/// There is room for any one answer always.
pub(crate) const LEAST: usize = 64 << 20;
/// What counts as small.
pub(crate) const SMALL: usize = 64 << 10;
/// How much of an answer is given to the connection at once.
const PIECE: usize = 256 << 10;

/// So many bytes, shared by all who need some.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    taken: AtomicUsize,
}

impl Room {
    /// Empty room.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    /// Whether so much would fit now.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes <= SMALL || self.taken.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit
    }

    /// A share of nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { room: Arc::clone(self), bytes: 0 }
    }
}

/// Bytes that somebody holds; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Share {
    /// Holds this many bytes in all; answers whether they fit, and holds no more than before if not.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if bytes <= SMALL || more == 0 {
            return true;
        }
        let before = self.room.taken.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.room.limit {
            self.room.taken.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }

    /// Holds this many bytes more, whether they fit or not: they are there already.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.room.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A large answer: holds its bytes in the room until its client has taken them, and goes out in pieces.
#[derive(Debug)]
pub(crate) struct Large {
    rest: Bytes,
    _share: Share,
}

impl Large {
    /// An answer that is there.
    pub(crate) fn new(answer: Vec<u8>, mut share: Share) -> Self {
        share.add(answer.len());
        Self { rest: Bytes::from(answer), _share: share }
    }
}

impl MessageBody for Large {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(piece)))
    }
}

const _: () = assert!(LEASE_BYTES_MAX / 3 * 4 < LEAST as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_until_others_are_done() {
        let room = Room::new(300_000);
        let (mut one, mut two) = (room.share(), room.share());
        assert!(one.grow_to(200_000) && !two.grow_to(200_000) && two.grow_to(100_000));
        assert!(!room.fits(70_000) && room.fits(SMALL), "small ones always fit");
        assert!(one.grow_to(150_000), "what is held already needs no more room");
        drop(one);
        assert!(two.grow_to(300_000) && !two.grow_to(300_001));
        drop(two);
        assert!(room.fits(300_000));
    }

    #[actix_web::test]
    async fn a_large_answer_goes_out_whole_and_holds_its_room_until_then() {
        let room = Room::new(1 << 20);
        let answer: Vec<u8> = (0..700_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let large = Large::new(answer.clone(), room.share());
        assert!(!room.fits(400_000));
        assert_eq!(actix_web::body::to_bytes(large).await.unwrap(), answer);
        assert!(room.fits(1 << 20));
    }
}
