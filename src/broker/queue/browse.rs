//! Looking at a queue's messages without taking them: pages, single messages, figures. What the work subscription is done with, what
//! has expired, and on demand what is claimed, delayed or of one producer, is passed over.

use super::{Broker, Queue};
use crate::broker::codec::message::MessageBatch;
use crate::broker::subscription::Delivery;
use crate::broker::topic::{Found, TopicActor};
use crate::domain::message::{Header, Published};
use crate::domain::subscription::{Command, GroupId, Lease, Phase, Run, Span};
use crate::domain::{Error, Offset, ProducerId, Resource, Result, Timestamp};
use std::sync::Arc;

/// Most runs of messages that are asked of the work subscription's state at a time.
const RUNS_MAX: usize = 1_024;
/// Most messages that are read at a time.
const READ_MAX: u64 = 4_096;
/// Most bytes of a page, unless its first message alone is larger.
const PAGE_BYTES_MAX: u64 = 32 << 20;

/// Which messages to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BrowseRequest {
    /// From this offset on.
    pub from: Offset,
    /// Most messages.
    pub messages_max: usize,
    /// Leave this producer's out.
    pub except_producer: Option<ProducerId>,
    /// Show what is claimed, too.
    pub claimed: bool,
    /// Show what is not visible yet, too.
    pub delayed: bool,
}

/// A message of a queue as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueMessage {
    /// The message and its place.
    pub published: Published,
    /// When its life ends; a claim may have made it longer. [`Timestamp::NEVER`] for no end of its own.
    pub end: Timestamp,
    /// The claim that holds it.
    pub claim: Option<GroupId>,
    /// How often it was claimed.
    pub attempts: u32,
}

impl QueueMessage {
    /// A message that is done with as it is given out.
    pub(super) fn plain(delivery: Delivery) -> Self {
        let end = delivery.published.message.header.expires_at;
        Self { published: delivery.published, end, claim: None, attempts: delivery.attempt }
    }
}

/// A queue's figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueStatistics {
    /// Messages under a claim.
    pub claimed: u64,
    /// Others, the delayed ones included.
    pub free: u64,
    /// The oldest message, if there is one.
    pub oldest: Option<Published>,
    /// The newest message, if there is one.
    pub newest: Option<Published>,
}

/// Messages that are not done with, with what the work subscription knows of them.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    run: Run,
    lease: Option<Lease>,
    /// Until when they live at least; the same for all of them.
    lifetime: Timestamp,
}

/// Stretches from an offset on, and up to where they tell all.
struct Stretches {
    topic: Arc<TopicActor>,
    stretches: Vec<Stretch>,
    until: Offset,
    /// The offset that the next message gets.
    next: Offset,
}

impl Broker {
    /// A page of messages, oldest first.
    pub async fn browse_queue(&self, queue: &Queue, request: BrowseRequest) -> Result<Vec<QueueMessage>> {
        let mut page = Page { request, now: self.now(), messages: Vec::new(), bytes: 0 };
        let mut at = request.from;
        while !page.is_full() {
            let found = self.stretches(queue, at, request.claimed).await?;
            for stretch in &found.stretches {
                self.fill(&found.topic, stretch, &mut page).await?;
                if page.is_full() {
                    return Ok(page.messages);
                }
            }
            if found.until >= found.next {
                break;
            }
            at = found.until;
        }
        Ok(page.messages)
    }

    /// Those of the messages that are there, claimed, delayed or not, in the order asked for.
    pub async fn messages_at(&self, queue: &Queue, offsets: &[Offset]) -> Result<Vec<QueueMessage>> {
        let mut messages = Vec::with_capacity(offsets.len());
        let request = BrowseRequest { messages_max: 1, claimed: true, delayed: true, ..BrowseRequest::default() };
        let (now, observer, wanted) = (self.now(), self.inner.observer(), offsets.to_vec());
        let actor = self.subscription_actor(&queue.work)?;
        let looked = actor.look(self, move |seen| {
            let topic = seen.standing().map(|topic| (Arc::clone(&topic.actor), topic.first, topic.next));
            let open = wanted.into_iter().filter(|offset| !seen.state.acknowledged(*offset));
            let stretch = |offset| Stretch {
                run: Run::one(offset),
                lease: seen.state.lease(offset).map(|lease| settled(lease, lease.live(now, observer))),
                lifetime: seen.state.lifetime(offset).unwrap_or_default(),
            };
            topic.map(|topic| (topic, open.map(stretch).collect::<Vec<_>>()))
        });
        let Some(((topic, first, next), stretches)) = looked.await? else {
            return Err(Error::NotFound(Resource::Topic));
        };
        for stretch in stretches.iter().filter(|stretch| first <= stretch.run.first && stretch.run.first < next) {
            let mut page = Page { request, now, messages: Vec::new(), bytes: 0 };
            self.fill(&topic, stretch, &mut page).await?;
            messages.append(&mut page.messages);
        }
        Ok(messages)
    }

