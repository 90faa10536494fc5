//! Two brokers over one store that fails, publishers and consumers on both, and a checker of everything they saw: nothing that was
//! acknowledged is lost, there is no gap, order is offset order, leases are exclusive, and what is acknowledged does not come again.

use super::fixture::{Fixture, publish};
use super::{Broker, Delivery, Options, PullRequest};
use crate::domain::subscription::AckMode::{Cumulative, Individual};
use crate::domain::subscription::{Subscription, Targets};
use crate::domain::topic::Topic;
use crate::domain::{Error, Fence, Offset};
use crate::storage::faulty::{Odds, Operation};
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LEASE: Duration = Duration::from_secs(2);
const PUBLISHES: u64 = 20;

/// A small generator, so that a seed tells a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// An instant, and its place among the instants asked for: virtual time stands still while much happens.
type Moment = (Instant, u64);

fn moment() -> Moment {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    (Instant::now(), ASKED.fetch_add(1, Ordering::SeqCst))
}

/// What publishers and consumers saw.
#[derive(Default)]
struct History {
    /// Requests by their texts: where they were said to stand, or that nothing is known.
    published: Vec<(Vec<String>, Option<u64>)>,
    refused: Vec<String>,
    leases: Vec<Seen>,
    /// When an acknowledgement was asked for, and when it was answered well.
    acknowledged: BTreeMap<u64, (Moment, Moment)>,
    windows: Vec<Window>,
    /// Cumulative acknowledgements that were answered well: up to where, and when.
    through: Vec<(u64, Moment)>,
}

/// One message leased by one pull.
#[derive(Clone, Debug)]
struct Seen {
    offset: u64,
    fence: Fence,
    text: String,
    began: Moment,
    ended: Moment,
    /// When its holder asked to give it back.
    released: Option<Moment>,
}

/// One cumulative pull.
struct Window {
    began: Moment,
    offsets: Vec<u64>,
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.published.message.payload.bytes.to_vec()).unwrap()
}

async fn produce(broker: &Broker, topic: &Topic, who: u64, dice: &mut Dice, history: &Mutex<History>) {
    for n in 0..PUBLISHES {
        let texts: Vec<String> = (0..=dice.roll(3)).map(|part| format!("{who}-{n}-{part}")).collect();
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let outcome = publish(broker, topic, &borrowed).await;
        match outcome {
            Ok(receipt) => history.lock().published.push((texts, Some(receipt.first.0))),
            Err(Error::OutcomeUnknown(_)) => history.lock().published.push((texts, None)),
            Err(_) => history.lock().refused.extend(texts),
        }
        sleep(Duration::from_millis(dice.roll(60))).await;
    }
}

/// Leases, then acknowledges, gives back, or forgets; until all is acknowledged.
async fn consume(
    broker: &Broker,
    subscription: &Subscription,
    dice: &mut Dice,
    history: &Mutex<History>,
    over: &Mutex<bool>,
) {
    while !*over.lock() {
        let began = moment();
        let messages_max = 1 + dice.roll(4) as u32;
        let wait = Some(Duration::from_millis(dice.roll(500)));
        let request = PullRequest { messages_max, wait, duration: Some(LEASE), ..PullRequest::default() };
        let Ok(deliveries) = broker.pull(subscription, request).await else { continue };
        let ended = moment();
        let leased: Vec<_> = deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect();
        let released = (dice.roll(10) == 0).then_some(ended);
        history.lock().leases.extend(deliveries.iter().map(|delivery| {
            let (offset, fence, text) = (delivery.published.offset.0, delivery.fence, text(delivery));
            Seen { offset, fence, text, began, ended, released }
        }));
        if leased.is_empty() || dice.roll(15) == 0 {
            continue;
        }
        if released.is_some() {
            // Whether it worked or not, the next holder may come from now on.
            let _ = broker.release(subscription, Targets::Leased(leased), Duration::ZERO, None).await;
            continue;
        }
        sleep(Duration::from_millis(dice.roll(50))).await;
        let asked = moment();
        if broker.acknowledge(subscription, Targets::Leased(leased.clone()), None).await.is_ok() {
            let answered = moment();
            let mut history = history.lock();
            for (offset, _) in leased {
                history.acknowledged.entry(offset.0).or_insert((asked, answered));
            }
        }
    }
}

async fn follow(
    broker: &Broker,
    subscription: &Subscription,
    dice: &mut Dice,
    history: &Mutex<History>,
    over: &Mutex<bool>,
) {
    while !*over.lock() {
        let began = moment();
        let request = PullRequest { messages_max: 1 + dice.roll(6) as u32, ..PullRequest::default() };
        let Ok(deliveries) = broker.pull(subscription, request).await else { continue };
        let offsets: Vec<_> = deliveries.iter().map(|delivery| delivery.published.offset.0).collect();
        let last = offsets.last().copied();
        history.lock().windows.push(Window { began, offsets });
        sleep(Duration::from_millis(dice.roll(40))).await;
        let Some(last) = last else { continue };
        if broker.acknowledge(subscription, Targets::Through(Offset(last)), None).await.is_ok() {
            history.lock().through.push((last, moment()));
        }
    }
}

