//! This node among the others that share its store: it beats, looks who else does, and takes its share of the pushing.
//!
//! Owns the loop. What beats mean is `domain::membership`'s affair, what is told between them that of `notices`. Nothing here is needed for
//! anything to be right: the store's conditions see to that.

use super::notices::Notices;
use crate::broker::{Beacon, Broker, Options};
use crate::config::{Config, Secret};
use crate::delivery::Placement;
use crate::domain::membership::{BEAT_EVERY, Heartbeat, Membership, STALE_AFTER};
use crate::domain::subscription::NodeId;
use crate::domain::{SubscriptionId, Timestamp};
use crate::telemetry::metrics::Metrics;
use parking_lot::Mutex;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often the others' beats are looked at, unless one of them asks for it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Beats of nodes that have been gone for so long are taken away.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// This node at work among the others.
#[derive(Debug)]
pub(in crate::server) struct Members {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    broker: Broker,
    metrics: Arc<Metrics>,
    skew: Duration,
    address: String,
    notices: Option<Arc<Notices>>,
    view: Mutex<Membership>,
    /// When the last beat that is known to have been kept was begun.
    beaten: Mutex<Option<Duration>>,
    leaving: AtomicBool,
    /// Told to beat and look at once.
    hurry: Notify,
    /// Told when one of that was done.
    looked: Notify,
    moved: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("node", &self.broker.node()).finish_non_exhaustive()
    }
}

impl Members {
    /// Joins the others: this node is seen when this answers.
    pub(in crate::server) async fn join(
        config: &Config,
        broker: &Broker,
        metrics: &Arc<Metrics>,
        socket: Option<TcpListener>,
    ) -> Result<Self, String> {
        let secret = config.cluster_secret().map_err(|error| error.to_string())?;
        let stop = CancellationToken::new();
        let mut address = String::new();
        let mut notices = None;
        if let Some((socket, secret)) = socket.zip(secret) {
            let (socket, at) = open(socket).map_err(|error| format!("listen.cluster: {error}"))?;
            address = if config.cluster.address.is_empty() { at.to_string() } else { config.cluster.address.clone() };
            let carried = Notices::new(Secret::reveal(&secret), broker, metrics);
            tokio::spawn(Arc::clone(&carried).run(socket, stop.clone()));
            notices = Some(carried);
        }
        let shared = Arc::new(Shared {
            broker: broker.clone(),
            metrics: Arc::clone(metrics),
            skew: Options::default().clock_skew_max,
            address,
            notices,
            view: Mutex::new(Membership::new(broker.node())),
            beaten: Mutex::default(),
            leaving: AtomicBool::new(false),
            hurry: Notify::new(),
            looked: Notify::new(),
            moved: Notify::new(),
        });
        let (mut beacon, mut count) = (broker.beacon(), 0);
        let begun = shared.beat(&mut beacon, &mut count).await;
        begun.map_err(|error| format!("this node cannot join the others: {error}"))?;
        shared.look(&beacon).await.map_err(|error| format!("the other nodes cannot be seen: {error}"))?;
        tokio::spawn(run(Arc::clone(&shared), beacon, count, stop.clone()));
        Ok(Self { shared, stop })
    }

    /// Which subscriptions are this node's to push.
    pub(in crate::server) fn placement(&self) -> Arc<dyn Placement> {
        Arc::clone(&self.shared) as _
    }

    /// Tells the others that this node takes nothing more, and has them look. Ends when that is said, but soon.
    pub(in crate::server) async fn leave(&self) {
        self.shared.leaving.store(true, Ordering::Release);
        let said = self.shared.looked.notified();
        self.shared.hurry.notify_one();
        if tokio::time::timeout(BEAT_EVERY, said).await.is_err() {
            tracing::debug!("the others find out by themselves that this node leaves");
        }
    }

    /// Ends: nothing is left of this node for the others to look at.
    pub(in crate::server) async fn end(&self) {
        self.stop.cancel();
        let beacon = self.shared.broker.beacon();
        let gone = tokio::time::timeout(STALE_AFTER, beacon.forget(self.shared.broker.node())).await;
        if !matches!(gone, Ok(Ok(()))) {
            tracing::debug!("this node's last heartbeat is left for the others to take away");
        }
    }
}

fn open(socket: TcpListener) -> std::io::Result<(tokio::net::TcpListener, SocketAddr)> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let at = socket.local_addr()?;
    Ok((socket, at))
}

