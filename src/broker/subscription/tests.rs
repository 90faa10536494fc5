//! Consuming over a store that fails on demand: both ack modes, waiting, two nodes, deletion, dead letters.

use super::*;
use crate::broker::Options;
use crate::broker::fixture::{Fixture, message, name, publish, settings};
use crate::domain::subscription::AckMode::{Cumulative, Individual};
use crate::storage::faulty::{Fault, Odds, Operation};
use crate::storage::{Position, Read, ReadLimit, Store};
use futures_util::future::join_all;
use std::sync::Arc;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

async fn pull(broker: &Broker, subscription: &Subscription, messages_max: u32) -> Result<Vec<Delivery>> {
    broker.pull(subscription, PullRequest { messages_max, ..PullRequest::default() }).await
}

async fn wait(broker: &Broker, subscription: &Subscription, messages_max: u32, wait: Duration) -> Result<Vec<u64>> {
    let request = PullRequest { messages_max, wait: Some(wait), ..PullRequest::default() };
    broker.pull(subscription, request).await.map(|deliveries| offsets(&deliveries))
}

fn offsets(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.published.offset.0).collect()
}

fn leased(deliveries: &[Delivery]) -> Targets {
    Targets::Leased(deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect())
}

async fn acknowledge(broker: &Broker, subscription: &Subscription, through: u64) -> Result<()> {
    broker.acknowledge(subscription, Targets::Through(Offset(through)), None).await
}

async fn log_batches(fixture: &Fixture, log: u128) -> usize {
    let limit = ReadLimit { bytes: usize::MAX, batches: usize::MAX };
    let first = fixture.store.bounds(LogId(log)).await.unwrap().unwrap().first;
    match fixture.store.read(LogId(log), Position::Offset(first), limit).await.unwrap() {
        Read::Batches(batches) => batches.len(),
        other => panic!("{other:?}"),
    }
}

/// A fixture, a topic with messages "0", "1", …, and a subscription made before them.
async fn ready(mode: AckMode, messages: u64) -> (Fixture, Arc<Topic>, Arc<Subscription>) {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, mode).await;
    for n in 0..messages {
        publish(&fixture.broker, &topic, &[&n.to_string()]).await.unwrap();
    }
    (fixture, topic, subscription)
}

#[tokio::test(start_paused = true)]
async fn a_subscription_begins_at_the_end_of_its_topic() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish(&fixture.broker, &topic, &["before"]).await.unwrap();
    let subscription = fixture.subscription(&topic, Cumulative).await;
    assert_eq!(pull(&fixture.broker, &subscription, 10).await, Ok(vec![]));
    publish(&fixture.broker, &topic, &["after"]).await.unwrap();
    assert_eq!(offsets(&pull(&fixture.broker, &subscription, 10).await.unwrap()), [1]);
}

