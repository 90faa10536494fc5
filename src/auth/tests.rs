//! Users, tokens, roles and keys over the memory engine with a manual clock.

use super::*;
use crate::broker::{NewProject, Options, PageRequest};
use crate::clock::Clock;
use crate::domain::acl::RoleName;
use crate::domain::user::{Membership, Profile};
use crate::domain::{Name, ProjectId, Resource, Timestamp, UserId};
use crate::storage::memory::MemoryStore;
use crate::storage::{Key, Order, Store};
use crate::telemetry::metrics::Metrics;
use std::time::Duration;

const START: u64 = 1_700_000_000_000_000;

pub(super) struct World {
    store: Arc<dyn Store>,
    pub(super) clock: Clock,
    key_file: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        Self { store: Arc::new(MemoryStore::new()), clock: Clock::manual(START), key_file, _folder: folder }
    }

    /// One more node over the same store, with the keys that the file has now.
    pub(super) async fn node(&self) -> Result<Auth> {
        self.node_with(KeyRing::open(&self.key_file)?, RoleTable::new([("publish", &["publisher"][..])])).await
    }

    async fn node_with(&self, keys: KeyRing, defaults: RoleTable) -> Result<Auth> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let broker = Broker::start(self.store.clone(), self.clock.clone(), Options::default(), metrics).await?;
        Auth::start(broker, keys, defaults).await
    }

    /// Every document, as the store has it.
    async fn dump(&self) -> Vec<u8> {
        let all = self.store.scan(&Key::new(""), None, 10_000, Order::Ascending).await.unwrap();
        all.iter().flat_map(|(key, document)| [&key.0[..], &document.value[..]].concat()).collect()
    }

    async fn keys_of(&self, prefix: &str) -> usize {
        self.store.scan(&Key::new(prefix), None, 10_000, Order::Ascending).await.unwrap().len()
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn new_user(text: &str) -> NewUser {
    NewUser {
        name: name(text),
        profile: Profile { email: "a@example.org".to_owned(), ..Profile::default() },
        memberships: vec![Membership { project: ProjectId(7), roles: vec![RoleName::new("publisher")] }],
        service_roles: vec![RoleName::new("service_admin")],
        created_by: Some(UserId(3)),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn a_user_is_made_and_found_by_name_id_and_token() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let (alice, token) = auth.create_user(new_user("alice")).await.unwrap();
    assert_eq!(alice.created_at, Timestamp(START));
    assert_eq!(auth.user(&name("alice")).await.unwrap(), alice);
    assert_eq!(auth.user_by_id(alice.id).await.unwrap(), alice);
    assert_eq!(auth.user_by_token(&token).await.unwrap(), Some(alice.clone()));
    assert_eq!(auth.token_of(alice.id).await.unwrap().reveal(), token.reveal());
    for nobody in ["", "x", &"x".repeat(5_000)] {
        assert_eq!(auth.user_by_token(&Token::new(nobody)).await.unwrap(), None);
    }
    let again = auth.create_user(new_user("alice")).await.map(|_| ());
    assert_eq!(again, Err(Error::AlreadyExists(Resource::User)));
    assert_eq!(auth.user(&name("bob")).await, Err(Error::NotFound(Resource::User)));
    assert_eq!(world.keys_of("user-token/").await, 1, "a refused creation leaves no token");
}

#[tokio::test]
async fn no_secret_stands_in_the_store_or_in_debug_output() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let (alice, token) = auth.create_user(new_user("alice")).await.unwrap();
    assert!(!contains(&world.dump().await, token.reveal().as_bytes()));
    let account = auth.inner.broker.live_now::<crate::broker::codec::document::Account>(&alice.id).await.unwrap();
    let key_file = std::fs::read_to_string(&world.key_file).unwrap();
    let secret = key_file.lines().last().unwrap().split_once(' ').unwrap().1.to_owned();
    let printed = format!("{auth:?} {account:?} {token:?} {alice:?} {:?}", auth.inner.keys);
    assert!(!printed.contains(token.reveal()) && !printed.contains(&secret));
    assert!(!printed.contains(&tokens::hex(&account.token_hash.0)), "{printed}");
    assert!(contains(printed.as_bytes(), b"Sealed(key 1"), "{printed}");
}

#[tokio::test]
async fn a_change_touches_only_what_it_names() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let (alice, token) = auth.create_user(new_user("alice")).await.unwrap();
    auth.create_user(new_user("bob")).await.unwrap();
    world.clock.advance(Duration::from_secs(3));
    let change = UserChange { name: Some(name("alicia")), service_roles: Some(Vec::new()), ..UserChange::default() };
    let changed = auth.update_user(alice.id, change).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.service_roles.len()), ("alicia", 0));
    assert_eq!((&changed.memberships, &changed.profile), (&alice.memberships, &alice.profile));
    assert_eq!((changed.created_at, changed.modified_at), (Timestamp(START), Timestamp(START + 3_000_000)));
    assert_eq!(auth.user_by_token(&token).await.unwrap(), Some(changed.clone()));
    assert_eq!(auth.user(&name("alice")).await, Err(Error::NotFound(Resource::User)));
    let taken = UserChange { name: Some(name("bob")), ..UserChange::default() };
    assert_eq!(auth.update_user(alice.id, taken).await, Err(Error::AlreadyExists(Resource::User)));
    assert_eq!(auth.user(&name("alicia")).await.unwrap(), changed);
    let unknown = auth.update_user(UserId(1), UserChange::default()).await;
    assert_eq!(unknown, Err(Error::NotFound(Resource::User)));
}

