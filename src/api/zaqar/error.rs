//! Everything that Zaqar answers when it refuses: the error object, the contract's texts, and the one table from domain errors to them.

use super::json;
use crate::auth::keystone::Unknown;
use crate::domain::Error;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use std::borrow::Cow;

/// The type of every body but the home document's.
pub(crate) const JSON: &str = "application/json";

/// A failure as the client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The kind.
    pub(crate) title: &'static str,
    /// For people, and for clients that compare it; none for the bare ones.
    pub(crate) description: Option<Cow<'static, str>>,
    /// What it is about, if clients are told where that is.
    pub(crate) location: Option<String>,
}

/// Why a handler did not answer: in the dialect's words, or in the domain's, to be translated for the route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Said by the dialect itself.
    Said(Failure),
    /// Said by what is below.
    Met(Error),
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

const fn said(status: u16, title: &'static str, description: &'static str) -> Failure {
    Failure { status, title, description: Some(Cow::Borrowed(description)), location: None }
}

const fn bare(status: u16, title: &'static str) -> Failure {
    Failure { status, title, description: None, location: None }
}

const BODY: &str = "Invalid request body";

const NOT_KNOWN: &str = r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#;

/// The contract's table (`zaqar-v2.md` §1.4).
impl Failure {
    pub(crate) const NO_ROUTE: Self = bare(404, "404 Not Found");
    pub(crate) const WRONG_METHOD: Self = bare(405, "405 Method Not Allowed");
    pub(crate) const FORBIDDEN: Self = said(403, "Not authorized", "You are not authorized to complete this action.");
    pub(crate) const STRANGE_HOST: Self = said(
        403,
        "Not authorized",
        "Requests without authentication are taken under an address, localhost or a name in zaqar.hosts.",
    );
    pub(crate) const FORM: Self = said(
        400,
        "Invalid Content-Type",
        "Endpoint does not accept `application/x-www-form-urlencoded` content; currently supported media type is \
         `application/json`; specify proper client-side media type with the \"Content-Type\" header.",
    );
    pub(crate) const NOT_ACCEPTABLE: Self = said(
        406,
        "406 Not Acceptable",
        "Endpoint only serves `application/json`; specify client-side media type support with the \"Accept\" header.",
    );
    pub(crate) const NO_CLIENT: Self = said(400, "Missing header value", "The \"Client-Id\" header is required.");
    pub(crate) const WRONG_CLIENT: Self = said(400, "Wrong UUID value", "Malformed hexadecimal UUID.");
    pub(crate) const NO_PROJECT: Self = said(400, "Project-Id Missing", "The header X-PROJECT-ID was missing");
    pub(crate) const EMPTY_PROJECT: Self = said(
        400,
        "Empty project header not allowed",
        "X-PROJECT-ID cannot be an empty string. Specify the right header X-PROJECT-ID and retry.",
    );
    pub(crate) const WRONG_QUEUE: Self =
        said(400, "Invalid queue identification", "The format of the submitted queue name or project id is not valid.");
    pub(crate) const WRONG_TOPIC: Self =
        said(400, "Invalid topic identification", "The format of the submitted topic name or project id is not valid.");
    pub(crate) const WRONG_PATCH: Self = said(
        415,
        "415 Unsupported Media Type",
        "Accepted media type for PATCH: {'Accept-Patch': 'application/openstack-messaging-v2.0-json-patch'}.",
    );
    pub(crate) const UNPARSED: Self = said(400, BODY, "Request body could not be parsed.");
    pub(crate) const NO_BODY: Self = said(400, BODY, "Request body can not be empty");
    pub(crate) const BIG_INTEGER: Self = said(400, BODY, "JSON contains integer that is too large.");
    pub(crate) const WRONG_DOCUMENT: Self = said(400, BODY, "Document type not supported.");
    pub(crate) const LATE_BODY: Self = said(408, BODY, "The request body came too slowly.");
    pub(crate) const CLAIMED: Self =
        said(403, "Unable to delete", "This message is claimed; it cannot be deleted without a valid claim ID.");
    pub(crate) const NO_SUCH_CLAIM: Self =
        said(400, "Unable to delete", "The specified claim does not exist or has expired.");
    pub(crate) const NOT_CLAIMED: Self =
        said(400, "Unable to delete", "A claim was specified, but the message is not currently claimed.");

