//! What one pull brought, made ready to be published: a queue of request bodies for each topic, and what acknowledges each message.
//!
//! Pure: bytes in, bytes out. One copy of each message from the pull's answer into a request's body, its payload as it came.

use crate::config::PairPlan;
use crate::message::{Attributes, Message, Pulled, Received, View};
use crate::rule::Route;
use apache_avro::reader::datum::GenericDatumReader;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::HashMap;
use tokio::time::Instant;

const OPENING: &[u8] = b"{\"messages\":[";
const CLOSING: &[u8] = b"]}";

/// Names a message among all that the subscription ever gave: its id, and its time, since a topic that is made again counts anew.
pub(crate) type Identity = Box<str>;

/// The messages of one pull.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// In the subscription's order, up to the one that stops the pair.
    pub(crate) entries: Vec<Entry>,
    pub(crate) queues: Vec<Queue>,
    /// Messages that no rule took.
    pub(crate) unmatched: usize,
    /// Messages that were known to be published already.
    pub(crate) known: usize,
    /// Why nothing more may be taken after these.
    pub(crate) halt: Option<String>,
    /// Ack ids of what came after that, or after a gap.
    pub(crate) untouched: Vec<Box<str>>,
}

impl Window {
    /// Everything that was given out.
    pub(crate) fn ack_ids(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| &entry.ack_id).chain(&self.untouched).map(|id| &**id).collect()
    }
}

/// A message that was pulled.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ack_id: Box<str>,
    pub(crate) identity: Identity,
}

/// What goes to one topic, in order.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) topic: String,
    pub(crate) requests: Vec<Request>,
}

/// One publish request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) body: Bytes,
    /// Where each message ends in the body, and which entry it is.
    pub(crate) messages: Vec<(usize, usize)>,
}

impl Request {
    /// Two requests that hold the same messages in the same order; none for a single message.
    pub(crate) fn halves(&self) -> Option<[Self; 2]> {
        let (first, second) = self.messages.split_at(self.messages.len() / 2);
        let cut = first.last()?.0;
        let mut head = BytesMut::from(self.body.get(..cut)?);
        head.extend_from_slice(CLOSING);
        let mut tail = BytesMut::from(OPENING);
        tail.extend_from_slice(self.body.get(cut + 1..)?);
        let moved = second.iter().map(|(end, entry)| (end - cut - 1 + OPENING.len(), *entry));
        Some([
            Self { body: head.freeze(), messages: first.to_vec() },
            Self { body: tail.freeze(), messages: moved.collect() },
        ])
    }
}

/// What a window is made by.
pub(crate) struct Maker<'p> {
    pub(crate) plan: &'p PairPlan,
    /// The topic that the source subscription reads, if it is where the target is.
    pub(crate) own_topic: Option<&'p str>,
    /// The offset that the first message must have, and so on without a gap: what comes after a gap is left untouched.
    pub(crate) dense_from: Option<u64>,
    /// What was published but not acknowledged.
    pub(crate) published: &'p HashMap<Identity, Instant>,
}

impl Maker<'_> {
    /// Reads a pull's answer and routes every message of it.
    ///
    /// # Errors
    /// A sentence, if the answer is none.
    pub(crate) fn window(&self, answer: &[u8]) -> Result<Window, String> {
        let pulled: Pulled<'_> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let reader = self.plan.avro_reader()?;
        let mut window = Window { entries: Vec::with_capacity(pulled.received.len()), ..Window::default() };
        let mut queues = Queues { plan: self.plan, places: HashMap::new(), queues: Vec::new() };
        let mut received = pulled.received.iter();
        let mut wanted = self.dense_from;
        for Received { ack_id, message } in received.by_ref() {
            let offset = message.id.parse().ok();
            if wanted.is_some() && wanted != offset {
                window.untouched.push(ack_id.as_ref().into());
                break;
            }
            wanted = wanted.map(|offset| offset + 1);
            let identity: Identity = [&*message.id, "@", &*message.publish_time].concat().into();
            if self.published.contains_key(&identity) {
                window.known += 1;
            } else if let Err(why) = self.place(message, reader.as_ref(), &mut window, &mut queues) {
                window.halt = Some(why);
                window.untouched.push(ack_id.as_ref().into());
                break;
            }
            window.entries.push(Entry { ack_id: ack_id.as_ref().into(), identity });
        }
        window.untouched.extend(received.map(|received| received.ack_id.as_ref().into()));
        window.queues = queues.queues.into_iter().map(Filling::end).collect();
        Ok(window)
    }

    /// Puts a message into its queue. An error says why it, and all after it, must stay where they are.
    fn place(
        &self,
        message: &Message<'_>,
        avro: Option<&GenericDatumReader<'_>>,
        window: &mut Window,
        queues: &mut Queues<'_>,
    ) -> Result<(), String> {
        let view = View::new(message, avro);
        match self.plan.rules.route(&view) {
            Route::Publish { topic, .. } if self.own_topic == Some(topic.as_ref()) => Err(format!(
                "message {} would go back into `{topic}`, which it comes from: correct the rules",
                message.id
            )),
            Route::Publish { topic, attributes, matched } => {
                window.unmatched += usize::from(!matched);
                queues.push(topic, message, &attributes, window.entries.len());
                Ok(())
            }
            Route::Drop => {
                window.unmatched += 1;
                Ok(())
            }
            Route::Stop => {
                window.unmatched += 1;
                Err(format!(
                    "no rule takes message {}, and `unmatched` is \"stop\": add a rule, then restart",
                    message.id
                ))
            }
        }
    }
}

