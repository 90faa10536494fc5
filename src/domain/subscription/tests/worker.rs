//! The worker lease.

use crate::domain::error::Error;
use crate::domain::id::{Fence, Offset};
use crate::domain::subscription::testing::{World, at, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, LeaseRequest, NodeId, Reply, Targets, WorkerLease};

fn acquire(world: &mut World, node: u128) -> Result<WorkerLease, Error> {
    acquire_over(world, node, None)
}

fn acquire_over(world: &mut World, node: u128, over: Option<NodeId>) -> Result<WorkerLease, Error> {
    let (node, duration, skew) = (NodeId(node), seconds(30), seconds(10));
    let reply = world.ask(&Command::AcquireWorker { node, duration, skew, over })?;
    let Reply::Worker(lease) = reply else { panic!("{reply:?}") };
    Ok(lease)
}

#[test]
fn a_worker_stays_while_it_renews_and_keeps_its_fence() {
    let mut world = World::new(AckMode::Cumulative);
    let lease = acquire(&mut world, 1).unwrap();
    assert_eq!(lease.deadline, at(1_030));
    world.wait(20);
    let renewed = acquire(&mut world, 1).unwrap();
    assert_eq!((renewed.fence, renewed.deadline), (lease.fence, at(1_050)));
}

#[test]
fn another_node_takes_over_only_at_the_deadline_plus_the_skew() {
    let mut world = World::new(AckMode::Individual);
    let lease = acquire(&mut world, 1).unwrap();
    world.now = at(1_039);
    assert_eq!(acquire(&mut world, 2), Err(Error::NotTheWorker));
    world.now = at(1_040);
    assert!(acquire(&mut world, 2).unwrap().fence > lease.fence);
    assert_eq!(acquire(&mut world, 1), Err(Error::NotTheWorker));
}

#[test]
fn a_node_that_is_gone_is_followed_at_once_and_its_fence_counts_no_more() {
    let mut world = World::with_messages(AckMode::Individual, 1);
    let lost = acquire(&mut world, 1).unwrap();
    assert_eq!(acquire_over(&mut world, 2, Some(NodeId(3))), Err(Error::NotTheWorker), "it is another that is gone");
    assert!(acquire_over(&mut world, 2, Some(NodeId(1))).unwrap().fence > lost.fence);
    let late = LeaseRequest { worker: Some(lost.fence), ..up_to(1) };
    assert_eq!(world.ask(&Command::Lease(late)), Err(Error::NotTheWorker));
}

#[test]
fn a_worker_that_stopped_can_be_followed_at_once() {
    let mut world = World::new(AckMode::Individual);
    let lease = acquire(&mut world, 1).unwrap();
    world.ask(&Command::ReleaseWorker { fence: lease.fence }).unwrap();
    let second = acquire(&mut world, 2).unwrap();
    assert!(second.fence > lease.fence);
    assert_eq!(world.events_of(&Command::ReleaseWorker { fence: lease.fence }), [], "that is another by now");
    assert_eq!(world.state.worker().map(|worker| worker.node), Some(NodeId(2)));
}

#[test]
fn commands_of_a_worker_need_the_current_fence_before_its_deadline() {
    for mode in [AckMode::Cumulative, AckMode::Individual] {
        let mut world = World::with_messages(mode, 2);
        let lease = acquire(&mut world, 1).unwrap();
        let with = |worker| LeaseRequest { worker, ..up_to(1) };
        let wrong = Some(Fence(lease.fence.0 + 1));
        let none = || Targets::Offsets(Vec::new());
        let refused = [
            Command::Lease(with(wrong)),
            Command::Pop(with(wrong)),
            Command::Acknowledge { targets: none(), worker: wrong },
            Command::Extend { targets: none(), duration: seconds(1), grace: None, worker: wrong },
            Command::Release { targets: none(), not_before: at(0), worker: wrong },
        ];
        for command in refused {
            assert_eq!(world.ask(&command), Err(Error::NotTheWorker), "{command:?}");
        }
        world.now = at(1_029);
        assert_eq!(world.lease(with(Some(lease.fence))).first().map(|(offset, _)| *offset), Some(Offset(0)));
        world.now = lease.deadline;
        assert_eq!(world.ask(&Command::Lease(with(Some(lease.fence)))), Err(Error::NotTheWorker));
        world.ask(&Command::Lease(with(None))).unwrap();
    }
}
