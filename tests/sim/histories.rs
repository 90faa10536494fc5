//! Histories that somebody thought of, step by step, under the same auditor: what chance alone would seldom play.

mod clocks;
mod crashes;
mod letters;
mod names;
mod power;

use crate::audit::logs::Mark;
use crate::shape::Shape;
use crate::world::{Node, World, name};
use angelia::broker::{Delivery, NewMessage, PullRequest, Receipt};
use angelia::domain::subscription::{Subscription, Targets};
use angelia::domain::topic::Topic;
use angelia::domain::{Error, Offset, Result};
use std::sync::Arc;
use std::time::Duration;

/// Plays a history on so many brokers without faults of their own.
fn play(brokers: usize, adjust: impl FnOnce(&mut Shape), history: impl AsyncFnOnce(&World)) {
    let mut shape = Shape::calm(brokers);
    adjust(&mut shape);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(shape).await;
        world.furnish().await;
        history(&world).await;
        assert_eq!(world.audit().violation(), None);
    });
}

/// A broker of a world, as it is now.
fn node(world: &World, index: usize) -> Node {
    world.nodes.borrow()[index].clone()
}

async fn topic(world: &World, node: &Node, called: &str) -> Result<Arc<Topic>> {
    let found = node.broker.topic(world.project.get(), &name(called)).await?;
    world.audit().logs.learn(&found);
    Ok(found)
}

async fn subscription(world: &World, node: &Node, called: &str) -> Arc<Subscription> {
    node.broker.subscription(world.project.get(), &name(called)).await.unwrap()
}

/// Publishes so many messages in one request, to a topic as the caller knows it.
async fn publish(world: &World, node: &Node, topic: &Topic, count: usize) -> Result<Receipt> {
    let number = world.audit().logs.asked(topic, vec![(0, u64::MAX); count]);
    let mut batch = node.broker.batch();
    for index in 0..count {
        let text = Mark { request: number, index }.text();
        batch.push(&NewMessage { payload: text.as_bytes(), ..NewMessage::default() }).unwrap();
    }
    let answer = node.broker.publish(topic, batch).await;
    let mut audit = world.audit();
    let verdict = audit.logs.answered(number, Some(&answer));
    audit.judge("answer to a publish", verdict);
    answer
}

/// Pulls up to so many messages, leased for a second.
async fn pull(world: &World, node: &Node, of: &Subscription, messages_max: u32) -> Result<Vec<Delivery>> {
    let since = world.audit().version(of);
    let duration = Some(Duration::from_secs(1));
    let answer = node.broker.pull(of, PullRequest { messages_max, duration, ..PullRequest::default() }).await;
    if let Ok(deliveries) = &answer {
        world.audit().pulled(of, since, deliveries);
    }
    answer
}

async fn acknowledge(world: &World, node: &Node, of: &Subscription, targets: Targets) -> Result<()> {
    let since = {
        let mut audit = world.audit();
        audit.will_acknowledge(of, &targets);
        audit.version(of)
    };
    let answer = node.broker.acknowledge(of, targets.clone(), None).await;
    world.audit().acknowledged(of, since, &targets, Some(&answer));
    answer
}

/// What was delivered, as targets.
fn leased(deliveries: &[Delivery]) -> Targets {
    Targets::Leased(deliveries.iter().map(|given| (given.published.offset, given.fence)).collect())
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|given| given.published.offset.0).collect()
}

