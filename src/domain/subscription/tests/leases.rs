//! Individual mode: who holds what, and what holders may do with it.

use crate::domain::error::Error;
use crate::domain::id::{Fence, Offset, Timestamp};
use crate::domain::limits::{LEASE_MAX, OUTSTANDING_MAX, TARGETS_MAX};
use crate::domain::subscription::testing::{World, acknowledge, at, granted, run, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, Event, GroupId, LeaseRequest, NodeId, Phase, Reply, Targets};

fn world(messages: usize) -> World {
    World::with_messages(AckMode::Individual, messages)
}

/// applied, already, superseded
fn counts(world: &mut World, command: &Command) -> (usize, usize, usize) {
    match world.ask(command).unwrap() {
        Reply::Targets { applied, already, superseded } => (applied, already, superseded),
        other => panic!("{other:?}"),
    }
}

fn ack(world: &mut World, leases: &[(Offset, Fence)]) -> (usize, usize, usize) {
    counts(world, &acknowledge(Targets::Leased(leases.to_vec())))
}

fn extend(leases: &[(Offset, Fence)], by: u64) -> Command {
    Command::Extend { targets: Targets::Leased(leases.to_vec()), duration: seconds(by), grace: None, worker: None }
}

fn release(leases: &[(Offset, Fence)], not_before: Timestamp) -> Command {
    Command::Release { targets: Targets::Leased(leases.to_vec()), not_before, worker: None }
}

#[test]
fn a_lease_is_exclusive_until_its_deadline() {
    let mut world = world(3);
    assert_eq!(world.pull(2), [0, 1]);
    assert_eq!(world.pull(2), [2]);
    world.now = Timestamp(at(1_010).0 - 1);
    assert!(world.pull(9).is_empty());
    world.now = at(1_010);
    assert_eq!(world.pull(9), [0, 1, 2]);
    assert_eq!(world.state.attempts(Offset(0)), 2);
}

#[test]
fn a_grant_tells_the_attempt_of_each_run() {
    let mut world = world(3);
    world.pull(1);
    world.wait(10);
    let Reply::Leased { grants, deadline, .. } = world.ask(&Command::Lease(up_to(9))).unwrap() else { panic!() };
    let told: Vec<_> = grants.iter().map(|grant| (grant.first.0, grant.next.0, grant.attempt)).collect();
    assert_eq!((told, deadline), (vec![(0, 1, 2), (1, 3, 1)], at(1_020)));
}

#[test]
fn acknowledged_messages_never_come_again() {
    let mut world = world(4);
    let leases = world.lease(up_to(4));
    assert_eq!(ack(&mut world, &leases[1..3]), (2, 0, 0));
    assert_eq!((world.state.floor(), world.state.backlog(world.next())), (Offset(0), 2));
    world.wait(60);
    assert_eq!(world.pull(9), [0, 3]);
}

#[test]
fn acknowledging_again_is_success() {
    let mut world = world(4);
    let leases = world.lease(up_to(2));
    assert_eq!(ack(&mut world, &[leases[0], leases[0]]), (1, 1, 0));
    assert_eq!(ack(&mut world, &leases), (1, 1, 0));
    assert_eq!(world.events_of(&acknowledge(Targets::Leased(leases))), []);
}

#[test]
fn an_expired_lease_may_be_acknowledged_until_it_is_granted_again() {
    let mut world = world(2);
    let leases = world.lease(up_to(2));
    world.wait(60);
    assert_eq!(ack(&mut world, &leases[..1]), (1, 0, 0));
    world.ask(&Command::Expire).unwrap();
    assert_eq!(world.state.outstanding(), 0);
    let again = world.lease(up_to(1));
    assert_eq!(ack(&mut world, &leases[1..]), (0, 0, 1));
    assert_eq!(ack(&mut world, &again), (1, 0, 0));
}

#[test]
fn a_noted_expiry_does_not_end_the_right_to_acknowledge() {
    let mut world = world(1);
    let leases = world.lease(up_to(1));
    world.wait(60);
    world.ask(&Command::Expire).unwrap();
    assert_eq!(ack(&mut world, &leases), (1, 0, 0));
}

