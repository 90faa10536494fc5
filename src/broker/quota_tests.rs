//! Quotas over time, and under calls that come at once.

use super::*;
use crate::broker::fixture::Fixture;
use crate::broker::{NewMessage, NewTopic};
use crate::domain::Resource;
use crate::domain::topic::{Retention, Topic};

const SECOND: Duration = Duration::from_secs(1);

async fn publish(broker: &Broker, topic: &Topic, messages: usize) -> Result<u32> {
    let mut batch = broker.batch();
    for _ in 0..messages {
        batch.push(&NewMessage { payload: b"x", ..NewMessage::default() }).unwrap();
    }
    broker.publish(topic, batch).await.map(|receipt| receipt.count)
}

fn after(refused: &Result<u32>) -> Option<Duration> {
    match refused {
        Err(Error::QuotaExceeded { after, .. }) => *after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn messages_above_the_quota_are_refused_until_what_is_owed_has_come_in() {
    let fixture = Fixture::new().await;
    let (broker, topic) = (&fixture.broker, fixture.topic().await);
    broker.set_common_quota(Quota { messages_per_second: Some(10), ..Quota::default() });
    assert_eq!(publish(broker, &topic, 30).await, Ok(30), "a large request is taken whole");
    let wait = after(&publish(broker, &topic, 1).await).unwrap();
    assert!(wait > SECOND && wait <= 3 * SECOND, "{wait:?}");
    tokio::time::sleep(wait + Duration::from_millis(20)).await;
    assert_eq!(publish(broker, &topic, 1).await, Ok(1));
    assert_eq!(broker.topic_bounds(&topic).await.unwrap().messages, 31);
}

#[tokio::test(start_paused = true)]
async fn a_projects_own_quota_goes_before_the_common_one() {
    let fixture = Fixture::new().await;
    let (broker, topic) = (&fixture.broker, fixture.topic().await);
    broker.set_common_quota(Quota { bytes_per_second: Some(1), ..Quota::default() });
    assert_eq!(publish(broker, &topic, 1).await, Ok(1));
    assert!(publish(broker, &topic, 1).await.is_err());
    broker.set_project_quota(topic.project, Quota { bytes_per_second: Some(0), ..Quota::default() }).await.unwrap();
    assert_eq!(publish(broker, &topic, 1_000).await, Ok(1_000));
    assert_eq!(publish(broker, &topic, 1_000).await, Ok(1_000));
}

#[tokio::test(start_paused = true)]
async fn topics_above_the_quota_are_refused_also_when_made_at_once() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    broker.set_common_quota(Quota { topics: Some(2), ..Quota::default() });
    let create = |text: &str| {
        let name = Name::new(text).unwrap();
        let new = NewTopic { name, retention: Retention::default(), schema: None, created_by: None };
        broker.create_topic(project, new)
    };
    let (a, b, c) = futures_util::join!(create("a"), create("b"), create("c"));
    assert_eq!([&a, &b, &c].iter().filter(|made| made.is_ok()).count(), 2);
    assert_eq!(create("a").await.err(), Some(Error::AlreadyExists(Resource::Topic)));
    assert_eq!(create("d").await.err(), Some(Error::QuotaExceeded { what: "topics", after: None }));
    broker.delete_topic(project, &Name::new("a").unwrap()).await.unwrap();
    assert!(create("d").await.is_ok());
}

#[test]
fn buckets_that_owe_nothing_are_forgotten_when_there_are_many() {
    let quotas = Quotas::default();
    for project in 0..3 * PROJECTS_MAX as u128 {
        let now = Duration::from_millis(u64::try_from(project).unwrap());
        quotas.take(ProjectId(project), (10, 0), (1, 1), now).unwrap();
    }
    assert!(quotas.buckets.lock().len() <= PROJECTS_MAX);
}
