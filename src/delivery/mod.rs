//! Pushing: a worker for each pushed subscription takes messages as any consumer does and sends them to the subscription's endpoint.
//!
//! [`Delivery`] knows the workers: it starts, restarts and stops them as subscriptions change. A `worker` is a task that mostly waits;
//! under the worker lease it pulls, sends by the `sender` (whose `guard` judges addresses), and acknowledges what was taken.
//! `endpoint` is what workers of one endpoint share; `bodies` is what it receives; `placement` says which node takes what.
//!
//! Decides nothing about what a subscription means: that is the broker's and the domain's.

mod bodies;
mod endpoint;
mod figures;
pub mod guard;
mod mail;
mod notification;
mod notify;
mod placement;
pub mod sender;
mod socket;
mod subscriber;
#[cfg(test)]
mod tests;
mod trust;
mod verification;
mod worker;

pub use endpoint::CircuitState;
pub use mail::{Mailer, SmtpServer, SmtpTls};
pub use notify::{Notice, Notifications, check};
pub use placement::{Everything, Placement};
pub use socket::Feed;
pub use trust::{TrustToken, TrustTokens};
pub use verification::Unverified;
pub use worker::{Failing, Step};

use crate::broker::Broker;
use crate::domain::push::{Push, Webhook};
use crate::domain::subscription::Subscription;
use crate::domain::{Error, ProjectId, Result, SubscriptionId};
use crate::telemetry::metrics::Metrics;
use endpoint::{Endpoint, Endpoints};
use figures::Labels;
use parking_lot::Mutex;
use sender::Sender;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// How often all subscriptions are looked at: for what other nodes changed, and for what went wrong before.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same after a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of all deliveries under way, one endpoint may have one in so many.
const ENDPOINT_SHARE: usize = 8;
/// Most payload bytes of all deliveries under way, in KiB.
const ROOM_KIB: usize = 256 << 10;
/// Most verifications at a time.
const VERIFICATIONS: usize = 64;
/// Most notices to subscribers that are under way or wait for a retry.
const NOTICES: usize = 1_000;

/// Everything that is pushed from this node. Clones share everything.
#[derive(Clone, Debug)]
pub struct Delivery {
    inner: Arc<Inner>,
}

/// What is delivered from this node.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Whether messages are pushed to verified endpoints.
    pub endpoints: bool,
    /// How subscribers of queues are told; none for not at all.
    pub notifications: Option<Notifications>,
}

/// What all workers share.
#[derive(Debug)]
struct Inner {
    broker: Broker,
    sender: Sender,
    scope: Scope,
    placement: Arc<dyn Placement>,
    labels: Labels,
    endpoints: Endpoints,
    /// Deliveries that may be under way.
    room: Semaphore,
    /// Their payloads.
    room_kib: Semaphore,
    verifications: Semaphore,
    notices: Semaphore,
    workers: Mutex<HashMap<SubscriptionId, Seat>>,
    /// Where everything here runs.
    runtime: Handle,
    stopping: CancellationToken,
}

/// A worker's place.
#[derive(Debug)]
struct Seat {
    /// What it works by.
    push: Push,
    endpoint: Arc<Endpoint>,
    failing: Arc<Mutex<Option<Failing>>>,
    /// Ends it after what is under way.
    ending: CancellationToken,
    /// Ends it at once, whatever is under way.
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How a subscription's deliveries go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// What went wrong last; none once it went well again.
    pub failing: Option<Failing>,
    /// The endpoint's circuit.
    pub circuit: CircuitState,
}

