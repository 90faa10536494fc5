//! Attempts that are used up, and the way to the dead-letter topic.

use crate::domain::id::{LogRef, Name, Offset};
use crate::domain::subscription::testing::{World, acknowledge, at, run, up_to};
use crate::domain::subscription::{AckMode, Command, DeadLetter, Event, GiveUpReason, Nonce, Reply, Targets};

const NONCE: Nonce = Nonce { writer: 5, sequence: 1 };

fn world(max_attempts: u32, dead_letters: bool) -> World {
    let mut world = World::with_messages(AckMode::Individual, 3);
    world.settings.max_attempts = Some(max_attempts);
    world.settings.dead_letter_topic = dead_letters.then(|| Name::new("dead").unwrap());
    world
}

fn start(offset: u64, target: u128, nonce: Nonce) -> Command {
    Command::StartDeadLetter { offset: Offset(offset), target: LogRef(target), tail: Offset(40), nonce }
}

fn finish(offset: u64) -> Command {
    Command::FinishDeadLetter { offset: Offset(offset), copy: Offset(41) }
}

fn counts(world: &mut World, command: &Command) -> (usize, usize, usize) {
    match world.ask(command).unwrap() {
        Reply::Targets { applied, already, superseded } => (applied, already, superseded),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_limit_a_message_comes_again_and_again() {
    let mut world = World::with_messages(AckMode::Individual, 1);
    for attempt in 1..50 {
        assert_eq!(world.pull(1), [0]);
        assert_eq!(world.state.attempts(Offset(0)), attempt);
        world.wait(10);
    }
}

#[test]
fn without_a_dead_letter_topic_a_message_is_given_up_after_its_last_attempt() {
    let mut world = world(2, false);
    for _ in 0..2 {
        assert_eq!(world.pull(1), [0]);
        world.wait(10);
    }
    let given_up = Event::GivenUp { runs: vec![run(0, 1)], reason: GiveUpReason::Attempts };
    assert!(world.events_of(&Command::Expire).contains(&given_up));
    assert_eq!(world.pull(9), [1, 2]);
}

#[test]
fn a_last_attempt_may_still_be_acknowledged_while_its_lease_runs() {
    let mut world = world(1, false);
    let leases = world.lease(up_to(1));
    world.ask(&Command::Expire).unwrap();
    assert!(!world.state.acknowledged(Offset(0)));
    assert_eq!(counts(&mut world, &acknowledge(Targets::Leased(leases))), (1, 0, 0));
}

#[test]
fn with_a_dead_letter_topic_a_message_is_parked_and_reported_until_it_goes() {
    let mut world = world(1, true);
    world.pull(1);
    world.wait(10);
    for leases in [1, 0] {
        let expired = world.ask(&Command::Expire).unwrap();
        assert_eq!(expired, Reply::Expired { leases, exhausted: vec![Offset(0)] });
    }
    let Reply::Leased { grants, exhausted, .. } = world.ask(&Command::Lease(up_to(9))).unwrap() else { panic!() };
    assert_eq!((grants[0].first, exhausted), (Offset(1), vec![Offset(0)]));
    assert_eq!(counts(&mut world, &start(0, 9, NONCE)), (1, 0, 0));
    let letter = DeadLetter { offset: Offset(0), target: LogRef(9), tail: Offset(40), nonce: NONCE };
    assert_eq!(world.state.dead_letters(), [letter]);
    assert_eq!(world.ask(&Command::Expire).unwrap(), Reply::Expired { leases: 0, exhausted: vec![] });
    assert_eq!(counts(&mut world, &finish(0)), (1, 0, 0));
    assert!(world.state.acknowledged(Offset(0)) && world.state.dead_letters().is_empty());
    assert_eq!(counts(&mut world, &finish(0)), (0, 1, 0));
}

#[test]
fn where_no_attempt_is_allowed_messages_go_at_once() {
    let mut parked = world(0, true);
    let Reply::Leased { grants, exhausted, .. } = parked.ask(&Command::Lease(up_to(2))).unwrap() else { panic!() };
    assert_eq!((grants.len(), exhausted), (0, vec![Offset(0), Offset(1)]));
    parked.ask(&start(0, 9, NONCE)).unwrap();
    let Reply::Leased { exhausted, .. } = parked.ask(&Command::Lease(up_to(2))).unwrap() else { panic!() };
    assert_eq!(exhausted, [Offset(1), Offset(2)]);
    let mut given_up = world(0, false);
    assert!(given_up.pull(9).is_empty());
    assert_eq!(given_up.state.floor(), Offset(3));
}

#[test]
fn a_message_on_its_way_is_not_delivered() {
    let mut world = world(1, true);
    let leases = world.lease(up_to(1));
    world.ask(&start(0, 9, NONCE)).unwrap();
    assert_eq!(world.state.outstanding(), 0);
    world.wait(60);
    assert_eq!(world.pull(9), [1, 2]);
    assert_eq!(counts(&mut world, &acknowledge(Targets::Leased(leases))), (1, 0, 0), "its last holder may be late");
    assert!(world.state.dead_letters().is_empty());
}

#[test]
fn a_second_start_keeps_the_first_nonce_unless_the_target_is_another() {
    let mut world = world(1, true);
    assert_eq!(world.pull(1), [0]);
    let other = Nonce { writer: 6, sequence: 1 };
    world.ask(&start(0, 9, NONCE)).unwrap();
    assert_eq!(counts(&mut world, &start(0, 9, NONCE)), (0, 1, 0));
    assert_eq!(counts(&mut world, &start(0, 9, other)), (0, 0, 1));
    assert_eq!(world.state.dead_letters()[0].nonce, NONCE);
    assert_eq!(counts(&mut world, &start(0, 10, other)), (1, 0, 0));
    assert_eq!((world.state.dead_letters().len(), world.state.dead_letters()[0].nonce), (1, other));
}

#[test]
fn what_was_not_started_cannot_be_finished() {
    let mut world = world(1, true);
    assert_eq!(counts(&mut world, &finish(0)), (0, 0, 1));
    assert_eq!(counts(&mut world, &start(3, 9, NONCE)), (0, 0, 1), "there is no such message");
    world.ask(&start(0, 9, NONCE)).unwrap();
    world.ask(&Command::Seek { to: Offset(0) }).unwrap();
    assert_eq!(counts(&mut world, &finish(0)), (0, 0, 1), "after a seek it is delivered again");
    assert_eq!(world.pull(1), [0]);
}

#[test]
fn a_message_may_be_given_up_by_hand() {
    let mut world = world(9, false);
    let give_up = Command::GiveUp { offset: Offset(1), reason: GiveUpReason::Refused };
    assert_eq!(counts(&mut world, &give_up), (1, 0, 0));
    assert_eq!(counts(&mut world, &give_up), (0, 1, 0));
    world.now = at(2_000);
    assert_eq!(world.pull(9), [0, 2]);
}

#[test]
fn a_message_sought_back_since_it_was_found_exhausted_is_no_dead_letter() {
    let mut world = world(1, true);
    assert_eq!(world.pull(1), [0]);
    world.wait(10);
    world.ask(&Command::Expire).unwrap();
    world.ask(&Command::Seek { to: Offset(0) }).unwrap();
    assert_eq!(counts(&mut world, &start(0, 9, NONCE)), (0, 0, 1));
    assert_eq!(world.pull(1), [0]);
}
