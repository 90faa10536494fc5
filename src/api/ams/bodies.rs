//! The bodies that clients send, each decoded in one pass. What a value means is the handlers' affair; here is only its shape.

mod people;

pub(crate) use people::{MembershipBody, RegistrationBody, UserBody};

use super::json::{self, Malformed, Reader, document, is};
use crate::domain::project::Quota;
use std::borrow::Cow;
use std::collections::BTreeMap;

type Result<T, E = Malformed> = std::result::Result<T, E>;
type Text<'a> = Option<Cow<'a, str>>;

/// A list of strings; `null` is an absent one, `null` inside an empty string.
fn strings<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Cow<'a, str>>>> {
    if reader.null()? {
        return Ok(None);
    }
    let mut list = Vec::new();
    reader.array(|reader| {
        list.push(reader.optional_string()?.unwrap_or_default());
        Ok(())
    })?;
    Ok(Some(list))
}

/// Sets a text unless the value is `null`.
fn set<'a>(text: &mut Text<'a>, reader: &mut Reader<'a>) -> Result<()> {
    if let Some(read) = reader.optional_string()? {
        *text = Some(read);
    }
    Ok(())
}

/// Project create and update.
#[derive(Debug, Default)]
pub(crate) struct ProjectBody<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) description: Text<'a>,
    /// The whole new quota.
    pub(crate) quota: Option<Quota>,
}

impl<'a> ProjectBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut read = Self::default();
        document(body, |name, reader| match name {
            _ if is(name, "name") => set(&mut read.name, reader),
            _ if is(name, "description") => set(&mut read.description, reader),
            _ if is(name, "quota") => quota(reader).map(|quota| read.quota = quota),
            _ => reader.skip(),
        })?;
        Ok(read)
    }
}

/// A quota; none for `null`. Numbers below 0 are no quota.
fn quota(reader: &mut Reader<'_>) -> Result<Option<Quota>> {
    if reader.null()? {
        return Ok(None);
    }
    let mut quota = Quota::default();
    reader.object(&mut |name, reader| {
        let slot = match name {
            _ if is(name, "messagesPerSecond") => &mut quota.messages_per_second,
            _ if is(name, "bytesPerSecond") => &mut quota.bytes_per_second,
            _ if is(name, "topics") => &mut quota.topics,
            _ if is(name, "subscriptions") => &mut quota.subscriptions,
            _ => return reader.skip(),
        };
        let malformed = reader.malformed();
        *slot = reader.optional_integer()?.map(u64::try_from).transpose().map_err(|_| malformed)?;
        Ok(())
    })?;
    Ok(Some(quota))
}

/// Binding create and update.
#[derive(Debug, Default)]
pub(crate) struct BindingBody<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) auth_identifier: Text<'a>,
    pub(crate) auth_type: Text<'a>,
    pub(crate) issuer: Text<'a>,
    pub(crate) unique_key: Text<'a>,
    pub(crate) user: Text<'a>,
}

impl<'a> BindingBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut read = Self::default();
        document(body, |name, reader| match name {
            _ if is(name, "name") => set(&mut read.name, reader),
            _ if is(name, "auth_identifier") => set(&mut read.auth_identifier, reader),
            _ if is(name, "auth_type") => set(&mut read.auth_type, reader),
            _ if is(name, "issuer") => set(&mut read.issuer, reader),
            _ if is(name, "unique_key") => set(&mut read.unique_key, reader),
            _ if is(name, "user") => set(&mut read.user, reader),
            _ => reader.skip(),
        })?;
        Ok(read)
    }
}

/// A body of one list of strings under this name: roles, users, ack ids.
pub(crate) fn list<'a>(body: &'a [u8], field: &str) -> Result<Option<Vec<Cow<'a, str>>>> {
    let mut read = None;
    document(
        body,
        |name, reader| if is(name, field) { strings(reader).map(|list| read = list) } else { reader.skip() },
    )?;
    Ok(read)
}

/// A body of one integer under this name; 0 when it is absent.
pub(crate) fn integer(body: &[u8], field: &str) -> Result<i64> {
    let mut read = 0;
    document(body, |name, reader| {
        if is(name, field) {
            read = reader.optional_integer()?.unwrap_or(read);
            Ok(())
        } else {
            reader.skip()
        }
    })?;
    Ok(read)
}

/// A body that is a map of strings: names count letter by letter, `null` is an empty value.
pub(crate) fn map(body: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut reader = Reader::new(body);
    let read = strings_by_name(&mut reader)?;
    reader.end()?;
    Ok(read)
}