    /// A queue's figures.
    pub async fn queue_statistics(&self, queue: &Queue) -> Result<QueueStatistics> {
        let actor = self.subscription_actor(&queue.work)?;
        // Leases that have ended are noted first, so that none counts as claimed.
        actor.command(self, Command::Expire).await?;
        let (mut claimed, mut all, mut oldest, mut newest) = (0, 0, None, None);
        let mut at = Offset(0);
        let now = self.now();
        loop {
            let found = self.stretches(queue, at, true).await?;
            for stretch in &found.stretches {
                let alive = self.count_alive(&found.topic, stretch, now).await?;
                let held = stretch.lease.is_some_and(|lease| matches!(lease.phase, Phase::Held { .. }));
                claimed += if held { alive.count } else { 0 };
                all += alive.count;
                oldest = oldest.or(alive.first);
                newest = alive.last.or(newest);
            }
            if found.until >= found.next {
                break;
            }
            at = found.until;
        }
        let (oldest, newest) = (self.message_at(queue, oldest).await?, self.message_at(queue, newest).await?);
        Ok(QueueStatistics { claimed, free: all - claimed, oldest, newest })
    }

    async fn message_at(&self, queue: &Queue, offset: Option<Offset>) -> Result<Option<Published>> {
        let Some(offset) = offset else { return Ok(None) };
        Ok(self.messages_at(queue, &[offset]).await?.pop().map(|message| message.published))
    }

    /// What became of messages that were just given out under a claim.
    pub(super) async fn lives(
        &self,
        queue: &Queue,
        deliveries: Vec<Delivery>,
        claim: Option<GroupId>,
    ) -> Result<Vec<QueueMessage>> {
        let offsets: Vec<_> = deliveries.iter().map(|delivery| delivery.published.offset).collect();
        if offsets.is_empty() {
            return Ok(Vec::new());
        }
        let actor = self.subscription_actor(&queue.work)?;
        let lifetimes = actor.look(self, move |seen| {
            offsets.iter().map(|offset| seen.state.lifetime(*offset).unwrap_or_default()).collect::<Vec<_>>()
        });
        let lives = lifetimes.await?;
        let messages = deliveries.into_iter().zip(lives).map(|(delivery, lifetime)| {
            let end = delivery.published.message.header.expires_at.max(lifetime);
            QueueMessage { published: delivery.published, end, claim, attempts: delivery.attempt }
        });
        Ok(messages.collect())
    }

    /// What is not done with from an offset on.
    async fn stretches(&self, queue: &Queue, from: Offset, claimed: bool) -> Result<Stretches> {
        let (now, observer) = (self.now(), self.inner.observer());
        let actor = self.subscription_actor(&queue.work)?;
        let looked = actor.look(self, move |seen| {
            let topic = seen.standing()?;
            let from = from.max(topic.first);
            let mut stretches = Vec::new();
            for (run, lease) in seen.state.open_runs(from, topic.next) {
                let lease = lease.map(|lease| settled(lease, lease.live(now, observer)));
                // What is on its way to another queue is as good as there.
                let hidden = lease.is_some_and(|lease| match lease.phase {
                    Phase::Held { .. } => !claimed,
                    Phase::Over => false,
                    Phase::DeadLetter => true,
                });
                if hidden {
                    continue;
                }
                for (part, lifetime) in seen.state.lifetimes_within(run) {
                    stretches.push(Stretch { run: part, lease, lifetime: lifetime.unwrap_or_default() });
                }
                if stretches.len() >= RUNS_MAX {
                    let (topic, next) = (Arc::clone(&topic.actor), topic.next);
                    return Some(Stretches { topic, stretches, until: run.next, next });
                }
            }
            Some(Stretches { topic: Arc::clone(&topic.actor), stretches, until: topic.next, next: topic.next })
        });
        looked.await?.ok_or(Error::NotFound(Resource::Topic))
    }

