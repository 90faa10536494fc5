//! The stored form of a batch of messages: what one append to a topic's log carries.
//!
//! ```text
//! header (80 bytes) · bodies · table (12 bytes a message) · extras
//! body  = payload, attributes                       entry = payload length, attributes length, form, flags
//! extras = for each message that has them, in order: visible_at, expires_at, producer
//! ```
//! All numbers are little-endian. Everything about a message is relative, so batches merge by concatenation, and its header is
//! known without touching its body. Owns encoding and decoding alone: what is appended where is the topic's affair.

use crate::domain::message::{Attributes, Header, Message, Payload, PayloadForm, Published};
use crate::domain::subscription::headers::Span;
use crate::domain::{Error, Offset, ProducerId, Result, Timestamp, limits};
use crate::storage::{BATCH_BYTES_MAX, StoredBatch};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;
use std::time::Duration;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 80;
const ENTRY_BYTES: usize = 12;
/// Where in the header the totals begin: all that a later try of the same append changes.
const TOTALS_AT: usize = 48;

const DELAYED: u8 = 1;
const EXPIRES: u8 = 2;
const PRODUCED: u8 = 4;
const KNOWN_FLAGS: u8 = DELAYED | EXPIRES | PRODUCED;

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub struct NewMessage<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// How the payload's bytes are meant.
    pub form: PayloadForm,
    /// The attributes.
    pub attributes: Attributes,
    /// Who publishes.
    pub producer: ProducerId,
    /// Not delivered before this long from now.
    pub delay: Option<Duration>,
    /// Not delivered any more this long from now.
    pub ttl: Option<Duration>,
}

/// Encodes the messages of one publish request one after the other into one buffer.
///
/// Either whole messages by [`BatchBuilder::push`], or, for a decoder that writes payloads in place:
/// [`begin`](BatchBuilder::begin), [`payload_space`](BatchBuilder::payload_space) as often as wanted, and
/// [`end`](BatchBuilder::end). A message that was begun and not ended leaves nothing behind.
#[derive(Debug)]
pub struct BatchBuilder {
    now: Timestamp,
    /// Room for the header, the bodies of ended messages up to `done`, then the payload that is being written.
    buffer: BytesMut,
    done: usize,
    table: Vec<u8>,
    extras: Vec<u8>,
    count: u32,
    text_bytes: u64,
    times: Times,
}

/// Bounds of the messages' times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Times {
    visible: (Timestamp, Timestamp),
    expires: (Timestamp, Timestamp),
}

impl Times {
    /// Of no message: neutral in [`Times::join`].
    const NONE: Self =
        Self { visible: (Timestamp::NEVER, Timestamp::EPOCH), expires: (Timestamp::NEVER, Timestamp::EPOCH) };

    fn join(self, other: Self) -> Self {
        let widen = |a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)| (a.0.min(b.0), a.1.max(b.1));
        Self { visible: widen(self.visible, other.visible), expires: widen(self.expires, other.expires) }
    }
}

