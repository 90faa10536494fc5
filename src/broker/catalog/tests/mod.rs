//! The catalogue over the memory engine with a manual clock.

mod interrupted;
mod names;
pub(crate) mod world;

use super::*;
use crate::broker::NewMessage;
use crate::domain::push::Push;
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Name, ProjectId, Resource};
use crate::storage::memory::MemoryStore;
use crate::storage::{LogId, Offset, Store};
use std::time::Duration;

pub(crate) const START: u64 = 1_700_000_000_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) async fn broker_over(store: Arc<dyn Store>, clock: &Clock) -> Broker {
    // The tests sweep by themselves.
    let options = Options { maintenance_every: Duration::MAX / 4, ..Options::default() };
    Broker::start(store, clock.clone(), options, Arc::new(Metrics::new().unwrap())).await.unwrap()
}

/// A broker over a fresh memory store, with its clock.
pub(crate) async fn fresh() -> (Broker, Clock) {
    let clock = Clock::manual(START);
    (broker_over(Arc::new(MemoryStore::new()), &clock).await, clock)
}

pub(crate) fn new_project(text: &str) -> NewProject {
    NewProject { name: name(text), description: "first".to_owned(), created_by: Some(UserId(9)) }
}

pub(crate) fn new_topic(text: &str) -> NewTopic {
    NewTopic { name: name(text), retention: Retention::default(), schema: None, created_by: None }
}

pub(crate) fn new_subscription(text: &str, topic: &str) -> NewSubscription {
    let settings = Settings {
        mode: AckMode::Cumulative,
        ack_deadline: Duration::from_secs(10),
        max_attempts: None,
        dead_letter_topic: None,
        dead_letter_ttl: None,
    };
    NewSubscription { name: name(text), topic: name(topic), settings, push: None, acl: Vec::new(), created_by: None }
}

async fn topic_names(broker: &Broker, project: ProjectId) -> Vec<String> {
    let page = broker.topics(project, PageRequest::default(), &|_| true).await.unwrap();
    page.items.iter().map(|topic| topic.name.to_string()).collect()
}

#[tokio::test]
async fn a_project_is_made_found_changed_and_removed() {
    let (broker, clock) = fresh().await;
    let made = broker.create_project(new_project("P")).await.unwrap();
    assert_eq!(broker.project(&name("P")).await.unwrap(), made);
    assert_eq!(broker.project_by_id(made.id).await.unwrap(), made);
    assert_eq!(made.created_at, Timestamp(START));
    assert_eq!(broker.create_project(new_project("P")).await, Err(Error::AlreadyExists(Resource::Project)));
    clock.advance(Duration::from_secs(5));
    let change = ProjectChange { name: Some(name("Q")), description: None };
    let changed = broker.update_project(made.id, change).await.unwrap();
    assert_eq!((changed.id, changed.name.as_str(), changed.description.as_str()), (made.id, "Q", "first"));
    assert_eq!((changed.created_at, changed.modified_at), (Timestamp(START), Timestamp(START + 5_000_000)));
    assert_eq!(broker.project(&name("Q")).await.unwrap(), changed);
    assert_eq!(broker.project(&name("P")).await, Err(Error::NotFound(Resource::Project)));
    broker.delete_project(made.id).await.unwrap();
    assert_eq!(broker.project(&name("Q")).await, Err(Error::NotFound(Resource::Project)));
    assert_eq!(broker.delete_project(made.id).await, Err(Error::NotFound(Resource::Project)));
    assert_eq!(broker.projects().await.unwrap(), []);
}

