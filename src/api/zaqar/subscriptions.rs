//! Subscriptions: list, make, show, change, delete, confirm. Those that connections have are shown beside those that are stored.

use super::collection::path;
use super::confirmation::{self, Kind};
use super::error::{Failure, Refusal};
use super::json::{self, Object, Shape};
use super::metadata::{RETRY, TTL_MIN, check_retry_policy};
use super::query::{limit, link};
use super::queues::links;
use super::request::{Answer, Call, Success};
use super::sockets::SocketSubscription;
use super::trusts;
use crate::broker::queue::label;
use crate::domain::push::{Notify, Push, Shared};
use crate::domain::subscription::Subscription;
use crate::domain::{Error, ProjectId, Resource, SubscriptionId, Timestamp};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a request's body.
const BODY_BYTES_MAX: u64 = 65_536;
/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A subscription, wherever it is kept.
#[derive(Debug)]
pub(crate) enum Found {
    Stored(Arc<Subscription>),
    Socket(Arc<SocketSubscription>),
}

/// What a body asks for; checked.
#[derive(Debug, Default)]
struct Wish {
    subscriber: Option<String>,
    options: Option<String>,
    ttl: Option<Duration>,
}

impl Found {
    fn id(&self) -> SubscriptionId {
        match self {
            Self::Stored(stored) => stored.id,
            Self::Socket(socket) => socket.id,
        }
    }

    /// Writes it as clients see it.
    pub(crate) fn write(&self, call: &Call<'_>, out: &mut Vec<u8>) {
        let (notify, created_at, confirmed) = match self {
            Self::Stored(stored) => {
                let notify = stored.push.as_ref().and_then(Push::notify).cloned();
                (notify, stored.created_at, stored.push.as_ref().is_some_and(|push| push.verified))
            }
            Self::Socket(socket) => (Some(socket.notify()), socket.created_at, false),
        };
        let Some(notify) = notify else { return };
        let source = call.queue.as_ref().map_or("", label);
        out.extend_from_slice(
            format!("{{\"id\": \"{}\", \"source\": \"{source}\", \"subscriber\": ", self.id()).as_bytes(),
        );
        json::string(&notify.subscriber, out);
        let (ttl, age) = (notify.ttl.as_secs(), call.zaqar.now().since(created_at).as_secs());
        let rest = format!(
            ", \"ttl\": {ttl}, \"age\": {age}, \"options\": {}, \"confirmed\": {confirmed}}}",
            notify.options.0
        );
        out.extend_from_slice(rest.as_bytes());
    }
}

/// The page of a queue's subscriptions that a call asks for.
pub(crate) async fn page(call: &Call<'_>) -> Result<Vec<Found>, Refusal> {
    let asked = call.query.integer("limit")?;
    let most = call.options.limits.max_subscriptions_per_page;
    let size = limit(asked, most, |most| format!("Limit must be at least 1 and may not be greater than {most}."))?;
    let marker = match call.query.text("marker").map(parse) {
        None => SubscriptionId(0),
        Some(Some(marker)) => marker,
        // A marker of nothing leads nowhere.
        Some(None) => SubscriptionId(u128::MAX),
    };
    let mut found = all(call).await?;
    found.retain(|found| found.id() > marker);
    found.truncate(size);
    Ok(found)
}

/// A page of the path's queue's subscriptions.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let found = page(call).await?;
    let asked = call.query.integer("limit")?;
    let mut out = b"{\"subscriptions\": ".to_vec();
    json::array(&found, &mut out, |found, out| found.write(call, out));
    out.extend_from_slice(b", \"links\": ");
    let next = found.last().map(|last| {
        let mut parameters = Vec::new();
        parameters.extend(asked.map(|asked| ("limit", asked.to_string())));
        parameters.push(("marker", last.id().to_string()));
        link(&collection(call), &parameters)
    });
    links(next.as_deref(), &mut out);
    out.push(b'}');
    Ok(Success::json(out))
}

