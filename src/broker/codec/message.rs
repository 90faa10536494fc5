//! The stored form of a batch of messages: what one append to a topic's log carries.
//!
//! ```text
//! header (80 bytes) · bodies · table (12 bytes a message) · extras
//! body  = payload, attributes                       entry = payload length, attributes length, form, flags
//! extras = for each message that has them, in order: visible_at, expires_at, producer
//! ```
//! All numbers are little-endian. Everything about a message is relative, so batches merge by concatenation, and its header is
//! known without touching its body. Owns encoding and decoding alone: what is appended where is the topic's affair.

mod seal;
mod stored;

pub(crate) use seal::DataKey;
pub(crate) use stored::MessageBatch;

use crate::domain::message::{Attributes, PayloadForm};
use crate::domain::{Error, ProducerId, Result, Timestamp, limits};
use crate::storage::BATCH_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};
use seal::{Part, SEAL_BYTES, Sealer};
use std::time::Duration;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 80;
const ENTRY_BYTES: usize = 12;
/// Where in the header the totals begin: all that a later try of the same append changes.
const TOTALS_AT: usize = 48;

const DELAYED: u8 = 1;
const EXPIRES: u8 = 2;
const PRODUCED: u8 = 4;
/// Payload and attributes are encrypted.
const SEALED: u8 = 8;
const KNOWN_FLAGS: u8 = DELAYED | EXPIRES | PRODUCED | SEALED;

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
    sealed: bool,
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
            sealed: false,
        }
    }

    /// Makes room for about this many bytes of payloads and attributes at once; a hint that spares copies.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(HEADER_BYTES + bytes.min(BATCH_BYTES_MAX));
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`Error::Invalid`] above the limits on messages and attributes,
    /// [`Error::TooLarge`] above what one append may carry; the batch is as it was.
    pub fn push(&mut self, message: &NewMessage<'_>) -> Result<()> {
        self.begin();
        self.buffer.put_slice(message.payload);
        self.end(message)
    }

    /// Begins a message, or its payload anew: what was written since the last [`BatchBuilder::end`] is gone.
    pub fn begin(&mut self) {
        if self.buffer.len() < HEADER_BYTES {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve(2_048 - ENTRY_BYTES);
            }
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

    /// The ended messages: form, payload, and attributes in their stored form.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (PayloadForm, &[u8], &[u8])> {
        let mut rest = self.bodies();
        self.table.as_chunks::<ENTRY_BYTES>().0.iter().map_while(move |[a, b, c, d, e, f, g, h, form, ..]| {
            let length = |bytes: [u8; 4]| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
            let (payload, after) = rest.split_at_checked(length([*a, *b, *c, *d]))?;
            let (attributes, after) = after.split_at_checked(length([*e, *f, *g, *h]))?;
            rest = after;
            Some((PayloadForm::of(*form)?, payload, attributes))
        })
    }

    /// Encrypts the ended messages, once; none may follow.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when they take too much room then; [`Error::Unavailable`] when the machine cannot encrypt.
    pub(crate) fn seal(&mut self, key: &DataKey) -> Result<()> {
        if self.sealed {
            return Ok(());
        }
        let mut sealer = Sealer::new(key)?;
        let room = self.done + self.count as usize * 2 * SEAL_BYTES;
        let (mut buffer, mut table) = (BytesMut::with_capacity(room), Vec::with_capacity(self.table.len()));
        buffer.put_bytes(0, HEADER_BYTES);
        let entries = self.table.as_chunks::<ENTRY_BYTES>().0.iter();
        for ((form, payload, attributes), [.., flags, _, _]) in self.messages().zip(entries) {
            let payload = sealer.seal(Part::Payload, payload, &mut buffer)?;
            let attributes = match attributes.len() {
                0 => 0,
                _ => sealer.seal(Part::Attributes, attributes, &mut buffer)?,
            };
            table.put_u32_le(payload as u32);
            table.put_u32_le(attributes as u32);
            table.put_u8(form as u8);
            table.put_u8(flags | SEALED);
            table.put_u16_le(0);
        }
        if buffer.len() + table.len() + self.extras.len() > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { what: "publish request", limit: BATCH_BYTES_MAX as u64 });
        }
        (self.done, self.buffer, self.table, self.sealed) = (buffer.len(), buffer, table, true);
        Ok(())
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
        header.put_u8(u8::from(all().any(|builder| builder.sealed)));
        header.put_slice(&[0; 2]);
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

/// The length of a payload's text: of its base64 form, or of itself where it is a text.
fn text_bytes(form: PayloadForm, payload_bytes: u32) -> u32 {
    match form {
        PayloadForm::Binary => payload_bytes.div_ceil(3).saturating_mul(4),
        PayloadForm::Verbatim | PayloadForm::Json => payload_bytes,
    }
}

#[cfg(test)]
mod tests;
