//! A decorator that makes a store fail on purpose: latency, refusals, lost requests and lost replies.
//!
//! Owns the fault plan: odds for each operation, drawn from a seed, and scripted faults. The same seed and the same
//! order of calls give the same faults. Never fails in a way that the storage contract does not allow, and is never part of
//! a store that keeps somebody's data.

use super::{
    Append, Batch, Bounds, Created, Document, Health, Key, LogId, Offset, Order, Position, Purpose, Put, Read,
    ReadLimit, Result, Store, StoreError, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call of the storage trait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "each is named as the method of the trait that it stands for")]
pub enum Operation {
    Create,
    Append,
    Read,
    Bounds,
    Trim,
    Close,
    Logs,
    Get,
    Put,
    Delete,
    Scan,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Append,
        Self::Read,
        Self::Bounds,
        Self::Trim,
        Self::Close,
        Self::Logs,
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::Scan,
    ];

    /// Whether the operation changes the store; the outcome of one that does not is never unknown.
    const fn changes(self) -> bool {
        matches!(self, Self::Create | Self::Append | Self::Trim | Self::Close | Self::Put | Self::Delete)
    }
}

/// What may happen to one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is refused before anything happened: [`StoreError::Unavailable`].
    Refuse,
    /// It never arrives: not applied, and the caller learns [`StoreError::Unknown`].
    LoseRequest,
    /// It is done, but the caller learns [`StoreError::Unknown`].
    LoseReply,
    /// It arrives late.
    DelayRequest(Duration),
    /// It is done at once, but the answer comes late.
    DelayReply(Duration),
}

/// How often which fault happens to an operation, in calls of 1,000. All zero by default.
///
/// Refusals, lost requests and lost replies exclude one another (their sum is at most 1,000); a delay comes on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Odds {
    /// Calls that meet [`Fault::Refuse`].
    pub refuse: u16,
    /// Calls that meet [`Fault::LoseRequest`].
    pub lose_request: u16,
    /// Calls that meet [`Fault::LoseReply`].
    pub lose_reply: u16,
    /// Calls that meet a delay, of the request or of the reply, evenly.
    pub delay: u16,
    /// The longest delay; each is drawn evenly from zero to this.
    pub delay_max: Duration,
}

/// A store that fails by plan. Without odds and scripted faults it is the store inside.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Mutex<Plan>,
}

struct Plan {
    random: SplitMix64,
    odds: BTreeMap<Operation, Odds>,
    scripts: BTreeMap<Operation, VecDeque<Fault>>,
    injected: u64,
}

impl FaultyStore {
    /// Wraps a store; nothing fails before odds are set or a fault is scripted.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        let (odds, scripts) = (BTreeMap::new(), BTreeMap::new());
        Self { inner, plan: Mutex::new(Plan { random: SplitMix64(seed), odds, scripts, injected: 0 }) }
    }

    /// Sets the odds of one operation.
    pub fn set_odds(&self, operation: Operation, odds: Odds) {
        self.plan.lock().odds.insert(operation, odds);
    }

    /// Sets the odds of every operation.
    pub fn set_all_odds(&self, odds: Odds) {
        self.plan.lock().odds.extend(Operation::ALL.map(|operation| (operation, odds)));
    }

    /// Lets the next call of this operation that has no fault scripted yet meet this one, whatever the odds.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.plan.lock().scripts.entry(operation).or_default().push_back(fault);
    }

    /// Ends all faults: clears the odds and what is scripted. Calls on their way keep the fault they have met.
    pub fn heal(&self) {
        let mut plan = self.plan.lock();
        plan.odds.clear();
        plan.scripts.clear();
    }

    /// How many calls have met a fault so far; a test shows with it that it tested something.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.plan.lock().injected
    }

    /// Makes the call under the fate that the plan has for it. A future that is never polled has no effect, so `call` is
    /// the request that may get lost.
    async fn run<T>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let Fate { delay, loss } = self.plan.lock().draw(operation);
        if let Some(Fault::DelayRequest(by)) = delay {
            tokio::time::sleep(by).await;
        }
        match loss {
            Some(Fault::Refuse) => return Err(StoreError::Unavailable(format!("{operation:?} was refused by plan"))),
            Some(Fault::LoseRequest) => return Err(lost(operation, "request")),
            _ => {}
        }
        let answer = call.await;
        if let Some(Fault::DelayReply(by)) = delay {
            tokio::time::sleep(by).await;
        }
        if loss == Some(Fault::LoseReply) { Err(lost(operation, "reply")) } else { answer }
    }
}

