//! One run's world: a true store, brokers over it that die and come back, clocks that go with the runtime's paused one.

use crate::audit::Audit;
use crate::dice::Dice;
use crate::shape::{START, Shape};
use crate::store::{Tap, Wire};
use crate::trace::Trace;
use angelia::broker::{Broker, NewProject, NewSubscription, NewTopic, Options, Random};
use angelia::clock::Clock;
use angelia::domain::subscription::{AckMode, NodeId, Settings};
use angelia::domain::topic::Retention;
use angelia::domain::{Name, ProjectId, Result};
use angelia::storage::faulty::{FaultyStore, Operation};
use angelia::telemetry::metrics::Metrics;
use parking_lot::{Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The clocks' step.
const TICK: Duration = Duration::from_millis(10);

/// A broker in life.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) broker: Broker,
    pub(crate) faults: Arc<FaultyStore>,
    pub(crate) clock: Clock,
    pub(crate) wire: Arc<Wire>,
    pub(crate) dead: CancellationToken,
}

/// Everything of one run.
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) trace: Arc<Trace>,
    pub(crate) audit: Arc<Mutex<Audit>>,
    pub(crate) truth: Arc<Tap>,
    pub(crate) nodes: RefCell<Vec<Node>>,
    pub(crate) project: Cell<ProjectId>,
    over: Cell<bool>,
    healed: Cell<bool>,
    dice: RefCell<Dice>,
    born: Cell<u64>,
}

impl World {
    /// A world with its brokers, and nothing in it.
    pub(crate) async fn new(shape: Shape) -> Self {
        let audit = Arc::new(Mutex::new(Audit::new(shape.skew())));
        let world = Self {
            dice: RefCell::new(Dice::new(shape.seed)),
            trace: Arc::new(Trace::new()),
            truth: Arc::new(Tap::new(Arc::clone(&audit))),
            audit,
            nodes: RefCell::default(),
            project: Cell::default(),
            over: Cell::new(false),
            healed: Cell::new(true),
            born: Cell::new(0),
            shape,
        };
        for index in 0..world.shape.brokers {
            let skew = world.shape.skews[index];
            let clock = Clock::manual(START.saturating_add_signed(skew));
            tokio::spawn(go_on(clock.clone()));
            let node = world.start(index, clock).await;
            world.nodes.borrow_mut().push(node);
        }
        world
    }

    /// Chance of an actor's own.
    pub(crate) fn dice(&self) -> Dice {
        self.dice.borrow_mut().fork()
    }

