//! One request from its head to its answer: the order of everything, and which function serves which route.

use super::caller::{self, Caller};
use super::collection::Collection;
use super::error::{Failure, JSON, Refusal, translate, unknown};
use super::query::Query;
use super::routes::{Match, Operation, Route};
use super::{Zaqar, ZaqarOptions, bound, claims, health, home, messages, post, queues, share, stats, subscriptions};
use crate::api::{Large, SMALL, Unread, finish, read_body};
use crate::auth::keystone::Keystone;
use crate::domain::Name;
use actix_web::http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tracing::Instrument;
use uuid::Uuid;

/// The header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The type of changes to metadata.
const PATCH: &str = "application/openstack-messaging-v2.0-json-patch";

/// What a handler answers: a success, or why not.
pub(crate) type Answer = Result<Success, Refusal>;

/// A success.
#[derive(Debug, Default)]
pub(crate) struct Success {
    /// The HTTP status; 0 for 204.
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

impl Success {
    /// 204.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// 200 with JSON.
    pub(crate) fn json(body: Vec<u8>) -> Self {
        Self { status: 200, location: None, body }
    }

    /// 201 with JSON, or with nothing.
    pub(crate) fn created(location: String, body: Vec<u8>) -> Self {
        Self { status: 201, location: Some(location), body }
    }

    /// The same, telling where the thing is.
    pub(crate) fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }

    fn answer(self, zaqar: &Zaqar) -> HttpResponse {
        let mut answer = HttpResponse::build(StatusCode::from_u16(self.status).unwrap_or(StatusCode::NO_CONTENT));
        if let Some(location) = self.location {
            answer.insert_header((LOCATION, location));
        }
        if self.status == 0 {
            return answer.finish();
        }
        answer.insert_header((CONTENT_TYPE, JSON));
        if self.body.len() > SMALL {
            answer.body(Large::new(self.body, zaqar.answers.share()))
        } else {
            answer.body(self.body)
        }
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Bytes,
    /// Whether the head spoke of one.
    announced: bool,
    /// Whether it is larger than any may be; then it was not read.
    oversize: bool,
}

impl Body {
    /// A body that has come whole; none for a request without.
    pub(crate) fn whole(bytes: Option<Bytes>) -> Self {
        Self { announced: bytes.is_some(), bytes: bytes.unwrap_or_default(), oversize: false }
    }

    /// Whether it has at most so many bytes.
    pub(crate) fn fits(&self, most: u64) -> bool {
        !self.oversize && self.bytes.len() as u64 <= most
    }

    /// A body that must be there.
    pub(crate) fn required(&self) -> Result<&[u8], Failure> {
        if self.oversize {
            return Err(Failure::body("Request body is too large."));
        }
        if self.announced { Ok(&self.bytes) } else { Err(Failure::NO_BODY) }
    }

    /// A body that may be empty or missing, which is none.
    pub(crate) fn optional(&self) -> Result<Option<&[u8]>, Failure> {
        if self.announced {
            self.required().map(|bytes| Some(bytes).filter(|bytes| !bytes.is_empty()))
        } else {
            Ok(None)
        }
    }
}

/// What a handler gets: an admitted request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) zaqar: &'a Zaqar,
    pub(crate) options: &'a ZaqarOptions,
    pub(crate) caller: Caller,
    /// Whether the path is about queues or topics.
    pub(crate) collection: Collection,
    /// The path's queue or topic, if it names one.
    pub(crate) queue: Option<Name>,
    /// The path's id, as it is.
    pub(crate) id: &'a str,
    pub(crate) query: Query,
    pub(crate) body: Body,
    /// Whether the body's type is that of changes to metadata.
    pub(crate) patches: bool,
}

impl Call<'_> {
    /// The name of the path's queue.
    pub(crate) fn queue_name(&self) -> Result<&Name, Failure> {
        self.queue.as_ref().ok_or(Failure::WRONG_QUEUE)
    }
}

/// Answers a request, and counts it.
pub(crate) async fn answer(zaqar: &Zaqar, request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let started = zaqar.broker.clock().monotonic();
    let id = Uuid::new_v4();
    let found = Match::find(request.path());
    let options = Arc::clone(&zaqar.options());
    let found = found.filter(|found| !found.resource.admin || options.admin_mode);
    let route = found.as_ref().and_then(|found| found.route(request.method().as_str()));
    let operation = route.map_or("none", |(_, route)| route.rule);
    let span = tracing::debug_span!("request", dialect = "zaqar", request_id = %id, operation);
    let mut answer = async {
        let answer = respond(zaqar, &options, id, &request, found.as_ref(), &mut payload).await;
        finish(&request, &mut payload, answer, options.limits.body_bytes().saturating_mul(2)).await
    }
    .instrument(span)
    .await;
    if let Ok(id) = HeaderValue::try_from(format!("req-{id}")) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    let took = zaqar.broker.clock().monotonic().saturating_sub(started);
    zaqar.metrics.observe(route.map(|(place, _)| place), answer.status().as_u16(), took);
    answer
}

