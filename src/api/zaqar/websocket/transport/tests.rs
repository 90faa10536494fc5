//! What clients may and may not send.

use super::accepted;
use super::frames::{Event, Kind, Reader, Wrong, close, message_head, ping, pong};
use super::outbox::{Outbox, Outgoing};
use actix_web::body::MessageBody;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A masked frame as clients send it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn text(bytes: &'static [u8]) -> Event {
    Event::Message(Kind::Text, Bytes::from_static(bytes))
}

/// All that is heard of these bytes when they come so many at a time.
fn heard(bytes: &[u8], at_once: usize) -> Result<Vec<Event>, Wrong> {
    let (mut reader, mut events) = (Reader::new(1_000), Vec::new());
    for piece in bytes.chunks(at_once) {
        reader.push(piece);
        while let Some(event) = reader.next()? {
            events.push(event);
        }
    }
    Ok(events)
}

#[test]
fn the_key_is_accepted_as_the_standard_has_it() {
    assert_eq!(accepted(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn messages_are_heard_however_they_come() {
    let long = vec![b'x'; 700];
    let sent = [
        frame(0x81, b"hello"),
        frame(0x01, b"one "),
        frame(0x89, b"are you there"),
        frame(0x00, b"two "),
        frame(0x80, b"three"),
        frame(0x82, &long),
        frame(0x8a, b""),
        frame(0x81, b""),
        frame(0x88, &[3, 232, b'b', b'y', b'e']),
    ]
    .concat();
    let wanted = [
        text(b"hello"),
        Event::Ping(Bytes::from_static(b"are you there")),
        text(b"one two three"),
        Event::Message(Kind::Binary, long.into()),
        Event::Pong,
        text(b""),
        Event::Close(Some(1000)),
    ];
    for at_once in [1, 2, 3, 7, 64, 100_000] {
        assert_eq!(heard(&sent, at_once).as_deref(), Ok(&wanted[..]), "{at_once}");
    }
}

#[test]
fn what_is_too_large_is_refused_by_its_head() {
    let announced = [&[0x82, 0x80 | 127][..], &u64::MAX.to_be_bytes()].concat();
    assert_eq!(heard(&announced, 100), Err(Wrong::TooLarge));
    assert_eq!(heard(&[0x82, 0x80 | 126, 3, 233], 100), Err(Wrong::TooLarge));
    let fragments = [frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 401])].concat();
    assert_eq!(heard(&fragments, 10_000), Err(Wrong::TooLarge));
    let fitting = [frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 400])].concat();
    assert_eq!(heard(&fitting, 10_000).unwrap().len(), 1);
}

#[test]
fn what_is_against_the_standard_is_refused() {
    for wrong in [
        &[0x81, 5][..],
        &frame(0xc1, b"a"),
        &frame(0x83, b"a"),
        &frame(0x09, b"unfinished"),
        &frame(0x89, &[b'a'; 126]),
        &frame(0x80, b"of nothing"),
        &[frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        &frame(0x88, &[3]),
        &frame(0x88, &[3, 237]),
        &frame(0x88, &[3, 232, 0xff]),
    ] {
        assert_eq!(heard(wrong, 1_000), Err(Wrong::Malformed), "{wrong:?}");
    }
}

#[test]
fn nothing_is_held_once_a_message_is_whole() {
    let mut reader = Reader::new(1_000);
    reader.push(frame(0x01, b"half").get(..8).unwrap());
    assert_eq!((reader.next(), reader.held()), (Ok(None), 8));
    reader.push(&[frame(0x01, b"half").get(8..).unwrap(), &frame(0x80, b"")[..]].concat());
    assert_eq!(reader.next(), Ok(Some(text(b"half"))));
    assert_eq!((reader.next(), reader.held()), (Ok(None), 0));
}

#[test]
fn frames_for_a_client_have_the_shortest_head() {
    assert_eq!(&message_head(Kind::Text, 5)[..], &[0x81, 5]);
    assert_eq!(&message_head(Kind::Binary, 125)[..], &[0x82, 125]);
    assert_eq!(&message_head(Kind::Text, 126)[..], &[0x81, 126, 0, 126]);
    assert_eq!(&message_head(Kind::Text, 65_536)[..], &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!((&ping()[..], &pong(b"hi")[..]), (&[0x89, 0][..], &[0x8a, 2, b'h', b'i'][..]));
    assert_eq!(&close(1000, "bye")[..], &[0x88, 5, 3, 232, b'b', b'y', b'e']);
    assert_eq!(close(1000, &"é".repeat(100)).len(), 2 + 2 + 122, "cut between letters");
}

#[test]
fn what_waits_is_taken_in_order_and_the_end_is_told() {
    let outbox = Outbox::default();
    let mut outgoing = Outgoing(outbox.clone());
    let mut context = Context::from_waker(Waker::noop());
    let mut take = || Pin::new(&mut outgoing).poll_next(&mut context);
    assert!(take().is_pending());
    outbox.push(Bytes::from_static(b"one"), None);
    outbox.push(Bytes::from(vec![7; 100_000]), None);
    assert_eq!(outbox.bytes(), 100_003);
    let mut taken = 0;
    while let Poll::Ready(Some(Ok(piece))) = take() {
        taken += piece.len();
    }
    assert_eq!((taken, outbox.bytes(), outbox.taken()), (100_003, 0, 100_003));
    outbox.push(Bytes::from_static(b"last"), None);
    outbox.close();
    outbox.push(Bytes::from_static(b"too late"), None);
    assert!(matches!(take(), Poll::Ready(Some(Ok(last))) if &last[..] == b"last"));
    assert!(matches!(take(), Poll::Ready(None)));
    assert!(!outbox.is_gone());
    drop(outgoing);
    assert!(outbox.is_gone());
}
