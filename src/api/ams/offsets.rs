//! Where a subscription stands, and moving it: offsets, modifyOffset, timeToOffset.

use super::bodies;
use super::error::Failure;
use super::render::{self, Indent};
use super::request::{Answer, Call};
use super::times;
use crate::domain::{Error, Offset};

/// The topic's bounds and the cursor; zeros for the bounds of a topic that is gone.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    let subscription = call.subscription().await?;
    let progress = call.ams.broker.progress(&subscription).await?;
    Ok(render::object(Indent::Three, |json| {
        json.field("max").number(progress.next);
        json.field("min").number(progress.first);
        json.field("current").number(progress.floor);
    }))
}

/// Moves the cursor within the bounds; outside them nothing changes (quirk 19).
pub(crate) async fn modify(call: &Call<'_>) -> Answer {
    let offset = bodies::integer(&call.body, "offset").map_err(|_| Failure::arguments("Offset"))?;
    let subscription = call.subscription().await?;
    let offset = u64::try_from(offset).map_err(|_| Failure::OUT_OF_BOUNDS)?;
    call.ams.broker.seek(&subscription, Offset(offset)).await?;
    Ok(Vec::new())
}

/// The offset of the first message at or after a time.
pub(crate) async fn at_time(call: &Call<'_>) -> Answer {
    let subscription = call.subscription().await?;
    let time = call.query.get("time").and_then(|time| times::read(&time));
    let time = time.ok_or_else(|| Failure::argument("Time is not in valid Zulu format."))?;
    let topic = match call.ams.broker.topic(subscription.project, &subscription.topic).await {
        Err(Error::NotFound(_)) => Err(Error::TopicGone),
        found => found,
    };
    let offset = call.ams.broker.offset_at_time(&*topic?, time).await?;
    Ok(render::object(Indent::Compact, |json| json.field("offset").number(offset)))
}
