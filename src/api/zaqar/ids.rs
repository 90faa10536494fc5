//! Ids as clients see them. A message's id tells its place in its queue, so it is the marker too and stays one when the message is gone;
//! check digits tie it to the one queue that gave it out, so ids of other queues, and of a queue deleted and made again, mean nothing.

use crate::domain::Offset;
use crate::domain::subscription::GroupId;
use crate::domain::topic::Topic;
use uuid::Uuid;

/// Digits of incarnation, offset and check.
const DIGITS: (usize, usize, usize) = (8, 16, 8);

/// The id of a message: hexadecimal incarnation, offset and check digits.
pub(crate) fn message_id(topic: &Topic, offset: Offset) -> String {
    format!("{:08x}{:016x}{:08x}", incarnation(topic), offset.0, check(topic, offset))
}

/// The offset of a message of this topic; none for a text that is no id of it.
pub(crate) fn offset(topic: &Topic, id: &str) -> Option<Offset> {
    if id.len() != DIGITS.0 + DIGITS.1 + DIGITS.2 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (head, check_digits) = id.split_at_checked(DIGITS.0 + DIGITS.1)?;
    let (incarnation_digits, offset_digits) = head.split_at_checked(DIGITS.0)?;
    let offset = Offset(u64::from_str_radix(offset_digits, 16).ok()?);
    let fits = u32::from_str_radix(incarnation_digits, 16).ok()? == incarnation(topic)
        && u32::from_str_radix(check_digits, 16).ok()? == check(topic, offset);
    fits.then_some(offset)
}

#[expect(clippy::cast_possible_truncation, reason = "the check digits cover what more there is of the topic")]
fn incarnation(topic: &Topic) -> u32 {
    topic.incarnation.0 as u32
}

fn check(topic: &Topic, offset: Offset) -> u32 {
    let identity = crc32c::crc32c(&topic.id.0.to_le_bytes());
    crc32c::crc32c_append(identity, &offset.0.to_le_bytes())
}

/// A fresh claim's id, which nobody can guess.
pub(crate) fn fresh_claim() -> GroupId {
    GroupId(Uuid::new_v4().as_u128())
}

/// The id of a claim as clients see it.
pub(crate) fn claim_id(claim: GroupId) -> String {
    Uuid::from_u128(claim.0).hyphenated().to_string()
}

/// The claim of an id; none for a text that is none.
pub(crate) fn claim(id: &str) -> Option<GroupId> {
    let claim = Uuid::try_parse(id).ok()?;
    // Zero stands for no claim.
    Some(GroupId(claim.as_u128())).filter(|group| *group != GroupId::default() && claim_id(*group) == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::topic::Retention;
    use crate::domain::{Incarnation, LogRef, Name, ProjectId, Timestamp, TopicId};

    fn topic(id: u128, incarnation: u64) -> Topic {
        Topic {
            id: TopicId(id),
            project: ProjectId(1),
            name: Name::new("q").unwrap(),
            log: LogRef(1),
            incarnation: Incarnation(incarnation),
            retention: Retention::default(),
            schema: None,
            metadata: bytes::Bytes::new(),
            sealed: false,
            acl: Vec::new(),
            created_at: Timestamp(0),
            created_by: None,
        }
    }

    #[test]
    fn an_id_means_a_message_of_its_own_queue_alone() {
        let (one, other, again) = (topic(7, 1), topic(8, 1), topic(9, 2));
        for place in [0, 1, u64::MAX] {
            let id = message_id(&one, Offset(place));
            assert_eq!(offset(&one, &id), Some(Offset(place)));
            assert_eq!((offset(&other, &id), offset(&again, &id)), (None, None));
        }
        let id = message_id(&one, Offset(5));
        for forged in [
            id.to_uppercase().replace('0', "A"),
            id.replacen('5', "6", 1),
            format!("{id}0"),
            String::new(),
            "é".repeat(16),
        ] {
            assert_eq!(offset(&one, &forged), None, "{forged}");
        }
    }

    #[test]
    fn a_claim_id_reads_back_in_its_one_form() {
        let claim_of = fresh_claim();
        let id = claim_id(claim_of);
        assert_eq!(claim(&id), Some(claim_of));
        for wrong in ["123", "", "00000000-0000-0000-0000-000000000000", &id.replace('-', ""), &format!("{{{id}}}")] {
            assert_eq!(claim(wrong), None, "{wrong}");
        }
    }
}
