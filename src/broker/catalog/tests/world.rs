//! What tests of documents share: a store that dies at a given change, sweeping to the end, and the check that all fits together.

use super::{START, broker_over};
use crate::broker::Broker;
use crate::broker::catalog::entity::Entity;
use crate::broker::codec::document::{Account, Hint, Standing, TokenHash, TokenHint, Truth};
use crate::broker::documents::Stored;
use crate::broker::documents::keys::{HintKey, Keyed, TOKEN_PREFIX};
use crate::broker::sweeper::{GRACE, Sweeper};
use crate::clock::Clock;
use crate::domain::ProjectId;
use crate::domain::project::Project;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::storage::memory::MemoryStore;
use crate::storage::*;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What becomes of the change at which a store dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    Before,
    After,
}

/// A store that does some changes, and then nothing any more: as a process sees it that is killed there.
#[derive(Debug)]
pub(crate) struct Dying {
    inner: Arc<dyn Store>,
    death: Death,
    left: AtomicUsize,
    dead: AtomicUsize,
}

impl Dying {
    pub(crate) fn new(inner: Arc<dyn Store>, changes: usize, death: Death) -> Self {
        Self { inner, death, left: AtomicUsize::new(changes), dead: AtomicUsize::new(0) }
    }

    pub(crate) fn died(&self) -> bool {
        self.dead.load(Ordering::SeqCst) > 0
    }

    fn gone<T>(&self) -> Result<T> {
        Err(StoreError::Unavailable("dead".to_owned()))
    }

    async fn change<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if self.died() {
            return self.gone();
        }
        if self.left.load(Ordering::SeqCst) > 0 {
            self.left.fetch_sub(1, Ordering::SeqCst);
            return call.await;
        }
        self.dead.store(1, Ordering::SeqCst);
        if self.death == Death::After {
            call.await?;
            return Err(StoreError::Unknown("died".to_owned()));
        }
        self.gone()
    }

    async fn look<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        if self.died() { self.gone() } else { call.await }
    }
}

#[async_trait]
impl Store for Dying {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.change(self.inner.create(log, first)).await
    }
    async fn append(&self, log: LogId, expected: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        self.change(self.inner.append(log, expected, batch, purpose)).await
    }
    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.look(self.inner.read(log, from, limit)).await
    }
    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.look(self.inner.bounds(log)).await
    }
    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.change(self.inner.trim(log, before)).await
    }
    async fn close(&self, log: LogId) -> Result<()> {
        self.change(self.inner.close(log)).await
    }
    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.look(self.inner.logs(after, limit)).await
    }
    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        self.look(self.inner.get(key)).await
    }
    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        self.change(self.inner.put(key, value, expected)).await
    }
    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.change(self.inner.delete(key, expected)).await
    }
    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.look(self.inner.scan(prefix, after, limit, order)).await
    }
    fn health(&self) -> Health {
        Health::Ready
    }
}

/// A walk of the sweeper from its beginning to its end.
pub(crate) async fn walk(sweeper: &mut Sweeper, broker: &Broker) {
    while !sweeper.step(broker).await.unwrap() {}
}

/// All that a sweeper can do: what is nobody's is given back when the grace is over.
pub(crate) async fn sweep(broker: &Broker, clock: &Clock) {
    let mut sweeper = Sweeper::default();
    for _ in 0..3 {
        walk(&mut sweeper, broker).await;
        clock.advance(GRACE + Duration::from_secs(1));
    }
}