    /// Adds a stretch's messages to a page as far as they belong there and fit.
    async fn fill(&self, topic: &TopicActor, stretch: &Stretch, page: &mut Page) -> Result<()> {
        let Run { first: mut at, next } = stretch.run;
        while at < next && !page.is_full() {
            let Some(batches) = self.batches(topic, &mut at, next).await? else { return Ok(()) };
            for batch in &batches {
                let part = at.max(batch.first)..batch.next().min(next);
                at = part.end;
                if page.passes_over(batch, stretch) {
                    continue;
                }
                for message in batch.messages(part) {
                    page.offer(message?, stretch);
                    if page.is_full() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// How many of a stretch's messages have not expired.
    async fn count_alive(&self, topic: &TopicActor, stretch: &Stretch, now: Timestamp) -> Result<Alive> {
        let mut alive = Alive::default();
        let Run { first: mut at, next } = stretch.run;
        if stretch.lifetime > now {
            return Ok(Alive { count: stretch.run.count(), first: Some(at), last: Some(Offset(next.0 - 1)) });
        }
        while at < next {
            let Some(batches) = self.batches(topic, &mut at, next).await? else { return Ok(alive) };
            for batch in &batches {
                let part = at.max(batch.first)..batch.next().min(next);
                for (place, header) in (part.start.0..).zip(batch.headers(part.clone())) {
                    if header?.expires_at > now {
                        alive.count += 1;
                        alive.first = alive.first.or(Some(Offset(place)));
                        alive.last = Some(Offset(place));
                    }
                }
                at = part.end;
            }
        }
        Ok(alive)
    }

    /// Batches from `at` on, which is moved past what is trimmed; none at the end.
    async fn batches(&self, topic: &TopicActor, at: &mut Offset, next: Offset) -> Result<Option<Vec<MessageBatch>>> {
        while *at < next {
            match topic.read(self, *at..next.min(at.plus(READ_MAX))).await? {
                Found::Batches(batches) if batches.is_empty() => return Ok(None),
                Found::Batches(batches) => return Ok(Some(batches)),
                Found::Trimmed(first) => *at = first.max(*at),
                Found::Closed => return Err(Error::NotFound(Resource::Topic)),
            }
        }
        Ok(None)
    }
}

/// Messages that have not expired.
#[derive(Default)]
struct Alive {
    count: u64,
    first: Option<Offset>,
    last: Option<Offset>,
}

/// A lease as it stands: one that has ended holds nothing.
fn settled(lease: Lease, live: bool) -> Lease {
    match lease.phase {
        Phase::Held { .. } if !live => Lease { phase: Phase::Over, ..lease },
        _ => lease,
    }
}

/// A page in the making.
struct Page {
    request: BrowseRequest,
    now: Timestamp,
    messages: Vec<QueueMessage>,
    bytes: u64,
}

impl Page {
    fn is_full(&self) -> bool {
        self.messages.len() >= self.request.messages_max || self.bytes >= PAGE_BYTES_MAX
    }

    /// Whether nothing of a batch belongs on the page, as its summary tells.
    fn passes_over(&self, batch: &MessageBatch, stretch: &Stretch) -> bool {
        match batch.summary(u64::from(batch.count), self.now) {
            Some(Span::Expired { .. }) => stretch.lifetime <= self.now,
            Some(Span::Delayed { .. }) => !self.request.delayed,
            _ => false,
        }
    }

    fn shows(&self, header: &Header, end: Timestamp) -> bool {
        let own = self.request.except_producer.is_some_and(|producer| producer == header.producer);
        self.now < end && !own && (self.request.delayed || header.visible_at <= self.now)
    }

    fn offer(&mut self, published: Published, stretch: &Stretch) {
        let end = published.message.header.expires_at.max(stretch.lifetime);
        if !self.shows(&published.message.header, end) {
            return;
        }
        self.bytes += u64::from(published.message.header.bytes);
        let claim = stretch.lease.and_then(|lease| match lease.phase {
            Phase::Held { group, .. } => Some(group),
            Phase::Over | Phase::DeadLetter => None,
        });
        let attempts = stretch.lease.map_or(0, |lease| lease.attempt);
        self.messages.push(QueueMessage { published, end, claim, attempts });
    }
}
