//! What was acknowledged against what is read: lost, duplicated, damaged, out of order. All must be zero, or a run does not count.

use crate::load::{Size, Stamp};
use memchr::{memchr, memmem};
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

/// No message.
const NONE: u64 = u64::MAX;
/// An offset this far behind all others is not believed.
const GAP: u64 = 100_000_000;

/// The messages that one topic acknowledged, by offset.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    stamps: Vec<u64>,
    /// Messages that were answered with an offset that another one has, or that cannot be.
    collided: u64,
}

impl Ledger {
    /// Notes that a publish of this message was answered with this offset.
    pub(crate) fn record(&mut self, offset: u64, stamp: Stamp) {
        let at = usize::try_from(offset).ok().filter(|_| offset < self.end() + GAP);
        let Some(at) = at else {
            self.collided += 1;
            return;
        };
        if at >= self.stamps.len() {
            self.stamps.resize(at + 1, NONE);
        }
        if let Some(place) = self.stamps.get_mut(at)
            && std::mem::replace(place, stamp.packed()) != NONE
        {
            self.collided += 1;
        }
    }

    /// One behind the last offset.
    pub(crate) fn end(&self) -> u64 {
        self.stamps.len() as u64
    }

    fn at(&self, offset: u64) -> Option<u64> {
        usize::try_from(offset).ok().and_then(|at| self.stamps.get(at)).copied().filter(|stamp| *stamp != NONE)
    }
}

/// What is wrong with a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) damaged: u64,
    pub(crate) out_of_order: u64,
}

impl Faults {
    pub(crate) fn none(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.damaged += other.damaged;
        self.out_of_order += other.out_of_order;
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, damaged, out_of_order } = self;
        write!(to, "{lost} lost, {duplicated} duplicated, {damaged} damaged, {out_of_order} out of order")
    }
}

/// What one consumer got, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Offsets, and the stamps of what came with them.
    deliveries: Vec<(u64, u64)>,
    /// Texts that are no message that anybody sends.
    damaged: u64,
}

impl Taken {
    /// How many messages came.
    pub(crate) fn count(&self) -> u64 {
        self.deliveries.len() as u64 + self.damaged
    }

    /// The messages from the `from`th delivery on.
    pub(crate) fn stamps(&self, from: usize) -> impl Iterator<Item = Stamp> {
        self.deliveries.iter().skip(from).map(|(_, packed)| Stamp::unpacked(*packed))
    }

    /// Takes one message.
    pub(crate) fn push(&mut self, offset: Option<u64>, size: Size, text: &str) {
        match (offset, Stamp::read(size, text)) {
            (Some(offset), Some(stamp)) => self.deliveries.push((offset, stamp.packed())),
            _ => self.damaged += 1,
        }
    }

    /// Takes a pull's answer, makes the body that acknowledges it, and gives how many messages it holds.
    pub(crate) fn take(&mut self, answer: &[u8], size: Size, acks: &mut Acks) -> u64 {
        let mut rest = answer;
        let mut count = 0;
        acks.begin();
        while let Some(ack_id) = string_after(&mut rest, &ACK_ID) {
            let offset = string_after(&mut rest, &MESSAGE_ID).and_then(|text| text.parse().ok());
            let text = string_after(&mut rest, &DATA).unwrap_or_default();
            acks.push(ack_id);
            self.push(offset, size, text);
            count += 1;
        }
        acks.end();
        count
    }
}

/// The body of an acknowledgement.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Whether the last id stands for all.
    last_only: bool,
    pub(crate) body: String,
}

impl Acks {
    const HEAD: &str = "{\"ackIds\":[\"";

    pub(crate) fn new(last_only: bool) -> Self {
        Self { last_only, body: String::new() }
    }

    fn begin(&mut self) {
        self.body.clear();
        self.body.push_str(Self::HEAD);
    }

    fn push(&mut self, id: &str) {
        if self.last_only {
            self.body.truncate(Self::HEAD.len());
        } else if self.body.len() > Self::HEAD.len() {
            self.body.push_str("\",\"");
        }
        self.body.push_str(id);
    }

    fn end(&mut self) {
        self.body.push_str("\"]}");
    }
}

/// Compares what the consumers of a subscription got together with what was acknowledged at these offsets: how many messages are
/// right, and what is wrong. `ordered` if each consumer must get them in the order of offsets without a gap.
pub(crate) fn check(ledger: &Ledger, range: Range<u64>, ordered: bool, consumers: &[Taken]) -> (u64, Faults) {
    let mut faults = Faults { damaged: ledger.collided, ..Faults::default() };
    let mut seen = vec![false; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default()];
    let mut verified = 0;
    for taken in consumers {
        faults.damaged += taken.damaged;
        let mut next = range.start;
        for (offset, stamp) in &taken.deliveries {
            faults.out_of_order += u64::from(ordered && *offset != next);
            next = offset + 1;
            if ledger.at(*offset) != Some(*stamp) {
                faults.damaged += 1;
            }
            let place = offset.checked_sub(range.start).and_then(|at| seen.get_mut(usize::try_from(at).ok()?));
            match place.map(|seen| std::mem::replace(seen, true)) {
                Some(false) => verified += 1,
                Some(true) => faults.duplicated += 1,
                None => faults.damaged += 1,
            }
        }
    }
    let missing = |(offset, seen): (u64, &bool)| !seen && ledger.at(offset).is_some();
    faults.lost = range.clone().zip(&seen).filter(|pair| missing(*pair)).count() as u64;
    (verified, faults)
}