impl BatchBuilder {
    /// An empty batch, made now: delays and lifetimes count from here.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            buffer: BytesMut::new(),
            done: HEADER_BYTES,
            table: Vec::new(),
            extras: Vec::new(),
            count: 0,
            text_bytes: 0,
            times: Times::NONE,
        }
    }

    /// Makes room for about this many bytes of payloads and attributes at once; a hint that spares copies.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(HEADER_BYTES + bytes.min(BATCH_BYTES_MAX));
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::domain::Error::Invalid) above the limits on messages and attributes,
    /// [`Error::TooLarge`](crate::domain::Error::TooLarge) above what one append may carry; the batch is as it was.
    pub fn push(&mut self, message: &NewMessage<'_>) -> Result<()> {
        self.begin();
        self.buffer.put_slice(message.payload);
        self.end(message)
    }

    /// Begins a message, or its payload anew: what was written since the last [`BatchBuilder::end`] is gone.
    pub fn begin(&mut self) {
        if self.buffer.len() < HEADER_BYTES {
            self.buffer.reserve(2_048 - ENTRY_BYTES);
            self.buffer.put_bytes(0, HEADER_BYTES);
        }
        self.buffer.truncate(self.done);
    }

    /// Adds `length` zero bytes to the payload that was begun and lends them to be written.
    pub fn payload_space(&mut self, length: usize) -> &mut [u8] {
        let from = self.buffer.len();
        self.buffer.put_bytes(0, length);
        self.buffer.get_mut(from..).unwrap_or_default()
    }

    /// Cuts the payload that was begun to its first `length` bytes.
    pub fn payload_truncate(&mut self, length: usize) {
        self.buffer.truncate(self.done.saturating_add(length));
    }

    /// The payload that was begun.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }

    /// Ends the message that was begun; `message` tells all but the payload, which has been written. Errors as
    /// [`BatchBuilder::push`].
    pub fn end(&mut self, message: &NewMessage<'_>) -> Result<()> {
        let ended = self.try_end(message);
        if ended.is_err() {
            self.buffer.truncate(self.done);
        }
        ended
    }

    fn try_end(&mut self, message: &NewMessage<'_>) -> Result<()> {
        if self.count as usize >= limits::PUBLISH_MESSAGES_MAX {
            let why = format!("are more than {} in one request", limits::PUBLISH_MESSAGES_MAX);
            return Err(Error::Invalid { what: "messages", why });
        }
        let attributes = message.attributes.stored();
        // An attribute takes at least 8 bytes, so short forms need no counting.
        if attributes.len() > limits::ATTRIBUTES_MAX * 8 && message.attributes.iter().count() > limits::ATTRIBUTES_MAX {
            let why = format!("are more than {}", limits::ATTRIBUTES_MAX);
            return Err(Error::Invalid { what: "attributes", why });
        }
        let payload_bytes = self.payload().len();
        if self.bytes().saturating_add(payload_bytes).saturating_add(attributes.len() + 64) > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { what: "publish request", limit: BATCH_BYTES_MAX as u64 });
        }
        self.buffer.put_slice(attributes);
        self.done = self.buffer.len();
        let (visible, expires, flags) = self.put_extras(message);
        self.table.put_u32_le(payload_bytes as u32);
        self.table.put_u32_le(attributes.len() as u32);
        self.table.put_u8(message.form as u8);
        self.table.put_u8(flags);
        self.table.put_u16_le(0);
        self.times = self.times.join(Times { visible: (visible, visible), expires: (expires, expires) });
        self.text_bytes += u64::from(text_bytes(message.form, payload_bytes as u32));
        self.count += 1;
        Ok(())
    }

    /// Writes what not every message has; answers when it is visible, when it expires, and the flags.
    fn put_extras(&mut self, message: &NewMessage<'_>) -> (Timestamp, Timestamp, u8) {
        let mut flags = 0;
        let visible = message.delay.map_or(Timestamp::EPOCH, |delay| self.now.plus(delay));
        let expires = message.ttl.map_or(Timestamp::NEVER, |ttl| self.now.plus(ttl));
        if message.delay.is_some() {
            flags |= DELAYED;
            self.extras.put_u64_le(visible.0);
        }
        if message.ttl.is_some() {
            flags |= EXPIRES;
            self.extras.put_u64_le(expires.0);
        }
        if message.producer != ProducerId(0) {
            flags |= PRODUCED;
            self.extras.put_u128_le(message.producer.0);
        }
        (visible, expires, flags)
    }

    /// How many messages it holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes they take in the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.done + self.table.len() + self.extras.len()
    }

    /// The bodies of the ended messages.
    fn bodies(&self) -> &[u8] {
        self.buffer.get(HEADER_BYTES..self.done).unwrap_or_default()
    }
}

/// What a topic has taken up to and including its newest batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    /// Messages ever published.
    pub(crate) messages: u64,
    /// Their text bytes.
    pub(crate) bytes: u64,
    /// When the newest batch was stored; the epoch when there is none.
    pub(crate) at: Timestamp,
    /// How many messages the newest batch has.
    pub(crate) count: u32,
}

/// Publish requests merged into one record, ready to be appended behind any batch.
#[derive(Debug)]
pub(crate) struct Record {
    bytes: Bytes,
    pub(crate) count: u32,
    /// Payload and attribute bytes.
    pub(crate) body_bytes: usize,
    text_bytes: u64,
}