#[test]
fn valid_targets_are_applied_beside_refused_ones() {
    let mut world = world(3);
    let leases = world.lease(up_to(3));
    let wrong = [leases[0], (Offset(1), Fence(99)), (Offset(77), Fence(1))];
    assert_eq!(ack(&mut world, &wrong), (1, 0, 2));
    assert!(world.state.acknowledged(Offset(0)) && !world.state.acknowledged(Offset(1)));
}

#[test]
fn a_seek_revokes_every_lease() {
    let mut world = world(3);
    let leases = world.lease(up_to(3));
    ack(&mut world, &leases[..1]);
    let epoch = world.state.epoch();
    world.ask(&Command::Seek { to: Offset(0) }).unwrap();
    assert_eq!(world.state.epoch(), epoch + 1);
    assert_eq!(ack(&mut world, &leases), (0, 0, 3));
    let again = world.lease(up_to(9));
    assert_eq!((again.len(), world.state.attempts(Offset(0))), (3, 1));
    assert_eq!(ack(&mut world, &leases), (0, 0, 3), "an acknowledgement of an older epoch changes nothing");
}

#[test]
fn a_purge_acknowledges_everything_and_revokes_every_lease() {
    let mut world = world(3);
    let leases = world.lease(up_to(2));
    world.ask(&Command::Purge).unwrap();
    assert_eq!((world.state.floor(), world.state.outstanding()), (Offset(3), 0));
    assert_eq!(ack(&mut world, &leases), (0, 2, 0));
    assert_eq!(world.events_of(&Command::Purge), []);
}

#[test]
fn a_purge_by_a_node_that_lags_behind_brings_nothing_back() {
    let mut world = world(5);
    world.ask(&acknowledge(Targets::Offsets(vec![Offset(4)]))).unwrap();
    let newest = world.messages.split_off(3);
    world.ask(&Command::Purge).unwrap();
    world.messages.extend(newest);
    assert_eq!(world.pull(9), [3]);
}

#[test]
fn extending_moves_the_deadline_to_so_long_from_now() {
    let mut world = world(2);
    let leases = world.lease(up_to(2));
    world.wait(9);
    assert_eq!(counts(&mut world, &extend(&leases[..1], 30)), (1, 0, 0));
    assert_eq!(world.state.next_deadline(world.observer), Some(at(1_010)));
    world.wait(2);
    assert_eq!(world.pull(9), [1]);
    world.now = at(1_039);
    assert_eq!(world.pull(9), [0, 1]);
}

#[test]
fn extending_an_expired_lease_is_refused() {
    let mut world = world(1);
    let leases = world.lease(up_to(1));
    world.wait(10);
    assert_eq!(counts(&mut world, &extend(&leases, 30)), (0, 0, 1));
    world.ask(&Command::Expire).unwrap();
    assert_eq!(counts(&mut world, &extend(&leases, 30)), (0, 0, 1));
}

#[test]
fn extending_an_acknowledged_message_is_success() {
    let mut world = world(1);
    let leases = world.lease(up_to(1));
    ack(&mut world, &leases);
    assert_eq!(counts(&mut world, &extend(&leases, 30)), (0, 1, 0));
}

#[test]
fn no_lease_outlasts_the_longest() {
    let mut world = world(1);
    let forever = LeaseRequest { duration: Some(std::time::Duration::MAX), ..up_to(1) };
    let leases = world.lease(forever);
    assert_eq!(world.state.next_deadline(world.observer), Some(world.now.plus(LEASE_MAX)));
    world.wait(5);
    world.ask(&extend(&leases, u64::MAX)).unwrap();
    assert_eq!(world.state.next_deadline(world.observer), Some(world.now.plus(LEASE_MAX)));
}

