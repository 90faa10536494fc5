//! What an endpoint receives: the JSON bodies of each target. Sends nothing.
//!
//! A webhook's are ARGO AMS's (`ams-v1.md` §6.5), except that `subscription` is the subscription's full name rather than a line of a
//! log that has it inside (quirk 32).

use crate::broker::Delivery;
use crate::domain::Timestamp;
use crate::domain::message::{Attributes, Payload, PayloadForm, Published};
use crate::domain::push::{Mattermost, Push, Target};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::DateTime;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// The body that carries these messages of the subscription of this full name. Nothing goes without messages.
///
/// # Errors
/// When it cannot be written as JSON, which the types here do not allow.
pub(super) fn body(push: &Push, subscription: &str, deliveries: &[Delivery]) -> serde_json::Result<Bytes> {
    let items =
        deliveries.iter().map(|delivery| Item { message: Message::of(&delivery.published, push.decode), subscription });
    let mut items: Vec<Item<'_>> = items.collect();
    let bytes = match (&push.target, items.first_mut()) {
        (Target::Mattermost(Mattermost { username, channel, .. }), first) => {
            let text = first.map(|item| std::mem::take(&mut item.message.data)).unwrap_or_default();
            serde_json::to_vec(&Post { text, username, channel })
        }
        (Target::Webhook(webhook), Some(first)) if webhook.messages_max == 1 => serde_json::to_vec(first),
        // Subscribers of queues are told otherwise (`notification`).
        (Target::Webhook(_) | Target::Notify(_), _) => serde_json::to_vec(&Items { messages: items }),
    };
    bytes.map(Bytes::from)
}

#[derive(Serialize)]
struct Items<'a> {
    messages: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    message: Message<'a>,
    subscription: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    message_id: String,
    #[serde(skip_serializing_if = "Attributes::is_empty", serialize_with = "map")]
    attributes: &'a Attributes,
    data: Cow<'a, str>,
    publish_time: String,
}

#[derive(Serialize)]
struct Post<'a> {
    text: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
}

impl<'a> Message<'a> {
    fn of(published: &'a Published, decode: bool) -> Self {
        let message = &published.message;
        Self {
            message_id: published.offset.to_string(),
            attributes: &message.attributes,
            data: data(&message.payload, decode),
            publish_time: time(published.at),
        }
    }
}

fn map<S: Serializer>(attributes: &Attributes, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(attributes.iter())
}

/// A payload as a text: base64, or what that would decode to. Bytes that are no text stay base64: nothing of them would be left.
fn data(payload: &Payload, decode: bool) -> Cow<'_, str> {
    match std::str::from_utf8(&payload.bytes) {
        Ok(text) if decode || payload.form == PayloadForm::Verbatim => Cow::Borrowed(text),
        _ => Cow::Owned(STANDARD.encode(&payload.bytes)),
    }
}

/// RFC 3339 in UTC, a fraction without zeros at its end.
fn time(at: Timestamp) -> String {
    let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let text = time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::{Header, Message};
    use crate::domain::push::{Shared, Webhook};
    use crate::domain::retry::RetryPolicy;
    use crate::domain::{Fence, Offset};

    fn delivery(offset: u64, payload: &[u8], form: PayloadForm, attributes: &[(&str, &str)]) -> Delivery {
        let message = Message {
            header: Header::plain(0, 0),
            attributes: Attributes::from_pairs(attributes.iter().copied()),
            payload: Payload { bytes: Bytes::copy_from_slice(payload), form },
            ordering_key: Bytes::new(),
        };
        let at = Timestamp(1_714_557_845_123_450 + offset);
        Delivery { published: Published { offset: Offset(offset), at, message }, fence: Fence(0), attempt: 1 }
    }

    fn webhook(messages_max: i64, decode: bool) -> Push {
        let (endpoint, hash) = (String::new(), Shared(String::new()));
        let target = Target::Webhook(Webhook { endpoint, messages_max, authorization: None, hash });
        Push { target, retry: RetryPolicy::SlowStart, decode, verified: true }
    }

    fn text(push: &Push, deliveries: &[Delivery]) -> String {
        String::from_utf8(body(push, "/projects/P/subscriptions/s", deliveries).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_webhook_for_one_message_gets_it_bare_and_others_a_list() {
        let hello = delivery(0, b"hello", PayloadForm::Binary, &[("k", "v\"")]);
        let item = r#"{"message":{"messageId":"0","attributes":{"k":"v\""},"data":"aGVsbG8=","publishTime":"2024-05-01T10:04:05.12345Z"},"subscription":"/projects/P/subscriptions/s"}"#;
        assert_eq!(text(&webhook(1, false), std::slice::from_ref(&hello)), item);
        assert_eq!(text(&webhook(3, false), std::slice::from_ref(&hello)), format!(r#"{{"messages":[{item}]}}"#));
        let plain = delivery(1, b"", PayloadForm::Binary, &[]);
        let both = text(&webhook(0, false), &[hello, plain]);
        assert!(
            both.starts_with(&format!(r#"{{"messages":[{item},{{"message":{{"messageId":"1","data":"","#)),
            "{both}"
        );
    }

    #[test]
    fn a_decoded_payload_is_its_text_and_stays_base64_when_it_is_none() {
        let data = |decode, payload: &[u8], form| {
            let body = text(&webhook(1, decode), &[delivery(0, payload, form, &[])]);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            body["message"]["data"].as_str().unwrap().to_owned()
        };
        assert_eq!(data(true, "grüß".as_bytes(), PayloadForm::Binary), "grüß");
        assert_eq!(data(true, &[0xff, 0xfe], PayloadForm::Binary), "//4=");
        assert_eq!(data(false, b"msg 1", PayloadForm::Verbatim), "msg 1");
        assert_eq!(data(true, b"msg 1", PayloadForm::Verbatim), "msg 1");
        assert_eq!(data(false, b"{}", PayloadForm::Json), "e30=");
        assert_eq!(data(true, b"{}", PayloadForm::Json), "{}");
    }

    #[test]
    fn a_chat_gets_the_text_under_a_name_if_there_is_one() {
        let chat = |username: &str, channel: &str| {
            let target = Target::Mattermost(Mattermost {
                url: String::new(),
                username: username.to_owned(),
                channel: channel.to_owned(),
            });
            Push { target, retry: RetryPolicy::SlowStart, decode: true, verified: true }
        };
        let hello = [delivery(0, b"hello", PayloadForm::Binary, &[])];
        assert_eq!(text(&chat("", ""), &hello), r#"{"text":"hello"}"#);
        assert_eq!(text(&chat("bot", "ops"), &hello), r#"{"text":"hello","username":"bot","channel":"ops"}"#);
    }

    #[test]
    fn whole_seconds_have_no_fraction() {
        assert_eq!(time(Timestamp(1_714_557_845_000_000)), "2024-05-01T10:04:05Z");
    }
}
