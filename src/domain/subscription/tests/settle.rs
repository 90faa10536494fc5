//! What every command settles first: a topic made again, messages taken by retention.

use crate::domain::error::Error;
use crate::domain::id::{Incarnation, Offset};
use crate::domain::subscription::testing::{World, acknowledge, up_to};
use crate::domain::subscription::{AckMode, Command, Event, State, Targets};

#[test]
fn the_first_command_says_where_delivery_begins() {
    let mut world = World::with_messages(AckMode::Individual, 5);
    world.state = State::default();
    let refused = world.ask(&Command::Attach { floor: Offset(6) });
    assert_eq!(refused, Err(Error::OffsetOutOfBounds { first: Offset(0), next: Offset(5) }));
    world.ask(&Command::Attach { floor: Offset(3) }).unwrap();
    assert_eq!((world.state.floor(), world.state.mode()), (Offset(3), Some(AckMode::Individual)));
    assert_eq!(world.events_of(&Command::Attach { floor: Offset(1) }), [], "once is enough");
}

#[test]
fn a_topic_made_again_is_delivered_from_its_start() {
    let mut world = World::with_messages(AckMode::Cumulative, 5);
    world.pull(5);
    world.ask(&acknowledge(Targets::Through(Offset(4)))).unwrap();
    world.pull(1);
    world.remake_topic();
    world.messages = vec![crate::domain::message::Header::plain(1, 1); 2];
    let refused = world.ask(&acknowledge(Targets::Through(Offset(0))));
    assert_eq!(refused, Err(Error::NoAckPending), "the window of the old topic is gone");
    assert_eq!(world.pull(9), [0, 1]);
    assert_eq!(world.state.incarnation(), Incarnation(2));
}

#[test]
fn a_topic_made_again_revokes_leases_and_acknowledgements() {
    let mut world = World::with_messages(AckMode::Individual, 3);
    let old = world.lease(up_to(2));
    world.remake_topic();
    world.messages = vec![crate::domain::message::Header::plain(1, 1); 3];
    let new = world.lease(up_to(9));
    assert_eq!(new.len(), 3);
    assert!(new[0].1 > old[0].1);
    let reply = world.ask(&acknowledge(Targets::Leased(old))).unwrap();
    assert!(
        matches!(reply, crate::domain::subscription::Reply::Targets { applied: 0, superseded: 2, .. }),
        "{reply:?}"
    );
}

#[test]
fn a_view_of_an_earlier_topic_is_refused() {
    let mut world = World::with_messages(AckMode::Individual, 3);
    world.remake_topic();
    world.ask(&Command::Expire).unwrap();
    world.incarnation = Incarnation(1);
    assert_eq!(world.ask(&Command::Lease(up_to(1))), Err(Error::StaleIncarnation));
    assert_eq!(world.ask(&Command::Attach { floor: Offset(0) }), Err(Error::StaleIncarnation));
}

#[test]
fn retention_moves_the_floor_counts_what_it_took_and_clears_the_window() {
    let mut world = World::with_messages(AckMode::Cumulative, 9);
    world.pull(2);
    world.first = Offset(4);
    let refused = world.ask(&acknowledge(Targets::Through(Offset(1))));
    assert_eq!(refused, Err(Error::NoAckPending));
    assert_eq!(world.state.floor(), Offset(0), "a refused command changes nothing");
    let forgotten = Event::Forgotten { before: Offset(4), unacknowledged: 4 };
    assert_eq!(world.events_of(&Command::Expire), [forgotten]);
    assert_eq!((world.state.floor(), world.state.forgotten()), (Offset(4), 4));
    assert_eq!(world.state.window(), None);
    assert_eq!(world.pull(1), [4]);
}

#[test]
fn what_was_acknowledged_is_not_counted_as_taken() {
    let mut world = World::with_messages(AckMode::Individual, 9);
    world.lease(up_to(4));
    world.ask(&acknowledge(Targets::Offsets(vec![Offset(1), Offset(2), Offset(5)]))).unwrap();
    world.first = Offset(4);
    let forgotten = Event::Forgotten { before: Offset(4), unacknowledged: 2 };
    assert_eq!(world.events_of(&Command::Expire), [forgotten]);
    assert_eq!(world.state.outstanding(), 0);
    assert_eq!(world.pull(9), [4, 6, 7, 8]);
}
