//! The sweeper: finishes removals that were interrupted, undoes creations and renames that were, and gives back what nobody
//! speaks of any more: names without a holder, tokens without a user, logs without a document. What has had its time goes, too.
//!
//! It walks over all documents and then all logs, some pages at each step. What is marked as being removed is finished at once.
//! What may still be somebody's work on its way is touched only if it was already seen, unchanged, [`GRACE`] before the present walk
//! began; also then each change is a compare-and-set, so that whoever comes late fails instead of breaking something. A document
//! that cannot be read stops the walk where it is: the log it speaks of must not be taken for nobody's.

#[cfg(test)]
mod tests;

use super::Broker;
use super::catalog::claim::struck_out;
use super::catalog::entity::{Entity, GivenUp};
use super::codec::document::{Account, Hint, Record, Standing, TokenHash, TokenHint, Truth};
use super::documents::keys::{HintKey, TOKEN_PREFIX};
use super::documents::{Stored, failed};
use crate::domain::project::Project;
use crate::domain::schema::Schema;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, ProjectId, Resource, Result};
use crate::storage::{Key, LogId, Order, Version};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

/// How long before a walk something must have been seen to count as nobody's.
pub(crate) const GRACE: Duration = Duration::from_secs(600);
/// Pages of one step.
const PAGES: usize = 8;
/// Logs of one page.
const LOGS: usize = 1_000;
/// Most things that are kept in mind as perhaps nobody's; more wait for a later walk.
const SUSPECTS_MAX: usize = 100_000;

/// What a walk goes over, in this order: what is spoken of comes after all that may speak of it.
const STAGES: [Stage; 12] = [
    Stage::Truths(Resource::Project),
    Stage::Truths(Resource::Topic),
    Stage::Truths(Resource::Subscription),
    Stage::Truths(Resource::Schema),
    Stage::Truths(Resource::User),
    Stage::Names(Resource::Project),
    Stage::Names(Resource::Topic),
    Stage::Names(Resource::Subscription),
    Stage::Names(Resource::Schema),
    Stage::Names(Resource::User),
    Stage::Tokens,
    Stage::Logs,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Truths(Resource),
    Names(Resource),
    Tokens,
    Logs,
}

/// Something that may be nobody's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Suspect {
    Document(Key, Version),
    Log(LogId),
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    first: Duration,
    walk: u64,
}

/// Where the walk is, and what it has seen. One for each broker.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    walk: u64,
    began: Duration,
    stage: usize,
    after: Option<Key>,
    after_log: Option<LogId>,
    /// The logs that documents of this walk speak of.
    logs: HashSet<LogId>,
    /// The names and tokens that truths of this walk have, as hashes.
    spoken_of: HashSet<u64>,
    hasher: RandomState,
    suspects: HashMap<Suspect, Sighting>,
}

impl Sweeper {
    /// Goes some pages further; true when a walk has come to its end, and the next step begins another.
    ///
    /// # Errors
    /// Storage and damaged documents; the next step tries the same page again.
    pub(crate) async fn step(&mut self, broker: &Broker) -> Result<bool> {
        for _ in 0..PAGES {
            let Some(stage) = STAGES.get(self.stage).copied() else {
                self.finish_walk();
                return Ok(true);
            };
            if self.stage == 0 && self.after.is_none() {
                self.walk += 1;
                self.began = broker.inner.clock.monotonic();
            }
            let more = match stage {
                Stage::Truths(Resource::Project) => self.truths::<Project>(broker).await?,
                Stage::Truths(Resource::Topic) => self.truths::<Topic>(broker).await?,
                Stage::Truths(Resource::Subscription) => self.truths::<Subscription>(broker).await?,
                Stage::Truths(Resource::Schema) => self.truths::<Schema>(broker).await?,
                Stage::Truths(Resource::User) => self.truths::<Account>(broker).await?,
                Stage::Names(Resource::Project) => self.names::<Project>(broker).await?,
                Stage::Names(Resource::Topic) => self.names::<Topic>(broker).await?,
                Stage::Names(Resource::Subscription) => self.names::<Subscription>(broker).await?,
                Stage::Names(Resource::Schema) => self.names::<Schema>(broker).await?,
                Stage::Names(Resource::User) => self.names::<Account>(broker).await?,
                Stage::Tokens => self.tokens(broker).await?,
                Stage::Logs => self.unreferenced_logs(broker).await?,
            };
            if !more {
                (self.stage, self.after, self.after_log) = (self.stage + 1, None, None);
            }
        }
        Ok(false)
    }

