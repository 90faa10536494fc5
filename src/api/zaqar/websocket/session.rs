//! One connection's session: who speaks, what is answered.

use super::actions::{self, Action};
use super::frame::{self, Frame, Headers, Reply};
use super::frame_bytes;
use crate::api::websocket::{Line, Message};
use crate::api::zaqar::caller::{self, Caller, Signed};
use crate::api::zaqar::error::{Failure, Refusal, translate};
use crate::api::zaqar::request::Call;
use crate::api::zaqar::routes::{Operation, route_of};
use crate::api::zaqar::{Zaqar, ZaqarOptions, json};
use crate::auth::policy;
use crate::domain::ProducerId;
use bytes::Bytes;
use std::sync::Arc;
use tracing::Instrument;
use uuid::Uuid;

/// The action that says who speaks.
const AUTHENTICATE: &str = "authenticate";
/// What begins a text about a body's form.
const BAD_REQUEST: &str = "Bad request. ";

/// What a client and its service know of each other.
#[derive(Debug)]
pub(super) struct Session {
    zaqar: Arc<Zaqar>,
}

impl Session {
    pub(super) fn new(zaqar: Arc<Zaqar>) -> Self {
        Self { zaqar }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self, mut line: Line) {
        loop {
            tokio::select! {
                message = line.next() => match message {
                    Some(message) => line.send(self.answer(message).await),
                    None => break,
                },
                () = self.zaqar.closing.cancelled() => {
                    line.close(1001, "The service stops.");
                    break;
                }
            }
        }
    }

    /// Answers a message, and counts it.
    pub(super) async fn answer(&self, message: Message) -> Message {
        let clock = self.zaqar.broker.clock();
        let started = clock.monotonic();
        let (id, options) = (Uuid::new_v4(), Arc::clone(&self.zaqar.options()));
        let text = match frame::text(&message, frame_bytes(&options)) {
            Ok(text) => text,
            Err(reply) => {
                self.zaqar.metrics.observe(None, reply.status, clock.monotonic().saturating_sub(started));
                return frame::message(message.kind, Frame::default().answered(&reply));
            }
        };
        let (frame, reply, place) = match Frame::read(&text, message.kind) {
            Err(reply) => (Frame::default(), reply, None),
            Ok(frame) => {
                let name = frame.action();
                let action = Action::find(&name);
                let operation = action.map_or("none", |action| action.name);
                let span = tracing::debug_span!("request", dialect = "zaqar", request_id = %id, operation);
                let reply = match action {
                    Some(action) => self.act(&options, id, action, &frame, &text).instrument(span).await,
                    None if name == AUTHENTICATE => authenticate(&frame),
                    None => Reply::error(400, &format!("{name} is not a valid action")),
                };
                (frame, reply, action.and_then(|action| route_of(action.operation)).map(|(place, _)| place))
            }
        };
        self.zaqar.metrics.observe(place, reply.status, clock.monotonic().saturating_sub(started));
        frame::message(message.kind, frame.answered(&reply))
    }