/// All of the path's queue, in the order in which they were made; the queue itself may be gone.
async fn all(call: &Call<'_>) -> Result<Vec<Found>, Refusal> {
    let Some(project) = call.zaqar.project(&call.caller.project).await? else { return Ok(Vec::new()) };
    let name = call.queue_name()?;
    let stored = call.zaqar.broker.subscribers(project, name).await?.into_iter().map(Found::Stored);
    let sockets = call.zaqar.sockets.of(project, name, call.zaqar.now()).into_iter().map(Found::Socket);
    let mut all: Vec<_> = stored.chain(sockets).collect();
    all.sort_unstable_by_key(Found::id);
    Ok(all)
}

/// Makes a subscription, and a call's queue if need be (quirk 14).
pub(crate) async fn make(call: &Call<'_>) -> Result<SubscriptionId, Refusal> {
    let body = body(call)?;
    let name = call.queue_name()?;
    let queue = call.zaqar.queue_made(&call.caller.project, name).await?;
    let missing = || Failure::request("Missing parameter subscriber in body.");
    let given = body.ok_or_else(missing)?;
    given.get("subscriber").ok_or_else(missing)?;
    let wish = Wish::read(call, &given, |_| false)?;
    let notify = Notify {
        subscriber: wish.subscriber.ok_or_else(missing)?,
        options: Shared(wish.options.unwrap_or_else(|| "{}".to_owned())),
        ttl: wish.ttl.unwrap_or(Duration::from_secs(call.options.limits.default_subscription_ttl)),
        since: call.zaqar.now(),
    };
    check(call, &notify)?;
    let notify = trusts::entrusted(call, notify).await?;
    let (subscription, made) = call.zaqar.broker.add_subscriber(queue.topic.project, name, notify).await?;
    if !made && subscription.push.as_ref().is_some_and(|push| push.verified) {
        let said = "Such subscription already exists.Subscriptions are unique by project + queue + subscriber URI.";
        return Err(Failure::conflict(said.to_owned()).at(collection(call)).into());
    }
    confirmation::send(call, &subscription, Kind::Subscribe);
    Ok(subscription.id)
}

/// Makes a subscription.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = format!("{{\"subscription_id\": \"{}\"}}", make(call).await?);
    Ok(Success::created(collection(call), body.into_bytes()))
}

/// What a connection asks for that is to be the subscriber itself: options, and for how long.
pub(crate) fn of_connection(call: &Call<'_>) -> Result<(Shared, Duration), Failure> {
    let wish = Wish::read(call, &body(call)?.unwrap_or_default(), |_| false)?;
    let ttl = wish.ttl.unwrap_or(Duration::from_secs(call.options.limits.default_subscription_ttl));
    Ok((Shared(wish.options.unwrap_or_else(|| "{}".to_owned())), ttl))
}

/// The path's subscription.
pub(crate) async fn get(call: &Call<'_>) -> Answer {
    let mut out = Vec::new();
    find(call).await?.write(call, &mut out);
    Ok(Success::json(out))
}