    fn finish_walk(&mut self) {
        let walk = self.walk;
        self.suspects.retain(|_, sighting| sighting.walk == walk);
        (self.stage, self.after, self.after_log) = (0, None, None);
        self.logs = HashSet::new();
        self.spoken_of = HashSet::new();
    }

    /// Keeps something in mind; true when it was there, unchanged, for long enough.
    fn suspect(&mut self, suspect: Suspect, now: Duration) -> bool {
        let (walk, began) = (self.walk, self.began);
        if self.suspects.len() >= SUSPECTS_MAX && !self.suspects.contains_key(&suspect) {
            return false;
        }
        let sighting = self.suspects.entry(suspect).or_insert(Sighting { first: now, walk });
        sighting.walk = walk;
        sighting.first.saturating_add(GRACE) <= began
    }

    /// One page of documents, and where the next one begins.
    async fn page<R: Record>(&mut self, broker: &Broker, prefix: &str) -> Result<Vec<(Key, Stored<R>)>> {
        broker.documents().page(&Key::new(prefix), self.after.as_ref(), Order::Ascending).await
    }

    /// Notes the end of a page that was dealt with; false when it was the last one.
    fn turn<T>(&mut self, last: Option<(Key, T)>) -> bool {
        match last {
            Some((key, _)) => {
                self.after = Some(key);
                true
            }
            None => false,
        }
    }

    async fn truths<T: Entity>(&mut self, broker: &Broker) -> Result<bool> {
        let page = self.page::<Truth<T>>(broker, &format!("{}/", T::RESOURCE)).await?;
        for (key, stored) in &page {
            let thing = &*stored.record.thing;
            self.logs.extend(thing.log());
            if stored.record.standing != Standing::Deleting {
                for name in
                    [Some(thing.name()), stored.record.claim.as_ref().map(|claim| &claim.name)].into_iter().flatten()
                {
                    let spoken_of = self.name_hash::<T>(thing.scope(), name, thing.id());
                    self.spoken_of.insert(spoken_of);
                }
                let token = thing.token().map(|hash| self.hasher.hash_one((hash, thing.id())));
                self.spoken_of.extend(token);
            }
            let pending = stored.record.standing == Standing::Claiming || stored.record.claim.is_some();
            let now = broker.inner.clock.monotonic();
            let old = pending && self.suspect(Suspect::Document(key.clone(), stored.version), now);
            let over =
                stored.record.standing == Standing::Live && thing.until().is_some_and(|until| until <= broker.now());
            if stored.record.standing == Standing::Deleting || old || over {
                let settled = if over { end(broker, stored).await } else { settle_truth(broker, stored).await };
                report(key, settled);
            }
        }
        Ok(self.turn(page.into_iter().next_back()))
    }

    async fn names<T: Entity>(&mut self, broker: &Broker) -> Result<bool> {
        let page = self.page::<Hint>(broker, &format!("{}-name/", T::RESOURCE)).await?;
        for (key, stored) in &page {
            let Some(hint) = HintKey::parse(T::RESOURCE, key) else {
                return Err(Error::Damaged(format!("{key} is no name's key")));
            };
            let settled = match stored.record.holder {
                Some(id) if self.spoken_of.contains(&self.name_hash::<T>(hint.scope, &hint.name, id)) => Ok(()),
                Some(id) => broker.give_up::<T>(hint.scope, &hint.name, id).await,
                None => {
                    let now = broker.inner.clock.monotonic();
                    let old = self.suspect(Suspect::Document(key.clone(), stored.version), now);
                    if old { forget_name::<T>(broker, &hint, stored.version).await } else { Ok(()) }
                }
            };
            report(key, settled);
        }
        Ok(self.turn(page.into_iter().next_back()))
    }

