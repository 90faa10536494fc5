//! What the sweeper takes, when, and what it must never take.

use super::*;
use crate::broker::catalog::tests::world::{check, sweep, walk};
use crate::broker::catalog::tests::{fresh, name, new_project, new_subscription, new_topic};
use crate::clock::Clock;
use crate::storage::Offset;

async fn later(sweeper: &mut Sweeper, broker: &Broker, clock: &Clock) {
    clock.advance(GRACE);
    walk(sweeper, broker).await;
}

#[tokio::test]
async fn a_world_in_order_is_left_as_it_is() {
    let (broker, clock) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    broker.create_topic(project, new_topic("t")).await.unwrap();
    broker.create_topic(project, new_topic("gone")).await.unwrap();
    broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    broker.delete_topic(project, &name("gone")).await.unwrap();
    let all = || broker.inner.store.scan(&EVERYTHING, None, 1_000, Order::Ascending);
    let before = all().await.unwrap();
    sweep(&broker, &clock).await;
    assert_eq!(all().await.unwrap(), before);
    check(&broker).await;
    let again = broker.create_topic(project, new_topic("gone")).await.unwrap();
    assert_eq!(again.incarnation.0, 2, "the count of a topic's name is kept");
}

static EVERYTHING: std::sync::LazyLock<Key> = std::sync::LazyLock::new(|| Key::new(""));

#[tokio::test]
async fn a_log_without_a_document_is_closed_after_the_grace_and_not_before() {
    let (broker, clock) = fresh().await;
    let mut sweeper = Sweeper::default();
    broker.create_log(LogId(1), Offset(0)).await.unwrap();
    walk(&mut sweeper, &broker).await;
    clock.advance(GRACE - Duration::from_secs(1));
    walk(&mut sweeper, &broker).await;
    assert!(broker.inner.store.bounds(LogId(1)).await.unwrap().is_some());
    clock.advance(Duration::from_secs(1));
    walk(&mut sweeper, &broker).await;
    assert!(broker.inner.store.bounds(LogId(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_long_walk_does_not_count_as_grace() {
    let (broker, clock) = fresh().await;
    let mut sweeper = Sweeper::default();
    broker.create_log(LogId(1), Offset(0)).await.unwrap();
    walk(&mut sweeper, &broker).await;
    // The second walk begins at once and passes the documents; then it stalls, and only its end sees the log again.
    sweeper.step(&broker).await.unwrap();
    clock.advance(GRACE * 2);
    walk(&mut sweeper, &broker).await;
    assert!(broker.inner.store.bounds(LogId(1)).await.unwrap().is_some());
    walk(&mut sweeper, &broker).await;
    assert!(broker.inner.store.bounds(LogId(1)).await.unwrap().is_none(), "the walk after it may");
}

#[tokio::test]
async fn a_removal_that_is_marked_is_finished_at_once() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    broker.create_topic(project.id, new_topic("t")).await.unwrap();
    let truth = broker.documents().fetch(&project.id).await.unwrap().unwrap();
    let marked = Truth { standing: Standing::Deleting, ..Truth::clone(&truth.record) };
    broker.documents().put(&project.id, &marked, truth.version).await.unwrap().unwrap();
    let mut sweeper = Sweeper::default();
    walk(&mut sweeper, &broker).await;
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), []);
    check(&broker).await;
}

#[tokio::test]
async fn a_creation_on_its_way_is_ended_after_the_grace_and_not_before() {
    let (broker, clock) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    let truth = broker.documents().fetch(&project.id).await.unwrap().unwrap();
    let making = Truth { standing: Standing::Claiming, ..Truth::clone(&truth.record) };
    broker.documents().put(&project.id, &making, truth.version).await.unwrap().unwrap();
    let mut sweeper = Sweeper::default();
    walk(&mut sweeper, &broker).await;
    walk(&mut sweeper, &broker).await;
    assert!(broker.documents().fetch(&project.id).await.unwrap().is_some());
    later(&mut sweeper, &broker, &clock).await;
    assert!(broker.documents().fetch(&project.id).await.unwrap().is_none());
    later(&mut sweeper, &broker, &clock).await;
    later(&mut sweeper, &broker, &clock).await;
    check(&broker).await;
}

#[tokio::test]
async fn a_tokens_hint_without_its_user_goes_after_the_grace() {
    let (broker, clock) = fresh().await;
    let (hash, hint) = (TokenHash([7; 32]), TokenHint { holder: crate::domain::UserId(1) });
    broker.documents().put(&hash, &hint, Version::ABSENT).await.unwrap().unwrap();
    let mut sweeper = Sweeper::default();
    walk(&mut sweeper, &broker).await;
    assert!(broker.documents().fetch(&hash).await.unwrap().is_some());
    later(&mut sweeper, &broker, &clock).await;
    assert!(broker.documents().fetch(&hash).await.unwrap().is_none());
}

#[tokio::test]
async fn a_document_that_cannot_be_read_stops_the_walk_before_any_log_is_judged() {
    let (broker, clock) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let topic = broker.create_topic(project, new_topic("t")).await.unwrap();
    let key = crate::broker::documents::keys::Keyed::key(&topic.key());
    let stored = broker.inner.store.get(&key).await.unwrap().unwrap();
    broker.inner.store.put(&key, bytes::Bytes::from_static(b"rubbish"), stored.version).await.unwrap();
    let mut sweeper = Sweeper::default();
    for _ in 0..5 {
        assert!(matches!(sweeper.step(&broker).await, Err(Error::Damaged(_))));
        clock.advance(GRACE);
    }
    assert!(broker.inner.store.bounds(LogId(topic.log.0)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_kept_in_mind_is_forgotten_when_it_is_gone() {
    let (broker, clock) = fresh().await;
    let mut sweeper = Sweeper::default();
    broker.create_log(LogId(1), Offset(0)).await.unwrap();
    walk(&mut sweeper, &broker).await;
    assert_eq!(sweeper.suspects.len(), 1);
    later(&mut sweeper, &broker, &clock).await;
    walk(&mut sweeper, &broker).await;
    assert_eq!(sweeper.suspects.len(), 0);
}

#[tokio::test]
async fn a_subscriber_whose_time_is_over_goes_and_one_who_got_more_stays() {
    use crate::domain::Timestamp;
    use crate::domain::push::{Notify, Shared};
    let (broker, clock) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let topic = broker.create_topic(project, new_topic("t")).await.unwrap();
    let notify = |subscriber: &str| Notify {
        subscriber: subscriber.to_owned(),
        options: Shared("{}".to_owned()),
        ttl: Duration::from_secs(60),
        since: Timestamp(clock.wall()),
    };
    let (short, _) = broker.add_subscriber(project, &topic.name, notify("http://a")).await.unwrap();
    let (long, _) = broker.add_subscriber(project, &topic.name, notify("http://b")).await.unwrap();
    broker.change_subscriber(&long, |notify| notify.ttl = Duration::from_secs(600)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    walk(&mut Sweeper::default(), &broker).await;
    assert!(broker.subscription(project, &short.name).await.is_err(), "its name is free again");
    assert!(broker.inner.store.bounds(LogId(short.log.0)).await.unwrap().is_none());
    assert_eq!(broker.subscribers(project, &topic.name).await.unwrap().len(), 1);
    check(&broker).await;
}