#[tokio::test(start_paused = true)]
async fn cumulative_pulls_give_the_same_until_it_is_acknowledged() {
    let (Fixture { broker, .. }, _topic, subscription) = ready(Cumulative, 5).await;
    let first = pull(&broker, &subscription, 3).await.unwrap();
    assert_eq!(offsets(&first), [0, 1, 2]);
    assert_eq!(first[1].published.message.payload.bytes, "1");
    assert_eq!(pull(&broker, &subscription, 3).await, Ok(first));
    acknowledge(&broker, &subscription, 1).await.unwrap();
    assert_eq!(acknowledge(&broker, &subscription, 2).await, Err(Error::NoAckPending));
    assert_eq!(offsets(&pull(&broker, &subscription, 9).await.unwrap()), [2, 3, 4]);
    assert_eq!(acknowledge(&broker, &subscription, 5).await, Err(Error::WrongAck));
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!(acknowledge(&broker, &subscription, 4).await, Err(Error::AckTimeout));
    let metrics = &broker.inner.metrics;
    assert_eq!((metrics.delivered_messages.get(), metrics.redelivered_messages.get()), (9, 3));
    assert_eq!(metrics.acknowledged_messages.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_individual_lease_is_exclusive_until_its_deadline_and_goes_again_after_it() {
    let (Fixture { broker, .. }, _topic, subscription) = ready(Individual, 3).await;
    let first = pull(&broker, &subscription, 2).await.unwrap();
    let second = pull(&broker, &subscription, 9).await.unwrap();
    assert_eq!((offsets(&first), offsets(&second)), (vec![0, 1], vec![2]));
    broker.acknowledge(&subscription, leased(&second), None).await.unwrap();
    broker.acknowledge(&subscription, Targets::Leased(vec![(Offset(1), first[1].fence)]), None).await.unwrap();
    assert_eq!(pull(&broker, &subscription, 9).await, Ok(vec![]));
    tokio::time::sleep(11 * SECOND).await;
    let again = pull(&broker, &subscription, 9).await.unwrap();
    assert_eq!((offsets(&again), again[0].attempt), (vec![0], 2));
    let late = broker.acknowledge(&subscription, leased(&first), None).await;
    assert_eq!(late, Err(Error::LeaseSuperseded { refused: 1 }));
    broker.acknowledge(&subscription, leased(&again), None).await.unwrap();
    assert_eq!(broker.progress(&subscription).await.unwrap().backlog, 0);
    assert_eq!(broker.inner.metrics.redelivered_messages.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn leases_are_extended_and_released() {
    let (Fixture { broker, .. }, _topic, subscription) = ready(Individual, 2).await;
    let both = pull(&broker, &subscription, 2).await.unwrap();
    broker.extend(&subscription, leased(&both[..1]), 60 * SECOND, None).await.unwrap();
    broker.release(&subscription, leased(&both[1..]), Duration::ZERO, None).await.unwrap();
    assert_eq!(offsets(&pull(&broker, &subscription, 9).await.unwrap()), [1]);
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(offsets(&pull(&broker, &subscription, 9).await.unwrap()), [1]);
    assert_eq!(acknowledge(&broker, &subscription, 1).await, Err(Error::WrongAckMode));
}

#[tokio::test(start_paused = true)]
async fn seeking_replays_and_purging_forgets() {
    for mode in [Cumulative, Individual] {
        let (Fixture { broker, .. }, _topic, subscription) = ready(mode, 4).await;
        broker.purge(&subscription).await.unwrap();
        assert_eq!(pull(&broker, &subscription, 9).await, Ok(vec![]));
        broker.seek(&subscription, Offset(2)).await.unwrap();
        assert_eq!(offsets(&pull(&broker, &subscription, 9).await.unwrap()), [2, 3]);
        let bounds = Error::OffsetOutOfBounds { first: Offset(0), next: Offset(4) };
        assert_eq!(broker.seek(&subscription, Offset(5)).await, Err(bounds));
        let statistics = broker.statistics(&subscription).await.unwrap();
        assert_eq!((statistics.messages, statistics.bytes), (2, 8));
        assert_eq!(statistics.consumed_at, Some(broker.now()));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_tells_where_a_subscription_stands() {
    let (fixture, topic, subscription) = ready(Cumulative, 3).await;
    let broker = &fixture.broker;
    pull(broker, &subscription, 1).await.unwrap();
    acknowledge(broker, &subscription, 0).await.unwrap();
    let oldest_at = Some(broker.browse(&topic, Offset(1), 1, 1).await.unwrap()[0].at);
    let progress = Progress { first: Offset(0), next: Offset(3), floor: Offset(1), backlog: 2, oldest_at };
    assert_eq!(broker.progress(&subscription).await, Ok(progress));
    fixture.store.trim(LogId(topic.log.0), storage::Offset(2)).await.unwrap();
    let progress = broker.progress(&subscription).await.unwrap();
    assert_eq!((progress.first, progress.floor, progress.backlog), (Offset(2), Offset(2), 1));
    assert_eq!(broker.statistics(&subscription).await.unwrap().forgotten, 1);
    assert_eq!(broker.inner.metrics.forgotten_messages.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cumulative_pull_waits_for_the_full_count_but_not_at_the_end() {
    let (Fixture { broker, .. }, topic, subscription) = ready(Cumulative, 0).await;
    let begin = Instant::now();
    assert_eq!(wait(&broker, &subscription, 2, 60 * SECOND).await, Ok(vec![]));
    assert_eq!(begin.elapsed(), Duration::ZERO, "nothing there: answered at once");
    publish(&broker, &topic, &["0"]).await.unwrap();
    assert_eq!(wait(&broker, &subscription, 2, 5 * SECOND).await, Ok(vec![0]));
    assert!(begin.elapsed() >= 5 * SECOND, "one of two: waited for the whole time");
    let later = async {
        tokio::time::sleep(SECOND).await;
        publish(&broker, &topic, &["1"]).await
    };
    let begin = Instant::now();
    let (pulled, _) = tokio::join!(wait(&broker, &subscription, 2, 60 * SECOND), later);
    assert_eq!(pulled, Ok(vec![0, 1]));
    assert!(begin.elapsed() < SECOND + SECOND / 2, "{:?}", begin.elapsed());
    tokio::time::sleep(9 * SECOND).await;
    acknowledge(&broker, &subscription, 1).await.expect("the clock of the window begins when the pull is answered");
}

#[tokio::test(start_paused = true)]
async fn an_individual_pull_waits_for_the_first_message() {
    let (Fixture { broker, .. }, topic, subscription) = ready(Individual, 0).await;
    let begin = Instant::now();
    assert_eq!(wait(&broker, &subscription, 5, 3 * SECOND).await, Ok(vec![]));
    assert!(begin.elapsed() >= 3 * SECOND);
    let later = async {
        tokio::time::sleep(SECOND).await;
        publish(&broker, &topic, &["0"]).await
    };
    let begin = Instant::now();
    let (pulled, _) = tokio::join!(wait(&broker, &subscription, 5, 60 * SECOND), later);
    assert_eq!(pulled, Ok(vec![0]));
    assert!(begin.elapsed() < SECOND + SECOND / 10, "{:?}", begin.elapsed());
    assert_eq!(broker.inner.metrics.waiting_pulls.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_pull_wakes_when_a_lease_ends_or_is_given_back_or_a_delay_is_over() {
    let (Fixture { broker, .. }, topic, subscription) = ready(Individual, 1).await;
    let held = pull(&broker, &subscription, 1).await.unwrap();
    let begin = Instant::now();
    assert_eq!(wait(&broker, &subscription, 1, 60 * SECOND).await, Ok(vec![0]), "the lease's end");
    assert!((9 * SECOND..=11 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    drop(held);
    broker.purge(&subscription).await.unwrap();
    let mut batch = broker.batch();
    batch.push(&crate::broker::NewMessage { delay: Some(5 * SECOND), ..message("late") }).unwrap();
    broker.publish(&topic, batch).await.unwrap();
    let begin = Instant::now();
    assert_eq!(wait(&broker, &subscription, 1, 60 * SECOND).await, Ok(vec![1]), "the delay's end");
    assert!((4 * SECOND..=6 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    let begin = Instant::now();
    let again = async {
        tokio::time::sleep(SECOND).await;
        broker.seek(&subscription, Offset(0)).await
    };
    let (pulled, _) = tokio::join!(wait(&broker, &subscription, 1, 60 * SECOND), again);
    assert_eq!(pulled, Ok(vec![0]), "what somebody sought back");
    assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waiting_pulls_are_served_in_order_and_one_message_serves_one() {
    let (Fixture { broker, .. }, topic, subscription) = ready(Individual, 0).await;
    let pulls = (0..10).map(async |n| {
        tokio::time::sleep(Duration::from_millis(n)).await;
        wait(&broker, &subscription, 1, 60 * SECOND).await.unwrap()
    });
    let publishes = async {
        for _ in 0..10 {
            tokio::time::sleep(SECOND).await;
            publish(&broker, &topic, &["x"]).await.unwrap();
        }
    };
    let (pulled, ()) = tokio::join!(join_all(pulls), publishes);
    assert_eq!(pulled, (0..10).map(|n| vec![n]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_is_given_up_gives_its_messages_to_others() {
    let (fixture, topic, subscription) = ready(Individual, 0).await;
    let broker = &fixture.broker;
    let gone = tokio::time::timeout(SECOND, wait(broker, &subscription, 1, 60 * SECOND)).await;
    assert!(gone.is_err());
    publish(broker, &topic, &["a"]).await.unwrap();
    assert_eq!(offsets(&pull(broker, &subscription, 1).await.unwrap()), [0]);
    // A caller that leaves while its lease is being made durable.
    publish(broker, &topic, &["b"]).await.unwrap();
    fixture.store.fail_next(Operation::Append, Fault::DelayReply(SECOND));
    let gone = tokio::time::timeout(Duration::from_millis(10), pull(broker, &subscription, 1)).await;
    assert!(gone.is_err());
    let begin = Instant::now();
    assert_eq!(wait(broker, &subscription, 1, 60 * SECOND).await, Ok(vec![1]));
    assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_cannot_read_its_messages_gives_them_back() {
    let (fixture, _topic, subscription) = ready(Individual, 1).await;
    let broker = &fixture.broker;
    // Nothing is cached: headers and messages are read one after the other.
    broker.inner.cached_bytes.store(usize::MAX / 2, std::sync::atomic::Ordering::Relaxed);
    fixture.store.fail_next(Operation::Read, Fault::DelayRequest(Duration::ZERO));
    fixture.store.fail_next(Operation::Read, Fault::DelayRequest(Duration::ZERO));
    fixture.store.fail_next(Operation::Read, Fault::DelayRequest(Duration::ZERO));
    fixture.store.fail_next(Operation::Read, Fault::Refuse);
    assert!(matches!(pull(broker, &subscription, 1).await, Err(Error::Unavailable(_))));
    let begin = Instant::now();
    assert_eq!(wait(broker, &subscription, 1, 60 * SECOND).await, Ok(vec![0]));
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    assert_eq!(broker.statistics(&subscription).await.unwrap().messages, 2, "granted twice");
}

#[tokio::test(start_paused = true)]
async fn no_more_pulls_wait_than_may() {
    let fixture = Fixture::with(1, Options { waiting_pulls_max: 1, ..Options::default() }).await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, Individual).await;
    let one = wait(&fixture.broker, &subscription, 1, SECOND);
    let (one, two) = tokio::join!(one, wait(&fixture.broker, &subscription, 1, SECOND));
    assert_eq!((one, two), (Ok(vec![]), Err(Error::Overloaded("pulls"))));
    assert_eq!(wait(&fixture.broker, &subscription, 1, SECOND).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn commands_that_wait_share_one_append() {
    let (fixture, _topic, subscription) = ready(Individual, 100).await;
    let broker = &fixture.broker;
    let before = log_batches(&fixture, subscription.log.0).await;
    fixture.store.fail_next(Operation::Append, Fault::DelayReply(SECOND));
    let pulls = join_all((0..50).map(async |_| pull(broker, &subscription, 2).await.unwrap())).await;
    let mut all: Vec<_> = pulls.iter().flat_map(|pulled| offsets(pulled)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>(), "each message once");
    assert!(log_batches(&fixture, subscription.log.0).await - before <= 3);
}

#[tokio::test(start_paused = true)]
async fn what_one_node_does_the_other_sees() {
    let (fixture, _topic, subscription) = ready(Individual, 4).await;
    let (here, there) = (&fixture.broker, &fixture.second().await);
    let first = pull(here, &subscription, 2).await.unwrap();
    let second = pull(there, &subscription, 2).await.unwrap();
    assert_eq!((offsets(&first), offsets(&second)), (vec![0, 1], vec![2, 3]));
    there.acknowledge(&subscription, leased(&first), None).await.unwrap();
    assert_eq!(here.progress(&subscription).await.unwrap().backlog, 2, "an answer without events is up to date too");
    here.seek(&subscription, Offset(4)).await.unwrap();
    let stale = there.acknowledge(&subscription, leased(&second), None).await;
    assert_eq!(stale, Ok(()), "acknowledged already by the seek over it");
    assert_eq!(there.progress(&subscription).await.unwrap().floor, Offset(4));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_pull_hears_of_what_other_nodes_publish_and_release() {
    let (fixture, topic, subscription) = ready(Individual, 0).await;
    let there = fixture.second().await;
    let publish_there = async {
        tokio::time::sleep(SECOND).await;
        publish(&there, &topic, &["0"]).await.unwrap();
    };
    let begin = Instant::now();
    let (pulled, ()) = tokio::join!(wait(&fixture.broker, &subscription, 1, 60 * SECOND), publish_there);
    assert_eq!(pulled, Ok(vec![0]));
    assert!(begin.elapsed() <= 4 * SECOND, "{:?}", begin.elapsed());
    let release_there = async {
        tokio::time::sleep(SECOND).await;
        there.seek(&subscription, Offset(0)).await.unwrap();
    };
    let begin = Instant::now();
    let (pulled, ()) = tokio::join!(wait(&fixture.broker, &subscription, 1, 60 * SECOND), release_there);
    assert_eq!(pulled, Ok(vec![0]));
    assert!(begin.elapsed() <= 4 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn state_survives_snapshots_and_restarts_and_its_log_stays_short() {
    for mode in [Cumulative, Individual] {
        let (fixture, _topic, subscription) = ready(mode, 600).await;
        for n in 0..300 {
            let pulled = pull(&fixture.broker, &subscription, 1).await.unwrap();
            assert_eq!(offsets(&pulled), [n]);
            let targets = if mode == Cumulative { Targets::Through(Offset(n)) } else { leased(&pulled) };
            fixture.broker.acknowledge(&subscription, targets, None).await.unwrap();
        }
        let kept = log_batches(&fixture, subscription.log.0).await;
        assert!(kept < 300, "{kept} records kept of 600 written");
        let restarted = fixture.second().await;
        assert_eq!(restarted.progress(&subscription).await.unwrap().floor, Offset(300));
        assert_eq!(restarted.statistics(&subscription).await.unwrap().messages, 300);
        assert_eq!(offsets(&pull(&restarted, &subscription, 1).await.unwrap()), [300]);
    }
}

/// Pulls and acknowledges messages one by one.
async fn consume(broker: &Broker, subscription: &Subscription, messages: u64) {
    for _ in 0..messages {
        let pulled = pull(broker, subscription, 1).await.unwrap();
        acknowledge(broker, subscription, offsets(&pulled)[0]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_retires_leaves_little_to_read() {
    let (fixture, _topic, subscription) = ready(Cumulative, 600).await;
    consume(&fixture.broker, &subscription, 30).await;
    assert_eq!(log_batches(&fixture, subscription.log.0).await, 61, "one attached it");
    tokio::time::sleep(150 * SECOND).await;
    assert_eq!(log_batches(&fixture, subscription.log.0).await, 1, "a snapshot");
    assert_eq!(fixture.broker.inner.metrics.actors.with_label_values(&["subscription"]).get(), 0);
    consume(&fixture.broker, &subscription, 5).await;
    tokio::time::sleep(150 * SECOND).await;
    assert_eq!(log_batches(&fixture, subscription.log.0).await, 11, "little as it is");
    assert_eq!(fixture.second().await.progress(&subscription).await.unwrap().floor, Offset(35));
}

#[tokio::test(start_paused = true)]
async fn an_actor_retires_also_when_its_last_snapshot_fails_or_somebody_else_goes_on() {
    for refuse in [true, false] {
        let (fixture, _topic, subscription) = ready(Cumulative, 600).await;
        let other = fixture.second().await;
        consume(&fixture.broker, &subscription, 30).await;
        if refuse {
            fixture.store.set_odds(Operation::Append, Odds { refuse: 1_000, ..Odds::default() });
        } else {
            consume(&other, &subscription, 1).await;
        }
        tokio::time::sleep(70 * SECOND).await;
        tokio::time::sleep(70 * SECOND).await;
        assert_eq!(fixture.broker.inner.metrics.actors.with_label_values(&["subscription"]).get(), 0);
        fixture.store.heal();
        let floor = fixture.broker.progress(&subscription).await.unwrap().floor;
        assert_eq!(floor, Offset(if refuse { 30 } else { 31 }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_subscription_did_is_kept_as_long_as_its_history() {
    let hour = 3_600 * SECOND;
    let options = crate::broker::Options { history: hour, maintenance_every: 1_000 * hour, ..Default::default() };
    let fixture = Fixture::with(1, options).await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, Cumulative).await;
    for n in 0..600 {
        publish(&fixture.broker, &topic, &[&n.to_string()]).await.unwrap();
    }
    // More than three snapshots, each after more than an hour.
    for _ in 0..600 {
        consume(&fixture.broker, &subscription, 1).await;
        fixture.clock.advance(30 * SECOND);
    }
    let log = LogId(subscription.log.0);
    let first = fixture.store.bounds(log).await.unwrap().unwrap().first;
    assert!(first.0 > 0, "what is older goes");
    let since = storage::Time(fixture.broker.now().0 - 3_600_000_000);
    let limit = storage::ReadLimit { bytes: usize::MAX, batches: usize::MAX };
    let storage::Read::Batches(young) = fixture.store.read(log, storage::Position::Time(since), limit).await.unwrap()
    else {
        panic!("no batches")
    };
    assert!(young.len() >= 239, "{} of 240 in the last hour", young.len());
    let before = Record::decode(&young[0].payload).unwrap().newest_snapshot.unwrap();
    assert!(first.0 <= before.0, "the snapshot that leads to the state an hour ago is kept");
    let restarted = fixture.second().await;
    assert_eq!(restarted.progress(&subscription).await.unwrap().floor, Offset(600));
}

#[tokio::test(start_paused = true)]
async fn lost_requests_and_replies_change_nothing_twice() {
    let (fixture, _topic, subscription) = ready(Individual, 50).await;
    let odds = Odds { lose_request: 200, lose_reply: 200, ..Odds::default() };
    fixture.store.set_odds(Operation::Append, odds);
    fixture.store.set_odds(Operation::Read, Odds { refuse: 100, ..Odds::default() });
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let Ok(pulled) = pull(&fixture.broker, &subscription, 1).await else { continue };
        assert_eq!(pulled.iter().map(|delivery| delivery.attempt).collect::<Vec<_>>(), [1]);
        seen.extend(offsets(&pulled));
        while fixture.broker.acknowledge(&subscription, leased(&pulled), None).await.is_err() {}
    }
    assert!(fixture.store.injected() > 20);
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    fixture.store.heal();
    assert_eq!(fixture.broker.statistics(&subscription).await.unwrap().messages, 50);
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_leaves_the_state_as_it_was() {
    let (fixture, _topic, subscription) = ready(Individual, 1).await;
    fixture.store.fail_next(Operation::Append, Fault::Refuse);
    assert!(matches!(pull(&fixture.broker, &subscription, 1).await, Err(Error::Unavailable(_))));
    let pulled = pull(&fixture.broker, &subscription, 1).await.unwrap();
    assert_eq!((offsets(&pulled), pulled[0].attempt), (vec![0], 1));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_ends_delivery_and_a_new_one_begins_at_its_start() {
    let (fixture, topic, subscription) = ready(Cumulative, 3).await;
    let broker = &fixture.broker;
    pull(broker, &subscription, 3).await.unwrap();
    broker.delete_topic(topic.project, &topic.name).await.unwrap();
    assert_eq!(pull(broker, &subscription, 3).await, Err(Error::TopicGone));
    assert_eq!(wait(broker, &subscription, 3, SECOND).await, Err(Error::TopicGone));
    let gone = broker.progress(&subscription).await.unwrap();
    assert_eq!((gone.first, gone.next, gone.backlog), (Offset(0), Offset(0), 0));
    assert_eq!(acknowledge(broker, &subscription, 2).await, Ok(()), "what was given out before");
    assert_eq!(broker.seek(&subscription, Offset(0)).await, Ok(()));
    let again = fixture.topic_in(topic.project, "topic").await;
    assert!(again.incarnation > topic.incarnation);
    publish(broker, &again, &["new"]).await.unwrap();
    let pulled = pull(broker, &subscription, 3).await.unwrap();
    assert_eq!(pulled[0].published.message.payload.bytes, "new");
    let (other, stale) = (fixture.second().await, publish(broker, &topic, &["stale"]).await);
    assert_eq!(stale, Err(Error::NotFound(Resource::Topic)));
    assert_eq!(offsets(&pull(&other, &subscription, 3).await.unwrap()), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_stale_catalogue_learns_that_a_topic_was_made_again() {
    let (fixture, topic, subscription) = ready(Individual, 1).await;
    let other = fixture.second().await;
    assert_eq!(offsets(&pull(&other, &subscription, 1).await.unwrap()), [0]);
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
    let again = fixture.topic_in(topic.project, "topic").await;
    publish(&fixture.broker, &again, &["new"]).await.unwrap();
    let pulled = pull(&other, &subscription, 1).await.unwrap();
    assert_eq!(pulled[0].published.message.payload.bytes, "new");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_subscription_is_not_found() {
    let (fixture, topic, subscription) = ready(Individual, 1).await;
    pull(&fixture.broker, &subscription, 1).await.unwrap();
    fixture.broker.delete_subscription(topic.project, &subscription.name).await.unwrap();
    let gone = Err(Error::NotFound(Resource::Subscription));
    assert_eq!(pull(&fixture.broker, &subscription, 1).await, gone);
    assert_eq!(pull(&fixture.second().await, &subscription, 1).await, gone);
}

#[tokio::test(start_paused = true)]
async fn one_node_at_a_time_works_on_a_subscription() {
    let (fixture, _topic, subscription) = ready(Individual, 2).await;
    let (here, there) = (&fixture.broker, &fixture.second().await);
    let worker = here.acquire_worker(&subscription, 10 * SECOND, None).await.unwrap();
    assert_eq!(there.acquire_worker(&subscription, 10 * SECOND, None).await, Err(Error::NotTheWorker));
    let request = PullRequest { worker: Some(worker.fence), ..PullRequest::default() };
    assert_eq!(offsets(&here.pull(&subscription, request.clone()).await.unwrap()), [0]);
    here.release_worker(&subscription, worker.fence).await.unwrap();
    assert_eq!(here.pull(&subscription, request).await, Err(Error::NotTheWorker));
    there.acquire_worker(&subscription, 10 * SECOND, None).await.unwrap();
}

/// A subscription whose messages go to the topic "dead" after one attempt.
async fn mortal() -> (Fixture, Arc<Topic>, Arc<Subscription>) {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let settings = Settings { max_attempts: Some(1), dead_letter_topic: Some(name("dead")), ..settings(Individual) };
    let subscription = fixture.subscription_with(&topic, "subscription", settings).await;
    publish(&fixture.broker, &topic, &["a", "b"]).await.unwrap();
    (fixture, topic, subscription)
}

async fn dead(broker: &Broker, topic: &Topic) -> Vec<String> {
    let messages = broker.browse(topic, Offset(0), 100, u64::MAX).await.unwrap();
    messages.iter().map(|message| String::from_utf8_lossy(&message.message.payload.bytes).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_whose_attempts_are_used_up_go_to_the_dead_letter_topic_once() {
    let (fixture, topic, subscription) = mortal().await;
    let target = fixture.topic_in(topic.project, "dead").await;
    let broker = &fixture.broker;
    assert_eq!(pull(broker, &subscription, 9).await.unwrap().len(), 2);
    tokio::time::sleep(11 * SECOND).await;
    fixture.store.fail_next(Operation::Append, Fault::LoseReply);
    assert_eq!(pull(broker, &subscription, 9).await, Ok(vec![]));
    tokio::time::sleep(SECOND).await;
    assert_eq!(dead(broker, &target).await, ["a", "b"]);
    assert_eq!(broker.progress(&subscription).await.unwrap().backlog, 0);
    assert_eq!(broker.inner.metrics.dead_lettered_messages.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_a_dead_letter_topic_that_is_not_there() {
    let (fixture, topic, subscription) = mortal().await;
    let broker = &fixture.broker;
    assert_eq!(pull(broker, &subscription, 9).await.unwrap().len(), 2);
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(pull(broker, &subscription, 9).await, Ok(vec![]));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(broker.progress(&subscription).await.unwrap().backlog, 2, "parked, not lost");
    let target = fixture.topic_in(topic.project, "dead").await;
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(dead(broker, &target).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_node_died_is_found_by_its_nonce_or_made() {
    let (fixture, topic, subscription) = mortal().await;
    let target = fixture.topic_in(topic.project, "dead").await;
    let broker = &fixture.broker;
    assert_eq!(pull(broker, &subscription, 9).await.unwrap().len(), 2);
    tokio::time::sleep(11 * SECOND).await;
    // As a node leaves it that notes both, copies one, and dies.
    let actor = broker.subscription_actor(&subscription).unwrap();
    for offset in [Offset(0), Offset(1)] {
        let nonce = crate::domain::subscription::Nonce { writer: 9, sequence: offset.0 };
        let start = Command::StartDeadLetter { offset, target: target.log, tail: Offset(0), nonce };
        actor.burying.store(true, std::sync::atomic::Ordering::Relaxed);
        actor.command(broker, start).await.unwrap();
    }
    let mut batch = broker.batch();
    batch.push(&message("a")).unwrap();
    let nonce = Some(storage::Nonce { writer: 9, sequence: 0 });
    broker.topic_actor(&target).unwrap().publish(broker, batch, nonce).await.unwrap();
    let other = fixture.second().await;
    assert_eq!(pull(&other, &subscription, 9).await, Ok(vec![]));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(dead(&other, &target).await, ["a", "b"]);
    assert_eq!(other.progress(&subscription).await.unwrap().backlog, 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_answers_who_waits_and_finishes_what_was_accepted() {
    let (fixture, topic, subscription) = ready(Individual, 0).await;
    let broker = fixture.broker.clone();
    let waits = tokio::spawn({
        let (broker, subscription) = (broker.clone(), subscription.clone());
        async move { wait(&broker, &subscription, 1, 60 * SECOND).await }
    });
    tokio::time::sleep(SECOND).await;
    fixture.store.fail_next(Operation::Append, Fault::DelayRequest(SECOND));
    let accepted = tokio::spawn({
        let (broker, topic) = (broker.clone(), topic.clone());
        async move { publish(&broker, &topic, &["last"]).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let begin = Instant::now();
    broker.stop().await;
    assert!((SECOND / 2..5 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(waits.await.unwrap(), Ok(vec![]));
    assert_eq!(accepted.await.unwrap().unwrap().count, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_actors_retire_and_come_back_with_their_state() {
    let (fixture, _topic, subscription) = ready(Individual, 2).await;
    let first = pull(&fixture.broker, &subscription, 1).await.unwrap();
    let alive = |kind| fixture.broker.inner.metrics.actors.with_label_values(&[kind]).get();
    assert_eq!((alive("topic"), alive("subscription")), (1, 1));
    tokio::time::sleep(90 * SECOND).await;
    assert_eq!((alive("topic"), alive("subscription")), (0, 0));
    fixture.broker.acknowledge(&subscription, leased(&first), None).await.unwrap();
    assert_eq!(offsets(&pull(&fixture.broker, &subscription, 2).await.unwrap()), [1]);
}

/// On real threads, so without paused time.
#[tokio::test]
async fn on_a_full_disk_an_acknowledgement_does_not_fail_with_the_pull_beside_it() {
    use crate::storage::segment::vfs::{CrashVfs, Faults, MemoryVfs};
    use crate::storage::segment::{self, SegmentStore};
    let disk = CrashVfs::over(MemoryVfs::default());
    let small = segment::Options { segment_bytes: 256 << 10, reserve_segments: 2, ..segment::Options::default() };
    let clock = crate::clock::Clock::default();
    let engine = SegmentStore::open(std::path::Path::new("/store"), small, clock, Arc::new(disk.clone())).unwrap();
    let fixture = Fixture::over(Arc::new(engine), 1, Options::default()).await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, Individual).await;
    let broker = &fixture.broker;
    publish(broker, &topic, &["first"]).await.unwrap();
    let held = pull(broker, &subscription, 1).await.unwrap();
    // Time for the spares that are kept for this case.
    tokio::time::sleep(Duration::from_millis(300)).await;
    disk.set_faults(Faults { room: Some(disk.disk().used()), ..Faults::default() });
    let large = "x".repeat(20_000);
    let full = async {
        while publish(broker, &topic, &[&large]).await.is_ok() {}
        assert_eq!(publish(broker, &topic, &[&large]).await, Err(Error::StoreFull));
        // Bookkeeping eats up what growth may not have.
        while broker.seek(&subscription, Offset(0)).await.is_ok() {
            if pull(broker, &subscription, 1).await == Err(Error::StoreFull) {
                break;
            }
        }
    };
    drop(held);
    tokio::time::timeout(30 * SECOND, full).await.unwrap();
    let (pulled, purged) = tokio::join!(pull(broker, &subscription, 1), broker.purge(&subscription));
    assert_eq!((pulled, purged), (Err(Error::StoreFull), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_backlog_ends_with_a_message_a_move_or_its_time_and_leases_nothing() {
    for mode in [AckMode::Cumulative, AckMode::Individual] {
        let fixture = Fixture::new().await;
        let topic = fixture.topic().await;
        let subscription = fixture.subscription(&topic, mode).await;
        let broker = fixture.broker.clone();
        let wait = |seconds| broker.wait_for_backlog(&subscription, Duration::from_secs(seconds));
        assert_eq!(wait(5).await, Ok(false));
        let (waited, published) = tokio::join!(wait(60), publish(&broker, &topic, &["a"]));
        assert!(published.is_ok());
        assert_eq!(waited, Ok(true));
        assert_eq!(wait(0).await, Ok(true), "it is still there, and free");
        broker.purge(&subscription).await.unwrap();
        let begun = fixture.clock.monotonic();
        let (waited, moved) = tokio::join!(wait(60), broker.seek(&subscription, Offset(0)));
        assert_eq!((waited, moved), (Ok(true), Ok(())));
        assert!(fixture.clock.monotonic().saturating_sub(begun) < Duration::from_secs(2));
        broker.delete_topic(topic.project, &topic.name).await.unwrap();
        assert_eq!(wait(60).await, Err(Error::TopicGone));
    }
}
