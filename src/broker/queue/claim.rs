//! Claims: messages leased together, spoken of by one id, renewed and released together. And what ends a message: deletion and pop.

use super::browse::QueueMessage;
use super::{Broker, Queue};
use crate::domain::limits::LEASE_BYTES_MAX;
use crate::domain::subscription::{Command, GroupId, HolderId, LeaseRequest, Phase, Reply, Targets};
use crate::domain::{Offset, Result, Timestamp};
use std::time::Duration;

/// What a worker wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimRequest {
    /// The claim's id, fresh and not zero.
    pub id: GroupId,
    /// Most messages.
    pub messages_max: u32,
    /// How long it lasts.
    pub ttl: Duration,
    /// Messages that would expire within the claim live until this long after its end.
    pub grace: Duration,
}

/// A claim that lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// When it was made or last renewed.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// What is left of its messages, oldest first.
    pub messages: Vec<QueueMessage>,
}

/// What came of a deletion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// The message is gone, or was not there.
    Done,
    /// A claim holds it, another one than was named, if one was.
    Claimed,
    /// The claim that was named is none, or has ended.
    NoSuchClaim,
    /// The claim that was named is there, but none holds the message.
    NotClaimed,
}

impl Broker {
    /// Claims the oldest messages that are free. None: there is none, and no claim came to be.
    ///
    /// # Errors
    /// Those of [`Broker::pull`].
    pub async fn claim(&self, queue: &Queue, request: ClaimRequest) -> Result<Vec<QueueMessage>> {
        let ClaimRequest { id, messages_max, ttl, grace } = request;
        let lease = LeaseRequest {
            holder: HolderId::default(),
            group: id,
            messages_max,
            bytes_max: LEASE_BYTES_MAX,
            duration: Some(ttl),
            grace: Some(grace),
            except_producer: None,
            early: false,
            worker: None,
        };
        let deliveries = self.give_out_now(&queue.work, Command::Lease(lease)).await?;
        self.lives(queue, deliveries, Some(id)).await
    }

    /// Takes the oldest free messages for good.
    pub async fn pop(&self, queue: &Queue, messages_max: u32) -> Result<Vec<QueueMessage>> {
        let lease = LeaseRequest {
            holder: HolderId::default(),
            group: GroupId::default(),
            messages_max,
            bytes_max: LEASE_BYTES_MAX,
            duration: None,
            grace: None,
            except_producer: None,
            early: false,
            worker: None,
        };
        let deliveries = self.give_out_now(&queue.work, Command::Pop(lease)).await?;
        Ok(deliveries.into_iter().map(QueueMessage::plain).collect())
    }

    /// A claim that lasts, with its messages; none when there is none of this id, or nothing is left of it.
    pub async fn claimed(&self, queue: &Queue, id: GroupId) -> Result<Option<Claim>> {
        let (now, observer) = (self.now(), self.inner.observer());
        let actor = self.subscription_actor(&queue.work)?;
        let held = actor.look(self, move |seen| seen.state.group(id, now, observer).collect::<Vec<_>>());
        let held = held.await?;
        let Some((_, lease)) = held.first().copied() else { return Ok(None) };
        let Phase::Held { at, .. } = lease.phase else { return Ok(None) };
        let offsets: Vec<_> = held.iter().flat_map(|(run, _)| (run.first.0..run.next.0).map(Offset)).collect();
        let messages = self.messages_at(queue, &offsets).await?;
        Ok(Some(Claim { since: at, until: lease.until, messages }))
    }

    /// Makes a claim last `ttl` from now on; `false` when there is none.
    pub async fn renew_claim(&self, queue: &Queue, id: GroupId, ttl: Duration, grace: Duration) -> Result<bool> {
        let targets = Targets::Group(id);
        let renew = Command::Extend { targets, duration: ttl, grace: Some(grace), worker: None };
        Ok(self.applied(queue, renew).await? > 0)
    }

    /// Ends a claim; what is left of its messages is free at once. Nothing happens when there is none.
    pub async fn release_claim(&self, queue: &Queue, id: GroupId) -> Result<()> {
        let release = Command::Release { targets: Targets::Group(id), not_before: Timestamp::EPOCH, worker: None };
        self.applied(queue, release).await.map(drop)
    }

    /// Deletes messages, claimed or not; those that are not there are passed over.
    pub async fn delete_messages(&self, queue: &Queue, offsets: &[Offset]) -> Result<()> {
        let there = self.within(queue, offsets).await?;
        let delete = Command::Acknowledge { targets: Targets::Offsets(there), worker: None };
        self.applied(queue, delete).await.map(drop)
    }

    /// Deletes a message that nobody holds, or that the named claim holds.
    pub async fn delete_message(&self, queue: &Queue, offset: Offset, claim: Option<GroupId>) -> Result<Deletion> {
        if self.messages_at(queue, &[offset]).await?.is_empty() {
            return Ok(Deletion::Done);
        }
        let targets = match claim {
            Some(claim) => Targets::Held(claim, vec![offset]),
            None => Targets::Free(vec![offset]),
        };
        let delete = Command::Acknowledge { targets, worker: None };
        let actor = self.subscription_actor(&queue.work)?;
        if let Reply::Targets { superseded: 0, .. } = actor.command(self, delete).await?.reply {
            return Ok(Deletion::Done);
        }
        let Some(claim) = claim else { return Ok(Deletion::Claimed) };
        let (now, observer) = (self.now(), self.inner.observer());
        let why = actor.look(self, move |seen| {
            let held = seen.state.lease(offset).is_some_and(|lease| lease.live(now, observer));
            let exists = seen.state.group(claim, now, observer).next().is_some();
            match (held, exists) {
                (true, true) => Deletion::Claimed,
                (_, false) => Deletion::NoSuchClaim,
                (false, true) => Deletion::NotClaimed,
            }
        });
        why.await
    }

    /// Acknowledges everything that is there, claimed or not, and ends all claims.
    pub async fn purge_queue(&self, queue: &Queue) -> Result<()> {
        self.purge(&queue.work).await
    }

    /// The offsets that the topic has.
    async fn within(&self, queue: &Queue, offsets: &[Offset]) -> Result<Vec<Offset>> {
        let next = self.topic_bounds(&queue.topic).await?.next;
        Ok(offsets.iter().copied().filter(|offset| *offset < next).collect())
    }

    async fn applied(&self, queue: &Queue, command: Command) -> Result<usize> {
        match self.subscription_actor(&queue.work)?.command(self, command).await?.reply {
            Reply::Targets { applied, .. } => Ok(applied),
            _ => Ok(0),
        }
    }
}
