//! A round: everything that waits is judged one after the other on one state, all events go into one append, and only then is anybody
//! answered. A round without events is answered only when the log holds nothing that the state does not have.
//!
//! Owns the way from commands to durable answers. What a command means is the domain's affair; when a round begins, `actor`'s.

use super::actor::{Answer, Ask, Seen, SubscriptionActor};
use super::replica::{Replica, Stand};
use crate::broker::Broker;
use crate::broker::log;
use crate::broker::resolve::Standing;
use crate::broker::topic::Found;
use crate::domain::message::Header;
use crate::domain::subscription::headers::Span;
use crate::domain::subscription::{
    Command, Decision, Event, Headers, Observer, Reply, Subscription, View, apply, decide,
};
use crate::domain::{Error, Offset, Resource, Result, Timestamp};
use crate::storage::{LogId, Purpose};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How often a round is tried while others append to the same log.
const ATTEMPTS_MAX: u32 = 100;
/// Headers are loaded anew when they have become so many pieces, or so many.
const SPANS_MAX: usize = 64;
const HEADERS_MAX: usize = 20_000;

/// What one actor's task works with. Nothing in it is more than speed: all of it can be loaded again.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// None when it is not loaded, or was ahead of the log.
    replica: Option<Replica>,
    headers: Headers,
    /// How many pieces they are, and how many.
    loaded: (usize, usize),
    headers_of: Option<LogId>,
    /// When the next delayed message among the headers becomes visible.
    visible_at: Option<Timestamp>,
}

/// What a round leaves.
#[derive(Default)]
pub(super) struct Outcome {
    /// Those who found nothing and wait.
    pub(super) parked: Vec<Ask>,
    /// Whether messages became free that may be wanted by those who wait.
    pub(super) freed: bool,
    /// The topic as the round saw it.
    pub(super) topic: Option<Standing>,
}

/// One ask, judged.
enum Verdict {
    Reply(Result<Reply>),
    /// It found nothing and waits.
    Nothing,
    Look,
}

/// All asks of a round, judged.
#[derive(Default)]
struct Judged {
    verdicts: Vec<Verdict>,
    events: Vec<Event>,
    freed: bool,
    tally: Tally,
}

/// What a round adds to the metrics once it is durable.
#[derive(Default)]
struct Tally {
    delivered: u64,
    redelivered: u64,
    acknowledged: u64,
    forgotten: u64,
}

impl Desk {
    /// Gives back what can be had again cheaply.
    pub(super) fn relax(&mut self) {
        (self.headers, self.loaded, self.visible_at) = (Headers::default(), (0, 0), None);
    }

    /// How long until time alone makes a message deliverable.
    pub(super) fn next_timer(&self, broker: &Broker) -> Option<Duration> {
        let deadline = self.replica.as_ref().and_then(|replica| replica.state.next_deadline(broker.inner.observer()));
        let next = deadline.into_iter().chain(self.visible_at).min()?;
        Some(next.since(broker.now()).max(Duration::from_millis(1)))
    }

    /// Answers everybody but those who wait.
    pub(super) async fn round(&mut self, actor: &Arc<SubscriptionActor>, broker: &Broker, asks: Vec<Ask>) -> Outcome {
        let about = actor.about();
        let mut pause = Duration::ZERO;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(actor, broker, &about, &asks).await {
                Ok(Some((judged, topic))) => {
                    judged.tally.count(broker, &about);
                    let outcome = self.answer(actor, broker, asks, judged, topic);
                    let every = broker.inner.options.snapshot_every;
                    self.snapshot_if(broker, |replica| replica.wants_snapshot(every)).await;
                    return outcome;
                }
                Ok(None) => {}
                Err(Error::StoreFull) if asks.len() > 1 => {
                    // What frees room must not fail for what takes some.
                    let mut outcome = Outcome::default();
                    for ask in asks {
                        let one = Box::pin(self.round(actor, broker, vec![ask])).await;
                        outcome.parked.extend(one.parked);
                        outcome.freed |= one.freed;
                        outcome.topic = one.topic.or(outcome.topic);
                    }
                    return outcome;
                }
                Err(error) => return refuse(asks, &error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause + Duration::from_millis(1)).min(Duration::from_millis(20));
        }
        refuse(asks, &Error::Overloaded("changes of one subscription"))
    }