    async fn start(&self, index: usize, clock: Clock) -> Node {
        let mut dice = self.dice();
        self.born.set(self.born.get() + 1);
        let name = format!("n{index}.{}", self.born.get());
        let dead = CancellationToken::new();
        let faults = Arc::new(FaultyStore::new(self.truth.clone(), dice.draw()));
        if !self.healed.get() {
            self.set_odds(&faults);
        }
        let trace = Arc::clone(&self.trace);
        let wire = Arc::new(Wire::new(faults.clone(), name.clone(), trace, dead.clone()));
        let random = Random::seeded(dice.draw());
        let options = Options {
            node: NodeId(random.id()),
            maintenance_every: self.shape.maintenance,
            clock_skew_max: Duration::from_secs(2),
            snapshot_every: self.shape.snapshot_every,
            history: self.shape.history,
            random,
            ..Options::default()
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let broker = Broker::start(wire.clone(), clock.clone(), options, metrics).await.unwrap();
        Node { name, broker, faults, clock, wire, dead }
    }

    fn set_odds(&self, faults: &FaultyStore) {
        for operation in Operation::ALL {
            faults.set_odds(operation, self.shape.odds(operation));
        }
    }

    /// Lets faults begin.
    pub(crate) fn trouble(&self) {
        self.healed.set(false);
        self.nodes.borrow().iter().for_each(|node| self.set_odds(&node.faults));
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.healed.set(true);
        self.nodes.borrow().iter().for_each(|node| node.faults.heal());
    }

    /// Kills a broker where it stands, and starts another one in its place.
    pub(crate) async fn crash(&self, index: usize) {
        let clock = {
            let nodes = self.nodes.borrow();
            self.trace.note(&nodes[index].name, "dies");
            nodes[index].dead.cancel();
            nodes[index].clock.clone()
        };
        let node = self.start(index, clock).await;
        self.nodes.borrow_mut()[index] = node;
    }

    /// Some broker.
    pub(crate) fn node(&self, dice: &mut Dice) -> Node {
        let nodes = self.nodes.borrow();
        nodes[usize::try_from(dice.below(nodes.len() as u64)).unwrap()].clone()
    }

    /// Asks a broker for something, notes the answer; none when the broker died over it or the caller's patience ended.
    pub(crate) async fn ask<T: Debug>(
        &self,
        node: &Node,
        what: &str,
        patience: Option<Duration>,
        answer: impl Future<Output = Result<T>>,
    ) -> Option<Result<T>> {
        let patience = patience.unwrap_or(Duration::from_secs(100_000));
        let answer = tokio::select! {
            biased;
            () = node.dead.cancelled() => None,
            answer = answer => Some(answer),
            () = tokio::time::sleep(patience) => None,
        };
        self.trace.note(&node.name, format_args!("{what} -> {answer:?}"));
        answer
    }

    pub(crate) fn audit(&self) -> MutexGuard<'_, Audit> {
        self.audit.lock()
    }

    /// Whether actors shall end: their time is over, or something went wrong.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get() || self.audit().violation().is_some()
    }

    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Makes the project, the topics and the subscriptions that every run begins with.
    pub(crate) async fn furnish(&self) {
        let broker = self.nodes.borrow()[0].broker.clone();
        let new = NewProject { name: name("project"), description: String::new(), created_by: None };
        let project = broker.create_project(new).await.unwrap().id;
        self.project.set(project);
        for topic in ["a", "b", "dead"] {
            let made = broker.create_topic(project, self.new_topic(topic)).await.unwrap();
            self.audit().logs.learn(&made);
        }
        for new in subscriptions() {
            let made = broker.create_subscription(project, new).await.unwrap();
            self.audit().learn(&made);
        }
    }

    pub(crate) fn new_topic(&self, called: &str) -> NewTopic {
        let age = self.shape.retention.filter(|_| called != "dead").unwrap_or(Duration::from_secs(86_400));
        NewTopic { name: name(called), retention: Retention { age, bytes: None }, schema: None, created_by: None }
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The names of all subscriptions, with their topics.
pub(crate) const SUBSCRIPTIONS: [(&str, &str); 5] =
    [("line", "a"), ("work", "a"), ("letters", "a"), ("tries", "b"), ("other", "b")];

/// What every run begins with: one cumulative subscription on each topic, and individual ones of each sort.
pub(crate) fn subscriptions() -> impl Iterator<Item = NewSubscription> {
    SUBSCRIPTIONS.into_iter().map(|(called, topic)| new_subscription(called, topic))
}

pub(crate) fn new_subscription(called: &str, topic: &str) -> NewSubscription {
    let cumulative = called == "line" || called == "other";
    let settings = Settings {
        mode: if cumulative { AckMode::Cumulative } else { AckMode::Individual },
        ack_deadline: Duration::from_secs(3),
        max_attempts: matches!(called, "letters" | "tries").then_some(3),
        dead_letter_topic: (called == "letters").then(|| name("dead")),
        dead_letter_ttl: None,
    };
    NewSubscription { name: name(called), topic: name(topic), settings, push: None, acl: Vec::new(), created_by: None }
}

/// Moves a manual clock with the runtime's paused one.
async fn go_on(clock: Clock) {
    loop {
        tokio::time::sleep(TICK).await;
        clock.advance(TICK);
    }
}
