//! Names under contention: several brokers over one store, claims that stall, names that rest, lost replies.

use super::world::{check, sweep};
use super::*;
use crate::broker::catalog::claim::struck_out;
use crate::broker::catalog::entity::Entity;
use crate::broker::codec::document::{Claim, Hint, Standing, Truth};
use crate::domain::project::Project;
use crate::storage::Version;
use crate::storage::faulty::{FaultyStore, Odds, Operation};
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

const NOWHERE: ProjectId = ProjectId(0);

fn faulty(seed: u64) -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), seed))
}

fn delays() -> Odds {
    Odds { delay: 900, delay_max: Duration::from_millis(30), ..Odds::default() }
}

#[tokio::test(start_paused = true)]
async fn of_many_that_want_one_name_exactly_one_gets_it() {
    for seed in 0..20 {
        let (store, clock) = (faulty(seed), Clock::manual(START));
        let brokers = [broker_over(store.clone(), &clock).await, broker_over(store.clone(), &clock).await];
        let project = brokers[0].create_project(new_project("P")).await.unwrap().id;
        store.set_all_odds(delays());
        let made = join_all((0..8).map(|n| brokers[n % 2].create_topic(project, new_topic("t")))).await;
        let won: Vec<_> = made.iter().flatten().collect();
        assert_eq!(won.len(), 1, "seed {seed}: {made:?}");
        let lost = |outcome: &Result<_>| matches!(outcome, Ok(_) | Err(Error::AlreadyExists(_) | Error::Changed));
        assert!(made.iter().all(lost), "seed {seed}: {made:?}");
        store.heal();
        let broker = broker_over(store, &clock).await;
        assert_eq!(broker.topic(project, &name("t")).await.as_ref(), Ok(won[0]));
        sweep(&broker, &clock).await;
        check(&broker).await;
        assert_eq!(topic_names(&broker, project).await, ["t"]);
    }
}