/// Changes the path's subscription. A new ttl counts from now.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let none = || Failure::request("No subscription to create.");
    let given = body(call)?.filter(|given| given.members().next().is_some()).ok_or_else(none)?;
    let wish = Wish::read(call, &given, |value| value.get() == "null")?;
    if wish.subscriber.is_none() && wish.options.is_none() && wish.ttl.is_none() {
        return Err(Failure::no_change(format!("Subscription {} could not be updated.", call.id)).into());
    }
    let now = call.zaqar.now();
    let change = |notify: &mut Notify| wish.apply(notify, now);
    let changed = |mut notify: Notify| {
        change(&mut notify);
        check(call, &notify).map(|()| notify)
    };
    match find(call).await? {
        Found::Socket(socket) => socket.change(changed(socket.notify())?),
        Found::Stored(stored) => {
            let mut options = None;
            if let Some(notify) = stored.push.as_ref().and_then(Push::notify) {
                let changed = changed(notify.clone())?;
                if wish.subscriber.is_some() || wish.options.is_some() {
                    options = Some(trusts::entrusted(call, changed).await?.options);
                }
            }
            let change = |notify: &mut Notify| {
                change(notify);
                notify.options = options.clone().unwrap_or_else(|| notify.options.clone());
            };
            match call.zaqar.broker.change_subscriber(&stored, change).await {
                Err(Error::AlreadyExists(_)) => {
                    let said = "Such subscription already exists. Subscriptions are unique by project + queue + subscriber URI.";
                    return Err(Failure::conflict(said.to_owned()).into());
                }
                Err(Error::NotFound(Resource::Subscription)) => return Err(missing(call).into()),
                changed => changed?,
            };
        }
    }
    Ok(Success::nothing().at(format!("{}/{}", collection(call), call.id)))
}

/// Ends the path's subscription, if it is there.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    let found = match find(call).await {
        Err(Refusal::Said(failure)) if failure.status == 404 => return Ok(Success::nothing()),
        found => found?,
    };
    remove(call, &found).await?;
    Ok(Success::nothing())
}

/// Ends all subscriptions of the path's queue.
pub(crate) async fn delete_all(call: &Call<'_>) -> Result<(), Refusal> {
    for found in all(call).await? {
        remove(call, &found).await?;
    }
    Ok(())
}

