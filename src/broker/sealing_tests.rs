//! Encrypted topics over the memory engine: nothing readable is stored, everything is readable for who asks.

use super::*;
use crate::auth::KeyRing;
use crate::broker::fixture::{Fixture, name, publish};
use crate::broker::queue::{ClaimRequest, DeadLetterPolicy, Queue};
use crate::broker::{NewMessage, NewTopic};
use crate::domain::Offset;
use crate::domain::message::Published;
use crate::domain::subscription::GroupId;
use crate::domain::topic::Retention;
use crate::storage::{Key, Order, Position, Read, ReadLimit, Store};
use std::time::Duration;

const SECRET: &str = "quite a secret text";

async fn world() -> (Fixture, Arc<Topic>) {
    let fixture = Fixture::new().await;
    fixture.broker.set_wrap(Arc::new(KeyRing::generate().unwrap()));
    let topic = fixture.topic().await;
    let topic = fixture.broker.set_sealed(&topic, true).await.unwrap();
    (fixture, topic)
}

/// Whether a text stands anywhere in a log or a document, as it is.
async fn is_stored(fixture: &Fixture, topic: &Topic, text: &str) -> bool {
    let limit = ReadLimit { bytes: 1 << 20, batches: 100 };
    let read =
        fixture.store.read(LogId(topic.log.0), Position::Offset(crate::storage::Offset(0)), limit).await.unwrap();
    let Read::Batches(batches) = read else { panic!("{read:?}") };
    let documents = fixture.store.scan(&Key::new(""), None, 1_000, Order::Ascending).await.unwrap();
    let logged = batches.into_iter().map(|batch| batch.payload);
    let mut all = logged.chain(documents.into_iter().map(|(_, document)| document.value));
    all.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

async fn read(broker: &Broker, topic: &Topic) -> Vec<Published> {
    broker.browse(topic, Offset(0), 100, 1 << 20).await.unwrap()
}

fn texts(messages: &[Published]) -> Vec<(String, Vec<(&str, &str)>)> {
    let text = |message: &Published| String::from_utf8(message.message.payload.bytes.to_vec()).unwrap();
    messages.iter().map(|message| (text(message), message.message.attributes.iter().collect())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_sealed_is_stored_unreadable_and_read_as_it_was() {
    let (fixture, topic) = world().await;
    publish(&fixture.broker, &topic, &[SECRET, "b"]).await.unwrap();
    assert!(!is_stored(&fixture, &topic, SECRET).await);
    let expected = vec![(SECRET.to_owned(), vec![("text", SECRET)]), ("b".to_owned(), vec![("text", "b")])];
    let found = read(&fixture.broker, &topic).await;
    assert_eq!(texts(&found), expected);
    assert_eq!(found[0].message.header.bytes as usize, SECRET.len() * 2 + 4 + 8, "counted as it came");
    let totals = fixture.broker.topic_bounds(&topic).await.unwrap();
    assert_eq!((totals.messages, totals.bytes), (2, 28 + 4));
}

#[tokio::test(start_paused = true)]
async fn sealing_may_be_turned_on_and_off_and_both_stay_readable() {
    let (fixture, topic) = world().await;
    publish(&fixture.broker, &topic, &[SECRET]).await.unwrap();
    let open = fixture.broker.set_sealed(&topic, false).await.unwrap();
    publish(&fixture.broker, &open, &["in clear"]).await.unwrap();
    assert!(!is_stored(&fixture, &topic, SECRET).await && is_stored(&fixture, &topic, "in clear").await);
    let found = read(&fixture.broker, &open).await;
    assert_eq!(texts(&found).iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), [SECRET, "in clear"]);
}

#[tokio::test(start_paused = true)]
async fn another_node_reads_with_the_same_key_and_none_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let (fixture, topic) = world().await;
    fixture.broker.set_wrap(Arc::new(KeyRing::open(&file).unwrap()));
    publish(&fixture.broker, &topic, &[SECRET]).await.unwrap();
    let other = fixture.second().await;
    let error = other.browse(&topic, Offset(0), 1, 1).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(why) if why.contains("no key")), "{error}");
    other.set_wrap(Arc::new(KeyRing::generate().unwrap()));
    assert!(matches!(other.browse(&topic, Offset(0), 1, 1).await, Err(Error::Damaged(_))));
    other.set_wrap(Arc::new(KeyRing::open(&file).unwrap()));
    assert_eq!(texts(&read(&other, &topic).await)[0].0, SECRET);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_wraps_every_data_key_anew_and_the_old_one_is_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let (fixture, topic) = world().await;
    fixture.broker.set_wrap(Arc::new(KeyRing::open(&file).unwrap()));
    publish(&fixture.broker, &topic, &[SECRET]).await.unwrap();
    fixture.broker.set_wrap(Arc::new(KeyRing::add_key(&file).unwrap()));
    assert_eq!(fixture.broker.rewrap().await.unwrap(), 1);
    assert_eq!(fixture.broker.rewrap().await.unwrap(), 0);
    let other = fixture.second().await;
    other.set_wrap(Arc::new(KeyRing::drop_old(&file).unwrap()));
    assert_eq!(texts(&read(&other, &topic).await)[0].0, SECRET);
}

#[tokio::test(start_paused = true)]
async fn a_topic_takes_its_key_along_when_it_goes() {
    let (fixture, topic) = world().await;
    publish(&fixture.broker, &topic, &[SECRET]).await.unwrap();
    let keys = async || fixture.store.scan(&DataKeyOf::prefix(), None, 10, Order::Ascending).await.unwrap().len();
    assert_eq!(keys().await, 1);
    fixture.broker.delete_topic(topic.project, &topic.name).await.unwrap();
    assert_eq!(keys().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_goes_to_another_queue_stays_unreadable() {
    let (fixture, _) = world().await;
    let project = fixture.broker.project(&name("project")).await.unwrap().id;
    let make = async |called: &str, policy: DeadLetterPolicy| -> Queue {
        let new = NewTopic { name: name(called), retention: Retention::default(), schema: None, created_by: None };
        fixture.broker.create_queue(project, new, bytes::Bytes::new(), policy).await.unwrap().0
    };
    let dead = make("dead", DeadLetterPolicy::default()).await;
    let policy = DeadLetterPolicy { max_attempts: Some(1), topic: Some(name("dead")), ttl: None };
    let jobs = make("jobs", policy).await;
    let topic = fixture.broker.set_sealed(&jobs.topic, true).await.unwrap();
    let mut batch = fixture.broker.batch();
    batch.push(&NewMessage { payload: SECRET.as_bytes(), ..NewMessage::default() }).unwrap();
    fixture.broker.publish(&topic, batch).await.unwrap();
    let minute = Duration::from_secs(60);
    let request = |id| ClaimRequest { id: GroupId(id), messages_max: 1, ttl: minute, grace: minute };
    assert_eq!(fixture.broker.claim(&jobs, request(1)).await.unwrap().len(), 1);
    tokio::time::sleep(minute + Duration::from_secs(1)).await;
    assert_eq!(fixture.broker.claim(&jobs, request(2)).await.unwrap().len(), 0);
    let mut found = Vec::new();
    for _ in 0..100 {
        found = read(&fixture.broker, &dead.topic).await;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(texts(&found), [(SECRET.to_owned(), Vec::new())]);
    assert!(!is_stored(&fixture, &dead.topic, SECRET).await);
}
