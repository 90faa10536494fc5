//! One subscription's worker: waits for a backlog, pulls under the worker lease, sends, acknowledges; again and again, at the pace of the
//! retry policy. What was sent and not acknowledged is sent again, by this worker or the next one: nothing is skipped.

use super::Inner;
use super::bodies;
use super::endpoint::Endpoint;
use super::figures::Figures;
use super::notification::notification;
use super::notify::{Text, Told, gave_up};
use super::sender::{Answered, Unanswered, parse_url};
use super::subscriber;
use crate::broker::queue::label;
use crate::broker::{Delivery, PullRequest};
use crate::domain::push::{Push, Target};
use crate::domain::retry::Pace;
use crate::domain::subscription::{AckMode, GroupId, Subscription, Targets, WorkerLease};
use crate::domain::{Error, Fence, Offset, Result, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

/// Most messages and payload bytes of one delivery.
const MESSAGES_MAX: u32 = 1_000;
const BYTES_MAX: u64 = 4 << 20;
/// How long one wait for messages lasts; the subscription is looked at again after it.
const WAIT: Duration = Duration::from_secs(30);
/// A wait for messages that other consumers hold.
const WAIT_FOR_LEASES: Duration = Duration::from_secs(10);
/// The pause after a pull that gave nothing although something is not acknowledged.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to leave a subscription alone that another node pushes; shorter when it should be this node's, for the other one then ends.
const ELSEWHERE: Duration = Duration::from_secs(5);
const ELSEWHERE_STILL: Duration = Duration::from_millis(200);
/// What a lease must last beyond the time that a request may take, so that it can be acknowledged.
const MARGIN: Duration = Duration::from_secs(5);

/// Which step went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Taking messages.
    Consume,
    /// Sending them.
    Send,
    /// Acknowledging them.
    Acknowledge,
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failing {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub step: Step,
    /// Why: at most about 1 KiB, of which an endpoint may have said some.
    pub why: String,
}

/// How a round ended.
enum Round {
    /// Nothing was there.
    Nothing,
    /// The endpoint took what was there.
    Delivered,
    /// Something went wrong, and is noted.
    Failed,
    /// Nothing may be sent before this is over.
    Later(Duration),
    /// The subscription is another one by now, or gone, or the service stops.
    Over,
}

/// What goes wrong in a round.
struct Fault(Step, Error);

/// One subscription's worker.
#[derive(Debug)]
pub(super) struct Worker {
    inner: Arc<Inner>,
    subscription: Arc<Subscription>,
    push: Push,
    endpoint: Arc<Endpoint>,
    failing: Arc<Mutex<Option<Failing>>>,
    lease: Option<WorkerLease>,
    /// Told to take nothing more.
    ending: CancellationToken,
}

impl Worker {
    pub(super) fn new(
        inner: Arc<Inner>,
        subscription: Arc<Subscription>,
        push: Push,
        endpoint: Arc<Endpoint>,
        failing: Arc<Mutex<Option<Failing>>>,
        ending: CancellationToken,
    ) -> Self {
        Self { inner, subscription, push, endpoint, failing, lease: None, ending }
    }

    /// Works until the subscription changes or the service stops.
    pub(super) async fn work(mut self) {
        let project = self.project().await.unwrap_or_default();
        let figures = self.inner.labels.figures(&project, self.subscription.name.as_str());
        let mut pace = Pace::new(self.push.retry);
        let mut pause = pace.first();
        while self.sleep(pause).await {
            pause = match self.round(&figures).await {
                Ok(Round::Delivered) => {
                    *self.failing.lock() = None;
                    pace.after(true)
                }
                Ok(Round::Nothing) => {
                    // What failed once is no news any more when nothing is left of it (quirk 33).
                    *self.failing.lock() = None;
                    PAUSE
                }
                Ok(Round::Failed) => pace.after(false),
                Ok(Round::Later(pause)) => pause,
                Ok(Round::Over) | Err(Fault(_, Error::NotFound(_))) => break,
                Err(Fault(_, Error::NotTheWorker)) => {
                    self.lease = None;
                    if self.is_ours() { ELSEWHERE_STILL } else { ELSEWHERE }
                }
                Err(Fault(step, error)) => {
                    self.fail(step, error.to_string());
                    pace.after(false)
                }
            };
            figures.circuit(self.endpoint.circuit.lock().state(self.monotonic()));
        }
        if let Some(lease) = self.lease.take() {
            // Without this the next worker waits until the lease ends.
            if let Err(error) = self.inner.broker.release_worker(&self.subscription, lease.fence).await {
                tracing::debug!(subscription = %self.subscription.name, %error, "a worker's lease runs out by itself");
            }
        }
    }

    /// Waits for messages, and delivers some.
    async fn round(&mut self, figures: &Figures) -> Result<Round, Fault> {
        let consume = |error| Fault(Step::Consume, error);
        let (inner, endpoint, ending) = (Arc::clone(&self.inner), Arc::clone(&self.endpoint), self.ending.clone());
        if !self.refresh().await.map_err(consume)? {
            return Ok(Round::Over);
        }
        let waiting = inner.broker.wait_for_backlog(&self.subscription, WAIT);
        let backlog = tokio::select! {
            biased;
            () = ending.cancelled() => return Ok(Round::Over),
            backlog = waiting => backlog.map_err(consume)?,
        };
        if !backlog {
            return Ok(Round::Nothing);
        }
        if !self.is_ours() {
            return Ok(Round::Later(ELSEWHERE_STILL));
        }
        if let Some(wait) = self.endpoint.circuit.lock().wait(self.monotonic()) {
            return Ok(Round::Later(wait));
        }
        if !self.refresh().await.map_err(consume)? {
            return Ok(Round::Over);
        }
        let fence = self.lease().await.map_err(consume)?;
        let taking = async {
            let deliveries = self.pull(fence).await?;
            let room = room(&inner, &endpoint, &deliveries).await;
            Ok((deliveries, room))
        };
        // What is held when the service stops goes back when the next worker begins.
        let (deliveries, _room) = tokio::select! {
            biased;
            () = ending.cancelled() => return Ok(Round::Over),
            taken = taking => taken.map_err(consume)?,
        };
        if deliveries.is_empty() {
            return Ok(Round::Nothing);
        }
        if let Some(instead) = self.instead().await.map_err(consume)? {
            self.give_back(&deliveries, fence, Duration::ZERO).await;
            return Ok(instead);
        }
        match self.send(&deliveries, figures).await {
            Told::Taken => {}
            Told::Failed(why) => {
                self.fail(Step::Send, why.clone());
                match self.again(&deliveries).await.map_err(consume)? {
                    Some((pause, round)) => {
                        self.give_back(&deliveries, fence, pause).await;
                        return Ok(round);
                    }
                    None => gave_up(&self.subscription, &why),
                }
            }
            Told::Refused(why) => gave_up(&self.subscription, &why),
            Told::Later(wait) => {
                self.give_back(&deliveries, fence, Duration::ZERO).await;
                return Ok(Round::Later(wait));
            }
        }
        // Also when it is pushed otherwise by now: these were taken.
        let acknowledge = |error| Fault(Step::Acknowledge, error);
        self.refresh().await.map_err(acknowledge)?;
        self.acknowledge(&deliveries, fence).await.map_err(acknowledge)?;
        Ok(Round::Delivered)
    }

    /// A fence whose lease lasts for a whole delivery.
    async fn lease(&mut self) -> Result<Fence> {
        // A message that counts its attempts is not to be given back untried because the wait for it was long.
        let wait = if self.push.notify().is_some() { WAIT_FOR_LEASES } else { Duration::ZERO };
        let left = |lease: &WorkerLease| lease.deadline.since(self.inner.broker.now());
        if let Some(lease) = self.lease.filter(|lease| left(lease) >= self.needed().saturating_add(wait)) {
            return Ok(lease.fence);
        }
        // Twice what is needed: a busy subscription appends an event for its lease now and then, not at each delivery.
        let lasts = self.needed().saturating_mul(2).saturating_add(wait);
        let lease = self.acquire(lasts).await?;
        if self.lease.is_none() && self.subscription.settings.mode == AckMode::Individual {
            // What a worker before this one held and did not finish.
            let held = Targets::Group(self.group());
            self.inner.broker.release(&self.subscription, held, Duration::ZERO, Some(lease.fence)).await?;
        }
        self.lease = Some(lease);
        Ok(lease.fence)
    }

    /// Becomes the worker; at once when the one before is on a node that is gone.
    async fn acquire(&self, lasts: Duration) -> Result<WorkerLease> {
        let broker = &self.inner.broker;
        match broker.acquire_worker(&self.subscription, lasts, None).await {
            Err(Error::NotTheWorker) => {}
            acquired => return acquired,
        }
        let holder = broker.worker(&self.subscription).await?;
        let gone = holder.filter(|node| self.inner.placement.is_gone(*node)).ok_or(Error::NotTheWorker)?;
        broker.acquire_worker(&self.subscription, lasts, Some(gone)).await
    }

    /// Whether this node should push the subscription.
    fn is_ours(&self) -> bool {
        self.inner.placement.is_ours(self.subscription.id)
    }

    /// The messages that workers of this subscription hold.
    fn group(&self) -> GroupId {
        GroupId(self.subscription.id.0)
    }

    /// How long a delivery may take until it is acknowledged.
    fn needed(&self) -> Duration {
        self.inner.sender.timeout().saturating_add(MARGIN)
    }

    fn lasts(&self, lease: WorkerLease) -> bool {
        lease.deadline.since(self.inner.broker.now()) >= self.needed()
    }

    async fn pull(&self, fence: Fence) -> Result<Vec<Delivery>> {
        let individual = self.subscription.settings.mode == AckMode::Individual;
        let request = PullRequest {
            messages_max: self.push.messages_max().min(MESSAGES_MAX),
            bytes_max: Some(BYTES_MAX),
            wait: individual.then_some(WAIT_FOR_LEASES.min(self.needed())),
            // Room for those who wait for their turn to send.
            duration: individual.then(|| self.needed().saturating_mul(4)),
            group: self.group(),
            // Who is told of messages is told when they are posted.
            early: self.push.notify().is_some(),
            worker: Some(fence),
            ..PullRequest::default()
        };
        self.inner.broker.pull(&self.subscription, request).await
    }

    /// What to do instead of sending: nothing when the lease outlasts a delivery that begins now, and the subscription and the
    /// endpoint's circuit want it.
    async fn instead(&mut self) -> Result<Option<Round>> {
        if self.ending.is_cancelled() || !self.refresh().await? {
            return Ok(Some(Round::Over));
        }
        // Others may have gone on already if this node did not beat.
        if !self.is_ours() {
            return Ok(Some(Round::Later(ELSEWHERE_STILL)));
        }
        if !self.lease.is_some_and(|lease| self.lasts(lease)) {
            return Ok(Some(Round::Later(PAUSE)));
        }
        let admitted = self.endpoint.circuit.lock().admit(self.monotonic(), self.needed());
        Ok(admitted.err().map(Round::Later))
    }

    /// Learns how the subscription is now; false when it is pushed otherwise or not at all. Who speaks of a subscription to the broker
    /// must speak of it as it is.
    async fn refresh(&mut self) -> Result<bool> {
        let present = self.inner.broker.subscription(self.subscription.project, &self.subscription.name).await?;
        if present.id != self.subscription.id {
            return Ok(false);
        }
        self.subscription = present;
        Ok(self.subscription.push.as_ref() == Some(&self.push) && self.inner.wants(&self.push))
    }

    /// Sends messages.
    async fn send(&self, deliveries: &[Delivery], figures: &Figures) -> Told {
        let _under_way = figures.under_way();
        let begun = self.monotonic();
        let (status, told) = match (&self.push.target, deliveries) {
            (Target::Notify(notify), [delivery]) => match subscriber::read(notify) {
                Ok(wanted) => {
                    let text = notification(label(&self.subscription.topic), &delivery.published);
                    self.inner.tell(&wanted, self.subscription.project, Text::Notification(text)).await
                }
                Err(why) => (0, Told::Refused(why)),
            },
            _ => match self.exchange(deliveries).await {
                Ok(Answered { status, .. }) if self.is_success(status) => (status, Told::Taken),
                Ok(Answered { status, body }) => (status, Told::Failed(String::from_utf8_lossy(&body).into_owned())),
                Err(Unanswered(why)) => (0, Told::Failed(why)),
            },
        };
        if matches!(told, Told::Later(_)) {
            // Nothing was tried.
            return told;
        }
        let took = self.monotonic().saturating_sub(begun);
        let taken = told == Told::Taken;
        // An endpoint that refuses a message is well; one that is silent, broken or asks for a rest is not.
        let well = taken || !(status == 0 || status == 429 || status >= 500);
        self.endpoint.circuit.lock().note(well, self.monotonic());
        figures.attempt(status, taken.then_some(deliveries.len()), took);
        told
    }

    fn is_success(&self, status: u16) -> bool {
        match self.push.target {
            Target::Webhook(_) => matches!(status, 200 | 201 | 204 | 102),
            Target::Mattermost(_) | Target::Notify(_) => status == 200,
        }
    }

    /// After which pause of their own messages that were not taken go again, and how the round ends; none when they never do.
    async fn again(&self, deliveries: &[Delivery]) -> Result<Option<(Duration, Round)>> {
        let (Some(notify), Some(delivery)) = (self.push.notify(), deliveries.first()) else {
            return Ok(Some((Duration::ZERO, Round::Failed)));
        };
        let Ok(wanted) = subscriber::read(notify) else { return Ok(None) };
        let phases = self.inner.phases(&self.subscription, &wanted).await?;
        // The attempts are counted with the message's leases, which outlive this worker. Others go meanwhile.
        let pause = phases.pause(u64::from(delivery.attempt));
        Ok(pause.map(|pause| (pause, Round::Later(Duration::ZERO))))
    }

    async fn exchange(&self, deliveries: &[Delivery]) -> Result<Answered, Unanswered> {
        let project = self.project().await.map_err(|error| Unanswered(error.to_string()))?;
        let name = format!("/projects/{project}/subscriptions/{}", self.subscription.name);
        let body = bodies::body(&self.push, &name, deliveries).map_err(|error| Unanswered(error.to_string()))?;
        self.post(body).await
    }

    async fn post(&self, body: Bytes) -> Result<Answered, Unanswered> {
        let (schemes, authorization): (&[&str], _) = match &self.push.target {
            Target::Webhook(webhook) => (&["https"], webhook.authorization.as_ref().map(|shared| shared.0.as_str())),
            // Never checked when it was set: what it must be shows here.
            Target::Mattermost(_) | Target::Notify(_) => (&["https", "http"], None),
        };
        let wrong = || Unanswered("the push endpoint is no usable URL".to_owned());
        let url = parse_url(self.push.url(), schemes).ok_or_else(wrong)?;
        self.inner.sender.post_json(&url, authorization, body).await
    }

    /// Acknowledges what was taken. In cumulative mode the window's clock may have run out while the endpoint thought: the same
    /// messages are pulled again then, to be acknowledged at once.
    async fn acknowledge(&self, deliveries: &[Delivery], fence: Fence) -> Result<()> {
        let acknowledge = || async {
            match targets(self.subscription.settings.mode, deliveries) {
                Some(targets) => self.inner.broker.acknowledge(&self.subscription, targets, Some(fence)).await,
                None => Ok(()),
            }
        };
        match acknowledge().await {
            Err(Error::AckTimeout) => {}
            acknowledged => return acknowledged,
        }
        let again = self.pull(fence).await?;
        let last_again = deliveries.last().map(place);
        let same = again.first().map(place) == deliveries.first().map(place)
            && again.iter().any(|delivery| Some(place(delivery)) == last_again);
        // Others when the floor was moved meanwhile: then nothing of this counts any more.
        if same { acknowledge().await } else { Err(Error::AckTimeout) }
    }

    /// Individual mode: lets go of messages that were not taken, for rounds after a pause. A window needs nothing.
    async fn give_back(&self, deliveries: &[Delivery], fence: Fence, pause: Duration) {
        if self.subscription.settings.mode == AckMode::Cumulative {
            return;
        }
        if let Some(targets) = targets(AckMode::Individual, deliveries)
            && let Err(error) = self.inner.broker.release(&self.subscription, targets, pause, Some(fence)).await
        {
            tracing::debug!(subscription = %self.subscription.name, %error, "leases that were not delivered run out by themselves");
        }
    }

    async fn project(&self) -> Result<String> {
        Ok(self.inner.broker.project_by_id(self.subscription.project).await?.name.to_string())
    }

    fn fail(&self, step: Step, why: String) {
        let at = self.inner.broker.now();
        *self.failing.lock() = Some(Failing { at, step, why });
    }

    fn monotonic(&self) -> Duration {
        self.inner.broker.clock().monotonic()
    }

    /// Pauses; false when the service stops.
    async fn sleep(&self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

/// Where a message stands, and in which log: two topics' messages of one offset were not stored in one microsecond.
fn place(delivery: &Delivery) -> (Offset, Timestamp) {
    (delivery.published.offset, delivery.published.at)
}

/// What acknowledges these.
fn targets(mode: AckMode, deliveries: &[Delivery]) -> Option<Targets> {
    let last = deliveries.last()?.published.offset;
    Some(match mode {
        AckMode::Cumulative => Targets::Through(last),
        AckMode::Individual => {
            Targets::Leased(deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect())
        }
    })
}

/// Waits until a delivery of this size may be under way: first among those to the same endpoint, so that a slow one holds up
/// nobody else.
async fn room<'a>(
    inner: &'a Inner,
    endpoint: &'a Endpoint,
    deliveries: &[Delivery],
) -> [Option<SemaphorePermit<'a>>; 3] {
    let bytes: usize = deliveries.iter().map(|delivery| delivery.published.message.payload.bytes.len()).sum();
    let kib = u32::try_from(bytes.div_ceil(1 << 10).clamp(1, super::ROOM_KIB)).unwrap_or(1);
    // The semaphores are never closed.
    let of_endpoint = endpoint.room.acquire().await.ok();
    let of_bytes = inner.room_kib.acquire_many(kib).await.ok();
    let of_all = inner.room.acquire().await.ok();
    [of_endpoint, of_bytes, of_all]
}
