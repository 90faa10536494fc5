//! Bindings over the memory engine: made, found, changed, removed, by two nodes at a time.

use super::*;
use crate::auth::{KeyRing, NewUser};
use crate::broker::{Broker, Options};
use crate::clock::Clock;
use crate::domain::acl::RoleTable;
use crate::domain::user::Profile;
use crate::storage::Store;
use crate::storage::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use std::time::Duration;

/// Two nodes over one store.
async fn nodes() -> (Auth, Auth) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    let node = async || {
        let options = Options { cache_age: Duration::ZERO, ..Options::default() };
        let (clock, metrics) = (Clock::manual(1_700_000_000_000_000), Arc::new(Metrics::new().unwrap()));
        let broker = Broker::start(store.clone(), clock, options, metrics).await.unwrap();
        Auth::start(broker, KeyRing::open(&key_file).unwrap(), RoleTable::default()).await.unwrap()
    };
    (node().await, node().await)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn dn(text: &str) -> DistinguishedName {
    DistinguishedName::parse("subject", text).unwrap()
}

fn certificate(subject: &str) -> CertificateNames {
    CertificateNames { subject: dn(subject), issuer: dn("CN=CA,C=GR") }
}

async fn user(auth: &Auth, text: &str) -> UserId {
    let (memberships, service_roles) = (Vec::new(), Vec::new());
    let new = NewUser { name: name(text), profile: Profile::default(), memberships, service_roles, created_by: None };
    auth.create_user(new).await.unwrap().0.id
}

fn new_binding(text: &str, subject: &str, user: UserId) -> NewBinding {
    NewBinding { name: name(text), subject: dn(subject), issuer: None, user }
}

async fn found(auth: &Auth, subject: &str) -> Option<UserId> {
    auth.user_by_certificate(&certificate(subject)).await.unwrap().map(|(user, _)| user.id)
}

#[tokio::test]
async fn a_bound_subject_stands_for_its_user_on_every_node() {
    let (auth, other) = nodes().await;
    let robot = user(&auth, "robot").await;
    let made = auth.create_binding(new_binding("b", "/C=GR/CN=robot", robot)).await.unwrap();
    assert_eq!(other.binding(&name("b")).await.unwrap(), made);
    assert_eq!(other.bindings().await.unwrap(), [made]);
    for node in [&auth, &other] {
        assert_eq!(found(node, "CN=robot,C=GR").await, Some(robot));
        assert_eq!(found(node, "CN=Robot,C=GR").await, None);
        assert_eq!(found(node, "C=GR,CN=robot").await, None);
    }
}

#[tokio::test]
async fn names_and_subjects_are_bound_once() {
    let (auth, other) = nodes().await;
    let robot = user(&auth, "robot").await;
    auth.create_binding(new_binding("b", "CN=a", robot)).await.unwrap();
    let again = other.create_binding(new_binding("b", "CN=b", robot)).await;
    assert_eq!(again, Err(BindingError::NameTaken));
    let again = other.create_binding(new_binding("c", "cn = a", robot)).await;
    assert_eq!(again, Err(BindingError::SubjectTaken));
    assert_eq!(found(&other, "CN=b").await, None);
    assert_eq!(other.bindings().await.unwrap().len(), 1);
    auth.create_binding(new_binding("c", "CN=b", robot)).await.unwrap();
}

#[tokio::test]
async fn a_pinned_issuer_must_be_the_certificates() {
    let (auth, _) = nodes().await;
    let robot = user(&auth, "robot").await;
    let pinned = |issuer| NewBinding { issuer: Some(dn(issuer)), ..new_binding("b", "CN=a", robot) };
    auth.create_binding(pinned("CN=Other CA,C=GR")).await.unwrap();
    assert_eq!(found(&auth, "CN=a").await, None);
    let change = BindingChange { issuer: Some(Some(dn("CN=CA,C=GR"))), ..BindingChange::default() };
    auth.update_binding(&name("b"), change).await.unwrap();
    assert_eq!(found(&auth, "CN=a").await, Some(robot));
    let change = BindingChange { issuer: Some(None), ..BindingChange::default() };
    assert_eq!(auth.update_binding(&name("b"), change).await.unwrap().issuer, None);
}

