//! Golden bytes of every event, and what is refused.

use super::*;
use crate::domain::subscription::testing::{any_event, at, cases, run};
use crate::domain::subscription::tidy;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn record(events: Vec<Event>) -> Record {
    Record { newest_snapshot: None, body: Body::Events(events) }
}

/// The bytes of one event: a record's without its head.
fn bytes_of(event: Event) -> String {
    let bytes = record(vec![event]).encode();
    assert_eq!(hex(&bytes[..11]), "0101ffffffffffffffff01");
    hex(&bytes[11..])
}

const ID: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
const ID_HEX: &str = "100f0e0d0c0b0a090807060504030201";

/// Every kind with its stored form.
fn golden() -> Vec<(Event, String)> {
    let runs = vec![run(300, 302), run(310, 311)];
    let runs_hex = "02ac02020801";
    let nonce = Nonce { writer: ID, sequence: 7 };
    vec![
        (
            Event::Attached {
                log: LogRef(ID),
                incarnation: Incarnation(2),
                floor: Offset(300),
                mode: AckMode::Individual,
            },
            format!("01{ID_HEX}02ac0202"),
        ),
        (Event::WindowSet { end: Offset(300), at: at(1), messages: 3, bytes: 128 }, "02ac02c0843d038001".to_owned()),
        (Event::AcknowledgedThrough { floor: Offset(300), at: at(1) }, "03ac02c0843d".to_owned()),
        (
            Event::Leased {
                runs: runs.clone(),
                fence: Fence(9),
                deadline: at(3),
                holder: HolderId(0),
                group: GroupId(0),
                node: NodeId(0),
                at: at(1),
                bytes: 128,
            },
            format!("040009c0843d80897a8001{runs_hex}"),
        ),
        (
            Event::Leased {
                runs: runs.clone(),
                fence: Fence(9),
                deadline: at(1),
                holder: HolderId(ID),
                group: GroupId(1),
                node: NodeId(0),
                at: at(1),
                bytes: 0,
            },
            format!("0403{ID_HEX}0100000000000000000000000000000009c0843d0000{runs_hex}"),
        ),
        (
            Event::Leased {
                runs: runs.clone(),
                fence: Fence(9),
                deadline: at(1),
                holder: HolderId(0),
                group: GroupId(0),
                node: NodeId(ID),
                at: at(1),
                bytes: 0,
            },
            format!("0404{ID_HEX}09c0843d0000{runs_hex}"),
        ),
        (Event::Acknowledged { runs: runs.clone(), at: at(1) }, format!("05c0843d{runs_hex}")),
        (Event::Extended { runs: runs.clone(), deadline: at(1) }, format!("06c0843d{runs_hex}")),
        (Event::Released { runs: runs.clone(), not_before: Timestamp::EPOCH }, format!("0700{runs_hex}")),
        (Event::Expired { runs: runs.clone() }, format!("08{runs_hex}")),
        (Event::GivenUp { runs: runs.clone(), reason: GiveUpReason::Attempts }, format!("0901{runs_hex}")),
        (Event::GivenUp { runs: runs.clone(), reason: GiveUpReason::Refused }, format!("0902{runs_hex}")),
        (Event::GivenUp { runs: runs.clone(), reason: GiveUpReason::Operator }, format!("0903{runs_hex}")),
        (Event::GivenUp { runs: runs.clone(), reason: GiveUpReason::Expired }, format!("0904{runs_hex}")),
        (Event::Purged { floor: Offset(300) }, "0aac02".to_owned()),
        (Event::Sought { floor: Offset(300) }, "0bac02".to_owned()),
        (Event::WorkerLeased { node: NodeId(ID), fence: Fence(9), deadline: at(1) }, format!("0c{ID_HEX}09c0843d")),
        (Event::WorkerReleased { fence: Fence(9) }, "0d09".to_owned()),
        (
            Event::DeadLetterStarted { offset: Offset(300), target: LogRef(ID), tail: Offset(5), nonce },
            format!("0eac02{ID_HEX}05{ID_HEX}07"),
        ),
        (Event::DeadLettered { offset: Offset(300), copy: Offset(5) }, "0fac0205".to_owned()),
        (Event::Forgotten { before: Offset(300), unacknowledged: 5 }, "10ac0205".to_owned()),
        (Event::LifetimeExtended { runs: runs.clone(), until: at(1) }, format!("11c0843d{runs_hex}")),
        (
            Event::Renewed { runs: runs.clone(), deadline: at(3), node: NodeId(0), at: at(1) },
            format!("1200c0843d80897a{runs_hex}"),
        ),
        (
            Event::Renewed { runs, deadline: at(1), node: NodeId(ID), at: at(1) },
            format!("1204{ID_HEX}c0843d00{runs_hex}"),
        ),
    ]
}

