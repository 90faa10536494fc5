//! Grace: a claim may give messages more time than their own end. The numbers are those of Zaqar's own tests.

use crate::domain::id::Offset;
use crate::domain::subscription::testing::{World, at, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, Headers, LeaseRequest, Span, Targets};
use crate::domain::subscription::{Decision, View, decide};

/// A message with 120 s to live, claimed for so long with so much grace.
fn claimed(ttl: u64, grace: u64) -> World {
    let mut world = World::with_messages(AckMode::Individual, 1);
    world.header(0).expires_at = at(1_120);
    world.lease(LeaseRequest { duration: Some(seconds(ttl)), grace: Some(seconds(grace)), ..up_to(1) });
    world
}

#[test]
fn a_message_that_would_expire_under_its_lease_lives_until_its_end_and_the_grace() {
    assert_eq!(claimed(777, 23).state.lifetime(Offset(0)), Some(at(1_800)));
    assert_eq!(claimed(121, 22).state.lifetime(Offset(0)), Some(at(1_143)));
    assert_eq!(claimed(60, 30).state.lifetime(Offset(0)), None);
    assert_eq!(claimed(120, 30).state.lifetime(Offset(0)), None, "it ends with the lease, not earlier");
}

#[test]
fn an_extended_life_survives_the_release_and_is_never_shortened() {
    let mut world = claimed(777, 23);
    let targets = Targets::Offsets(vec![Offset(0)]);
    let shorter = Command::Extend { targets, duration: seconds(500), grace: Some(seconds(0)), worker: None };
    world.ask(&shorter).unwrap();
    assert_eq!(world.state.lifetime(Offset(0)), Some(at(1_800)));
    world.now = at(1_799);
    assert_eq!(world.state.oldest_extended(world.now), Some(Offset(0)));
    assert_eq!(world.pull(1), [0]);
    world.now = at(1_810);
    assert!(world.pull(1).is_empty());
    assert_eq!((world.state.floor(), world.state.oldest_extended(world.now)), (Offset(1), None));
}

#[test]
fn extending_a_lease_extends_the_lives_that_would_end_before_it() {
    let mut world = claimed(60, 30);
    let extend = |duration, grace| Command::Extend {
        targets: Targets::Offsets(vec![Offset(0)]),
        duration: seconds(duration),
        grace: Some(seconds(grace)),
        worker: None,
    };
    world.ask(&extend(110, 60)).unwrap();
    assert_eq!(world.state.lifetime(Offset(0)), None);
    world.ask(&extend(121, 22)).unwrap();
    assert_eq!(world.state.lifetime(Offset(0)), Some(at(1_143)));
    assert_eq!(world.needs, [Offset(0)..Offset(1)]);
}

#[test]
fn a_message_whose_life_was_extended_is_not_hidden_by_a_summary() {
    let mut world = claimed(121, 100);
    world.messages = vec![world.messages[0]; 3];
    world.now = at(1_130);
    let mut headers = Headers::default();
    headers.insert(Offset(0), Span::Expired { count: 3, by: at(1_120) });
    let view = View {
        log: world.state.log().unwrap(),
        incarnation: world.incarnation,
        first: world.first,
        next: world.next(),
        settings: &world.settings,
        headers: &headers,
        observer: world.observer,
    };
    let decided = decide(&world.state, &Command::Lease(up_to(3)), world.now, &view).unwrap();
    assert_eq!(decided, Decision::Need(Offset(0)..Offset(1)));
}
