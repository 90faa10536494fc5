//! Pulls that wait: for what, in which order, and what becomes of those that are given up.

use super::*;

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
