//! Consuming: pull, acknowledge, and the deadline of both. The ack mode's difference on the wire is the form of an ack id.

use super::bodies::{self, DeadlineBody, PullBody};
use super::error::{Failure, Refusal};
use super::payload;
use super::push;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::api::client_gone;
use crate::broker::{Delivery, PullRequest, SubscriptionChange};
use crate::domain::message::Published;
use crate::domain::subscription::{AckMode, HolderId, Settings, Subscription, Targets};
use crate::domain::{Error, Fence, Offset, limits};
use std::borrow::Cow;
use std::time::Duration;

/// Gives messages out. A pull that waits ends when its client goes.
pub(crate) async fn pull(call: &Call<'_>) -> Answer {
    let subscription = call.subscription().await?;
    if subscription.push.is_some() {
        push::check_puller(call)?;
    }
    call.principal.check_subscription(call.ams, &subscription)?;
    let Ok(body) = PullBody::decode(&call.body) else { return Err(bad_body(call, &subscription).await) };
    let request = PullRequest {
        messages_max: body.messages_max,
        wait: body.wait.then_some(limits::PULL_WAIT_MAX),
        holder: HolderId(call.principal.user_id().unwrap_or_default().0),
        ..PullRequest::default()
    };
    let pull = call.ams.broker.pull(&subscription, request);
    let deliveries = if body.wait {
        tokio::select! {
            deliveries = pull => deliveries?,
            () = client_gone(call.request) => Vec::new(),
        }
    } else {
        pull.await?
    };
    let answer = AnswerSize::of(call, &subscription, &deliveries)?;
    if !call.ams.answers.fits(answer.bytes) {
        give_back(call, &subscription, &deliveries).await?;
        return Err(Failure::later("Too many answers that nobody has read yet, try again later").into());
    }
    Ok(shown(&subscription, &answer, &deliveries))
}

/// Ends the leases of messages that are not given out after all. A window needs nothing: the next pull redefines it.
async fn give_back(call: &Call<'_>, subscription: &Subscription, deliveries: &[Delivery]) -> Result<(), Refusal> {
    if subscription.settings.mode == AckMode::Individual {
        let leases = deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect();
        call.ams.broker.release(subscription, Targets::Leased(leases), Duration::ZERO, None).await?;
    }
    Ok(())
}

/// A subscription without topic is told before a bad body.
async fn bad_body(call: &Call<'_>, subscription: &Subscription) -> Refusal {
    match call.ams.broker.topic(subscription.project, &subscription.topic).await {
        Err(Error::NotFound(_)) => Error::TopicGone.into(),
        _ => Failure::arguments("Pull Parameters").into(),
    }
}

/// How large an answer will be about, and the beginning of its ack ids.
struct AnswerSize {
    prefix: String,
    bytes: usize,
}

impl AnswerSize {
    fn of(call: &Call<'_>, subscription: &Subscription, deliveries: &[Delivery]) -> Result<Self, Failure> {
        let prefix = format!("projects/{}/subscriptions/{}:", call.project()?.name, subscription.name);
        let size = |message: &Published| {
            message.message.payload.bytes.len().div_ceil(3) * 4 + message.message.attributes.stored().len() * 2
        };
        let each = deliveries.iter().map(|delivery| size(&delivery.published) + prefix.len() + 320);
        let bytes = each.sum::<usize>() + 64;
        Ok(Self { prefix, bytes })
    }
}

/// The body that gives messages out, written in one go into one buffer.
fn shown(subscription: &Subscription, answer: &AnswerSize, deliveries: &[Delivery]) -> Vec<u8> {
    let AnswerSize { prefix, bytes } = answer;
    render::object_of(Indent::Three, *bytes, |json| {
        json.field("receivedMessages").array(|json| {
            for delivery in deliveries {
                json.item().object(|json| {
                    let (offset, fence) = (delivery.published.offset, delivery.fence.0);
                    json.field("ackId");
                    match subscription.settings.mode {
                        AckMode::Cumulative => json.quoted(format_args!("{prefix}{offset}")),
                        AckMode::Individual => json.quoted(format_args!("{prefix}{offset}.{fence}")),
                    }
                    json.field("message").object(|json| write(&delivery.published, json));
                });
            }
        });
    })
}

/// A message: no field but these four, clients fail on others.
fn write(published: &Published, json: &mut Json) {
    let message = &published.message;
    json.field("messageId").quoted(published.offset);
    if !message.attributes.is_empty() {
        json.field("attributes")
            .object(|json| message.attributes.iter().for_each(|(key, value)| json.entry(key).string(value)));
    }
    payload::show(&message.payload, json.field("data"));
    json.field("publishTime").time(published.at);
}

