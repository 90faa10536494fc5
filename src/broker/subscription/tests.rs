//! Consuming over a store that fails on demand: both ack modes, waiting, two nodes, deletion, dead letters.

mod letters;
mod life;
mod waiting;

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