/// As [`map`], of a body after which anything may follow.
pub(crate) fn first_map(body: &[u8]) -> Result<BTreeMap<String, String>> {
    strings_by_name(&mut Reader::new(body))
}

fn strings_by_name(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    reader.object(&mut |name, reader| {
        read.insert(name.to_string(), reader.optional_string()?.unwrap_or_default().into_owned());
        Ok(())
    })?;
    Ok(read)
}

/// Subscription create.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionBody<'a> {
    pub(crate) topic: Text<'a>,
    pub(crate) ack_deadline_seconds: i64,
    pub(crate) ack_mode: Text<'a>,
    /// None when there is none, or it holds nothing but defaults: no push.
    pub(crate) push: Option<PushBody<'a>>,
}

impl<'a> SubscriptionBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut read = Self::default();
        document(body, |name, reader| match name {
            _ if is(name, "topic") => set(&mut read.topic, reader),
            _ if is(name, "ackMode") => set(&mut read.ack_mode, reader),
            _ if is(name, "ackDeadlineSeconds") => {
                read.ack_deadline_seconds = reader.optional_integer()?.unwrap_or(read.ack_deadline_seconds);
                Ok(())
            }
            _ if is(name, "pushConfig") => PushBody::read(reader).map(|push| read.push = push),
            _ if is(name, "name") || is(name, "createdOn") => reader.optional_string().map(|_| ()),
            _ => reader.skip(),
        })?;
        Ok(read)
    }
}

/// A push configuration, as it was given.
#[derive(Debug, Default)]
pub(crate) struct PushBody<'a> {
    /// None when it is not there, which is not the same as empty.
    pub(crate) kind: Text<'a>,
    pub(crate) endpoint: Text<'a>,
    pub(crate) messages_max: i64,
    pub(crate) authorization: PolicyBody<'a>,
    pub(crate) retry: PolicyBody<'a>,
    pub(crate) mattermost_url: Text<'a>,
    pub(crate) mattermost_username: Text<'a>,
    pub(crate) mattermost_channel: Text<'a>,
    /// None when it is not there.
    pub(crate) base64_decode: Option<bool>,
    /// Whether anything but defaults was given.
    given: bool,
}

/// An authorization header or a retry policy, as it was given.
#[derive(Debug, Default)]
pub(crate) struct PolicyBody<'a> {
    pub(crate) kind: Text<'a>,
    pub(crate) period: i64,
    /// Whether anything but defaults was given.
    given: bool,
}

impl<'a> PushBody<'a> {
    /// Reads one; none when it is absent, or holds nothing but defaults.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>> {
        let mut read = Self::default();
        reader.object(&mut |name, reader| match name {
            _ if is(name, "type") => text(&mut read.kind, &mut read.given, reader),
            _ if is(name, "pushEndpoint") => text(&mut read.endpoint, &mut read.given, reader),
            _ if is(name, "mattermostUrl") => text(&mut read.mattermost_url, &mut read.given, reader),
            _ if is(name, "mattermostUsername") => text(&mut read.mattermost_username, &mut read.given, reader),
            _ if is(name, "mattermostChannel") => text(&mut read.mattermost_channel, &mut read.given, reader),
            _ if is(name, "verificationHash") => text(&mut None, &mut read.given, reader),
            _ if is(name, "maxMessages") => {
                read.messages_max = reader.optional_integer()?.unwrap_or(read.messages_max);
                read.given |= read.messages_max != 0;
                Ok(())
            }
            _ if is(name, "base64Decode") => {
                read.base64_decode = reader.optional_boolean()?.or(read.base64_decode);
                read.given |= read.base64_decode == Some(true);
                Ok(())
            }
            _ if is(name, "verified") => reader.optional_boolean().map(|given| read.given |= given == Some(true)),
            _ if is(name, "authorizationHeader") => read.authorization.read(reader),
            _ if is(name, "retryPolicy") => read.retry.read(reader),
            _ => reader.skip(),
        })?;
        let given = read.given || read.authorization.given || read.retry.given;
        Ok(given.then_some(read))
    }
}

impl<'a> PolicyBody<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.object(&mut |name, reader| match name {
            _ if is(name, "type") => text(&mut self.kind, &mut self.given, reader),
            _ if is(name, "value") => text(&mut None, &mut self.given, reader),
            _ if is(name, "period") => {
                self.period = reader.optional_integer()?.unwrap_or(self.period);
                self.given |= self.period != 0;
                Ok(())
            }
            _ => reader.skip(),
        })
    }
}

