//! The broker's own pace: what is given back when it is idle, when retention and the sweeper look, and how everything comes to rest at the end.
//!
//! Holds the broker only while it works, so a broker that nobody holds any more is gone.

use super::{Broker, Inner, retention, sweeper};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often caches are looked through and actors retire.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How long stopping waits for what was accepted, and how often it looks.
const DRAIN_MAX: Duration = Duration::from_secs(30);
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Starts the tasks; they end with the broker.
pub(super) fn start(broker: &Broker) {
    tokio::spawn(tidy(Arc::downgrade(&broker.inner)));
    tokio::spawn(look_after(Arc::downgrade(&broker.inner)));
}

/// Lets idle actors go and gives caches back.
async fn tidy(broker: Weak<Inner>) {
    while let Some(broker) = next(&broker, TIDY_EVERY).await {
        let (now, idle_after) = (broker.inner.clock.monotonic(), broker.inner.options.idle_after);
        let topics = broker.inner.topics.sweep(now, idle_after, |_| false);
        topics.iter().for_each(|actor| actor.relax());
        let subscriptions = broker.inner.subscriptions.sweep(now, idle_after, |actor| actor.wind_up(&broker));
        subscriptions.iter().for_each(|actor| actor.relax());
    }
}

/// Retention and the sweeper, at the pace of `Options::maintenance_every`.
async fn look_after(broker: Weak<Inner>) {
    let Some(every) = broker.upgrade().map(|inner| inner.options.maintenance_every) else { return };
    let (mut retention, mut sweeper) = (retention::Retention::default(), sweeper::Sweeper::default());
    if let Some(broker) = broker.upgrade().map(|inner| Broker { inner })
        && let Err(error) = retention.begin(&broker).await
    {
        tracing::warn!(%error, "the last time that was agreed on could not be read");
    }
    while let Some(broker) = next(&broker, every).await {
        if let Err(error) = retention.run(&broker).await {
            tracing::warn!(%error, "retention could not look at all topics");
        }
        if let Err(error) = sweeper.step(&broker).await {
            tracing::warn!(%error, "the sweeper could not go on");
        }
    }
}

/// The broker after a pause; none when it is gone or stopping.
async fn next(broker: &Weak<Inner>, pause: Duration) -> Option<Broker> {
    let stopping = broker.upgrade()?.stopping.clone();
    tokio::select! {
        biased;
        () = stopping.cancelled() => None,
        () = tokio::time::sleep(pause) => broker.upgrade().map(|inner| Broker { inner }),
    }
}

/// Waits until no actor has anything to do, but not for ever.
pub(super) async fn wait_until_idle(broker: &Broker) {
    let idle = async {
        loop {
            let now = broker.inner.clock.monotonic();
            let topics = broker.inner.topics.sweep(now, Duration::MAX, |_| false);
            let subscriptions = broker.inner.subscriptions.sweep(now, Duration::MAX, |_| false);
            if topics.iter().all(|actor| actor.is_idle()) && subscriptions.iter().all(|actor| actor.is_idle()) {
                return;
            }
            drop((topics, subscriptions));
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    if tokio::time::timeout(DRAIN_MAX, idle).await.is_err() {
        tracing::warn!("stopped while commands were still under way");
    }
}
