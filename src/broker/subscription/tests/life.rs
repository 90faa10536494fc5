//! The life of an actor: snapshots, retirement, history, and its stop.

use super::*;

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