impl Delivery {
    /// Begins to push what is in its scope and wanted, with at most `in_flight` deliveries under way. Runs on `runtime`, until
    /// [`Delivery::stop`].
    #[must_use]
    pub fn start(
        broker: Broker,
        (sender, scope): (Sender, Scope),
        placement: Arc<dyn Placement>,
        metrics: Arc<Metrics>,
        in_flight: usize,
        runtime: Handle,
    ) -> Self {
        let inner = Inner {
            broker,
            sender,
            scope,
            placement,
            labels: Labels::new(metrics),
            endpoints: Endpoints::new(in_flight / ENDPOINT_SHARE),
            room: Semaphore::new(in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            room_kib: Semaphore::new(ROOM_KIB),
            verifications: Semaphore::new(VERIFICATIONS),
            notices: Semaphore::new(NOTICES),
            workers: Mutex::default(),
            runtime,
            stopping: CancellationToken::new(),
        };
        let delivery = Self { inner: Arc::new(inner) };
        // Listens before it looks, so that nothing falls between.
        let changes = delivery.inner.broker.subscription_changes();
        delivery.inner.runtime.spawn(watch(Arc::clone(&delivery.inner), changes));
        delivery
    }

    /// How a subscription's deliveries go; none when this node does not push it.
    #[must_use]
    pub fn condition(&self, subscription: SubscriptionId) -> Option<Condition> {
        let workers = self.inner.workers.lock();
        let seat = workers.get(&subscription).filter(|seat| !seat.ending.is_cancelled())?;
        let circuit = seat.endpoint.circuit.lock().state(self.inner.broker.clock().monotonic());
        Some(Condition { failing: seat.failing.lock().clone(), circuit })
    }

    /// Asks an endpoint whether it wants what would be pushed to it.
    ///
    /// # Errors
    /// When it does not say so.
    pub async fn verify(&self, webhook: Webhook) -> std::result::Result<(), Unverified> {
        let inner = Arc::clone(&self.inner);
        let asked = self.inner.runtime.spawn(async move {
            match inner.verifications.try_acquire() {
                Ok(_place) => verification::verify(&inner.sender, &webhook).await,
                Err(_) => {
                    Err(Unverified::Unanswered("too many verifications are under way, try again later".to_owned()))
                }
            }
        });
        asked.await.unwrap_or_else(|_| Err(Unverified::Unanswered("the service is stopping".to_owned())))
    }

    /// Tells a queue's subscriber something beside the messages, in the background; also one who has not said yet that he wants to be told.
    pub fn notice(&self, subscription: Arc<Subscription>, notice: Notice) {
        drop(self.inner.runtime.spawn(Arc::clone(&self.inner).notice(subscription, notice)));
    }

    /// Ends all workers: deliveries under way get until `within` to be answered and acknowledged. What is not acknowledged is delivered
    /// again after the next start.
    pub async fn stop(&self, within: Duration) {
        self.inner.stopping.cancel();
        let seats: Vec<Seat> = self.inner.workers.lock().drain().map(|(_, seat)| seat).collect();
        let (tokens, tasks): (Vec<_>, Vec<_>) = seats.into_iter().map(|seat| (seat.stop, seat.task)).unzip();
        let mut all = std::pin::pin!(futures_util::future::join_all(tasks));
        if tokio::time::timeout(within, &mut all).await.is_err() {
            tokens.iter().for_each(CancellationToken::cancel);
            all.await;
        }
    }
}

/// Starts and stops workers as subscriptions change.
async fn watch(inner: Arc<Inner>, mut changes: broadcast::Receiver<(ProjectId, SubscriptionId)>) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            () = inner.stopping.cancelled() => return,
            change = changes.recv() => match change {
                Ok((project, id)) => look_at(&inner, project, id).await,
                Err(broadcast::error::RecvError::Lagged(_)) => pause = Duration::ZERO,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = inner.placement.moved().notified() => pause = Duration::ZERO,
            () = tokio::time::sleep(pause) => {
                pause = match look_at_all(&inner).await {
                    Ok(()) => LOOK_EVERY,
                    Err(error) => {
                        tracing::warn!(%error, "the subscriptions to push could not be read");
                        LOOK_AGAIN
                    }
                };
            }
        }
    }
}

async fn look_at(inner: &Arc<Inner>, project: ProjectId, id: SubscriptionId) {
    match inner.broker.subscription_by_id(project, id).await {
        Ok(subscription) => inner.settle(id, Some(subscription)),
        Err(Error::NotFound(_)) => inner.settle(id, None),
        // The next look at all of them sees it.
        Err(error) => tracing::warn!(subscription = %id, %error, "a subscription that changed could not be read"),
    }
}

async fn look_at_all(inner: &Arc<Inner>) -> Result<()> {
    let pushed = inner.broker.all_subscriptions(&|subscription| subscription.push.is_some()).await?;
    let gone: Vec<SubscriptionId> = {
        let known: std::collections::HashSet<_> = pushed.iter().map(|subscription| subscription.id).collect();
        inner.workers.lock().keys().filter(|id| !known.contains(id)).copied().collect()
    };
    gone.into_iter().for_each(|id| inner.settle(id, None));
    pushed.into_iter().for_each(|subscription| inner.settle(subscription.id, Some(subscription)));
    Ok(())
}

impl Inner {
    /// Has the right worker, or none, for a subscription as it is now.
    fn settle(self: &Arc<Self>, id: SubscriptionId, present: Option<Arc<Subscription>>) {
        let wanted = present.and_then(|subscription| {
            let push = subscription.push.clone().filter(|push| self.wants(push))?;
            Some((subscription, push))
        });
        let ours = self.placement.is_ours(id);
        let mut workers = self.workers.lock();
        if self.stopping.is_cancelled() {
            return;
        }
        let at_work = workers.get(&id).filter(|seat| !seat.task.is_finished());
        let right = at_work.filter(|seat| wanted.as_ref().is_some_and(|(_, push)| *push == seat.push));
        match right {
            Some(seat) if ours && !seat.ending.is_cancelled() => return,
            Some(seat) if !ours => {
                // Another node's by now, which begins when this one has given its lease back.
                seat.ending.cancel();
                return;
            }
            _ => {}
        }
        let finishes = right.is_some();
        let former = workers.remove(&id);
        if let Some(former) = former.as_ref().filter(|_| !finishes) {
            former.stop.cancel();
        }
        if let Some((subscription, push)) = wanted.filter(|_| ours) {
            workers.insert(id, self.start(subscription, push, former));
        }
    }

    /// Starts a worker, which begins when the former one has ended.
    fn start(self: &Arc<Self>, subscription: Arc<Subscription>, push: Push, former: Option<Seat>) -> Seat {
        let (stop, ending, failing) = (CancellationToken::new(), self.stopping.child_token(), Arc::default());
        let endpoint = self.endpoints.find(push.url());
        let worker = Worker::new(
            Arc::clone(self),
            subscription,
            push.clone(),
            Arc::clone(&endpoint),
            Arc::clone(&failing),
            ending.clone(),
        );
        let stopped = stop.clone();
        let task = self.runtime.spawn(async move {
            if let Some(former) = former {
                // However it ended, it has.
                drop(former.task.await);
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = worker.work() => {}
            }
        });
        Seat { push, endpoint, failing, ending, stop, task }
    }
}