#[tokio::test]
async fn a_refreshed_token_kills_the_old_one_at_once_here_and_within_the_bound_elsewhere() {
    let world = World::new();
    let (here, there) = (world.node().await.unwrap(), world.node().await.unwrap());
    let (alice, old) = here.create_user(new_user("alice")).await.unwrap();
    assert!(there.user_by_token(&old).await.unwrap().is_some());
    world.clock.advance(Duration::from_millis(100));
    let new = here.refresh_token(alice.id).await.unwrap();
    assert_eq!(here.user_by_token(&old).await.unwrap(), None);
    assert_eq!(here.user_by_token(&new).await.unwrap(), Some(alice.clone()), "modified_at stays");
    assert_eq!(
        there.user_by_token(&new).await.unwrap(),
        Some(alice.clone()),
        "a cached account is no reason to refuse"
    );
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(there.user_by_token(&old).await.unwrap(), None);
    assert_eq!(there.token_of(alice.id).await.unwrap().reveal(), new.reveal());
    assert_eq!(world.keys_of("user-token/").await, 1);
    assert_eq!(here.refresh_token(UserId(1)).await.map(|_| ()), Err(Error::NotFound(Resource::User)));
}

#[tokio::test]
async fn a_removed_user_leaves_nothing_that_lets_in() {
    let world = World::new();
    let (here, there) = (world.node().await.unwrap(), world.node().await.unwrap());
    let (alice, token) = here.create_user(new_user("alice")).await.unwrap();
    assert!(there.user_by_token(&token).await.unwrap().is_some());
    here.delete_user(alice.id).await.unwrap();
    assert_eq!(here.user_by_token(&token).await.unwrap(), None);
    assert_eq!(here.user(&name("alice")).await, Err(Error::NotFound(Resource::User)));
    assert_eq!(here.token_of(alice.id).await.map(|_| ()), Err(Error::NotFound(Resource::User)));
    assert_eq!(here.delete_user(alice.id).await, Err(Error::NotFound(Resource::User)));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(there.user_by_token(&token).await.unwrap(), None);
    assert_eq!((world.keys_of("user-token/").await, world.keys_of("user/").await), (0, 0));
}

#[tokio::test]
async fn a_foreign_token_lets_in_and_cannot_be_given_twice() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let token = Token::new("short old token");
    let alice = auth.create_user_with_token(new_user("alice"), &token).await.unwrap();
    assert_eq!(auth.user_by_token(&token).await.unwrap(), Some(alice));
    for wrong in [token, Token::new(""), Token::new("x".repeat(TOKEN_BYTES_MAX + 1))] {
        let refused = auth.create_user_with_token(new_user("bob"), &wrong).await;
        assert!(matches!(refused, Err(Error::Invalid { what: "token", .. })), "{refused:?}");
    }
    assert_eq!(auth.users(PageRequest::default(), &|_| true).await.unwrap().total, 1);
}

#[tokio::test]
async fn users_are_listed_newest_first() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    for text in ["a", "b", "c", "d"] {
        auth.create_user(new_user(text)).await.unwrap();
    }
    let request = PageRequest { size: Some(2), from: None };
    let page = auth.users(request, &|user| user.name.as_str() != "c").await.unwrap();
    assert_eq!(page.items.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["d", "b"]);
    assert_eq!((page.total, page.next), (3, Some(auth.user(&name("a")).await.unwrap().id.0)));
}

