//! A queue's figures.

use super::collection::Collection;
use super::document::{View, href};
use super::error::Refusal;
use super::ids::message_id;
use super::messages::{queue, view};
use super::projects::missing_is_none;
use super::request::{Answer, Call, Success};
use super::times;
use crate::broker::queue::{Queue, QueueStatistics};
use crate::domain::message::Published;

/// How many messages there are, and which are the oldest and the newest; zeros for a queue that is not there.
pub(crate) async fn stats(call: &Call<'_>) -> Answer {
    let figures = figures(call).await?;
    let shown = shown(call, figures.as_ref(), |view, message| {
        let href = href(&view.queue.topic.name, &message_id(&view.queue.topic, message.offset));
        format!("\"href\": \"{href}\"")
    });
    Ok(Success::json(shown.into_bytes()))
}

/// A queue with its figures; none where it is not there.
pub(crate) type Figures = Option<(Queue, QueueStatistics)>;

/// The figures of a call's queue.
pub(crate) async fn figures(call: &Call<'_>) -> Result<Figures, Refusal> {
    let Some(queue) = queue(call).await? else { return Ok(None) };
    let figures = missing_is_none(call.zaqar.broker.queue_statistics(&queue).await)?;
    Ok(figures.map(|figures| (queue, figures)))
}

/// Figures as JSON, where `name` writes the member that tells which message it is.
pub(crate) fn shown(
    call: &Call<'_>,
    figures: Option<&(Queue, QueueStatistics)>,
    name: impl Fn(&View<'_>, &Published) -> String,
) -> String {
    let (claimed, free) = figures.map_or((0, 0), |(_, figures)| (figures.claimed, figures.free));
    let total = claimed + free;
    let mut out = match call.collection {
        // Nothing of a topic is claimed; only of a missing one the original says so.
        Collection::Topics if figures.is_some() => format!("{{\"messages\": {{\"total\": {total}"),
        _ => format!("{{\"messages\": {{\"claimed\": {claimed}, \"free\": {free}, \"total\": {total}"),
    };
    if let Some((queue, figures)) = figures {
        let view = view(call, queue);
        for (which, message) in [("oldest", &figures.oldest), ("newest", &figures.newest)] {
            if let Some(message) = message {
                let (age, created) = (view.age(message), times::write(message.at));
                let name = name(&view, message);
                out.push_str(&format!(", \"{which}\": {{{name}, \"age\": {age}, \"created\": \"{created}Z\"}}"));
            }
        }
    }
    out.push_str("}}");
    out
}
