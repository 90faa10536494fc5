//! What the audit topic is told of a call: who, what, when, from where, how it ended. Owns the choice of calls and the words; storing them
//! is the broker's. No body, no query and no token is ever told.

use super::Ams;
use super::error::Failure;
use super::paths::{Operation, Route};
use super::principal::{Caller, Principal};
use super::render::{self, Indent};
use crate::broker::Broker;
use crate::domain::Timestamp;
use crate::domain::message::Attributes;
use actix_web::HttpRequest;
use actix_web::http::Method;
use std::net::IpAddr;
use uuid::Uuid;

/// Most bytes of a text that a client chose.
const TEXT_MAX: usize = 1_024;

/// Whether a call of this route is told: all that change something, but for the flow of messages itself.
fn is_told(ams: &Ams, route: &Route) -> bool {
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

/// A call that is to be told, from its beginning: it is told also when its client goes away before its end.
pub(crate) struct Witness {
    broker: Broker,
    id: Uuid,
    route: &'static Route,
    from: Option<IpAddr>,
    forwarded_for: String,
    path: String,
    /// Who asks, as soon as that is known.
    pub(crate) who: Option<Principal>,
    told: bool,
}

impl Witness {
    /// Of a call that begins; none when it is not to be told.
    pub(crate) fn of(ams: &Ams, id: Uuid, request: &HttpRequest, route: &'static Route) -> Option<Self> {
        let forwarded_for = request.headers().get("x-forwarded-for").and_then(|header| header.to_str().ok());
        is_told(ams, route).then(|| Self {
            broker: ams.broker.clone(),
            id,
            route,
            from: request.peer_addr().map(|peer| peer.ip()),
            forwarded_for: short(forwarded_for.unwrap_or_default()).to_owned(),
            path: short(request.path()).to_owned(),
            who: None,
            told: false,
        })
    }

    /// Tells how the call ended; waits until that is durable, but not for long.
    pub(crate) async fn tell(mut self, failure: Option<&Failure>) {
        let outcome = match failure.map_or(200, |failure| failure.code) {
            200 => "done",
            400..500 => "refused",
            _ => "failed",
        };
        // A task of its own: it goes on when nobody waits any more.
        let _ = tokio::spawn(self.telling(outcome, failure)).await;
    }

    fn telling(&mut self, outcome: &'static str, failure: Option<&Failure>) -> impl Future<Output = ()> + 'static {
        self.told = true;
        let attributes = Attributes::from_pairs([("operation", self.route.name), ("outcome", outcome)]);
        let (broker, words) = (self.broker.clone(), self.words(outcome, failure));
        async move { broker.audit(words, attributes).await }
    }

    fn words(&self, outcome: &str, failure: Option<&Failure>) -> Vec<u8> {
        render::object(Indent::Compact, |json| {
            json.field("time").time(Timestamp(self.broker.clock().wall()));
            json.field("request_id").quoted(self.id);
            match self.who.as_ref().map(|who| &who.caller) {
                Some(Caller::User(user)) => {
                    json.field("who").string(user.name.as_str());
                    json.field("user").quoted(user.id);
                }
                Some(Caller::Service) => json.field("who").string("(service token)"),
                None => json.field("who").string("(unknown)"),
            }
            if let Some(from) = self.from {
                json.field("from").quoted(from);
            }
            json.field_unless_empty("forwarded_for", &self.forwarded_for);
            json.field("dialect").string("ams");
            json.field("operation").string(self.route.name);
            json.field("method").string(self.route.method.as_str());
            json.field("path").string(&self.path);
            json.field("outcome").string(outcome);
            if let Some(failure) = failure {
                json.field("status").number(failure.code);
                json.field("reason").string(short(&failure.message));
            } else if outcome == "done" {
                json.field("status").number(200);
            }
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !self.told
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.telling("broken off", None));
        }
    }
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default()
}
