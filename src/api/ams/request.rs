//! One request from its head to its answer: the order of everything, and which function serves which route.

use super::audit::Witness;
use super::error::{Failure, JSON, Refusal, translate};
use super::paths::{Match, Operation, RequestPath, Route, Variables};
use super::principal::{self, Principal};
use super::query::Query;
use super::{
    Ams, bindings, cors, members, metrics, offsets, projects, publish, pull, push, registrations, schemas, status,
    subscriptions, topics, usage, users,
};
use crate::api::{Large, SMALL, Share, Unread, finish, read_body};
use crate::domain::project::Project;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Name, ProjectId};

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;
use tracing::Instrument;
use uuid::Uuid;

/// The header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a handler answers: the body of a 200, or why not.
pub(crate) type Answer = Result<Vec<u8>, Refusal>;

/// What a handler gets: an admitted request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) ams: &'a Ams,
    pub(crate) request: &'a HttpRequest,
    pub(crate) variables: Variables<'a>,
    pub(crate) query: Query<'a>,
    pub(crate) principal: Principal,
    pub(crate) body: Bytes,
}

/// Answers a request, and counts it.
pub(crate) async fn answer(ams: &Ams, request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let started = ams.broker.clock().monotonic();
    let id = ams.next_request_id();
    let path = RequestPath::new(request.path());
    let found = path.find(request.method());
    let place = if let Match::Route(place, ..) = &found { Some(*place) } else { None };
    let operation = if let Match::Route(_, route, _) = &found { route.name } else { "none" };
    // What is logged of a request at other levels than debug names it by itself.
    let span = tracing::debug_span!("request", dialect = "ams", request_id = %id, operation);
    let mut answer = async {
        let answer = respond(ams, id, &request, found, &mut payload).await;
        finish(&request, &mut payload, answer, ams.options().body_bytes_max).await
    }
    .instrument(span)
    .await;
    cors::allow(request.headers(), &mut answer);
    if let Ok(id) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    let took = ams.broker.clock().monotonic().saturating_sub(started);
    ams.metrics.observe(place, answer.status().as_u16(), took);
    answer
}

async fn respond(ams: &Ams, id: Uuid, request: &HttpRequest, found: Match<'_>, payload: &mut Payload) -> HttpResponse {
    if cors::is_preflight(request.method()) {
        return cors::preflight(request.headers());
    }
    let (route, variables) = match found {
        Match::Route(_, route, variables) => (route, variables),
        Match::Moved(path) => return moved(path, request.query_string()),
        Match::WrongMethod => return HttpResponse::MethodNotAllowed().finish(),
        Match::Nothing => {
            return HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("404 page not found\n");
        }
    };
    let mut witness = Witness::of(ams, id, request, route);
    let who = witness.as_mut().map(|witness| &mut witness.who);
    let (answer, failure) = match serve(ams, request, route, variables, payload, who).await {
        Ok(body) => (shown(ams, body), None),
        Err(refusal) => {
            let after = refusal.after();
            let failure = refused(id, route, refusal);
            let mut answer = failure.answer();
            if let Some(seconds) = after {
                answer.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            (answer, Some(failure))
        }
    };
    if let Some(witness) = witness {
        witness.tell(failure.as_ref()).await;
    }
    answer
}

/// A success with its body. A large one counts until its client has taken it.
fn shown(ams: &Ams, body: Vec<u8>) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, JSON));
    if body.len() > SMALL { answer.body(Large::new(body, ams.answers.share())) } else { answer.body(body) }
}

fn moved(mut path: String, query: &str) -> HttpResponse {
    if !query.is_empty() {
        path.push('?');
        path.push_str(query);
    }
    HttpResponse::MovedPermanently().insert_header((LOCATION, path)).finish()
}

