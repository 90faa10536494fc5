//! A dead letter on its way, and a broker that dies at each step of it.

use super::{name, node, play, publish, pull, subscription, topic};
use crate::world::World;
use angelia::domain::Offset;
use std::time::Duration;

/// More calls than the whole way takes.
const STEPS: u64 = 60;

/// Uses all attempts of one message up, then lets the broker die at a changing call; true if it came so far.
async fn interrupted(world: &World, at: u64, done: bool) -> bool {
    let dying = node(world, 0);
    let of = topic(world, &dying, "a").await.unwrap();
    publish(world, &dying, &of, 1).await.unwrap();
    let letters = subscription(world, &dying, "letters").await;
    for _ in 0..3 {
        assert_eq!(pull(world, &dying, &letters, 1).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    dying.wire.die_at(at, done);
    // Finds the message exhausted and sets the undertaker to work.
    let found = world.ask(&dying, "pull", Some(Duration::from_secs(5)), pull(world, &dying, &letters, 1)).await;
    assert!(found.is_none_or(|found| found.unwrap().is_empty()), "attempts are used up");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let died = dying.dead.is_cancelled();
    world.crash(0).await;
    let next = node(world, 0);
    let letters = subscription(world, &next, "letters").await;
    let dead = topic(world, &next, "dead").await.unwrap();
    for _ in 0..60 {
        assert!(pull(world, &next, &letters, 1).await.unwrap().is_empty());
        if next.broker.progress(&letters).await.unwrap().floor == Offset(1) {
            let copies = next.broker.topic_bounds(&dead).await.unwrap().next.0;
            assert!(copies >= 1, "never zero times");
            assert!(copies == 1, "only one node was at it, so once");
            return died;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the letter never arrived after a death at call {at}, done: {done}");
}

#[test]
fn a_dead_letter_interrupted_at_any_step_arrives() {
    for done in [false, true] {
        let mut deaths = 0;
        for at in 1..STEPS {
            let mut died = false;
            play(
                1,
                |shape| shape.maintenance = Duration::from_secs(1_000_000),
                async |world: &World| {
                    died = interrupted(world, at, done).await;
                },
            );
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!((3..STEPS - 1).contains(&deaths), "{deaths} deaths: the way has at least three changes, and an end");
    }
}

#[test]
fn a_letter_whose_target_is_gone_waits_until_it_is_made_again() {
    play(
        1,
        |_| {},
        async |world: &World| {
            let here = node(world, 0);
            let of = topic(world, &here, "a").await.unwrap();
            publish(world, &here, &of, 1).await.unwrap();
            let letters = subscription(world, &here, "letters").await;
            here.broker.delete_topic(world.project.get(), &name("dead")).await.unwrap();
            for _ in 0..3 {
                assert_eq!(pull(world, &here, &letters, 1).await.unwrap().len(), 1);
                tokio::time::sleep(Duration::from_millis(1_100)).await;
            }
            for _ in 0..20 {
                assert!(pull(world, &here, &letters, 1).await.unwrap().is_empty());
                assert_eq!(here.broker.progress(&letters).await.unwrap().backlog, 1, "it stays");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let dead = here.broker.create_topic(world.project.get(), world.new_topic("dead")).await.unwrap();
            world.audit().logs.learn(&dead);
            while here.broker.progress(&letters).await.unwrap().backlog > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(here.broker.topic_bounds(&dead).await.unwrap().next, Offset(1));
        },
    );
}
