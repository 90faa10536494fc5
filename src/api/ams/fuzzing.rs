//! Fuzz targets of what clients send: bodies, ack ids, page tokens, times and paths.

use super::bodies::{
    self, Attribute, DeadlineBody, Messages, ProjectBody, PullBody, RegistrationBody, SubscriptionBody, UserBody,
};
use super::json::{self, Malformed, Reader};
use super::paths::{Match, RequestPath};
use super::query::{Query, next_token};
use super::render::{self, Indent};
use super::{payload, principal, pull, times};
use crate::broker::{BatchBuilder, Page};
use crate::domain::Timestamp;
use crate::domain::message::{Payload, PayloadForm};
use actix_web::http::Method;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Brackets that cannot reach the bound on nesting: below it, both readers must agree.
const SHALLOW: usize = json::DEPTH_MAX as usize - 1;

/// Any bytes as every kind of body. What is read must be JSON, all JSON objects are read, and values are those that another
/// reader sees.
pub(crate) fn bodies(data: &[u8]) {
    let brackets = data.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    let syntax = json::document(data, |_, reader| reader.skip()).is_ok();
    let begin = data.iter().find(|byte| !b" \t\n\r".contains(byte));
    let is_object = matches!(begin, Some(b'{' | b'n')) && serde_json::from_slice::<IgnoredAny>(data).is_ok();
    assert!(!syntax || is_object, "no JSON was read");
    assert!(syntax || !is_object || brackets > SHALLOW, "JSON was refused");
    let read = [
        ProjectBody::decode(data).is_ok(),
        UserBody::decode(data).is_ok(),
        RegistrationBody::decode(data).is_ok(),
        SubscriptionBody::decode(data).is_ok(),
        PullBody::decode(data).is_ok_and(|pull| pull.messages_max > 0),
        DeadlineBody::decode(data).is_ok(),
        bodies::list(data, "ackIds").is_ok(),
        bodies::integer(data, "offset").is_ok(),
    ];
    assert!(syntax || !read.contains(&true), "a body was read that is no JSON: {read:?}");
    let value = serde_json::from_slice::<Value>(data).ok();
    map(data, value.as_ref());
    publish(data, syntax, value.as_ref());
}

fn map(data: &[u8], value: Option<&Value>) {
    let Ok(map) = bodies::map(data) else { return };
    for (name, text) in &map {
        let written = render::object(Indent::Three, |json| json.entry(name).string(text));
        let read = serde_json::from_slice::<Value>(&written).ok();
        assert_eq!(read.as_ref().and_then(|read| read.get(name)), Some(&Value::String(text.clone())));
        assert_eq!(bodies::map(&written).ok().and_then(|mut map| map.remove(name)).as_ref(), Some(text));
    }
    // The other reader refuses lone surrogates and invalid UTF-8, which we replace.
    if let Some(Value::Object(object)) = value {
        let same = |(name, value): (&String, &Value)| {
            map.get(name).map(String::as_str) == Some(value.as_str().unwrap_or_default())
        };
        assert!(object.len() == map.len() && object.iter().all(same), "{map:?} is not {object:?}");
    }
}

/// The messages of a body, each compared with the text it was made of.
struct Kept {
    batch: BatchBuilder,
    form: PayloadForm,
    text: String,
    count: usize,
    last: Option<String>,
}

impl Messages for Kept {
    type Error = Malformed;

    fn begin(&mut self) {}

    fn data(&mut self, reader: &mut Reader<'_>) -> json::Result<()> {
        self.text = reader.clone().string()?.into_owned();
        (self.form, _) = payload::read(reader, &mut self.batch)?;
        Ok(())
    }

