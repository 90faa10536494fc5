//! Golden bytes of a snapshot, and that a state survives being stored, byte for byte.

use super::*;
use crate::broker::codec::event::{Body, Record};
use crate::domain::Name;
use crate::domain::subscription::testing::{World, acknowledge, any_event, at, cases, run, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, LeaseRequest, Nonce, Targets, apply};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A subscription to which everything has happened that leaves a trace.
fn eventful() -> World {
    let mut world = World::with_messages(AckMode::Individual, 12);
    world.settings.max_attempts = Some(1);
    world.settings.dead_letter_topic = Some(Name::new("dead").unwrap());
    world.header(5).expires_at = at(1_001);
    let (node, duration, skew) = (NodeId(3), seconds(30), seconds(10));
    world.ask(&Command::AcquireWorker { node, duration, skew, over: None }).unwrap();
    let first = world.lease(up_to(4));
    world.ask(&acknowledge(Targets::Leased(vec![first[0], first[2]]))).unwrap();
    let targets = Targets::Leased(vec![first[1]]);
    world.ask(&Command::Release { targets, not_before: at(1_005), worker: None }).unwrap();
    let claim = LeaseRequest { holder: HolderId(1), group: GroupId(2), grace: Some(seconds(5)), ..up_to(3) };
    world.lease(claim);
    let (target, nonce) = (LogRef(9), Nonce { writer: 4, sequence: 1 });
    world.ask(&Command::StartDeadLetter { offset: Offset(3), target, tail: Offset(8), nonce }).unwrap();
    world.first = Offset(1);
    world.ask(&Command::Expire).unwrap();
    world
}

#[test]
fn a_snapshot_has_its_frozen_bytes() {
    let golden = [
        "01",                                                                                         // version
        "01 01000000000000000000000000000000 01 02", // attached: log, incarnation, mode
        "01 01 0201",                                // floor 1; acknowledged: 2
        "00",                                        // no window
        "03",                                        // leases: fence, attempt, until, phase
        "0101 02 01 c0aa9cdf03 00",                  // 1 is held back until 1,005 s
        "0101 02 01 00 01",                          // 3 is on its way
        "0003 03 01 80c1cde103 1f 01000000000000000000000000000000 02000000000000000000000000000000", // 4 to 6: 1,010 s
        "01000000000000000000000000000000 8094ebdc03", // by node 1, at 1,000 s
        "01 0501 c0d7fee303",                        // 5 lives until 1,015 s
        "01 03 09000000000000000000000000000000 08 04000000000000000000000000000000 01", // dead letter
        "01 03000000000000000000000000000000 01 809b92eb03", // worker: node, fence, 1,030 s
        "03 01 07 46 8094ebdc03 8094ebdc03 03 00",   // fence, epoch, consumed, forgotten
    ];
    let golden = golden.concat().replace(' ', "");
    let world = eventful();
    assert_eq!(hex(&encode(&world.state)), golden);
    assert_eq!(decode(&encode(&world.state)), Ok(world.state));
}

#[test]
fn a_lease_of_before_nodes_and_instants_were_told_is_read() {
    let world = eventful();
    let told = "031f0100000000000000000000000000000002000000000000000000000000000000010000000000000000000000000000008094ebdc03";
    let untold = "03070100000000000000000000000000000002000000000000000000000000000000";
    let bytes = hex(&encode(&world.state)).replace(told, untold);
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
    let lease = decode(&bytes).unwrap().lease(Offset(4)).unwrap();
    let (holder, group) = (HolderId(1), GroupId(2));
    assert_eq!(lease.phase, Phase::Held { holder, group, node: NodeId(0), at: Timestamp::EPOCH });
}

#[test]
fn the_state_of_no_events_is_small() {
    let empty = State::default();
    assert_eq!(hex(&encode(&empty)), "01".to_owned() + &"00".repeat(16));
    assert_eq!(decode(&encode(&empty)), Ok(empty));
}

