//! Reading the stored form of a batch of messages: its header, its messages' headers without their bodies, its messages as slices.

use super::seal::{DataKey, Part, SEAL_BYTES};
use super::{
    DELAYED, ENTRY_BYTES, EXPIRES, HEADER_BYTES, KNOWN_FLAGS, PRODUCED, SEALED, Times, Totals, VERSION, text_bytes,
};
use crate::domain::message::{Attributes, Header, Message, Payload, PayloadForm, Published};
use crate::domain::subscription::headers::Span;
use crate::domain::{Error, Offset, ProducerId, Result, Timestamp};
use crate::storage::StoredBatch;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// A batch of messages as it stands in a topic's log. Cheap to clone; messages are slices of the record.
#[derive(Clone, Debug)]
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
    sealed: bool,
    /// Opens what is sealed.
    key: Option<Arc<DataKey>>,
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
            let sealed = fields.u8()? != 0;
            fields.skip(2)?;
            let (count, bodies, extras) = (fields.u32()?, fields.u32()? as usize, fields.u32()? as usize);
            let mut bounds = || Some((Timestamp(fields.u64()?), Timestamp(fields.u64()?)));
            let times = Times { visible: bounds()?, expires: bounds()? };
            let totals = Totals { messages: fields.u64()?, bytes: fields.u64()?, at, count };
            let previous = (Timestamp(fields.u64()?), fields.u32()?);
            let table_at = HEADER_BYTES.checked_add(bodies)?;
            let extras_at = table_at.checked_add(ENTRY_BYTES.checked_mul(count as usize)?)?;
            let whole = extras_at.checked_add(extras)? == stored.payload.len() && count == stored.count;
            let record = stored.payload.clone();
            whole.then_some(Self {
                first,
                count,
                at,
                totals,
                previous,
                times,
                record,
                table_at,
                extras_at,
                sealed,
                key: None,
            })
        };
        read().ok_or_else(damaged)
    }

    /// Whether any of its messages is encrypted.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The batch with what opens its messages.
    pub(crate) fn with_key(self, key: Arc<DataKey>) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The offset after its last message.
    pub(crate) fn next(&self) -> Offset {
        self.first.plus(u64::from(self.count))
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.record.len() + size_of::<Self>()
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
        let part = |part, range: &Range<usize>| {
            let stored = self.record.slice(range.clone());
            match (entry.sealed, &self.key) {
                (false, _) => Some(stored),
                (true, Some(key)) => key.open(part, &stored).map(Bytes::from),
                (true, None) => None,
            }
        };
        let attributes = match entry.attributes.len() {
            0 => Attributes::default(),
            _ => Attributes::from_stored(part(Part::Attributes, &entry.attributes)?)?,
        };
        let payload = Payload { bytes: part(Part::Payload, &entry.payload)?, form: entry.form };
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
    sealed: bool,
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
        let form = PayloadForm::of(fields.u8()?)?;
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
        let sealed = flags & SEALED != 0;
        let plain = |bytes: u32| if sealed { bytes.saturating_sub(SEAL_BYTES as u32) } else { bytes };
        let (payload_bytes, attribute_bytes) = (plain(payload_bytes), plain(attribute_bytes));
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
        Some(Entry { header, form, payload, attributes, sealed })
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