/// Puts a refusal into the contract's words, and into the log when it is our fault.
fn refused(id: Uuid, route: &Route, refusal: Refusal) -> Failure {
    let failure = match &refusal {
        Refusal::Said(failure) => failure.clone(),
        Refusal::Met(error) => translate(route, error),
    };
    match refusal {
        Refusal::Met(error) if failure.code >= 500 && failure.status == "INTERNAL_SERVER_ERROR" => {
            tracing::error!(request_id = %id, operation = route.name, status = failure.code, cause = %error, "failed");
        }
        _ => {
            let (operation, status, reason) = (route.name, failure.code, &failure.message);
            tracing::info!(request_id = %id, operation, status, ?reason, "refused");
        }
    }
    failure
}

/// The contract's order of checks, then the handler. `who` is told of the caller where the call is told to the audit topic.
async fn serve(
    ams: &Ams,
    request: &HttpRequest,
    route: &'static Route,
    variables: Variables<'_>,
    payload: &mut Payload,
    who: Option<&mut Option<Principal>>,
) -> Answer {
    principal::check_names(&variables)?;
    let query = Query::new(request.query_string());
    let token = principal::token(ams.options().auth_option, request.headers(), query);
    match route.operation {
        Operation::Status => return status::status(ams, query, token).await,
        Operation::Version => return status::version(ams, token).await,
        Operation::UsersProfile => return users::profile(ams, token).await,
        Operation::UsageReport => return usage::report(ams, query, token).await,
        _ => {}
    }
    let principal = principal::admit(ams, route, &variables, token).await?;
    if let Some(who) = who {
        *who = Some(principal.clone());
    }
    let mut share = ams.bodies.share();
    let body = body(ams, request, payload, &mut share).await?;
    dispatch(route.operation, &Call { ams, request, variables, query, principal, body }).await
}

#[rustfmt::skip]
async fn dispatch(operation: Operation, call: &Call<'_>) -> Answer {
    use Operation as Op;
    match operation {
        Op::TopicsPublish => publish::publish(call).await,
        Op::SubscriptionsPull => pull::pull(call).await,
        Op::SubscriptionsAcknowledge => pull::acknowledge(call).await,
        Op::SubscriptionsModifyAckDeadline => pull::modify_ack_deadline(call).await,
        Op::SubscriptionsOffsets => offsets::show(call).await,
        Op::SubscriptionsTimeToOffset => offsets::at_time(call).await,
        Op::SubscriptionsModifyOffset => offsets::modify(call).await,
        Op::SubscriptionsList => subscriptions::list(call).await,
        Op::SubscriptionsByTopic => subscriptions::list_by_topic(call).await,
        Op::SubscriptionsShow => subscriptions::show(call).await,
        Op::SubscriptionsCreate => subscriptions::create(call).await,
        Op::SubscriptionsDelete => subscriptions::delete(call).await,
        Op::SubscriptionsAcl => subscriptions::acl(call).await,
        Op::SubscriptionsModifyAcl => subscriptions::modify_acl(call).await,
        Op::SubscriptionsMetrics => metrics::of_subscription(call).await,
        Op::SubscriptionsModifyPushConfig => push::modify(call).await,
        Op::SubscriptionsVerifyPushEndpoint => push::verify(call).await,
        Op::TopicsList => topics::list(call).await,
        Op::TopicsShow => topics::show(call).await,
        Op::TopicsCreate => topics::create(call).await,
        Op::TopicsDelete => topics::delete(call).await,
        Op::TopicsAcl => topics::acl(call).await,
        Op::TopicsModifyAcl => topics::modify_acl(call).await,
        Op::TopicsMetrics => metrics::of_topic(call).await,
        Op::TopicsAttachSchema => topics::attach_schema(call).await,
        Op::TopicsDetachSchema => topics::detach_schema(call).await,
        Op::SchemasValidate => schemas::validate(call).await,
        Op::SchemasCreate => schemas::create(call).await,
        Op::SchemasShow => schemas::show(call).await,
        Op::SchemasList => schemas::list(call).await,
        Op::SchemasUpdate => schemas::update(call).await,
        Op::SchemasDelete => schemas::delete(call).await,
        Op::ProjectsList => projects::list(call).await,
        Op::ProjectsShow => projects::show(call).await,
        Op::ProjectsCreate => projects::create(call).await,
        Op::ProjectsUpdate => projects::update(call).await,
        Op::ProjectsDelete => projects::delete(call).await,
        Op::ProjectsMetrics => metrics::of_project(call).await,
        Op::MembersList => members::list(call).await,
        Op::MembersShow => members::show(call).await,
        Op::MembersCreate => members::create(call).await,
        Op::MembersUpdate => members::update(call).await,
        Op::MembersAdd => members::add(call).await,
        Op::MembersRemove => members::remove(call).await,
        Op::UsersList => users::list(call).await,
        Op::UsersShow => users::show(call).await,
        Op::UsersByToken => users::by_token(call).await,
        Op::UsersByUuid => users::by_uuid(call).await,
        Op::UsersCreate => users::create(call).await,
        Op::UsersUpdate => users::update(call).await,
        Op::UsersRefreshToken => users::refresh_token(call).await,
        Op::UsersDelete => users::delete(call).await,
        Op::RegistrationsCreate => registrations::create(call).await,
        Op::RegistrationsAccept => registrations::accept(call).await,
        Op::RegistrationsDecline => registrations::decline(call).await,
        Op::RegistrationsDelete => registrations::delete(call).await,
        Op::RegistrationsShow => registrations::show(call).await,
        Op::RegistrationsList => registrations::list(call).await,
        Op::Metrics => metrics::of_service(call).await,
        Op::VaMetrics => usage::va_metrics(call).await,
        Op::BindingsList => bindings::list(call).await,
        Op::BindingsShow => bindings::show(call).await,
        Op::BindingsCreate => bindings::create(call).await,
        Op::BindingsUpdate => bindings::update(call).await,
        Op::BindingsDelete => bindings::delete(call).await,
        // These never come here.
        Op::Status | Op::Version | Op::UsersProfile | Op::UsageReport => Err(Failure::not_found("Operation").into()),
    }
}