#[tokio::test(start_paused = true)]
async fn names_stay_unique_through_concurrent_changes_and_lost_replies() {
    for seed in 0..60 {
        let (store, clock) = (faulty(seed), Clock::manual(START));
        let brokers = [broker_over(store.clone(), &clock).await, broker_over(store.clone(), &clock).await];
        let mut ids = Vec::new();
        for text in ["a", "b", "c"] {
            ids.push(brokers[0].create_project(new_project(text)).await.unwrap().id);
        }
        for operation in [Operation::Put, Operation::Delete, Operation::Create, Operation::Close, Operation::Get] {
            let lost = if operation == Operation::Get { 0 } else { 60 };
            let odds = Odds { refuse: 20, lose_request: lost, lose_reply: lost, ..delays() };
            store.set_odds(operation, odds);
        }
        let work = (0..12).map(|n| {
            let (broker, id) = (&brokers[n % 2], ids[n % 3]);
            let text = ["a", "b", "c", "d"][(n * 7 + usize::try_from(seed).unwrap()) % 4];
            async move {
                let change = ProjectChange { name: Some(name(text)), description: None };
                match n % 4 {
                    0 => broker.create_project(new_project(text)).await.map(|_| ()),
                    1 if n == 5 => broker.delete_project(id).await,
                    _ => broker.update_project(id, change).await.map(|_| ()),
                }
            }
        });
        join_all(work).await;
        assert!(store.injected() > 0);
        store.heal();
        let broker = broker_over(store, &clock).await;
        let before = broker.projects().await.unwrap();
        sweep(&broker, &clock).await;
        check(&broker).await;
        assert_eq!(broker.projects().await.unwrap(), before, "seed {seed}: a sweep takes nothing that exists");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_stalls_loses_the_name_and_fails() {
    let (broker, clock) = fresh().await;
    let stalled = broker.create_project(new_project("P")).await.unwrap();
    let truth = broker.documents().fetch(&stalled.id).await.unwrap().unwrap();
    let making = Truth { standing: Standing::Claiming, ..Truth::clone(&truth.record) };
    broker.documents().put(&stalled.id, &making, truth.version).await.unwrap().unwrap();
    let began = Instant::now();
    let winner = broker.create_project(new_project("P")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(200), "it gets a moment, and its name does not rest");
    assert_ne!(winner.id, stalled.id);
    let truth = broker.documents().fetch(&stalled.id).await.unwrap().unwrap().record;
    assert_eq!(truth.standing, Standing::Deleting, "what it does next fails");
    sweep(&broker, &clock).await;
    check(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_that_stalls_loses_the_name_and_keeps_the_old_one() {
    let (broker, clock) = fresh().await;
    let stalled = broker.create_project(new_project("P")).await.unwrap();
    let truth = broker.documents().fetch(&stalled.id).await.unwrap().unwrap();
    let renaming = Truth { claim: Some(Claim { name: name("Q"), ticket: 1 }), ..Truth::clone(&truth.record) };
    broker.documents().put(&stalled.id, &renaming, truth.version).await.unwrap().unwrap();
    broker.claim_name::<Project>(NOWHERE, &name("Q"), stalled.id.0).await.unwrap();
    let winner = broker.create_project(new_project("Q")).await.unwrap();
    assert_eq!(broker.project(&name("Q")).await.unwrap(), winner);
    assert_eq!(broker.project(&name("P")).await.unwrap(), stalled);
    assert_eq!(broker.documents().fetch(&stalled.id).await.unwrap().unwrap().record.claim, None);
    sweep(&broker, &clock).await;
    check(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn who_read_a_name_before_it_was_claimed_again_cannot_take_it() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    let key = Project::hint(NOWHERE, &name("P"));
    let read = broker.documents().fetch(&key).await.unwrap().unwrap();
    broker.claim_name::<Project>(NOWHERE, &name("P"), project.id.0).await.unwrap();
    let other = Hint { holder: Some(1), ..Hint::default() };
    assert_eq!(broker.documents().put(&key, &other, read.version).await.unwrap(), None);
}

/// Writes a project's truth while somebody else is changing it.
fn meddle(broker: &Broker, id: ProjectId, change: impl Fn(Truth<Project>) -> Truth<Project>) {
    let truth = broker.documents().fetch(&id).now_or_never().unwrap().unwrap().unwrap();
    let changed = change(Truth::clone(&truth.record));
    broker.documents().put(&id, &changed, truth.version).now_or_never().unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rename_does_not_finish_anothers_claim_of_the_same_name() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let (calls, wanted) = (AtomicUsize::new(0), name("Q"));
    let renamed = broker.alter(NOWHERE, project.0, Some(&wanted), |thing: &mut Project| {
        thing.name = name("Q");
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            let other = Claim { name: name("Q"), ticket: 2 };
            meddle(&broker, project, |truth| Truth { claim: Some(other.clone()), ..truth });
        }
        Ok(())
    });
    assert_eq!(renamed.await, Err(Error::Changed));
    let truth = broker.documents().fetch(&project).await.unwrap().unwrap().record;
    assert_eq!((truth.thing.name.as_str(), truth.claim.as_ref().map(|claim| claim.ticket)), ("P", Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_keeps_the_name_does_not_undo_a_rename() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    let (calls, wanted) = (AtomicUsize::new(0), name("P"));
    let changed = broker.alter(NOWHERE, project.0, Some(&wanted), |thing: &mut Project| {
        thing.name = name("P");
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            meddle(&broker, project, |mut truth| {
                Arc::make_mut(&mut truth.thing).name = name("Q");
                truth
            });
        }
        Ok(())
    });
    assert_eq!(changed.await, Err(Error::Changed));
    assert_eq!(broker.project_by_id(project).await.unwrap().name, name("Q"));
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_was_ended_meanwhile_fails() {
    let (broker, clock) = fresh().await;
    let thing = Project::clone(&*broker.create_project(new_project("Q")).await.unwrap());
    let thing = Project { id: ProjectId(77), name: name("P"), ..thing };
    let end = async {
        let truth = broker.documents().fetch(&ProjectId(77)).await?.unwrap();
        broker.documents().put(&ProjectId(77), &struck_out(&truth.record), truth.version).await?.unwrap();
        Ok(())
    };
    assert_eq!(broker.make(thing, end).await, Err(Error::Changed));
    assert_eq!(broker.project(&name("P")).await, Err(Error::NotFound(Resource::Project)));
    sweep(&broker, &clock).await;
    check(&broker).await;
}

#[tokio::test]
async fn a_project_that_is_gone_takes_nothing_in_even_where_it_is_cached() {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
    let (here, there) = (broker_over(store.clone(), &clock).await, broker_over(store, &clock).await);
    let project = here.create_project(new_project("P")).await.unwrap().id;
    here.create_topic(project, new_topic("t")).await.unwrap();
    there.project_by_id(project).await.unwrap();
    here.delete_project(project).await.unwrap();
    assert!(there.project_by_id(project).await.is_ok(), "it is cached");
    let gone = Error::NotFound(Resource::Project);
    assert_eq!(there.create_topic(project, new_topic("u")).await, Err(gone.clone()));
    assert_eq!(there.create_subscription(project, new_subscription("s", "t")).await, Err(gone));
    sweep(&here, &clock).await;
    check(&here).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_in_a_project_that_is_being_removed() {
    for seed in 0..40 {
        let (store, clock) = (faulty(seed), Clock::manual(START));
        let brokers = [broker_over(store.clone(), &clock).await, broker_over(store.clone(), &clock).await];
        let project = brokers[0].create_project(new_project("P")).await.unwrap().id;
        brokers[0].create_topic(project, new_topic("t")).await.unwrap();
        brokers[1].project_by_id(project).await.unwrap();
        store.set_all_odds(delays());
        let make = join_all((0..6).map(|n| {
            let broker = &brokers[n % 2];
            async move {
                tokio::time::sleep(Duration::from_millis(15 * n as u64)).await;
                let topic = format!("t{n}");
                broker.create_topic(project, new_topic(&topic)).await?;
                broker.create_subscription(project, new_subscription("s", &topic)).await
            }
        }));
        let (removed, _) = tokio::join!(brokers[0].delete_project(project), make);
        assert_eq!(removed, Ok(()));
        store.heal();
        let broker = broker_over(store, &clock).await;
        assert_eq!(topic_names(&broker, project).await, Vec::<String>::new(), "seed {seed}");
        sweep(&broker, &clock).await;
        check(&broker).await;
        assert_eq!(broker.inner.store.logs(None, 10).await.unwrap(), [], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_a_name_does_nothing_while_it_is_wanted_again() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    broker.give_up::<Project>(NOWHERE, &name("P"), project.id.0).await.unwrap();
    assert_eq!(broker.project(&name("P")).await.unwrap(), project);
    let other = broker.create_project(new_project("Q")).await.unwrap();
    broker.give_up::<Project>(NOWHERE, &name("P"), other.id.0).await.unwrap();
    assert_eq!(broker.project(&name("P")).await.unwrap(), project);
}

#[tokio::test(start_paused = true)]
async fn a_name_given_up_rests_for_others_and_not_for_its_former_holder() {
    let (broker, clock) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    let rename = |text| ProjectChange { name: Some(name(text)), description: None };
    broker.update_project(project.id, rename("Q")).await.unwrap();
    let began = Instant::now();
    broker.update_project(project.id, rename("P")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "its own former name");
    broker.create_project(new_project("Q")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2), "twice the cache's age for another");
    broker.delete_project(project.id).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let began = Instant::now();
    broker.create_project(new_project("P")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "the rest is over");
}

#[tokio::test(start_paused = true)]
async fn another_node_waits_in_full_unless_the_clocks_cannot_be_that_wrong() {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
    let (here, there) = (broker_over(store.clone(), &clock).await, broker_over(store, &clock).await);
    for (passed, waited) in [(11, 2), (12, 0)] {
        let project = here.create_project(new_project("P")).await.unwrap();
        here.delete_project(project.id).await.unwrap();
        clock.advance(Duration::from_secs(passed));
        let began = Instant::now();
        let made = there.create_project(new_project("P")).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), waited);
        there.delete_project(made.id).await.unwrap();
        clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn another_broker_is_late_by_at_most_the_cache_age() {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
    let (here, there) = (broker_over(store.clone(), &clock).await, broker_over(store, &clock).await);
    let project = here.create_project(new_project("P")).await.unwrap().id;
    let first = here.create_topic(project, new_topic("t")).await.unwrap();
    assert_eq!(there.topic(project, &name("t")).await.unwrap(), first);
    assert_eq!(there.topic(project, &name("u")).await, Err(Error::NotFound(Resource::Topic)));
    let acl = TopicChange { acl: Some(vec![UserId(5)]), ..TopicChange::default() };
    let changed = here.update_topic(project, &name("t"), acl).await.unwrap();
    let other = here.create_topic(project, new_topic("u")).await.unwrap();
    assert_eq!(here.topic(project, &name("t")).await.unwrap(), changed, "a change is seen at once where it was made");
    clock.advance(Duration::from_millis(499));
    assert_eq!(there.topic(project, &name("t")).await.unwrap(), first, "the cache is used");
    assert!(there.topic(project, &name("u")).await.is_err(), "for absence too");
    assert_eq!(there.topic_now(project, &name("t")).await.unwrap(), changed, "unless it is told not to be");
    clock.advance(Duration::from_millis(501));
    assert_eq!(there.topic(project, &name("t")).await.unwrap(), changed);
    assert_eq!(there.topic(project, &name("u")).await.unwrap(), other);
    here.delete_topic(project, &name("t")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(there.topic(project, &name("t")).await.is_err());
}

#[tokio::test]
async fn a_cached_name_of_a_topic_made_again_leads_to_the_new_one() {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
    let (here, there) = (broker_over(store.clone(), &clock).await, broker_over(store, &clock).await);
    let project = here.create_project(new_project("P")).await.unwrap().id;
    let first = here.create_topic(project, new_topic("t")).await.unwrap();
    there.topic(project, &name("t")).await.unwrap();
    here.delete_topic(project, &name("t")).await.unwrap();
    let second = here.create_topic(project, new_topic("t")).await.unwrap();
    // Only the old truth is looked at anew.
    there.documents().fetch(&first.key()).await.unwrap();
    assert_eq!(there.topic(project, &name("t")).await.unwrap(), second);
}

#[tokio::test]
async fn a_hint_that_its_truth_does_not_confirm_is_not_believed() {
    let (broker, _) = fresh().await;
    let project = broker.create_project(new_project("P")).await.unwrap();
    let forged = Hint { holder: Some(project.id.0), ..Hint::default() };
    broker.documents().put(&Project::hint(NOWHERE, &name("Q")), &forged, Version::ABSENT).await.unwrap().unwrap();
    assert_eq!(broker.project(&name("Q")).await, Err(Error::NotFound(Resource::Project)));
}
