//! Cumulative mode, as ARGO AMS 1.7 has it.

use crate::domain::error::Error;
use crate::domain::id::{Offset, Timestamp};
use crate::domain::subscription::testing::{World, acknowledge, at, run, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, Event, GiveUpReason, LeaseRequest, Targets};

fn world(messages: usize) -> World {
    World::with_messages(AckMode::Cumulative, messages)
}

fn ack(world: &mut World, offset: u64) -> Result<(), Error> {
    world.ask(&acknowledge(Targets::Through(Offset(offset)))).map(drop)
}

#[test]
fn a_second_pull_gives_the_same_messages_again() {
    let mut world = world(5);
    assert_eq!(world.pull(3), [0, 1, 2]);
    assert_eq!(world.pull(3), [0, 1, 2]);
    assert_eq!(world.state.floor(), Offset(0));
    assert_eq!(world.state.consumed().messages, 6);
}

#[test]
fn an_acknowledgement_inside_the_window_covers_everything_below_it_and_closes_the_window() {
    let mut world = world(5);
    world.pull(4);
    ack(&mut world, 1).unwrap();
    assert_eq!(world.state.floor(), Offset(2));
    assert_eq!(ack(&mut world, 3), Err(Error::NoAckPending));
    assert_eq!(world.pull(9), [2, 3, 4]);
    ack(&mut world, 4).unwrap();
    assert_eq!((world.state.floor(), world.state.backlog(world.next())), (Offset(5), 0));
}

#[test]
fn without_a_pull_nothing_can_be_acknowledged() {
    assert_eq!(ack(&mut world(2), 0), Err(Error::NoAckPending));
}

#[test]
fn an_offset_outside_the_window_is_a_wrong_ack() {
    let mut world = world(9);
    world.pull(2);
    ack(&mut world, 1).unwrap();
    world.pull(3);
    for wrong in [0, 1, 5, u64::MAX] {
        assert_eq!(ack(&mut world, wrong), Err(Error::WrongAck), "{wrong}");
    }
    ack(&mut world, 4).unwrap();
}

#[test]
fn a_smaller_second_pull_shrinks_the_window() {
    let mut world = world(9);
    world.pull(5);
    world.pull(2);
    assert_eq!(ack(&mut world, 4), Err(Error::WrongAck));
    ack(&mut world, 1).unwrap();
}

#[test]
fn exactly_the_deadline_is_in_time_and_both_times_count_in_whole_seconds() {
    let mut world = world(9);
    world.now = Timestamp(1_000_999_999);
    world.pull(1);
    world.now = Timestamp(1_010_999_999);
    ack(&mut world, 0).unwrap();
    world.now = Timestamp(1_020_999_999);
    world.pull(1);
    world.now = Timestamp(1_031_000_000);
    assert_eq!(ack(&mut world, 1), Err(Error::AckTimeout));
    assert_eq!(ack(&mut world, 7), Err(Error::WrongAck), "the window is checked before the deadline");
}

#[test]
fn after_the_deadline_a_new_pull_makes_the_old_offsets_acknowledgeable() {
    let mut world = world(3);
    world.pull(3);
    world.wait(60);
    assert_eq!(ack(&mut world, 2), Err(Error::AckTimeout));
    world.pull(3);
    ack(&mut world, 2).unwrap();
}

#[test]
fn a_clock_that_goes_back_is_in_time() {
    let mut world = world(1);
    world.pull(1);
    world.now = at(1);
    ack(&mut world, 0).unwrap();
}

#[test]
fn an_empty_pull_appends_only_if_a_window_was_open() {
    let mut world = world(2);
    world.pull(2);
    ack(&mut world, 1).unwrap();
    assert_eq!(world.events_of(&Command::Lease(up_to(1))), []);
    assert_eq!(ack(&mut world, 1), Err(Error::NoAckPending));
}

#[test]
fn an_empty_pull_leaves_a_window_without_length() {
    let mut world = world(2);
    world.header(0).expires_at = at(1_001);
    world.header(1).expires_at = at(1_001);
    world.pull(2);
    world.wait(5);
    assert!(world.pull(2).is_empty());
    assert_eq!(world.state.window().map(|window| window.end), Some(Offset(2)));
    assert_eq!(ack(&mut world, 1), Err(Error::WrongAck));
}