/// Reads the body, within the limits in force.
async fn body(ams: &Ams, request: &HttpRequest, payload: &mut Payload, share: &mut Share) -> Result<Bytes, Failure> {
    let (limit, time_max) = {
        let options = ams.options();
        (options.body_bytes_max, options.body_time_max)
    };
    read_body(request, payload, limit, time_max, share).await.map_err(|why| match why {
        Unread::TooLarge => Failure::TOO_LARGE,
        Unread::NoRoom => Failure::later("Too many large requests, try again later"),
        Unread::Late => Failure { code: 408, message: "The request body came too slowly".into(), status: "TIMEOUT" },
        Unread::Broken => Failure::INVALID_BODY,
    })
}

impl Call<'_> {
    /// The path's project.
    pub(crate) fn project(&self) -> Result<&Arc<Project>, Failure> {
        self.principal.project.as_ref().ok_or_else(|| Failure::not_found("project"))
    }

    /// The id of the path's project.
    pub(crate) fn project_id(&self) -> Result<ProjectId, Failure> {
        self.project().map(|project| project.id)
    }

    /// A variable of the path as a name.
    pub(crate) fn name(&self, variable: &str) -> Result<Name, Failure> {
        principal::name_of(&self.variables, variable)
    }

    /// The path's topic.
    pub(crate) async fn topic(&self) -> Result<Arc<Topic>, Refusal> {
        Ok(self.ams.broker.topic(self.project_id()?, &self.name("topic")?).await?)
    }

    /// The path's subscription.
    pub(crate) async fn subscription(&self) -> Result<Arc<Subscription>, Refusal> {
        Ok(self.ams.broker.subscription(self.project_id()?, &self.name("subscription")?).await?)
    }
}