/// What one call meets: at most one of each sort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fate {
    delay: Option<Fault>,
    loss: Option<Fault>,
}

impl Plan {
    fn draw(&mut self, operation: Operation) -> Fate {
        let scripted = self.scripts.get_mut(&operation).and_then(VecDeque::pop_front);
        let fate = match scripted {
            Some(delay @ (Fault::DelayRequest(_) | Fault::DelayReply(_))) => Fate { delay: Some(delay), loss: None },
            Some(loss) => Fate { delay: None, loss: Some(loss) },
            None => self.draw_by_odds(operation),
        };
        if fate.delay.is_some() || fate.loss.is_some() {
            self.injected += 1;
        }
        fate
    }

    /// Always takes the same count of numbers, so that one operation's odds do not change what others draw.
    fn draw_by_odds(&mut self, operation: Operation) -> Fate {
        let [for_loss, for_delay, for_side, for_length] = [(); 4].map(|()| self.random.next());
        let odds = self.odds.get(&operation).copied().unwrap_or_default();
        let by = odds.delay_max.mul_f64(unit(for_length));
        let side = if for_side % 2 == 0 { Fault::DelayRequest(by) } else { Fault::DelayReply(by) };
        Fate { delay: (for_delay % 1000 < u64::from(odds.delay)).then_some(side), loss: odds.loss(for_loss % 1000) }
    }
}

impl Odds {
    /// The fault at this place of the scale of 1,000.
    fn loss(self, at: u64) -> Option<Fault> {
        let mut end = 0;
        [(self.refuse, Fault::Refuse), (self.lose_request, Fault::LoseRequest), (self.lose_reply, Fault::LoseReply)]
            .into_iter()
            .find_map(|(width, fault)| {
                end += u64::from(width);
                (at < end).then_some(fault)
            })
    }
}

