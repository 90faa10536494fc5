//! What the broker's tests begin with: brokers over one memory store that fails on demand, and a clock that goes with tokio's.

use super::{Broker, NewMessage, NewProject, NewSubscription, NewTopic, Options, Receipt};
use crate::clock::Clock;
use crate::domain::message::Attributes;
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Name, ProjectId, Result};
use crate::storage::Store;
use crate::storage::faulty::FaultyStore;
use crate::storage::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// Wall time when a test begins.
const START: u64 = 1_700_000_000_000_000;

/// A store with a broker over it.
pub(super) struct Fixture {
    pub(super) store: Arc<FaultyStore>,
    pub(super) clock: Clock,
    pub(super) broker: Broker,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(1, Options { maintenance_every: Duration::from_secs(1_000_000), ..Options::default() }).await
    }

    /// With a seed for the faults, and options.
    pub(super) async fn with(seed: u64, options: Options) -> Self {
        Self::over(Arc::new(MemoryStore::new()), seed, options).await
    }

    /// Over another engine than memory.
    pub(super) async fn over(engine: Arc<dyn Store>, seed: u64, options: Options) -> Self {
        let store = Arc::new(FaultyStore::new(engine, seed));
        let clock = Clock::manual(START);
        tokio::spawn(go_on(clock.clone()));
        let broker = start(&store, &clock, options).await;
        Self { store, clock, broker }
    }

    /// Another broker over the same store.
    pub(super) async fn second(&self) -> Broker {
        let options = Options { node: crate::domain::subscription::NodeId(2), ..self.broker.inner.options.clone() };
        start(&self.store, &self.clock, options).await
    }

    pub(super) async fn project(&self) -> ProjectId {
        let new = NewProject { name: name("project"), description: String::new(), created_by: None };
        self.broker.create_project(new).await.unwrap().id
    }

    /// A topic in a project of its own.
    pub(super) async fn topic(&self) -> Arc<Topic> {
        let project = self.project().await;
        self.topic_in(project, "topic").await
    }

    pub(super) async fn topic_in(&self, project: ProjectId, topic: &str) -> Arc<Topic> {
        let new = NewTopic { name: name(topic), retention: Retention::default(), schema: None, created_by: None };
        self.broker.create_topic(project, new).await.unwrap()
    }

    pub(super) async fn subscription(&self, topic: &Topic, mode: AckMode) -> Arc<Subscription> {
        self.subscription_with(topic, "subscription", settings(mode)).await
    }

    pub(super) async fn subscription_with(&self, topic: &Topic, called: &str, settings: Settings) -> Arc<Subscription> {
        let new = NewSubscription {
            name: name(called),
            topic: topic.name.clone(),
            settings,
            push: None,
            acl: Vec::new(),
            created_by: None,
        };
        self.broker.create_subscription(topic.project, new).await.unwrap()
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn settings(mode: AckMode) -> Settings {
    Settings {
        mode,
        ack_deadline: Duration::from_secs(10),
        max_attempts: None,
        dead_letter_topic: None,
        dead_letter_ttl: None,
    }
}

/// Publishes texts in one request.
pub(super) async fn publish(broker: &Broker, topic: &Topic, texts: &[&str]) -> Result<Receipt> {
    let mut batch = broker.batch();
    for text in texts {
        batch.push(&message(text)).unwrap();
    }
    broker.publish(topic, batch).await
}

pub(super) fn message(text: &str) -> NewMessage<'_> {
    NewMessage {
        payload: text.as_bytes(),
        attributes: Attributes::from_pairs([("text", text)]),
        ..NewMessage::default()
    }
}

async fn start(store: &Arc<FaultyStore>, clock: &Clock, options: Options) -> Broker {
    let store: Arc<FaultyStore> = Arc::clone(store);
    Broker::start(store, clock.clone(), options, Arc::new(Metrics::new().unwrap())).await.unwrap()
}

/// Moves the manual clock with tokio's paused one.
async fn go_on(clock: Clock) {
    const STEP: Duration = Duration::from_millis(10);
    loop {
        tokio::time::sleep(STEP).await;
        clock.advance(STEP);
    }
}
