//! A glance shows what progress shows, and costs next to nothing.

use super::*;
use crate::broker::fixture::{Fixture, publish, settings};
use crate::broker::{PageRequest, PullRequest};
use crate::domain::subscription::AckMode::{Cumulative, Individual};
use crate::domain::subscription::Targets;
use crate::domain::topic::Topic;
use crate::storage::Store;
use crate::storage::faulty::{Odds, Operation};
use std::time::Duration;

const RETIRED: Duration = Duration::from_secs(150);

async fn three(broker: &Broker, topic: &Topic) {
    publish(broker, topic, &["a", "b", "c"]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn alive(broker: &Broker) -> i64 {
    broker.inner.metrics.actors.with_label_values(&["subscription"]).get()
}

/// What a glance shows, checked against what progress shows; the glance comes first, for progress may change things.
async fn glance(broker: &Broker, subscription: &Subscription) -> Progress {
    let glance = broker.glance(subscription).await.unwrap();
    assert_eq!(Ok(glance), broker.progress(subscription).await);
    glance
}

#[tokio::test(start_paused = true)]
async fn a_glance_shows_what_progress_shows() {
    for mode in [Cumulative, Individual] {
        let fixture = Fixture::new().await;
        let topic = fixture.topic().await;
        let (broker, other) = (&fixture.broker, fixture.second().await);
        three(broker, &topic).await;
        let subscription = fixture.subscription(&topic, mode).await;
        assert_eq!(glance(broker, &subscription).await.backlog, 0);
        three(broker, &topic).await;
        three(broker, &topic).await;
        let before = glance(broker, &subscription).await;
        assert_eq!((before.backlog, before.oldest_at.is_some()), (6, true));
        let request = PullRequest { messages_max: 5, ..PullRequest::default() };
        let pulled = other.pull(&subscription, request).await.unwrap();
        let targets = match mode {
            Cumulative => Targets::Through(pulled[1].published.offset),
            Individual => Targets::Leased([0, 3].map(|n| (pulled[n].published.offset, pulled[n].fence)).to_vec()),
        };
        other.acknowledge(&subscription, targets, None).await.unwrap();
        assert_eq!(glance(broker, &subscription).await.backlog, 4, "what another broker did");
        tokio::time::sleep(RETIRED).await;
        assert_eq!(glance(broker, &subscription).await.backlog, 4, "after it retired");
        broker.purge(&subscription).await.unwrap();
        assert_eq!(glance(broker, &subscription).await.backlog, 0);
        three(&other, &topic).await;
        assert_eq!(glance(broker, &subscription).await.backlog, 3);
        fixture.store.trim(LogId(topic.log.0), storage::Offset(10)).await.unwrap();
        assert_eq!(glance(broker, &subscription).await.backlog, 2, "what retention took");
    }
}

#[tokio::test(start_paused = true)]
async fn a_glance_sees_topics_come_and_go() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let broker = &fixture.broker;
    let subscription = fixture.subscription(&topic, Cumulative).await;
    three(broker, &topic).await;
    let first = glance(broker, &subscription).await.oldest_at;
    broker.delete_topic(topic.project, &topic.name).await.unwrap();
    assert_eq!(glance(broker, &subscription).await.backlog, 0);
    let again = fixture.topic_in(topic.project, "topic").await;
    three(broker, &again).await;
    let second = glance(broker, &subscription).await;
    assert_eq!(second.backlog, 3);
    assert!(second.oldest_at > first);
    broker.delete_subscription(topic.project, &subscription.name).await.unwrap();
    assert_eq!(broker.glance(&subscription).await, Err(Error::NotFound(Resource::Subscription)));
}

#[tokio::test(start_paused = true)]
async fn two_thousand_idle_subscriptions_cost_one_reading_each_and_no_actor() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    for n in 0..2_000 {
        fixture.subscription_with(&topic, &format!("s{n}"), settings(Cumulative)).await;
    }
    three(&fixture.broker, &topic).await;
    let broker = fixture.second().await;
    let all = broker.subscriptions(topic.project, PageRequest::default(), &|_| true).await.unwrap().items;
    let backlogs = async || {
        let mut backlogs = Vec::new();
        for subscription in &all {
            backlogs.push(broker.glance(subscription).await.unwrap().backlog);
        }
        backlogs
    };
    assert_eq!(backlogs().await, vec![3; 2_000]);
    fixture.store.set_odds(Operation::Read, Odds { refuse: 1_000, ..Odds::default() });
    assert_eq!(backlogs().await, vec![3; 2_000], "nothing is read again");
    assert_eq!(alive(&broker), 0);
    fixture.store.heal();
    three(&fixture.broker, &topic).await;
    assert_eq!(backlogs().await, vec![6; 2_000]);
}

#[tokio::test(start_paused = true)]
async fn a_glance_does_not_keep_an_actor_at_work() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, Cumulative).await;
    fixture.broker.progress(&subscription).await.unwrap();
    assert_eq!(alive(&fixture.broker), 1);
    for _ in 0..30 {
        fixture.broker.glance(&subscription).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(alive(&fixture.broker), 0);
}
