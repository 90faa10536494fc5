//! A message as clients see it. Its body passes through as the text it came as.
//!
//! The ttl shown counts from the post, also where a claim made the life longer: so ttl less age is what is left.

use super::collection::path;
use super::ids::{claim_id, message_id};
use super::{Limits, json};
use crate::broker::queue::{Queue, QueueMessage};
use crate::domain::message::{Payload, PayloadForm, Published};
use crate::domain::{Name, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// What its documents depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) now: Timestamp,
    pub(crate) limits: &'a Limits,
}

impl View<'_> {
    /// Writes messages as an array.
    pub(crate) fn write_all(&self, messages: &[QueueMessage], out: &mut Vec<u8>) {
        json::array(messages, out, |message, out| self.write(message, out));
    }

    /// Writes a message: id, href, ttl, age, body, and nothing else, for clients choke on more.
    pub(crate) fn write(&self, message: &QueueMessage, out: &mut Vec<u8>) {
        let id = message_id(&self.queue.topic, message.published.offset);
        let head = format!("{{\"id\": \"{id}\", \"href\": \"{}", href(&self.queue.topic.name, &id));
        out.extend_from_slice(head.as_bytes());
        if let Some(claim) = message.claim {
            out.extend_from_slice(format!("?claim_id={}", claim_id(claim)).as_bytes());
        }
        out.extend_from_slice(b"\", ");
        self.write_rest(message, out);
        out.push(b'}');
    }

    /// Writes a message that was popped: no href, but its claim, which is none, and how often it was claimed.
    pub(crate) fn write_popped(&self, message: &QueueMessage, out: &mut Vec<u8>) {
        let id = message_id(&self.queue.topic, message.published.offset);
        out.extend_from_slice(format!("{{\"id\": \"{id}\", \"claim_id\": null, \"claim_count\": ").as_bytes());
        // The pop itself is the last attempt.
        out.extend_from_slice(format!("{}, ", message.attempts.saturating_sub(1)).as_bytes());
        self.write_rest(message, out);
        out.push(b'}');
    }

    /// Writes a message as the WebSocket has it: no href, but its claim, if one holds it.
    pub(crate) fn write_bare(&self, message: &QueueMessage, out: &mut Vec<u8>) {
        let id = message_id(&self.queue.topic, message.published.offset);
        let claim = message.claim.map_or_else(|| "null".to_owned(), |claim| format!("\"{}\"", claim_id(claim)));
        out.extend_from_slice(format!("{{\"id\": \"{id}\", \"claim_id\": {claim}, ").as_bytes());
        self.write_rest(message, out);
        out.push(b'}');
    }

    fn write_rest(&self, message: &QueueMessage, out: &mut Vec<u8>) {
        let (ttl, age) = (ttl(message, self.limits), self.age(&message.published));
        out.extend_from_slice(format!("\"ttl\": {ttl}, \"age\": {age}, \"body\": ").as_bytes());
        write_body(&message.published.message.payload, out);
    }

    /// How old a message is, in whole seconds.
    pub(crate) fn age(&self, message: &Published) -> u64 {
        self.now.since(message.at).as_secs()
    }
}

/// How long a message lives, in seconds from its post; the longest ttl for one without an end.
fn ttl(message: &QueueMessage, limits: &Limits) -> u64 {
    let Published { at, message: inner, .. } = &message.published;
    if message.end == Timestamp::NEVER {
        return limits.max_message_ttl;
    }
    let length = message.end.since(*at);
    // The post was stored a moment after its ttl began to count; a claim that made it longer began later.
    if message.end == inner.header.expires_at {
        length.saturating_add(Duration::from_micros(999_999)).as_secs()
    } else {
        length.as_secs()
    }
}

/// Writes a body: JSON as it is, anything else as base64 in a string.
fn write_body(payload: &Payload, out: &mut Vec<u8>) {
    if payload.form == PayloadForm::Json {
        out.extend_from_slice(&payload.bytes);
    } else {
        json::string(&STANDARD.encode(&payload.bytes), out);
    }
}

/// The path of a message.
pub(crate) fn href(queue: &Name, id: &str) -> String {
    format!("{}/messages/{id}", path(queue))
}
