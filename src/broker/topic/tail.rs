//! Who waits for a topic's next message: local appends and other nodes' hints wake at once; what no hint tells of is noticed by one poll
//! per topic and node, which runs only while somebody waits.

use super::TopicActor;
use crate::broker::Broker;
use crate::domain::Offset;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// The first pause between two polls while hints do not arrive; each poll that finds nothing doubles it, up to [`POLL_MAX`].
const POLL: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(2);

/// The latest known end of a topic's log, and who wants to hear of it.
#[derive(Debug, Default)]
pub(super) struct TailWatch {
    end: Arc<End>,
    polled: Mutex<bool>,
}

/// What the watchers of a log share with it. They wake in the order in which they began to wait: tokio's own watch channel
/// wakes in a random one, and then no run could be repeated exactly.
#[derive(Debug, Default)]
struct End {
    next: AtomicU64,
    grown: Notify,
}

impl End {
    fn next(&self) -> Offset {
        Offset(self.next.load(Ordering::Acquire))
    }
}

/// One that watches the end of a log.
#[derive(Debug)]
pub(in crate::broker) struct TailReader {
    end: Arc<End>,
    seen: Offset,
}

impl TailReader {
    /// The end as it is known, which counts as seen from now on.
    pub(in crate::broker) fn look(&mut self) -> Offset {
        self.seen = self.end.next();
        self.seen
    }

    /// Waits until the log reaches farther than was seen.
    pub(in crate::broker) async fn grown(&mut self) {
        self.reaches(self.seen.plus(1)).await;
    }

    /// Waits until the log's next offset is at least this.
    pub(in crate::broker) async fn reaches(&mut self, next: Offset) {
        let end = Arc::clone(&self.end);
        loop {
            // Made before looking, so that what is announced between the two is not missed.
            let grown = end.grown.notified();
            if self.look() >= next {
                return;
            }
            grown.await;
        }
    }
}

impl TopicActor {
    /// Tells waiters that the log reaches up to `next`.
    pub(in crate::broker) fn announce(&self, next: Offset) {
        if self.tail.end.next.fetch_max(next.0, Ordering::AcqRel) < next.0 {
            self.tail.end.grown.notify_waiters();
        }
    }

    /// The log's end as it grows, [`Offset`] `u64::MAX` once the log is gone. Dropping the reader ends the interest.
    pub(in crate::broker) fn watch(self: &Arc<Self>, broker: &Broker) -> TailReader {
        let mut polled = self.tail.polled.lock();
        let mut reader = TailReader { end: Arc::clone(&self.tail.end), seen: Offset(0) };
        reader.look();
        if !std::mem::replace(&mut *polled, true) {
            tokio::spawn(Poll { topic: Arc::clone(self), over: false }.run(broker.clone()));
        }
        reader
    }
}

/// The poll of one topic. Dropped before it is over, as when its runtime shuts down, it leaves the place free.
struct Poll {
    topic: Arc<TopicActor>,
    over: bool,
}

impl Drop for Poll {
    fn drop(&mut self) {
        if !self.over {
            *self.topic.tail.polled.lock() = false;
        }
    }
}

impl Poll {
    async fn run(mut self, broker: Broker) {
        let first_pause = || if broker.inner.hearing.load(Ordering::Acquire) { POLL_MAX } else { POLL };
        let mut pause = first_pause();
        loop {
            tokio::time::sleep(pause).await;
            // Held until the place is given up, so that nobody who begins to wait now relies on this poll.
            let waited_for = {
                let mut polled = self.topic.tail.polled.lock();
                *polled = Arc::strong_count(&self.topic.tail.end) > 1;
                *polled
            };
            if !waited_for {
                self.over = true;
                return;
            }
            let known = self.topic.tail.end.next();
            pause = (pause * 2).min(POLL_MAX);
            match broker.inner.bounds(self.topic.log).await {
                Ok(Some(bounds)) if Offset(bounds.next.0) > known => {
                    pause = first_pause();
                    self.topic.announce(Offset(bounds.next.0));
                }
                Ok(Some(_)) => {}
                Ok(None) => self.topic.announce(Offset(u64::MAX)),
                Err(error) => tracing::debug!(log = %self.topic.log, %error, "polling a topic failed"),
            }
        }
    }
}
