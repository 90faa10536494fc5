//! How things are made, changed and removed: the order of their documents and logs.
//!
//! Make: the truth (being made), what belongs to it, the name, the truth (live). Rename: the truth says so, the new name, the
//! truth is called so, the old name. Remove: the truth is marked, which is the removal; then log, token, name, truth go. Each
//! step may be the last one that happens: the [sweeper](crate::broker::sweeper) finishes or undoes the rest.

use super::Broker;
use super::claim::struck_out;
use super::entity::Entity;
use super::page::{Page, PageRequest};
use crate::broker::codec::document::{Claim, Standing, TokenHash, Truth};
use crate::broker::documents::keys::Series;
use crate::broker::documents::{Stored, failed};
use crate::domain::project::Project;
use crate::domain::{Error, Name, ProjectId, Resource, Result, UserId};
use crate::storage::{LogId, Offset, Order, StoreError};
use std::sync::Arc;
use uuid::Uuid;

/// How often a call of the store that may be repeated is, when its outcome is unknown.
const REPEATS: usize = 8;

impl Broker {
    /// Makes a thing. `prepare` makes what belongs to it, after its truth says that it is being made.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Changed`] when another one took the name meanwhile; those of `prepare`.
    pub(crate) async fn make<T: Entity>(
        &self,
        thing: T,
        prepare: impl Future<Output = Result<()>> + Send,
    ) -> Result<Arc<T>> {
        let (scope, id, name) = (thing.scope(), thing.id(), thing.name().clone());
        if self.find_now::<T>(scope, &name).await?.is_some() {
            return Err(Error::AlreadyExists(T::RESOURCE));
        }
        let key = thing.key();
        let truth = Truth { standing: Standing::Claiming, claim: None, thing: Arc::new(thing) };
        if !self.documents().put_new(&key, &truth).await? {
            return Err(Error::Changed);
        }
        let made = async {
            prepare.await?;
            let incarnation = self.claim_name::<T>(scope, &name, id).await?;
            let truth = self.documents().update(&key, |truth| match truth.standing {
                Standing::Deleting => Err(Error::Changed),
                // Its own earlier work.
                Standing::Live => Ok(truth.clone()),
                Standing::Claiming => {
                    let mut thing = T::clone(&truth.thing);
                    thing.count(incarnation);
                    Ok(Truth { standing: Standing::Live, claim: None, thing: Arc::new(thing) })
                }
            });
            Ok(truth.await?.ok_or(Error::Changed)?.thing.clone())
        };
        let made = made.await;
        match &made {
            Ok(thing) => self.tell::<T>(thing),
            Err(error) => self.abandon::<T>(&key, error).await,
        }
        made
    }