    /// The contract's order of checks (`zaqar-v2.md` §17.2), then the action.
    async fn act(&self, options: &ZaqarOptions, id: Uuid, action: &Action, frame: &Frame<'_>, text: &Bytes) -> Reply {
        let wrong = || Reply::error(400, "Schema validation failed.");
        let Some(headers) = frame.headers() else { return wrong() };
        let (client, project) = (headers.text("client-id"), headers.text("x-project-id"));
        let (Some(client), Some(project)) = (client, project) else { return wrong() };
        let body = frame.body();
        if body.is_none() && (frame.has_body() || action.wants_body()) {
            return wrong();
        }
        let Some(given) = action.read(body) else { return wrong() };
        let queue = given.queue.as_deref();
        if headers.has("url-signature") && !self.is_signed(options, action, &headers, &project, queue) {
            return Reply::error(403, "Not authentified.");
        }
        let Some((_, route)) = route_of(action.operation) else { return wrong() };
        let done = async {
            if project.is_empty() {
                return Err(Failure::EMPTY_PROJECT.into());
            }
            if let Some(queue) = queue {
                caller::check_names(queue, &project)?;
            }
            let caller = Caller {
                client: client_id(options, action, &client)?,
                project: project.into_owned(),
                roles: roles(options, &headers),
            };
            if !policy::may(route.rule, &caller.roles) {
                return Err(Failure::FORBIDDEN.into());
            }
            let queue = queue.and_then(caller::queue_name);
            let (body, id, query) = (given.body(text), &given.id, given.query.clone());
            let call = Call { zaqar: &self.zaqar, options, caller, queue, id, query, body, patches: false };
            actions::perform(action, &call).await
        };
        match done.await {
            Ok(reply) => reply,
            Err(Refusal::Said(failure)) => {
                let (status, reason) = (failure.status, &failure.description);
                tracing::info!(request_id = %id, operation = action.name, status, ?reason, "refused");
                refused(&failure)
            }
            Err(Refusal::Met(error)) => {
                let failure = translate(route.trouble, &error);
                tracing::warn!(request_id = %id, operation = action.name, status = failure.status, cause = %error, "failed");
                refused(&failure)
            }
        }
    }

    /// Whether a signature opens this action (quirk 18, mended: its paths must cover the queue).
    fn is_signed(
        &self,
        options: &ZaqarOptions,
        action: &Action,
        headers: &Headers<'_>,
        project: &str,
        queue: Option<&str>,
    ) -> bool {
        let (Some((method, part)), Some(queue)) = (action.signed, queue) else { return false };
        let (Some(paths), Some(methods)) = (headers.list("url-paths"), headers.list("url-methods")) else { return false };
        let signed = Signed {
            paths: paths.iter().map(String::as_str).collect(),
            methods: methods.iter().map(String::as_str).collect(),
            project,
            expires: &headers.text("url-expires").unwrap_or_default(),
            signature: &headers.text("url-signature").unwrap_or_default(),
        };
        signed.opens(&self.zaqar, options, method, &format!("/v2/queues/{queue}/{part}"))
    }
}

/// Without authentication there is nothing to check; clients ask all the same (quirk 18).
fn authenticate(frame: &Frame<'_>) -> Reply {
    let headers = frame.headers();
    let has = |name| headers.as_ref().is_some_and(|headers| headers.text(name).is_some());
    if has("x-project-id") && has("x-auth-token") {
        Reply::new(200, r#"{"message": "Authentified."}"#)
    } else {
        Reply::error(400, "Schema validation failed.")
    }
}

/// The Client-ID, which counts where messages are posted and listed.
fn client_id(options: &ZaqarOptions, action: &Action, given: &str) -> Result<ProducerId, Failure> {
    let client = caller::client(options, given);
    if matches!(action.operation, Operation::MessagesPost | Operation::MessagesList) {
        client.map_err(|_| Failure::request("badly formed hexadecimal UUID string"))
    } else {
        Ok(client.unwrap_or(ProducerId(1)))
    }
}

/// The roles that a frame claims, where they are believed; the bearer of a signature has none.
fn roles(options: &ZaqarOptions, headers: &Headers<'_>) -> Vec<String> {
    if options.trust_roles && !headers.has("url-signature") {
        caller::roles_of(&headers.text("x-roles").unwrap_or_default())
    } else {
        Vec::new()
    }
}

/// A refusal as this transport tells it: the same text twice, for clients look at either.
fn refused(failure: &Failure) -> Reply {
    let description = failure.description.as_deref().unwrap_or(failure.title);
    let text = if failure.is_about_body() { format!("{BAD_REQUEST}{description}") } else { description.to_owned() };
    let mut body = b"{\"error\": ".to_vec();
    json::string(&text, &mut body);
    body.extend_from_slice(b", \"exception\": ");
    json::string(&text, &mut body);
    body.push(b'}');
    Reply { status: failure.status, body }
}
