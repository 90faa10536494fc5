//! What subscribers of a queue read: the notification of a message, by itself or put into the subscriber's own text. Sends nothing.

use crate::domain::Timestamp;
use crate::domain::message::{PayloadForm, Published};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::time::Duration;

/// What stands for the notification in a subscriber's own text, its quotes included.
const PLACE: &str = "\"$zaqar_message$\"";
/// The ttl shown for messages that have none: the longest that a message may have unless configured otherwise.
const NO_TTL: u64 = 1_209_600;

/// The notification of a message: what was posted with its defaults, and two members more.
#[must_use]
pub(super) fn notification(queue: &str, published: &Published) -> String {
    let header = &published.message.header;
    let ttl = if header.expires_at == Timestamp::NEVER { NO_TTL } else { seconds(header.expires_at, published.at) };
    let delay = match seconds(header.visible_at, published.at) {
        0 => String::new(),
        delay => format!("\"delay\": {delay}, "),
    };
    let body = body(published);
    format!(
        "{{\"ttl\": {ttl}, {delay}\"body\": {body}, \"Message_Type\": \"Notification\", \"queue_name\": {}}}",
        string(queue)
    )
}

/// The subscriber's text around a notification; the notification itself where there is none.
#[must_use]
pub(super) fn within(template: Option<&str>, notification: String) -> Bytes {
    Bytes::from(match template {
        Some(template) => template.replace(PLACE, &notification),
        None => notification,
    })
}

/// Whole seconds to an instant that began to count a moment before the message was stored.
fn seconds(to: Timestamp, stored: Timestamp) -> u64 {
    to.since(stored).saturating_add(Duration::from_micros(999_999)).as_secs()
}

/// A body: JSON as it is, anything else as base64 in a string.
fn body(published: &Published) -> String {
    let payload = &published.message.payload;
    match std::str::from_utf8(&payload.bytes) {
        Ok(text) if payload.form == PayloadForm::Json => text.to_owned(),
        _ => string(&STANDARD.encode(&payload.bytes)),
    }
}

/// A text as JSON.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::{Attributes, Header, Message, Payload};
    use crate::domain::{Offset, ProducerId};

    fn published(payload: &str, form: PayloadForm, expires: u64, visible: u64) -> Published {
        let header = Header {
            visible_at: Timestamp(visible),
            expires_at: Timestamp(expires),
            producer: ProducerId(1),
            bytes: 0,
            text_bytes: 0,
        };
        let payload = Payload { bytes: Bytes::copy_from_slice(payload.as_bytes()), form };
        let message = Message { header, attributes: Attributes::default(), payload, ordering_key: Bytes::new() };
        Published { offset: Offset(3), at: Timestamp(1_000_010), message }
    }

    #[test]
    fn a_notification_is_what_was_posted_and_two_members_more() {
        let plain = published(r#"{"event":  "é"}"#, PayloadForm::Json, 301_000_000, 0);
        assert_eq!(
            notification("demo", &plain),
            r#"{"ttl": 300, "body": {"event":  "é"}, "Message_Type": "Notification", "queue_name": "demo"}"#
        );
        let delayed = published("1", PayloadForm::Json, 61_000_000, 6_000_000);
        assert_eq!(
            notification("q", &delayed),
            r#"{"ttl": 60, "delay": 5, "body": 1, "Message_Type": "Notification", "queue_name": "q"}"#
        );
        let foreign = published("hello", PayloadForm::Binary, u64::MAX, 0);
        assert_eq!(
            notification("q", &foreign),
            r#"{"ttl": 1209600, "body": "aGVsbG8=", "Message_Type": "Notification", "queue_name": "q"}"#
        );
    }

    #[test]
    fn a_subscribers_text_has_the_notification_at_every_place_and_without_one_stays_as_it_is() {
        let around = |template| String::from_utf8(within(template, "{1}".to_owned()).to_vec()).unwrap();
        assert_eq!(around(None), "{1}");
        assert_eq!(around(Some(r#"{"a": "$zaqar_message$", "b": ["$zaqar_message$"]}"#)), r#"{"a": {1}, "b": [{1}]}"#);
        assert_eq!(around(Some("$zaqar_message$ fixed")), "$zaqar_message$ fixed");
    }
}
