//! Fuzz targets of the stored forms: what is read again is what was written, and what is not such a form is refused, never more.

use super::document::{Account, Hint, KeyCheck, Record as Document, StoredRoles, TokenHint, Truth, decode, encode};
use super::event::{Body, Record};
use super::message::{BatchBuilder, MessageBatch, NewMessage, Record as Messages, Totals};
use super::snapshot::{self, Assembly};
use crate::domain::message::Published;
use crate::domain::project::Project;
use crate::domain::registration::Registration;
use crate::domain::subscription::headers::Span;
use crate::domain::subscription::{Event, State, Subscription};
use crate::domain::topic::Topic;
use crate::domain::{Offset, Result, Timestamp};
use crate::storage::{self, StoredBatch, Time};
use bytes::{Buf, Bytes};
use std::time::Duration;

const FIRST: Offset = Offset(7);

fn stored(payload: Bytes, count: u32) -> StoredBatch {
    StoredBatch { first: storage::Offset(FIRST.0), count, time: Time(1_000), nonce: storage::Nonce::default(), payload }
}

fn messages_of(batch: &MessageBatch) -> Result<Vec<Published>> {
    let headers: Result<Vec<_>> = batch.headers(batch.first..batch.next()).collect();
    let messages: Result<Vec<Published>> = batch.messages(batch.first..batch.next()).collect();
    if let (Ok(headers), Ok(messages)) = (&headers, &messages) {
        assert!(messages.iter().map(|message| &message.message.header).eq(headers), "headers differ from messages");
    }
    messages
}

/// Any bytes as a batch of messages: what can be read is written again, and reads the same.
pub(crate) fn batches(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let count = data.get(4..).map_or(0, |mut at| at.try_get_u32_le().unwrap_or(0));
    let Ok(batch) = MessageBatch::open(stored(payload, count)) else { return };
    let Ok(messages) = messages_of(&batch) else { return };
    assert!(messages.len() <= batch.count as usize);
    let (mut first, mut second) = (BatchBuilder::new(Timestamp::EPOCH), BatchBuilder::new(Timestamp::EPOCH));
    let half = messages.len() / 2;
    for (place, published) in messages.iter().enumerate() {
        let header = published.message.header;
        let message = NewMessage {
            payload: &published.message.payload.bytes,
            form: published.message.payload.form,
            attributes: published.message.attributes.clone(),
            producer: header.producer,
            delay: Some(header.visible_at).filter(|at| *at != Timestamp::EPOCH).map(|at| Duration::from_micros(at.0)),
            ttl: Some(header.expires_at).filter(|at| *at != Timestamp::NEVER).map(|at| Duration::from_micros(at.0)),
        };
        let builder = if place < half { &mut first } else { &mut second };
        if builder.push(&message).is_err() {
            return;
        }
    }
    rewritten(&mut first, &second, &batch, &messages);
}

/// The same messages, written by us and merged, read the same; and the header's summary is true of each of them.
fn rewritten(first: &mut BatchBuilder, second: &BatchBuilder, batch: &MessageBatch, messages: &[Published]) {
    let (count, reached) = (first.count() + second.count(), batch.totals);
    let mut record = Messages::merge(first, std::iter::once(second));
    let again = MessageBatch::open(stored(record.behind(&Totals::default()), count));
    assert!(again.is_ok(), "{again:?}");
    let Ok(again) = again else { return };
    assert_eq!(messages_of(&again).as_deref(), Ok(messages));
    for now in [reached.messages, reached.bytes, 0, u64::MAX].map(Timestamp) {
        let holds = |message: &Published| match again.summary(u64::from(count), now) {
            Some(Span::Expired { by, .. }) => message.message.header.expires_at <= by && by <= now,
            Some(Span::Delayed { until, .. }) => message.message.header.visible_at >= until && until > now,
            _ => true,
        };
        assert!(messages.iter().all(holds), "the summary at {now:?} is not true");
    }
}

/// Any bytes as a record of a subscription's log: one that reads has no other form.
pub(crate) fn events(data: &[u8]) {
    if let Ok(record) = Record::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(record.encode(), data, "{record:?}");
    }
}

/// The events that bytes hold, if they are a whole number of them with their count before.
pub(crate) fn stored_events(data: &[u8]) -> Vec<Event> {
    let header: &[u8] = &[1, 1, 255, 255, 255, 255, 255, 255, 255, 255];
    match Record::decode(&Bytes::from([header, data].concat())) {
        Ok(Record { body: Body::Events(events), .. }) => events,
        _ => Vec::new(),
    }
}

/// Any bytes as a snapshot, and as its chunks in any order: a state that reads has no other form.
pub(crate) fn snapshots(data: &[u8]) {
    if let Ok(state) = snapshot::decode(data) {
        assert_eq!(snapshot::encode(&state), data, "{state:?}");
    }
    let (mut rest, mut assembly) = (data, Assembly::default());
    while let Ok(length) = rest.try_get_u8() {
        let (part, after) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
        rest = after;
        if let Ok(Record { body: Body::Chunk(chunk), .. }) = Record::decode(&Bytes::copy_from_slice(part))
            && let Ok(Some((as_of, state))) = assembly.add(chunk)
        {
            let chunks = snapshot::chunks(&state, as_of);
            assert!(!chunks.is_empty());
            let mut again = Assembly::default();
            let read = chunks.into_iter().rev().filter_map(|chunk| again.add(chunk).ok().flatten()).last();
            assert_eq!(read, Some((as_of, state)));
        }
    }
}

/// A sound state survives its stored form.
pub(crate) fn snapshot_holds(state: &State) {
    assert!(state.is_sound(), "{state:?}");
    assert_eq!(snapshot::decode(&snapshot::encode(state)).as_ref(), Ok(state));
}

/// Any bytes as each kind of document: one that reads has no other form.
pub(crate) fn documents(data: &[u8]) {
    one_form::<Truth<Project>>(data);
    one_form::<Truth<Topic>>(data);
    one_form::<Truth<Subscription>>(data);
    one_form::<Truth<Account>>(data);
    one_form::<Registration>(data);
    one_form::<Hint>(data);
    one_form::<TokenHint>(data);
    one_form::<StoredRoles>(data);
    one_form::<KeyCheck>(data);
}

fn one_form<R: Document>(data: &[u8]) {
    if let Ok((nonce, record)) = decode::<R>(data) {
        assert_eq!(encode(&record, nonce), data, "{record:?}");
    }
}