#[test]
fn every_event_has_its_frozen_bytes() {
    let golden = golden();
    for (event, bytes) in &golden {
        assert_eq!(bytes_of(event.clone()), *bytes, "{event:?}");
    }
    let codes: std::collections::BTreeSet<u8> = golden.iter().map(|(event, _)| event.code()).collect();
    assert!(codes.into_iter().eq(1..=18), "a code has no golden bytes");
    let all = record(golden.into_iter().map(|(event, _)| event).collect());
    assert_eq!(Record::decode(&all.encode()), Ok(all));
}

#[test]
fn a_record_has_its_frozen_head() {
    let events = Record { newest_snapshot: Some(Offset(258)), body: Body::Events(Vec::new()) };
    assert_eq!(hex(&events.encode()), "0101020100000000000000");
    let chunk = Chunk { as_of: Offset(300), index: 1, count: 2, bytes: Bytes::from_static(b"abc") };
    let chunk = Record { newest_snapshot: None, body: Body::Chunk(chunk) };
    assert_eq!(hex(&chunk.encode()), "0102ffffffffffffffffac020102616263");
    for record in [events, chunk] {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn a_lease_of_one_run_is_small() {
    let now = Timestamp(1_900_000_000_000_000);
    let leased = Event::Leased {
        node: NodeId(0),
        runs: vec![run(1_000_000_000, 1_000_000_100)],
        fence: Fence(10_000_000),
        deadline: now.plus(std::time::Duration::from_secs(600)),
        holder: HolderId(0),
        group: GroupId(0),
        at: now,
        bytes: 100_000,
    };
    let bytes = record(vec![leased]).encode().len();
    assert!(bytes <= 40, "{bytes}");
}

#[test]
fn what_is_not_a_record_is_refused_and_says_why() {
    let head = "0101ffffffffffffffff";
    let refused = |text: &str, why: &str| {
        let bytes: Vec<u8> =
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect();
        match Record::decode(&Bytes::from(bytes)) {
            Err(crate::domain::Error::Damaged(said)) => assert!(said.contains(why), "{text}: {said}"),
            other => panic!("{text}: {other:?}"),
        }
    };
    refused("", "cut short");
    refused("0201ffffffffffffffff00", "version 2");
    refused("0103ffffffffffffffff00", "kind 3");
    refused(&format!("{head}0200"), "counts more than it holds");
    refused(&format!("{head}011300"), "event code 19");
    refused(&format!("{head}010a0000"), "more follows");
    refused(&format!("{head}010aac"), "cut short");
    refused(&format!("{head}01090501000100"), "reason 5");
    refused(&format!("{head}0101{ID_HEX}02ac0203"), "ack mode 3");
    refused(&format!("{head}01040809000000010001"), "lease flags 0x8");
    refused(&format!("{head}010401{}", "00".repeat(22)), "an id is zero");
    refused("0102ffffffffffffffff000202", "chunk 2 of 2");
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_events_read_back_with_their_runs_tidied(events in prop::collection::vec(any_event(), 0..8), at in any::<u64>()) {
        let newest_snapshot = Some(Offset(at)).filter(|offset| offset.0 != u64::MAX);
        let bytes = Record { newest_snapshot, body: Body::Events(events.clone()) }.encode();
        let read = Record::decode(&bytes);
        let tidied = events.into_iter().map(|mut event| {
            if let Event::Leased { runs, .. } | Event::Acknowledged { runs, .. } | Event::Extended { runs, .. }
                | Event::Released { runs, .. } | Event::Expired { runs } | Event::GivenUp { runs, .. }
                | Event::LifetimeExtended { runs, .. } | Event::Renewed { runs, .. } = &mut event
            {
                *runs = tidy(runs).into_owned();
            }
            event
        });
        prop_assert_eq!(read, Ok(Record { newest_snapshot, body: Body::Events(tidied.collect()) }));
        for cut in 0..bytes.len() {
            prop_assert!(Record::decode(&bytes.slice(..cut)).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..60), headed in any::<bool>()) {
        let head: &[u8] = if headed { &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0] } else { &[] };
        let bytes = Bytes::from([head, &body].concat());
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn a_flipped_byte_is_another_record_or_refused(
        event in any_event(), place in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = record(vec![event]).encode().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let bytes = Bytes::from(bytes);
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
