//! Push configurations: how they are given, shown, changed and verified. What pushes is behind [`Pusher`].

use super::Ams;
use super::bodies::{PolicyBody, PushBody, SubscriptionBody};
use super::error::{Failure, Refusal};
use super::render::Json;
use super::request::{Answer, Call};
use super::times;
use crate::auth::Token;
use crate::domain::push::{self, Mattermost, Shared, Target, Webhook};
use crate::domain::retry::RetryPolicy;
use crate::domain::subscription::Subscription;
use crate::domain::{Error, Timestamp, UserId};
use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The period of a linear policy that names none, in milliseconds.
const PERIOD_DEFAULT: u64 = 3_000;
/// Most bytes of each free text.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// Most bytes of what an endpoint said, as `pushStatus` shows it.
const SHOWN_BYTES_MAX: usize = 1 << 10;
/// What the original says when its push server does not answer.
const UNAVAILABLE: &str = "Push server is currently unavailable";

/// What pushes messages: handed in by the composition root.
pub trait Pusher: Debug + Send + Sync {
    /// Whether something can be pushed to this text as an endpoint: an https URL with a host.
    fn accepts(&self, endpoint: &str) -> bool;
    /// Asks an endpoint for its hash.
    fn verify(&self, webhook: Webhook) -> Pin<Box<dyn Future<Output = Result<(), Unverified>> + Send + '_>>;
    /// How a subscription's deliveries go; none when it is not pushed.
    fn condition(&self, subscription: &Subscription) -> Option<Condition>;
}

/// Why an endpoint is not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unverified {
    /// It answered something else than 200.
    Status,
    /// It answered another hash.
    Hash,
    /// It did not answer, for this reason.
    Unanswered(String),
}

/// How a subscription's deliveries go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Condition {
    /// What went wrong last: when, in doing what, and why. None once it went well again.
    pub failing: Option<(Timestamp, &'static str, String)>,
    /// Nothing is sent for a while, because the endpoint failed too often.
    pub resting: bool,
}

/// The dialect's side of push.
#[derive(Clone, Debug)]
pub struct Push {
    /// What pushes.
    pub pusher: Arc<dyn Pusher>,
    /// The user in whose name: he is in the access lists of what is pushed.
    pub worker: UserId,
    /// How `GET /v1/status` names the push server.
    pub endpoint: String,
}

impl Push {
    /// Whether the worker's user exists.
    pub(crate) async fn has_worker(&self, ams: &Ams) -> Result<bool, Error> {
        match ams.auth.user_by_id(self.worker).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Push, if it is on and has its worker.
async fn ready<'a>(call: &Call<'a>) -> Result<&'a Push, Refusal> {
    let push = call.ams.push.as_ref().ok_or(Failure::PUSH_DISABLED)?;
    if push.has_worker(call.ams).await? { Ok(push) } else { Err(Failure::PUSH_UNAVAILABLE.into()) }
}

/// Who may pull what is pushed: the worker, and who may everything.
pub(crate) fn check_puller(call: &Call<'_>) -> Result<(), Failure> {
    let worker = call.principal.has("push_worker");
    if worker && call.ams.push.is_none() {
        return Err(Failure::PUSH_DISABLED);
    }
    if worker || call.principal.has("service_admin") { Ok(()) } else { Err(Failure::FORBIDDEN) }
}

/// A configuration as it was asked for, valid by itself.
struct Wanted {
    target: WantedTarget,
    retry: RetryPolicy,
    /// None to keep what is.
    decode: Option<bool>,
}

enum WantedTarget {
    Webhook {
        endpoint: String,
        /// 0 to keep what is.
        messages_max: i64,
        /// None to keep what is.
        generated: Option<bool>,
        /// For a generated authorization header, and to verify with.
        secrets: [Shared; 2],
    },
    Mattermost(Mattermost),
}

