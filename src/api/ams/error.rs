//! Everything that AMS answers but 200: the envelope, the contract's texts, and the one table from domain errors to them.

use super::paths::{Operation, Route};
use super::render::{self, Indent};
use crate::domain::schema::Fault;
use crate::domain::{Error, Resource};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use std::borrow::Cow;

/// The type of every body.
pub(crate) const JSON: &str = "application/json; charset=utf-8";

/// A failure as the client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The HTTP status.
    pub(crate) code: u16,
    /// For people, and for clients that compare it.
    pub(crate) message: Cow<'static, str>,
    /// The kind.
    pub(crate) status: &'static str,
}

/// Why a handler did not answer: in the dialect's words, or in the domain's, to be translated for the route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Said by the dialect itself.
    Said(Failure),
    /// Said by what is below.
    Met(Error),
}

impl Refusal {
    /// After how many seconds trying again makes sense, where that is known.
    pub(crate) fn after(&self) -> Option<u32> {
        match self {
            Self::Met(Error::QuotaExceeded { after: Some(after), .. }) => {
                let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
                Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
            }
            _ => None,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Said(failure)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Met(error)
    }
}

const fn failure(code: u16, message: Cow<'static, str>, status: &'static str) -> Failure {
    Failure { code, message, status }
}

/// The contract's short forms (`ams-v1.md`, at its beginning), by their names there.
impl Failure {
    pub(crate) const UNAUTHORIZED: Self = failure(401, Cow::Borrowed("Unauthorized"), "UNAUTHORIZED");
    pub(crate) const FORBIDDEN: Self = failure(403, Cow::Borrowed("Access to this resource is forbidden"), "FORBIDDEN");
    pub(crate) const INVALID_BODY: Self = failure(400, Cow::Borrowed("Invalid Request Body"), "BAD_REQUEST");
    pub(crate) const ACK_TIMEOUT: Self = failure(408, Cow::Borrowed("ack timeout"), "TIMEOUT");
    pub(crate) const TOO_LARGE: Self = failure(413, Cow::Borrowed("Message size is too large"), "INVALID_ARGUMENT");
    pub(crate) const INVALID_ACK_ID: Self = failure(400, Cow::Borrowed("Invalid ack id"), "INVALID_ARGUMENT");
    pub(crate) const OUT_OF_BOUNDS: Self = failure(400, Cow::Borrowed("Offset out of bounds"), "INVALID_ARGUMENT");
    pub(crate) const PUSH_DISABLED: Self =
        failure(409, Cow::Borrowed("Push functionality is currently disabled"), "CONFLICT");
    pub(crate) const PUSH_UNAVAILABLE: Self =
        failure(500, Cow::Borrowed("Push functionality is currently unavailable"), "INTERNAL_SERVER_ERROR");
    pub(crate) const NOT_A_MEMBER: Self = failure(
        403,
        Cow::Borrowed("Access to this resource is forbidden. User is not a member of the project"),
        "FORBIDDEN",
    );

    /// `E400A`.
    pub(crate) fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        failure(400, message.into(), "INVALID_ARGUMENT")
    }

    /// `E400N`.
    pub(crate) fn name(of: &str) -> Self {
        Self::argument(format!("Invalid {of} name"))
    }

    /// `E400G`.
    pub(crate) fn arguments(of: &str) -> Self {
        Self::argument(format!("Invalid {of} Arguments"))
    }

    /// `E401V`: no blank after the full stop.
    pub(crate) fn unverified(why: &str) -> Self {
        failure(401, format!("Endpoint verification failed.{why}").into(), "UNAUTHORIZED")
    }

    /// `E404`.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::missing(format!("{what} doesn't exist"))
    }

    /// `E404M`.
    pub(crate) fn missing(message: impl Into<Cow<'static, str>>) -> Self {
        failure(404, message.into(), "NOT_FOUND")
    }

    /// `E409E`.
    pub(crate) fn already_exists(what: &str) -> Self {
        failure(409, Cow::Owned(format!("{what} already exists")), "ALREADY_EXISTS")
    }

    /// `E409C`.
    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        failure(409, message.into(), "CONFLICT")
    }

    /// `E500`.
    pub(crate) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        failure(500, message.into(), "INTERNAL_SERVER_ERROR")
    }

    /// Nothing was done for all that is known, and a later try may work: clients retry 503, not 429, on publish, pull and acknowledge.
    pub(crate) fn later(message: impl Into<Cow<'static, str>>) -> Self {
        failure(503, message.into(), "UNAVAILABLE")
    }

    /// The answer to send.
    pub(crate) fn answer(&self) -> HttpResponse {
        let body = render::object(Indent::Three, |json| {
            json.field("error").object(|json| {
                json.field("code").number(self.code);
                json.field("message").string(&self.message);
                json.field("status").string(self.status);
            });
        });
        let mut answer = HttpResponse::build(StatusCode::from_u16(self.code).unwrap_or_default());
        answer.insert_header((CONTENT_TYPE, JSON));
        if self.code == 503 {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        answer.body(body)
    }
}