    /// Judges all asks and makes the outcome durable; none when it has to be done again.
    async fn attempt(
        &mut self,
        actor: &SubscriptionActor,
        broker: &Broker,
        about: &Subscription,
        asks: &[Ask],
    ) -> Result<Option<(Judged, Option<Standing>)>> {
        let topic = broker.standing(about.project, &about.topic).await?;
        // Taken out, so that a state that is ahead of the log is lost on every way out but the good ones.
        let mut replica = match self.replica.take() {
            Some(replica) => replica,
            None => Replica::load(broker, actor.log).await?,
        };
        self.prepare_headers(topic.as_ref(), broker.now());
        let Some(mut judged) = self.judge_all(broker, about, topic.as_ref(), &mut replica, asks).await? else {
            return Ok(None);
        };
        let events = std::mem::take(&mut judged.events);
        if events.is_empty() {
            let current = replica.is_current(broker).await?;
            if !current {
                replica.catch_up(broker).await?;
            }
            self.replica = Some(replica);
            return Ok(current.then_some((judged, topic)));
        }
        let purpose = if events.iter().all(frees_room) { Purpose::Relief } else { Purpose::Upkeep };
        match replica.append(broker, events, purpose).await? {
            log::Outcome::Appended(_) => {
                self.replica = Some(replica);
                Ok(Some((judged, topic)))
            }
            log::Outcome::Conflict => Ok(None),
            log::Outcome::Closed => Err(Error::NotFound(Resource::Subscription)),
        }
    }

    async fn judge_all(
        &mut self,
        broker: &Broker,
        about: &Subscription,
        topic: Option<&Standing>,
        replica: &mut Replica,
        asks: &[Ask],
    ) -> Result<Option<Judged>> {
        let mut judged = Judged::default();
        let mut nothing_left = false;
        for ask in asks {
            let Ask::Command { command, waits, reply } = ask else {
                judged.verdicts.push(Verdict::Look);
                continue;
            };
            // What one of these finds says nothing of what the others would.
            let picky =
                matches!(command, Command::Lease(request) if request.except_producer.is_some() || request.early);
            if *waits && (reply.is_closed() || nothing_left && !picky) {
                judged.verdicts.push(Verdict::Nothing);
                continue;
            }
            let Some(reply) = self.judge(broker, about, topic, replica, command, &mut judged).await? else {
                return Ok(None);
            };
            let nothing = matches!(&reply, Ok(Reply::Leased { grants, .. }) if grants.is_empty());
            nothing_left |= nothing && !picky;
            judged.verdicts.push(if nothing && *waits { Verdict::Nothing } else { Verdict::Reply(reply) });
        }
        Ok(Some(judged))
    }

    /// Judges one command and applies its events; none when the topic turned out to be another than it was taken for.
    async fn judge(
        &mut self,
        broker: &Broker,
        about: &Subscription,
        topic: Option<&Standing>,
        replica: &mut Replica,
        command: &Command,
        judged: &mut Judged,
    ) -> Result<Option<Result<Reply>>> {
        let now = broker.now();
        loop {
            let Some(view) = view(topic, replica, command, about, &self.headers, broker.inner.observer()) else {
                return Ok(Some(Err(Error::TopicGone)));
            };
            match decide(&replica.state, command, now, &view) {
                Ok(Decision::Done { events, reply }) => {
                    judged.tally.add(command, &events, &reply, &replica.state);
                    judged.freed |= events.iter().any(frees_messages);
                    events.iter().for_each(|event| apply(&mut replica.state, event));
                    judged.events.extend(events);
                    return Ok(Some(Ok(reply)));
                }
                Ok(Decision::Need(range)) => {
                    let Some(topic) = topic else { return Ok(Some(Err(Error::TopicGone))) };
                    if !self.load_headers(broker, topic, range, now).await? {
                        return Ok(None);
                    }
                }
                Err(Error::StaleIncarnation) => {
                    let known = broker.topic_now(about.project, &about.topic).await.map(|topic| topic.incarnation);
                    tracing::debug!(?known, "a subscription stands on a later topic than was known");
                    return Ok(None);
                }
                Err(error) => return Ok(Some(Err(error))),
            }
        }
    }

