//! What goes, what stays, and when nothing goes.

use super::*;
use crate::broker::fixture::{Fixture, message, publish, settings};
use crate::broker::{NewMessage, PullRequest, TopicChange};
use crate::domain::subscription::Targets;
use crate::domain::topic::Retention as Keep;
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);

/// A topic that keeps messages for a minute, with the messages "0", "1", …, one each ten seconds.
async fn ready(messages: u64, bytes: Option<u64>) -> (Fixture, Arc<Topic>) {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let change = TopicChange { retention: Some(Keep { age: 60 * SECOND, bytes }), ..TopicChange::default() };
    let topic = fixture.broker.update_topic(topic.project, &topic.name, change).await.unwrap();
    publish_some(&fixture, &topic, messages).await;
    (fixture, topic)
}

async fn publish_some(fixture: &Fixture, topic: &Topic, messages: u64) {
    for n in 0..messages {
        publish(&fixture.broker, topic, &[&n.to_string()]).await.unwrap();
        tokio::time::sleep(10 * SECOND).await;
    }
}

async fn first(fixture: &Fixture, topic: &Topic) -> u64 {
    fixture.broker.topic_bounds(topic).await.unwrap().first.0
}

#[tokio::test(start_paused = true)]
async fn messages_go_when_they_are_too_old_but_the_newest_batch_stays() {
    let (fixture, topic) = ready(10, None).await;
    let mut retention = Retention::default();
    retention.run(&fixture.broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 4, "ten, each ten seconds: six are younger than a minute");
    tokio::time::sleep(31 * SECOND).await;
    retention.run(&fixture.broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 8);
    tokio::time::sleep(600 * SECOND).await;
    retention.run(&fixture.broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 9);
    assert_eq!(fixture.second().await.topic_bounds(&topic).await.unwrap().messages, 10, "totals survive");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_go_while_a_topic_is_too_large() {
    let (fixture, topic) = ready(5, Some(0)).await;
    let size = fixture.broker.inner.bounds(LogId(topic.log.0)).await.unwrap().unwrap().bytes / 5;
    let change = |bytes| TopicChange {
        retention: Some(Keep { age: 3_600 * SECOND, bytes: Some(bytes) }),
        ..TopicChange::default()
    };
    let mut retention = Retention::default();
    for (bytes, left) in [(5 * size, 0), (5 * size - 1, 1), (3 * size, 2), (0, 4)] {
        fixture.broker.update_topic(topic.project, &topic.name, change(bytes)).await.unwrap();
        retention.run(&fixture.broker).await.unwrap();
        assert_eq!(first(&fixture, &topic).await, left, "{bytes} bytes may stay");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_unacknowledged_is_counted_and_what_was_acknowledged_goes_too() {
    let (fixture, topic) = ready(0, None).await;
    let one = fixture.subscription(&topic, AckMode::Cumulative).await;
    let two = fixture.subscription_with(&topic, "two", settings(AckMode::Individual)).await;
    publish_some(&fixture, &topic, 10).await;
    let broker = &fixture.broker;
    broker.pull(&one, PullRequest::default()).await.unwrap();
    broker.acknowledge(&one, Targets::Through(Offset(0)), None).await.unwrap();
    Retention::default().run(broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 4);
    assert_eq!(broker.inner.metrics.forgotten_messages.get(), 3 + 4);
    assert_eq!(broker.statistics(&one).await.unwrap().forgotten, 3);
    assert_eq!(broker.statistics(&two).await.unwrap().forgotten, 4);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lifetime_was_extended_stays_until_it_is_done_with() {
    let (fixture, topic) = ready(0, None).await;
    let subscription = fixture.subscription(&topic, AckMode::Individual).await;
    let broker = &fixture.broker;
    let mut batch = broker.batch();
    batch.push(&NewMessage { ttl: Some(30 * SECOND), ..message("claimed") }).unwrap();
    broker.publish(&topic, batch).await.unwrap();
    let (duration, grace) = (Some(300 * SECOND), Some(600 * SECOND));
    let request = PullRequest { duration, grace, ..PullRequest::default() };
    let held = broker.pull(&subscription, request).await.unwrap();
    assert_eq!(held.len(), 1);
    publish_some(&fixture, &topic, 10).await;
    let mut retention = Retention::default();
    retention.run(broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 0);
    broker.acknowledge(&subscription, Targets::Leased(vec![(Offset(0), held[0].fence)]), None).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    retention.run(broker).await.unwrap();
    assert_eq!(first(&fixture, &topic).await, 6);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_while_the_clock_is_in_doubt() {
    let (fixture, topic) = ready(10, None).await;
    let (broker, held) = (&fixture.broker, &fixture.broker.inner.metrics.retention_held);
    let mut retention = Retention::default();
    retention.clock.is_sure(broker).await.unwrap();
    let right = fixture.clock.wall();
    fixture.clock.set_wall(right + 365 * 86_400 * 1_000_000);
    retention.run(broker).await.unwrap();
    assert_eq!((first(&fixture, &topic).await, held.get()), (0, 1), "a jump ahead");
    fixture.clock.set_wall(right);
    retention.run(broker).await.unwrap();
    assert_eq!((first(&fixture, &topic).await, held.get()), (0, 1), "and back");
    fixture.clock.advance(DOUBT);
    retention.run(broker).await.unwrap();
    assert_eq!((first(&fixture, &topic).await, held.get()), (9, 0), "after an even hour");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumped_while_the_service_was_off_is_doubted() {
    for (by, sure) in [(-20_i64, false), (-5, true), (86_400, true), (31 * 86_400, false)] {
        let (fixture, _topic) = ready(0, None).await;
        assert!(ClockWatch::default().is_sure(&fixture.broker).await.unwrap());
        fixture.clock.set_wall(fixture.clock.wall().checked_add_signed(by * 1_000_000).unwrap());
        assert_eq!(ClockWatch::default().is_sure(&fixture.broker).await, Ok(sure), "off by {by} s");
    }
}

#[tokio::test(start_paused = true)]
async fn maintenance_looks_by_itself_and_ends_with_its_broker() {
    let options = crate::broker::Options { maintenance_every: SECOND, ..crate::broker::Options::default() };
    let fixture = Fixture::with(1, options).await;
    let topic = fixture.topic().await;
    let keep = Some(Keep { age: 5 * SECOND, bytes: None });
    let change = TopicChange { retention: keep, ..TopicChange::default() };
    fixture.broker.update_topic(topic.project, &topic.name, change).await.unwrap();
    publish_some(&fixture, &topic, 3).await;
    assert_eq!(first(&fixture, &topic).await, 2);
    let (inner, Fixture { broker, .. }) = (Arc::downgrade(&fixture.broker.inner), fixture);
    drop(broker);
    tokio::time::sleep(SECOND).await;
    assert_eq!(inner.strong_count(), 0);
}
