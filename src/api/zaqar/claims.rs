//! Claims: make, show, renew, release.

use super::error::{Failure, Refusal};
use super::ids::{claim, claim_id, fresh_claim};
use super::json::{self, Object};
use super::messages::{Found, queue, view};
use super::metadata::TTL_MIN;
use super::projects::missing_is_none;
use super::query::limit;
use super::request::{Answer, Call, Success};
use super::times::seconds;
use crate::broker::queue::{ClaimRequest, Queue};
use crate::domain::subscription::GroupId;
use crate::domain::{Error, Timestamp};
use std::time::Duration;

/// How long a claim is wanted, in seconds, not yet checked.
struct Wish {
    ttl: i64,
    grace: i64,
}

impl Wish {
    /// Reads a body; what is null or missing is the default (quirk 33).
    fn read(call: &Call<'_>, body: &Object<'_>) -> Result<Self, Failure> {
        let limits = &call.options.limits;
        let member = |key, default: u64| {
            let given = if body.given(key).is_some() { json::integer_member(body, key)? } else { None };
            Ok::<_, Failure>(given.unwrap_or(i64::try_from(default).unwrap_or(i64::MAX)))
        };
        Ok(Self { ttl: member("ttl", limits.default_claim_ttl)?, grace: member("grace", limits.default_claim_grace)? })
    }

    fn ttl(&self, call: &Call<'_>) -> Result<Duration, Failure> {
        within("TTL", self.ttl, call.options.limits.max_claim_ttl)
    }
}

fn within(what: &str, given: i64, most: u64) -> Result<Duration, Failure> {
    let fits = u64::try_from(given).ok().filter(|given| (TTL_MIN..=most).contains(given));
    fits.map(Duration::from_secs).ok_or_else(|| {
        Failure::request(format!(
            "The {what} for a claim may not exceed {most} seconds, and must be at least {TTL_MIN} seconds long."
        ))
    })
}

/// Claims the oldest free messages; none where there are none.
pub(crate) async fn make(call: &Call<'_>) -> Result<Option<(GroupId, Found)>, Refusal> {
    let limits = &call.options.limits;
    let asked = call.query.integer("limit")?;
    let body = call.body.optional()?.map(json::object).transpose()?.unwrap_or_default();
    let wish = Wish::read(call, &body)?;
    let ttl = wish.ttl(call)?;
    let most = limits.max_messages_per_claim_or_pop;
    let size = limit(asked, most, |most| format!("Limit must be at least 1 and may not be greater than {most}."))?;
    let grace = within("grace", wish.grace, limits.max_claim_grace)?;
    let Some(queue) = queue(call).await? else { return Ok(None) };
    make_dead_letter_queue(call, &queue).await?;
    let id = fresh_claim();
    let request = ClaimRequest { id, messages_max: u32::try_from(size).unwrap_or(u32::MAX), ttl, grace };
    let messages = missing_is_none(call.zaqar.broker.claim(&queue, request).await)?.unwrap_or_default();
    Ok(Some((id, Found { queue, messages })).filter(|(_, found)| !found.messages.is_empty()))
}

/// Claims the oldest free messages.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let Some((id, Found { queue, messages })) = make(call).await? else { return Ok(Success::nothing()) };
    let mut out = b"{\"messages\": ".to_vec();
    view(call, &queue).write_all(&messages, &mut out);
    out.push(b'}');
    Ok(Success::created(href(&queue, &claim_id(id)), out))
}

/// Makes the queue that messages claimed too often go to, if it is missing.
async fn make_dead_letter_queue(call: &Call<'_>, queue: &Queue) -> Result<(), Error> {
    let Some(target) = &queue.work.settings.dead_letter_topic else { return Ok(()) };
    if missing_is_none(call.zaqar.broker.topic(queue.topic.project, target).await)?.is_none() {
        call.zaqar.queue_made(&call.caller.project, target).await?;
    }
    Ok(())
}

fn href(queue: &Queue, id: &str) -> String {
    format!("/v2/queues/{}/claims/{id}", queue.topic.name)
}

fn missing(call: &Call<'_>) -> Failure {
    let (id, project) = (call.id, &call.caller.project);
    let queue = call.queue.as_ref().map_or("", |queue| queue.as_str());
    Failure::not_found(format!("Claim {id} does not exist in queue {queue} for project {project}"))
}

/// A claim that lasts: its age and ttl in seconds, and what is left of its messages.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) age: u64,
    pub(crate) ttl: u64,
    pub(crate) found: Found,
}

/// A call's claim.
pub(crate) async fn look(call: &Call<'_>) -> Result<Shown, Refusal> {
    let (Some(queue), Some(id)) = (queue(call).await?, claim(call.id)) else { return Err(missing(call).into()) };
    let claim = missing_is_none(call.zaqar.broker.claimed(&queue, id).await)?.flatten();
    let claim = claim.ok_or_else(|| missing(call))?;
    let now = Timestamp(call.zaqar.broker.clock().wall());
    let (age, ttl) = (now.since(claim.since).as_secs(), seconds(claim.until.since(claim.since)));
    Ok(Shown { age, ttl, found: Found { queue, messages: claim.messages } })
}

/// The path's claim, with what is left of its messages.
pub(crate) async fn get(call: &Call<'_>) -> Answer {
    let Shown { age, ttl, found: Found { queue, messages } } = look(call).await?;
    let mut out = format!("{{\"age\": {age}, \"ttl\": {ttl}, \"messages\": ").into_bytes();
    view(call, &queue).write_all(&messages, &mut out);
    out.extend_from_slice(format!(", \"href\": \"{}\"}}", href(&queue, call.id)).as_bytes());
    Ok(Success::json(out))
}

/// Makes the path's claim last, from now on.
pub(crate) async fn renew(call: &Call<'_>) -> Answer {
    let body = json::object(call.body.required()?)?;
    let wish = Wish::read(call, &body)?;
    let ttl = wish.ttl(call)?;
    // Its range is not checked here; that it is none too long is.
    let grace = u64::try_from(wish.grace).unwrap_or(0).min(call.options.limits.max_claim_grace);
    let (Some(queue), Some(id)) = (queue(call).await?, claim(call.id)) else { return Err(missing(call).into()) };
    let renewed = call.zaqar.broker.renew_claim(&queue, id, ttl, Duration::from_secs(grace)).await;
    if missing_is_none(renewed)? == Some(true) { Ok(Success::nothing()) } else { Err(missing(call).into()) }
}

/// Ends the path's claim; what is left of its messages is free at once.
pub(crate) async fn release(call: &Call<'_>) -> Answer {
    if let (Some(queue), Some(id)) = (queue(call).await?, claim(call.id)) {
        missing_is_none(call.zaqar.broker.release_claim(&queue, id).await)?;
    }
    Ok(Success::nothing())
}
