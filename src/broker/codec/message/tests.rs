//! The stored form of message batches: what goes in comes out, bytes are frozen, nonsense is refused.

use super::*;
use crate::domain::Offset;
use crate::domain::message::{Header, Payload, Published};
use crate::domain::subscription::headers::Span;
use crate::storage::{Nonce, Offset as LogOffset, StoredBatch, Time};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);
const AT: Timestamp = Timestamp(1_000_500);

fn stored(first: u64, count: u32, payload: Bytes) -> StoredBatch {
    StoredBatch { first: LogOffset(first), count, time: Time(AT.0), nonce: Nonce::default(), payload }
}

fn builder(messages: &[NewMessage<'_>]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(NOW);
    messages.iter().for_each(|message| builder.push(message).unwrap());
    builder
}

fn open(first: u64, mut builders: Vec<BatchBuilder>, previous: Totals) -> MessageBatch {
    let (head, rest) = builders.split_first_mut().unwrap();
    let mut record = Record::merge(head, rest.iter());
    MessageBatch::open(stored(first, record.count, record.behind(&previous))).unwrap()
}

fn all(batch: &MessageBatch) -> Vec<Published> {
    batch.messages(batch.first..batch.next()).collect::<Result<_>>().unwrap()
}

fn rich() -> [NewMessage<'static>; 3] {
    [
        NewMessage { payload: b"hello", ..NewMessage::default() },
        NewMessage {
            payload: b"{}",
            form: PayloadForm::Json,
            attributes: Attributes::from_pairs([("k", "v")]),
            producer: ProducerId(7),
            delay: Some(Duration::from_secs(1)),
            ttl: Some(Duration::from_secs(2)),
        },
        NewMessage { form: PayloadForm::Verbatim, payload: b"no base64", ..NewMessage::default() },
    ]
}

#[test]
fn messages_come_out_as_they_went_in() {
    let batch = open(10, vec![builder(&rich())], Totals::default());
    let messages = all(&batch);
    assert_eq!(messages.iter().map(|message| message.offset.0).collect::<Vec<_>>(), [10, 11, 12]);
    for (published, new) in messages.iter().zip(rich()) {
        assert_eq!(published.at, AT);
        assert_eq!(published.message.payload, Payload { bytes: Bytes::copy_from_slice(new.payload), form: new.form });
        assert_eq!(published.message.attributes, new.attributes);
        assert_eq!(published.message.header.producer, new.producer);
    }
    assert_eq!(messages[0].message.header, Header::plain(5, 8));
    let header = messages[1].message.header;
    assert_eq!((header.visible_at, header.expires_at), (Timestamp(2_000_000), Timestamp(3_000_000)));
    assert_eq!((header.bytes, header.text_bytes), (12, 2));
    assert_eq!(messages[2].message.header, Header::plain(9, 9));
}

#[test]
fn headers_are_those_of_the_messages_in_any_range() {
    let batch = open(10, vec![builder(&rich())], Totals::default());
    let messages = all(&batch);
    for first in 10..=13 {
        for next in first..=13 {
            let range = Offset(first)..Offset(next);
            let headers: Vec<_> = batch.headers(range.clone()).map(|header| header.unwrap()).collect();
            let wanted: Vec<_> = messages.iter().filter(|message| range.contains(&message.offset)).collect();
            assert_eq!(headers, wanted.iter().map(|message| message.message.header).collect::<Vec<_>>());
            let part: Vec<_> = batch.messages(range).map(|message| message.unwrap()).collect();
            assert!(part.iter().eq(wanted), "{first}..{next}");
        }
    }
}

#[test]
fn merged_batches_hold_the_same_messages_in_order() {
    let merged = open(0, vec![builder(&rich()), builder(&rich()[..1]), builder(&rich()[1..])], Totals::default());
    let one: Vec<_> = rich().into_iter().chain(rich()[..1].to_vec()).chain(rich()[1..].to_vec()).collect();
    let whole = open(0, vec![builder(&one)], Totals::default());
    assert_eq!(format!("{merged:?}"), format!("{whole:?}"));
}

#[test]
fn totals_go_on_from_the_batch_before() {
    let previous = Totals { messages: 5, bytes: 100, at: Timestamp(9), count: 4 };
    let mut first = builder(&rich());
    let mut record = Record::merge(&mut first, std::iter::empty());
    let held = record.behind(&Totals::default());
    let batch = MessageBatch::open(stored(5, 3, record.behind(&previous))).unwrap();
    assert_eq!(batch.totals, Totals { messages: 8, bytes: 100 + 8 + 2 + 9, at: AT, count: 3 });
    assert_eq!(batch.totals, record.totals(&previous, AT));
    assert_eq!(batch.previous, (Timestamp(9), 4));
    assert_eq!(MessageBatch::open(stored(0, 3, held)).unwrap().totals.messages, 3, "an earlier try keeps its bytes");
}

#[test]
fn a_single_request_is_not_copied() {
    let mut builder = builder(&rich());
    let payload = builder.buffer.as_ptr();
    let record = Record::merge(&mut builder, std::iter::empty());
    assert_eq!(record.bytes.as_ptr(), payload);
}

#[test]
fn a_payload_may_be_written_in_place_and_begun_anew() {
    let mut builder = BatchBuilder::new(NOW);
    builder.begin();
    builder.payload_space(3).copy_from_slice(b"bad");
    builder.begin();
    builder.payload_space(10)[..5].copy_from_slice(b"hello");
    builder.payload_truncate(5);
    assert_eq!(builder.payload(), b"hello");
    builder.end(&NewMessage { attributes: Attributes::from_pairs([("a", "b")]), ..NewMessage::default() }).unwrap();
    builder.begin();
    builder.payload_space(4).copy_from_slice(b"lost");
    assert_eq!(builder.count(), 1);
    let batch = open(0, vec![builder], Totals::default());
    let messages = all(&batch);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message.payload.bytes, "hello");
    assert_eq!(messages[0].message.attributes.iter().collect::<Vec<_>>(), [("a", "b")]);
}

