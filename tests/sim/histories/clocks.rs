//! A clock one hour ahead: retention holds, leases end by the wall clock, order stays.

use super::{acknowledge, leased, node, offsets, play, publish, pull, subscription, topic};
use crate::world::World;
use angelia::domain::{Error, Offset};
use std::time::Duration;

const HOUR: u64 = 3_600_000_000;

#[test]
fn retention_holds_while_the_clock_is_an_hour_ahead_and_goes_on_afterwards() {
    play(
        1,
        |shape| shape.retention = Some(Duration::from_secs(1_800)),
        async |world: &World| {
            let here = node(world, 0);
            let of = topic(world, &here, "a").await.unwrap();
            publish(world, &here, &of, 2).await.unwrap();
            publish(world, &here, &of, 1).await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
            here.clock.set_wall(here.clock.wall() + HOUR);
            tokio::time::sleep(Duration::from_secs(600)).await;
            assert_eq!(
                here.broker.topic_bounds(&of).await.unwrap().first,
                Offset(0),
                "a clock that jumped takes nothing"
            );
            here.clock.set_wall(here.clock.wall() - HOUR);
            tokio::time::sleep(Duration::from_secs(1_300)).await;
            assert_eq!(
                here.broker.topic_bounds(&of).await.unwrap().first,
                Offset(0),
                "nor for an hour after it came back"
            );
            tokio::time::sleep(Duration::from_secs(3_000)).await;
            assert_eq!(here.broker.topic_bounds(&of).await.unwrap().first, Offset(2), "then it goes on");
        },
    );
}

#[test]
fn leases_end_by_the_wall_clock_and_the_last_holder_may_still_acknowledge() {
    play(
        1,
        |_| {},
        async |world: &World| {
            let here = node(world, 0);
            let of = topic(world, &here, "a").await.unwrap();
            publish(world, &here, &of, 2).await.unwrap();
            let work = subscription(world, &here, "work").await;
            let first = pull(world, &here, &work, 1).await.unwrap();
            here.clock.set_wall(here.clock.wall() + HOUR);
            let second = pull(world, &here, &work, 2).await.unwrap();
            assert_eq!(offsets(&second), [0, 1], "the deadline has passed by the clock that there is");
            let late = acknowledge(world, &here, &work, leased(&first)).await;
            assert_eq!(late, Err(Error::LeaseSuperseded { refused: 1 }));
            here.clock.set_wall(here.clock.wall() - HOUR);
            assert!(
                pull(world, &here, &work, 2).await.unwrap().is_empty(),
                "what was leased ahead stays so for an hour"
            );
            acknowledge(world, &here, &work, leased(&second)).await.unwrap();
            assert_eq!(here.broker.progress(&work).await.unwrap().backlog, 0);
        },
    );
}

#[test]
fn times_of_a_topic_never_go_back_with_the_clock() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (ahead, right) = (node(world, 0), node(world, 1));
            ahead.clock.set_wall(ahead.clock.wall() + HOUR);
            let of = topic(world, &ahead, "a").await.unwrap();
            let first = publish(world, &ahead, &of, 1).await.unwrap();
            let second = publish(world, &right, &of, 1).await.unwrap();
            assert!(second.at >= first.at && second.first == Offset(1));
            let line = subscription(world, &right, "line").await;
            assert_eq!(offsets(&pull(world, &right, &line, 10).await.unwrap()), [0, 1]);
        },
    );
}

#[test]
fn a_node_ahead_leaves_another_nodes_lease_alone_until_the_clocks_agree_that_it_has_ended() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (right, ahead) = (node(world, 0), node(world, 1));
            ahead.clock.set_wall(ahead.clock.wall() + 1_500_000);
            let of = topic(world, &right, "a").await.unwrap();
            publish(world, &right, &of, 1).await.unwrap();
            let work = subscription(world, &right, "work").await;
            let held = pull(world, &right, &work, 1).await.unwrap();
            assert_eq!(
                offsets(&pull(world, &ahead, &work, 1).await.unwrap()),
                [0_u64; 0],
                "its clock is within the skew"
            );
            acknowledge(world, &right, &work, leased(&held)).await.unwrap();
        },
    );
}