#[tokio::test]
async fn projects_are_listed_in_creation_order() {
    let (broker, _) = fresh().await;
    for text in ["c", "a", "b"] {
        broker.create_project(new_project(text)).await.unwrap();
    }
    let names: Vec<_> = broker.projects().await.unwrap().iter().map(|project| project.name.to_string()).collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[tokio::test]
async fn a_rename_to_a_name_in_use_is_refused_and_changes_nothing() {
    let (broker, _) = fresh().await;
    let first = broker.create_project(new_project("P")).await.unwrap();
    let second = broker.create_project(new_project("Q")).await.unwrap();
    let change = ProjectChange { name: Some(name("P")), description: Some("other".to_owned()) };
    assert_eq!(broker.update_project(second.id, change).await, Err(Error::AlreadyExists(Resource::Project)));
    assert_eq!(broker.project(&name("P")).await.unwrap(), first);
    assert_eq!(broker.project(&name("Q")).await.unwrap(), second);
    let unknown = broker.update_project(ProjectId(1), ProjectChange::default()).await;
    assert_eq!(unknown, Err(Error::NotFound(Resource::Project)));
}

#[tokio::test]
async fn a_topic_has_a_log_and_a_closed_one_when_it_is_removed() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    assert_eq!(broker.topic(project, &name("t")).await, Err(Error::NotFound(Resource::Topic)));
    let topic = broker.create_topic(project, new_topic("t")).await.unwrap();
    assert_eq!(broker.topic(project, &name("t")).await.unwrap(), topic, "absence is forgotten by the creation");
    assert_eq!(topic.incarnation, crate::domain::Incarnation(1));
    let bounds = broker.inner.store.bounds(LogId(topic.log.0)).await.unwrap().unwrap();
    assert_eq!((bounds.first, bounds.next), (Offset(0), Offset(0)));
    assert_eq!(broker.create_topic(project, new_topic("t")).await, Err(Error::AlreadyExists(Resource::Topic)));
    let change = TopicChange {
        acl: Some(vec![UserId(4), UserId(3)]),
        schema: Some(Some(crate::domain::SchemaId(8))),
        retention: None,
    };
    let changed = broker.update_topic(project, &name("t"), change).await.unwrap();
    assert_eq!(changed.acl, [UserId(4), UserId(3)]);
    assert_eq!(broker.topic(project, &name("t")).await.unwrap(), changed);
    let change = TopicChange { schema: Some(None), ..TopicChange::default() };
    let changed = broker.update_topic(project, &name("t"), change).await.unwrap();
    assert_eq!((changed.schema, changed.acl.len()), (None, 2));
    broker.delete_topic(project, &name("t")).await.unwrap();
    assert_eq!(broker.topic(project, &name("t")).await, Err(Error::NotFound(Resource::Topic)));
    assert_eq!(broker.inner.store.bounds(LogId(topic.log.0)).await.unwrap(), None);
    assert_eq!(broker.delete_topic(project, &name("t")).await, Err(Error::NotFound(Resource::Topic)));
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_again_is_at_once_another_incarnation() {
    let (broker, _) = fresh().await;
    let began = tokio::time::Instant::now();
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let first = broker.create_topic(project, new_topic("t")).await.unwrap();
    broker.delete_topic(project, &name("t")).await.unwrap();
    let second = broker.create_topic(project, new_topic("t")).await.unwrap();
    assert_eq!(second.incarnation, crate::domain::Incarnation(2));
    assert!(second.id > first.id && second.log != first.log);
    assert_eq!(broker.topic(project, &name("t")).await.unwrap(), second);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_topic_in_no_project_is_refused_and_leaves_nothing() {
    let (broker, _) = fresh().await;
    let made = broker.create_topic(ProjectId(1), new_topic("t")).await;
    assert_eq!(made, Err(Error::NotFound(Resource::Project)));
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_subscription_is_made_on_a_topic_and_outlives_it() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let missing = broker.create_subscription(project, new_subscription("s", "t")).await;
    assert_eq!(missing, Err(Error::NotFound(Resource::Topic)));
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), [], "a failed creation leaves no log");
    broker.create_topic(project, new_topic("t")).await.unwrap();
    let made = broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    assert_eq!(broker.subscription(project, &name("s")).await.unwrap(), made);
    let again = broker.create_subscription(project, new_subscription("s", "t")).await;
    assert_eq!(again, Err(Error::AlreadyExists(Resource::Subscription)));
    broker.delete_topic(project, &name("t")).await.unwrap();
    assert_eq!(broker.subscription(project, &name("s")).await.unwrap(), made);
    let mut settings = made.settings.clone();
    settings.ack_deadline = Duration::from_secs(60);
    let change = SubscriptionChange { settings: Some(settings.clone()), acl: Some(vec![UserId(1)]) };
    let changed = broker.update_subscription(project, &name("s"), change).await.unwrap();
    assert_eq!((changed.settings.ack_deadline.as_secs(), changed.acl.len()), (60, 1));
    settings.mode = AckMode::Individual;
    let change = SubscriptionChange { settings: Some(settings), acl: None };
    let refused = broker.update_subscription(project, &name("s"), change).await;
    assert!(matches!(refused, Err(Error::Invalid { what: "ack mode", .. })), "{refused:?}");
    broker.delete_subscription(project, &name("s")).await.unwrap();
    assert_eq!(broker.subscription(project, &name("s")).await, Err(Error::NotFound(Resource::Subscription)));
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_subscription_begins_at_its_topics_end() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let topic = broker.create_topic(project, new_topic("t")).await.unwrap();
    let mut batch = broker.batch();
    batch.push(&NewMessage { payload: b"before", ..NewMessage::default() }).unwrap();
    broker.publish(&topic, batch).await.unwrap();
    let subscription = broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    let mut batch = broker.batch();
    batch.push(&NewMessage { payload: b"after", ..NewMessage::default() }).unwrap();
    broker.publish(&topic, batch).await.unwrap();
    let progress = broker.progress(&subscription).await.unwrap();
    assert_eq!((progress.floor.0, progress.next.0, progress.backlog), (1, 2, 1));
}

#[tokio::test]
async fn the_subscriptions_of_a_topic_come_in_creation_order() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    for topic in ["t", "u"] {
        broker.create_topic(project, new_topic(topic)).await.unwrap();
    }
    for (subscription, topic) in [("z", "t"), ("y", "u"), ("x", "t")] {
        broker.create_subscription(project, new_subscription(subscription, topic)).await.unwrap();
    }
    let found = broker.subscriptions_of_topic(project, &name("t")).await.unwrap();
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["z", "x"]);
    let page = broker.subscriptions(project, PageRequest::default(), &|_: &Subscription| true).await.unwrap();
    assert_eq!(page.items.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["x", "y", "z"]);
}