    /// Something is out of its range or not as the operation wants it.
    pub(crate) fn request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::of(400, "Invalid API request", description)
    }

    /// The body's form is wrong.
    pub(crate) fn body(description: impl Into<Cow<'static, str>>) -> Self {
        Self::of(400, BODY, description)
    }

    /// Whether it is the body's form that is wrong.
    pub(crate) fn is_about_body(&self) -> bool {
        self.title == BODY
    }

    /// A query parameter's form is wrong.
    pub(crate) fn parameter(description: String) -> Self {
        Self::of(400, "Invalid parameter", description)
    }

    /// There is no such thing.
    pub(crate) fn not_found(description: String) -> Self {
        Self::of(404, "Not found", description)
    }

    /// A change names nothing to change.
    pub(crate) fn no_change(description: String) -> Self {
        Self::of(400, "Unable to update subscription", description)
    }

    /// It cannot be done to what is there.
    pub(crate) fn conflict(description: String) -> Self {
        Self::of(409, "Resource conflict", description)
    }

    /// The same, telling where what is there is.
    pub(crate) fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }

    fn of(status: u16, title: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { status, title, description: Some(description.into()), location: None }
    }

    /// Nothing was done, or nobody knows; a later try may work.
    pub(crate) fn later(operation: &str) -> Self {
        let description = format!("{operation} Please try again in a few seconds.");
        Self::of(503, "Service temporarily unavailable", description)
    }

    /// The answer to send.
    pub(crate) fn answer(&self) -> HttpResponse {
        let mut body = b"{\"title\": ".to_vec();
        json::string(self.title, &mut body);
        if let Some(description) = &self.description {
            body.extend_from_slice(b", \"description\": ");
            json::string(description, &mut body);
        }
        body.push(b'}');
        let mut answer = HttpResponse::build(StatusCode::from_u16(self.status).unwrap_or_default());
        answer.insert_header((CONTENT_TYPE, JSON)).insert_header((VARY, "Accept"));
        if let Some(location) = &self.location {
            answer.insert_header((LOCATION, location.as_str()));
        }
        if self.status == 503 {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        answer.body(body)
    }
}

/// What is answered to who is not known: where to log in, or when to come back. Keystone's own form, not this dialect's.
pub(crate) fn unknown(why: &Unknown, keystone: &str) -> HttpResponse {
    match why {
        Unknown::Refused => HttpResponse::Unauthorized()
            .insert_header((CONTENT_TYPE, JSON))
            .insert_header((WWW_AUTHENTICATE, format!("Keystone uri=\"{keystone}\"")))
            .body(NOT_KNOWN),
        Unknown::Unavailable(_) => HttpResponse::ServiceUnavailable()
            .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
            .insert_header((RETRY_AFTER, "1"))
            .body("The Keystone service is temporarily unavailable.\n"),
    }
}

/// The table: a domain error as a route says it whose failure reads `trouble`.
pub(crate) fn translate(trouble: &str, error: &Error) -> Failure {
    match error {
        Error::Invalid { what, why } => Failure::request(format!("The {what} {why}.")),
        Error::TooLarge { what, limit } => Failure::request(format!("The {what} is too large. Max size: {limit}")),
        // Whatever else is wrong is ours or passes by, and told to the log alone.
        _ => Failure::later(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_bare_failure_has_a_title_alone_and_trouble_says_when_to_come_back() {
        let body = async |answer: HttpResponse| actix_web::body::to_bytes(answer.into_body()).await.unwrap();
        assert_eq!(body(Failure::NO_ROUTE.answer()).await, r#"{"title": "404 Not Found"}"#);
        let answer = translate("Queues could not be listed.", &Error::Unavailable("secret".to_owned())).answer();
        assert_eq!(answer.headers().get(RETRY_AFTER).map(|value| value.as_bytes()), Some(&b"1"[..]));
        assert_eq!(
            body(answer).await,
            r#"{"title": "Service temporarily unavailable", "description": "Queues could not be listed. Please try again in a few seconds."}"#
        );
    }
}
