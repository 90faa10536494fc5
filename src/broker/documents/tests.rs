//! Changes against unknown outcomes and other writers, over the memory engine.

use super::*;
use crate::broker::codec::document::{Hint, TokenHint};
use crate::domain::{Incarnation, Name, Resource};
use crate::storage::faulty::{Fault, FaultyStore, Operation};
use crate::storage::memory::MemoryStore;
use futures_util::future::join_all;

const START: u64 = 1_700_000_000_000_000;

fn documents(store: &Arc<FaultyStore>, clock: &Clock) -> Documents {
    let metrics = Arc::new(Metrics::new().unwrap());
    Documents::new(store.clone(), clock.clone(), metrics, Duration::from_secs(1), 600, &Random::System)
}

fn fresh() -> (Arc<FaultyStore>, Clock, Documents) {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let clock = Clock::manual(START);
    let documents = documents(&store, &clock);
    (store, clock, documents)
}

fn key(text: &str) -> HintKey {
    HintKey { of: Resource::Topic, scope: ProjectId(1), name: Name::new(text).unwrap() }
}

fn count(number: u64) -> Hint {
    Hint { incarnation: Incarnation(number), ..Hint::default() }
}

#[tokio::test]
async fn a_document_is_written_read_and_removed_by_its_version() {
    let (_store, _, documents) = fresh();
    assert!(documents.get(&key("a")).await.unwrap().is_none());
    let version = documents.put(&key("a"), &count(1), Version::ABSENT).await.unwrap().unwrap();
    assert_eq!(documents.get(&key("a")).await.unwrap().as_deref(), Some(&count(1)), "absence is forgotten");
    assert_eq!(documents.put(&key("a"), &count(2), Version::ABSENT).await.unwrap(), None);
    assert_eq!(documents.delete(&key("a"), Version(version.0 + 1)).await.unwrap(), None);
    assert_eq!(documents.get(&key("a")).await.unwrap().as_deref(), Some(&count(1)));
    assert!(documents.delete(&key("a"), version).await.unwrap().is_some());
    assert!(documents.get(&key("a")).await.unwrap().is_none(), "a removal is seen at once");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_resolved_by_reading_back() {
    let (store, _, documents) = fresh();
    store.fail_next(Operation::Put, Fault::LoseReply);
    let version = documents.put(&key("a"), &count(1), Version::ABSENT).await.unwrap().unwrap();
    assert_eq!(documents.fetch(&key("a")).await.unwrap().unwrap().version, version);
    store.fail_next(Operation::Put, Fault::LoseRequest);
    let version = documents.put(&key("a"), &count(2), version).await.unwrap().unwrap();
    assert_eq!(documents.get(&key("a")).await.unwrap().as_deref(), Some(&count(2)), "a lost request is made again");
    store.fail_next(Operation::Delete, Fault::LoseReply);
    assert!(documents.delete(&key("a"), version).await.unwrap().is_some());
    assert!(documents.get(&key("a")).await.unwrap().is_none());
    assert_eq!(documents.metrics.unknown_outcomes.with_label_values(&[LABEL]).get(), 3);
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_anothers_document_is_not_taken_for_ones_own() {
    let (store, clock, ours) = fresh();
    let theirs = documents(&store, &clock);
    theirs.put(&key("a"), &count(1), Version::ABSENT).await.unwrap().unwrap();
    store.fail_next(Operation::Put, Fault::LoseRequest);
    assert_eq!(ours.put(&key("a"), &count(1), Version::ABSENT).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_back_is_said_to_be_unknown_and_is_not_cached() {
    let (store, _, documents) = fresh();
    assert!(documents.get(&key("a")).await.unwrap().is_none());
    store.fail_next(Operation::Put, Fault::LoseReply);
    store.fail_next(Operation::Get, Fault::Refuse);
    let put = documents.put(&key("a"), &count(1), Version::ABSENT).await;
    assert!(matches!(put, Err(Error::OutcomeUnknown(_))), "{put:?}");
    assert!(documents.get(&key("a")).await.unwrap().is_some(), "it is read anew");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unknown_outcome_does_not_claim_that_nothing_happened() {
    let (store, _, documents) = fresh();
    store.fail_next(Operation::Put, Fault::LoseRequest);
    store.fail_next(Operation::Put, Fault::Refuse);
    let put = documents.put(&key("a"), &count(1), Version::ABSENT).await;
    assert!(matches!(put, Err(Error::OutcomeUnknown(_))), "{put:?}");
    store.fail_next(Operation::Put, Fault::Refuse);
    let put = documents.put(&key("a"), &count(1), Version::ABSENT).await;
    assert!(matches!(put, Err(Error::Unavailable(_))), "{put:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_updates_all_count() {
    let (store, clock, ours) = fresh();
    let theirs = documents(&store, &clock);
    ours.put(&key("a"), &count(0), Version::ABSENT).await.unwrap();
    for _ in 0..3 {
        store.fail_next(Operation::Put, Fault::LoseRequest);
    }
    let place = key("a");
    let add = |documents| Documents::update(documents, &place, |hint| Ok(count(hint.incarnation.0 + 1)));
    let added = join_all([&ours, &theirs, &ours, &theirs, &ours, &theirs].map(add)).await;
    assert!(added.iter().all(|added| matches!(added, Ok(Some(_)))), "{added:?}");
    assert_eq!(ours.fetch(&key("a")).await.unwrap().unwrap().record.incarnation, Incarnation(6));
}

#[tokio::test(start_paused = true)]
async fn an_update_ends_at_an_error_at_absence_and_when_others_never_let_it() {
    let (_store, _, documents) = fresh();
    assert!(documents.update(&key("a"), |hint| Ok(*hint)).await.unwrap().is_none());
    let version = documents.put(&key("a"), &count(0), Version::ABSENT).await.unwrap().unwrap();
    assert_eq!(documents.update(&key("a"), |_| Err(Error::TopicGone)).await, Err(Error::TopicGone));
    assert_eq!(documents.fetch(&key("a")).await.unwrap().unwrap().version, version);
    let place = key("a");
    let other = documents.update(&place, |hint| {
        // Somebody always comes between.
        let value = encode(&count(9), Nonce::default());
        let store = documents.store.clone();
        let present = futures_util::FutureExt::now_or_never(store.get(&key("a").key())).unwrap().unwrap().unwrap();
        futures_util::FutureExt::now_or_never(store.put(&key("a").key(), value, present.version)).unwrap().unwrap();
        Ok(*hint)
    });
    assert_eq!(other.await, Err(Error::Changed));
}

#[tokio::test]
async fn a_document_of_another_kind_is_damage_that_names_its_key() {
    let (store, _, documents) = fresh();
    let value = encode(&TokenHint { holder: UserId(1) }, Nonce::default());
    store.put(&key("a").key(), value, Version::ABSENT).await.unwrap();
    let error = documents.get(&key("a")).await.unwrap_err();
    assert!(matches!(&error, Error::Damaged(why) if why.contains("topic-name/") && why.contains("kind")), "{error}");
}

#[tokio::test]
async fn a_scan_goes_through_all_pages_in_order() {
    let (_store, _, documents) = fresh();
    for number in 0..2 * SCAN_PAGE {
        documents.put(&key(&format!("{number:05}")), &count(number as u64), Version::ABSENT).await.unwrap();
    }
    let prefix = Key::new(HintKey::prefix(Resource::Topic, ProjectId(1)));
    let mut seen = Vec::new();
    let each = |_, stored: Stored<Hint>| seen.push(stored.record.incarnation.0);
    documents.scan(&prefix, Order::Descending, each).await.unwrap();
    assert_eq!(seen, (0..2 * SCAN_PAGE as u64).rev().collect::<Vec<_>>());
}