#[tokio::test]
async fn a_forgotten_project_is_no_membership_any_more() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let project = NewProject { name: name("P"), description: String::new(), created_by: None };
    let project = auth.inner.broker.create_project(project).await.unwrap().id;
    let mut both = new_user("alice");
    both.memberships.push(Membership { project, roles: Vec::new() });
    let (alice, _) = auth.create_user(both).await.unwrap();
    let (bob, _) = auth.create_user(new_user("bob")).await.unwrap();
    auth.forget_project(project).await.unwrap();
    assert_eq!(auth.user_by_id(alice.id).await.unwrap().memberships, new_user("x").memberships);
    assert_eq!(auth.user_by_id(bob.id).await.unwrap(), bob);
}

#[tokio::test(start_paused = true)]
async fn a_name_given_up_by_a_user_rests_for_twice_the_cache_age() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let (alice, _) = auth.create_user(new_user("alice")).await.unwrap();
    auth.delete_user(alice.id).await.unwrap();
    let began = tokio::time::Instant::now();
    world.clock.advance(Duration::from_millis(500));
    let (second, _) = auth.create_user(new_user("alice")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(1_500));
    assert_eq!(auth.user(&name("alice")).await.unwrap(), second);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_changes_nothing() {
    let world = World::new();
    world.node().await.unwrap();
    let before = world.dump().await;
    let other = world.node_with(KeyRing::generate().unwrap(), RoleTable::default()).await.unwrap_err();
    assert!(other.to_string().contains("is not the one of this store"), "{other}");
    assert_eq!(world.dump().await, before);
    world.node().await.unwrap();
}

#[tokio::test]
async fn keys_are_rotated_while_users_come_and_go_and_the_old_one_is_then_not_needed() {
    let world = World::new();
    let auth = world.node().await.unwrap();
    let mut users = Vec::new();
    for text in ["a", "b", "c"] {
        users.push(auth.create_user(new_user(text)).await.unwrap());
    }
    KeyRing::add_key(&world.key_file).unwrap();
    let auth = world.node().await.unwrap();
    users.push(auth.create_user(new_user("d")).await.unwrap());
    for (user, token) in &users {
        assert_eq!(auth.user_by_token(token).await.unwrap().as_ref(), Some(user), "before");
    }
    // As after a rotation that was stopped.
    let (first, _) = users.first().unwrap();
    assert!(auth.renew_secret(first.id).await.unwrap());
    assert_eq!(auth.rotate().await.unwrap(), 2);
    assert_eq!(auth.rotate().await.unwrap(), 0);
    KeyRing::drop_old(&world.key_file).unwrap();
    let auth = world.node().await.unwrap();
    for (user, token) in &users {
        assert_eq!(auth.user_by_token(token).await.unwrap().as_ref(), Some(user), "after");
        assert_eq!(auth.token_of(user.id).await.unwrap().reveal(), token.reveal());
    }
    assert_eq!(world.keys_of("user-token/").await, 4);
}

#[tokio::test]
async fn the_old_key_alone_is_refused_after_a_rotation() {
    let world = World::new();
    world.node().await.unwrap();
    let old = std::fs::read(&world.key_file).unwrap();
    KeyRing::add_key(&world.key_file).unwrap();
    world.node().await.unwrap().rotate().await.unwrap();
    std::fs::write(&world.key_file, old).unwrap();
    assert!(world.node().await.is_err());
}

#[tokio::test]
async fn the_first_start_stores_the_roles_and_later_ones_add_what_is_new() {
    let world = World::new();
    let first = world.node().await.unwrap();
    let robot = RoleName::new("robot");
    assert!(!first.roles().await.unwrap().allows("publish", [robot.clone()].iter()));
    let newer = RoleTable::new([("publish", &["robot"][..]), ("seek", &["robot"])]);
    let second = world.node_with(KeyRing::open(&world.key_file).unwrap(), newer).await.unwrap();
    let table = second.roles().await.unwrap();
    assert!(!table.allows("publish", [robot.clone()].iter()), "the stored row decides");
    assert!(table.allows("publish", [RoleName::new("publisher")].iter()));
    assert!(table.allows("seek", [robot].iter()), "a new permission comes from the defaults");
    assert!(Arc::ptr_eq(&table, &second.roles().await.unwrap()), "made once");
}
