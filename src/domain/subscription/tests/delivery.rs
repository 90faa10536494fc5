//! Individual mode: what goes next.

use crate::domain::id::{Offset, ProducerId};
use crate::domain::subscription::testing::{World, acknowledge, at, run, up_to};
use crate::domain::subscription::{
    AckMode, Command, Decision, Event, GiveUpReason, Headers, LeaseRequest, Span, Targets, View, decide,
};

fn world(messages: usize) -> World {
    World::with_messages(AckMode::Individual, messages)
}

#[test]
fn a_delayed_message_keeps_its_place() {
    let mut world = world(3);
    world.header(1).visible_at = at(1_005);
    assert_eq!(world.pull(9), [0, 2]);
    world.wait(4);
    assert!(world.pull(9).is_empty());
    world.wait(1);
    assert_eq!(world.pull(9), [1]);
}

#[test]
fn expired_messages_are_skipped_and_done_with() {
    let mut world = world(5);
    for expired in [0, 1, 3] {
        world.header(expired).expires_at = at(1_000);
    }
    let events = world.events_of(&Command::Lease(up_to(9)));
    assert_eq!(events[0], Event::GivenUp { runs: vec![run(0, 2), run(3, 4)], reason: GiveUpReason::Expired });
    assert_eq!((world.state.floor(), world.state.outstanding()), (Offset(2), 2));
    assert!(world.state.acknowledged(Offset(3)));
}

#[test]
fn a_message_may_be_acknowledged_after_its_end_while_it_is_leased() {
    let mut world = world(1);
    world.header(0).expires_at = at(1_005);
    let leases = world.lease(up_to(1));
    world.wait(6);
    assert_eq!(world.events_of(&Command::Lease(up_to(1))), [], "nothing to give, and the lease stands");
    assert_eq!(world.events_of(&acknowledge(Targets::Leased(leases))).len(), 1);
}

#[test]
fn a_producer_is_left_out_but_others_get_its_messages() {
    let mut world = world(4);
    world.header(0).producer = ProducerId(7);
    world.header(2).producer = ProducerId(7);
    let except = |producer| LeaseRequest { except_producer: Some(ProducerId(producer)), ..up_to(9) };
    assert_eq!(world.lease(except(7)).len(), 2);
    assert_eq!(world.state.floor(), Offset(0));
    assert_eq!(world.lease(except(0)).len(), 2, "nobody in particular is left out");
}

#[test]
fn who_asks_early_gets_what_is_not_visible_yet() {
    let mut world = world(3);
    world.header(0).visible_at = at(1_000_000);
    let early = LeaseRequest { early: true, ..up_to(9) };
    assert_eq!((world.lease(up_to(9)).len(), world.lease(early).len()), (2, 1));
}

#[test]
fn a_byte_limit_gives_at_least_one_message() {
    let mut world = world(9);
    let mut limited = |bytes_max| world.lease(LeaseRequest { bytes_max, ..up_to(9) }).len();
    assert_eq!((limited(0), limited(25), limited(30)), (1, 2, 3));
}

#[test]
fn only_as_many_headers_are_asked_for_as_messages_are_wanted() {
    let mut world = world(1_000);
    world.pull(5);
    assert_eq!(world.needs, [Offset(0)..Offset(5)]);
    world.ask(&acknowledge(Targets::Offsets(vec![Offset(7)]))).unwrap();
    world.pull(4);
    assert_eq!(world.needs, [Offset(5)..Offset(7), Offset(8)..Offset(10)]);
}

#[test]
fn needs_double_while_nothing_is_found() {
    let mut world = world(1_000);
    (0..999).for_each(|offset| world.header(offset).visible_at = at(9_999));
    assert_eq!(world.pull(1), [999]);
    assert!(world.needs.len() <= 12, "{:?}", world.needs);
}

/// Decides once with the headers given.
fn with_headers(world: &World, headers: &Headers) -> Decision {
    let view = View {
        log: world.state.log().unwrap(),
        incarnation: world.incarnation,
        first: world.first,
        next: world.next(),
        settings: &world.settings,
        headers,
        observer: world.observer,
    };
    decide(&world.state, &Command::Lease(up_to(2)), world.now, &view).unwrap()
}

#[test]
fn summaries_spare_loading_headers() {
    let world = world(3_000);
    let mut headers = Headers::default();
    headers.insert(Offset(0), Span::Expired { count: 1_000, by: at(999) });
    headers.insert(Offset(1_000), Span::Delayed { count: 1_000, until: at(1_001) });
    assert_eq!(with_headers(&world, &headers), Decision::Need(Offset(2_000)..Offset(3_000)));
    headers.insert(Offset(2_000), Span::Each(world.messages[2_000..].to_vec()));
    let Decision::Done { events, .. } = with_headers(&world, &headers) else { panic!() };
    assert_eq!(events[0], Event::GivenUp { runs: vec![run(0, 1_000)], reason: GiveUpReason::Expired });
    assert!(matches!(&events[1], Event::Leased { runs, .. } if *runs == [run(2_000, 2_002)]), "{events:?}");
}

#[test]
fn a_summary_that_tells_nothing_now_is_loaded() {
    let world = world(10);
    for span in [Span::Expired { count: 4, by: at(1_001) }, Span::Delayed { count: 4, until: at(1_000) }] {
        let mut headers = Headers::default();
        headers.insert(Offset(0), span);
        assert_eq!(with_headers(&world, &headers), Decision::Need(Offset(0)..Offset(2)));
    }
}