impl Record {
    /// Merges builders in order. The first one's buffer is taken over; the others' bodies are copied once.
    pub(crate) fn merge<'a>(
        first: &'a mut BatchBuilder,
        others: impl Iterator<Item = &'a BatchBuilder> + Clone,
    ) -> Self {
        first.begin();
        let mut bytes = std::mem::take(&mut first.buffer);
        let first: &'a BatchBuilder = first;
        let all = || std::iter::once(first).chain(others.clone());
        bytes.reserve(all().map(BatchBuilder::bytes).sum::<usize>().saturating_sub(bytes.len()));
        others.clone().for_each(|builder| bytes.put_slice(builder.bodies()));
        let bodies = bytes.len().saturating_sub(HEADER_BYTES);
        all().for_each(|builder| bytes.put_slice(&builder.table));
        all().for_each(|builder| bytes.put_slice(&builder.extras));
        let count = all().map(|builder| builder.count).sum();
        let times = all().fold(Times::NONE, |times, builder| times.join(builder.times));
        let mut header = bytes.get_mut(..TOTALS_AT).unwrap_or_default();
        header.put_u8(VERSION);
        header.put_slice(&[0; 3]);
        header.put_u32_le(count);
        header.put_u32_le(bodies as u32);
        header.put_u32_le(all().map(|builder| builder.extras.len() as u32).sum());
        for time in [times.visible.0, times.visible.1, times.expires.0, times.expires.1] {
            header.put_u64_le(time.0);
        }
        let text_bytes = all().map(|builder| builder.text_bytes).sum();
        Self { bytes: bytes.freeze(), count, body_bytes: bodies, text_bytes }
    }

    /// The record's bytes for an append right behind the batch that `previous` describes.
    pub(crate) fn behind(&mut self, previous: &Totals) -> Bytes {
        let totals = self.totals(previous, Timestamp::EPOCH);
        let mut bytes =
            std::mem::take(&mut self.bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        let mut header = bytes.get_mut(TOTALS_AT..HEADER_BYTES).unwrap_or_default();
        header.put_u64_le(totals.messages);
        header.put_u64_le(totals.bytes);
        header.put_u64_le(previous.at.0);
        header.put_u32_le(previous.count);
        header.put_u32_le(0);
        self.bytes = bytes.freeze();
        self.bytes.clone()
    }

    /// The topic's totals once the record stands behind `previous`, stored at `at`.
    pub(crate) fn totals(&self, previous: &Totals, at: Timestamp) -> Totals {
        Totals {
            messages: previous.messages.saturating_add(u64::from(self.count)),
            bytes: previous.bytes.saturating_add(self.text_bytes),
            at,
            count: self.count,
        }
    }
}

/// A batch of messages as it stands in a topic's log. Cheap to clone; messages are slices of the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MessageBatch {
    pub(crate) first: Offset,
    pub(crate) count: u32,
    pub(crate) at: Timestamp,
    /// Up to and including this batch.
    pub(crate) totals: Totals,
    /// When and how many the batch before this one was.
    pub(crate) previous: (Timestamp, u32),
    times: Times,
    record: Bytes,
    table_at: usize,
    extras_at: usize,
}

impl MessageBatch {
    /// Reads a record's header. O(1); the messages are checked as they are read.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the bytes are no such record.
    pub(crate) fn open(stored: StoredBatch) -> Result<Self> {
        let first = Offset(stored.first.0);
        let at = Timestamp(stored.time.0);
        let damaged = || Error::Damaged(format!("the message batch at offset {first}"));
        let mut fields = Fields(stored.payload.get(..HEADER_BYTES).ok_or_else(damaged)?);
        match fields.u8() {
            Some(VERSION) => {}
            version => {
                let version = version.unwrap_or_default();
                return Err(Error::Damaged(format!("the message batch at offset {first} is of version {version}")));
            }
        }
        let mut read = || {
            fields.skip(3)?;
            let (count, bodies, extras) = (fields.u32()?, fields.u32()? as usize, fields.u32()? as usize);
            let mut bounds = || Some((Timestamp(fields.u64()?), Timestamp(fields.u64()?)));
            let times = Times { visible: bounds()?, expires: bounds()? };
            let totals = Totals { messages: fields.u64()?, bytes: fields.u64()?, at, count };
            let previous = (Timestamp(fields.u64()?), fields.u32()?);
            let table_at = HEADER_BYTES.checked_add(bodies)?;
            let extras_at = table_at.checked_add(ENTRY_BYTES.checked_mul(count as usize)?)?;
            let whole = extras_at.checked_add(extras)? == stored.payload.len() && count == stored.count;
            let record = stored.payload.clone();
            whole.then_some(Self { first, count, at, totals, previous, times, record, table_at, extras_at })
        };
        read().ok_or_else(damaged)
    }

    /// The offset after its last message.
    pub(crate) fn next(&self) -> Offset {
        self.first.plus(u64::from(self.count))
    }