#[tokio::test]
async fn topics_are_listed_newest_first_by_pages_that_survive_removals() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let other = broker.create_project(new_project("Q")).await.unwrap().id;
    broker.create_topic(other, new_topic("elsewhere")).await.unwrap();
    for number in 0..7 {
        broker.create_topic(project, new_topic(&format!("t{number}"))).await.unwrap();
    }
    let visible = |topic: &Topic| topic.name.as_str() != "t5";
    let page = |from| broker.topics(project, PageRequest { size: Some(2), from }, &visible);
    let names = |page: &Page<Arc<Topic>>| page.items.iter().map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    let first = page(None).await.unwrap();
    assert_eq!((names(&first), first.total), (vec!["t6".to_owned(), "t4".to_owned()], 6));
    let removed = broker.topic(project, &name("t3")).await.unwrap();
    assert_eq!(first.next, Some(removed.id.0));
    broker.delete_topic(project, &name("t3")).await.unwrap();
    let second = page(first.next).await.unwrap();
    assert_eq!((names(&second), second.total), (vec!["t2".to_owned(), "t1".to_owned()], 5));
    let third = page(second.next).await.unwrap();
    assert_eq!((names(&third), third.next), (vec!["t0".to_owned()], None));
}

#[tokio::test]
async fn a_listing_longer_than_one_scan_is_whole() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    for number in 0..1_003 {
        broker.create_topic(project, new_topic(&format!("t{number}"))).await.unwrap();
    }
    let page = broker.topics(project, PageRequest { size: Some(1), from: None }, &|_| true).await.unwrap();
    assert_eq!((page.total, page.items.first().map(|topic| topic.name.to_string())), (1_003, Some("t1002".to_owned())));
    broker.delete_project(project).await.unwrap();
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_removed_project_takes_everything_in_it_along() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let kept = broker.create_project(new_project("Q")).await.unwrap().id;
    for project in [project, kept] {
        broker.create_topic(project, new_topic("t")).await.unwrap();
        broker.create_topic(project, new_topic("gone")).await.unwrap();
        broker.delete_topic(project, &name("gone")).await.unwrap();
        broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    }
    broker.delete_project(project).await.unwrap();
    assert_eq!(topic_names(&broker, project).await, Vec::<String>::new());
    assert_eq!(broker.topic(project, &name("t")).await, Err(Error::NotFound(Resource::Topic)));
    assert_eq!(broker.subscription(project, &name("s")).await, Err(Error::NotFound(Resource::Subscription)));
    assert_eq!(topic_names(&broker, kept).await, ["t"]);
    assert_eq!(broker.inner.store.logs(None, 10).await.unwrap().len(), 2);
    let whole = crate::storage::Key::new("");
    let left = broker.inner.store.scan(&whole, None, 1_000, crate::storage::Order::Ascending).await.unwrap();
    let of_it = left.iter().filter(|(key, _)| format!("{key}").contains(&format!("{:032x}", project.0))).count();
    assert_eq!(of_it, 0, "{left:?}");
}

#[tokio::test]
async fn an_access_list_is_bounded() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    broker.create_topic(project, new_topic("t")).await.unwrap();
    let change = TopicChange { acl: Some(vec![UserId(1); ACL_USERS_MAX + 1]), ..TopicChange::default() };
    assert!(matches!(broker.update_topic(project, &name("t"), change).await, Err(Error::Invalid { what: "acl", .. })));
    let change = TopicChange { acl: Some(vec![UserId(1); ACL_USERS_MAX]), ..TopicChange::default() };
    broker.update_topic(project, &name("t"), change).await.unwrap();
}

#[tokio::test]
async fn identities_grow_also_when_the_clock_goes_back() {
    let (broker, clock) = fresh().await;
    let mut last = 0;
    for round in 0..1_000 {
        if round == 500 {
            clock.set_wall(START - 1_000_000);
        }
        let next = broker.fresh_identity(broker.now());
        assert!(next > last);
        last = next;
    }
}

#[tokio::test]
async fn who_listens_hears_of_every_subscription_that_is_made_changed_or_removed() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    broker.create_topic(project, new_topic("t")).await.unwrap();
    let mut changes = broker.subscription_changes();
    let made = broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    assert_eq!(changes.try_recv(), Ok((project, made.id)));
    let change = |_: Option<&Push>, acl: &mut Vec<UserId>| {
        acl.push(UserId(7));
        Ok(None)
    };
    let changed = broker.update_push(project, &made.name, change).await.unwrap();
    assert_eq!((changed.acl.as_slice(), changes.try_recv()), (&[UserId(7)][..], Ok((project, made.id))));
    assert_eq!(broker.all_subscriptions(&|_| true).await.unwrap(), [changed]);
    broker.delete_project(project).await.unwrap();
    assert_eq!(changes.try_recv(), Ok((project, made.id)));
    assert_eq!(broker.all_subscriptions(&|_| true).await.unwrap(), []);
    assert!(broker.subscription_by_id(project, made.id).await.is_err());
}
