//! One actor for each subscription in use: what is asked of it waits in one queue, and a task that exists only while there is something
//! to do answers it round by round. Pulls that wait for messages are parked with the task.
//!
//! Owns waiting and waking. What a round does is `round`'s affair.

use super::replica::Stand;
use super::round::{Desk, Outcome};
use crate::broker::Broker;
use crate::broker::resolve::Standing;
use crate::broker::topic::{TailReader, TopicActor};
use crate::domain::subscription::state::State;
use crate::domain::subscription::{Command, Grant, Reply, Subscription, Targets};
use crate::domain::{Error, Offset, Result, Timestamp};
use crate::storage::LogId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Most commands that one append carries.
const ROUND_MAX: usize = 256;
/// While pulls wait, what other nodes did to the subscription is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A subscription in use.
#[derive(Debug)]
pub(in crate::broker) struct SubscriptionActor {
    pub(super) log: LogId,
    about: Mutex<Arc<Subscription>>,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Told when the floor was moved back at will.
    pub(super) moved: Notify,
    /// Whether a task moves messages to the dead-letter topic.
    pub(super) burying: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Ask>,
    /// Whether a task is at work; it ends only when nothing waits and no pull is parked.
    busy: bool,
    /// What the last task knew.
    desk: Option<Box<Desk>>,
}

/// Something asked of a subscription.
#[derive(Debug)]
pub(super) enum Ask {
    /// Carry out a command.
    Command {
        command: Command,
        /// Whether a lease that finds nothing waits until there is something.
        waits: bool,
        reply: oneshot::Sender<Result<Answer>>,
    },
    /// Look at the state when it is surely up to date.
    Look(Look),
}

/// What is done with a state when it is seen.
pub(super) struct Look(pub(super) LookFn);
type LookFn = Box<dyn FnOnce(Result<Seen<'_>>) + Send + Sync>;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// The state, and the topic as it stands; none while it is gone.
pub(in crate::broker) struct Seen<'a> {
    pub(in crate::broker) state: &'a State,
    pub(super) topic: Option<&'a Standing>,
}

impl Seen<'_> {
    /// The topic as it stands; none while it is gone.
    pub(in crate::broker) fn standing(&self) -> Option<&Standing> {
        self.topic
    }
}

/// The answer to a command.
#[derive(Debug)]
pub(in crate::broker) struct Answer {
    pub(in crate::broker) reply: Reply,
    /// Where granted messages are read.
    pub(super) topic: Option<Arc<TopicActor>>,
}

impl SubscriptionActor {
    pub(in crate::broker) fn new(subscription: &Subscription) -> Self {
        Self {
            log: LogId(subscription.log.0),
            about: Mutex::new(Arc::new(subscription.clone())),
            queue: Mutex::default(),
            wake: Notify::new(),
            moved: Notify::new(),
            burying: AtomicBool::new(false),
        }
    }

    /// Learns how the subscription is now.
    pub(in crate::broker) fn meet(&self, subscription: &Subscription) {
        let mut about = self.about.lock();
        if about.settings != subscription.settings || about.topic != subscription.topic {
            *about = Arc::new(subscription.clone());
        }
    }

    /// The subscription as it was last spoken of.
    pub(super) fn about(&self) -> Arc<Subscription> {
        Arc::clone(&self.about.lock())
    }

    /// Where the subscription stands as the last round left it; none while one is under way.
    pub(in crate::broker) fn stand(&self) -> Option<Stand> {
        self.queue.lock().desk.as_ref().and_then(|desk| desk.stand())
    }

