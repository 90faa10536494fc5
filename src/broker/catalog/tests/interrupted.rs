//! Creations, renames and removals that end at any of their changes of the store: the next one can go on at once, and a sweep leaves
//! nothing behind.

use super::world::at_each_death;
use super::*;

/// A project with a topic and a subscription, and another project.
async fn scene(broker: &Broker) -> ProjectId {
    broker.create_project(new_project("Q")).await.unwrap();
    let project = broker.create_project(new_project("P")).await.unwrap().id;
    broker.create_topic(project, new_topic("t")).await.unwrap();
    broker.create_subscription(project, new_subscription("s", "t")).await.unwrap();
    project
}

/// What a name that may or may not be taken comes to when it is made again: it is there.
fn there<T>(made: Result<T>) {
    assert!(matches!(made, Ok(_) | Err(Error::AlreadyExists(_))), "{:?}", made.err());
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_creation_of_a_project() {
    at_each_death(
        scene,
        async |broker, _| broker.create_project(new_project("new")).await.map(|_| ()),
        async |broker, _, done| {
            assert!(!done || broker.project(&name("new")).await.is_ok());
            there(broker.create_project(new_project("new")).await);
            let project = broker.project(&name("new")).await.unwrap().id;
            broker.create_topic(project, new_topic("t")).await.unwrap();
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_creation_of_a_topic() {
    at_each_death(
        scene,
        async |broker, project| broker.create_topic(*project, new_topic("new")).await.map(|_| ()),
        async |broker, project, _| {
            there(broker.create_topic(*project, new_topic("new")).await);
            let topic = broker.topic(*project, &name("new")).await.unwrap();
            assert!(broker.inner.store.bounds(LogId(topic.log.0)).await.unwrap().is_some());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_creation_of_a_subscription() {
    at_each_death(
        scene,
        async |broker, project| broker.create_subscription(*project, new_subscription("new", "t")).await.map(|_| ()),
        async |broker, project, _| {
            there(broker.create_subscription(*project, new_subscription("new", "t")).await);
            let subscription = broker.subscription(*project, &name("new")).await.unwrap();
            assert!(broker.inner.store.bounds(LogId(subscription.log.0)).await.unwrap().is_some());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_rename() {
    at_each_death(
        scene,
        async |broker, project| {
            let change = ProjectChange { name: Some(name("new")), description: None };
            broker.update_project(*project, change).await.map(|_| ())
        },
        async |broker, project, done| {
            let (old, new) = (broker.project(&name("P")).await, broker.project(&name("new")).await);
            assert!(old.is_ok() != new.is_ok() && (!done || new.is_ok()), "one name holds: {old:?} {new:?}");
            assert_eq!(old.or(new).unwrap().id, *project);
            // Both names can be had: the one by the project itself, then the other one by another.
            let change = ProjectChange { name: Some(name("new")), description: None };
            broker.update_project(*project, change).await.unwrap();
            let other = broker.create_project(new_project("P")).await.unwrap();
            assert_eq!(broker.project(&name("P")).await.unwrap(), other);
            assert_eq!(broker.project(&name("new")).await.unwrap().id, *project);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_name_of_an_interrupted_rename_can_be_taken_by_another() {
    at_each_death(
        scene,
        async |broker, project| {
            let change = ProjectChange { name: Some(name("new")), description: None };
            broker.update_project(*project, change).await.map(|_| ())
        },
        async |broker, project, _| {
            there(broker.create_project(new_project("new")).await);
            let holder = broker.project(&name("new")).await.unwrap();
            let old = broker.project(&name("P")).await;
            assert!(old.is_ok() != (holder.id == *project), "{old:?} {holder:?}");
            assert!(broker.project_by_id(*project).await.is_ok());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_of_a_topic() {
    at_each_death(
        scene,
        async |broker, project| broker.delete_topic(*project, &name("t")).await,
        async |broker, project, done| {
            let still = broker.topic(*project, &name("t")).await;
            assert!(!done || still.is_err());
            there(broker.create_topic(*project, new_topic("t")).await);
            let topic = broker.topic(*project, &name("t")).await.unwrap();
            assert!(broker.inner.store.bounds(LogId(topic.log.0)).await.unwrap().is_some());
            let expected = if still.is_ok() { 1 } else { 2 };
            assert_eq!(topic.incarnation.0, expected, "a name counts its topics");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_of_a_subscription() {
    at_each_death(
        scene,
        async |broker, project| broker.delete_subscription(*project, &name("s")).await,
        async |broker, project, done| {
            assert!(!done || broker.subscription(*project, &name("s")).await.is_err());
            there(broker.create_subscription(*project, new_subscription("s", "t")).await);
            broker.subscription(*project, &name("s")).await.unwrap();
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_of_a_project() {
    at_each_death(
        scene,
        async |broker, project| broker.delete_project(*project).await,
        async |broker, project, done| {
            let still = broker.project_by_id(*project).await.is_ok();
            assert!(!(done && still));
            let made = broker.create_topic(*project, new_topic("late")).await;
            assert_eq!(made.is_ok(), still, "nothing is made in a project that is gone");
            there(broker.create_project(new_project("P")).await);
        },
    )
    .await;
}
