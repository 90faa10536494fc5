//! Publishing: the body's messages go one by one into the batch that is stored, and all or none are.

use super::bodies::{self, MessageBody};
use super::error::{Failure, Refusal};
use super::json::Malformed;
use super::render::{self, Indent, escaped_length};
use super::request::{Answer, Call};
use super::{Ams, payload};
use crate::broker::{BatchBuilder, NewMessage};
use crate::domain::message::Attributes;

/// What the original's stored form of a message takes beside its data and attributes, with the 36 bytes it adds for its log.
const OVERHEAD: usize = 126;
/// What the field of attributes takes there beside the attributes.
const ATTRIBUTES_OVERHEAD: usize = 24;
/// What an attribute takes there beside key and value.
const ATTRIBUTE_OVERHEAD: usize = 14;

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Failure::arguments("Message").into()
    }
}

/// Appends a request's messages and answers their ids.
pub(crate) async fn publish(call: &Call<'_>) -> Answer {
    let topic = call.topic().await?;
    call.principal.check_topic(call.ams, &topic)?;
    let batch = batch(call.ams, &call.body)?;
    let receipt = call.ams.broker.publish(&topic, batch).await?;
    let ids = (0..u64::from(receipt.count)).map(|place| receipt.first.plus(place));
    Ok(render::object(Indent::Three, |json| {
        json.field("messageIds").array(|json| ids.for_each(|id| json.item().quoted(id)));
    }))
}

/// Decodes a body straight into a batch.
fn batch(ams: &Ams, body: &[u8]) -> Result<BatchBuilder, Refusal> {
    let message_bytes_max = ams.options().message_bytes_max;
    let mut scratch = Vec::new();
    let batch = std::cell::RefCell::new(ams.broker.batch());
    bodies::messages(
        body,
        &mut || {
            let mut batch = batch.borrow_mut();
            if batch.count() > 0 {
                *batch = ams.broker.batch();
            }
        },
        &mut |message: MessageBody<'_>| -> Result<(), Refusal> {
            if counted(&message) > message_bytes_max {
                return Err(Failure::TOO_LARGE.into());
            }
            let (payload, form) = payload::stored(message.data.as_deref().unwrap_or_default(), &mut scratch);
            let attributes = if message.attributes.is_empty() {
                Attributes::default()
            } else {
                Attributes::from_pairs(message.attributes)
            };
            batch.borrow_mut().push(&NewMessage { payload, form, attributes, ..NewMessage::default() })?;
            Ok(())
        },
    )?;
    Ok(batch.into_inner())
}

/// A message's size as its limit counts it: the original's stored JSON with a one-digit id and a nine-digit fraction.
fn counted(message: &MessageBody<'_>) -> usize {
    let data = escaped_length(message.data.as_deref().unwrap_or_default());
    let attributes: usize = message
        .attributes
        .iter()
        .map(|(key, value)| ATTRIBUTE_OVERHEAD + escaped_length(key) + escaped_length(value))
        .sum();
    let field = if message.attributes.is_empty() { 0 } else { ATTRIBUTES_OVERHEAD };
    OVERHEAD + data + field + attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_as_the_original_stores_it() {
        let with = |attributes: Vec<(String, std::borrow::Cow<'static, str>)>| {
            counted(&MessageBody { data: Some("aGVsbG8=".into()), attributes })
        };
        assert_eq!(with(Vec::new()), 126 + 8);
        let attributes = vec![("site".to_owned(), "A".into()), ("k".to_owned(), "\"".into())];
        let stored = "{\n   \"messageId\": \"0\",\n   \"attributes\": {\n      \"k\": \"\\\"\",\n      \"site\": \"A\"\n   },\n   \"data\": \"aGVsbG8=\",\n   \"publishTime\": \"2024-05-01T10:04:05.123456789Z\"\n}";
        assert_eq!(with(attributes), stored.len() + 36);
    }
}
