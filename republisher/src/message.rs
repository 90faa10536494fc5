//! A pull's answer, read without copying: payloads stay the JSON text they came as, and are decoded only if a rule looks into them.
//!
//! Owns the shapes of AMS v1 on the consuming side, and [`View`], through which rules see a message. Never sends anything.

use crate::field::Field;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

/// The answer of `:pull`.
#[derive(Deserialize)]
pub(crate) struct Pulled<'a> {
    /// In the subscription's order.
    #[serde(borrow, rename = "receivedMessages")]
    pub(crate) received: Vec<Received<'a>>,
}

/// One message as it was given out.
#[derive(Deserialize)]
pub(crate) struct Received<'a> {
    #[serde(borrow, rename = "ackId")]
    pub(crate) ack_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) message: Message<'a>,
}

/// The message itself.
#[derive(Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow, rename = "messageId")]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) attributes: Attributes<'a>,
    /// The JSON string, quotes included.
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow, rename = "publishTime", default)]
    pub(crate) publish_time: Cow<'a, str>,
}

/// Names and values in the order they came; `null` is no attributes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl Attributes<'_> {
    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }
}

/// A string that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Attributes<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object of strings")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Attributes::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((name.0, value.0));
                }
                Ok(Attributes(pairs))
            }
        }
        from.deserialize_any(Pairs)
    }
}

/// A message as rules see it. What must be decoded is decoded at the first look and once.
pub(crate) struct View<'a> {
    pub(crate) message: &'a Message<'a>,
    avro: Option<&'a GenericDatumReader<'a>>,
    payload: OnceCell<Option<Vec<u8>>>,
    as_json: OnceCell<Option<Json>>,
    as_avro: OnceCell<Option<Avro>>,
}

impl<'a> View<'a> {
    /// `avro` reads the payload where a rule asks for a field of a record.
    pub(crate) fn new(message: &'a Message<'a>, avro: Option<&'a GenericDatumReader<'a>>) -> Self {
        Self { message, avro, payload: OnceCell::new(), as_json: OnceCell::new(), as_avro: OnceCell::new() }
    }

    /// A field as text: strings as they are, numbers and booleans as written. None for what is absent, null, a list or an
    /// object, and for a payload that is not what the field wants it to be.
    pub(crate) fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::Attribute(name) => self.message.attributes.get(name).map(Cow::Borrowed),
            Field::Json(pointer) => json_text(self.json()?.pointer(pointer)?),
            Field::Avro(path) => avro_text(path.iter().try_fold(self.avro()?, |value, name| avro_member(value, name))?),
        }
    }

    /// The decoded bytes; none if they are no base64.
    fn payload(&self) -> Option<&[u8]> {
        let decode = || {
            let text: Text<'_> = serde_json::from_str(self.message.data?.get()).ok()?;
            STANDARD.decode(text.0.as_bytes()).ok()
        };
        self.payload.get_or_init(decode).as_deref()
    }

    fn json(&self) -> Option<&Json> {
        self.as_json.get_or_init(|| serde_json::from_slice(self.payload()?).ok()).as_ref()
    }

    fn avro(&self) -> Option<&Avro> {
        let decode = || {
            let mut rest = self.payload()?;
            let value = self.avro?.read_value(&mut rest).ok()?;
            // A datum fills its payload: what is left over says that it was written with another schema.
            rest.is_empty().then_some(value)
        };
        self.as_avro.get_or_init(decode).as_ref()
    }
}

fn json_text(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(number) => Some(Cow::Owned(number.to_string())),
        Json::Bool(yes) => Some(Cow::Borrowed(if *yes { "true" } else { "false" })),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn avro_member<'v>(value: &'v Avro, name: &str) -> Option<&'v Avro> {
    match value {
        Avro::Union(_, inner) => avro_member(inner, name),
        Avro::Record(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
        Avro::Map(entries) => entries.get(name),
        _ => None,
    }
}

fn avro_text(value: &Avro) -> Option<Cow<'_, str>> {
    match value {
        Avro::Union(_, inner) => avro_text(inner),
        Avro::String(text) | Avro::Enum(_, text) => Some(Cow::Borrowed(text)),
        Avro::Int(number) => Some(Cow::Owned(number.to_string())),
        Avro::Long(number) => Some(Cow::Owned(number.to_string())),
        Avro::Float(number) => Some(Cow::Owned(number.to_string())),
        Avro::Double(number) => Some(Cow::Owned(number.to_string())),
        Avro::Boolean(yes) => Some(Cow::Borrowed(if *yes { "true" } else { "false" })),
        _ => None,
    }
}
