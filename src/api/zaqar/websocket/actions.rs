//! The actions: what each must bring, which operation of HTTP it is, and how what comes of it is told (`zaqar-v2.md` §17.4).
//!
//! An action's body becomes the call that the same request over HTTP would be, and goes through the same functions; only what is shown
//! differs.

use super::frame::Reply;
use crate::api::zaqar::error::{Failure, Refusal};
use crate::api::zaqar::ids::{claim_id, message_id};
use crate::api::zaqar::json::{self, Object};
use crate::api::zaqar::messages::{Deleted, Found, popped, view};
use crate::api::zaqar::query::Query;
use crate::api::zaqar::request::{Body, Call};
use crate::api::zaqar::routes::Operation as Op;
use crate::api::zaqar::{claims, messages, metadata, post, queues, stats, subscriptions};
use crate::domain::{Error, SubscriptionId};
use bytes::Bytes;
use serde_json::value::RawValue;

/// What a member of a body must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Text,
    Integer,
    Boolean,
    Array,
    Object,
}

/// An action.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    /// The same thing over HTTP.
    pub(super) operation: Op,
    /// Members without which it cannot be.
    required: &'static [(&'static str, Is)],
    optional: &'static [(&'static str, Is)],
    /// The member that names one thing of the queue, if it is about one.
    id: &'static str,
    /// What of the body goes on as the body of a request.
    passes: Passes,
    /// The method and the part of the queue that a signature must open, where one suffices.
    pub(super) signed: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passes {
    Nothing,
    Whole,
    /// Only what this member holds, if it is there.
    Member(&'static str),
    /// All of it, if this member is there.
    With(&'static str),
}

const QUEUE: (&str, Is) = ("queue_name", Is::Text);

const fn action(name: &'static str, operation: Op, required: &'static [(&'static str, Is)]) -> Action {
    Action { name, operation, required, optional: &[], id: "", passes: Passes::Nothing, signed: None }
}

impl Action {
    const fn may(self, optional: &'static [(&'static str, Is)]) -> Self {
        Self { optional, ..self }
    }

    const fn about(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    const fn passing(self, passes: Passes) -> Self {
        Self { passes, ..self }
    }

    const fn signed(self, method: &'static str) -> Self {
        Self { signed: Some((method, "messages")), ..self }
    }
}

const MESSAGE: (&str, Is) = ("message_id", Is::Text);
const CLAIM: (&str, Is) = ("claim_id", Is::Text);
const LIMIT: (&str, Is) = ("limit", Is::Integer);
const MARKER: (&str, Is) = ("marker", Is::Text);
const TTL: (&str, Is) = ("ttl", Is::Integer);
const GRACE: (&str, Is) = ("grace", Is::Integer);

const SUBSCRIBER: (&str, Is) = ("subscriber", Is::Text);
const SUBSCRIPTION: (&str, Is) = ("subscription_id", Is::Text);

/// The table.
const ACTIONS: &[Action] = &[
    action("queue_list", Op::QueuesList, &[]).may(&[MARKER, LIMIT, ("detailed", Is::Boolean)]),
    action("queue_create", Op::QueueCreate, &[QUEUE])
        .may(&[("metadata", Is::Object)])
        .passing(Passes::Member("metadata")),
    action("queue_get", Op::QueueGet, &[QUEUE]),
    action("queue_delete", Op::QueueDelete, &[QUEUE]),
    action("queue_get_stats", Op::QueueStats, &[QUEUE]),
    action("queue_purge", Op::QueuePurge, &[QUEUE])
        .may(&[("resource_types", Is::Array)])
        .passing(Passes::With("resource_types")),
    action("message_post", Op::MessagesPost, &[QUEUE, ("messages", Is::Array)]).passing(Passes::Whole).signed("POST"),
    action("message_list", Op::MessagesList, &[QUEUE])
        .may(&[
            MARKER,
            LIMIT,
            ("echo", Is::Boolean),
            ("include_claimed", Is::Boolean),
            ("include_delayed", Is::Boolean),
        ])
        .signed("GET"),
    action("message_get", Op::MessageGet, &[QUEUE, MESSAGE]).about("message_id").signed("GET"),
    action("message_get_many", Op::MessagesList, &[QUEUE, ("message_ids", Is::Array)]).signed("GET"),
    action("message_delete", Op::MessageDelete, &[QUEUE, MESSAGE]).may(&[CLAIM]).about("message_id").signed("DELETE"),
    action("message_delete_many", Op::MessagesDelete, &[QUEUE])
        .may(&[("message_ids", Is::Array), ("claim_ids", Is::Array), ("pop", Is::Integer)])
        .signed("DELETE"),
    action("claim_create", Op::ClaimCreate, &[QUEUE]).may(&[TTL, GRACE, LIMIT]).passing(Passes::Whole),
    action("claim_get", Op::ClaimGet, &[QUEUE, CLAIM]).about("claim_id"),
    action("claim_update", Op::ClaimUpdate, &[QUEUE, CLAIM])
        .may(&[TTL, GRACE])
        .about("claim_id")
        .passing(Passes::Whole),
    action("claim_delete", Op::ClaimDelete, &[QUEUE, CLAIM]).about("claim_id"),
    action("subscription_create", Op::SubscriptionCreate, &[QUEUE])
        .may(&[SUBSCRIBER, TTL, ("options", Is::Object)])
        .passing(Passes::Whole),
    action("subscription_list", Op::SubscriptionsList, &[QUEUE]).may(&[MARKER, LIMIT]),
    action("subscription_get", Op::SubscriptionGet, &[QUEUE, SUBSCRIPTION]).about("subscription_id"),
    action("subscription_delete", Op::SubscriptionDelete, &[QUEUE, SUBSCRIPTION]).about("subscription_id"),
];

/// What an action's body says.
#[derive(Debug)]
pub(super) struct Given<'a> {
    /// The queue's name as it is, if the action has one.
    pub(super) queue: Option<String>,
    pub(super) id: String,
    pub(super) query: Query,
    passed: Option<&'a str>,
}

impl Given<'_> {
    /// The body of the request that this is, a part of the frame's text.
    pub(super) fn body(&self, frame: &Bytes) -> Body {
        Body::whole(self.passed.map(|text| frame.slice_ref(text.as_bytes())))
    }
}

impl Action {
    /// The action of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        ACTIONS.iter().find(|action| action.name == name)
    }

    /// Whether there must be a body.
    pub(super) fn wants_body(&self) -> bool {
        !self.required.is_empty()
    }

    /// Reads a body; none when a member is missing or of another type.
    pub(super) fn read<'a>(&self, body: Option<(&'a str, Object<'a>)>) -> Option<Given<'a>> {
        let (text, members) = body.unwrap_or_default();
        let present = |(name, _): &(&str, Is)| members.given(name).is_some();
        if !self.required.iter().all(present) {
            return None;
        }
        let (mut queue, mut id, mut parameters) = (None, String::new(), Vec::new());
        for (name, is) in self.required.iter().chain(self.optional) {
            let Some(value) = members.given(name) else { continue };
            let read = is.read(value)?;
            match *name {
                "queue_name" => queue = Some(read),
                name if name == self.id => id = read,
                "message_ids" => {
                    let ids: Vec<String> = serde_json::from_str(value.get()).ok()?;
                    parameters.extend(ids.into_iter().map(|id| ("ids".to_owned(), id)));
                }
                name => parameters.push((name.to_owned(), read)),
            }
        }
        let passed = match self.passes {
            Passes::Nothing => None,
            Passes::Whole => Some(text).filter(|text| !text.is_empty()),
            Passes::With(name) => members.given(name).map(|_| text),
            Passes::Member(name) => members.given(name).map(RawValue::get),
        };
        Some(Given { queue, id, query: Query::of(parameters.into_iter()), passed })
    }
}

