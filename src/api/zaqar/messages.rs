//! Looking at messages, and deleting them with a claim, without, in bulk and by pop. Posting is in `post`.

use super::collection::path;
use super::document::View;
use super::error::{Failure, Refusal};
use super::ids;
use super::json;
use super::metadata::Posting;
use super::projects::missing_is_none;
use super::query::{limit, link};
use super::queues::{links, missing_queue};
use super::request::{Answer, Call, Success};
use crate::broker::queue::{BrowseRequest, Deletion, Queue, QueueMessage, label};
use crate::domain::subscription::GroupId;
use crate::domain::{Name, Offset, Timestamp};

/// The path's queue, if it is there.
pub(crate) async fn queue(call: &Call<'_>) -> Result<Option<Queue>, Refusal> {
    Ok(call.zaqar.queue(&call.caller.project, call.queue_name()?).await?)
}

/// How a queue's messages are shown now.
pub(crate) fn view<'a>(call: &'a Call<'_>, queue: &'a Queue) -> View<'a> {
    View { queue, now: Timestamp(call.zaqar.broker.clock().wall()), limits: &call.options.limits }
}

/// Some messages of a queue that is there.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) queue: Queue,
    /// Oldest first.
    pub(crate) messages: Vec<QueueMessage>,
}

/// The page of messages that a call asks for; none where there is no queue, or no message.
pub(crate) async fn page(call: &Call<'_>) -> Result<Option<Found>, Refusal> {
    let asked = call.query.integer("limit")?;
    let (echo, claimed) = (call.query.boolean("echo")?, call.query.boolean("include_claimed")?);
    let delayed = call.query.boolean("include_delayed")?;
    let size = limit(asked, call.options.limits.max_messages_per_page, page_text)?;
    let Some(queue) = queue(call).await? else { return Ok(None) };
    let from = match call.query.text("marker").map(|marker| ids::offset(&queue.topic, marker)) {
        None => Offset(0),
        Some(Some(offset)) => offset.plus(1),
        // A marker of nothing leads nowhere: the beginning would make a client loop (quirk 6).
        Some(None) => return Ok(None),
    };
    let request = BrowseRequest {
        from,
        messages_max: size,
        except_producer: (echo != Some(true)).then_some(call.caller.client),
        claimed: claimed == Some(true),
        delayed: delayed == Some(true) || delays_nothing(call, &queue),
    };
    let messages = missing_is_none(call.zaqar.broker.browse_queue(&queue, request).await)?.unwrap_or_default();
    Ok(Some(Found { queue, messages }).filter(|found| !found.messages.is_empty()))
}

/// Whether a queue is one without delays, whose messages are shown as soon as they are there.
fn delays_nothing(call: &Call<'_>, queue: &Queue) -> bool {
    Posting::of(Some(&queue.topic), &call.options.limits).delay.is_none()
}

/// A page of messages, or those that `ids` names.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    if call.query.list("ids").is_some() {
        return by_ids(call).await;
    }
    let empty = || Success::json(b"{\"messages\": [], \"links\": []}".to_vec());
    let Some(Found { queue, messages }) = page(call).await? else { return Ok(empty()) };
    let Some(last) = messages.last() else { return Ok(empty()) };
    let query = &call.query;
    let delayed = if delays_nothing(call, &queue) { Some(true) } else { query.boolean("include_delayed")? };
    let mut parameters = Vec::new();
    parameters.extend(query.integer("limit")?.map(|asked| ("limit", asked.to_string())));
    parameters.extend(query.boolean("echo")?.map(|echo| ("echo", echo.to_string())));
    parameters.extend(query.boolean("include_claimed")?.map(|claimed| ("include_claimed", claimed.to_string())));
    parameters.extend(delayed.map(|delayed| ("include_delayed", delayed.to_string())));
    parameters.push(("marker", ids::message_id(&queue.topic, last.published.offset)));
    let next = link(&format!("{}/messages", path(&queue.topic.name)), &parameters);
    let mut out = b"{\"messages\": ".to_vec();
    view(call, &queue).write_all(&messages, &mut out);
    out.extend_from_slice(b", \"links\": ");
    links(Some(&next), &mut out);
    out.push(b'}');
    Ok(Success::json(out))
}

fn page_text(most: u64) -> String {
    format!("Limit must be at least 1 and may not be greater than {most}.")
}

/// The offsets that ids name; those that name nothing are left out.
fn offsets(queue: &Queue, ids: &[&str]) -> Vec<Offset> {
    ids.iter().filter_map(|id| ids::offset(&queue.topic, id)).collect()
}

async fn find(call: &Call<'_>, queue: &Queue, offsets: &[Offset]) -> Result<Vec<QueueMessage>, Refusal> {
    Ok(missing_is_none(call.zaqar.broker.messages_at(queue, offsets).await)?.unwrap_or_default())
}

/// The messages that `ids` names, as far as they are there; none where none is.
pub(crate) async fn named(call: &Call<'_>) -> Result<Option<Found>, Refusal> {
    let ids = call.query.list("ids").unwrap_or_default();
    let most = call.options.limits.max_messages_per_page;
    if ids.len() as u64 > most {
        return Err(Failure::request(page_text(most)).into());
    }
    let Some(queue) = queue(call).await? else { return Ok(None) };
    let messages = find(call, &queue, &offsets(&queue, &ids)).await?;
    Ok(Some(Found { queue, messages }).filter(|found| !found.messages.is_empty()))
}

