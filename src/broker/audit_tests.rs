//! What becomes of calls that are told, and of who would forge or remove them.

use super::*;
use crate::broker::fixture::Fixture;
use crate::domain::Offset;
use crate::storage::faulty::Odds;

async fn audited() -> Fixture {
    let fixture = Fixture::new().await;
    let name = |text| Name::new(text).unwrap();
    fixture.broker.open_audit(name("ops"), name("audit"), Retention::default()).await.unwrap();
    fixture
}

fn attributes() -> Attributes {
    Attributes::from_pairs([("operation", "topics:create")])
}

#[tokio::test(start_paused = true)]
async fn a_call_is_in_the_topic_before_it_is_answered_and_nobody_else_writes_there() {
    let fixture = audited().await;
    let broker = &fixture.broker;
    let project = broker.project(&Name::new("ops").unwrap()).await.unwrap().id;
    let topic = broker.topic(project, &Name::new("audit").unwrap()).await.unwrap();
    broker.audit(b"{\"a\":1}".to_vec(), attributes()).await;
    let told = broker.browse(&topic, Offset(0), 10, 1 << 20).await.unwrap();
    assert_eq!(told.iter().map(|one| &one.message.payload.bytes[..]).collect::<Vec<_>>(), [b"{\"a\":1}"]);
    let mut batch = broker.batch();
    batch.push(&NewMessage { payload: b"forged", ..NewMessage::default() }).unwrap();
    assert_eq!(broker.publish(&topic, batch).await, Err(Error::Protected(Resource::Topic)));
    assert_eq!(broker.delete_topic(project, &topic.name).await, Err(Error::Protected(Resource::Topic)));
    assert_eq!(broker.delete_project(project).await, Err(Error::Protected(Resource::Project)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_told_goes_on_and_is_counted() {
    let fixture = audited().await;
    let begun = tokio::time::Instant::now();
    fixture.store.set_all_odds(Odds { refuse: 1_000, ..Odds::default() });
    fixture.broker.audit(b"{}".to_vec(), attributes()).await;
    assert!(begun.elapsed() <= 2 * PATIENCE);
    assert_eq!(fixture.broker.inner.metrics.audit_lost.get(), 1);
}
