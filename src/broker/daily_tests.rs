//! What is counted on which day, through interruptions, retention, deletion and a second broker.

use super::*;
use crate::broker::catalog::tests::world::{at_each_death, sweep};
use crate::broker::catalog::tests::{new_project, new_topic};
use crate::broker::fixture::{Fixture, name, publish};
use crate::broker::retention::Retention;
use crate::broker::{NewMessage, TopicChange};
use crate::domain::topic::Retention as Keep;
use crate::storage::Store;
use crate::storage::faulty::{Odds, Operation};
use std::time::Duration;

const ALL: RangeInclusive<Day> = Day(0)..=Day(u64::MAX);

/// Waits until some minutes after the so-many-th next midnight.
async fn days_later(fixture: &Fixture, days: u64) {
    let mut to = fixture.broker.now().day();
    (0..days).for_each(|_| to = to.next());
    let to = to.start().plus(Duration::from_secs(300));
    fixture.clock.advance(to.since(fixture.broker.now()));
}

/// Publishes so many messages of four text bytes each.
async fn publish_some(broker: &Broker, topic: &Topic, count: usize) {
    publish(broker, topic, &vec!["x"; count]).await.unwrap();
}

/// Days as they count back from today.
async fn counted(fixture: &Fixture, topic: &Topic) -> Vec<(u64, u64)> {
    ago(fixture, fixture.broker.daily_messages(topic, 30).await.unwrap())
}

async fn of_project(fixture: &Fixture, topic: &Topic) -> Vec<(u64, u64)> {
    ago(fixture, fixture.broker.daily_messages_of_project(topic.project, ALL, 30).await.unwrap())
}

fn ago(fixture: &Fixture, days: Vec<(Day, u64)>) -> Vec<(u64, u64)> {
    let today = fixture.broker.now().day();
    days.into_iter().map(|(day, count)| (today.0 - day.0, count)).collect()
}

/// The days that are closed, and what stands there.
async fn closed(broker: &Broker, project: ProjectId) -> Vec<(Day, DayEnd)> {
    let mut found = Vec::new();
    let each = |key: Key, stored: Stored<DayEnd>| found.push((DayKey::parse(&key).unwrap().day, *stored.record));
    broker.documents().scan(&Key::new(DayKey::prefix(project)), Order::Ascending, each).await.unwrap();
    found
}

