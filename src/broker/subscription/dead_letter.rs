//! Messages whose attempts are used up, on their way to the dead-letter topic: noted in the subscription's log, copied with the noted
//! nonce, noted as done. Whoever finds a note without its end looks for the nonce before copying, so a copy is made at least once, and
//! twice only when a node goes on that was thought dead. What the target refuses stays noted and is tried again.

use super::actor::SubscriptionActor;
use super::deliver;
use crate::broker::Broker;
use crate::broker::codec::message::NewMessage;
use crate::broker::resolve::Standing;
use crate::domain::subscription::{Command, DeadLetter, Grant, Nonce, Reply};
use crate::domain::{Error, Fence, LogRef, Offset, Resource, Result, Timestamp};
use crate::storage::{self, LogId, Position, Read, ReadLimit};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The pause after a failure; each one doubles it, up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A copy lives at least this long.
const COPY_TTL_MIN: Duration = Duration::from_secs(60);
const READ: ReadLimit = ReadLimit { bytes: 1 << 20, batches: 1_024 };

impl SubscriptionActor {
    /// Sees to it that somebody takes care of the exhausted messages. Who finds some later asks again, so none is forgotten.
    pub(super) fn start_dead_letters(self: &Arc<Self>, broker: &Broker) {
        if !self.burying.swap(true, Ordering::AcqRel) {
            tokio::spawn(Undertaker { actor: Arc::clone(self), broker: broker.clone() }.work());
        }
    }
}

struct Undertaker {
    actor: Arc<SubscriptionActor>,
    broker: Broker,
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        self.actor.burying.store(false, Ordering::Release);
    }
}