/// A resource as messages name it.
fn named(resource: Resource) -> &'static str {
    match resource {
        Resource::Project => "project",
        Resource::Topic => "Topic",
        Resource::Subscription => "Subscription",
        Resource::User => "User",
        Resource::Schema => "Schema",
    }
}

/// What a route answers when the store fails it.
fn store_text(operation: Operation) -> &'static str {
    use Operation as Op;
    match operation {
        Op::SubscriptionsAcknowledge => "Error handling acknowledgement",
        Op::ProjectsCreate => "backend error",
        Op::TopicsShow
        | Op::TopicsPublish
        | Op::SubscriptionsShow
        | Op::SubscriptionsPull
        | Op::SubscriptionsTimeToOffset => "Backend Error",
        _ => "Internal error while querying datastore",
    }
}

/// The table: a domain error as the route says it.
pub(crate) fn translate(route: &Route, error: &Error) -> Failure {
    use Operation as Op;
    let operation = route.operation;
    match error {
        Error::NotFound(resource) => Failure::not_found(named(*resource)),
        Error::AlreadyExists(_) if operation == Op::ProjectsUpdate => {
            Failure::argument("invalid project name change, name already exists")
        }
        Error::AlreadyExists(_) if operation == Op::UsersUpdate => {
            Failure::argument("invalid user name change, name already exists")
        }
        Error::AlreadyExists(Resource::Project) => Failure::already_exists("Project"),
        Error::AlreadyExists(resource) => Failure::already_exists(named(*resource)),
        Error::Invalid { what: "schema", why } => Failure::argument(why.clone()),
        Error::Violation { message, fault } => Failure::argument(violation(*message, fault)),
        Error::SchemaUnusable(_) => Failure::internal("Could not load schema for topic"),
        Error::QuotaExceeded { what, .. } => {
            failure(429, Cow::Owned(format!("The project's quota of {what} is used up")), "RESOURCE_EXHAUSTED")
        }
        Error::Protected(_) => Failure::FORBIDDEN,
        Error::Invalid { .. } if operation == Op::TopicsPublish => Failure::arguments("Message"),
        Error::Invalid { .. } if matches!(operation, Op::SubscriptionsCreate | Op::SubscriptionsModifyPushConfig) => {
            Failure::arguments("Subscription")
        }
        Error::Invalid { what, why } => Failure::argument(format!("Invalid {what}: it {why}")),
        Error::TooLarge { .. } => Failure::TOO_LARGE,
        Error::TopicGone => match operation {
            Op::SubscriptionsTimeToOffset => nothing_at_time(),
            Op::SubscriptionsModifyOffset => Failure::OUT_OF_BOUNDS,
            _ => Failure::conflict("Subscription's topic doesn't exist"),
        },
        Error::NoAckPending => Failure::internal("no ack pending"),
        Error::WrongAck => Failure::internal("wrong ack"),
        Error::AckTimeout | Error::LeaseSuperseded { .. } => Failure::ACK_TIMEOUT,
        Error::WrongAckMode => Failure::INVALID_ACK_ID,
        Error::OffsetOutOfBounds { .. } => Failure::OUT_OF_BOUNDS,
        Error::NothingAtTime => nothing_at_time(),
        Error::NotTheWorker => Failure::conflict("Another worker holds the subscription"),
        Error::Overloaded(what) => Failure::later(format!("Too many {what}, try again later")),
        Error::StoreFull => Failure::later("The store is full, try again later"),
        Error::Changed | Error::StaleIncarnation => Failure::later("Changed by another request, try again"),
        // Another node, or this one in a moment, may be able to; where it is unknown what was done, too: never a success.
        Error::Unavailable(_) | Error::OutcomeUnknown(_) => Failure::later(store_text(operation)),
        // Whatever else is wrong is ours, and told to the log alone.
        _ => Failure::internal(store_text(operation)),
    }
}

