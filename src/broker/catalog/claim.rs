//! Names: how a thing comes by one, and gives it up.
//!
//! The truth under an identity decides; the hint under a name only says where to look. A name is taken in three steps, each one
//! compare-and-set: the truth says which name it is about to take, the hint is made to name the truth (also when it does
//! already), the truth takes the name if it still says so, for the same attempt. Whoever wants a name that a hint gives to somebody reads that
//! somebody's truth after the hint: if it is neither called so nor about to be, the hint is replaced; if it is only about to be,
//! it gets a moment, then its claim is struck out, and its third step fails. So of two that take one name, the one whose hint
//! was written first is either found to hold the name or stopped: never do both succeed, whatever stops or stalls in between.

use super::Broker;
use super::entity::{Entity, GivenUp};
use crate::broker::codec::document::{Hint, Standing, Truth};
use crate::broker::documents::Stored;
use crate::domain::{Error, Incarnation, Name, ProjectId, Result, Timestamp};
use crate::storage::Version;
use std::sync::Arc;
use std::time::Duration;

/// How often a name is tried for against others.
const TRIES: usize = 16;
/// How often somebody who is about to take the name is looked at before its claim is struck out, and how long between.
const PATIENCE: usize = 20;
const PATIENCE_STEP: Duration = Duration::from_millis(10);

/// What a hint's holder says about the name, or the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It has it.
    Holds,
    /// It has it not, any more.
    Yields,
    /// It never had it.
    NeverHeld,
}

impl Broker {
    /// The thing of this name, as it was at most the cache's age ago.
    pub(crate) async fn find<T: Entity>(&self, scope: ProjectId, name: &Name) -> Result<Option<Arc<T>>> {
        let hint = self.documents().get(&T::hint(scope, name)).await?;
        let Some(holder) = hint.and_then(|hint| hint.holder) else { return Ok(None) };
        let truth = self.documents().get(&T::key_of(scope, holder)).await?;
        match live(truth.as_deref(), name) {
            Some(thing) => Ok(Some(thing)),
            // The hint may be older than the truth.
            None => self.find_now(scope, name).await,
        }
    }

    /// The thing of this name, past the cache.
    pub(crate) async fn find_now<T: Entity>(&self, scope: ProjectId, name: &Name) -> Result<Option<Arc<T>>> {
        let hint = self.documents().fetch(&T::hint(scope, name)).await?;
        let Some(holder) = hint.and_then(|hint| hint.record.holder) else { return Ok(None) };
        let truth = self.documents().fetch(&T::key_of(scope, holder)).await?;
        Ok(live(truth.as_ref().map(|stored| &*stored.record), name))
    }

    /// Makes a name's hint speak of a thing whose truth says already that it is about to take the name. Waits while the name
    /// rests, at most twice the cache's age.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Changed`] when too many want it at once.
    pub(crate) async fn claim_name<T: Entity>(&self, scope: ProjectId, name: &Name, id: u128) -> Result<Incarnation> {
        let key = T::hint(scope, name);
        for _ in 0..TRIES {
            let stored = self.documents().fetch(&key).await?;
            let version = stored.as_ref().map_or(Version::ABSENT, |stored| stored.version);
            let hint = stored.as_ref().map_or_else(Hint::default, |stored| *stored.record);
            if let Some(holder) = hint.holder.filter(|holder| *holder != id) {
                match self.question::<T>(scope, name, holder).await? {
                    Answer::Holds => return Err(Error::AlreadyExists(T::RESOURCE)),
                    Answer::Yields if T::GIVEN_UP == GivenUp::Rests => {
                        self.documents().put(&key, &self.given_up(&hint, holder), version).await?;
                        continue;
                    }
                    Answer::Yields | Answer::NeverHeld => {}
                }
            }
            if let Some(stored) = stored.as_ref().filter(|_| T::GIVEN_UP == GivenUp::Rests) {
                self.let_rest(stored, id).await;
            }
            let incarnation = match T::GIVEN_UP {
                GivenUp::Counts => Incarnation(hint.incarnation.0.saturating_add(1)),
                GivenUp::Rests | GivenUp::Goes => Incarnation::default(),
            };
            let claimed = Hint { holder: Some(id), given_up: None, incarnation };
            if self.documents().put(&key, &claimed, version).await?.is_some() {
                return Ok(incarnation);
            }
        }
        Err(Error::Changed)
    }

