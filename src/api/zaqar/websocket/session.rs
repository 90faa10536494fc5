//! One connection's session: who speaks, what is answered.

use super::actions::{self, Action};
use super::followed::Followed;
use super::frame::{self, Frame, Headers, Reply};
use super::frame_bytes;
use crate::api::zaqar::caller::{self, Caller, Known, SIGNATURE, Signed};
use crate::api::zaqar::collection::Collection;
use crate::api::zaqar::error::{Failure, Refusal, translate};
use crate::api::zaqar::request::{Call, permit};
use crate::api::zaqar::routes::{Operation, Route, route_of};
use crate::api::zaqar::websocket::transport::{Heard, Kind, Line, Message};
use crate::api::zaqar::{Zaqar, ZaqarOptions, json, subscriptions};
use crate::auth::keystone::Unknown;
use crate::domain::ProducerId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;
use uuid::Uuid;

/// The action that says who speaks.
const AUTHENTICATE: &str = "authenticate";
/// With what code a connection ends when its client's token does.
const EXPIRED: u16 = 4003;
/// Longest time between two looks whether a token still says who its bearer is.
const LOOK: Duration = Duration::from_secs(300);
/// What begins a text about a body's form.
const BAD_REQUEST: &str = "Bad request. ";

/// What a client and its service know of each other.
#[derive(Debug)]
pub(super) struct Session {
    zaqar: Arc<Zaqar>,
    /// Who Keystone says it is.
    known: Option<Known>,
    followed: Followed,
}

impl Session {
    pub(super) fn new(zaqar: Arc<Zaqar>) -> Self {
        Self { zaqar, known: None, followed: Followed::default() }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(mut self, mut line: Line) {
        loop {
            let (has_room, left) = (line.has_room(), self.left());
            tokio::select! {
                heard = line.next() => match heard {
                    Some(Heard::Message(message)) => line.send(self.answer(message).await),
                    Some(Heard::Room) => {}
                    None => break,
                },
                told = self.followed.next(), if has_room => line.send(told),
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                    if !self.is_still_known().await {
                        line.close(EXPIRED, "Authentication expired.");
                        break;
                    }
                }
                () = self.zaqar.closing.cancelled() => {
                    line.close(1001, "The service stops.");
                    break;
                }
            }
        }
    }

    /// How long until it is asked again whether the client is still who it was; none for one that nobody knows.
    fn left(&self) -> Option<Duration> {
        let known = self.known.as_ref()?;
        Some(known.identity.expires.since(self.zaqar.now()).min(LOOK))
    }

    /// Whether the token that the client came with still says who it is. A Keystone that cannot say so says nothing against it.
    async fn is_still_known(&mut self) -> bool {
        let Some(known) = &self.known else { return false };
        if known.identity.expires <= self.zaqar.now() {
            return false;
        }
        !matches!(caller::authenticate(&self.zaqar, Some(known.token.reveal())).await, Err(Unknown::Refused))
    }

    /// Answers a message, and counts it.
    pub(super) async fn answer(&mut self, message: Message) -> Message {
        let zaqar = Arc::clone(&self.zaqar);
        let started = zaqar.broker.clock().monotonic();
        let options = Arc::clone(&zaqar.options());
        let kind = message.kind;
        let (place, status, answer) = match frame::text(&message, frame_bytes(&options)) {
            Err(reply) => (None, reply.status, Frame::default().answered(&reply)),
            Ok(text) => match Frame::read(&text, kind) {
                Err(reply) => (None, reply.status, Frame::default().answered(&reply)),
                Ok(frame) => {
                    let (place, reply) = self.reply(&options, kind, &frame, &text).await;
                    let echoed = if frame.action() == AUTHENTICATE { frame.bare() } else { frame };
                    (place, reply.status, echoed.answered(&reply))
                }
            },
        };
        zaqar.metrics.observe(place, status, zaqar.broker.clock().monotonic().saturating_sub(started));
        frame::message(kind, answer)
    }

    /// The reply to a frame, and the place of its route.
    async fn reply(
        &mut self,
        options: &ZaqarOptions,
        kind: Kind,
        frame: &Frame<'_>,
        text: &Bytes,
    ) -> (Option<usize>, Reply) {
        let name = frame.action();
        if name == AUTHENTICATE {
            return (None, self.authenticate(frame).await);
        }
        let found = Action::find(&name).and_then(|action| Some((action, route_of(action.operation)?)));
        let Some((action, (place, route))) = found else {
            return (None, Reply::error(400, &format!("{name} is not a valid action")));
        };
        let id = Uuid::new_v4();
        let span = tracing::debug_span!("request", dialect = "zaqar", request_id = %id, operation = action.name);
        let asked = Asked { kind, action, route, frame, text };
        let reply = match self.act(options, &asked).instrument(span).await {
            Ok(reply) => reply,
            Err(Refused::Here(reply)) => reply,
            Err(Refused::There(Refusal::Said(failure))) => {
                let (status, reason) = (failure.status, &failure.description);
                tracing::info!(request_id = %id, operation = action.name, status, ?reason, "refused");
                refused(&failure)
            }
            Err(Refused::There(Refusal::Met(error))) => {
                let failure = translate(route.trouble, &error);
                let status = failure.status;
                tracing::warn!(request_id = %id, operation = action.name, status, cause = %error, "failed");
                refused(&failure)
            }
        };
        (Some(place), reply)
    }