impl Undertaker {
    async fn work(self) {
        let mut pause = PAUSE;
        loop {
            match self.step().await {
                Ok(true) => pause = PAUSE,
                // Without subscription or topic there is nothing left to save.
                Ok(false) | Err(Error::NotFound(Resource::Subscription) | Error::TopicGone) => return,
                Err(error) => {
                    tracing::warn!(log = %self.actor.log, %error, "messages wait for their dead-letter topic");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Moves what there is; `false` when there was nothing.
    async fn step(&self) -> Result<bool> {
        let mut started = self.started().await?;
        let ours = self.broker.inner.writer;
        if started.iter().any(|letter| letter.nonce.writer != ours) {
            // Another node may be about to finish them.
            tokio::time::sleep(self.broker.inner.options.clock_skew_max).await;
            started = self.started().await?;
        }
        for letter in &started {
            self.recover(letter).await?;
        }
        let expired = self.actor.command(&self.broker, Command::Expire).await?;
        let Reply::Expired { exhausted, .. } = expired.reply else { return Ok(false) };
        for offset in &exhausted {
            self.bury(*offset).await?;
        }
        Ok(!exhausted.is_empty() || !started.is_empty())
    }

    async fn started(&self) -> Result<Vec<DeadLetter>> {
        self.actor.look(&self.broker, |seen| seen.state.dead_letters().to_vec()).await
    }

    /// Takes one message the whole way.
    async fn bury(&self, offset: Offset) -> Result<()> {
        let target = self.target().await?;
        let (log, tail) = (target.document.log, target.next);
        let storage::Nonce { writer, sequence } = self.broker.inner.nonce();
        let letter = DeadLetter { offset, target: log, tail, nonce: Nonce { writer, sequence } };
        let start = Command::StartDeadLetter { offset, target: log, tail, nonce: letter.nonce };
        match self.actor.command(&self.broker, start).await?.reply {
            Reply::Targets { applied: 1, .. } => self.copy(&letter, &target).await,
            // Somebody else has seen to it.
            _ => Ok(()),
        }
    }

    /// Goes on from a note that has no end.
    async fn recover(&self, letter: &DeadLetter) -> Result<()> {
        match self.find(letter).await? {
            Some(Some(copy)) => self.finish(letter, copy).await,
            Some(None) => {
                let target = self.target().await?;
                if target.document.log == letter.target {
                    self.copy(letter, &target).await
                } else {
                    self.bury(letter.offset).await
                }
            }
            // The topic that it was to go to is gone, and the copy, if there was one, with it.
            None => self.bury(letter.offset).await,
        }
    }

    /// The copy's offset, if there is a copy; none at all when its log is gone.
    async fn find(&self, letter: &DeadLetter) -> Result<Option<Option<Offset>>> {
        let LogRef(log) = letter.target;
        let mut from = letter.tail;
        loop {
            let position = Position::Offset(storage::Offset(from.0));
            match self.broker.inner.read(LogId(log), position, READ).await? {
                Read::Batches(batches) if batches.is_empty() => return Ok(Some(None)),
                Read::Batches(batches) => {
                    let ours = |batch: &&storage::StoredBatch| {
                        batch.nonce.writer == letter.nonce.writer && batch.nonce.sequence == letter.nonce.sequence
                    };
                    if let Some(copy) = batches.iter().find(ours) {
                        return Ok(Some(Some(Offset(copy.first.0))));
                    }
                    from = batches.last().map_or(from, |batch| Offset(batch.next().0));
                }
                Read::Trimmed { first } => from = Offset(first.0),
                Read::Closed => return Ok(None),
            }
        }
    }

    /// Copies a message that is noted, and notes that it is done.
    async fn copy(&self, letter: &DeadLetter, target: &Standing) -> Result<()> {
        let source = self.actor.look(&self.broker, |seen| seen.topic.cloned()).await?.ok_or(Error::TopicGone)?;
        let grant = Grant { first: letter.offset, next: letter.offset.plus(1), fence: Fence(0), attempt: 0 };
        let Some(delivery) = deliver::read(&self.broker, &source.actor, &[grant]).await?.pop() else {
            // Retention has taken it; the next command notes that.
            return Ok(());
        };
        let message = delivery.published.message;
        let ttl = match self.actor.about().settings.dead_letter_ttl {
            None if message.header.expires_at < Timestamp::NEVER => {
                let offset = letter.offset;
                let extended = self.actor.look(&self.broker, move |seen| seen.state.lifetime(offset)).await?;
                let end = message.header.expires_at.max(extended.unwrap_or_default());
                // It was to be kept when its attempts were used up, however late the copy is made.
                Some(end.since(self.broker.now()).max(COPY_TTL_MIN))
            }
            ttl => ttl,
        };
        let mut batch = self.broker.batch();
        batch.push(&NewMessage {
            payload: &message.payload.bytes,
            form: message.payload.form,
            attributes: message.attributes,
            producer: message.header.producer,
            delay: None,
            ttl,
        })?;
        // What was encrypted stays so.
        if target.document.sealed || source.actor.is_sealed() {
            batch = self.broker.sealed(&target.actor, batch).await?;
        }
        let Nonce { writer, sequence } = letter.nonce;
        let copied = target.actor.publish(&self.broker, batch, Some(storage::Nonce { writer, sequence })).await?;
        self.finish(letter, copied.first).await
    }

    async fn finish(&self, letter: &DeadLetter, copy: Offset) -> Result<()> {
        let finish = Command::FinishDeadLetter { offset: letter.offset, copy };
        let finished = self.actor.command(&self.broker, finish).await?;
        if matches!(finished.reply, Reply::Targets { applied: 1, .. }) {
            self.broker.inner.metrics.dead_lettered_messages.inc();
        }
        Ok(())
    }

    /// The dead-letter topic as it stands.
    async fn target(&self) -> Result<Standing> {
        let about = self.actor.about();
        let name = about.settings.dead_letter_topic.as_ref().ok_or(Error::NotFound(Resource::Topic))?;
        self.broker.standing(about.project, name).await?.ok_or(Error::NotFound(Resource::Topic))
    }
}
