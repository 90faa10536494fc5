//! Queues: list, make, show, change, delete, purge.

use super::bound;
use super::collection::{Collection, path};
use super::error::{Failure, Refusal};
use super::json::{self, Object};
use super::metadata::{self, check, dead_letter_policy};
use super::patch;
use super::projects::missing_is_none;
use super::query::{self, limit, link};
use super::request::{Answer, Call, Success};
use crate::broker::queue::{Queue, label};
use crate::domain::topic::Topic;
use crate::domain::{Error, Name};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

/// The parameters of a list that are no filters.
const PARAMETERS: [&str; 5] = ["marker", "limit", "detailed", "name", "with_count"];

/// Some of a project's queues.
#[derive(Debug)]
pub(crate) struct Page {
    /// By name.
    pub(crate) queues: Vec<Arc<Topic>>,
    /// Whether their metadata is wanted too.
    pub(crate) detailed: bool,
    /// How many there are in all; 0 where nobody asked.
    count: usize,
}

/// The page of a project's queues that a call asks for.
pub(crate) async fn page(call: &Call<'_>) -> Result<Page, Refusal> {
    let query = &call.query;
    let (asked, detailed) = (query.integer("limit")?, query.boolean("detailed")?);
    let with_count = query.boolean("with_count")?;
    let most = call.options.limits.max_queues_per_page;
    let size = limit(asked, most, |most| format!("Limit must be at least 1 and no greater than {most}."))?;
    let marker = query.text("marker").map(|marker| call.collection.stored(marker));
    let part = query.text("name");
    let filters: Vec<_> = query.others(&PARAMETERS).collect();
    let (mut queues, mut count) = (Vec::new(), 0);
    if let Some(project) = call.zaqar.project(&call.caller.project).await? {
        let shown = bound::visible(call.zaqar, call.options, &call.caller).await?;
        let visible = |topic: &Topic| {
            call.collection.has(&topic.name)
                && shown(topic)
                && part.is_none_or(|part| label(&topic.name).contains(part))
                && has_all(topic, &filters)
        };
        queues = call.zaqar.broker.topics_by_name(project, marker.as_deref(), size, &visible).await?;
        if with_count == Some(true) {
            let all = |topic: &Topic| call.collection.has(&topic.name) && shown(topic);
            count = call.zaqar.broker.topics_by_name(project, None, usize::MAX, &all).await?.len();
        }
    }
    Ok(Page { queues, detailed: detailed == Some(true), count })
}

/// A project's queues by name.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let Page { queues, detailed, count } = page(call).await?;
    let mut out = format!("{{\"{}\": ", call.collection.word()).into_bytes();
    json::array(&queues, &mut out, |queue, out| {
        let (name, href) = (label(&queue.name), path(&queue.name));
        out.extend_from_slice(format!("{{\"name\": \"{name}\", \"href\": \"{href}\"").as_bytes());
        if detailed {
            out.extend_from_slice(b", \"metadata\": ");
            metadata::write(&metadata::stored(queue), shown_of(call), &call.options.limits, out);
        }
        out.push(b'}');
    });
    out.extend_from_slice(b", \"links\": ");
    let next = queues.last().map(|last| next_page(call, last));
    links(next.transpose()?.as_deref(), &mut out);
    if count > 0 {
        out.extend_from_slice(format!(", \"count\": {count}").as_bytes());
    }
    out.push(b'}');
    Ok(Success::json(out))
}

/// The link to what follows the queue that is the last of a page.
fn next_page(call: &Call<'_>, last: &Topic) -> Result<String, Failure> {
    let (query, mut parameters) = (&call.query, Vec::new());
    parameters.extend(query.integer("limit")?.map(|asked| ("limit", asked.to_string())));
    parameters.extend(query.boolean("detailed")?.map(|detailed| ("detailed", detailed.to_string())));
    parameters.extend(query.text("name").map(|part| ("name", part.to_owned())));
    parameters.extend(query.boolean("with_count")?.map(|with_count| ("with_count", with_count.to_string())));
    // Quirk 19, mended: a filtered list stays filtered.
    parameters.extend(query.others(&PARAMETERS).map(|(name, value)| (name, value.to_owned())));
    parameters.push(("marker", label(&last.name).to_owned()));
    Ok(link(&format!("/v2/{}", call.collection.word()), &parameters))
}