    /// The contract's order of checks (`zaqar-v2.md` §17.2), then the action.
    async fn act(&mut self, options: &ZaqarOptions, asked: &Asked<'_>) -> Result<Reply, Refused> {
        let Asked { action, frame, .. } = asked;
        let wrong = || Refused::Here(Reply::error(400, "Schema validation failed."));
        let headers = frame.headers().ok_or_else(wrong)?;
        let client = headers.text("client-id").ok_or_else(wrong)?;
        let project = headers.text("x-project-id").ok_or_else(wrong)?;
        let body = frame.body();
        if body.is_none() && (frame.has_body() || action.wants_body()) {
            return Err(wrong());
        }
        let given = action.read(body).ok_or_else(wrong)?;
        let queue = given.queue.as_deref();
        let signed = headers.has(SIGNATURE);
        if signed && !self.is_signed(options, action, &headers, &project, queue) {
            return Err(not_known());
        }
        let known = if signed { None } else { self.identify(&project).await? };
        if project.is_empty() {
            return Err(Failure::EMPTY_PROJECT.into());
        }
        if let Some(queue) = queue {
            caller::check_names(Collection::Queues, queue, &project)?;
        }
        let claimed = || headers.text("x-roles").unwrap_or_default().into_owned();
        let caller = Caller {
            client: client_id(options, action, &client)?,
            project: project.into_owned(),
            roles: caller::roles_of(&self.zaqar, options, known.as_ref(), signed, claimed),
            known,
            signed,
        };
        let queue = queue.and_then(|name| Collection::Queues.name(name));
        permit(&self.zaqar, options, &caller, asked.route.rule, queue.as_ref()).await?;
        let (body, id, query) = (given.body(asked.text), &given.id, given.query.clone());
        let (zaqar, collection) = (&self.zaqar, Collection::Queues);
        let call = Call { zaqar, options, caller, collection, queue, id, query, body, patches: false };
        if let (true, Some(queue)) = (actions::subscribes_itself(&call, action), &call.queue) {
            let wish = subscriptions::of_connection(&call)?;
            let made = self.followed.begin(&self.zaqar, &call.caller.project, queue, wish, asked.kind).await;
            return Ok(actions::subscribed(queue.as_str(), made.map_err(Refusal::from))?);
        }
        Ok(actions::perform(action, &call).await?)
    }

    /// Notes who speaks from now on. Without Keystone there is nothing to note; clients ask all the same (quirk 18).
    async fn authenticate(&mut self, frame: &Frame<'_>) -> Reply {
        let headers = frame.headers();
        let text = |name| headers.as_ref().and_then(|headers| headers.text(name));
        let (Some(project), Some(token)) = (text("x-project-id"), text("x-auth-token")) else {
            return Reply::error(400, "Schema validation failed.");
        };
        let failed = |status| Reply::error(status, "Authentication failed.");
        match caller::authenticate(&self.zaqar, Some(&token)).await {
            Err(Unknown::Refused) => return failed(401),
            Err(Unknown::Unavailable(_)) => return failed(503),
            Ok(Some(known)) if known.identity.project.as_deref() != Some(&*project) => return failed(403),
            Ok(known) => self.known = known,
        }
        Reply::new(200, r#"{"message": "Authentified."}"#)
    }

    /// Who speaks, for a frame that names this project (quirk 18, mended: it must be the token's). None where nobody is asked.
    async fn identify(&mut self, project: &str) -> Result<Option<Known>, Refused> {
        if self.zaqar.keystone.is_none() {
            return Ok(None);
        }
        let token = self.known.as_ref().map(|known| known.token.reveal()).ok_or_else(not_known)?;
        match caller::authenticate(&self.zaqar, Some(token)).await {
            Ok(known) => self.known = known,
            Err(Unknown::Refused) => {
                self.known = None;
                return Err(not_known());
            }
            Err(Unknown::Unavailable(_)) => return Err(Failure::later("Keystone cannot be asked.").into()),
        }
        let own = self.known.as_ref().and_then(|known| known.identity.project.as_deref());
        if own == Some(project) { Ok(self.known.clone()) } else { Err(not_known()) }
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
        let (Some(paths), Some(methods)) = (headers.list("url-paths"), headers.list("url-methods")) else {
            return false;
        };
        let signed = Signed {
            paths: paths.iter().map(String::as_str).collect(),
            methods: methods.iter().map(String::as_str).collect(),
            project,
            expires: &headers.text("url-expires").unwrap_or_default(),
            signature: &headers.text(SIGNATURE).unwrap_or_default(),
        };
        signed.opens(&self.zaqar, options, method, &format!("/v2/queues/{queue}/{part}"))
    }
}

/// A frame whose action is known.
struct Asked<'a> {
    kind: Kind,
    action: &'static Action,
    route: &'static Route,
    frame: &'a Frame<'a>,
    text: &'a Bytes,
}

/// Why an action was not done.
enum Refused {
    /// This transport says so itself.
    Here(Reply),
    /// As over HTTP.
    There(Refusal),
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(refusal: T) -> Self {
        Self::There(refusal.into())
    }
}

fn not_known() -> Refused {
    Refused::Here(Reply::error(403, "Not authentified."))
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