#[tokio::test]
async fn a_changed_subject_leaves_the_old_one_free() {
    let (auth, other) = nodes().await;
    let (robot, second) = (user(&auth, "robot").await, user(&auth, "second").await);
    auth.create_binding(new_binding("b", "CN=a", robot)).await.unwrap();
    auth.create_binding(new_binding("c", "CN=c", robot)).await.unwrap();
    let to = |subject: &str| BindingChange { subject: Some(dn(subject)), ..BindingChange::default() };
    assert_eq!(other.update_binding(&name("b"), to("CN=c")).await, Err(BindingError::SubjectTaken));
    assert_eq!(found(&auth, "CN=a").await, Some(robot), "a refused change changes nothing");
    let changed = BindingChange { user: Some(second), ..to("CN=b") };
    other.update_binding(&name("b"), changed).await.unwrap();
    assert_eq!((found(&auth, "CN=a").await, found(&auth, "CN=b").await), (None, Some(second)));
    auth.create_binding(new_binding("d", "CN=a", robot)).await.unwrap();
    assert_eq!(auth.update_binding(&name("x"), to("CN=x")).await, Err(BindingError::NotFound));
}

#[tokio::test]
async fn a_removed_binding_and_a_removed_user_stand_for_nobody() {
    let (auth, other) = nodes().await;
    let robot = user(&auth, "robot").await;
    auth.create_binding(new_binding("b", "CN=a", robot)).await.unwrap();
    other.delete_binding(&name("b")).await.unwrap();
    assert_eq!(found(&auth, "CN=a").await, None);
    assert_eq!(other.delete_binding(&name("b")).await, Err(BindingError::NotFound));
    auth.create_binding(new_binding("c", "CN=a", robot)).await.unwrap();
    auth.delete_user(robot).await.unwrap();
    assert_eq!(found(&other, "CN=a").await, None);
}

#[tokio::test]
async fn a_hint_left_by_an_interrupted_creation_is_in_nobodys_way() {
    let (auth, other) = nodes().await;
    let robot = user(&auth, "robot").await;
    auth.claim_subject(&dn("CN=a"), &SubjectHint { name: name("never-made"), id: 1 }).await.unwrap();
    assert_eq!(found(&other, "CN=a").await, None);
    other.create_binding(new_binding("b", "CN=a", robot)).await.unwrap();
    assert_eq!(found(&auth, "CN=a").await, Some(robot));
}

#[tokio::test]
async fn a_hint_of_an_earlier_binding_of_the_same_name_binds_nothing() {
    let (auth, _) = nodes().await;
    let (robot, second) = (user(&auth, "robot").await, user(&auth, "second").await);
    let old = auth.create_binding(new_binding("b", "CN=a", robot)).await.unwrap();
    auth.delete_binding(&name("b")).await.unwrap();
    auth.create_binding(new_binding("b", "CN=b", second)).await.unwrap();
    auth.claim_subject(&dn("CN=a"), &SubjectHint { name: name("b"), id: old.id }).await.unwrap();
    assert_eq!(found(&auth, "CN=a").await, None);
    assert_eq!(found(&auth, "CN=b").await, Some(second));
}

#[tokio::test]
async fn of_many_who_bind_one_subject_at_once_one_does() {
    let (auth, other) = nodes().await;
    let robot = user(&auth, "robot").await;
    let names: Vec<String> = (0..16).map(|at| format!("b{at}")).collect();
    let bind = |(at, text): (usize, &String)| {
        let (node, new) = (if at % 2 == 0 { auth.clone() } else { other.clone() }, new_binding(text, "CN=a", robot));
        async move { node.create_binding(new).await }
    };
    let outcomes = futures_util::future::join_all(names.iter().enumerate().map(bind)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(auth.bindings().await.unwrap().len(), 1);
    assert_eq!(found(&other, "CN=a").await, Some(robot));
}