#[test]
fn what_is_above_the_limits_is_refused_and_leaves_nothing_behind() {
    let mut builder = builder(&rich()[..1]);
    let bytes = builder.bytes();
    let many = Attributes::from_pairs((0..=limits::ATTRIBUTES_MAX).map(|key| (key.to_string(), "")));
    let message = NewMessage { attributes: many, ..NewMessage::default() };
    assert!(matches!(builder.push(&message), Err(Error::Invalid { what: "attributes", .. })));
    let large = vec![0; BATCH_BYTES_MAX];
    let large = NewMessage { payload: &large, ..NewMessage::default() };
    assert!(matches!(builder.push(&large), Err(Error::TooLarge { .. })));
    assert_eq!((builder.count(), builder.bytes()), (1, bytes));
    assert_eq!(all(&open(0, vec![builder], Totals::default())).len(), 1);
}

#[test]
fn a_batch_is_summed_up_only_when_no_message_could_matter() {
    let delayed = |delay, ttl| NewMessage {
        delay: Some(Duration::from_micros(delay)),
        ttl: Some(Duration::from_micros(ttl)),
        ..NewMessage::default()
    };
    let batch = open(0, vec![builder(&[delayed(10, 50), delayed(20, 60)])], Totals::default());
    let summary = |at: u64| batch.summary(2, Timestamp(NOW.0 + at));
    assert_eq!(summary(9), Some(Span::Delayed { count: 2, until: Timestamp(NOW.0 + 10) }));
    assert_eq!(summary(10), None);
    assert_eq!(summary(59), None);
    assert_eq!(summary(60), Some(Span::Expired { count: 2, by: Timestamp(NOW.0 + 60) }));
    assert_eq!(open(0, vec![builder(&rich())], Totals::default()).summary(3, Timestamp(NOW.0 + 9)), None);
}

#[test]
fn the_stored_form_is_frozen() {
    let mut builder = builder(&rich()[..2]);
    let mut record = Record::merge(&mut builder, std::iter::empty());
    let bytes = record.behind(&Totals { messages: 1, bytes: 2, at: Timestamp(3), count: 4 });
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = concat!(
        "01000000",
        "02000000",
        "11000000",
        "20000000",
        "0000000000000000",
        "80841e0000000000",
        "c0c62d0000000000",
        "ffffffffffffffff",
        "0300000000000000",
        "0c00000000000000",
        "0300000000000000",
        "04000000",
        "00000000"
    );
    let bodies = concat!("68656c6c6f", "7b7d", "010000006b", "0100000076");
    let table = concat!("0500000000000000", "00000000", "020000000a000000", "02070000");
    let extras = concat!("80841e0000000000", "c0c62d0000000000", "07000000000000000000000000000000");
    assert_eq!(hex, [header, bodies, table, extras].concat());
}

#[test]
fn bytes_cut_short_or_of_another_version_are_damaged() {
    let mut builder = builder(&rich());
    let mut record = Record::merge(&mut builder, std::iter::empty());
    let bytes = record.behind(&Totals::default());
    for length in 0..bytes.len() {
        assert!(MessageBatch::open(stored(0, 3, bytes.slice(..length))).is_err(), "{length}");
    }
    assert!(MessageBatch::open(stored(0, 2, bytes.clone())).is_err(), "another count");
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    assert!(MessageBatch::open(stored(0, 3, newer.into())).is_err());
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(
        flips in proptest::collection::vec((0_usize..300, any::<u8>()), 1..6),
        count in 0_u32..5,
    ) {
        let mut builder = builder(&rich());
        let mut record = Record::merge(&mut builder, std::iter::empty());
        let mut bytes = record.behind(&Totals::default()).to_vec();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if let Ok(batch) = MessageBatch::open(stored(0, count, bytes.into())) {
            let _ = batch.messages(batch.first..batch.next()).collect::<Vec<_>>();
            let _ = batch.headers(batch.first..batch.next()).collect::<Vec<_>>();
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0_u32..5) {
        if let Ok(batch) = MessageBatch::open(stored(0, count, bytes.into())) {
            let _ = batch.messages(batch.first..batch.next()).collect::<Vec<_>>();
        }
    }
}
