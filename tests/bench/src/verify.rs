//! What was acknowledged against what is read: lost, duplicated, damaged, out of order. All must be zero, or a run does not count.

use crate::load::{Stamp, TEXT};
use memchr::{memchr, memmem};
use std::fmt;

/// The offsets that publishes were answered with: by producer, then by sequence number.
pub(crate) type Acknowledged = Vec<Vec<u64>>;

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
}

impl fmt::Display for Faults {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, damaged, out_of_order } = self;
        write!(to, "{lost} lost, {duplicated} duplicated, {damaged} damaged, {out_of_order} out of order")
    }
}

/// Takes delivered messages and finds what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    acknowledged: &'a Acknowledged,
    seen: Vec<bool>,
    /// The next offset, when they must come in order.
    next: Option<u64>,
    faults: Faults,
    /// How many came.
    pub(crate) messages: u64,
}

impl<'a> Reader<'a> {
    /// A reader of a whole topic; `ordered` when messages must come in offset order.
    pub(crate) fn new(acknowledged: &'a Acknowledged, ordered: bool) -> Self {
        let total = acknowledged.iter().map(Vec::len).sum();
        Self {
            acknowledged,
            seen: vec![false; total],
            next: ordered.then_some(0),
            faults: Faults::default(),
            messages: 0,
        }
    }

    /// Takes a pull's answer; adds its ack ids, and gives how many messages it holds.
    pub(crate) fn take(&mut self, answer: &[u8], ack_ids: &mut Vec<String>) -> u64 {
        let mut rest = answer;
        let mut count = 0;
        while let Some(ack_id) = string_after(&mut rest, b"\"ackId\": \"") {
            let offset = string_after(&mut rest, b"\"messageId\": \"").and_then(|text| text.parse().ok());
            let text = string_after(&mut rest, b"\"data\": \"").unwrap_or_default();
            ack_ids.push(ack_id.to_owned());
            self.one(offset, text);
            count += 1;
        }
        self.messages += count;
        count
    }

    fn one(&mut self, offset: Option<u64>, text: &str) {
        let stamp = (text.len() == TEXT).then(|| Stamp::read(text)).flatten();
        let (Some(offset), Some(stamp)) = (offset, stamp) else {
            self.faults.damaged += 1;
            return;
        };
        let place =
            self.acknowledged.get(stamp.producer as usize).and_then(|of| of.get(usize::try_from(stamp.sequence).ok()?));
        if place != Some(&offset) {
            self.faults.damaged += 1;
        }
        if let Some(next) = &mut self.next {
            self.faults.out_of_order += u64::from(*next != offset);
            *next = offset + 1;
        }
        let seen = usize::try_from(offset).ok().and_then(|at| self.seen.get_mut(at));
        match seen.map(|seen| std::mem::replace(seen, true)) {
            Some(false) => {}
            Some(true) => self.faults.duplicated += 1,
            None => self.faults.damaged += 1,
        }
    }

    /// What was wrong, those that never came included.
    pub(crate) fn faults(&self) -> Faults {
        Faults { lost: self.seen.iter().filter(|seen| !**seen).count() as u64, ..self.faults }
    }
}

/// The messages of a pull's answer, as far as they can be read.
pub(crate) fn stamps(answer: &[u8]) -> Vec<Stamp> {
    let mut rest = answer;
    std::iter::from_fn(|| string_after(&mut rest, b"\"data\": \"")).filter_map(Stamp::read).collect()
}

/// The string that follows a key, up to its quote; `rest` goes on behind it.
fn string_after<'a>(rest: &mut &'a [u8], key: &[u8]) -> Option<&'a str> {
    let begin = memmem::find(rest, key)? + key.len();
    let (_, tail) = rest.split_at_checked(begin)?;
    let end = memchr(b'"', tail)?;
    let (text, after) = tail.split_at_checked(end)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// The ids of a publish's answer.
pub(crate) fn message_ids(answer: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(answer).unwrap_or_default();
    text.split('"').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(messages: &[(u64, Stamp)]) -> Vec<u8> {
        let mut text = String::from("{\n   \"receivedMessages\": [");
        for (offset, stamp) in messages {
            text.push_str(&format!(
                "{{\"ackId\": \"a:{offset}\", \"message\": {{\"messageId\": \"{offset}\", \"data\": \""
            ));
            stamp.write(&mut text);
            text.push_str("\"}}");
        }
        text.into_bytes()
    }

    fn stamp(sequence: u64) -> Stamp {
        Stamp { producer: 0, sequence }
    }

    fn faults(messages: &[(u64, Stamp)]) -> Faults {
        let acknowledged = vec![vec![0, 1, 2]];
        let mut reader = Reader::new(&acknowledged, true);
        reader.take(&answer(messages), &mut Vec::new());
        reader.faults()
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
    fn ack_ids_and_message_ids_are_read() {
        let acknowledged = vec![vec![0]];
        let mut ids = Vec::new();
        Reader::new(&acknowledged, true).take(&answer(&[(0, stamp(0))]), &mut ids);
        assert_eq!(ids, ["a:0"]);
        assert_eq!(message_ids(b"{\n   \"messageIds\": [\n      \"41\",\n      \"42\"\n   ]\n}"), [41, 42]);
    }
}