    fn name_hash<T: Entity>(&self, scope: ProjectId, name: &Name, id: u128) -> u64 {
        self.hasher.hash_one((T::RESOURCE, scope, name, id))
    }

    async fn tokens(&mut self, broker: &Broker) -> Result<bool> {
        let page = self.page::<TokenHint>(broker, TOKEN_PREFIX).await?;
        for (key, stored) in &page {
            let Some(hash) = TokenHash::parse(key) else {
                return Err(Error::Damaged(format!("{key} is no token's key")));
            };
            let holder = stored.record.holder;
            let now = broker.inner.clock.monotonic();
            let spoken_of = self.spoken_of.contains(&self.hasher.hash_one((hash, holder.0)));
            if !spoken_of && self.suspect(Suspect::Document(key.clone(), stored.version), now) {
                report(key, broker.documents().delete(&hash, stored.version).await.map(|_deleted| ()));
            }
        }
        Ok(self.turn(page.into_iter().next_back()))
    }

    async fn unreferenced_logs(&mut self, broker: &Broker) -> Result<bool> {
        let logs = broker.inner.store.logs(self.after_log, LOGS).await.map_err(failed)?;
        for log in &logs {
            let now = broker.inner.clock.monotonic();
            if !self.logs.contains(log) && self.suspect(Suspect::Log(*log), now) {
                tracing::info!(%log, "closing a log that no document speaks of");
                broker.close_log(*log).await?;
            }
        }
        self.after_log = logs.last().copied();
        Ok(!logs.is_empty())
    }
}

/// Removes what has had its time, unless it was given more of it meanwhile.
async fn end<T: Entity>(broker: &Broker, stored: &Stored<Truth<T>>) -> Result<()> {
    let thing = &*stored.record.thing;
    let marked = Truth { standing: Standing::Deleting, ..(*stored.record).clone() };
    match broker.documents().put(&thing.key(), &marked, stored.version).await? {
        Some(_) => broker.finish(thing).await,
        None => Ok(()),
    }
}

/// Finishes what is marked; marks and finishes what was being made; strikes out a claim that came to nothing.
async fn settle_truth<T: Entity>(broker: &Broker, stored: &Stored<Truth<T>>) -> Result<()> {
    let thing = &*stored.record.thing;
    if stored.record.standing == Standing::Deleting {
        return broker.finish(thing).await;
    }
    let struck = struck_out(&stored.record);
    if broker.documents().put(&thing.key(), &struck, stored.version).await?.is_none() {
        // It went on after all.
        return Ok(());
    }
    if struck.standing == Standing::Deleting {
        return broker.finish(thing).await;
    }
    match &stored.record.claim {
        Some(claim) => broker.give_up::<T>(thing.scope(), &claim.name, thing.id()).await,
        None => Ok(()),
    }
}

/// Removes the document of a name that nobody holds. A topic's counts on as long as its project exists.
async fn forget_name<T: Entity>(broker: &Broker, hint: &HintKey, version: Version) -> Result<()> {
    let counts = T::GIVEN_UP == GivenUp::Counts && broker.documents().fetch(&hint.scope).await?.is_some();
    if !counts {
        broker.documents().delete(hint, version).await?;
    }
    Ok(())
}

/// One thing that cannot be dealt with must not keep the walk from the others; the next walk tries it again.
fn report(key: &Key, settled: Result<()>) {
    if let Err(error) = settled {
        tracing::warn!(%key, %error, "the sweeper could not finish this document");
    }
}
