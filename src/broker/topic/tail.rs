//! Who waits for a topic's next message: local appends wake at once, others' are noticed by one poll per topic and node, which runs
//! only while somebody waits.

use super::TopicActor;
use crate::broker::Broker;
use crate::domain::Offset;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first pause between two polls; each poll that finds nothing doubles it, up to [`POLL_MAX`].
const POLL: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(2);

/// The latest known end of a topic's log, and who wants to hear of it.
#[derive(Debug)]
pub(super) struct TailWatch {
    next: watch::Sender<Offset>,
    polled: Mutex<bool>,
}

impl Default for TailWatch {
    fn default() -> Self {
        Self { next: watch::Sender::new(Offset(0)), polled: Mutex::new(false) }
    }
}

impl TopicActor {
    /// Tells waiters that the log reaches up to `next`.
    pub(super) fn announce(&self, next: Offset) {
        self.tail.next.send_if_modified(|known| {
            let later = *known < next;
            *known = next.max(*known);
            later
        });
    }

    /// The log's end as it grows, [`Offset`] `u64::MAX` once the log is gone. Dropping the receiver ends the interest.
    pub(in crate::broker) fn watch(self: &Arc<Self>, broker: &Broker) -> watch::Receiver<Offset> {
        let mut polled = self.tail.polled.lock();
        let receiver = self.tail.next.subscribe();
        if !std::mem::replace(&mut *polled, true) {
            tokio::spawn(Poll { topic: Arc::clone(self), over: false }.run(broker.clone()));
        }
        receiver
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
        let mut pause = POLL;
        loop {
            tokio::time::sleep(pause).await;
            // Held until the place is given up, so that nobody who begins to wait now relies on this poll.
            let waited_for = {
                let mut polled = self.topic.tail.polled.lock();
                *polled = self.topic.tail.next.receiver_count() > 0;
                *polled
            };
            if !waited_for {
                self.over = true;
                return;
            }
            let known = *self.topic.tail.next.borrow();
            pause = (pause * 2).min(POLL_MAX);
            match broker.inner.bounds(self.topic.log).await {
                Ok(Some(bounds)) if Offset(bounds.next.0) > known => {
                    pause = POLL;
                    self.topic.announce(Offset(bounds.next.0));
                }
                Ok(Some(_)) => {}
                Ok(None) => self.topic.announce(Offset(u64::MAX)),
                Err(error) => tracing::debug!(log = %self.topic.log, %error, "polling a topic failed"),
            }
        }
    }
}
