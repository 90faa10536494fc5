//! A queue's figures.

use super::collection::Collection;
use super::document::{View, href};
use super::ids::message_id;
use super::messages::{queue, view};
use super::projects::missing_is_none;
use super::request::{Answer, Call, Success};
use super::times;
use crate::domain::message::Published;

/// How many messages there are, and which are the oldest and the newest; zeros for a queue that is not there.
pub(crate) async fn stats(call: &Call<'_>) -> Answer {
    let queue = queue(call).await?;
    let figures = match &queue {
        Some(queue) => missing_is_none(call.zaqar.broker.queue_statistics(queue).await)?,
        None => None,
    };
    let (claimed, free) = figures.as_ref().map_or((0, 0), |figures| (figures.claimed, figures.free));
    let total = claimed + free;
    let mut out = match call.collection {
        // Nothing of a topic is claimed; only of a missing one the original says so.
        Collection::Topics if queue.is_some() => format!("{{\"messages\": {{\"total\": {total}"),
        _ => format!("{{\"messages\": {{\"claimed\": {claimed}, \"free\": {free}, \"total\": {total}"),
    };
    if let (Some(queue), Some(figures)) = (&queue, &figures) {
        let view = view(call, queue);
        for (name, message) in [("oldest", &figures.oldest), ("newest", &figures.newest)] {
            if let Some(message) = message {
                out.push_str(&format!(", \"{name}\": {}", shown(&view, message)));
            }
        }
    }
    out.push_str("}}");
    Ok(Success::json(out.into_bytes()))
}

fn shown(view: &View<'_>, message: &Published) -> String {
    let href = href(&view.queue.topic.name, &message_id(&view.queue.topic, message.offset));
    let (age, created) = (view.age(message), times::write(message.at));
    format!("{{\"href\": \"{href}\", \"age\": {age}, \"created\": \"{created}Z\"}}")
}
