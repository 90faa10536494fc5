//! Deliveries from a broker in memory to a real server over TLS.

mod notify;
mod placement;
pub(super) mod receiver;

use super::*;
use crate::broker::{BatchBuilder, NewMessage, NewProject, NewSubscription, NewTopic, Options};
use crate::clock::Clock;
use crate::domain::push::{Shared, Target};
use crate::domain::retry::RetryPolicy;
use crate::domain::subscription::{AckMode, NodeId, Settings};
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Name, Offset};
use crate::storage::memory::MemoryStore;
use receiver::{Receiver, loopback};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with one topic.
struct World {
    broker: Broker,
    topic: Arc<Topic>,
    store: Arc<MemoryStore>,
    metrics: Arc<Metrics>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    async fn new() -> Self {
        let (store, metrics) = (Arc::new(MemoryStore::new()), Arc::new(Metrics::new().unwrap()));
        let broker = broker(&store, &metrics, 1).await;
        let new = NewProject { name: name("P"), description: String::new(), created_by: None };
        let project = broker.create_project(new).await.unwrap().id;
        let new = NewTopic { name: name("t"), retention: Retention::default(), schema: None, created_by: None };
        let topic = broker.create_topic(project, new).await.unwrap();
        Self { broker, topic, store, metrics }
    }

    fn deliver(&self, receiver: &Receiver) -> Delivery {
        start(&self.broker, &self.metrics, receiver)
    }

    async fn subscribe(&self, called: &str, mode: AckMode, push: Push) -> Arc<Subscription> {
        let ack_deadline = Duration::from_secs(10);
        let settings =
            Settings { mode, ack_deadline, max_attempts: None, dead_letter_topic: None, dead_letter_ttl: None };
        let (name, topic) = (name(called), self.topic.name.clone());
        let new = NewSubscription { name, topic, settings, push: Some(push), acl: Vec::new(), created_by: None };
        self.broker.create_subscription(self.topic.project, new).await.unwrap()
    }

    async fn publish(&self, texts: &[&str]) {
        let mut batch: BatchBuilder = self.broker.batch();
        texts
            .iter()
            .for_each(|text| batch.push(&NewMessage { payload: text.as_bytes(), ..NewMessage::default() }).unwrap());
        self.broker.publish(&self.topic, batch).await.unwrap();
    }

    async fn floor(&self, subscription: &Subscription) -> u64 {
        self.broker.progress(subscription).await.unwrap().floor.0
    }

    /// Waits until the subscription is acknowledged up to here.
    async fn reaches(&self, subscription: &Subscription, floor: u64) {
        until("the floor", || async { self.floor(subscription).await >= floor }).await;
    }
}

async fn broker(store: &Arc<MemoryStore>, metrics: &Arc<Metrics>, node: u128) -> Broker {
    let store: Arc<MemoryStore> = Arc::clone(store);
    let options = Options { node: NodeId(node), clock_skew_max: Duration::from_millis(100), ..Options::default() };
    Broker::start(store, Clock::System, options, Arc::clone(metrics)).await.unwrap()
}

fn start(broker: &Broker, metrics: &Arc<Metrics>, receiver: &Receiver) -> Delivery {
    let (placement, runtime) = (Arc::new(Everything::default()), Handle::current());
    let scope = Scope { endpoints: true, notifications: Some(Notifications::default()) };
    Delivery::start(broker.clone(), (receiver.sender(loopback()), scope), placement, Arc::clone(metrics), 64, runtime)
}

fn push(receiver: &Receiver, path: &str, messages_max: i64) -> Push {
    let (authorization, hash) = (Some(Shared("value".to_owned())), Shared("hash".to_owned()));
    let target = Target::Webhook(Webhook { endpoint: receiver.url(path), messages_max, authorization, hash });
    let retry = RetryPolicy::Linear { period: Duration::from_millis(5) };
    Push { target, retry, decode: true, verified: true }
}