async fn remove(call: &Call<'_>, found: &Found) -> Result<(), Refusal> {
    match found {
        Found::Socket(socket) => call.zaqar.sockets.remove(socket.project, socket.id),
        Found::Stored(stored) => match call.zaqar.broker.delete_subscription(stored.project, &stored.name).await {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(())
}

/// Notes whether the path's subscriber wants to be told, and tells him when he does not any more.
pub(crate) async fn confirm(call: &Call<'_>) -> Answer {
    let wrong = || Failure::request("The 'confirmed' should be boolean.");
    let body = body(call)?.ok_or_else(wrong)?;
    let confirmed = match body.get("confirmed").map(RawValue::get) {
        Some("true") => true,
        Some("false") => false,
        _ => return Err(wrong().into()),
    };
    // Who has a connection has said all that there is to say by opening it (quirk 16).
    if let Found::Stored(stored) = find(call).await? {
        let from_now = call.options.confirmation.is_some();
        let changed = match call.zaqar.broker.confirm_subscriber(&stored, confirmed, from_now).await {
            Err(Error::NotFound(Resource::Subscription)) => return Err(missing(call).into()),
            changed => changed?,
        };
        if !confirmed {
            confirmation::send(call, &changed, Kind::Unsubscribe);
        }
    }
    Ok(Success::nothing().at(format!("{}/{}/confirm", collection(call), call.id)))
}

/// A body's object; none for no body.
fn body<'a>(call: &'a Call<'_>) -> Result<Option<Object<'a>>, Failure> {
    if !call.body.fits(BODY_BYTES_MAX) {
        return Err(Failure::body("Request body is too large."));
    }
    let Some(body) = call.body.optional()? else { return Ok(None) };
    match json::parse::<Shape<Object<'_>, IgnoredAny>>(body)? {
        Shape::Object(object) => Ok(Some(object)),
        Shape::Array(_) => Err(Failure::request("Subscriptions must be a dict.")),
        Shape::Other => Err(Failure::UNPARSED),
    }
}

impl Wish {
    /// Reads and checks a body, in the contract's order; what `ignored` says is as if it were not there.
    fn read(call: &Call<'_>, given: &Object<'_>, ignored: impl Fn(&RawValue) -> bool) -> Result<Self, Failure> {
        let member = |key| given.get(key).filter(|value| !ignored(value));
        let subscriber = member("subscriber").map(|value| subscriber(call, value)).transpose()?;
        let options = member("options").map(options).transpose()?;
        let ttl = member("ttl").map(|value| ttl(call, value)).transpose()?;
        Ok(Self { subscriber, options, ttl })
    }

    fn apply(&self, notify: &mut Notify, now: Timestamp) {
        if let Some(subscriber) = &self.subscriber {
            notify.subscriber.clone_from(subscriber);
        }
        if let Some(options) = &self.options {
            notify.options = Shared(options.clone());
        }
        if let Some(ttl) = self.ttl {
            (notify.ttl, notify.since) = (ttl, now);
        }
    }
}

fn subscriber(call: &Call<'_>, value: &RawValue) -> Result<String, Failure> {
    let types = &call.options.subscriber_types;
    let wrong = || {
        let listed: Vec<_> = types.iter().map(|kind| format!("'{kind}'")).collect();
        let listed = listed.join(", ");
        Failure::request(format!("The subscriber type of subscription must be supported in the list [{listed}]."))
    };
    let text = json::text(value).ok_or_else(wrong)?;
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    if scheme.is_some_and(|scheme| types.contains(&scheme)) { Ok(text.into_owned()) } else { Err(wrong()) }
}

/// Options as they are stored: the text they came as. Null is none.
fn options(value: &RawValue) -> Result<String, Failure> {
    if value.get() == "null" {
        return Ok("{}".to_owned());
    }
    let wrong = |_| Failure::request("Options must be a dict.");
    let options: Object<'_> = serde_json::from_str(value.get()).map_err(wrong)?;
    check_retry_policy(options.given(RETRY)).map_err(Failure::request)?;
    Ok(value.get().to_owned())
}

fn ttl(call: &Call<'_>, value: &RawValue) -> Result<Duration, Failure> {
    let ttl = json::integer(value).ok_or_else(|| Failure::request("TTL must be an integer."))?;
    let ttl = u64::try_from(ttl).ok().filter(|ttl| *ttl >= TTL_MIN).ok_or_else(|| {
        Failure::request(format!("The TTL for a subscription must be at least {TTL_MIN} seconds long."))
    })?;
    if call.zaqar.now().seconds().saturating_add(ttl) >= SECONDS_MAX {
        return Err(Failure::request(
            "The TTL seconds for a subscription plus current time must be less than 9999-12-31 23:59:59.999999.",
        ));
    }
    Ok(Duration::from_secs(ttl))
}

/// Refuses what could never be told.
fn check(call: &Call<'_>, notify: &Notify) -> Result<(), Failure> {
    call.zaqar.notifier.as_ref().map_or(Ok(()), |notifier| notifier.check(notify).map_err(Failure::request))
}

/// The path's subscription; 404 when it is not there.
pub(crate) async fn find(call: &Call<'_>) -> Result<Found, Refusal> {
    let gone = || Refusal::from(missing(call));
    let id = parse(call.id).ok_or_else(gone)?;
    let project: ProjectId = call.zaqar.project(&call.caller.project).await?.ok_or_else(gone)?;
    let name = call.queue_name()?;
    if let Some(socket) = call.zaqar.sockets.find(project, id, call.zaqar.now()).filter(|socket| socket.queue == *name)
    {
        return Ok(Found::Socket(socket));
    }
    match call.zaqar.broker.subscriber(project, name, id).await {
        Err(Error::NotFound(_)) => Err(gone()),
        found => Ok(Found::Stored(found?)),
    }
}

fn missing(call: &Call<'_>) -> Failure {
    Failure::not_found(format!("Subscription {} does not exist", call.id))
}

/// An id in its one form.
fn parse(text: &str) -> Option<SubscriptionId> {
    SubscriptionId::parse(text).filter(|id| id.to_string() == text)
}

/// The path of the queue's subscriptions.
fn collection(call: &Call<'_>) -> String {
    format!("{}/subscriptions", call.queue.as_ref().map(path).unwrap_or_default())
}