fn lost(operation: Operation, what: &str) -> StoreError {
    let text = format!("the {what} of {operation:?} was lost by plan");
    if operation.changes() { StoreError::Unknown(text) } else { StoreError::Unavailable(text) }
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): small, and good from
/// any seed.
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Evenly from 0 to 1, from the upper bits of a random number.
fn unit(random: u64) -> f64 {
    f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyStore").field(&self.inner).finish()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create(&self, log: LogId, first: Offset) -> Result<Created> {
        self.run(Operation::Create, self.inner.create(log, first)).await
    }

    async fn append(&self, log: LogId, expected_next: Offset, batch: Batch, purpose: Purpose) -> Result<Append> {
        self.run(Operation::Append, self.inner.append(log, expected_next, batch, purpose)).await
    }

    async fn read(&self, log: LogId, from: Position, limit: ReadLimit) -> Result<Read> {
        self.run(Operation::Read, self.inner.read(log, from, limit)).await
    }

    async fn bounds(&self, log: LogId) -> Result<Option<Bounds>> {
        self.run(Operation::Bounds, self.inner.bounds(log)).await
    }

    async fn trim(&self, log: LogId, before: Offset) -> Result<()> {
        self.run(Operation::Trim, self.inner.trim(log, before)).await
    }

    async fn close(&self, log: LogId) -> Result<()> {
        self.run(Operation::Close, self.inner.close(log)).await
    }

    async fn logs(&self, after: Option<LogId>, limit: usize) -> Result<Vec<LogId>> {
        self.run(Operation::Logs, self.inner.logs(after, limit)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>> {
        self.run(Operation::Get, self.inner.get(key)).await
    }

    async fn put(&self, key: &Key, value: Bytes, expected: Version) -> Result<Put> {
        self.run(Operation::Put, self.inner.put(key, value, expected)).await
    }

    async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.run(Operation::Delete, self.inner.delete(key, expected)).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        self.run(Operation::Scan, self.inner.scan(prefix, after, limit, order)).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{Subject, append_counts, batch, bounds, contract_suite, fresh_log, made, read_all};
    use super::super::memory::MemoryStore;
    use super::*;

    contract_suite!(without_faults, async { Subject::new(faulty(1)) });
    contract_suite!(late, async {
        let store = faulty(2);
        store.set_all_odds(Odds { delay: 100, delay_max: Duration::from_micros(100), ..Odds::default() });
        Subject::new(store)
    });

    fn faulty(seed: u64) -> FaultyStore {
        FaultyStore::new(Arc::new(MemoryStore::new()), seed)
    }

    /// What a row of appends to one log meets: `Ok`, `Unavailable`, or `Unknown`.
    async fn fates(seed: u64, odds: Odds) -> String {
        let store = faulty(seed);
        let log = made(&store).await;
        store.set_odds(Operation::Append, odds);
        let mut fates = String::new();
        for _ in 0..200 {
            let next = bounds(&store, log).await.next;
            fates.push(match store.append(log, next, batch(1, "x"), Purpose::Growth).await {
                Ok(_) => '.',
                Err(StoreError::Unavailable(_)) => 'r',
                Err(StoreError::Unknown(_)) => '?',
                Err(other) => panic!("{other}"),
            });
        }
        fates
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_faults() {
        let odds = Odds { refuse: 200, lose_request: 100, lose_reply: 100, ..Odds::default() };
        let first = fates(7, odds).await;
        assert_eq!(first, fates(7, odds).await);
        assert_ne!(first, fates(8, odds).await);
        let count = |fate| first.matches(fate).count();
        assert!((20..60).contains(&count('r')) && (20..60).contains(&count('?')), "{first}");
    }

    #[tokio::test]
    async fn certain_odds_always_hit_and_no_odds_never() {
        assert_eq!(fates(1, Odds::default()).await, ".".repeat(200));
        assert_eq!(fates(1, Odds { refuse: 1000, ..Odds::default() }).await, "r".repeat(200));
        assert_eq!(fates(1, Odds { lose_request: 500, lose_reply: 500, ..Odds::default() }).await, "?".repeat(200));
    }

    #[tokio::test]
    async fn a_refused_or_lost_request_is_not_applied_and_a_lost_reply_is() {
        let store = faulty(1);
        let log = made(&store).await;
        for (fault, unknown, applied) in
            [(Fault::Refuse, false, 0), (Fault::LoseRequest, true, 0), (Fault::LoseReply, true, 1)]
        {
            store.fail_next(Operation::Append, fault);
            let error = store.append(log, Offset(0), batch(1, "x"), Purpose::Growth).await.unwrap_err();
            assert_eq!(error.is_unknown(), unknown, "{fault:?}: {error}");
            assert_eq!(bounds(&store, log).await.next, Offset(applied), "after {fault:?}");
        }
        assert_eq!(store.injected(), 3);
    }

    #[tokio::test]
    async fn scripted_faults_come_in_order_to_their_operation_alone() {
        let store = faulty(1);
        let (key, log) = (Key::new("kind/one"), fresh_log());
        store.fail_next(Operation::Put, Fault::LoseReply);
        store.fail_next(Operation::Put, Fault::Refuse);
        assert_eq!(store.create(log, Offset(0)).await.unwrap(), Created::Made);
        assert!(matches!(store.put(&key, "a".into(), Version::ABSENT).await, Err(StoreError::Unknown(_))));
        let stands = store.get(&key).await.unwrap().unwrap();
        assert!(matches!(store.put(&key, "b".into(), stands.version).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(store.put(&key, "b".into(), stands.version).await, Ok(Put::Done(_))));
    }

    #[tokio::test]
    async fn a_lost_reply_of_a_read_is_never_an_unknown_outcome() {
        let store = faulty(1);
        let log = made(&store).await;
        for fault in [Fault::LoseRequest, Fault::LoseReply] {
            store.fail_next(Operation::Bounds, fault);
            assert!(matches!(store.bounds(log).await, Err(StoreError::Unavailable(_))), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_healed_store_fails_no_more() {
        let store = faulty(1);
        store.set_all_odds(Odds { refuse: 1000, ..Odds::default() });
        store.fail_next(Operation::Create, Fault::LoseReply);
        assert!(store.create(fresh_log(), Offset(0)).await.unwrap_err().is_unknown());
        assert!(!store.create(fresh_log(), Offset(0)).await.unwrap_err().is_unknown());
        store.heal();
        let log = made(&store).await;
        let stored = append_counts(&store, log, &[1, 2]).await;
        assert_eq!(read_all(&store, log).await, stored);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_request_is_applied_late_and_a_late_reply_at_once() {
        let store = Arc::new(faulty(1));
        let by = Duration::from_secs(5);
        for (fault, applied_at_once) in [(Fault::DelayRequest(by), false), (Fault::DelayReply(by), true)] {
            let log = fresh_log();
            store.fail_next(Operation::Create, fault);
            let start = tokio::time::Instant::now();
            let late = {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.create(log, Offset(0)).await.unwrap() })
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(store.bounds(log).await.unwrap().is_some(), applied_at_once, "{fault:?}");
            assert_eq!(late.await.unwrap(), Created::Made);
            assert_eq!(start.elapsed().as_secs(), 5);
        }
    }
}