/// The whole of a topic, as its consumers got it together.
pub(crate) fn check_all(ledger: &Ledger, ordered: bool, consumers: &[Taken]) -> (u64, Faults) {
    check(ledger, 0..ledger.end(), ordered, consumers)
}

type Key = LazyLock<memmem::Finder<'static>>;
static ACK_ID: Key = LazyLock::new(|| memmem::Finder::new(b"\"ackId\": \""));
static MESSAGE_ID: Key = LazyLock::new(|| memmem::Finder::new(b"\"messageId\": \""));
static DATA: Key = LazyLock::new(|| memmem::Finder::new(b"\"data\": \""));
static ID: Key = LazyLock::new(|| memmem::Finder::new(b"\"id\": \""));
static BODY: Key = LazyLock::new(|| memmem::Finder::new(b"\"body\": \""));

/// The messages of a Zaqar answer: their ids and texts.
pub(crate) fn messages_of(mut answer: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let id = string_after(&mut answer, &ID)?;
        Some((id, string_after(&mut answer, &BODY)?))
    })
}

/// The string that follows a key, up to its quote; `rest` goes on behind it.
fn string_after<'a>(rest: &mut &'a [u8], key: &memmem::Finder<'_>) -> Option<&'a str> {
    let begin = key.find(rest)? + key.needle().len();
    let (_, tail) = rest.split_at_checked(begin)?;
    let end = memchr(b'"', tail)?;
    let (text, after) = tail.split_at_checked(end)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// The ids of a publish's answer.
pub(crate) fn message_ids(answer: &[u8]) -> impl Iterator<Item = u64> {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    text.split('"').filter_map(|part| part.parse().ok())
}

/// The value of a field of a small JSON text, without its quotes.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("\"{name}\":"))?;
    after.trim_start().trim_start_matches('"').split(['"', ',', '}', '\n']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(messages: &[(u64, Stamp)], size: Size) -> Vec<u8> {
        let mut text = String::from("{\n   \"receivedMessages\": [");
        for (offset, stamp) in messages {
            text.push_str(&format!(
                "{{\"ackId\": \"a:{offset}\", \"message\": {{\"messageId\": \"{offset}\", \"data\": \""
            ));
            stamp.write(size, &mut text);
            text.push_str("\"}}");
        }
        text.into_bytes()
    }

    fn stamp(sequence: u64) -> Stamp {
        Stamp { producer: 0, sequence }
    }

    fn three() -> Ledger {
        let mut ledger = Ledger::default();
        for offset in 0..3 {
            ledger.record(offset, stamp(offset));
        }
        ledger
    }

    fn faults(messages: &[(u64, Stamp)]) -> Faults {
        let (size, mut taken) = (Size::of_bytes(64), Taken::default());
        taken.take(&answer(messages, size), size, &mut Acks::new(false));
        check_all(&three(), true, &[taken]).1
    }

    #[test]
    fn a_whole_run_has_no_faults() {
        assert!(faults(&[(0, stamp(0)), (1, stamp(1)), (2, stamp(2))]).none());
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        assert_eq!(faults(&[(0, stamp(0)), (1, stamp(1))]).lost, 1);
        assert_eq!(faults(&[(0, stamp(0)), (1, stamp(1)), (1, stamp(1)), (2, stamp(2))]).duplicated, 1);
        assert_eq!(faults(&[(0, stamp(0)), (2, stamp(2)), (1, stamp(1))]).out_of_order, 2);
        assert_eq!(faults(&[(0, stamp(0)), (1, stamp(2)), (2, stamp(1))]).damaged, 2);
        assert_eq!(faults(&[(0, stamp(0)), (1, stamp(1)), (2, stamp(2)), (3, stamp(7))]).damaged, 2);
    }

    #[test]
    fn consumers_of_one_subscription_are_checked_together() {
        let size = Size::of_bytes(64);
        let taken = |offsets: &[u64]| {
            let mut taken = Taken::default();
            let messages: Vec<_> = offsets.iter().map(|offset| (*offset, stamp(*offset))).collect();
            taken.take(&answer(&messages, size), size, &mut Acks::new(false));
            taken
        };
        assert_eq!(check_all(&three(), false, &[taken(&[0, 2]), taken(&[1])]), (3, Faults::default()));
        assert_eq!(check_all(&three(), false, &[taken(&[0, 2]), taken(&[2])]).1.duplicated, 1);
        assert_eq!(check(&three(), 1..3, true, &[taken(&[1, 2])]), (2, Faults::default()));
    }

    #[test]
    fn an_offset_answered_twice_is_a_fault() {
        let mut ledger = three();
        ledger.record(1, stamp(9));
        assert_eq!(check_all(&ledger, false, &[]).1.damaged, 1);
    }

    #[test]
    fn ack_ids_and_message_ids_are_read() {
        let size = Size::of_bytes(64);
        let answer = answer(&[(0, stamp(0)), (1, stamp(1))], size);
        let (mut all, mut last) = (Acks::new(false), Acks::new(true));
        Taken::default().take(&answer, size, &mut all);
        Taken::default().take(&answer, size, &mut last);
        assert_eq!(all.body, "{\"ackIds\":[\"a:0\",\"a:1\"]}");
        assert_eq!(last.body, "{\"ackIds\":[\"a:1\"]}");
        let ids = message_ids(b"{\n   \"messageIds\": [\n      \"41\",\n      \"42\"\n   ]\n}");
        assert_eq!(ids.collect::<Vec<_>>(), [41, 42]);
        assert_eq!(field("{\"stream\":\"t\", \"seq\":12}", "seq"), Some("12"));
        assert_eq!(field("{\n  \"offset\": \"7\"\n}", "offset"), Some("7"));
    }
}
