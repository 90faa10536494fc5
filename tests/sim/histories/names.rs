//! A project renamed, and its name taken by another.

use super::{name, node, play};
use crate::world::World;
use angelia::broker::{NewProject, ProjectChange};
use angelia::domain::Error;
use std::time::Duration;

#[test]
fn a_name_given_up_never_leads_to_the_wrong_project() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (here, there) = (node(world, 0), node(world, 1));
            let old = world.project.get();
            let (given_up, other) = (name("project"), name("renamed"));
            assert_eq!(there.broker.project(&given_up).await.unwrap().id, old);
            let change = ProjectChange { name: Some(other.clone()), description: None };
            here.broker.update_project(old, change).await.unwrap();
            // While the name rests, another node may still take it for the old project, but for nothing else.
            let make = async {
                let new = NewProject { name: given_up.clone(), description: String::new(), created_by: None };
                here.broker.create_project(new).await.unwrap().id
            };
            let watch = async {
                loop {
                    match there.broker.project(&given_up).await {
                        Ok(found) if found.id != old => return found.id,
                        Ok(_) | Err(Error::NotFound(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            let (made, seen) = tokio::join!(make, watch);
            assert_eq!(made, seen);
            for looks in [&here, &there] {
                assert_eq!(looks.broker.project(&given_up).await.unwrap().id, made);
                assert_eq!(looks.broker.project(&other).await.unwrap().id, old);
                assert!(looks.broker.topic(old, &name("a")).await.is_ok(), "what the project holds stays with it");
                let empty = looks.broker.topic(made, &name("a")).await;
                assert!(matches!(empty, Err(Error::NotFound(_))), "{empty:?}");
            }
        },
    );
}

#[test]
fn nobody_takes_a_new_project_for_the_old_one_once_it_has_been_made() {
    play(
        2,
        |_| {},
        async |world: &World| {
            let (here, there) = (node(world, 0), node(world, 1));
            let old = world.project.get();
            let change = ProjectChange { name: Some(name("renamed")), description: None };
            here.broker.update_project(old, change).await.unwrap();
            assert!(matches!(here.broker.project(&name("project")).await, Err(Error::NotFound(_))));
            // The other node reads the old name in the last moment.
            let _ = there.broker.project(&name("project")).await;
            let new = NewProject { name: name("project"), description: String::new(), created_by: None };
            let made = here.broker.create_project(new).await.unwrap().id;
            match there.broker.project(&name("project")).await {
                Ok(found) => assert_eq!(found.id, made),
                Err(error) => assert!(matches!(error, Error::NotFound(_)), "{error}"),
            }
        },
    );
}