impl Is {
    /// The value's text, if it is of this type.
    fn read(self, value: &RawValue) -> Option<String> {
        let text = value.get();
        match self {
            Self::Text => json::text(value).map(Into::into),
            Self::Integer => text.parse::<i64>().ok().map(|number| number.to_string()),
            Self::Boolean => matches!(text, "true" | "false").then(|| text.to_owned()),
            Self::Array => text.starts_with('[').then(String::new),
            Self::Object => text.starts_with('{').then(String::new),
        }
    }
}

/// Does what an action asks for.
///
/// # Errors
/// As over HTTP.
pub(super) async fn perform(action: &Action, call: &Call<'_>) -> Result<Reply, Refusal> {
    let queue = call.queue.as_ref().map_or("", |queue| queue.as_str());
    match action.operation {
        Op::QueuesList | Op::QueueCreate | Op::QueueGet | Op::QueueDelete | Op::QueueStats | Op::QueuePurge => {
            of_queue(action, call, queue).await
        }
        Op::ClaimCreate | Op::ClaimGet | Op::ClaimUpdate | Op::ClaimDelete => of_claim(action, call).await,
        Op::SubscriptionCreate | Op::SubscriptionsList | Op::SubscriptionGet | Op::SubscriptionDelete => {
            of_subscription(action, call, queue).await
        }
        _ => of_messages(action, call).await,
    }
}

