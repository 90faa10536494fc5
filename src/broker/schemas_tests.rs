//! Messages held against the schemas of their topics, through changes of both.

use super::*;
use crate::broker::fixture::Fixture;
use crate::broker::{NewMessage, NewSchema, NewTopic, SchemaChange, TopicChange};
use crate::domain::schema::{Fault, SchemaKind};
use crate::domain::topic::Retention;
use crate::domain::{Name, ProjectId, Resource};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn json(payload: &str) -> Rules {
    Rules { kind: SchemaKind::Json, payload: payload.to_owned(), attributes: None }
}

async fn schema(broker: &Broker, project: ProjectId, text: &str, rules: Rules) -> Arc<Schema> {
    broker.create_schema(project, NewSchema { name: name(text), rules, created_by: None }).await.unwrap()
}

async fn topic(broker: &Broker, project: ProjectId, schema: Option<SchemaId>) -> Arc<Topic> {
    let new = NewTopic { name: name("checked"), retention: Retention::default(), schema, created_by: None };
    broker.create_topic(project, new).await.unwrap()
}

async fn publish(broker: &Broker, topic: &Topic, payloads: &[&[u8]]) -> Result<u32> {
    let mut batch = broker.batch();
    for payload in payloads {
        batch.push(&NewMessage { payload, ..NewMessage::default() }).unwrap();
    }
    broker.publish(topic, batch).await.map(|receipt| receipt.count)
}

#[tokio::test(start_paused = true)]
async fn a_request_with_one_bad_message_stores_nothing_and_says_which() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    let rules = schema(broker, project, "s", json(r#"{"required":["a"]}"#)).await;
    let topic = topic(broker, project, Some(rules.id)).await;
    let refused = publish(broker, &topic, &[br#"{"a":1}"#, b"{}", b"["]).await;
    let fault = Fault::Payload(vec!["(root): a is required".to_owned()]);
    assert_eq!(refused, Err(Error::Violation { message: 1, fault }));
    assert_eq!(broker.topic_bounds(&topic).await.unwrap().messages, 0);
    assert_eq!(publish(broker, &topic, &[br#"{"a":1}"#, br#"{"a":2}"#]).await, Ok(2));
    // Also one that is checked aside.
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    assert!(matches!(publish(broker, &topic, &[large.as_bytes()]).await, Err(Error::Violation { message: 0, .. })));
    assert_eq!(broker.topic_bounds(&topic).await.unwrap().messages, 2);
}

#[tokio::test(start_paused = true)]
async fn a_changed_schema_is_in_force_at_once_here_and_within_the_caches_age_elsewhere() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    let other = fixture.second().await;
    let first = schema(broker, project, "s", json("{}")).await;
    let topic = topic(broker, project, Some(first.id)).await;
    assert_eq!(publish(&other, &topic, &[b"1"]).await, Ok(1));
    let change = SchemaChange {
        name: Some(name("renamed")),
        payload: Some(r#"{"type":"string"}"#.to_owned()),
        ..SchemaChange::default()
    };
    let changed = broker.update_schema(project, &name("s"), change).await.unwrap();
    assert_eq!((changed.id, changed.revision), (first.id, 2));
    assert!(publish(broker, &topic, &[b"1"]).await.is_err());
    tokio::time::sleep(broker.inner.options.cache_age + std::time::Duration::from_millis(10)).await;
    assert!(publish(&other, &topic, &[b"1"]).await.is_err());
    assert_eq!(broker.schema(project, &name("s")).await, Err(Error::NotFound(Resource::Schema)));
}

#[tokio::test(start_paused = true)]
async fn a_removed_or_detached_schema_asks_nothing() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    let strict = schema(broker, project, "s", json("false")).await;
    let attached = topic(broker, project, Some(strict.id)).await;
    assert!(publish(broker, &attached, &[b"1"]).await.is_err());
    let detach = TopicChange { schema: Some(None), ..TopicChange::default() };
    let detached = broker.update_topic(project, &attached.name, detach).await.unwrap();
    assert_eq!(publish(broker, &detached, &[b"1"]).await, Ok(1));
    broker.delete_schema(project, &name("s")).await.unwrap();
    assert_eq!(publish(broker, &attached, &[b"1"]).await, Ok(1));
    assert_eq!(broker.schema_of(&attached).await, Ok(None));
    // Another of the same name is another schema.
    schema(broker, project, "s", json("false")).await;
    assert_eq!(publish(broker, &attached, &[b"1"]).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_schema_changes_nothing() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    let before = schema(broker, project, "s", json("{}")).await;
    schema(broker, project, "t", json("{}")).await;
    let bad = NewSchema { name: name("u"), rules: json(r#"{"type":5}"#), created_by: None };
    assert!(matches!(broker.create_schema(project, bad).await, Err(Error::Invalid { what: "schema", .. })));
    let taken = NewSchema { name: name("s"), rules: json("{}"), created_by: None };
    assert_eq!(broker.create_schema(project, taken).await, Err(Error::AlreadyExists(Resource::Schema)));
    for change in [
        SchemaChange { payload: Some(r#"{"type":5}"#.to_owned()), ..SchemaChange::default() },
        SchemaChange { kind: Some(SchemaKind::Avro), ..SchemaChange::default() },
        SchemaChange { name: Some(name("t")), ..SchemaChange::default() },
    ] {
        assert!(broker.update_schema(project, &name("s"), change).await.is_err());
    }
    let listed = broker.schemas(project).await.unwrap();
    assert_eq!((listed.len(), listed.first()), (2, Some(&before)));
}

#[tokio::test(start_paused = true)]
async fn compiled_schemas_are_bounded_and_old_revisions_go() {
    let schemas = Schemas::default();
    for id in 0..3_000 {
        schemas.place((SchemaId(id), 1));
    }
    assert!(schemas.kept.lock().len() <= KEPT_MAX);
    let schemas = Schemas::default();
    for revision in 1..10 {
        schemas.place((SchemaId(1), revision));
    }
    assert_eq!(schemas.kept.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_project_takes_its_schemas_along() {
    let fixture = Fixture::new().await;
    let (broker, project) = (&fixture.broker, fixture.project().await);
    schema(broker, project, "s", json("{}")).await;
    broker.delete_project(project).await.unwrap();
    assert_eq!(broker.schemas(project).await, Ok(Vec::new()));
    assert_eq!(broker.schema(project, &name("s")).await, Err(Error::NotFound(Resource::Schema)));
}