#[test]
fn extending_by_nothing_releases_at_once() {
    let mut world = world(2);
    let leases = world.lease(up_to(2));
    let released = Event::Released { runs: vec![run(0, 2)], not_before: Timestamp::EPOCH };
    assert_eq!(world.events_of(&extend(&leases, 0)), [released]);
    assert_eq!(world.pull(9), [0, 1]);
}

#[test]
fn a_released_message_is_held_back_as_asked() {
    let mut world = world(2);
    let leases = world.lease(up_to(2));
    assert_eq!(counts(&mut world, &release(&leases[..1], at(1_005))), (1, 0, 0));
    assert_eq!(world.state.next_deadline(world.observer), Some(at(1_005)));
    assert!(world.pull(9).is_empty());
    world.wait(5);
    assert_eq!(world.pull(9), [0]);
}

#[test]
fn the_end_of_being_held_back_is_noted_so_that_no_timer_stays_behind() {
    let mut world = world(1);
    let leases = world.lease(up_to(1));
    world.ask(&release(&leases, at(1_005))).unwrap();
    world.wait(5);
    assert_eq!(world.ask(&Command::Expire), Ok(Reply::Expired { leases: 0, exhausted: vec![] }));
    assert_eq!(world.state.next_deadline(world.observer), None);
}

#[test]
fn releasing_what_is_given_back_already_is_success() {
    let mut world = world(2);
    let leases = world.lease(up_to(2));
    world.ask(&release(&leases[..1], at(0))).unwrap();
    assert_eq!(counts(&mut world, &release(&leases[..1], at(9_999))), (0, 1, 0));
    world.wait(10);
    assert_eq!(counts(&mut world, &release(&leases[1..], at(9_999))), (0, 1, 0));
    assert_eq!(world.pull(9), [0, 1], "and holds nothing back");
    assert_eq!(counts(&mut world, &release(&leases, at(9_999))), (0, 0, 2));
}

#[test]
fn messages_may_be_deleted_without_a_lease() {
    let mut world = world(3);
    world.lease(up_to(1));
    let delete = acknowledge(Targets::Offsets(vec![Offset(2), Offset(0), Offset(2), Offset(3)]));
    assert_eq!(counts(&mut world, &delete), (2, 1, 1));
    assert_eq!(world.state.outstanding(), 0);
    assert_eq!(world.pull(9), [1]);
}

#[test]
fn a_group_speaks_of_the_leases_that_it_holds() {
    let mut world = world(5);
    let of = |group, messages| LeaseRequest { group: GroupId(group), ..up_to(messages) };
    world.lease(of(1, 2));
    world.lease(of(2, 2));
    let group = |group| Targets::Group(GroupId(group));
    let held: Vec<_> = world.state.group(GroupId(2), world.now, world.observer).map(|(run, _)| run).collect();
    assert_eq!(held, [run(2, 4)]);
    assert_eq!(counts(&mut world, &acknowledge(group(1))), (2, 0, 0));
    let extend = Command::Extend { targets: group(2), duration: seconds(60), grace: None, worker: None };
    assert_eq!(counts(&mut world, &extend), (2, 0, 0));
    world.wait(60);
    assert_eq!(counts(&mut world, &acknowledge(group(2))), (0, 0, 0), "a claim that ended is gone");
    assert!(world.ask(&acknowledge(group(0))).is_err(), "no group is no group");
}

#[test]
fn outstanding_messages_are_bounded() {
    let most = OUTSTANDING_MAX as usize;
    let mut world = world(most + 10);
    assert_eq!(world.pull(u32::MAX).len(), most);
    assert!(world.pull(1).is_empty());
    world.ask(&acknowledge(Targets::Offsets((0..3).map(Offset).collect()))).unwrap();
    assert_eq!(world.pull(9).len(), 3);
    assert_eq!(world.state.outstanding(), OUTSTANDING_MAX);
}

#[test]
fn too_many_targets_are_refused() {
    let mut world = world(1);
    let refused = world.ask(&acknowledge(Targets::Offsets(vec![Offset(0); TARGETS_MAX + 1])));
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    assert!(!world.state.acknowledged(Offset(0)));
}