fn nothing() -> Reply {
    Reply::new(204, "{}")
}

async fn of_queue(action: &Action, call: &Call<'_>, queue: &str) -> Result<Reply, Refusal> {
    Ok(match action.operation {
        Op::QueuesList => queue_list(call).await?,
        Op::QueueCreate => {
            let status = if queues::make(call).await? { 201 } else { 204 };
            said(status, &format!("Queue {queue} created."))
        }
        Op::QueueGet => {
            let mut out = Vec::new();
            let found = messages::queue(call).await?;
            found.as_ref().map(|queue| metadata::stored(&queue.topic)).unwrap_or_default().write(&mut out);
            Reply::new(200, out)
        }
        Op::QueueDelete => {
            queues::delete(call).await?;
            said(204, &format!("Queue {queue} removed."))
        }
        Op::QueueStats => queue_stats(call).await?,
        _ => {
            queues::purge(call).await?;
            nothing()
        }
    })
}

async fn of_messages(action: &Action, call: &Call<'_>) -> Result<Reply, Refusal> {
    Ok(match (action.operation, action.name) {
        (Op::MessagesPost, _) => {
            let mut out = b"{\"message_ids\": ".to_vec();
            json::array(post::enqueue(call).await?, &mut out, |id, out| json::string(&id, out));
            out.push(b'}');
            Reply::new(201, out)
        }
        (Op::MessagesList, "message_get_many") => Reply::new(200, listed(call, messages::named(call).await?.as_ref())),
        (Op::MessagesList, _) => Reply::new(200, listed(call, messages::page(call).await?.as_ref())),
        (Op::MessageGet, _) => {
            let (queue, message) = messages::one(call).await?;
            let mut out = b"{\"messages\": ".to_vec();
            view(call, &queue).write_bare(&message, &mut out);
            out.push(b'}');
            Reply::new(200, out)
        }
        (Op::MessageDelete, _) => {
            messages::delete(call).await?;
            nothing()
        }
        _ => match messages::delete_some(call).await? {
            Deleted::Named => nothing(),
            Deleted::Popped(found) => Reply::new(200, popped(call, found.as_ref())),
        },
    })
}

async fn of_claim(action: &Action, call: &Call<'_>) -> Result<Reply, Refusal> {
    let missing = |error| missing(error, || format!("Claim {} does not exist.", call.id));
    Ok(match action.operation {
        Op::ClaimCreate => claim_create(call).await?,
        Op::ClaimGet => {
            let claims::Shown { age, ttl, found } = claims::look(call).await.map_err(missing)?;
            let mut out = format!("{{\"age\": {age}, \"ttl\": {ttl}, \"messages\": ").into_bytes();
            array(call, &found, &mut out);
            out.push(b'}');
            Reply::new(200, out)
        }
        Op::ClaimUpdate => {
            claims::renew(call).await.map_err(missing)?;
            said(204, &format!("Claim {} updated.", call.id))
        }
        _ => {
            claims::release(call).await?;
            said(204, &format!("Claim {} deleted.", call.id))
        }
    })
}

