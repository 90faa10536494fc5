//! Posting messages: a request's bodies go into the log as the text they came as.

use super::collection::path;
use super::document::href;
use super::error::{Failure, Refusal};
use super::ids::message_id;
use super::json::{self, Messages, Object, Shape};
use super::metadata::{Posting, TTL_MIN, ttl_text};
use super::projects::missing_is_none;
use super::request::{Answer, Call, Success};
use super::stages;
use crate::broker::{BatchBuilder, NewMessage};
use crate::domain::message::PayloadForm;
use serde::de::IgnoredAny;
use std::time::Duration;

/// Most ids in a Location: clients do not read longer heads.
const LOCATION_IDS_MAX: usize = 200;

/// A message to be posted, checked.
#[derive(Debug)]
struct Post<'a> {
    body: &'a str,
    ttl: u64,
    delay: Option<u64>,
}

/// Posts a call's messages, all or none, into a queue that is made if need be: their ids, in order.
pub(crate) async fn enqueue(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let (name, project) = (call.queue_name()?, call.caller.project.as_str());
    let found = call.zaqar.queue(project, name).await?;
    let posting = Posting::of(found.as_ref().map(|queue| &*queue.topic), &call.options.limits);
    check_size(call, &posting)?;
    let mut posts = read(call, &posting)?;
    let changed = stages::apply(call, posts.iter().map(|post| post.body)).await?;
    for (post, body) in posts.iter_mut().zip(changed.iter().flatten()) {
        post.body = body;
    }
    let mut queue = match found {
        Some(queue) => queue,
        None => call.zaqar.queue_made(project, name).await?,
    };
    let receipt = match missing_is_none(call.zaqar.broker.publish(&queue.topic, batch(call, &posts)?).await)? {
        Some(receipt) => receipt,
        // Deleted meanwhile: the post makes it anew.
        None => {
            queue = call.zaqar.queue_made(project, name).await?;
            call.zaqar.broker.publish(&queue.topic, batch(call, &posts)?).await?
        }
    };
    let offsets = (0..u64::from(receipt.count)).map(|place| receipt.first.plus(place));
    Ok(offsets.map(|offset| message_id(&queue.topic, offset)).collect())
}

/// Posts a request's messages.
pub(crate) async fn post(call: &Call<'_>) -> Answer {
    let ids = enqueue(call).await?;
    let name = call.queue_name()?;
    let mut location = format!("{}/messages", path(name));
    if ids.len() <= LOCATION_IDS_MAX {
        location.push_str("?ids=");
        location.push_str(&ids.join(","));
    }
    let mut out = b"{\"resources\": ".to_vec();
    json::array(&ids, &mut out, |id, out| json::string(&href(name, id), out));
    out.push(b'}');
    Ok(Success::created(location, out))
}

fn check_size(call: &Call<'_>, posting: &Posting) -> Result<(), Failure> {
    let server = call.options.limits.max_messages_post_size;
    let most = posting.bytes_max.map_or(server, |own| own.min(server));
    if call.body.fits(most) {
        return Ok(());
    }
    Err(Failure::request(match posting.bytes_max {
        None => format!("Message collection size is too large. Max size {server}"),
        Some(own) => format!(
            "Message collection size is too large. The max size for current queue is {most}. It is calculated by max size = \
             min(max_messages_post_size_config: {server}, max_messages_post_size_queue: {own})."
        ),
    }))
}

/// Reads a body and checks all of it, in the contract's order.
fn read<'a>(call: &'a Call<'_>, posting: &Posting) -> Result<Vec<Post<'a>>, Failure> {
    let none = || Failure::request("No messages were found in the request body.");
    let messages = match json::parse::<Shape<Messages<'_>, IgnoredAny>>(call.body.required()?)? {
        Shape::Object(Messages(messages)) => messages.ok_or_else(none)?,
        Shape::Array(_) => return Err(none()),
        Shape::Other => return Err(Failure::UNPARSED),
    };
    let Shape::Array(messages) = messages else { return Err(Failure::WRONG_DOCUMENT) };
    let read = messages.iter().map(|message| typed(message, posting));
    let read: Vec<_> = read.collect::<Result<_, _>>()?;
    if read.is_empty() {
        return Err(Failure::request("No messages to enqueu."));
    }
    read.into_iter().map(|message| within(call, message)).collect()
}

/// The parts of a message, their types checked: body, ttl, delay.
type Parts<'a> = (&'a str, i64, Option<i64>);

fn typed<'a>(message: &Shape<Object<'a>, IgnoredAny>, posting: &Posting) -> Result<Parts<'a>, Failure> {
    let Shape::Object(message) = message else { return Err(Failure::WRONG_DOCUMENT) };
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let ttl = json::integer_member(message, "ttl")?.unwrap_or(seconds(posting.ttl));
    let body = message.get("body").ok_or_else(|| Failure::body("Missing \"body\" field."))?;
    // Where the queue delays nothing, the member is not even looked at.
    let delay = match posting.delay {
        None => None,
        Some(default) => Some(json::integer_member(message, "delay")?.unwrap_or(seconds(default))),
    };
    Ok((body.get(), ttl, delay))
}

fn within<'a>(call: &Call<'_>, (body, ttl, delay): Parts<'a>) -> Result<Post<'a>, Failure> {
    let (ttl_max, delay_max) = (call.options.limits.max_message_ttl, call.options.limits.max_message_delay);
    let ttl = u64::try_from(ttl).ok().filter(|ttl| (TTL_MIN..=ttl_max).contains(ttl));
    let ttl = ttl.ok_or_else(|| Failure::request(ttl_text(ttl_max)))?;
    let wrong = || {
        Failure::request(format!(
            "The Delay TTL for a message may not exceed {delay_max} seconds,and must be at least 0 seconds long."
        ))
    };
    let delay = delay.map(|delay| u64::try_from(delay).ok().filter(|delay| *delay <= delay_max).ok_or_else(wrong));
    Ok(Post { body, ttl, delay: delay.transpose()?.filter(|delay| *delay > 0) })
}

fn batch(call: &Call<'_>, posts: &[Post<'_>]) -> Result<BatchBuilder, Refusal> {
    let mut batch = call.zaqar.broker.batch();
    batch.reserve(posts.iter().map(|post| post.body.len()).sum());
    for post in posts {
        batch.push(&NewMessage {
            payload: post.body.as_bytes(),
            form: PayloadForm::Json,
            producer: call.caller.client,
            delay: post.delay.map(Duration::from_secs),
            ttl: Some(Duration::from_secs(post.ttl)),
            ..NewMessage::default()
        })?;
    }
    Ok(batch)
}