    /// Its size in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.record.len()
    }

    /// What spares looking at `count` of its messages one by one at `now`, if anything does.
    pub(crate) fn summary(&self, count: u64, now: Timestamp) -> Option<Span> {
        let (until, by) = (self.times.visible.0, self.times.expires.1);
        match (by <= now, now < until) {
            (true, _) => Some(Span::Expired { count, by }),
            (_, true) => Some(Span::Delayed { count, until }),
            _ => None,
        }
    }

    /// The headers of the messages in `range`, in order. Touches no payload.
    pub(crate) fn headers(&self, range: Range<Offset>) -> impl Iterator<Item = Result<Header>> {
        self.within(range).map(|entry| entry.map(|entry| entry.header).ok_or_else(|| self.damaged()))
    }

    /// The messages from `range`, in order, without copying a payload.
    pub(crate) fn messages(&self, range: Range<Offset>) -> impl Iterator<Item = Result<Published>> {
        let offset = range.start.max(self.first);
        self.within(range).enumerate().map(move |(place, entry)| {
            let message = entry.and_then(|entry| self.message(&entry)).ok_or_else(|| self.damaged())?;
            Ok(Published { offset: offset.plus(place as u64), at: self.at, message })
        })
    }

    fn message(&self, entry: &Entry) -> Option<Message> {
        let attributes = match entry.attributes.len() {
            0 => Attributes::default(),
            _ => Attributes::from_stored(self.record.slice(entry.attributes.clone()))?,
        };
        let payload = Payload { bytes: self.record.slice(entry.payload.clone()), form: entry.form };
        Some(Message { header: entry.header, attributes, payload, ordering_key: Bytes::new() })
    }

    fn within(&self, range: Range<Offset>) -> impl Iterator<Item = Option<Entry>> {
        let skip = usize::try_from(range.start.since(self.first)).unwrap_or(usize::MAX);
        let count = usize::try_from(range.end.since(range.start.max(self.first))).unwrap_or(usize::MAX);
        self.entries().skip(skip).take(count)
    }

    fn entries(&self) -> Entries<'_> {
        Entries {
            table: self.record.get(self.table_at..self.extras_at).unwrap_or_default(),
            extras: Fields(self.record.get(self.extras_at..).unwrap_or_default()),
            body: HEADER_BYTES,
            bodies_end: self.table_at,
        }
    }

    fn damaged(&self) -> Error {
        Error::Damaged(format!("a message of the batch at offset {}", self.first))
    }
}

/// What the table says of one message; the ranges lie within the record's bodies.
struct Entry {
    header: Header,
    form: PayloadForm,
    payload: Range<usize>,
    attributes: Range<usize>,
}

/// Walks the table; after the first entry that makes no sense (`None`) it ends.
struct Entries<'a> {
    table: &'a [u8],
    extras: Fields<'a>,
    body: usize,
    bodies_end: usize,
}

impl Iterator for Entries<'_> {
    type Item = Option<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let (entry, rest) = self.table.split_at_checked(ENTRY_BYTES)?;
        self.table = rest;
        let entry = self.entry(Fields(entry));
        if entry.is_none() {
            self.table = &[];
        }
        Some(entry)
    }
}

impl Entries<'_> {
    fn entry(&mut self, mut fields: Fields<'_>) -> Option<Entry> {
        let (payload_bytes, attribute_bytes) = (fields.u32()?, fields.u32()?);
        let form = match fields.u8()? {
            0 => PayloadForm::Binary,
            1 => PayloadForm::Verbatim,
            2 => PayloadForm::Json,
            _ => return None,
        };
        let flags = fields.u8()?;
        if flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let payload = self.body..self.body.checked_add(payload_bytes as usize)?;
        let attributes = payload.end..payload.end.checked_add(attribute_bytes as usize)?;
        if attributes.end > self.bodies_end {
            return None;
        }
        self.body = attributes.end;
        let bytes = payload_bytes.checked_add(attribute_bytes)?;
        let mut header = Header::plain(bytes, text_bytes(form, payload_bytes));
        if flags & DELAYED != 0 {
            header.visible_at = Timestamp(self.extras.u64()?);
        }
        if flags & EXPIRES != 0 {
            header.expires_at = Timestamp(self.extras.u64()?);
        }
        if flags & PRODUCED != 0 {
            header.producer = ProducerId(self.extras.u128()?);
        }
        Some(Entry { header, form, payload, attributes })
    }
}

/// The length of a payload's text: of its base64 form, or of itself where it is a text.
fn text_bytes(form: PayloadForm, payload_bytes: u32) -> u32 {
    match form {
        PayloadForm::Binary => payload_bytes.div_ceil(3).saturating_mul(4),
        PayloadForm::Verbatim | PayloadForm::Json => payload_bytes,
    }
}

/// Little-endian numbers, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