    /// Removes what could not be made, as far as that goes; the sweeper does the rest.
    async fn abandon<T: Entity>(&self, key: &T::Key, why: &Error) {
        let struck = self.documents().update(key, |truth: &Truth<T>| match truth.standing {
            Standing::Live => Err(Error::Changed),
            Standing::Claiming | Standing::Deleting => Ok(struck_out(truth)),
        });
        let finished = match struck.await {
            Ok(Some(truth)) => self.finish(&*truth.thing).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = finished {
            tracing::warn!(resource = %T::RESOURCE, %why, %error, "what could not be made is left to the sweeper");
        }
    }

    /// Changes a thing; `change` sets the new name too. A new name is taken before the change is made and the old one given up
    /// after it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::AlreadyExists`] when the name is another's; [`Error::Changed`] when somebody else renames it
    /// meanwhile; what `change` answers.
    pub(crate) async fn alter<T: Entity>(
        &self,
        scope: ProjectId,
        id: u128,
        new_name: Option<&Name>,
        change: impl Fn(&mut T) -> Result<()> + Send + Sync,
    ) -> Result<Arc<T>> {
        let key = T::key_of(scope, id);
        let present = self.live_now::<T>(&key).await?;
        if let Some(name) = new_name.filter(|name| *name != present.name()) {
            return self.rename(scope, id, name, change).await;
        }
        let altered = self.documents().update(&key, |truth| {
            let thing = changed(truth, &change)?;
            let same_name = thing.name() == truth.thing.name();
            if same_name { Ok(Truth { thing: Arc::new(thing), ..truth.clone() }) } else { Err(Error::Changed) }
        });
        let altered = altered.await?.ok_or(Error::NotFound(T::RESOURCE))?.thing.clone();
        self.tell::<T>(&altered);
        Ok(altered)
    }

    async fn rename<T: Entity>(
        &self,
        scope: ProjectId,
        id: u128,
        name: &Name,
        change: impl Fn(&mut T) -> Result<()> + Send + Sync,
    ) -> Result<Arc<T>> {
        if self.find_now::<T>(scope, name).await?.is_some_and(|other| other.id() != id) {
            return Err(Error::AlreadyExists(T::RESOURCE));
        }
        let key = T::key_of(scope, id);
        let claim = Claim { name: name.clone(), ticket: Uuid::new_v4().as_u128() };
        let claiming = self.documents().update(&key, |truth: &Truth<T>| {
            changed(truth, &change)?;
            Ok(Truth { claim: Some(claim.clone()), ..truth.clone() })
        });
        claiming.await?.ok_or(Error::NotFound(T::RESOURCE))?;
        let mut former = name.clone();
        let renamed = async {
            self.claim_name::<T>(scope, name, id).await?;
            let renamed = self.documents().update(&key, |truth| {
                let thing = changed(truth, &change)?;
                if truth.claim.as_ref() == Some(&claim) {
                    former = truth.thing.name().clone();
                    Ok(Truth { claim: None, thing: Arc::new(thing), ..*truth })
                } else if truth.thing.name() == name {
                    // Its own earlier work, or somebody else's who wanted the same.
                    Ok(Truth { thing: Arc::new(thing), ..truth.clone() })
                } else {
                    Err(Error::Changed)
                }
            });
            Ok(renamed.await?.ok_or(Error::NotFound(T::RESOURCE))?.thing.clone())
        };
        let renamed: Result<Arc<T>> = renamed.await;
        let unused = if renamed.is_ok() { &former } else { name };
        if let Err(error) = self.unclaim::<T>(&key, &claim, unused).await {
            tracing::warn!(resource = %T::RESOURCE, %error, "a name that is not used is left to the sweeper");
        }
        renamed
    }

    /// After a rename, whatever came of it: strikes its claim out if that still stands, and gives up the name that is not used.
    async fn unclaim<T: Entity>(&self, key: &T::Key, claim: &Claim, unused: &Name) -> Result<()> {
        let Some(Stored { version, record, .. }) = self.documents().fetch(key).await? else { return Ok(()) };
        if record.claim.as_ref() == Some(claim) {
            self.documents().put(key, &struck_out(&record), version).await?;
        }
        self.give_up::<T>(record.thing.scope(), unused, record.thing.id()).await
    }

    /// Removes a thing. From the mark on it is gone for everybody; its log is closed before this answers.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::OutcomeUnknown`] when it is gone but what belongs to it could not all be ended yet.
    pub(crate) async fn remove<T: Entity>(&self, key: &T::Key) -> Result<()> {
        let mut marked = false;
        let truth = self.documents().update(key, |truth: &Truth<T>| {
            // Deleting after a mark of unknown outcome is this call's own work.
            if truth.standing == Standing::Live || (marked && truth.standing == Standing::Deleting) {
                marked = true;
                Ok(Truth { standing: Standing::Deleting, ..truth.clone() })
            } else {
                Err(Error::NotFound(T::RESOURCE))
            }
        });
        let truth = truth.await?.ok_or(Error::NotFound(T::RESOURCE))?;
        self.finish(&*truth.thing).await.map_err(|error| {
            Error::OutcomeUnknown(format!(
                "the {} is gone, what belongs to it is still being removed: {error}",
                T::RESOURCE
            ))
        })
    }

    /// Removes everything that belongs to a thing whose truth is marked, and the truth itself at last. May be repeated.
    pub(crate) async fn finish<T: Entity>(&self, thing: &T) -> Result<()> {
        self.tell(thing);
        if T::RESOURCE == Resource::Project {
            self.empty_project(ProjectId(thing.id())).await?;
        }
        if let Some(log) = thing.log() {
            if T::RESOURCE == Resource::Topic {
                let series = Series { project: thing.scope(), topic: thing.name().clone(), log };
                self.close_series(&series).await?;
            }
            self.close_log(log).await?;
            self.drop_data_key(log).await?;
        }
        if let Some(hash) = thing.token() {
            self.drop_token(&hash, UserId(thing.id())).await?;
        }
        self.give_up::<T>(thing.scope(), thing.name(), thing.id()).await?;
        let Some(stored) = self.documents().fetch(&thing.key()).await? else { return Ok(()) };
        if let Some(claim) = &stored.record.claim {
            self.give_up::<T>(thing.scope(), &claim.name, thing.id()).await?;
        }
        if stored.record.standing == Standing::Deleting {
            self.documents().delete(&thing.key(), stored.version).await?;
        }
        Ok(())
    }

    /// Removes the hint of a token that is not this user's any more.
    pub(crate) async fn drop_token(&self, hash: &TokenHash, user: UserId) -> Result<()> {
        match self.documents().fetch(hash).await? {
            Some(hint) if hint.record.holder == user => {
                self.documents().delete(hash, hint.version).await.map(|_deleted| ())
            }
            _ => Ok(()),
        }
    }

    /// The thing under a key, past the cache; [`Error::NotFound`].
    pub(crate) async fn live_now<T: Entity>(&self, key: &T::Key) -> Result<Arc<T>> {
        let stored = self.documents().fetch(key).await?.ok_or(Error::NotFound(T::RESOURCE))?;
        standing_live(&stored.record).cloned()
    }

    /// The thing under a key, as it was at most the cache's age ago; [`Error::NotFound`].
    pub(crate) async fn live<T: Entity>(&self, key: &T::Key) -> Result<Arc<T>> {
        let truth = self.documents().get(key).await?.ok_or(Error::NotFound(T::RESOURCE))?;
        standing_live(&truth).cloned()
    }

    /// Fails when the project does not exist: asked past the cache after a truth in it was written, so that either this sees
    /// the project's mark, or who marked the project sees the truth.
    pub(crate) async fn require_project(&self, project: ProjectId) -> Result<()> {
        self.live_now::<Project>(&project).await.map(|_project| ())
    }

    /// The things of a project that `visible` accepts, newest first. O(things of the project).
    pub(crate) async fn list<T: Entity>(
        &self,
        scope: ProjectId,
        request: PageRequest,
        visible: &(dyn Fn(&T) -> bool + Send + Sync),
    ) -> Result<Page<Arc<T>>> {
        let mut page = Page::empty();
        self.documents()
            .scan(&T::prefix(scope), Order::Descending, |_key, stored: Stored<Truth<T>>| {
                let thing = &stored.record.thing;
                if stored.record.standing == Standing::Live && visible(thing) {
                    page.offer(request, thing.id(), thing.clone());
                }
            })
            .await?;
        Ok(page)
    }

    /// The things of a project in creation order, past the cache. O(things of the project).
    pub(crate) async fn all<T: Entity>(&self, scope: ProjectId) -> Result<Vec<Arc<T>>> {
        let mut all = Vec::new();
        self.documents()
            .scan(&T::prefix(scope), Order::Ascending, |_key, stored: Stored<Truth<T>>| {
                if stored.record.standing == Standing::Live {
                    all.push(stored.record.thing.clone());
                }
            })
            .await?;
        Ok(all)
    }

    /// Begins a fresh log.
    pub(crate) async fn create_log(&self, log: LogId, first: Offset) -> Result<()> {
        self.repeat(|| self.inner.store.create(log, first)).await.map(|_created| ())
    }

    /// Closes a log for ever.
    pub(crate) async fn close_log(&self, log: LogId) -> Result<()> {
        self.repeat(|| self.inner.store.close(log)).await
    }

    /// Repeats a call of the store while its outcome is unknown; only for calls that may be repeated.
    async fn repeat<R, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<R>
    where
        F: Future<Output = crate::storage::Result<R>> + Send,
    {
        let mut outcome = call().await;
        for _ in 1..REPEATS {
            if !outcome.as_ref().is_err_and(StoreError::is_unknown) {
                break;
            }
            outcome = call().await;
        }
        outcome.map_err(failed)
    }
}

/// The thing as a change leaves it.
fn changed<T: Entity>(truth: &Truth<T>, change: impl Fn(&mut T) -> Result<()>) -> Result<T> {
    let mut thing = T::clone(standing_live(truth)?);
    change(&mut thing)?;
    Ok(thing)
}

/// The thing, if it exists.
fn standing_live<T: Entity>(truth: &Truth<T>) -> Result<&Arc<T>> {
    if truth.standing == Standing::Live { Ok(&truth.thing) } else { Err(Error::NotFound(T::RESOURCE)) }
}