    fn end(&mut self, _: &[Attribute<'_>]) -> json::Result<()> {
        self.count += 1;
        let shown = Payload { bytes: Bytes::copy_from_slice(self.batch.payload()), form: self.form };
        let written = render::object(Indent::Compact, |json| payload::show(&shown, json.field("data")));
        let read = serde_json::from_slice::<Value>(&written).ok();
        assert_eq!(read.as_ref().and_then(|read| read.get("data")).and_then(Value::as_str), Some(self.text.as_str()));
        self.last = Some(std::mem::take(&mut self.text));
        self.batch.begin();
        self.form = PayloadForm::Binary;
        Ok(())
    }
}

fn publish(data: &[u8], syntax: bool, value: Option<&Value>) {
    let batch = BatchBuilder::new(Timestamp(0));
    let mut kept = Kept { batch, form: PayloadForm::Binary, text: String::new(), count: 0, last: None };
    let read = bodies::messages(data, &mut kept);
    let Kept { count, last, .. } = kept;
    assert!(read.is_err() || syntax, "messages were read from what is no JSON");
    let lower = data.to_ascii_lowercase();
    let once = |word: &[u8]| lower.windows(word.len()).filter(|window| *window == word).count() == 1;
    let messages = value.and_then(|value| value.get("messages")).and_then(Value::as_array);
    if let (Ok(()), Some([only]), true, true) = (read, messages.map(Vec::as_slice), once(b"messages"), once(b"data")) {
        assert_eq!(count, 1);
        if let Some(Value::String(expected)) = only.get("data") {
            assert_eq!(last.as_ref(), Some(expected));
        }
    }
}

/// Any text as the part of ack ids behind the subscription's name: what is read is written the same for the next time.
pub(crate) fn ack_ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ids = || text.split(',').map(Some);
    if let Some(offset) = pull::through(ids()) {
        let written = offset.to_string();
        assert_eq!(pull::through(std::iter::once(Some(written.as_str()))), Some(offset));
        assert!(ids().flatten().any(|id| id.parse::<i64>().is_ok_and(|id| u64::try_from(id) == Ok(offset.0))));
    }
    if let Some(leases) = pull::leased(ids()) {
        assert_eq!(leases.len(), ids().count());
        let written: Vec<String> = leases.iter().map(|(offset, fence)| format!("{offset}.{}", fence.0)).collect();
        assert_eq!(pull::leased(written.iter().map(|id| Some(id.as_str()))), Some(leases));
    }
}

/// Any text as a query that asks for a page: a token that is taken comes back as it is given out.
pub(crate) fn page_tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = Query::new(text);
    drop((query.get("key"), query.is_true("details")));
    let Ok(page) = query.page(Some("nextPageToken")) else { return };
    assert!(page.size != Some(0));
    if page.from.is_some() {
        let token = next_token(&Page { items: vec![()], next: page.from, total: 1 });
        let escaped = format!("pageToken={}", token.replace('+', "%2B").replace('=', "%3D"));
        assert_eq!(Query::new(&escaped).page(None).map(|page| page.from), Ok(page.from));
    }
}

/// Any text as a time that is read, and its first bytes as a time that is written.
pub(crate) fn times(data: &[u8]) {
    if let Some(time) = std::str::from_utf8(data).ok().and_then(times::read) {
        assert!(time.0 % 1_000 == 0, "{time:?} is finer than what was read");
        round(time);
    }
    if let Some((bytes, _)) = data.split_first_chunk() {
        // To the end of the year 9999.
        round(Timestamp(u64::from_le_bytes(*bytes) % 253_402_300_800_000_000));
    }
}

fn round(time: Timestamp) {
    let mut written = Vec::new();
    times::write(time, &mut written);
    let text = String::from_utf8_lossy(&written);
    let read = chrono::DateTime::parse_from_rfc3339(&text).ok().map(|read| read.timestamp_micros());
    assert_eq!(read, i64::try_from(time.0).ok(), "{text}");
}

/// Any text as a request's path: it is found or not, moves at most once, and its variables are as checked.
pub(crate) fn paths(data: &[u8]) {
    const METHODS: [Method; 6] =
        [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let Some(method) = METHODS.get(usize::from(*first) % METHODS.len()) else { return };
    match RequestPath::new(text).find(method) {
        Match::Moved(to) => {
            assert!(to.starts_with('/') && !to.starts_with("//"), "moved to {to}");
            assert!(to.bytes().all(|byte| byte.is_ascii_graphic()), "moved to {to:?}");
            assert!(!matches!(RequestPath::new(&to).find(method), Match::Moved(_)), "moved again from {to}");
        }
        Match::Route(_, route, variables) => {
            assert!(route.method == *method);
            assert!(variables.iter().all(|(_, value)| !value.is_empty()));
            if principal::check_names(&variables).is_ok() {
                assert!(variables.iter().all(|(name, _)| principal::name_of(&variables, name).is_ok()));
            }
        }
        Match::WrongMethod | Match::Nothing => {}
    }
}