/// Sets a text unless the value is `null`, and notes when it is not empty.
fn text<'a>(into: &mut Text<'a>, given: &mut bool, reader: &mut Reader<'a>) -> Result<()> {
    set(into, reader)?;
    *given |= into.as_ref().is_some_and(|text| !text.is_empty());
    Ok(())
}

/// Pull: both members are strings that hold a number and a boolean; a number and a boolean are taken too.
#[derive(Debug, Default)]
pub(crate) struct PullBody {
    /// At least 1.
    pub(crate) messages_max: u32,
    /// Whether to wait for messages.
    pub(crate) wait: bool,
}

impl PullBody {
    pub(crate) fn decode(body: &[u8]) -> Result<Self> {
        let mut read = Self { messages_max: 1, wait: false };
        document(body, |name, reader| {
            if is(name, "maxMessages") {
                if let Some(text) = reader.optional_scalar()? {
                    let count = text.parse::<i64>().unwrap_or(1).clamp(1, i64::from(u32::MAX));
                    read.messages_max = u32::try_from(count).unwrap_or(1);
                }
                Ok(())
            } else if is(name, "returnImmediately") {
                read.wait = reader.optional_scalar()?.map_or(read.wait, |text| text == "false");
                Ok(())
            } else {
                reader.skip()
            }
        })?;
        Ok(read)
    }
}

/// Modify ack deadline. With ack ids it speaks of these leases, without them of the subscription.
#[derive(Debug, Default)]
pub(crate) struct DeadlineBody<'a> {
    pub(crate) seconds: i64,
    pub(crate) ack_ids: Option<Vec<Cow<'a, str>>>,
}

impl<'a> DeadlineBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut read = Self::default();
        document(body, |name, reader| match name {
            _ if is(name, "ackDeadlineSeconds") => {
                read.seconds = reader.optional_integer()?.unwrap_or(read.seconds);
                Ok(())
            }
            _ if is(name, "ackIds") => strings(reader).map(|ids| read.ack_ids = ids),
            _ => reader.skip(),
        })?;
        Ok(read)
    }
}

/// An attribute of a message: name and value.
pub(crate) type Attribute<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Takes the messages of a publish request one by one, as they are read. What was taken counts only if the whole body is right.
pub(crate) trait Messages {
    /// What taking may end with.
    type Error: From<Malformed>;

    /// The list begins: the last of two lists wins.
    fn begin(&mut self);

    /// Reads the present message's `data`, which is not `null`; the last of two wins.
    fn data(&mut self, reader: &mut Reader<'_>) -> Result<()>;

    /// The present message is read; its attributes in the order given, of which the last of one name counts.
    fn end(&mut self, attributes: &[Attribute<'_>]) -> Result<(), Self::Error>;
}

/// Publish: hands each message out as soon as it is read.
///
/// # Errors
/// The body's fault, or what [`Messages::end`] answers, which ends the reading.
pub(crate) fn messages<M: Messages>(body: &[u8], into: &mut M) -> Result<(), M::Error> {
    let mut refused = None;
    // One for all messages: it keeps its room.
    let mut attributes = Vec::new();
    let read = document(body, |name, reader| {
        if !is(name, "messages") {
            return reader.skip();
        }
        into.begin();
        if reader.null()? {
            return Ok(());
        }
        reader.array(|reader| {
            message(reader, into, &mut attributes)?;
            into.end(&attributes).map_err(|error| {
                refused = Some(error);
                reader.malformed()
            })
        })
    });
    match refused {
        Some(error) => Err(error),
        None => read.map_err(M::Error::from),
    }
}

fn message<'a>(
    reader: &mut Reader<'a>,
    into: &mut impl Messages,
    attributes: &mut Vec<Attribute<'a>>,
) -> json::Result<()> {
    attributes.clear();
    reader.object(&mut |name, reader| match name {
        _ if is(name, "data") => {
            if reader.null()? {
                return Ok(());
            }
            into.data(reader)
        }
        _ if is(name, "attributes") => {
            attributes.clear();
            reader.object(&mut |name, reader| {
                let value = reader.optional_string()?.unwrap_or_default();
                attributes.push((name.clone(), value));
                Ok(())
            })
        }
        _ if is(name, "messageId") || is(name, "publishTime") => reader.optional_string().map(|_| ()),
        _ => reader.skip(),
    })
}