    /// Whether nothing waits and nobody is at work.
    pub(in crate::broker) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        !queue.busy && queue.waiting.is_empty()
    }

    /// Tells who waits for a backlog that the floor was moved.
    pub(super) fn tell_moved(&self) {
        self.moved.notify_waiters();
    }

    /// Gives back what can be had again.
    pub(in crate::broker) fn relax(&self) {
        if let Some(desk) = &mut self.queue.lock().desk {
            desk.relax();
        }
    }

    /// Before the actor retires: sees to it that who needs the subscription next has little to read. False when that is so.
    pub(in crate::broker) fn wind_up(self: &Arc<Self>, broker: &Broker) -> bool {
        let mut queue = self.queue.lock();
        if !queue.busy && queue.desk.as_ref().is_some_and(|desk| desk.leaves_much()) {
            queue.busy = true;
            tokio::spawn(AtWork { actor: Arc::clone(self), over: false }.wind_up(broker.clone()));
        }
        queue.busy
    }

    /// Carries out a command; answers when it is durable.
    pub(in crate::broker) async fn command(self: &Arc<Self>, broker: &Broker, command: Command) -> Result<Answer> {
        let mut pending = self.begin(broker, command, false)?;
        pending.answer().await
    }

    /// Leases; when there is nothing, waits up to `wait` for something.
    pub(super) async fn lease(self: &Arc<Self>, broker: &Broker, command: Command, wait: Duration) -> Result<Answer> {
        let mut pending = self.begin(broker, command, !wait.is_zero())?;
        if wait.is_zero() {
            return pending.answer().await;
        }
        match tokio::time::timeout(wait, pending.answer()).await {
            Ok(answer) => answer,
            Err(_) => pending.give_up_waiting(),
        }
    }

    fn begin(self: &Arc<Self>, broker: &Broker, command: Command, waits: bool) -> Result<Pending> {
        broker.inner.check_able()?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(broker, Ask::Command { command, waits, reply })?;
        Ok(Pending { actor: Arc::clone(self), broker: broker.clone(), answer: Some(answer) })
    }

    /// Looks at the state once it is surely up to date.
    pub(in crate::broker) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        broker: &Broker,
        look: impl FnOnce(Seen<'_>) -> T + Send + Sync + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let look = Look(Box::new(move |seen| {
            // Whoever asked may have gone away.
            let _ = reply.send(seen.map(look));
        }));
        self.enqueue(broker, Ask::Look(look))?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn enqueue(self: &Arc<Self>, broker: &Broker, ask: Ask) -> Result<()> {
        let idle = {
            let mut queue = self.queue.lock();
            if queue.waiting.len() >= broker.inner.options.queue_max {
                broker.inner.metrics.overloads.with_label_values(&["subscription_queue"]).inc();
                return Err(Error::Overloaded("commands on one subscription"));
            }
            queue.waiting.push_back(ask);
            !std::mem::replace(&mut queue.busy, true)
        };
        if idle {
            tokio::spawn(AtWork { actor: Arc::clone(self), over: false }.work(broker.clone()));
        } else {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Gives leases back whose holder went away before it could know of them. Not for cumulative windows: nobody else waits for those.
    pub(super) fn give_back(self: &Arc<Self>, broker: &Broker, grants: &[Grant]) {
        let leased = grants.iter().filter(|grant| grant.fence.0 > 0);
        let targets: Vec<_> =
            leased.flat_map(|grant| (grant.first.0..grant.next.0).map(|at| (Offset(at), grant.fence))).collect();
        if targets.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let targets = Targets::Leased(targets);
        let command = Command::Release { targets, not_before: Timestamp::EPOCH, worker: None };
        let (reply, _) = oneshot::channel();
        if let Err(error) = self.enqueue(broker, Ask::Command { command, waits: false, reply }) {
            tracing::debug!(log = %self.log, %error, "leases of a caller that left run out by themselves");
        }
    }
}

/// The answer to a pull that found nothing.
fn nothing() -> Result<Answer> {
    let reply = Reply::Leased { grants: Vec::new(), deadline: Timestamp::EPOCH, exhausted: Vec::new() };
    Ok(Answer { reply, topic: None })
}

fn stopping() -> Error {
    Error::OutcomeUnknown("the service is stopping".to_owned())
}

/// A command's answer that is being waited for. Dropped before, it gives back what was granted.
struct Pending {
    actor: Arc<SubscriptionActor>,
    broker: Broker,
    answer: Option<oneshot::Receiver<Result<Answer>>>,
}

impl Pending {
    async fn answer(&mut self) -> Result<Answer> {
        let Some(answer) = &mut self.answer else { return Err(stopping()) };
        let answer = answer.await;
        self.answer = None;
        answer.unwrap_or_else(|_| Err(stopping()))
    }

    /// The time is over: what came in the last moment, or nothing.
    fn give_up_waiting(mut self) -> Result<Answer> {
        let Some(mut answer) = self.answer.take() else { return nothing() };
        answer.close();
        self.actor.wake.notify_one();
        answer.try_recv().unwrap_or_else(|_| nothing())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        answer.close();
        if let Ok(Ok(Answer { reply: Reply::Leased { grants, .. }, .. })) = answer.try_recv() {
            self.actor.give_back(&self.broker, &grants);
        }
        self.actor.wake.notify_one();
    }
}

/// The task of one actor. Dropped before it is over, as when its runtime shuts down, it leaves the place free.
struct AtWork {
    actor: Arc<SubscriptionActor>,
    over: bool,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.over {
            self.actor.queue.lock().busy = false;
        }
    }
}