/// Acknowledges up to the highest id, or each one, by the subscription's mode.
pub(crate) async fn acknowledge(call: &Call<'_>) -> Answer {
    let ids = bodies::list(&call.body, "ackIds").map_err(|_| Failure::argument("Invalid ack parameter"))?;
    let subscription = call.subscription().await?;
    let targets = targets(call, &subscription, &ids.unwrap_or_default())?;
    call.ams.broker.acknowledge(&subscription, targets, None).await?;
    Ok(b"{}".to_vec())
}

/// Reads ack ids of the path's subscription: all must be right and there must be one.
fn targets(call: &Call<'_>, subscription: &Subscription, ids: &[Cow<'_, str>]) -> Result<Targets, Failure> {
    let prefix = format!("projects/{}/subscriptions/{}:", call.project()?.name, subscription.name);
    let ids = ids.iter().map(|id| id.strip_prefix(prefix.as_str()));
    let targets = match subscription.settings.mode {
        AckMode::Cumulative => through(ids).map(Targets::Through),
        AckMode::Individual => leased(ids).map(Targets::Leased),
    };
    targets.ok_or(Failure::INVALID_ACK_ID)
}

/// The highest of offsets that fit 64 bits with sign; none if one is no such number, or none is at least 0.
pub(super) fn through<'a>(ids: impl Iterator<Item = Option<&'a str>>) -> Option<Offset> {
    let mut highest = None;
    for id in ids {
        let offset: i64 = id?.parse().ok()?;
        highest = highest.max(u64::try_from(offset).ok());
    }
    highest.map(Offset)
}

/// Offsets with their fences; none if one is not such a pair, or there is none, or there are too many.
pub(super) fn leased<'a>(ids: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<(Offset, Fence)>> {
    let pair = |id: Option<&str>| {
        let (offset, fence) = id?.split_once('.')?;
        Some((Offset(offset.parse().ok()?), Fence(fence.parse().ok()?)))
    };
    let pairs: Vec<_> = ids.map(pair).collect::<Option<_>>()?;
    (1..=limits::TARGETS_MAX).contains(&pairs.len()).then_some(pairs)
}

/// Sets the subscription's deadline, or with ack ids that of these leases; 0 then gives them back.
pub(crate) async fn modify_ack_deadline(call: &Call<'_>) -> Answer {
    const RULE: &str = "Invalid ackDeadlineSeconds(needs value between 0 and 600) Arguments";
    let body = DeadlineBody::decode(&call.body).map_err(|_| Failure::argument(RULE))?;
    let seconds = u64::try_from(body.seconds).ok().filter(|seconds| *seconds <= 600);
    let deadline = Duration::from_secs(seconds.ok_or(Failure::argument(RULE))?);
    let subscription = call.subscription().await?;
    let broker = &call.ams.broker;
    match body.ack_ids.filter(|_| subscription.settings.mode == AckMode::Individual) {
        Some(ids) => {
            let targets = targets(call, &subscription, &ids)?;
            if deadline.is_zero() {
                broker.release(&subscription, targets, Duration::ZERO, None).await?;
            } else {
                broker.extend(&subscription, targets, deadline, None).await?;
            }
        }
        None => {
            let settings = Settings { ack_deadline: deadline, ..subscription.settings.clone() };
            let change = SubscriptionChange { settings: Some(settings), acl: None };
            broker.update_subscription(subscription.project, &subscription.name, change).await?;
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cumulative_ack_takes_the_highest_offset() {
        let through = |ids: &[&str]| super::through(ids.iter().map(|id| Some(*id)));
        assert_eq!(through(&["3", "7", "5"]), Some(Offset(7)));
        assert_eq!(through(&["-1", "0"]), Some(Offset(0)));
        assert_eq!(through(&["+2"]), Some(Offset(2)));
        for wrong in [&[][..], &["-1"], &["1", "x"], &["1", ""], &["1.0"], &["9223372036854775808"], &["1:2"]] {
            assert_eq!(through(wrong), None, "{wrong:?}");
        }
        assert_eq!(super::through([Some("1"), None].into_iter()), None);
    }

    #[test]
    fn an_individual_ack_names_each_lease() {
        let leased = |ids: &[&str]| super::leased(ids.iter().map(|id| Some(*id)));
        assert_eq!(leased(&["3.1", "7.2"]), Some(vec![(Offset(3), Fence(1)), (Offset(7), Fence(2))]));
        for wrong in [&[][..], &["3"], &["3.1", "4"], &["-1.1"], &["1.-1"], &["1.2.3"], &[".1"], &["1."]] {
            assert_eq!(leased(wrong), None, "{wrong:?}");
        }
    }
}