async fn by_ids(call: &Call<'_>) -> Answer {
    if let Some(Found { queue, messages }) = named(call).await? {
        let mut out = b"{\"messages\": ".to_vec();
        view(call, &queue).write_all(&messages, &mut out);
        out.push(b'}');
        return Ok(Success::json(out));
    }
    let ids = call.query.list("ids").unwrap_or_default();
    let listed: Vec<_> = ids.iter().map(|id| format!("'{}'", id.replace('\\', "\\\\").replace('\'', "\\'"))).collect();
    let (listed, queue, project) = (listed.join(", "), label(call.queue_name()?), &call.caller.project);
    Err(Failure::not_found(format!(
        "No messages with IDs: [{listed}] found in the queue {queue} for project {project}."
    ))
    .into())
}

/// A call's message, and its queue.
pub(crate) async fn one(call: &Call<'_>) -> Result<(Queue, QueueMessage), Refusal> {
    let (name, project) = (call.queue_name()?, &call.caller.project);
    let Some(queue) = queue(call).await? else {
        return Err(missing_queue(name, project).into());
    };
    let found = find(call, &queue, &offsets(&queue, &[call.id])).await?;
    let message = found.into_iter().next().ok_or_else(|| missing(call, name))?;
    Ok((queue, message))
}

/// The path's message.
pub(crate) async fn get(call: &Call<'_>) -> Answer {
    let (queue, message) = one(call).await?;
    let mut out = Vec::new();
    view(call, &queue).write(&message, &mut out);
    Ok(Success::json(out))
}

fn missing(call: &Call<'_>, queue: &Name) -> Failure {
    let (id, project) = (call.id, &call.caller.project);
    Failure::not_found(format!("Message {id} does not exist in queue {} for project {project}", label(queue)))
}

/// Deletes the path's message: a free one, or one that the named claim holds.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    let Some(queue) = queue(call).await? else { return Ok(Success::nothing()) };
    let Some(offset) = ids::offset(&queue.topic, call.id) else { return Ok(Success::nothing()) };
    let named = call.query.text("claim_id");
    let claim = named.map(ids::claim);
    // Group zero holds nothing: an id that is none is the id of no claim.
    let held_by = claim.map(|claim| claim.unwrap_or(GroupId::default()));
    let deletion = missing_is_none(call.zaqar.broker.delete_message(&queue, offset, held_by).await)?;
    match deletion.unwrap_or(Deletion::Done) {
        Deletion::Done => Ok(Success::nothing()),
        Deletion::Claimed => Err(Failure::CLAIMED.into()),
        Deletion::NotClaimed => Err(Failure::NOT_CLAIMED.into()),
        Deletion::NoSuchClaim => {
            // Of a message that nobody holds, a claim that may well have been is told apart from what is no id at all.
            let held = find(call, &queue, &[offset]).await?.iter().any(|message| message.claim.is_some());
            let well_formed = claim.flatten().is_some();
            Err(if well_formed && !held { Failure::NOT_CLAIMED } else { Failure::NO_SUCH_CLAIM }.into())
        }
    }
}

/// What became of messages that were to be deleted together.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// They are gone.
    Named,
    /// The oldest free ones were popped; none where there is no queue.
    Popped(Option<Found>),
}

/// Deletes the messages that `ids` names, claimed or not (quirk 30), or pops the oldest free ones.
pub(crate) async fn delete_some(call: &Call<'_>) -> Result<Deleted, Refusal> {
    let (ids, pop) = (call.query.list("ids"), call.query.integer("pop")?);
    let limits = &call.options.limits;
    if let Some(pop) = pop
        && !(1..=limits.max_messages_per_claim_or_pop).contains(&u64::try_from(pop).unwrap_or(0))
    {
        let most = limits.max_messages_per_claim_or_pop;
        let text = format!("Pop value must be at least 1 and may not be greater than {most}.");
        return Err(Failure::request(text).into());
    }
    let most = limits.max_messages_per_page;
    match (ids, pop) {
        (None, None) => Err(Failure::request(
            "The request should have either \"ids\" or \"pop\" parameter in the request, to be able to delete.",
        )
        .into()),
        (Some(_), Some(_)) => {
            Err(Failure::request("pop and id params cannot be present together in the delete request.").into())
        }
        (Some(ids), None) if ids.len() as u64 > most => {
            let text = format!("ids parameter should have at least 1 and not greater than {most} values.");
            Err(Failure::request(text).into())
        }
        (Some(ids), None) => {
            if let Some(queue) = queue(call).await? {
                let offsets = offsets(&queue, &ids);
                missing_is_none(call.zaqar.broker.delete_messages(&queue, &offsets).await)?;
            }
            Ok(Deleted::Named)
        }
        (None, Some(count)) => {
            let Some(queue) = queue(call).await? else { return Ok(Deleted::Popped(None)) };
            let popped = call.zaqar.broker.pop(&queue, u32::try_from(count).unwrap_or(u32::MAX)).await;
            let messages = missing_is_none(popped)?.unwrap_or_default();
            Ok(Deleted::Popped(Some(Found { queue, messages })))
        }
    }
}

/// Deletes the messages that the query names, or the oldest free ones, which are then answered.
pub(crate) async fn delete_many(call: &Call<'_>) -> Answer {
    Ok(match delete_some(call).await? {
        Deleted::Named => Success::nothing(),
        Deleted::Popped(found) => Success::json(popped(call, found.as_ref())),
    })
}

/// Popped messages as both transports show them.
pub(crate) fn popped(call: &Call<'_>, found: Option<&Found>) -> Vec<u8> {
    let mut out = b"{\"messages\": ".to_vec();
    match found {
        None => out.extend_from_slice(b"[]"),
        Some(Found { queue, messages }) => {
            let view = view(call, queue);
            json::array(messages, &mut out, |message, out| view.write_popped(message, out));
        }
    }
    out.push(b'}');
    out
}