impl Wanted {
    /// Checks a body, in the contract's order.
    fn of(push: &Push, body: &PushBody<'_>) -> Result<Self, Refusal> {
        let endpoint = body.endpoint.as_deref().unwrap_or_default();
        // Clients that were written before there was a type send none (quirk 29).
        let kind = body.kind.as_deref().unwrap_or(if endpoint.is_empty() { "" } else { "http_endpoint" });
        let target = match kind {
            "http_endpoint" => {
                if !push.pusher.accepts(endpoint) {
                    return Err(Failure::argument("Push endpoint should be addressed by a valid https url").into());
                }
                let generated = match body.authorization.kind.as_deref().unwrap_or_default() {
                    "" => None,
                    "autogen" => Some(true),
                    "disabled" => Some(false),
                    _ => {
                        let rule = "Authorization header type can only be of 'autogen' or 'disabled' type";
                        return Err(Failure::argument(rule).into());
                    }
                };
                let secrets = [secret()?, secret()?];
                WantedTarget::Webhook {
                    endpoint: endpoint.to_owned(),
                    messages_max: body.messages_max,
                    generated,
                    secrets,
                }
            }
            "mattermost" => WantedTarget::Mattermost(mattermost(body)?),
            _ => {
                let rule = "Push configuration type can only be of 'http_endpoint' or 'mattermost'";
                return Err(Failure::argument(rule).into());
            }
        };
        Ok(Self { target, retry: retry(&body.retry)?, decode: body.base64_decode })
    }

    /// The configuration that comes of it where there was another one, or none.
    fn over(&self, old: Option<&push::Push>) -> push::Push {
        let former = old.and_then(|old| if let Target::Webhook(webhook) = &old.target { Some(webhook) } else { None });
        let (target, verified) = match &self.target {
            WantedTarget::Mattermost(chat) => (Target::Mattermost(chat.clone()), true),
            WantedTarget::Webhook { endpoint, messages_max, generated, secrets: [value, hash] } => {
                let same = former.filter(|former| former.endpoint == *endpoint);
                let authorization = match generated {
                    Some(true) => Some(value.clone()),
                    Some(false) => None,
                    None if old.is_none() => Some(value.clone()),
                    None => former.and_then(|former| former.authorization.clone()),
                };
                let webhook = Webhook {
                    endpoint: endpoint.clone(),
                    messages_max: match (*messages_max, former) {
                        (0, Some(former)) => former.messages_max,
                        (0, None) => 1,
                        (count, _) => count,
                    },
                    authorization,
                    hash: same.map_or_else(|| hash.clone(), |same| same.hash.clone()),
                };
                (Target::Webhook(webhook), same.is_some() && old.is_some_and(|old| old.verified))
            }
        };
        let decode = self.decode.unwrap_or_else(|| old.is_some_and(|old| old.decode));
        push::Push { target, retry: self.retry, decode, verified }
    }
}

/// 64 hexadecimal digits that nobody knows.
fn secret() -> Result<Shared, Error> {
    Ok(Shared(Token::fresh()?.reveal().to_owned()))
}

fn mattermost(body: &PushBody<'_>) -> Result<Mattermost, Failure> {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let (url, username) = (text(&body.mattermost_url), text(&body.mattermost_username));
    let chat = Mattermost { url, username, channel: text(&body.mattermost_channel) };
    if chat.url.is_empty() {
        return Err(Failure::argument("Field mattermostUrl cannot be empty"));
    }
    if [&chat.url, &chat.username, &chat.channel].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Failure::arguments("Subscription"));
    }
    Ok(chat)
}

fn retry(body: &PolicyBody<'_>) -> Result<RetryPolicy, Failure> {
    match body.kind.as_deref().unwrap_or_default() {
        "" | "linear" => {
            let millis = u64::try_from(body.period).ok().filter(|millis| *millis > 0).unwrap_or(PERIOD_DEFAULT);
            Ok(RetryPolicy::Linear { period: Duration::from_millis(millis.min(u64::from(u32::MAX))) })
        }
        "slowstart" => Ok(RetryPolicy::SlowStart),
        _ => Err(Failure::argument("Retry policy can only be of 'linear' or 'slowstart' type")),
    }
}

