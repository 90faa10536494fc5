//! Users whose making, change or removal ends at any of its changes of the store.

use super::*;
use crate::broker::catalog::tests::world::at_each_death;
use crate::domain::user::Profile;
use crate::domain::{Name, UserId};
use std::path::Path;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn new_user(text: &str) -> NewUser {
    let (memberships, service_roles) = (Vec::new(), Vec::new());
    NewUser { name: name(text), profile: Profile::default(), memberships, service_roles, created_by: None }
}

async fn auth(broker: &Broker, key_file: &Path) -> Auth {
    Auth::start(broker.clone(), KeyRing::open(key_file).unwrap(), RoleTable::default()).await.unwrap()
}

/// Alice, with her token.
async fn scene(broker: &Broker, key_file: &Path) -> (UserId, Token) {
    let (alice, token) = auth(broker, key_file).await.create_user(new_user("alice")).await.unwrap();
    (alice.id, token)
}

fn there<T>(made: Result<T>) {
    assert!(matches!(made, Ok(_) | Err(Error::AlreadyExists(_))), "{:?}", made.err());
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_creation_of_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let token = Token::new("foreign");
    at_each_death(
        async |broker| scene(broker, &file).await,
        async |broker, _| auth(broker, &file).await.create_user_with_token(new_user("bob"), &token).await.map(|_| ()),
        async |broker, _, done| {
            let auth = auth(broker, &file).await;
            assert!(!done || auth.user_by_token(&token).await.unwrap().is_some());
            if auth.user(&name("bob")).await.is_err() {
                auth.create_user_with_token(new_user("bob"), &token).await.unwrap();
            }
            let bob = auth.user(&name("bob")).await.unwrap();
            assert_eq!(auth.user_by_token(&token).await.unwrap(), Some(bob));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_refresh_leaves_exactly_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    at_each_death(
        async |broker| scene(broker, &file).await,
        async |broker, (alice, _)| auth(broker, &file).await.refresh_token(*alice).await.map(|_| ()),
        async |broker, (alice, old), done| {
            let auth = auth(broker, &file).await;
            let present = auth.token_of(*alice).await.unwrap();
            assert_eq!(auth.user_by_token(&present).await.unwrap().map(|user| user.id), Some(*alice));
            let old_lives = auth.user_by_token(old).await.unwrap().is_some();
            assert_eq!(old_lives, present.reveal() == old.reveal());
            assert!(!(done && old_lives));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_removal_of_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    at_each_death(
        async |broker| scene(broker, &file).await,
        async |broker, (alice, _)| auth(broker, &file).await.delete_user(*alice).await,
        async |broker, (alice, token), done| {
            let auth = auth(broker, &file).await;
            let still = auth.user_by_id(*alice).await.is_ok();
            assert_eq!(auth.user_by_token(token).await.unwrap().is_some(), still);
            assert!(!(done && still));
            there(auth.create_user(new_user("alice")).await);
            assert_eq!(auth.user(&name("alice")).await.unwrap().id == *alice, still);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_rename_of_a_user() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let change = UserChange { name: Some(name("bob")), ..UserChange::default() };
    at_each_death(
        async |broker| scene(broker, &file).await,
        async |broker, (alice, _)| auth(broker, &file).await.update_user(*alice, change.clone()).await.map(|_| ()),
        async |broker, (alice, token), _| {
            let auth = auth(broker, &file).await;
            let (old, new) = (auth.user(&name("alice")).await, auth.user(&name("bob")).await);
            assert!(old.is_ok() != new.is_ok());
            assert_eq!(auth.user_by_token(token).await.unwrap().map(|user| user.id), Some(*alice));
            there(auth.create_user(new_user("bob")).await);
        },
    )
    .await;
}
