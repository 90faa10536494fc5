//! Publishing: the body's messages go one by one into the batch that is stored, and all or none are.

use super::bodies::{self, Attribute, Messages};
use super::error::{Failure, Refusal};
use super::json::{self, Malformed, Reader};
use super::render::{self, Indent, escaped_length};
use super::request::{Answer, Call};
use super::{Ams, payload};
use crate::broker::{BatchBuilder, NewMessage};
use crate::domain::message::{Attributes, PayloadForm};

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
    let mut decoder = Decoder { ams, batch: ams.broker.batch(), form: PayloadForm::Binary, data_bytes: 0 };
    // Base64 becomes three quarters; a little more for what stands beside it.
    decoder.batch.reserve(body.len() / 32 * 25);
    decoder.batch.begin();
    bodies::messages(body, &mut decoder)?;
    Ok(decoder.batch)
}

/// The batch, and the message that is being read into it.
struct Decoder<'a> {
    ams: &'a Ams,
    batch: BatchBuilder,
    form: PayloadForm,
    /// What its data take in the original's stored form.
    data_bytes: usize,
}

impl Messages for Decoder<'_> {
    type Error = Refusal;

    fn begin(&mut self) {
        if self.batch.count() > 0 {
            self.batch = self.ams.broker.batch();
            self.batch.begin();
        }
    }

    fn data(&mut self, reader: &mut Reader<'_>) -> json::Result<()> {
        (self.form, self.data_bytes) = payload::read(reader, &mut self.batch)?;
        Ok(())
    }

    fn end(&mut self, attributes: &[Attribute<'_>]) -> Result<(), Refusal> {
        if OVERHEAD + self.data_bytes + counted(attributes) > self.ams.options().message_bytes_max {
            return Err(Failure::TOO_LARGE.into());
        }
        let attributes = Attributes::from_pairs(attributes.iter().map(|(key, value)| (key, value)));
        self.batch.end(&NewMessage { form: self.form, attributes, ..NewMessage::default() })?;
        self.batch.begin();
        (self.form, self.data_bytes) = (PayloadForm::Binary, 0);
        Ok(())
    }
}

/// What attributes add to a message's size as its limit counts it: the original's stored JSON with a one-digit id and a nine-digit
/// fraction.
fn counted(attributes: &[Attribute<'_>]) -> usize {
    let each: usize =
        attributes.iter().map(|(key, value)| ATTRIBUTE_OVERHEAD + escaped_length(key) + escaped_length(value)).sum();
    if attributes.is_empty() { 0 } else { ATTRIBUTES_OVERHEAD + each }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_counted_as_the_original_stores_it() {
        let with = |attributes: &[Attribute<'_>]| OVERHEAD + "aGVsbG8=".len() + counted(attributes);
        assert_eq!(with(&[]), 126 + 8);
        let attributes = [("site".into(), "A".into()), ("k".into(), "\"".into())];
        let stored = "{\n   \"messageId\": \"0\",\n   \"attributes\": {\n      \"k\": \"\\\"\",\n      \"site\": \"A\"\n   },\n   \"data\": \"aGVsbG8=\",\n   \"publishTime\": \"2024-05-01T10:04:05.123456789Z\"\n}";
        assert_eq!(with(&attributes), stored.len() + 36);
    }
}