#[test]
fn a_pop_gives_messages_that_are_done_with() {
    let mut world = world(3);
    let popped = granted(&world.ask(&Command::Pop(up_to(2))).unwrap());
    assert_eq!(popped.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((world.state.floor(), world.state.outstanding()), (Offset(2), 0));
    assert_eq!(world.state.consumed().messages, 2);
}

#[test]
fn a_cumulative_acknowledgement_is_refused() {
    assert_eq!(world(1).ask(&acknowledge(Targets::Through(Offset(0)))), Err(Error::WrongAckMode));
}

#[test]
fn fences_grow_with_every_grant() {
    let mut world = world(2);
    let first = world.lease(up_to(1));
    let second = world.lease(up_to(1));
    assert!(second[0].1 > first[0].1);
    world.ask(&Command::Seek { to: Offset(0) }).unwrap();
    assert!(world.lease(up_to(1))[0].1 > second[0].1);
}

#[test]
fn another_node_ends_a_lease_only_when_the_clocks_agree() {
    let mut world = World::with_messages(AckMode::Individual, 2);
    let granted = world.lease(up_to(1));
    world.observer.node = NodeId(2);
    world.wait(19);
    assert_eq!(granted_of(&mut world), [Offset(1)], "the other node's clock may be late by 10 s");
    let targets = Targets::Leased(granted);
    let extended = world.ask(&Command::Extend { targets, duration: seconds(5), grace: None, worker: None });
    assert_eq!(extended, Ok(Reply::Targets { applied: 1, already: 0, superseded: 0 }), "it is not over yet");
    let lease = world.state.lease(Offset(0)).unwrap();
    assert!(matches!(lease.phase, Phase::Held { node: NodeId(2), at, .. } if at == world.now));
    world.wait(5);
    assert_eq!(granted_of(&mut world), [Offset(0)], "now it is its own");
}

/// What a lease of everything gives out.
fn granted_of(world: &mut World) -> Vec<Offset> {
    world.lease(up_to(9)).into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn a_free_message_is_taken_and_a_held_one_only_by_its_group() {
    let mut world = World::with_messages(AckMode::Individual, 4);
    world.lease(LeaseRequest { group: GroupId(7), ..up_to(2) });
    let reply = |applied, superseded| Ok(Reply::Targets { applied, already: 0, superseded });
    assert_eq!(world.ask(&acknowledge(Targets::Free(vec![Offset(0), Offset(2)]))), reply(1, 1));
    assert_eq!(world.ask(&acknowledge(Targets::Held(GroupId(8), vec![Offset(0)]))), reply(0, 1));
    assert_eq!(world.ask(&acknowledge(Targets::Held(GroupId(7), vec![Offset(0), Offset(3)]))), reply(1, 1));
    world.wait(10);
    assert_eq!(world.ask(&acknowledge(Targets::Held(GroupId(7), vec![Offset(1)]))), reply(0, 1), "it is over");
    assert_eq!(world.ask(&acknowledge(Targets::Free(vec![Offset(1)]))), reply(1, 0));
}

#[test]
fn what_is_let_go_for_retention_is_not_given_out_and_ends_where_a_life_was_extended() {
    let mut world = World::with_messages(AckMode::Individual, 6);
    world.header(3).expires_at = at(1_005);
    world.ask(&acknowledge(Targets::Free(vec![Offset(0), Offset(1), Offset(2)]))).unwrap();
    world.lease(LeaseRequest { grace: Some(seconds(60)), ..up_to(1) });
    assert_eq!(world.ask(&Command::Forget { before: Offset(5) }), Ok(Reply::Forgotten(Offset(3))));
    world.wait(100);
    assert_eq!(world.ask(&Command::Forget { before: Offset(5) }), Ok(Reply::Forgotten(Offset(5))));
    assert_eq!((world.state.floor(), world.state.forgotten()), (Offset(5), 2));
    assert_eq!(granted_of(&mut world), [Offset(5)]);
}