    /// Forgets headers that are another topic's, too scattered, or late.
    fn prepare_headers(&mut self, topic: Option<&Standing>, now: Timestamp) {
        let log = topic.map(|topic| topic.actor.log());
        let late = self.visible_at.is_some_and(|at| at <= now);
        let much = self.loaded.0 >= SPANS_MAX || self.loaded.1 >= HEADERS_MAX;
        if late || much || self.headers_of != log {
            self.relax();
            self.headers_of = log;
        }
    }

    /// Loads the headers of a range, or of its beginning: summaries where they do, unless one stands there already and did not.
    async fn load_headers(
        &mut self,
        broker: &Broker,
        topic: &Standing,
        range: Range<Offset>,
        now: Timestamp,
    ) -> Result<bool> {
        let each_one = self.headers.span(range.start).is_some();
        let batches = match topic.actor.read(broker, range.clone()).await? {
            Found::Batches(batches) if !batches.is_empty() => batches,
            // Trimmed or gone since the topic was looked at: look again.
            _ => return Ok(false),
        };
        let (mut at, mut begin, mut headers) = (range.start, range.start, Vec::<Header>::new());
        for batch in &batches {
            let end = batch.next().min(range.end);
            let summary = if each_one { None } else { batch.summary(end.since(at), now) };
            if let Some(span) = summary {
                self.put_headers(begin, Span::Each(std::mem::take(&mut headers)), now);
                self.put_headers(at, span, now);
                begin = end;
            } else {
                headers.reserve(usize::try_from(end.since(at)).unwrap_or_default());
                for header in batch.headers(at..end) {
                    headers.push(header?);
                }
            }
            at = end;
        }
        self.put_headers(begin, Span::Each(headers), now);
        Ok(true)
    }

    fn put_headers(&mut self, at: Offset, span: Span, now: Timestamp) {
        if span.count() == 0 {
            return;
        }
        self.loaded.0 += 1;
        let visible_at = match &span {
            Span::Each(headers) => {
                self.loaded.1 += headers.len();
                headers.iter().map(|header| header.visible_at).filter(|at| *at > now).min()
            }
            Span::Delayed { until, .. } => Some(*until),
            Span::Expired { .. } => None,
        };
        self.visible_at = self.visible_at.into_iter().chain(visible_at).min();
        self.headers.insert(at, span);
    }

    fn answer(
        &self,
        actor: &Arc<SubscriptionActor>,
        broker: &Broker,
        asks: Vec<Ask>,
        judged: Judged,
        topic: Option<Standing>,
    ) -> Outcome {
        let mut outcome = Outcome { parked: Vec::new(), freed: judged.freed, topic };
        let source = || outcome.topic.as_ref().map(|topic| Arc::clone(&topic.actor));
        let mut parked = Vec::new();
        for (ask, verdict) in asks.into_iter().zip(judged.verdicts) {
            match (ask, verdict) {
                (Ask::Command { reply, .. }, Verdict::Reply(answer)) => {
                    let answer = answer.map(|reply| Answer { reply, topic: source() });
                    if let Err(Ok(Answer { reply: Reply::Leased { grants, .. }, .. })) = reply.send(answer) {
                        actor.give_back(broker, &grants);
                    }
                }
                (Ask::Look(look), _) => {
                    let seen = self
                        .replica
                        .as_ref()
                        .map(|replica| Seen { state: &replica.state, topic: outcome.topic.as_ref() });
                    (look.0)(seen.ok_or(Error::NotFound(Resource::Subscription)));
                }
                (ask, _) => parked.push(ask),
            }
        }
        outcome.parked = parked;
        if self.replica.as_ref().is_some_and(|replica| !replica.state.dead_letters().is_empty()) {
            actor.start_dead_letters(broker);
        }
        outcome
    }

    /// Where the subscription stands, if the state is loaded.
    pub(super) fn stand(&self) -> Option<Stand> {
        self.replica.as_ref().map(Replica::stand)
    }

    /// Whether a snapshot would spare the next one who loads the state much.
    pub(super) fn leaves_much(&self) -> bool {
        self.replica.as_ref().is_some_and(Replica::leaves_much)
    }

