//! A frame: what a client asks for by text (JSON) or bytes (MessagePack), and the reply that echoes it (`zaqar-v2.md` §17.1).

use super::pack;
use crate::api::zaqar::error::Failure;
use crate::api::zaqar::json::{self, Object, Shape};
use crate::api::zaqar::websocket::transport::{Kind, Message};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A header whose value is nobody's to see again.
const SECRET: &str = "x-auth-token";

/// What is answered: a status, and a body as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A success with this body.
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into() }
    }

    /// A refusal by the transport itself.
    pub(super) fn error(status: u16, error: &str) -> Self {
        let mut body = b"{\"error\": ".to_vec();
        json::string(error, &mut body);
        body.push(b'}');
        Self { status, body }
    }
}

/// The JSON text of a message, whatever it came as.
///
/// # Errors
/// The reply to what cannot be read.
pub(super) fn text(message: &Message, bytes_max: usize) -> Result<Bytes, Reply> {
    let refuse = |form: &str, why: &str| Reply::error(400, &format!("Can't decode {form} request. {why}"));
    match message.kind {
        Kind::Text => match std::str::from_utf8(&message.bytes) {
            Ok(_) => Ok(message.bytes.clone()),
            Err(error) => Err(refuse("text (JSON)", &format!("UnicodeDecodeError: {error}"))),
        },
        Kind::Binary => {
            pack::unpack(&message.bytes, bytes_max).map(Bytes::from).map_err(|why| refuse("binary (MessagePack)", why))
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame<'a> {
    action: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    body: Option<&'a RawValue>,
}

impl<'a> Frame<'a> {
    /// Reads a frame's text.
    ///
    /// # Errors
    /// The reply to what is none.
    pub(super) fn read(text: &'a [u8], kind: Kind) -> Result<Self, Reply> {
        let form = if kind == Kind::Text { "text (JSON)" } else { "binary (MessagePack)" };
        match json::parse::<Shape<Object<'_>, IgnoredAny>>(text) {
            Ok(Shape::Object(members)) => Ok(Self {
                action: members.given("action"),
                headers: members.given("headers"),
                body: members.given("body"),
            }),
            Ok(_) => Err(Reply::error(400, "Unexpected body type. Expected dict or dict like.")),
            Err(Failure { description, .. }) => {
                let why = description.unwrap_or_default();
                Err(Reply::error(400, &format!("Can't decode {form} request. ValueError: {why}")))
            }
        }
    }

    /// The action's name; `None` stands for a missing one, as Python writes it.
    pub(super) fn action(&self) -> Cow<'a, str> {
        let Some(action) = self.action else { return "None".into() };
        json::text(action).unwrap_or_else(|| action.get().into())
    }

    /// The headers; none when they are no object.
    pub(super) fn headers(&self) -> Option<Headers<'a>> {
        serde_json::from_str(self.headers?.get()).ok().map(Headers)
    }

    /// The body and its members; none when there is none, or it is no object.
    pub(super) fn body(&self) -> Option<(&'a str, Object<'a>)> {
        let text = self.body?.get();
        Some((text, serde_json::from_str(text).ok()?))
    }

    /// Whether there is a body of any form.
    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// What is echoed of a frame that says who speaks: only that it does.
    pub(super) fn bare(&self) -> Self {
        Self { action: self.action, ..Self::default() }
    }

    /// Writes the reply to this frame.
    pub(super) fn answered(&self, reply: &Reply) -> Vec<u8> {
        let mut out = Vec::with_capacity(reply.body.len() + self.body.map_or(0, |body| body.get().len()) + 256);
        out.extend_from_slice(b"{\"request\": {\"action\": ");
        out.extend_from_slice(self.action.map_or("null", RawValue::get).as_bytes());
        out.extend_from_slice(b", \"body\": ");
        out.extend_from_slice(self.body.map_or("{}", RawValue::get).as_bytes());
        out.extend_from_slice(b", \"headers\": {");
        let headers = self.headers();
        let headers = headers.iter().flat_map(|Headers(headers)| headers.members());
        for (place, (name, value)) in headers.enumerate() {
            let value = if name.eq_ignore_ascii_case(SECRET) { "\"***\"" } else { value.get() };
            json::member(name, value, place == 0, &mut out);
        }
        out.extend_from_slice(b"}, \"api\": \"v2\"}, \"body\": ");
        out.extend_from_slice(&reply.body);
        out.extend_from_slice(format!(", \"headers\": {{\"status\": {}}}}}", reply.status).as_bytes());
        out
    }
}

/// A frame's headers. Their names have no case.
#[derive(Clone, Debug)]
pub(super) struct Headers<'a>(Object<'a>);

impl<'a> Headers<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.members().filter(|(given, _)| given.eq_ignore_ascii_case(name)).last().map(|(_, value)| value)
    }

    /// A header's text; none when there is none, or it is no text.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(json::text)
    }

    /// A header's texts; none when there is none, or it is no list of texts.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Whether there is such a header.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// A message that says this JSON text as the client that gets it speaks.
pub(super) fn message(kind: Kind, text: impl Into<Bytes>) -> Message {
    let text = text.into();
    let bytes = match kind {
        Kind::Text => text,
        Kind::Binary => pack::pack(&text).into(),
    };
    Message { kind, bytes }
}
