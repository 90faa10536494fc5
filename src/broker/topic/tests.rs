//! Publishing and reading over a store that fails on demand.

use super::*;
use crate::broker::fixture::{Fixture, message, publish};
use crate::broker::{NewMessage, Options};
use crate::storage::faulty::{Fault, Odds, Operation};
use crate::storage::{Store, StoredBatch};
use futures_util::future::join_all;
use std::time::Duration;

async fn batches(fixture: &Fixture, topic: &Topic) -> Vec<StoredBatch> {
    let limit = ReadLimit { bytes: usize::MAX, batches: usize::MAX };
    let from = Position::Offset(crate::storage::Offset(0));
    fixture.store.heal();
    match fixture.store.read(LogId(topic.log.0), from, limit).await.unwrap() {
        Read::Batches(batches) => batches,
        other => panic!("{other:?}"),
    }
}

async fn texts(broker: &Broker, topic: &Topic) -> Vec<String> {
    let messages = broker.browse(topic, Offset(0), u32::MAX, u64::MAX).await.unwrap();
    messages.iter().map(|message| String::from_utf8(message.message.payload.bytes.to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_answered_with_where_its_messages_stand() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let first = publish(&fixture.broker, &topic, &["a", "b"]).await.unwrap();
    let second = publish(&fixture.broker, &topic, &["c"]).await.unwrap();
    assert_eq!((first.first, first.count, second.first, second.count), (Offset(0), 2, Offset(2), 1));
    assert_eq!(texts(&fixture.broker, &topic).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_publish_appends_nothing() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish(&fixture.broker, &topic, &["a"]).await.unwrap();
    let receipt = publish(&fixture.broker, &topic, &[]).await.unwrap();
    assert_eq!((receipt.first, receipt.count), (Offset(1), 0));
    assert_eq!(batches(&fixture, &topic).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_publishes_share_appends_and_stay_whole() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let late = Odds { delay: 1_000, delay_max: Duration::from_millis(5), ..Odds::default() };
    fixture.store.set_odds(Operation::Append, late);
    let requests: Vec<[String; 2]> = (0..64).map(|n| [format!("{n}a"), format!("{n}b")]).collect();
    let receipts = join_all(requests.iter().map(async |[a, b]| publish(&fixture.broker, &topic, &[a, b]).await)).await;
    let appends = batches(&fixture, &topic).await.len();
    assert!(appends <= 4, "{appends} appends for 64 publishes");
    let texts = texts(&fixture.broker, &topic).await;
    assert_eq!(texts.len(), 128);
    for (receipt, request) in receipts.into_iter().zip(&requests) {
        let first = receipt.unwrap().first.0 as usize;
        assert_eq!(texts[first..first + 2], *request);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_no_larger_than_the_merge_limit_but_for_one_request() {
    let options = Options { merge_bytes: 1_000, ..Options::default() };
    let fixture = Fixture::with(1, options).await;
    let topic = fixture.topic().await;
    let text = "x".repeat(600);
    let requests = (0..6).map(async |_| publish(&fixture.broker, &topic, &[&text]).await);
    assert!(join_all(requests).await.iter().all(Result::is_ok));
    assert_eq!(batches(&fixture, &topic).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_loses_nothing_that_it_took() {
    let options = Options { queue_max: 2, ..Options::default() };
    let fixture = Fixture::with(1, options).await;
    let topic = fixture.topic().await;
    fixture.store.fail_next(Operation::Append, Fault::DelayRequest(Duration::from_secs(1)));
    let publishes = join_all((0..6).map(|_| publish(&fixture.broker, &topic, &["x"]))).await;
    let refused = publishes.iter().filter(|outcome| matches!(outcome, Err(Error::Overloaded(_)))).count();
    assert!(refused > 0);
    assert_eq!(texts(&fixture.broker, &topic).await.len(), 6 - refused);
}

#[tokio::test(start_paused = true)]
async fn a_publish_above_the_limit_is_refused() {
    let options = Options { publish_bytes: 2_000, ..Options::default() };
    let fixture = Fixture::with(1, options).await;
    let topic = fixture.topic().await;
    let refused = publish(&fixture.broker, &topic, &[&"x".repeat(2_000)]).await;
    assert_eq!(refused, Err(Error::TooLarge { what: "publish request", limit: 2_000 }));
    assert_eq!(fixture.broker.topic_bounds(&topic).await.unwrap().next, Offset(0));
}

#[tokio::test(start_paused = true)]
async fn lost_replies_and_requests_neither_lose_nor_double_a_message() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let odds = Odds { lose_request: 200, lose_reply: 200, ..Odds::default() };
    fixture.store.set_odds(Operation::Append, odds);
    fixture.store.set_odds(Operation::Read, Odds { refuse: 200, ..Odds::default() });
    for n in 0..100 {
        assert_eq!(publish(&fixture.broker, &topic, &[&n.to_string()]).await.unwrap().first, Offset(n));
    }
    assert!(fixture.store.injected() > 20);
    fixture.store.heal();
    assert_eq!(texts(&fixture.broker, &topic).await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_refused_append_is_an_error_and_appends_nothing() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    fixture.store.fail_next(Operation::Append, Fault::Refuse);
    assert!(matches!(publish(&fixture.broker, &topic, &["a"]).await, Err(Error::Unavailable(_))));
    assert_eq!(publish(&fixture.broker, &topic, &["b"]).await.unwrap().first, Offset(0));
}

#[tokio::test(start_paused = true)]
async fn two_brokers_publish_to_one_topic_without_a_gap() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let other = fixture.second().await;
    let publishes = (0..100).map(async |n| {
        let broker = if n % 2 == 0 { &fixture.broker } else { &other };
        tokio::time::sleep(Duration::from_millis(n / 4)).await;
        publish(broker, &topic, &[&n.to_string()]).await.unwrap().first.0
    });
    let places = join_all(publishes).await;
    let texts = texts(&other, &topic).await;
    assert_eq!(texts.len(), 100);
    assert!(places.iter().enumerate().all(|(n, place)| texts[*place as usize] == n.to_string()));
    let bounds = fixture.broker.topic_bounds(&topic).await.unwrap();
    assert_eq!((bounds.messages, bounds.bytes), (100, 400), "totals count what both published");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_neither_loses_nor_doubles_others_messages() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    fixture.store.fail_next(Operation::Append, Fault::DelayRequest(Duration::from_secs(1)));
    let gone = tokio::time::timeout(Duration::from_millis(10), publish(&fixture.broker, &topic, &["gone"]));
    let (gone, stays) = tokio::join!(gone, publish(&fixture.broker, &topic, &["stays"]));
    assert!(gone.is_err());
    assert_eq!(stays.unwrap().first, Offset(1));
    assert_eq!(texts(&fixture.broker, &topic).await, ["gone", "stays"]);
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_a_deleted_topic_says_so() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let other = fixture.second().await;
    let known = other.topic(topic.project, &topic.name).await.unwrap();
    publish(&other, &known, &["a"]).await.unwrap();
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
    assert_eq!(publish(&other, &known, &["b"]).await, Err(Error::NotFound(Resource::Topic)));
    assert_eq!(other.topic(topic.project, &topic.name).await, Err(Error::NotFound(Resource::Topic)));
}

#[tokio::test(start_paused = true)]
async fn bounds_and_totals_are_known_without_having_published() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let empty = fixture.broker.topic_bounds(&topic).await.unwrap();
    assert_eq!((empty.first, empty.next, empty.messages, empty.published_at), (Offset(0), Offset(0), 0, None));
    let receipt = publish(&fixture.broker, &topic, &["abc", "d"]).await.unwrap();
    let bounds = fixture.second().await.topic_bounds(&topic).await.unwrap();
    let only = TopicBounds {
        first: Offset(0),
        next: Offset(2),
        messages: 2,
        bytes: 8,
        published_at: Some(receipt.at),
        published: 2,
        published_before: None,
    };
    assert_eq!(bounds, only);
}

#[tokio::test(start_paused = true)]
async fn the_last_two_publishes_are_known_to_every_broker() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let first = publish(&fixture.broker, &topic, &["a"]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = publish(&fixture.broker, &topic, &["b", "c", "d"]).await.unwrap();
    for broker in [&fixture.broker, &fixture.second().await] {
        let bounds = broker.topic_bounds(&topic).await.unwrap();
        let known = (bounds.published_before, bounds.published_at, bounds.published);
        assert_eq!(known, (Some(first.at), Some(second.at), 3));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instant_leads_to_the_first_message_stored_at_or_after_it() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let at = async |time| fixture.broker.offset_at_time(&topic, time).await;
    assert_eq!(at(Timestamp::EPOCH).await, Err(Error::NothingAtTime));
    let first = publish(&fixture.broker, &topic, &["a", "b"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = publish(&fixture.broker, &topic, &["c"]).await.unwrap();
    assert_eq!(at(Timestamp::EPOCH).await, Ok(Offset(0)));
    assert_eq!(at(first.at).await, Ok(Offset(0)));
    assert_eq!(at(Timestamp(first.at.0 + 1)).await, Ok(Offset(2)));
    assert_eq!(at(second.at).await, Ok(Offset(2)));
    assert_eq!(at(Timestamp(second.at.0 + 1)).await, Err(Error::NothingAtTime));
    fixture.store.trim(LogId(topic.log.0), crate::storage::Offset(1)).await.unwrap();
    assert_eq!(at(Timestamp::EPOCH).await, Ok(Offset(1)), "below the first kept time: the first kept offset");
}

#[tokio::test(start_paused = true)]
async fn browsing_stops_at_either_limit_but_not_before_one_message() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    for _ in 0..3 {
        publish(&fixture.broker, &topic, &["0123456789", "0123456789"]).await.unwrap();
    }
    let offsets = async |from, messages, bytes| {
        let messages = fixture.broker.browse(&topic, Offset(from), messages, bytes).await.unwrap();
        messages.iter().map(|message| message.offset.0).collect::<Vec<_>>()
    };
    assert_eq!(offsets(1, 4, u64::MAX).await, [1, 2, 3, 4]);
    assert_eq!(offsets(1, 4, 0).await, [1]);
    assert_eq!(offsets(1, 4, 80).await, [1, 2]);
    assert_eq!(offsets(6, 4, 100).await, [0_u64; 0]);
    fixture.store.trim(LogId(topic.log.0), crate::storage::Offset(3)).await.unwrap();
    assert_eq!(offsets(0, 2, u64::MAX).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn waiters_hear_of_appends_here_at_once_and_elsewhere_soon() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let other = fixture.second().await;
    let mut tail = fixture.broker.topic_actor(&topic).unwrap().watch(&fixture.broker);
    let begin = tokio::time::Instant::now();
    publish(&fixture.broker, &topic, &["here"]).await.unwrap();
    tail.reaches(Offset(1)).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    publish(&other, &topic, &["there"]).await.unwrap();
    tail.reaches(Offset(2)).await;
    assert!(begin.elapsed() <= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_polls_when_nobody_waits() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let actor = fixture.broker.topic_actor(&topic).unwrap();
    drop(actor.watch(&fixture.broker));
    tokio::time::sleep(Duration::from_secs(5)).await;
    fixture.store.set_odds(Operation::Bounds, Odds { refuse: 1_000, ..Odds::default() });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.store.injected(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_again_soon_is_not_read_from_the_store() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish(&fixture.broker, &topic, &["a", "b"]).await.unwrap();
    assert_eq!(texts(&fixture.broker, &topic).await.len(), 2);
    fixture.store.set_odds(Operation::Read, Odds { refuse: 1_000, ..Odds::default() });
    assert_eq!(texts(&fixture.broker, &topic).await.len(), 2);
    assert!(fixture.broker.inner.cached_bytes.load(std::sync::atomic::Ordering::Relaxed) > 0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(fixture.broker.inner.cached_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_keep_their_bytes_and_attributes() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let payload: Vec<u8> = (0..=255).collect();
    let mut batch = fixture.broker.batch();
    batch.push(&NewMessage { payload: &payload, ..message("ü\u{0}\"") }).unwrap();
    fixture.broker.publish(&topic, batch).await.unwrap();
    let read = fixture.broker.browse(&topic, Offset(0), 1, 1).await.unwrap();
    assert_eq!(read[0].message.payload.bytes, payload);
    assert_eq!(read[0].message.attributes, message("ü\u{0}\"").attributes);
}

#[tokio::test(start_paused = true)]
async fn a_follower_sees_what_comes_after_it_and_everything_of_a_topic_made_again() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    publish(&fixture.broker, &topic, &["before"]).await.unwrap();
    let mut follower = fixture.broker.follow(&topic).await.unwrap();
    let mut next = async |count: usize| {
        let mut texts = Vec::new();
        for _ in 0..count {
            let payload = follower.next().await.unwrap().message.payload;
            texts.push(String::from_utf8(payload.bytes.to_vec()).unwrap());
        }
        texts
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), next(1)).await.is_err(), "nothing is there yet");
    let all: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    publish(&fixture.broker, &topic, &texts).await.unwrap();
    assert_eq!(next(200).await, all);
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
    let new = crate::broker::NewTopic {
        name: topic.name.clone(),
        retention: topic.retention,
        schema: None,
        created_by: None,
    };
    let again = fixture.broker.create_topic(topic.project, new).await.unwrap();
    publish(&fixture.broker, &again, &["again"]).await.unwrap();
    assert_eq!(next(1).await, ["again"]);
}