/// Beats and looks until the end.
async fn run(shared: Arc<Shared>, mut beacon: Beacon, mut count: u64, stop: CancellationToken) {
    loop {
        let asked = async {
            match &shared.notices {
                Some(notices) => notices.look.notified().await,
                None => std::future::pending().await,
            }
        };
        let hurry = tokio::select! {
            () = stop.cancelled() => return,
            () = shared.hurry.notified() => true,
            () = asked => false,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let due = shared.beaten.lock().is_none_or(|at| shared.now().saturating_sub(at) >= BEAT_EVERY);
        if hurry || due {
            match shared.beat(&mut beacon, &mut count).await {
                Ok(()) if hurry => {
                    if let Some(notices) = &shared.notices {
                        notices.tell_look();
                    }
                    shared.looked.notify_waiters();
                }
                Ok(()) => {}
                // A look now would only show how old this node's own beat is.
                Err(error) => {
                    tracing::warn!(%error, "this node's heartbeat is not kept");
                    continue;
                }
            }
        }
        if let Err(error) = shared.look(&beacon).await {
            tracing::warn!(%error, "the other nodes cannot be seen");
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.broker.clock().monotonic()
    }

    async fn beat(&self, beacon: &mut Beacon, count: &mut u64) -> crate::domain::Result<()> {
        let begun = self.now();
        *count += 1;
        let beat = Heartbeat {
            node: self.broker.node(),
            beat: *count,
            at: Timestamp(self.broker.clock().wall()),
            leaving: self.leaving.load(Ordering::Acquire),
            address: self.address.clone(),
        };
        beacon.beat(&beat).await?;
        *self.beaten.lock() = Some(begun);
        Ok(())
    }

    async fn look(&self, beacon: &Beacon) -> crate::domain::Result<()> {
        let beats = beacon.look().await?;
        let now = self.now();
        let (moved, others, forgotten, ahead) = {
            let mut view = self.view.lock();
            let before = view.working();
            view.look(beats, now);
            let others: Vec<(NodeId, String)> = view.others().map(|(node, at)| (node, at.to_owned())).collect();
            let forgotten: Vec<NodeId> = view.forgotten(FORGET_AFTER).collect();
            (before != view.working(), others, forgotten, view.ahead(Timestamp(self.broker.clock().wall()), now))
        };
        self.judge_clock(ahead);
        if let Some(notices) = &self.notices {
            notices.speak_to(others.iter().map(|(node, address)| (*node, address.as_str())));
        }
        let hears = |node: NodeId| self.notices.as_ref().is_some_and(|notices| notices.hears(node));
        let hearing = others.iter().all(|(node, _)| hears(*node));
        self.broker.set_hearing(hearing);
        let nodes = i64::try_from(others.len() + 1).unwrap_or(i64::MAX);
        self.metrics.cluster.nodes.set(nodes);
        self.metrics.cluster.hearing.set(i64::from(hearing));
        if moved {
            tracing::info!(nodes, "the nodes at work have changed");
            self.moved.notify_one();
        }
        for node in forgotten {
            beacon.forget(node).await?;
        }
        Ok(())
    }

    /// A node whose clock is wrong does nothing that others would have to believe.
    fn judge_clock(&self, ahead: i128) {
        let fit = Duration::from_micros(u64::try_from(ahead.unsigned_abs()).unwrap_or(u64::MAX)) <= self.skew / 2;
        if fit != self.broker.is_fit() {
            let seconds = ahead / 1_000_000;
            if fit {
                tracing::info!("this node's clock agrees with the others' again");
            } else {
                tracing::error!(
                    ahead = seconds,
                    "this node's clock differs from the others': it stops working until that is mended"
                );
            }
        }
        self.broker.set_fit(fit);
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        self.metrics.cluster.clock_ahead_seconds.set(ahead as f64 / 1e6);
    }
}

impl Placement for Shared {
    fn is_ours(&self, subscription: SubscriptionId) -> bool {
        let fresh = self.beaten.lock().is_some_and(|at| self.now().saturating_sub(at) < STALE_AFTER);
        fresh && self.view.lock().is_ours(subscription.0)
    }

    fn is_gone(&self, node: NodeId) -> bool {
        self.view.lock().is_gone(node)
    }

    fn moved(&self) -> &Notify {
        &self.moved
    }
}