async fn until_closed(broker: &Broker, project: ProjectId, count: usize) {
    while closed(broker, project).await.len() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_count_for_the_day_they_were_stored_on() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    assert_eq!(counted(&fixture, &topic).await, []);
    publish_some(&fixture.broker, &topic, 2).await;
    publish_some(&fixture.broker, &topic, 1).await;
    assert_eq!(counted(&fixture, &topic).await, [(0, 3)]);
    days_later(&fixture, 1).await;
    publish_some(&fixture.broker, &topic, 5).await;
    days_later(&fixture, 3).await;
    assert_eq!(counted(&fixture, &topic).await, [(3, 5), (4, 3)], "days without messages are missing");
    publish_some(&fixture.broker, &topic, 7).await;
    assert_eq!(counted(&fixture, &topic).await, [(0, 7), (3, 5), (4, 3)]);
    let two = fixture.broker.daily_messages(&topic, 2).await.unwrap();
    assert_eq!(ago(&fixture, two), [(0, 7), (3, 5)]);
    assert_eq!(fixture.broker.daily_messages(&topic, 0).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_first_batch_of_a_day_closes_the_day_before_without_being_asked() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish_some(&fixture.broker, &topic, 3).await;
    let day = fixture.broker.now().day();
    days_later(&fixture, 1).await;
    assert_eq!(closed(&fixture.broker, topic.project).await, []);
    publish_some(&fixture.broker, &topic, 2).await;
    until_closed(&fixture.broker, topic.project, 1).await;
    publish_some(&fixture.broker, &topic, 2).await;
    assert_eq!(closed(&fixture.broker, topic.project).await, [(day, DayEnd { messages: 3, bytes: 12 })]);
}

#[tokio::test(start_paused = true)]
async fn a_day_that_could_not_be_closed_is_closed_by_the_next_one() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    for count in [1, 2, 3] {
        fixture.store.set_odds(Operation::Put, Odds { refuse: 1_000, ..Odds::default() });
        publish_some(&fixture.broker, &topic, count).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        days_later(&fixture, 1).await;
    }
    assert_eq!(closed(&fixture.broker, topic.project).await, []);
    fixture.store.heal();
    publish_some(&fixture.broker, &topic, 4).await;
    until_closed(&fixture.broker, topic.project, 3).await;
    assert_eq!(counted(&fixture, &topic).await, [(0, 4), (1, 3), (2, 2), (3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn retention_takes_a_day_only_after_it_was_counted() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let keep = Some(Keep { age: Duration::from_secs(60), bytes: None });
    let change = TopicChange { retention: keep, ..TopicChange::default() };
    fixture.broker.update_topic(topic.project, &topic.name, change).await.unwrap();
    let mut retention = Retention::default();
    retention.run(&fixture.broker).await.unwrap();
    fixture.store.set_odds(Operation::Put, Odds { refuse: 1_000, ..Odds::default() });
    for count in [1, 2, 3] {
        publish_some(&fixture.broker, &topic, count).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        days_later(&fixture, 1).await;
        publish_some(&fixture.broker, &topic, 10).await;
        fixture.clock.advance(Duration::from_secs(61));
        publish_some(&fixture.broker, &topic, 10).await;
        drop(retention.run(&fixture.broker).await);
    }
    assert_eq!(fixture.broker.topic_bounds(&topic).await.unwrap().first.0, 0, "what is not counted stays");
    fixture.store.heal();
    fixture.clock.advance(Duration::from_secs(600));
    retention.run(&fixture.broker).await.unwrap();
    assert!(fixture.broker.topic_bounds(&topic).await.unwrap().first.0 > 26, "the beginning of the open day went too");
    assert_eq!(counted(&fixture, &topic).await, [(0, 20), (1, 23), (2, 22), (3, 1)]);
}

#[tokio::test(start_paused = true)]
async fn counts_that_are_beyond_help_keep_nothing_from_going() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish_some(&fixture.broker, &topic, 1).await;
    fixture.clock.advance(Duration::from_secs(8 * 86_400));
    publish_some(&fixture.broker, &topic, 1).await;
    until_closed(&fixture.broker, topic.project, 1).await;
    let damaged = crate::storage::Version::ABSENT;
    let key = DayKey { series: Series::of(&topic), day: fixture.broker.now().day() }.key();
    fixture.store.put(&key, bytes::Bytes::from_static(b"rubbish"), damaged).await.unwrap();
    Retention::default().run(&fixture.broker).await.unwrap();
    assert_eq!(fixture.broker.topic_bounds(&topic).await.unwrap().first.0, 1);
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_brokers_count_every_message_once() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let other = fixture.second().await;
    let odds = Odds { lose_request: 100, lose_reply: 100, ..Odds::default() };
    fixture.store.set_odds(Operation::Put, odds);
    for day in 1..=10 {
        let publishes = (0..6).map(|n| publish_some(if n % 2 == 0 { &other } else { &fixture.broker }, &topic, day));
        futures_util::future::join_all(publishes).await;
        days_later(&fixture, 1).await;
    }
    fixture.store.heal();
    let expected: Vec<_> = (1..=10).map(|ago| (ago, 6 * (11 - ago))).collect();
    assert_eq!(counted(&fixture, &topic).await, expected);
    assert_eq!(of_project(&fixture, &topic).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_counts_for_its_project_and_not_for_a_new_one_of_its_name() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let other = fixture.topic_in(topic.project, "other").await;
    publish_some(&fixture.broker, &topic, 1).await;
    publish_some(&fixture.broker, &other, 10).await;
    days_later(&fixture, 1).await;
    publish_some(&fixture.broker, &topic, 2).await;
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
    assert_eq!(fixture.broker.daily_messages(&topic, 30).await, Err(Error::NotFound(Resource::Topic)));
    let again = fixture.topic_in(topic.project, "topic").await;
    publish_some(&fixture.broker, &again, 4).await;
    assert_eq!(counted(&fixture, &again).await, [(0, 4)]);
    assert_eq!(of_project(&fixture, &topic).await, [(0, 6), (1, 11)]);
    let yesterday = Day(fixture.broker.now().day().0 - 1);
    let part = fixture.broker.daily_messages_of_project(topic.project, yesterday..=yesterday, 30).await.unwrap();
    assert_eq!(ago(&fixture, part), [(1, 11)]);
}

#[tokio::test(start_paused = true)]
async fn days_go_with_their_project() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish_some(&fixture.broker, &topic, 1).await;
    days_later(&fixture, 1).await;
    publish_some(&fixture.broker, &topic, 2).await;
    until_closed(&fixture.broker, topic.project, 1).await;
    fixture.broker.delete_project(topic.project).await.unwrap();
    assert_eq!(closed(&fixture.broker, topic.project).await, []);
    fixture.broker.close_day(&Series::of(&topic), Day(1), DayEnd::default()).await.unwrap();
    assert_eq!(closed(&fixture.broker, topic.project).await, [], "who comes late leaves nothing behind");
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_of_a_topic_keeps_what_it_took() {
    let total = async |broker: &Broker, project| {
        let days = broker.daily_messages_of_project(project, ALL, 30).await.unwrap();
        days.iter().map(|(_, count)| *count).sum::<u64>()
    };
    at_each_death(
        async |broker: &Broker| {
            let project = broker.create_project(new_project("P")).await.unwrap().id;
            let topic = broker.create_topic(project, new_topic("t")).await.unwrap();
            publish_some(broker, &topic, 3).await;
            project
        },
        async |broker, project| broker.delete_topic(*project, &name("t")).await,
        async |broker, project, _| {
            sweep(broker, broker.clock()).await;
            assert_eq!(total(broker, *project).await, 3);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_taken_off_the_totals_as_a_whole() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish_some(&fixture.broker, &topic, 2).await;
    let mut batch = fixture.broker.batch();
    for payload in [&b"1234"[..], b"", b"1"] {
        batch.push(&NewMessage { payload, ..NewMessage::default() }).unwrap();
    }
    fixture.broker.publish(&topic, batch).await.unwrap();
    let newest = fixture.broker.batch_at(LogId(topic.log.0), Position::Tail).await.unwrap().unwrap();
    assert_eq!(before(&newest), Ok(DayEnd { messages: 2, bytes: 8 }));
}
