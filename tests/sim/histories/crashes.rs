//! A broker that dies at each call of the store while it publishes and acknowledges.

use super::{acknowledge, leased, node, play, publish, pull, subscription, topic};
use crate::world::World;
use std::time::Duration;

async fn interrupted(world: &World, at: u64, done: bool) -> bool {
    let dying = node(world, 0);
    let of = topic(world, &dying, "a").await.unwrap();
    publish(world, &dying, &of, 3).await.unwrap();
    let work = subscription(world, &dying, "work").await;
    dying.wire.die_at(at, done);
    let busy = async {
        for _ in 0..3 {
            let deliveries = pull(world, &dying, &work, 1).await?;
            acknowledge(world, &dying, &work, leased(&deliveries)).await?;
        }
        Ok(())
    };
    world.ask(&dying, "work", Some(Duration::from_secs(5)), busy).await;
    let died = dying.dead.is_cancelled();
    world.crash(0).await;
    // The dead node's leases end for another one only when both clocks agree.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let next = node(world, 0);
    let work = subscription(world, &next, "work").await;
    loop {
        let since = world.audit().version(&work);
        let progress = next.broker.progress(&work).await.unwrap();
        world.audit().progress(&work, since, &progress);
        if progress.backlog == 0 {
            return died;
        }
        let deliveries = pull(world, &next, &work, 10).await.unwrap();
        acknowledge(world, &next, &work, leased(&deliveries)).await.unwrap();
    }
}

#[test]
fn a_consumer_whose_broker_dies_at_any_call_gets_everything() {
    for done in [false, true] {
        let deaths = (1..100).take_while(|at| {
            let mut died = false;
            play(
                1,
                |shape| shape.snapshot_every = 2,
                async |world: &World| {
                    died = interrupted(world, *at, done).await;
                },
            );
            died
        });
        assert!((6..99).contains(&deaths.count()));
    }
}
