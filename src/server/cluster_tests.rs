//! What a cluster is asked to decide for the broker's work: one conditional write for what many clients want at once.

use crate::broker::{Broker, NewProject, NewSubscription, NewTopic, Options, PullRequest};
use crate::clock::Clock;
use crate::domain::Name;
use crate::domain::message::Attributes;
use crate::domain::subscription::{AckMode, Settings, Subscription, Targets};
use crate::domain::topic::{Retention, Topic};
use crate::storage::cql::tests::scene::Scene;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

struct World {
    scene: Scene,
    broker: Broker,
    topic: Arc<Topic>,
}

impl World {
    async fn begin() -> Self {
        let scene = Scene::begin().await;
        let options = Options { maintenance_every: Duration::from_secs(1_000_000), ..Options::default() };
        let (store, metrics) = (Arc::new(scene.open().await), Arc::new(Metrics::new().unwrap()));
        let broker = Broker::start(store, Clock::System, options, metrics).await.unwrap();
        let project = NewProject { name: name("project"), description: String::new(), created_by: None };
        let project = broker.create_project(project).await.unwrap();
        let topic = NewTopic { name: name("topic"), retention: Retention::default(), schema: None, created_by: None };
        let topic = broker.create_topic(project.id, topic).await.unwrap();
        Self { scene, broker, topic }
    }

    async fn subscription(&self, mode: AckMode) -> Arc<Subscription> {
        let settings = Settings {
            mode,
            ack_deadline: Duration::from_secs(60),
            max_attempts: None,
            dead_letter_topic: None,
            dead_letter_ttl: None,
        };
        let new = NewSubscription {
            name: name("subscription"),
            topic: self.topic.name.clone(),
            settings,
            push: None,
            acl: Vec::new(),
            created_by: None,
        };
        self.broker.create_subscription(self.topic.project, new).await.unwrap()
    }

    async fn publish(&self, texts: usize) {
        let mut batch = self.broker.batch();
        for _ in 0..texts {
            let message = crate::broker::NewMessage {
                payload: b"text",
                attributes: Attributes::from_pairs([("a", "b")]),
                ..crate::broker::NewMessage::default()
            };
            batch.push(&message).unwrap();
        }
        self.broker.publish(&self.topic, batch).await.unwrap();
    }

    /// What was decided since the last time this was asked.
    fn decisions(&self) -> usize {
        let decisions = self.scene.counts.decisions();
        self.scene.counts.clear();
        decisions
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn a_batch_a_pull_and_an_acknowledge_cost_one_decision_each() {
    let world = World::begin().await;
    let subscription = world.subscription(AckMode::Individual).await;
    world.publish(1).await;
    world.decisions();
    world.publish(100).await;
    assert_eq!(world.decisions(), 1, "a batch of a hundred");
    let pull = PullRequest { messages_max: 101, ..PullRequest::default() };
    let given = world.broker.pull(&subscription, pull).await.unwrap();
    assert_eq!((given.len(), world.decisions()), (101, 1), "a pull of all of them");
    let targets = given.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect();
    world.broker.acknowledge(&subscription, Targets::Leased(targets), None).await.unwrap();
    assert_eq!(world.decisions(), 1, "their acknowledgement");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((world.decisions(), world.scene.counts.of("tail")), (0, 0), "what is idle costs nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: cargo xtask test cassandra"]
async fn what_many_clients_want_at_once_is_decided_together() {
    let world = World::begin().await;
    let subscription = world.subscription(AckMode::Individual).await;
    world.publish(1).await;
    world.decisions();
    futures_util::future::join_all((0..64).map(|_| world.publish(1))).await;
    let decisions = world.decisions();
    assert!(decisions <= 6, "64 publishes took {decisions} decisions");
    let pull = PullRequest { messages_max: 1, ..PullRequest::default() };
    let given = futures_util::future::join_all((0..32).map(|_| world.broker.pull(&subscription, pull.clone()))).await;
    let decisions = world.decisions();
    assert!(decisions <= 6, "32 pulls took {decisions} decisions");
    let acknowledged = given.into_iter().map(|given| {
        let targets = given.unwrap().iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect();
        world.broker.acknowledge(&subscription, Targets::Leased(targets), None)
    });
    let pulled = (0..16).map(|_| world.broker.pull(&subscription, pull.clone()));
    let (acknowledged, pulled) =
        tokio::join!(futures_util::future::join_all(acknowledged), futures_util::future::join_all(pulled));
    assert!(acknowledged.iter().all(Result::is_ok) && pulled.iter().all(Result::is_ok));
    let decisions = world.decisions();
    assert!(decisions <= 8, "32 acknowledgements and 16 pulls took {decisions} decisions");
}
