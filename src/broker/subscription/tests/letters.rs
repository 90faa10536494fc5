//! Dead letters: once, or when their topic is there, and whoever began them.

use super::*;

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