/// The queues while they are filled.
struct Queues<'p> {
    plan: &'p PairPlan,
    places: HashMap<String, usize>,
    queues: Vec<Filling>,
}

/// A queue with the request that is not full yet.
struct Filling {
    queue: Queue,
    body: BytesMut,
    messages: Vec<(usize, usize)>,
}

impl Filling {
    fn close(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        self.body.extend_from_slice(CLOSING);
        let (body, messages) = (self.body.split().freeze(), std::mem::take(&mut self.messages));
        self.queue.requests.push(Request { body, messages });
    }

    fn end(mut self) -> Queue {
        self.close();
        self.queue
    }
}

impl Queues<'_> {
    fn push(&mut self, topic: Cow<'_, str>, message: &Message<'_>, attributes: &Attributes<'_>, entry: usize) {
        let place = match self.places.get(topic.as_ref()) {
            Some(place) => *place,
            None => {
                let topic = topic.into_owned();
                self.places.insert(topic.clone(), self.queues.len());
                let queue = Queue { topic, requests: Vec::new() };
                self.queues.push(Filling { queue, body: BytesMut::new(), messages: Vec::new() });
                self.queues.len() - 1
            }
        };
        let Some(filling) = self.queues.get_mut(place) else { return };
        let attributes_bytes: usize = attributes.0.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        let bytes = attributes_bytes + message.data.map_or(2, |data| data.get().len()) + 160;
        let full = filling.messages.len() >= self.plan.publish_messages
            || filling.body.len() + bytes > self.plan.publish_bytes;
        if full {
            filling.close();
        }
        let body = &mut filling.body;
        body.reserve(bytes + OPENING.len() + CLOSING.len());
        body.extend_from_slice(if filling.messages.is_empty() { OPENING } else { b"," });
        self.plan.write(message, attributes, body);
        filling.messages.push((body.len(), entry));
    }
}

impl PairPlan {
    /// A reader of payloads, if there is a schema.
    ///
    /// # Errors
    /// A sentence, if the schema refers to what it does not hold.
    pub(crate) fn avro_reader(&self) -> Result<Option<GenericDatumReader<'_>>, String> {
        let made = self.avro.as_ref().map(|schema| GenericDatumReader::builder(schema).build());
        made.transpose().map_err(|error| format!("avro_schema_file: {error}"))
    }

    /// A message as it is published: its payload as it came, these attributes, and the one that names where it comes from.
    fn write(&self, message: &Message<'_>, attributes: &Attributes<'_>, to: &mut BytesMut) {
        to.extend_from_slice(b"{\"attributes\":{");
        for (name, value) in attributes.0.iter().filter(|(name, _)| *name != self.id_attribute) {
            string(name, to);
            to.extend_from_slice(b":");
            string(value, to);
            to.extend_from_slice(b",");
        }
        string(&self.id_attribute, to);
        to.extend_from_slice(b":");
        string(&self.origin(&message.id), to);
        to.extend_from_slice(b"}");
        if let Some(data) = message.data {
            to.extend_from_slice(b",\"data\":");
            to.extend_from_slice(data.get().as_bytes());
        }
        to.extend_from_slice(b"}");
    }

    /// The value of the idempotency attribute: the same whenever the same message is published again.
    pub(crate) fn origin(&self, id: &str) -> String {
        ["projects/", &self.source_project, "/subscriptions/", &self.subscription, ":", id].concat()
    }
}

/// Writes a JSON string.
fn string(text: &str, to: &mut BytesMut) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(plain) {
        to.extend_from_slice(b"\"");
        to.extend_from_slice(text.as_bytes());
        to.extend_from_slice(b"\"");
    } else {
        to.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