/// The configuration of a subscription that is being made.
pub(crate) async fn new(call: &Call<'_>, body: &PushBody<'_>) -> Result<push::Push, Refusal> {
    let push = ready(call).await?;
    Ok(Wanted::of(push, body)?.over(None))
}

/// The worker, if he is to be in the access list.
pub(crate) fn worker_of(call: &Call<'_>, push: &push::Push) -> Option<UserId> {
    call.ams.push.as_ref().filter(|_| push.verified).map(|push| push.worker)
}

/// Has the worker be a member of the path's project, with no role there: his service role opens what he needs.
pub(crate) async fn join(call: &Call<'_>) -> Result<(), Refusal> {
    let Some(push) = &call.ams.push else { return Ok(()) };
    let project = call.project_id()?;
    let worker = call.ams.auth.user_by_id(push.worker).await?;
    if worker.membership(project).is_none() {
        call.ams.auth.set_membership(push.worker, project, Some(Vec::new())).await?;
    }
    Ok(())
}

/// Changes where the path's subscription is pushed to; without a configuration it is pulled from then on.
pub(crate) async fn modify(call: &Call<'_>) -> Answer {
    let body = SubscriptionBody::decode(&call.body).map_err(|_| Failure::arguments("Subscription"))?;
    call.subscription().await?;
    let wanted = match &body.push {
        Some(body) => Some(Wanted::of(ready(call).await?, body)?),
        None => None,
    };
    set(call, |old| Ok(wanted.as_ref().map(|wanted| wanted.over(old)))).await
}

/// Asks the endpoint of the path's subscription whether it wants its messages, and pushes them from then on.
pub(crate) async fn verify(call: &Call<'_>) -> Answer {
    let push = ready(call).await?;
    let subscription = call.subscription().await?;
    let (webhook, verified) = match &subscription.push {
        Some(push::Push { target: Target::Webhook(webhook), verified, .. }) => (webhook, *verified),
        _ => return Err(Failure::conflict("Subscription is not in http push mode").into()),
    };
    if verified {
        return Err(Failure::conflict("Push endpoint is already verified").into());
    }
    push.pusher.verify(webhook.clone()).await.map_err(|why| match why {
        Unverified::Status => Failure::unverified("Wrong response status code"),
        Unverified::Hash => Failure::unverified("Wrong verification hash"),
        Unverified::Unanswered(why) => Failure::unverified(cut(&why)),
    })?;
    set(call, |old| match old {
        Some(old) if matches!(&old.target, Target::Webhook(present) if present.hash == webhook.hash) => {
            Ok(Some(push::Push { verified: true, ..old.clone() }))
        }
        _ => Err(Error::Changed),
    })
    .await
}

/// Sets the configuration, and the worker's place in the access list with it.
async fn set(
    call: &Call<'_>,
    change: impl Fn(Option<&push::Push>) -> Result<Option<push::Push>, Error> + Send + Sync,
) -> Answer {
    let worker = call.ams.push.as_ref().map(|push| push.worker);
    let change = |old: Option<&push::Push>, acl: &mut Vec<UserId>| {
        let new = change(old)?;
        if let Some(worker) = worker {
            if old.is_some_and(|old| old.verified) {
                acl.retain(|user| *user != worker);
            }
            if new.as_ref().is_some_and(|new| new.verified) && !acl.contains(&worker) {
                acl.push(worker);
            }
        }
        Ok(new)
    };
    let changed = call.ams.broker.update_push(call.project_id()?, &call.name("subscription")?, change).await?;
    if changed.push.as_ref().is_some_and(|push| push.verified) {
        join(call).await?;
    }
    Ok(Vec::new())
}