async fn run(seed: u64) {
    let options = Options { maintenance_every: Duration::from_secs(1_000_000), ..Options::default() };
    let fixture = Fixture::with(seed, options).await;
    let brokers = [fixture.broker.clone(), fixture.second().await];
    let topic = fixture.topic().await;
    let work = fixture.subscription_with(&topic, "work", super::fixture::settings(Individual)).await;
    let line = fixture.subscription_with(&topic, "line", super::fixture::settings(Cumulative)).await;
    let delay_max = Duration::from_millis(20);
    let append = Odds { refuse: 30, lose_request: 40, lose_reply: 40, delay: 300, delay_max };
    fixture.store.set_odds(Operation::Append, append);
    fixture.store.set_odds(Operation::Read, Odds { refuse: 30, delay: 200, delay_max, ..Odds::default() });
    fixture.store.set_odds(Operation::Bounds, Odds { refuse: 30, delay: 200, delay_max, ..Odds::default() });
    let (history, over) = (Mutex::new(History::default()), Mutex::new(false));
    let dice = |who: u64| Dice(seed.wrapping_mul(1_000).wrapping_add(who));
    let producers = join_all((0..4).map(async |who| {
        produce(&brokers[who as usize % 2], &topic, who, &mut dice(who), &history).await;
    }));
    let consumers = join_all((0..4).map(async |who| {
        consume(&brokers[who as usize % 2], &work, &mut dice(10 + who), &history, &over).await;
    }));
    let followers = join_all((0..2).map(async |who| {
        follow(&brokers[who as usize % 2], &line, &mut dice(20 + who), &history, &over).await;
    }));
    let conduct = async {
        producers.await;
        sleep(LEASE).await;
        fixture.store.heal();
        // Forgotten leases run out and are consumed before the end is called.
        while brokers[0].progress(&work).await.unwrap().backlog + brokers[1].progress(&line).await.unwrap().backlog > 0
        {
            sleep(Duration::from_millis(100)).await;
        }
        *over.lock() = true;
    };
    tokio::join!(conduct, consumers, followers);
    assert!(fixture.store.injected() > 100);
    check(&brokers, &topic, &history.into_inner()).await;
}

async fn check(brokers: &[Broker; 2], topic: &Arc<Topic>, history: &History) {
    let log = brokers[1].browse(topic, Offset(0), u32::MAX, u64::MAX).await.unwrap();
    assert!(log.iter().enumerate().all(|(at, message)| message.offset.0 == at as u64), "a gap");
    let texts: Vec<_> = log.iter().map(|message| String::from_utf8_lossy(&message.message.payload.bytes)).collect();
    let places: BTreeMap<&str, usize> = texts.iter().enumerate().map(|(at, text)| (&**text, at)).collect();
    assert_eq!(places.len(), texts.len(), "a message stands twice");
    for (request, first) in &history.published {
        let found: Vec<_> = request.iter().filter_map(|text| places.get(text.as_str())).copied().collect();
        match first {
            Some(first) => assert_eq!(found, (*first as usize..*first as usize + request.len()).collect::<Vec<_>>()),
            None => assert!(found.is_empty() || found.len() == request.len(), "half a request"),
        }
    }
    assert!(history.refused.iter().all(|text| !places.contains_key(text.as_str())), "a refused message stands");
    check_leases(history, &texts.iter().map(|text| text.to_string()).collect::<Vec<_>>());
    check_windows(history, log.len() as u64);
}

fn check_leases(history: &History, texts: &[String]) {
    let mut by_offset: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
    for seen in &history.leases {
        assert_eq!(seen.text, texts[seen.offset as usize], "another message's bytes");
        by_offset.entry(seen.offset).or_default().push(seen);
    }
    assert_eq!(by_offset.len(), texts.len(), "every message is delivered");
    for (offset, seens) in by_offset {
        let mut seens = seens;
        seens.sort_by_key(|seen| seen.fence);
        for pair in seens.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            assert!(first.fence < second.fence, "two leases of one fence on {offset}");
            let free = first.released.unwrap_or((first.began.0 + LEASE - Duration::from_millis(20), 0));
            assert!(second.ended >= free, "two hold {offset}: {first:?} {second:?}");
        }
        if let Some((asked, answered)) = history.acknowledged.get(&offset) {
            let late = seens.iter().find(|seen| seen.began >= *answered);
            assert!(late.is_none(), "acknowledged {asked:?} to {answered:?}, comes again: {seens:#?}");
        }
    }
}

fn check_windows(history: &History, next: u64) {
    let delivered: BTreeSet<u64> = history.windows.iter().flat_map(|window| window.offsets.iter().copied()).collect();
    assert!(delivered.iter().copied().eq(0..next), "every message is delivered");
    for window in &history.windows {
        assert!(
            window.offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "order is offset order: {:?}",
            window.offsets
        );
        let acknowledged =
            history.through.iter().filter(|(_, at)| *at <= window.began).map(|(through, _)| *through).max();
        let first = window.offsets.first();
        assert!(
            first.is_none_or(|first| acknowledged.is_none_or(|through| *first > through)),
            "{first:?} comes after {acknowledged:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_brokers_over_a_failing_store_keep_every_promise() {
    for seed in 1..=6 {
        run(seed).await;
    }
}