impl AtWork {
    async fn wind_up(self, broker: Broker) {
        let desk = self.actor.queue.lock().desk.take();
        let mut desk = desk.unwrap_or_default();
        desk.wind_up(&broker).await;
        self.actor.queue.lock().desk = Some(desk);
        // Something may have been asked meanwhile.
        self.work(broker).await;
    }

    async fn work(mut self, broker: Broker) {
        let desk = self.actor.queue.lock().desk.take();
        let mut desk = desk.unwrap_or_default();
        let mut parked = Parked::default();
        loop {
            let mut asks = self.take_asks();
            if asks.is_empty() {
                parked.forget_closed();
                if broker.inner.stopping.is_cancelled() {
                    parked.send_away();
                }
                if parked.waiting.is_empty() {
                    let mut queue = self.actor.queue.lock();
                    if queue.waiting.is_empty() {
                        queue.desk = Some(desk);
                        queue.busy = false;
                        // From here on the queue may be another task's.
                        self.over = true;
                        return;
                    }
                    continue;
                }
                if !parked.due && !parked.wait(&self.actor, &broker, &desk).await {
                    continue;
                }
            }
            if parked.due {
                asks.extend(parked.waiting.drain(..));
                parked.due = false;
            }
            let outcome = desk.round(&self.actor, &broker, asks).await;
            parked.keep(outcome, &broker);
        }
    }

    fn take_asks(&self) -> Vec<Ask> {
        let mut queue = self.actor.queue.lock();
        let count = queue.waiting.len().min(ROUND_MAX);
        queue.waiting.drain(..count).collect()
    }
}

/// Pulls that wait for messages, first come first served.
#[derive(Default)]
struct Parked {
    waiting: VecDeque<Ask>,
    /// Whether there may be something for them.
    due: bool,
    /// The topic's end, watched while somebody waits.
    tail: Option<(Arc<TopicActor>, TailReader)>,
}

impl Parked {
    fn forget_closed(&mut self) {
        self.waiting.retain(|ask| !matches!(ask, Ask::Command { reply, .. } if reply.is_closed()));
    }

    /// Answers everybody with nothing.
    fn send_away(&mut self) {
        for ask in self.waiting.drain(..) {
            if let Ask::Command { reply, .. } = ask {
                // Whoever has gone away needs no answer.
                let _ = reply.send(nothing());
            }
        }
    }

    /// Takes over who found nothing; all are due again when the round freed something, maybe only after they were judged.
    fn keep(&mut self, outcome: Outcome, broker: &Broker) {
        self.waiting.extend(outcome.parked);
        self.due |= outcome.freed;
        if self.waiting.is_empty() {
            (self.due, self.tail) = (false, None);
        } else if let Some(topic) = outcome.topic {
            if self.tail.as_ref().is_none_or(|(watched, _)| !Arc::ptr_eq(watched, &topic.actor)) {
                self.tail = Some((Arc::clone(&topic.actor), topic.actor.watch(broker)));
            }
            // The round saw the topic up to here.
            let seen = self.tail.as_mut().map(|(_, tail)| tail.look());
            self.due |= seen.is_some_and(|seen| seen > topic.next);
        }
    }

    /// Waits until there may be something for the parked, which `true` tells, or until something is asked.
    async fn wait(&mut self, actor: &SubscriptionActor, broker: &Broker, desk: &Desk) -> bool {
        let until = desk.next_timer(broker).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        let grown = async {
            match &mut self.tail {
                Some((_, tail)) => tail.grown().await,
                None => std::future::pending().await,
            }
        };
        // In order, not at random: a run can be repeated exactly.
        self.due = tokio::select! {
            biased;
            () = actor.wake.notified() => false,
            () = grown => true,
            () = tokio::time::sleep(until) => true,
            () = broker.inner.stopping.cancelled() => false,
        };
        self.due
    }
}