/// The `pushConfig` of a subscription.
pub(crate) fn write(push: Option<&push::Push>, json: &mut Json) {
    let webhook = push.and_then(|push| if let Target::Webhook(webhook) = &push.target { Some(webhook) } else { None });
    let chat = push.and_then(|push| if let Target::Mattermost(chat) = &push.target { Some(chat) } else { None });
    let kind = push.map_or("", |push| match push.target {
        Target::Webhook(_) => "http_endpoint",
        Target::Mattermost(_) => "mattermost",
        // Of another dialect, whose names are none here.
        Target::Notify(_) => "",
    });
    json.field("type").string(kind);
    json.field("pushEndpoint").string(webhook.map_or("", |webhook| &webhook.endpoint));
    json.field("maxMessages").number(webhook.map_or(i64::from(chat.is_some()), |webhook| webhook.messages_max));
    json.field("authorizationHeader").object(|json| match webhook.map(|webhook| &webhook.authorization) {
        Some(Some(value)) => {
            json.field("type").string("autogen");
            json.field("value").string(&value.0);
        }
        Some(None) => json.field("type").string("disabled"),
        None => {}
    });
    json.field("retryPolicy").object(|json| match push.map(|push| push.retry) {
        Some(RetryPolicy::Linear { period }) => {
            json.field("type").string("linear");
            json.field("period").number(period.as_millis());
        }
        Some(RetryPolicy::SlowStart) => json.field("type").string("slowstart"),
        Some(RetryPolicy::EachMessage) | None => {}
    });
    json.field("verificationHash").string(webhook.map_or("", |webhook| &webhook.hash.0));
    json.field("verified").boolean(push.is_some_and(|push| push.verified));
    json.field("mattermostUrl").string(chat.map_or("", |chat| &chat.url));
    json.field("mattermostUsername").string(chat.map_or("", |chat| &chat.username));
    json.field("mattermostChannel").string(chat.map_or("", |chat| &chat.channel));
    json.field("base64Decode").boolean(push.is_some_and(|push| push.decode));
}

/// The `pushStatus` of a subscription; none while it is not pushed.
pub(crate) fn status(call: &Call<'_>, subscription: &Subscription) -> Result<Option<String>, Failure> {
    Ok(spoken(call, subscription)?.map(|spoken| {
        let condition = match spoken {
            Spoken::Unavailable(text) => return text,
            Spoken::Of(name, condition) => (name, condition),
        };
        let (name, Condition { failing, resting }) = condition;
        let mut text = match failing {
            None => format!("Subscription {name} is currently active"),
            Some((at, doing, why)) => format!("{} - Could not {doing} message, {}", second(at), cut(&why)),
        };
        if resting {
            text.push_str(" (circuit open: no delivery for a while)");
        }
        text
    }))
}

/// What is said when a subscription that was pushed has been deleted; none for others.
pub(crate) fn deactivated(call: &Call<'_>, subscription: &Subscription) -> Result<Option<String>, Failure> {
    Ok(spoken(call, subscription)?.map(|spoken| match spoken {
        Spoken::Unavailable(text) => text,
        Spoken::Of(name, _) => format!("Subscription {name} deactivated"),
    }))
}

/// What the original's push server would say of a subscription.
enum Spoken {
    /// That it does not push it, and why.
    Unavailable(String),
    /// The subscription's full name, and how its deliveries go.
    Of(String, Condition),
}

fn spoken(call: &Call<'_>, subscription: &Subscription) -> Result<Option<Spoken>, Failure> {
    if !subscription.push.as_ref().is_some_and(|push| push.verified) {
        return Ok(None);
    }
    let name = format!("/projects/{}/subscriptions/{}", call.project()?.name, subscription.name);
    let Some(push) = &call.ams.push else { return Ok(Some(Spoken::Unavailable(UNAVAILABLE.to_owned()))) };
    Ok(Some(match push.pusher.condition(subscription) {
        Some(condition) => Spoken::Of(name, condition),
        None => Spoken::Unavailable(format!("Error: Subscription {name} is not active")),
    }))
}

/// The beginning of a text, at most 1 KiB.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default()
}

/// A time to the second, without its zone.
fn second(at: Timestamp) -> String {
    let mut text = Vec::new();
    times::write(Timestamp(at.0 - at.0 % 1_000_000), &mut text);
    String::from_utf8_lossy(&text).trim_end_matches('Z').to_owned()
}
