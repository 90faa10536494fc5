//! Notices between nodes: what grew here is told to the others at once, so that pulls which wait there wake.
//!
//! Best effort: what does not arrive is found by looking. Owns the connections, and who was heard when. A node connects to each other one
//! and only speaks there; what it hears comes by connections that others made. What is said is the affair of `frames`.

use super::frames::{self, Frame, GROWTH_MAX, Line};
use crate::broker::{Broker, Growth};
use crate::domain::subscription::NodeId;
use crate::domain::{LogRef, Offset};
use crate::telemetry::metrics::Metrics;
use aws_lc_rs::hmac::Key;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::Result;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A node that has nothing to say says so this often.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// A node that was not heard for so long is not heard.
const HEARD_AFTER: Duration = Duration::from_millis(2_500);
/// For a connection to be made, and for a frame to be taken.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Until a connection that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Most logs that wait to be told of to one node, and connections that others may have open here.
const WAITING_MAX: usize = 4_096;
const CONNECTIONS_MAX: usize = 256;

/// Notices to and from the other nodes.
pub(super) struct Notices {
    own: NodeId,
    secret: Key,
    broker: Broker,
    metrics: Arc<Metrics>,
    peers: Mutex<HashMap<NodeId, Peer>>,
    heard: Mutex<HashMap<NodeId, Duration>>,
    /// Told when a node says that the nodes have changed.
    pub(super) look: Notify,
    room: Arc<Semaphore>,
}

/// A node that is spoken to.
struct Peer {
    address: String,
    outbox: Arc<Outbox>,
    task: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is still to be said to a node.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    look: bool,
    growth: HashMap<LogRef, Offset>,
}

impl Outbox {
    /// Adds what grew; what has no room is not told.
    fn put(&self, growth: Growth) {
        let mut waiting = self.waiting.lock();
        if waiting.growth.len() < WAITING_MAX || waiting.growth.contains_key(&growth.log) {
            let next = waiting.growth.entry(growth.log).or_default();
            *next = growth.next.max(*next);
        }
        self.filled.notify_one();
    }

    fn put_look(&self) {
        self.waiting.lock().look = true;
        self.filled.notify_one();
    }

    /// The next frame; whether there is more.
    fn take(&self) -> (Frame, bool) {
        let mut waiting = self.waiting.lock();
        let logs: Vec<LogRef> = waiting.growth.keys().take(GROWTH_MAX).copied().collect();
        let growth = logs.into_iter().filter_map(|log| Some(Growth { log, next: waiting.growth.remove(&log)? }));
        let growth = growth.collect();
        (Frame { look: std::mem::take(&mut waiting.look), growth }, !waiting.growth.is_empty())
    }
}

impl Notices {
    pub(super) fn new(secret: &str, broker: &Broker, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            own: broker.node(),
            secret: frames::key(secret),
            broker: broker.clone(),
            metrics: Arc::clone(metrics),
            peers: Mutex::default(),
            heard: Mutex::default(),
            look: Notify::new(),
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Takes connections and passes on what grows, until it is told to stop.
    pub(super) async fn run(self: Arc<Self>, socket: TcpListener, stop: CancellationToken) {
        let mut growth = self.broker.growth();
        let mut listening = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = socket.accept() => match accepted {
                    Ok((stream, from)) => {
                        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { continue };
                        let notices = Arc::clone(&self);
                        listening.spawn(async move {
                            let _place = place;
                            if let Err(error) = notices.hear(stream).await {
                                notices.count("refused");
                                tracing::debug!(%from, %error, "a connection between nodes ended");
                            }
                        });
                    }
                    // As when all files are open: others close some.
                    Err(_) => tokio::time::sleep(AGAIN).await,
                },
                grown = growth.recv() => match grown {
                    Ok(growth) => self.peers.lock().values().for_each(|peer| peer.outbox.put(growth)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                Some(_) = listening.join_next() => {}
            }
        }
        self.peers.lock().clear();
    }

    /// Speaks to these nodes and no others.
    pub(super) fn speak_to<'a>(self: &Arc<Self>, others: impl Iterator<Item = (NodeId, &'a str)>) {
        let mut peers = self.peers.lock();
        let mut before = std::mem::take(&mut *peers);
        for (node, address) in others.filter(|(_, address)| !address.is_empty()) {
            let known = before.remove(&node).filter(|peer| peer.address == address);
            let peer = known.unwrap_or_else(|| {
                let (outbox, address) = (Arc::<Outbox>::default(), address.to_owned());
                let speaking = Arc::clone(self).speak(address.clone(), Arc::clone(&outbox));
                Peer { address, outbox, task: tokio::spawn(speaking).abort_handle() }
            });
            peers.insert(node, peer);
        }
        self.heard.lock().retain(|node, _| peers.contains_key(node));
    }

    /// Tells all others to look at the nodes now.
    pub(super) fn tell_look(&self) {
        self.peers.lock().values().for_each(|peer| peer.outbox.put_look());
    }

    /// Whether this node was heard lately.
    pub(super) fn hears(&self, node: NodeId) -> bool {
        let now = self.broker.clock().monotonic();
        self.heard.lock().get(&node).is_some_and(|at| now.saturating_sub(*at) < HEARD_AFTER)
    }

    fn count(&self, what: &str) {
        self.metrics.cluster.notices.with_label_values(&[what]).inc();
    }

    /// Speaks to one node for ever.
    async fn speak(self: Arc<Self>, address: String, outbox: Arc<Outbox>) {
        loop {
            if let Err(error) = self.speak_once(&address, &outbox).await {
                tracing::debug!(%address, %error, "another node is not told what grows here");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn speak_once(&self, address: &str, outbox: &Outbox) -> Result<()> {
        let open = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            frames::speak(stream, &self.secret, self.own).await
        };
        let mut line = tokio::time::timeout(TIMEOUT, open).await??;
        let mut more = false;
        loop {
            if !more {
                // Over or not: there is always something to say.
                drop(tokio::time::timeout(SAY_EVERY, outbox.filled.notified()).await);
            }
            let frame;
            (frame, more) = outbox.take();
            tokio::time::timeout(TIMEOUT, line.send(&frame)).await??;
            self.count("sent");
        }
    }

    async fn hear(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (node, mut line): (_, Line<_>) =
            tokio::time::timeout(TIMEOUT, frames::listen(stream, &self.secret)).await??;
        loop {
            let frame = tokio::time::timeout(SAY_EVERY * 3, line.receive()).await??;
            self.count("heard");
            self.heard.lock().insert(node, self.broker.clock().monotonic());
            frame.growth.into_iter().for_each(|growth| self.broker.heard(growth));
            if frame.look {
                self.look.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_keeps_the_farthest_end_of_each_log_and_no_more_than_its_bound() {
        let outbox = Outbox::default();
        for log in 0..10_000 {
            for next in [5, 9, 7] {
                outbox.put(Growth { log: LogRef(log), next: Offset(next) });
            }
        }
        outbox.put_look();
        let (mut frames, mut told) = (0, 0);
        loop {
            let (frame, more) = outbox.take();
            assert_eq!(frame.look, frames == 0);
            assert!(frame.growth.iter().all(|growth| growth.next == Offset(9)));
            told += frame.growth.len();
            frames += 1;
            if !more {
                break;
            }
        }
        assert_eq!((told, frames), (WAITING_MAX, WAITING_MAX / GROWTH_MAX));
        assert_eq!(outbox.take(), (Frame::default(), false));
    }
}