#[test]
fn events_that_were_stored_give_the_same_state_byte_for_byte() {
    let world = eventful();
    let mut state = State::default();
    for events in world.events.chunks(3) {
        let stored = Record { newest_snapshot: None, body: Body::Events(events.to_vec()) }.encode();
        let Ok(Record { body: Body::Events(events), .. }) = Record::decode(&stored) else { panic!() };
        events.iter().for_each(|event| apply(&mut state, event));
    }
    assert_eq!(encode(&state), encode(&world.state));
}

/// A state whose stored form takes more than one chunk.
fn large() -> State {
    let mut state = eventful().state;
    let scattered: Vec<Run> = (1..100_000).map(|i| run(1_000 * i, 1_000 * i + 1)).collect();
    state.cursor.acknowledge(&scattered);
    state
}

#[test]
fn a_snapshot_counts_when_all_its_chunks_are_there_in_any_order() {
    let state = large();
    let mut parts = chunks(&state, Offset(70));
    assert!(parts.len() > 1, "{}", parts.len());
    assert!(parts.iter().all(|part| part.bytes.len() <= CHUNK_BYTES));
    parts.reverse();
    let last = parts.pop().unwrap();
    let mut assembly = Assembly::default();
    for part in parts.iter().chain(&parts) {
        assert_eq!(assembly.add(part.clone()), Ok(None));
    }
    assert_eq!(assembly.add(last.clone()), Ok(Some((Offset(70), state))));
    assert_eq!(assembly.add(last), Ok(None), "once is enough");
}

#[test]
fn chunks_of_another_snapshot_do_not_mix_in() {
    let (old, new) = (eventful().state, large());
    let mut assembly = Assembly::default();
    let newer = chunks(&new, Offset(70));
    assert_eq!(assembly.add(newer[0].clone()), Ok(None));
    for part in chunks(&old, Offset(60)) {
        assert_eq!(assembly.add(part), Ok(None), "an older one is of no use any more");
    }
    assert_eq!(assembly.add(newer[1].clone()), Ok(Some((Offset(70), new))));
    let newest = chunks(&old, Offset(80));
    assert_eq!(assembly.add(newest[0].clone()), Ok(Some((Offset(80), old))));
}

#[test]
fn a_snapshot_whose_parts_do_not_agree_is_refused() {
    let mut state = eventful().state;
    state.dead_letters.clear();
    assert!(decode(&encode(&state)).is_err(), "a parked message without its dead letter");
    let mut state = eventful().state;
    state.cursor.reset(Offset(4));
    assert!(decode(&encode(&state)).is_err(), "a lease of an acknowledged message");
}

#[test]
fn damaged_chunks_are_refused() {
    let chunk = |index, count| Chunk { as_of: Offset(1), index, count, bytes: Bytes::from_static(b"x") };
    for wrong in [chunk(1, 1), chunk(0, CHUNKS_MAX + 1), chunk(0, 1)] {
        assert!(Assembly::default().add(wrong).is_err());
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_state_survives_being_stored_byte_for_byte(events in prop::collection::vec(any_event(), 0..25)) {
        let mut state = State::default();
        events.iter().for_each(|event| apply(&mut state, event));
        let bytes = encode(&state);
        let read = decode(&bytes);
        prop_assert_eq!(read.as_ref().map(encode), Ok(bytes.clone()));
        prop_assert_eq!(read, Ok(state));
        for cut in 0..bytes.len() {
            prop_assert!(decode(&bytes.slice(..cut)).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn damaged_bytes_are_a_sound_state_or_refused(
        events in prop::collection::vec(any_event(), 0..25), place in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut state = State::default();
        events.iter().for_each(|event| apply(&mut state, event));
        let mut bytes = encode(&state).to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(state) = decode(&bytes) {
            prop_assert!(state.is_sound());
            prop_assert_eq!(encode(&state), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..60)) {
        let bytes = [&[VERSION][..], &body].concat();
        if let Ok(state) = decode(&bytes) {
            prop_assert_eq!(encode(&state), bytes);
        }
    }
}