/// The contract's order of checks, then the handler.
async fn respond(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    id: Uuid,
    request: &HttpRequest,
    found: Option<&Match>,
    payload: &mut Payload,
) -> HttpResponse {
    // A token cannot be sent by a page that knows none.
    if zaqar.keystone.is_none()
        && let Err(failure) = caller::check_host(options, request)
    {
        return failure.answer();
    }
    let known = match caller::identify(zaqar, request).await {
        Ok(known) => known,
        Err(why) => return unknown(&why, zaqar.keystone.as_ref().map_or("", Keystone::url)),
    };
    let Some(found) = found else { return Failure::NO_ROUTE.answer() };
    let allowed = found.resource.allowed();
    if request.method() == Method::OPTIONS {
        return HttpResponse::Ok().insert_header((ALLOW, allowed)).finish();
    }
    let route = found.route(request.method().as_str()).map(|(_, route)| route);
    if let Some(Route { operation: Operation::Versions, .. }) = route {
        return caller::check_reader(request).map_or_else(|failure| failure.answer(), |()| home::versions());
    }
    let admitted = caller::admit(zaqar, options, request, found, known);
    let (caller, route) = match (admitted, route) {
        (Err(failure), _) => return failure.answer(),
        (Ok(_), None) => {
            let mut answer = Failure::WRONG_METHOD.answer();
            if let Ok(allowed) = HeaderValue::try_from(format!("{allowed}, OPTIONS")) {
                answer.headers_mut().insert(ALLOW, allowed);
            }
            return answer;
        }
        (Ok(caller), Some(route)) => (caller, route),
    };
    if route.operation == Operation::Home {
        return home::home(options.admin_mode);
    }
    match serve(zaqar, options, request, found, route, caller, payload).await {
        Ok(success) => success.answer(zaqar),
        Err(refusal) => refused(id, route, refusal).answer(),
    }
}

/// Puts a refusal into the contract's words, and into the log when it is our fault.
fn refused(id: Uuid, route: &Route, refusal: Refusal) -> Failure {
    let operation = route.rule;
    match refusal {
        Refusal::Said(failure) => {
            let (status, reason) = (failure.status, &failure.description);
            tracing::info!(request_id = %id, operation, status, ?reason, "refused");
            failure
        }
        Refusal::Met(error) => {
            let failure = translate(route.trouble, &error);
            tracing::warn!(request_id = %id, operation, status = failure.status, cause = %error, "failed");
            failure
        }
    }
}

/// Refuses what the rules, or a bound project, do not open to a caller.
pub(crate) async fn permit(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    caller: &Caller,
    rule: &str,
    queue: Option<&Name>,
) -> Result<(), Refusal> {
    if !options.policy.may(rule, &caller.bearer()) {
        return Err(Failure::FORBIDDEN.into());
    }
    bound::check(zaqar, options, caller, rule, queue).await
}

async fn serve(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    request: &HttpRequest,
    found: &Match,
    route: &Route,
    caller: Caller,
    payload: &mut Payload,
) -> Answer {
    let collection = found.collection();
    let queue = found.queue.as_deref().and_then(|name| collection.name(name));
    permit(zaqar, options, &caller, route.rule, queue.as_ref()).await?;
    let mut share = zaqar.bodies.share();
    let announced = request.headers().contains_key(CONTENT_LENGTH) || request.headers().contains_key(TRANSFER_ENCODING);
    let mut body = Body { bytes: Bytes::new(), announced, oversize: false };
    // GET and DELETE may come with a body that means nothing.
    if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        match read_body(request, payload, options.limits.body_bytes(), options.body_time_max, &mut share).await {
            Ok(bytes) => body.bytes = bytes,
            Err(Unread::TooLarge) => body.oversize = true,
            Err(Unread::NoRoom) => return Err(Failure::later("Request body could not be read.").into()),
            Err(Unread::Late) => return Err(Failure::LATE_BODY.into()),
            Err(Unread::Broken) => return Err(Failure::UNPARSED.into()),
        }
    }
    body.announced |= !body.bytes.is_empty();
    let query = Query::new(request.query_string());
    let patches = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PATCH);
    dispatch(route.operation, &Call { zaqar, options, caller, collection, queue, id: &found.id, query, body, patches })
        .await
}

#[rustfmt::skip]
async fn dispatch(operation: Operation, call: &Call<'_>) -> Answer {
    use Operation as Op;
    match operation {
        Op::MessagesPost => post::post(call).await,
        Op::ClaimCreate => claims::create(call).await,
        Op::MessageDelete => messages::delete(call).await,
        Op::MessagesList => messages::list(call).await,
        Op::MessageGet => messages::get(call).await,
        Op::MessagesDelete => messages::delete_many(call).await,
        Op::ClaimGet => claims::get(call).await,
        Op::ClaimUpdate => claims::renew(call).await,
        Op::ClaimDelete => claims::release(call).await,
        Op::QueuesList => queues::list(call).await,
        Op::QueueGet => queues::get(call).await,
        Op::QueueCreate => queues::create(call).await,
        Op::QueueUpdate => queues::update(call).await,
        Op::QueueDelete => queues::delete(call).await,
        Op::QueueStats => stats::stats(call).await,
        Op::QueuePurge => queues::purge(call).await,
        Op::QueueShare => share::share(call),
        Op::SubscriptionsList => subscriptions::list(call).await,
        Op::SubscriptionCreate => subscriptions::create(call).await,
        Op::SubscriptionGet => subscriptions::get(call).await,
        Op::SubscriptionUpdate => subscriptions::update(call).await,
        Op::SubscriptionDelete => subscriptions::delete(call).await,
        Op::SubscriptionConfirm => subscriptions::confirm(call).await,
        Op::PingGet => health::ping(call),
        Op::PingHead => Ok(Success::nothing()),
        Op::HealthGet => health::health(call).await,
        // These never come here.
        Op::Versions | Op::Home => Err(Failure::NO_ROUTE.into()),
    }
}
