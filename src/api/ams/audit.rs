//! What the audit topic is told of a call: who, what, when, from where, how it ended. Owns the choice of calls and the words; storing them
//! is the broker's. No body, no query and no token is ever told.

use super::Ams;
use super::error::Failure;
use super::paths::{Operation, Route};
use super::principal::{Caller, Principal};
use super::render::{self, Indent};
use crate::domain::Timestamp;
use crate::domain::message::Attributes;
use actix_web::HttpRequest;
use actix_web::http::Method;
use uuid::Uuid;

/// Most bytes of a text that a client chose.
const TEXT_MAX: usize = 1_024;

/// Whether a call of this route is told: all that change something, but for the flow of messages itself.
pub(crate) fn is_told(ams: &Ams, route: &Route) -> bool {
    use Operation as Op;
    let flow = matches!(
        route.operation,
        Op::TopicsPublish
            | Op::SubscriptionsPull
            | Op::SubscriptionsAcknowledge
            | Op::SubscriptionsModifyAckDeadline
            | Op::SchemasValidate
    );
    route.method != Method::GET && !flow && ams.broker.is_audited()
}

/// Tells a call that has ended, if it is to be told; waits until that is durable, but not for long.
pub(crate) async fn tell(
    ams: &Ams,
    id: Uuid,
    request: &HttpRequest,
    route: &Route,
    who: Option<&Principal>,
    failure: Option<&Failure>,
) {
    if !is_told(ams, route) {
        return;
    }
    let status = failure.map_or(200, |failure| failure.code);
    let outcome = match status {
        200 => "done",
        400..500 => "refused",
        _ => "failed",
    };
    let told = render::object(Indent::Compact, |json| {
        json.field("time").time(Timestamp(ams.broker.clock().wall()));
        json.field("request_id").quoted(id);
        match who.map(|who| &who.caller) {
            Some(Caller::User(user)) => {
                json.field("who").string(user.name.as_str());
                json.field("user").quoted(user.id);
            }
            Some(Caller::Service) => json.field("who").string("(service token)"),
            None => json.field("who").string("(unknown)"),
        }
        if let Some(peer) = request.peer_addr() {
            json.field("from").quoted(peer.ip());
        }
        let forwarded = request.headers().get("x-forwarded-for").and_then(|header| header.to_str().ok());
        json.field_unless_empty("forwarded_for", short(forwarded.unwrap_or_default()));
        json.field("dialect").string("ams");
        json.field("operation").string(route.name);
        json.field("method").string(route.method.as_str());
        json.field("path").string(short(request.path()));
        json.field("outcome").string(outcome);
        json.field("status").number(status);
        if let Some(failure) = failure {
            json.field("reason").string(short(&failure.message));
        }
    });
    let attributes = Attributes::from_pairs([("operation", route.name), ("outcome", outcome)]);
    ams.broker.audit(told, attributes).await;
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default()
}