/// Checks that all documents and logs fit together, as they must after a sweep.
pub(crate) async fn check(broker: &Broker) {
    let mut logs = BTreeSet::new();
    check_truths::<Project>(broker, &mut logs).await;
    check_truths::<Topic>(broker, &mut logs).await;
    check_truths::<Subscription>(broker, &mut logs).await;
    check_truths::<Account>(broker, &mut logs).await;
    let open: BTreeSet<_> = broker.inner.store.logs(None, 10_000).await.unwrap().into_iter().collect();
    assert_eq!(open, logs, "open logs are those that documents speak of");
    let mut tokens = 0;
    let mut accounts = 0;
    for (key, stored) in all::<TokenHint>(broker, TOKEN_PREFIX).await {
        let hash = TokenHash::parse(&key).unwrap();
        let truth = broker.documents().fetch(&stored.record.holder).await.unwrap().expect("a token's user");
        assert_eq!(truth.record.thing.token_hash, hash);
        tokens += 1;
    }
    for (_, stored) in all::<Truth<Account>>(broker, "user/").await {
        let account = &stored.record.thing;
        let hint = broker.documents().fetch(&account.token_hash).await.unwrap().expect("a user's token");
        assert_eq!(hint.record.holder, account.user.id);
        accounts += 1;
    }
    assert_eq!(tokens, accounts);
}

async fn all<R: crate::broker::codec::document::Record>(broker: &Broker, prefix: &str) -> Vec<(Key, Stored<R>)> {
    let mut found = Vec::new();
    let keep = |key, stored| found.push((key, stored));
    broker.documents().scan::<R>(&Key::new(prefix), Order::Ascending, keep).await.unwrap();
    found
}

async fn check_truths<T: Entity>(broker: &Broker, logs: &mut BTreeSet<LogId>) {
    let mut names = BTreeSet::new();
    for (key, stored) in all::<Truth<T>>(broker, &format!("{}/", T::RESOURCE)).await {
        let thing = &stored.record.thing;
        assert_eq!(key, thing.key().key());
        assert_eq!((stored.record.standing, &stored.record.claim), (Standing::Live, &None), "{key}");
        assert!(names.insert((thing.scope(), thing.name().clone())), "{} twice", thing.name());
        let found = broker.find_now::<T>(thing.scope(), thing.name()).await.unwrap().expect("a name's thing");
        assert_eq!(found.id(), thing.id());
        if thing.scope() != ProjectId::default() {
            broker.require_project(thing.scope()).await.expect("a project");
        }
        logs.extend(thing.log());
    }
    for (key, stored) in all::<Hint>(broker, &format!("{}-name/", T::RESOURCE)).await {
        let hint = HintKey::parse(T::RESOURCE, &key).unwrap();
        assert_eq!(hint.key(), key);
        let held = names.contains(&(hint.scope, hint.name));
        assert_eq!(stored.record.holder.is_some(), held, "{key}: {stored:?}");
        assert!(held || T::RESOURCE != crate::domain::Resource::Subscription, "{key}");
    }
}

/// Does `work` on a store that dies at its first change, its second and so on until it lives through; each time lets `then` look at
/// it with another broker, at once and after a sweep, and checks that everything fits together in the end.
pub(crate) async fn at_each_death<S>(
    setup: impl AsyncFn(&Broker) -> S,
    work: impl AsyncFn(&Broker, &S) -> crate::domain::Result<()>,
    then: impl AsyncFn(&Broker, &S, bool),
) {
    let mut deaths = 0;
    for (death, swept) in [(Death::Before, false), (Death::Before, true), (Death::After, false), (Death::After, true)] {
        for changes in 0.. {
            let clock = Clock::manual(START);
            let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let scene = setup(&broker_over(memory.clone(), &clock).await).await;
            let dying = Arc::new(Dying::new(memory.clone(), changes, death));
            let outcome = work(&broker_over(dying.clone(), &clock).await, &scene).await;
            if !dying.died() {
                assert_eq!(outcome, Ok(()), "{death:?} at {changes}");
                break;
            }
            deaths += 1;
            let broker = broker_over(memory, &clock).await;
            if swept {
                sweep(&broker, &clock).await;
                check(&broker).await;
            }
            then(&broker, &scene, outcome.is_ok()).await;
            sweep(&broker, &clock).await;
            check(&broker).await;
        }
    }
    assert!(deaths >= 8, "{deaths} deaths are too few");
}
