//! A run from its seed to its end: trouble, then peace, in which everything must be delivered.

use crate::actors;
use crate::shape::Shape;
use crate::world::{SUBSCRIPTIONS, World, name};
use angelia::broker::PullRequest;
use angelia::domain::subscription::{AckMode, Targets};
use futures_util::future::{LocalBoxFuture, join_all};
use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

/// The longest that peace may take until everything is delivered, in simulated time.
const PEACE_MAX: Duration = Duration::from_secs(120);
/// The longest that actors may take to end.
const END_MAX: Duration = Duration::from_secs(200);

/// What became of a run.
pub(crate) struct Report {
    pub(crate) trace: Vec<String>,
    pub(crate) violation: Option<String>,
    pub(crate) judged: u64,
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics inside the product's tasks go unnoticed by whoever waits for them: they are collected here.
fn watch_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.borrow_mut().push(info.to_string()));
            before(info);
        }));
    });
    PANICS.with(|panics| panics.borrow_mut().clear());
}

/// Runs a seed on this thread.
pub(crate) fn run(seed: u64) -> Report {
    watch_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let report = runtime.block_on(live(Shape::of(seed)));
    drop(runtime);
    let panics = PANICS.with(|panics| panics.borrow().join("; "));
    if panics.is_empty() { report } else { Report { violation: Some(format!("a panic: {panics}")), ..report } }
}

async fn live(shape: Shape) -> Report {
    let world = World::new(shape).await;
    world.furnish().await;
    world.trouble();
    let lives = async {
        tokio::join!(join_all(cast(&world)), async {
            let end = tokio::time::sleep(world.shape.lasts);
            tokio::pin!(end);
            while !world.is_over() {
                tokio::select! {
                    biased;
                    () = &mut end => world.end(),
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
            }
            world.heal();
        });
    };
    if tokio::time::timeout(END_MAX, lives).await.is_err() {
        world.audit().judge("the end", Err("an actor still waits for its answer".to_owned()));
    }
    if world.audit().violation().is_none() {
        peace(&world).await;
    }
    let audit = world.audit();
    Report { trace: world.trace.take(), violation: audit.violation().cloned(), judged: audit.judged }
}

/// All actors of a world.
fn cast(world: &World) -> Vec<LocalBoxFuture<'_, ()>> {
    let mut cast: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
    for number in 0..world.shape.publishers {
        cast.push(Box::pin(actors::publish(world, if number % 2 == 0 { "a" } else { "b" }, world.dice())));
    }
    for _ in 0..world.shape.consumers {
        for called in ["work", "letters", "tries"] {
            cast.push(Box::pin(actors::consume(world, called, world.dice())));
        }
        for called in ["line", "other"] {
            cast.push(Box::pin(actors::follow(world, called, world.dice())));
        }
    }
    if world.shape.workers {
        for _ in 0..2 {
            cast.push(Box::pin(actors::work(world, "work", world.dice())));
        }
    }
    cast.push(Box::pin(actors::look(world, world.dice())));
    if world.shape.seeks {
        cast.push(Box::pin(actors::seek(world, world.dice())));
    }
    if world.shape.admin {
        cast.push(Box::pin(actors::administrate(world, world.dice())));
    }
    if world.shape.retention.is_some() {
        cast.push(Box::pin(watch_retention(world)));
    }
    cast.push(Box::pin(actors::crash(world, world.dice())));
    cast
}

/// Judges what retention takes.
async fn watch_retention(world: &World) {
    let Some(age) = world.shape.retention else { return };
    while !world.is_over() {
        let now = world.nodes.borrow().iter().map(|node| node.clock.wall()).max().unwrap_or(0);
        for topic in ["a", "b"] {
            world.audit().trimmed_before(topic, age, now);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Faults have ended and every broker is new: what stands in the topics gets through.
async fn peace(world: &World) {
    for index in 0..world.shape.brokers {
        world.crash(index).await;
    }
    for (called, topic) in SUBSCRIPTIONS {
        let through = tokio::time::timeout(PEACE_MAX, get_through(world, called, topic)).await;
        let verdict = through.unwrap_or_else(|_| Err("still not all is delivered".to_owned()));
        world.audit().judge(&format!("peace for {called}"), verdict);
        if world.audit().violation().is_some() {
            return;
        }
    }
}

async fn get_through(world: &World, called: &str, topic: &str) -> Result<(), String> {
    let node = world.nodes.borrow()[0].clone();
    let project = world.project.get();
    if node.broker.topic(project, &name(topic)).await.is_err() {
        return Ok(());
    }
    let Ok(of) = node.broker.subscription(project, &name(called)).await else { return Ok(()) };
    loop {
        let since = world.audit().version(&of);
        let progress = node.broker.progress(&of).await.map_err(|error| format!("progress: {error}"))?;
        world.audit().progress(&of, since, &progress);
        if world.audit().violation().is_some() {
            return Ok(());
        }
        if progress.backlog == 0 {
            let through = world.audit().is_through(&of, progress.next.0);
            return if through { Ok(()) } else { Err(format!("said to be through: {progress:?}")) };
        }
        let request = PullRequest { messages_max: 100, ..PullRequest::default() };
        let deliveries = node.broker.pull(&of, request).await.map_err(|error| format!("pull: {error}"))?;
        world.audit().pulled(&of, since, &deliveries);
        let targets = match (of.settings.mode, deliveries.last()) {
            (_, None) => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            (AckMode::Cumulative, Some(last)) => Targets::Through(last.published.offset),
            (AckMode::Individual, _) => {
                Targets::Leased(deliveries.iter().map(|given| (given.published.offset, given.fence)).collect())
            }
        };
        world.audit().will_acknowledge(&of, &targets);
        node.broker.acknowledge(&of, targets, None).await.map_err(|error| format!("acknowledge: {error}"))?;
    }
}