async fn until<F: Future<Output = bool>>(what: &str, met: impl Fn() -> F) {
    let wait = async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The texts that came to a path, in order.
fn texts(receiver: &Receiver, path: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for got in receiver.got().iter().filter(|got| got.path == path) {
        let body: Value = serde_json::from_str(&got.body).unwrap();
        let items = body["messages"].as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        texts.extend(items.iter().map(|item| item["message"]["data"].as_str().unwrap().to_owned()));
    }
    texts
}

fn counts(last: usize) -> Vec<String> {
    (0..=last).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn what_is_published_is_pushed_in_order_and_acknowledged() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (204, String::new())).await);
    let single = world.subscribe("single", AckMode::Cumulative, push(&receiver, "/single", 1)).await;
    let delivery = world.deliver(&receiver);
    let many = world.subscribe("many", AckMode::Cumulative, push(&receiver, "/many", 7)).await;
    let each = world.subscribe("each", AckMode::Individual, push(&receiver, "/each", 3)).await;
    let all = counts(19);
    for text in &all {
        world.publish(&[text]).await;
    }
    for (subscription, path) in [(&single, "/single"), (&many, "/many"), (&each, "/each")] {
        world.reaches(subscription, 20).await;
        assert_eq!(texts(&receiver, path), all, "{path}");
        let condition = delivery.condition(subscription.id).unwrap();
        assert_eq!(condition, Condition { failing: None, circuit: CircuitState::Closed });
    }
    let got = receiver.got();
    let first = got.iter().find(|got| got.path == "/single").unwrap();
    assert!(first.body.ends_with(r#""subscription":"/projects/P/subscriptions/single"}"#), "{}", first.body);
    assert!(receiver.got().iter().all(|got| got.header("authorization") == "value"));
    assert_eq!(world.metrics.push.sent.with_label_values(&["P", "many"]).get(), 20);
    assert_eq!(world.metrics.push.last_status.with_label_values(&["P", "many"]).get(), 204);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn what_an_endpoint_does_not_take_comes_again_and_the_reason_shows() {
    let refusals = Arc::new(Mutex::new(3));
    let left = Arc::clone(&refusals);
    let receiver = Receiver::start(move |_| {
        let mut left = left.lock();
        *left -= 1;
        if *left >= 0 {
            (400, "not this one".to_owned())
        } else {
            (if *left == -1 { 1_500 } else { 201 }, String::new())
        }
    });
    let (world, receiver) = (World::new().await, receiver.await);
    let subscription = world.subscribe("s", AckMode::Individual, push(&receiver, "/", 1)).await;
    let delivery = world.deliver(&receiver);
    world.publish(&["a", "b"]).await;
    until("the third refusal", || async { *refusals.lock() < 0 }).await;
    let failing = delivery.condition(subscription.id).unwrap().failing.unwrap();
    assert_eq!((failing.step, failing.why.as_str()), (Step::Send, "not this one"));
    world.reaches(&subscription, 2).await;
    assert_eq!(texts(&receiver, "/"), ["a", "a", "a", "a", "b"]);
    until("the reason goes", || async { delivery.condition(subscription.id).unwrap().failing.is_none() }).await;
    assert_eq!(world.metrics.push.failed.with_label_values(&["P", "s"]).get(), 3);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_endpoint_slower_than_the_ack_deadline_still_gets_on() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (1_900, String::new())).await);
    let subscription = world.subscribe("s", AckMode::Cumulative, push(&receiver, "/", 1)).await;
    let mut settings = subscription.settings.clone();
    settings.ack_deadline = Duration::ZERO;
    let change = crate::broker::SubscriptionChange { settings: Some(settings), acl: None };
    world.broker.update_subscription(subscription.project, &subscription.name, change).await.unwrap();
    let delivery = world.deliver(&receiver);
    world.publish(&["a", "b"]).await;
    world.reaches(&subscription, 2).await;
    assert_eq!(texts(&receiver, "/"), ["a", "b"]);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_slow_endpoint_delays_no_other() {
    let receiver = Receiver::start(|got| (if got.path == "/slow" { 60_000 } else { 200 }, String::new())).await;
    let world = World::new().await;
    let slow = world.subscribe("slow", AckMode::Cumulative, push(&receiver, "/slow", 1)).await;
    let quick = world.subscribe("quick", AckMode::Cumulative, push(&receiver, "/quick", 1)).await;
    let delivery = world.deliver(&receiver);
    world.publish(&["0"]).await;
    until("the slow one is asked", || async { !texts(&receiver, "/slow").is_empty() }).await;
    for text in counts(19).iter().skip(1) {
        world.publish(&[text]).await;
    }
    world.reaches(&quick, 20).await;
    assert_eq!(texts(&receiver, "/quick"), counts(19));
    assert!(texts(&receiver, "/slow").len() <= 8 && world.floor(&slow).await == 0);
    delivery.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let mut unverified = push(&receiver, "/a", 1);
    unverified.verified = false;
    let subscription = world.subscribe("s", AckMode::Cumulative, unverified).await;
    let delivery = world.deliver(&receiver);
    let set = async |new: Option<Push>| {
        world.broker.update_push(world.topic.project, &subscription.name, |_, _| Ok(new.clone())).await.unwrap();
    };
    world.publish(&["0"]).await;
    assert!(delivery.condition(subscription.id).is_none() && receiver.got().is_empty());
    set(Some(push(&receiver, "/a", 1))).await;
    world.reaches(&subscription, 1).await;
    set(Some(push(&receiver, "/b", 1))).await;
    world.publish(&["1"]).await;
    world.reaches(&subscription, 2).await;
    assert_eq!((texts(&receiver, "/a"), texts(&receiver, "/b")), (vec!["0".to_owned()], vec!["1".to_owned()]));
    world.broker.seek(&subscription, Offset(0)).await.unwrap();
    until("both again", || async { texts(&receiver, "/b").len() == 3 }).await;
    set(None).await;
    until("its end", || async { delivery.condition(subscription.id).is_none() }).await;
    set(Some(push(&receiver, "/b", 1))).await;
    until("its beginning", || async { delivery.condition(subscription.id).is_some() }).await;
    world.broker.delete_subscription(world.topic.project, &subscription.name).await.unwrap();
    until("its end", || async { delivery.condition(subscription.id).is_none() }).await;
    until("its figures' end", || async { world.metrics.push.subscriptions.get() == 0 }).await;
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_stopped_node_leaves_its_subscriptions_to_the_next_which_goes_on_where_it_was() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let subscription = world.subscribe("s", AckMode::Cumulative, push(&receiver, "/", 1)).await;
    let second = broker(&world.store, &world.metrics, 2).await;
    let first = world.deliver(&receiver);
    world.publish(&["0", "1"]).await;
    world.reaches(&subscription, 2).await;
    let other = start(&second, &world.metrics, &receiver);
    world.publish(&["2"]).await;
    world.reaches(&subscription, 3).await;
    first.stop(PATIENCE).await;
    world.publish(&["3"]).await;
    world.reaches(&subscription, 4).await;
    assert_eq!(texts(&receiver, "/"), counts(3));
    other.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone_for_a_while() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (503, "down".to_owned())).await);
    let subscription = world.subscribe("s", AckMode::Cumulative, push(&receiver, "/", 1)).await;
    let delivery = world.deliver(&receiver);
    world.publish(&["0"]).await;
    let state = || delivery.condition(subscription.id).map(|condition| condition.circuit);
    until("the circuit opens", || async { state() == Some(CircuitState::Open) }).await;
    assert_eq!(receiver.got().len(), 10);
    until("the metric shows it", || async { world.metrics.push.circuit.with_label_values(&["P", "s"]).get() == 2 })
        .await;
    until("a probe", || async { receiver.got().len() == 11 }).await;
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_endpoint_is_verified_by_its_hash_and_nothing_else() {
    let answers = |path: &str| match path {
        "/ams_verification_hash" => (200, "right".to_owned()),
        _ => (404, String::new()),
    };
    let (world, receiver) = (World::new().await, Receiver::start(move |got| answers(&got.path)).await);
    let delivery = world.deliver(&receiver);
    let verify = async |endpoint: String, hash: &str| {
        let hash = Shared(hash.to_owned());
        delivery.verify(Webhook { endpoint, messages_max: 1, authorization: None, hash }).await
    };
    let endpoint = receiver.url("/some/where?x=y#z").replace("https://", "https://user:word@");
    assert_eq!(verify(endpoint.clone(), "right").await, Ok(()));
    assert!(receiver.got()[0].header("authorization").is_empty());
    for wrong in ["righ", "right\n", ""] {
        assert_eq!(verify(endpoint.clone(), wrong).await, Err(Unverified::Hash), "{wrong:?}");
    }
    let plain = receiver.url("/").replace("https", "http");
    assert!(matches!(verify(plain, "right").await, Err(Unverified::Unanswered(_))));
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn thousands_of_idle_subscriptions_cost_little_and_each_gets_its_message() {
    const MANY: usize = 1_000;
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let delivery = world.deliver(&receiver);
    let mut all = Vec::new();
    for n in 0..MANY {
        all.push(world.subscribe(&format!("s{n}"), AckMode::Cumulative, push(&receiver, &format!("/{n}"), 1)).await);
    }
    until("all workers", || async { world.metrics.push.subscriptions.get() == MANY as i64 }).await;
    let settled = receiver.got().len();
    world.publish(&["0"]).await;
    until("all deliveries", || async { receiver.got().len() == settled + MANY }).await;
    for subscription in &all {
        world.reaches(subscription, 1).await;
    }
    delivery.stop(PATIENCE).await;
}