/// Writes the links of a page: the next one, if any.
pub(crate) fn links(next: Option<&str>, out: &mut Vec<u8>) {
    json::array(next, out, |next, out| {
        out.extend_from_slice(b"{\"rel\": \"next\", \"href\": ");
        json::string(next, out);
        out.push(b'}');
    });
}

/// Whether a queue's metadata has all these values; one that reads as an integer is meant as one.
fn has_all(topic: &Topic, filters: &[(&str, &str)]) -> bool {
    if filters.is_empty() {
        return true;
    }
    let metadata = metadata::stored(topic);
    filters.iter().all(|(key, wanted)| {
        let Some(value) = metadata.get(key).and_then(|value| serde_json::from_str::<Value>(value.get()).ok()) else {
            return false;
        };
        match query::integer(wanted) {
            Some(number) => value.as_i64() == Some(number),
            None => value.as_str() == Some(wanted),
        }
    })
}

/// The metadata that a body gives a new queue.
fn given<'a>(call: &'a Call<'_>) -> Result<Object<'a>, Failure> {
    let most = call.options.limits.max_queue_metadata;
    if !call.body.fits(most) {
        return Err(too_large(most, Failure::request));
    }
    let mut given = call.body.optional()?.map(json::object).transpose()?.unwrap_or_default();
    given.settle();
    check(&given, &call.options.limits).map_err(Failure::request)?;
    Ok(given)
}

fn too_large(most: u64, say: impl Fn(String) -> Failure) -> Failure {
    say(format!("Queue metadata is too large. Max size: {most}"))
}

/// Makes a call's queue and tells whether it did; one that is there stays as it is (quirk 22).
pub(crate) async fn make(call: &Call<'_>) -> Result<bool, Refusal> {
    let (name, given) = (call.queue_name()?, given(call)?);
    let mut stored = Vec::new();
    given.write(&mut stored);
    let (policy, sealed) = (dead_letter_policy(&given, name), metadata::is_sealed(&given));
    let (queue, made) = call.zaqar.make_queue(&call.caller.project, name, Bytes::from(stored), policy).await?;
    if made {
        seal(call, &queue.topic, sealed).await?;
    }
    Ok(made)
}

/// Makes the path's queue.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let made = make(call).await?;
    let location = path(call.queue_name()?);
    Ok(if made { Success::created(location, Vec::new()) } else { Success::nothing().at(location) })
}

/// The path's queue's metadata; of a missing one, the defaults.
pub(crate) async fn get(call: &Call<'_>) -> Answer {
    let queue = call.zaqar.queue(&call.caller.project, call.queue_name()?).await?;
    let stored = queue.as_ref().map(|queue| metadata::stored(&queue.topic)).unwrap_or_default();
    Ok(shown(call, &stored))
}

fn shown(call: &Call<'_>, metadata: &Object<'_>) -> Success {
    let mut out = Vec::new();
    metadata::write(metadata, shown_of(call), &call.options.limits, &mut out);
    Success::json(out)
}