    /// Leaves a snapshot behind if that spares much.
    pub(super) async fn wind_up(&mut self, broker: &Broker) {
        self.snapshot_if(broker, Replica::leaves_much).await;
    }

    /// Shortens the way that loading takes, if the replica is so. A failure costs nothing but that.
    async fn snapshot_if(&mut self, broker: &Broker, due: impl FnOnce(&Replica) -> bool) {
        let Some(mut replica) = self.replica.take_if(|replica| due(replica)) else { return };
        match replica.take_snapshot(broker).await {
            Ok(_) => self.replica = Some(replica),
            Err(error) => tracing::warn!(%error, "a subscription's snapshot failed"),
        }
    }
}

/// What the command is judged with. While the topic is gone, what needs no message still works on what the subscription stood on: as
/// on an empty topic for what moves the floor, as before for what is about messages given out already.
fn view<'a>(
    topic: Option<&Standing>,
    replica: &Replica,
    command: &Command,
    about: &'a Subscription,
    headers: &'a Headers,
    observer: Observer,
) -> Option<View<'a>> {
    let settings = &about.settings;
    if let Some(topic) = topic {
        let Standing { document, first, next, .. } = topic;
        let (log, incarnation) = (document.log, document.incarnation);
        return Some(View { log, incarnation, first: *first, next: *next, settings, headers, observer });
    }
    let next = match command {
        Command::Attach { .. } | Command::Lease(_) | Command::Pop(_) => return None,
        Command::Seek { .. } | Command::Purge => Offset(0),
        _ => Offset(u64::MAX),
    };
    let attached = replica.state.attached()?;
    let (log, incarnation) = (attached.log, attached.incarnation);
    Some(View { log, incarnation, first: Offset(0), next, settings, headers, observer })
}

fn refuse(asks: Vec<Ask>, error: &Error) -> Outcome {
    for ask in asks {
        match ask {
            // Callers that have gone away need no answer.
            Ask::Command { reply, .. } => drop(reply.send(Err(error.clone()))),
            Ask::Look(look) => (look.0)(Err(error.clone())),
        }
    }
    Outcome::default()
}

/// Whether an event leads to room in the store.
fn frees_room(event: &Event) -> bool {
    matches!(
        event,
        Event::AcknowledgedThrough { .. }
            | Event::Acknowledged { .. }
            | Event::GivenUp { .. }
            | Event::Purged { .. }
            | Event::Sought { .. }
            | Event::Forgotten { .. }
            | Event::DeadLettered { .. }
    )
}

/// Whether an event may give those who wait something to take.
fn frees_messages(event: &Event) -> bool {
    matches!(event, Event::Attached { .. } | Event::Released { .. } | Event::Expired { .. } | Event::Sought { .. })
}

impl Tally {
    /// Counts what one command does to the state before it.
    fn add(&mut self, command: &Command, events: &[Event], reply: &Reply, before: &crate::domain::subscription::State) {
        for event in events {
            if let Event::Forgotten { unacknowledged, .. } = event {
                self.forgotten = self.forgotten.saturating_add(*unacknowledged);
            }
        }
        match (command, reply) {
            (_, Reply::Leased { grants, .. }) => {
                let given_before = before.window().map_or(Offset(0), |window| window.end);
                for grant in grants {
                    let count = grant.next.since(grant.first);
                    self.delivered += count;
                    self.redelivered +=
                        if grant.attempt > 1 { count } else { given_before.min(grant.next).since(grant.first) };
                }
            }
            (Command::Acknowledge { .. }, Reply::Targets { applied, .. }) => self.acknowledged += *applied as u64,
            _ => {}
        }
    }

    fn count(&self, broker: &Broker, about: &Subscription) {
        if self.forgotten > 0 {
            let (subscription, project) = (&about.name, about.project);
            tracing::warn!(%project, %subscription, messages = self.forgotten, "retention took unacknowledged messages");
        }
        let metrics = &broker.inner.metrics;
        metrics.delivered_messages.inc_by(self.delivered);
        metrics.redelivered_messages.inc_by(self.redelivered);
        metrics.acknowledged_messages.inc_by(self.acknowledged);
        metrics.forgotten_messages.inc_by(self.forgotten);
    }
}