#[test]
fn a_topic_made_again_under_a_stale_node_takes_nothing_for_the_old_one() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (here, stale) = (node(world, 0), node(world, 1));
            let old = topic(world, &stale, "b").await.unwrap();
            publish(world, &stale, &old, 3).await.unwrap();
            let tries = subscription(world, &stale, "tries").await;
            let before = pull(world, &stale, &tries, 2).await.unwrap();
            here.broker.delete_topic(world.project.get(), &name("b")).await.unwrap();
            world.audit().logs.removed(&old);
            let new = here.broker.create_topic(world.project.get(), world.new_topic("b")).await.unwrap();
            world.audit().logs.learn(&new);
            assert!(new.incarnation > old.incarnation);
            // The stale node still believes in the old one, and its log answers that it is gone.
            let lost = publish(world, &stale, &old, 1).await;
            assert!(matches!(lost, Err(Error::NotFound(_))), "{lost:?}");
            let found = topic(world, &stale, "b").await.unwrap();
            assert_eq!(found.log, new.log, "who has met a closed log reads the catalogue again");
            assert_eq!(publish(world, &stale, &found, 2).await.unwrap().first, Offset(0));
            let late = acknowledge(world, &stale, &tries, leased(&before)).await;
            assert!(matches!(late, Err(Error::LeaseSuperseded { .. })), "{late:?}");
            let after = pull(world, &stale, &tries, 10).await.unwrap();
            assert_eq!(offsets(&after), [0, 1]);
            acknowledge(world, &here, &tries, leased(&after)).await.unwrap();
            assert_eq!(stale.broker.progress(&tries).await.unwrap().backlog, 0);
        },
    );
}

#[test]
fn an_acknowledgement_from_before_a_seek_changes_nothing() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (here, there) = (node(world, 0), node(world, 1));
            let of = topic(world, &here, "a").await.unwrap();
            publish(world, &here, &of, 4).await.unwrap();
            let work = subscription(world, &here, "work").await;
            let line = subscription(world, &here, "line").await;
            let before = pull(world, &here, &work, 4).await.unwrap();
            assert_eq!(offsets(&pull(world, &here, &line, 4).await.unwrap()), [0, 1, 2, 3]);
            for moved in [&work, &line] {
                world.audit().will_seek(moved, 1);
                there.broker.seek(moved, Offset(1)).await.unwrap();
            }
            let late = acknowledge(world, &here, &work, leased(&before[1..])).await;
            assert_eq!(late, Err(Error::LeaseSuperseded { refused: 3 }));
            let late = acknowledge(world, &here, &line, Targets::Through(Offset(3))).await;
            assert_eq!(late, Err(Error::NoAckPending));
            let again = pull(world, &here, &work, 10).await.unwrap();
            assert_eq!(offsets(&again), [1, 2, 3], "a seek frees what was leased");
            let late = acknowledge(world, &there, &work, leased(&before[1..])).await;
            assert_eq!(late, Err(Error::LeaseSuperseded { refused: 3 }), "also when it is leased anew");
            acknowledge(world, &there, &work, leased(&again)).await.unwrap();
            assert_eq!(offsets(&pull(world, &there, &line, 10).await.unwrap()), [1, 2, 3]);
        },
    );
}

#[test]
fn a_node_behind_a_snapshot_and_a_trim_finds_its_way() {
    play(
        2,
        |shape| shape.snapshot_every = 3,
        async |world: &World| {
            let (busy, behind) = (node(world, 0), node(world, 1));
            let of = topic(world, &busy, "a").await.unwrap();
            publish(world, &busy, &of, 40).await.unwrap();
            let work = subscription(world, &busy, "work").await;
            let first = pull(world, &behind, &work, 1).await.unwrap();
            for _ in 0..20 {
                let deliveries = pull(world, &busy, &work, 1).await.unwrap();
                acknowledge(world, &busy, &work, leased(&deliveries)).await.unwrap();
            }
            assert!(world.audit().kept_from(&work) > 10, "the log was trimmed under the node behind");
            let second = pull(world, &behind, &work, 1).await.unwrap();
            assert_eq!((offsets(&first), offsets(&second)), (vec![0], vec![21]));
            acknowledge(world, &behind, &work, leased(&[first, second].concat())).await.unwrap();
            for looks in [&behind, &busy] {
                let progress = looks.broker.progress(&work).await.unwrap();
                assert_eq!((progress.floor, progress.backlog), (Offset(22), 18));
            }
        },
    );
}