/// Changes the path's queue's metadata.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let (name, limits) = (call.queue_name()?, &call.options.limits);
    if !call.body.fits(limits.max_queue_metadata) {
        return Err(too_large(limits.max_queue_metadata, Failure::body).into());
    }
    if !call.patches {
        return Err(Failure::WRONG_PATCH.into());
    }
    let changes = patch::read(call.body.optional()?.unwrap_or_default())?;
    let missing = || Refusal::from(missing_queue(name, &call.caller.project));
    let queue = call.zaqar.queue(&call.caller.project, name).await?.ok_or_else(missing)?;
    // What the dialect says of the change; the broker says only that it was refused.
    let why = Mutex::new(None);
    let change = |stored: &Bytes| {
        let mut metadata: Object<'_> = serde_json::from_slice(stored).unwrap_or_default();
        let changed = patch::apply(&changes, &mut metadata)
            .and_then(|()| check(&metadata, limits).map_err(Failure::body))
            .map(|()| {
                let mut stored = Vec::new();
                metadata.write(&mut stored);
                Bytes::from(stored)
            });
        changed.map_err(|failure| {
            *why.lock() = Some(failure);
            Error::Invalid { what: "metadata", why: "was refused".to_owned() }
        })
    };
    let updated = call.zaqar.broker.update_metadata(&queue.topic, change).await;
    let topic = match updated {
        Err(Error::TooLarge { limit, .. }) => return Err(too_large(limit, Failure::body).into()),
        Err(error) => {
            let said = why.into_inner().map(Refusal::from);
            return match (said, missing_is_none::<()>(Err(error))) {
                (Some(said), _) => Err(said),
                (None, Ok(_)) => Err(missing()),
                (None, Err(error)) => Err(error.into()),
            };
        }
        Ok(topic) => topic,
    };
    let metadata = metadata::stored(&topic);
    let policy = dead_letter_policy(&metadata, name);
    seal(call, &topic, metadata::is_sealed(&metadata)).await?;
    let queue = Queue { topic: topic.clone(), ..queue };
    call.zaqar.broker.set_dead_letter_policy(&queue, policy).await?;
    Ok(shown(call, &metadata))
}

/// Sets whether a queue's messages are encrypted.
async fn seal(call: &Call<'_>, topic: &Topic, sealed: bool) -> Result<(), Error> {
    if topic.sealed != sealed {
        call.zaqar.broker.set_sealed(topic, sealed).await?;
    }
    Ok(())
}

/// What is said of a queue or topic that is not there.
pub(crate) fn missing_queue(name: &Name, project: &str) -> Failure {
    let (one, name) = (Collection::of(name).one(), label(name));
    Failure::not_found(format!("{one} {name} does not exist for project {project}"))
}

/// The members that are always shown.
fn shown_of(call: &Call<'_>) -> &'static [&'static str] {
    match call.collection {
        Collection::Queues => &metadata::SHOWN,
        Collection::Topics => &metadata::SHOWN_OF_TOPICS,
    }
}

/// Removes the path's queue with its messages and claims, if it is there.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    if let Some(project) = call.zaqar.project(&call.caller.project).await? {
        call.zaqar.broker.delete_queue(project, call.queue_name()?).await?;
    }
    Ok(Success::nothing())
}

/// Deletes all messages, claimed ones too, and ends their claims, and all subscriptions (quirk 13); or what of these a body names.
pub(crate) async fn purge(call: &Call<'_>) -> Answer {
    let (mut messages, mut subscriptions) = (true, true);
    if let Some(body) = call.body.optional()? {
        let given = json::object(body)?;
        let missing = || Failure::request("Post body must contain key \"resource_types\".");
        let wrong = || Failure::request("Resource types must be a sub set of {'messages', 'subscriptions'}.");
        let types = given.get("resource_types").ok_or_else(missing)?;
        let types: Vec<String> = serde_json::from_str(types.get()).map_err(|_| wrong())?;
        if types.iter().any(|kind| !matches!(kind.as_str(), "messages" | "subscriptions")) {
            return Err(wrong().into());
        }
        let wanted = |name: &str| types.iter().any(|kind| kind == name);
        (messages, subscriptions) = (wanted("messages"), wanted("subscriptions"));
    }
    if subscriptions {
        super::subscriptions::delete_all(call).await?;
    }
    if let (true, Some(queue)) = (messages, call.zaqar.queue(&call.caller.project, call.queue_name()?).await?) {
        missing_is_none(call.zaqar.broker.purge_queue(&queue).await)?;
    }
    Ok(Success::nothing())
}
