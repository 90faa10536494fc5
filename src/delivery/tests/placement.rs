//! Several nodes push: who is to, who was, and who is gone.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Says what it was told to.
#[derive(Debug, Default)]
struct Told {
    ours: AtomicBool,
    gone: AtomicBool,
    moved: Notify,
}

impl Told {
    fn takes(ours: bool) -> Arc<Self> {
        let told = Arc::new(Self::default());
        told.set(ours);
        told
    }

    fn set(&self, ours: bool) {
        self.ours.store(ours, Ordering::SeqCst);
        self.moved.notify_one();
    }
}

impl Placement for Told {
    fn is_ours(&self, _: SubscriptionId) -> bool {
        self.ours.load(Ordering::SeqCst)
    }

    fn is_gone(&self, _: NodeId) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    fn moved(&self) -> &Notify {
        &self.moved
    }
}

fn deliver(world: &World, broker: &Broker, receiver: &Receiver, placement: &Arc<Told>) -> Delivery {
    let (sender, metrics) = (receiver.sender(loopback()), Arc::clone(&world.metrics));
    let scope = Scope { endpoints: true, notifications: None };
    Delivery::start(broker.clone(), (sender, scope), Arc::clone(placement) as _, metrics, 64, Handle::current())
}

#[tokio::test]
async fn who_is_to_push_no_longer_finishes_what_is_under_way_and_makes_room_at_once() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (1_100, String::new())).await);
    let other = broker(&world.store, &world.metrics, 2).await;
    let subscription = world.subscribe("s", AckMode::Individual, push(&receiver, "/", 1)).await;
    let (one, two) = (Told::takes(true), Told::takes(false));
    let (here, there) = (deliver(&world, &world.broker, &receiver, &one), deliver(&world, &other, &receiver, &two));
    world.publish(&["a", "b", "c"]).await;
    until("the first one is under way", || async { texts(&receiver, "/").len() == 1 }).await;
    one.set(false);
    two.set(true);
    world.reaches(&subscription, 3).await;
    assert_eq!(texts(&receiver, "/"), ["a", "b", "c"], "each once, in order");
    assert_eq!(world.broker.worker(&subscription).await.unwrap(), Some(NodeId(2)));
    assert_eq!(here.condition(subscription.id), None, "it is no longer pushed here");
    one.set(true);
    two.set(false);
    world.publish(&["d"]).await;
    world.reaches(&subscription, 4).await;
    assert_eq!(texts(&receiver, "/").last().map(String::as_str), Some("d"));
    here.stop(PATIENCE).await;
    there.stop(PATIENCE).await;
}

#[tokio::test]
async fn what_a_node_held_that_is_gone_is_taken_over_before_its_lease_ends() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let dead = broker(&world.store, &world.metrics, 2).await;
    let subscription = world.subscribe("s", AckMode::Cumulative, push(&receiver, "/", 1)).await;
    dead.acquire_worker(&subscription, Duration::from_secs(600), None).await.unwrap();
    let placement = Told::takes(true);
    let delivery = deliver(&world, &world.broker, &receiver, &placement);
    world.publish(&["a"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(texts(&receiver, "/"), [""; 0], "it may still be at work");
    placement.gone.store(true, Ordering::SeqCst);
    world.reaches(&subscription, 1).await;
    assert_eq!(texts(&receiver, "/"), ["a"]);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_node_that_does_not_know_itself_alive_sends_nothing() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let subscription = world.subscribe("s", AckMode::Individual, push(&receiver, "/", 1)).await;
    let placement = Told::takes(true);
    let delivery = deliver(&world, &world.broker, &receiver, &placement);
    world.publish(&["a"]).await;
    world.reaches(&subscription, 1).await;
    // Not told: as for a node whose heartbeat is late.
    placement.ours.store(false, Ordering::SeqCst);
    world.publish(&["b"]).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(texts(&receiver, "/"), ["a"]);
    placement.ours.store(true, Ordering::SeqCst);
    world.reaches(&subscription, 2).await;
    delivery.stop(PATIENCE).await;
}