async fn of_subscription(action: &Action, call: &Call<'_>, queue: &str) -> Result<Reply, Refusal> {
    let missing = |error| missing(error, || format!("Subscription {} for queue {queue} does not exist.", call.id));
    Ok(match action.operation {
        Op::SubscriptionCreate => subscribed(queue, subscriptions::make(call).await)?,
        Op::SubscriptionsList => {
            let mut out = b"{\"subscriptions\": ".to_vec();
            json::array(subscriptions::page(call).await?, &mut out, |found, out| found.write(call, out));
            out.push(b'}');
            Reply::new(200, out)
        }
        Op::SubscriptionGet => {
            let mut out = Vec::new();
            subscriptions::find(call).await.map_err(missing)?.write(call, &mut out);
            Reply::new(200, out)
        }
        _ => {
            subscriptions::delete(call).await?;
            said(204, &format!("Subscription {} removed.", call.id))
        }
    })
}

/// Whether an action makes the connection that asks for it the subscriber.
pub(super) fn subscribes_itself(call: &Call<'_>, action: &Action) -> bool {
    action.operation == Op::SubscriptionCreate && call.query.text(SUBSCRIBER.0).is_none()
}

/// What became of a subscription that was to be made.
///
/// # Errors
/// When it was refused, other than for being there already.
pub(super) fn subscribed(queue: &str, made: Result<SubscriptionId, Refusal>) -> Result<Reply, Refusal> {
    match made {
        Ok(id) => {
            let text = format!("{{\"subscription_id\": \"{id}\", \"message\": \"Subscription {queue} created.\"}}");
            Ok(Reply::new(201, text))
        }
        Err(Refusal::Said(Failure { status: 409, .. }) | Refusal::Met(Error::AlreadyExists(_))) => {
            Ok(said(409, &format!("Subscription {queue} not created.")))
        }
        Err(other) => Err(other),
    }
}

fn said(status: u16, text: &str) -> Reply {
    let mut out = Vec::new();
    json::string(text, &mut out);
    Reply::new(status, out)
}

async fn queue_list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let page = queues::page(call).await?;
    let mut out = b"{\"queues\": ".to_vec();
    json::array(&page.queues, &mut out, |queue, out| {
        out.extend_from_slice(format!("{{\"name\": \"{}\"", queue.name).as_bytes());
        if page.detailed {
            out.extend_from_slice(b", \"metadata\": ");
            metadata::stored(queue).write(out);
        }
        out.push(b'}');
    });
    out.push(b'}');
    Ok(Reply::new(200, out))
}

async fn queue_stats(call: &Call<'_>) -> Result<Reply, Refusal> {
    let figures = stats::figures(call).await?;
    let shown = stats::shown(call, figures.as_ref(), |view, message| {
        format!("\"id\": \"{}\"", message_id(&view.queue.topic, message.offset))
    });
    Ok(Reply::new(if figures.is_some() { 200 } else { 404 }, shown))
}

async fn claim_create(call: &Call<'_>) -> Result<Reply, Refusal> {
    let Some((id, found)) = claims::make(call).await? else { return Ok(Reply::new(204, r#"{"claim_id": null}"#)) };
    let mut out = format!("{{\"claim_id\": \"{}\", \"messages\": ", claim_id(id)).into_bytes();
    array(call, &found, &mut out);
    out.push(b'}');
    Ok(Reply::new(201, out))
}

fn array(call: &Call<'_>, found: &Found, out: &mut Vec<u8>) {
    let view = view(call, &found.queue);
    json::array(&found.messages, out, |message, out| view.write_bare(message, out));
}

fn listed(call: &Call<'_>, found: Option<&Found>) -> Vec<u8> {
    let mut out = b"{\"messages\": ".to_vec();
    match found {
        None => out.extend_from_slice(b"[]"),
        Some(found) => array(call, found, &mut out),
    }
    out.push(b'}');
    out
}

/// What is not there, in this transport's words.
fn missing(refusal: Refusal, text: impl FnOnce() -> String) -> Refusal {
    match refusal {
        Refusal::Said(failure) if failure.status == 404 => Failure::not_found(text()).into(),
        other => other,
    }
}