/// What is wrong with a message, in the original's words (`ams-v1.md` §7.3, its spelling included).
fn violation(message: usize, fault: &Fault) -> String {
    let listed = |of: &str, broken: &[String]| match broken {
        [one] => format!("Message {message} {of} not valid,{one}"),
        many => {
            let numbered = many.iter().zip(1..).map(|(line, number)| format!("{number}){line}."));
            format!("Message {message} {of} not valid.{}", numbered.collect::<String>())
        }
    };
    match fault {
        Fault::NotBase64(at) => {
            format!("Message {message} is not in valid base64 enocding,illegal base64 data at input byte {at}")
        }
        Fault::NotJson(why) => format!("Message {message} data is not valid JSON format,{why}"),
        Fault::Payload(broken) => listed("data is", broken),
        Fault::NotAvro(why) => format!("Message {message} is not valid.{why}"),
        Fault::Attributes(broken) => listed("attributes are", broken),
    }
}

fn nothing_at_time() -> Failure {
    Failure::conflict("Timestamp is out of bounds for the subscription's topic/partition")
}

#[cfg(test)]
mod tests {
    use super::super::paths::ROUTES;
    use super::*;
    use crate::domain::Offset;

    fn said(route: &str, error: &Error) -> (u16, String, &'static str) {
        let route = ROUTES.iter().find(|row| row.name == route).unwrap();
        let failure = translate(route, error);
        (failure.code, failure.message.into_owned(), failure.status)
    }

    #[test]
    fn each_error_is_said_in_the_routes_words() {
        let bounds = Error::OffsetOutOfBounds { first: Offset(0), next: Offset(1) };
        let invalid = Error::Invalid { what: "attributes", why: "are too many".to_owned() };
        let past = "Timestamp is out of bounds for the subscription's topic/partition";
        let down = Error::Unavailable("secret detail".to_owned());
        for (route, error, code, message, status) in [
            ("topics:show", Error::NotFound(Resource::Topic), 404, "Topic doesn't exist", "NOT_FOUND"),
            ("topics:show", Error::NotFound(Resource::Project), 404, "project doesn't exist", "NOT_FOUND"),
            (
                "projects:create",
                Error::AlreadyExists(Resource::Project),
                409,
                "Project already exists",
                "ALREADY_EXISTS",
            ),
            (
                "users:update",
                Error::AlreadyExists(Resource::User),
                400,
                "invalid user name change, name already exists",
                "INVALID_ARGUMENT",
            ),
            ("topics:publish", invalid, 400, "Invalid Message Arguments", "INVALID_ARGUMENT"),
            (
                "topics:publish",
                Error::TooLarge { what: "request", limit: 1 },
                413,
                "Message size is too large",
                "INVALID_ARGUMENT",
            ),
            ("topics:publish", Error::OutcomeUnknown(String::new()), 503, "Backend Error", "UNAVAILABLE"),
            ("topics:publish", Error::StoreFull, 503, "The store is full, try again later", "UNAVAILABLE"),
            (
                "topics:publish",
                Error::Overloaded("publishes"),
                503,
                "Too many publishes, try again later",
                "UNAVAILABLE",
            ),
            ("subscriptions:pull", Error::TopicGone, 409, "Subscription's topic doesn't exist", "CONFLICT"),
            ("subscriptions:pull", Error::Damaged("log 7".to_owned()), 500, "Backend Error", "INTERNAL_SERVER_ERROR"),
            ("subscriptions:acknowledge", Error::NoAckPending, 500, "no ack pending", "INTERNAL_SERVER_ERROR"),
            ("subscriptions:acknowledge", Error::WrongAck, 500, "wrong ack", "INTERNAL_SERVER_ERROR"),
            ("subscriptions:acknowledge", Error::AckTimeout, 408, "ack timeout", "TIMEOUT"),
            ("subscriptions:acknowledge", Error::LeaseSuperseded { refused: 1 }, 408, "ack timeout", "TIMEOUT"),
            ("subscriptions:acknowledge", down.clone(), 503, "Error handling acknowledgement", "UNAVAILABLE"),
            ("subscriptions:modifyOffset", bounds, 400, "Offset out of bounds", "INVALID_ARGUMENT"),
            ("subscriptions:timeToOffset", Error::NothingAtTime, 409, past, "CONFLICT"),
            ("subscriptions:timeToOffset", Error::TopicGone, 409, past, "CONFLICT"),
            ("projects:create", down.clone(), 503, "backend error", "UNAVAILABLE"),
            ("users:list", down, 503, "Internal error while querying datastore", "UNAVAILABLE"),
        ] {
            assert_eq!(said(route, &error), (code, message.to_owned(), status), "{route} {error:?}");
        }
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let answer = Failure::later("Too many pulls").answer();
        assert_eq!(answer.headers().get(RETRY_AFTER).map(|value| value.as_bytes()), Some(&b"1"[..]));
        assert!(Failure::UNAUTHORIZED.answer().headers().get(RETRY_AFTER).is_none());
    }
}