#[test]
fn a_window_without_length_at_offset_zero_counts_as_none() {
    let mut world = World::new(AckMode::Cumulative);
    world.state.window = Some(crate::domain::subscription::Window { end: Offset(0), at: world.now });
    assert!(world.pull(1).is_empty());
    assert_eq!(ack(&mut world, 0), Err(Error::NoAckPending));
}

#[test]
fn a_seek_closes_the_window_and_its_bounds_are_inclusive() {
    let mut world = world(4);
    world.first = Offset(1);
    world.pull(2);
    for outside in [0, 5] {
        let refused = world.ask(&Command::Seek { to: Offset(outside) });
        assert_eq!(refused, Err(Error::OffsetOutOfBounds { first: Offset(1), next: Offset(4) }));
    }
    assert!(world.state.window().is_some(), "a refused seek changes nothing");
    world.ask(&Command::Seek { to: Offset(4) }).unwrap();
    assert_eq!(ack(&mut world, 2), Err(Error::NoAckPending));
    assert!(world.pull(1).is_empty());
    world.ask(&Command::Seek { to: Offset(1) }).unwrap();
    assert_eq!(world.pull(9), [1, 2, 3]);
}

#[test]
fn a_purge_acknowledges_everything_and_closes_the_window() {
    let mut world = world(4);
    world.pull(2);
    assert_eq!(world.events_of(&Command::Purge), [Event::Purged { floor: Offset(4) }]);
    assert_eq!(ack(&mut world, 1), Err(Error::NoAckPending));
    assert_eq!(world.events_of(&Command::Purge), []);
}

#[test]
fn expired_messages_are_skipped_and_covered_by_the_window() {
    let mut world = world(5);
    for expired in [0, 2, 4] {
        world.header(expired).expires_at = at(1_000);
    }
    assert_eq!(world.pull(9), [1, 3]);
    assert_eq!(world.state.window().map(|window| window.end), Some(Offset(5)));
    ack(&mut world, 3).unwrap();
    assert_eq!(world.state.floor(), Offset(4));
    let covered = Event::GivenUp { runs: vec![run(4, 5)], reason: GiveUpReason::Expired };
    assert_eq!(world.events_of(&Command::Lease(up_to(1))), [covered]);
    assert_eq!(world.state.backlog(world.next()), 0);
}

#[test]
fn delay_and_producer_mean_nothing() {
    let mut world = world(2);
    world.header(0).visible_at = at(9_999);
    world.header(1).producer = crate::domain::id::ProducerId(7);
    let request = LeaseRequest { except_producer: Some(crate::domain::id::ProducerId(7)), ..up_to(2) };
    assert_eq!(world.lease(request).len(), 2);
}

#[test]
fn a_byte_limit_gives_at_least_one_message() {
    let mut world = world(5);
    let mut limited = |bytes_max| world.lease(LeaseRequest { bytes_max, ..up_to(9) }).len();
    assert_eq!((limited(0), limited(10), limited(29), limited(30)), (1, 1, 2, 3));
    assert_eq!(world.state.window().map(|window| window.end), Some(Offset(3)));
}

#[test]
fn no_message_wanted_counts_as_one() {
    assert_eq!(world(2).pull(0), [0]);
}

#[test]
fn commands_of_the_other_mode_are_refused() {
    let mut world = world(2);
    world.pull(2);
    let leased = || Targets::Leased(vec![(Offset(0), crate::domain::id::Fence(0))]);
    let others = [
        acknowledge(leased()),
        acknowledge(Targets::Offsets(vec![Offset(0)])),
        Command::Pop(up_to(1)),
        Command::Extend { targets: leased(), duration: seconds(1), grace: None, worker: None },
        Command::Release { targets: leased(), not_before: at(0), worker: None },
        Command::GiveUp { offset: Offset(0), reason: GiveUpReason::Operator },
    ];
    for command in others {
        assert_eq!(world.ask(&command), Err(Error::WrongAckMode), "{command:?}");
    }
    assert_eq!(world.events_of(&Command::Expire), []);
}

#[test]
fn only_as_many_headers_are_asked_for_as_messages_are_wanted() {
    let mut world = world(1_000);
    world.pull(7);
    assert_eq!(world.needs, [Offset(0)..Offset(7)]);
}

#[test]
fn consumption_remembers_the_last_two_pulls() {
    let mut world = world(9);
    world.pull(3);
    world.wait(2);
    world.pull(4);
    let consumed = world.state.consumed();
    assert_eq!((consumed.messages, consumed.bytes, consumed.last), (7, 70, 4));
    assert_eq!((consumed.before, consumed.at), (at(1_000), at(1_002)));
}