    /// Asks a hint's holder about the name.
    async fn question<T: Entity>(&self, scope: ProjectId, name: &Name, holder: u128) -> Result<Answer> {
        self.ask::<T>(&T::key_of(scope, holder), |truth| {
            let called_so = truth.thing.name() == name;
            match truth.standing {
                Standing::Deleting => Some(Answer::Yields),
                Standing::Live if called_so => Some(Answer::Holds),
                Standing::Live if !truth.claims(name) => Some(Answer::Yields),
                Standing::Claiming if !called_so => Some(Answer::NeverHeld),
                Standing::Live | Standing::Claiming => None,
            }
        })
        .await
    }

    /// Asks a truth whether it holds what a hint gives to it. One that is only about to (none) gets a moment, then its claim is
    /// struck out.
    pub(crate) async fn ask<T: Entity>(
        &self,
        key: &T::Key,
        answer: impl Fn(&Truth<T>) -> Option<Answer> + Send + Sync,
    ) -> Result<Answer> {
        for look in 0..PATIENCE + TRIES {
            let Some(Stored { version, record, .. }) = self.documents().fetch(key).await? else {
                return Ok(Answer::Yields);
            };
            if let Some(answer) = answer(&record) {
                return Ok(answer);
            }
            if look < PATIENCE {
                tokio::time::sleep(PATIENCE_STEP).await;
            } else if self.documents().put(key, &struck_out(&record), version).await?.is_some() {
                let never = record.standing == Standing::Claiming;
                return Ok(if never { Answer::NeverHeld } else { Answer::Yields });
            }
        }
        Err(Error::Changed)
    }

    /// Gives a name up for a thing whose truth is not called so any more, nor about to be; does nothing otherwise.
    pub(crate) async fn give_up<T: Entity>(&self, scope: ProjectId, name: &Name, id: u128) -> Result<()> {
        let key = T::hint(scope, name);
        for _ in 0..TRIES {
            let Some(stored) = self.documents().fetch(&key).await? else { return Ok(()) };
            if stored.record.holder != Some(id) {
                return Ok(());
            }
            // Read after the hint: a claim made later writes the hint again, and this change of it fails.
            if let Some(truth) = self.documents().fetch(&T::key_of(scope, id)).await? {
                let truth = truth.record;
                let wanted = truth.thing.name() == name || truth.claims(name);
                if truth.standing != Standing::Deleting && wanted {
                    return Ok(());
                }
            }
            let done = match T::GIVEN_UP {
                GivenUp::Goes => self.documents().delete(&key, stored.version).await?,
                GivenUp::Rests | GivenUp::Counts => {
                    self.documents().put(&key, &self.given_up(&stored.record, id), stored.version).await?
                }
            };
            if done.is_some() {
                return Ok(());
            }
        }
        Err(Error::Changed)
    }

    fn given_up(&self, hint: &Hint, by: u128) -> Hint {
        Hint { holder: None, given_up: Some((by, self.now())), incarnation: hint.incarnation }
    }

    /// Waits until nobody can believe any more that the name means its former holder: twice the cache's age. By whose clock the
    /// name was given up decides how far that instant is trusted. The former holder itself need not wait.
    async fn let_rest(&self, hint: &Stored<Hint>, id: u128) {
        let Some((by, at)) = hint.record.given_up else { return };
        let options = &self.inner.options;
        let rest = options.cache_age.saturating_mul(2);
        let passed = self.now().since(at);
        let left = if by == id {
            Duration::ZERO
        } else if self.documents().wrote(hint) {
            rest.saturating_sub(passed)
        } else if passed >= rest.saturating_add(options.clock_skew_max) {
            Duration::ZERO
        } else {
            rest
        };
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.inner.clock.wall())
    }
}

/// The truth without its claim: what was to be made is to be removed, what is stays as it is.
pub(crate) fn struck_out<T: Entity>(truth: &Truth<T>) -> Truth<T> {
    let standing = match truth.standing {
        Standing::Claiming => Standing::Deleting,
        standing => standing,
    };
    Truth { standing, claim: None, thing: truth.thing.clone() }
}

/// The thing, if it exists and is called so.
fn live<T: Entity>(truth: Option<&Truth<T>>, name: &Name) -> Option<Arc<T>> {
    let truth = truth.filter(|truth| truth.standing == Standing::Live)?;
    (truth.thing.name() == name).then(|| truth.thing.clone())
}
