//! A stopped service's store into a file, and back: the engine, the keys, and what an export leaves out.

use super::engine::Engine;
use super::foundation::{Foundation, in_cluster};
use super::private;
use super::service::retention;
use crate::api::ams::takeover::{Taken, Takeover};
use crate::broker::codec::document::{Account, Truth, decode, encode};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::acl::RoleName;
use crate::domain::user::{Membership, User};
use crate::storage::transfer::{self, Progress, Tell};
use crate::storage::{Key, Order, Store};
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The role of the original that may do everything; whoever moves a store seldom means to carry it along.
const ADMIN: &str = "_admin_";
/// Where heartbeats stand, which nobody takes along.
const BEATS: &str = "node/at/";
/// Twice a node's heartbeat.
const LISTEN: Duration = Duration::from_millis(2_500);

/// Writes the configured store into a file.
///
/// # Errors
/// When the store is at work, or as [`transfer::export`].
pub(crate) async fn export(
    config: &Config,
    file: &Path,
    passphrase: &str,
    keep_admin: bool,
    tell: &mut Tell<'_>,
) -> Result<Progress, String> {
    let path = config.key_file().ok_or("a store in memory cannot be exported: it ends with its process")?;
    let keys = std::fs::read(&path).map_err(|error| format!("secrets.key_file: {}: {error}", path.display()))?;
    let engine = open(config).await?;
    let choose = |key: &Key, value: Bytes| choose(key, value, keep_admin);
    let done = transfer::export(&*engine.store(), file, &keys, passphrase, &choose, tell).await;
    close(engine, done).await
}

/// Takes a file into the configured store, which is fresh or holds a part of the same import. The key file is made.
///
/// # Errors
/// When the store is at work, another key file is there, or as [`transfer::import`].
pub(crate) async fn import(
    config: &Config,
    file: &Path,
    passphrase: &str,
    tell: &mut Tell<'_>,
) -> Result<Progress, String> {
    let path = config.key_file().ok_or("a store in memory takes no import: it ends with its process")?;
    let take_keys = |keys: &[u8]| match std::fs::read(&path) {
        Ok(present) if present == keys => Ok(()),
        Ok(_) => {
            Err(format!("{} holds other keys than the export: move it away, or name another file", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            private::write(&path, keys).map_err(|error| format!("{}: {error}", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
    let engine = open(config).await?;
    let done = transfer::import(&*engine.store(), file, passphrase, take_keys, tell).await;
    close(engine, done).await
}

/// Takes the data of an ARGO Messaging Service over into the configured store; how much that was. The key file is made if it is missing.
///
/// # Errors
/// When the store is at work, or as [`Takeover::run`].
pub(crate) async fn import_ams(config: &Config, folder: &Path, keep_admin: bool) -> Result<Taken, String> {
    // Only looks whether anybody is at work.
    open(config).await?.close().await.map_err(|error| error.to_string())?;
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let foundation = Foundation::open(config, &Clock::System, &metrics).await?;
    let Foundation { broker, auth, .. } = &foundation;
    let takeover = Takeover { broker, auth, folder, keep_admin, retention: retention(config) };
    let done = takeover.run().await;
    let closed = foundation.close().await;
    // The first failure is the one to tell.
    done.and_then(|taken| closed.map(|()| taken))
}

async fn open(config: &Config) -> Result<Engine, String> {
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let engine = Engine::open(config, &Clock::System, &metrics).await?;
    // A store in a folder is locked; in a cluster, only heartbeats tell.
    if in_cluster(config) && anybody_beats(&*engine.store()).await? {
        return Err(format!("nodes are at work on {}: stop them all first", config.store.url));
    }
    Ok(engine)
}

async fn close(engine: Engine, done: Result<Progress, String>) -> Result<Progress, String> {
    let closed = engine.close().await;
    // The first failure is the one to tell.
    done.and_then(|progress| closed.map(|()| progress))
}

async fn anybody_beats(store: &dyn Store) -> Result<bool, String> {
    let look = async || {
        let beats = store.scan(&Key::new(BEATS), None, 1_000, Order::Ascending).await;
        beats.map_err(|error| error.to_string())
    };
    let before = look().await?;
    tokio::time::sleep(LISTEN).await;
    Ok(look().await?.into_iter().any(|beat| !before.contains(&beat)))
}

/// What an export takes of a document.
fn choose(key: &Key, value: Bytes, keep_admin: bool) -> Result<Option<Bytes>, String> {
    if key.0.starts_with(BEATS.as_bytes()) {
        return Ok(None);
    }
    if keep_admin || !key.0.starts_with(b"user/") {
        return Ok(Some(value));
    }
    let (nonce, truth) = decode::<Truth<Account>>(&value).map_err(|error| format!("{key}: {error}"))?;
    let user = &truth.thing.user;
    let has = |roles: &[RoleName]| roles.iter().any(|role| role.as_str() == ADMIN);
    if !has(&user.service_roles) && !user.memberships.iter().any(|membership| has(&membership.roles)) {
        return Ok(Some(value));
    }
    let without = |roles: &[RoleName]| roles.iter().filter(|role| role.as_str() != ADMIN).cloned().collect();
    let memberships = user
        .memberships
        .iter()
        .map(|membership| Membership { project: membership.project, roles: without(&membership.roles) });
    let user =
        User { memberships: memberships.collect(), service_roles: without(&user.service_roles), ..User::clone(user) };
    let account = Account { user: Arc::new(user), ..Account::clone(&truth.thing) };
    let changed = Truth { standing: truth.standing, claim: truth.claim, thing: Arc::new(account) };
    Ok(Some(encode(&changed, nonce)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::codec::document::{Sealed, Standing, TokenHash};
    use crate::domain::user::Profile;
    use crate::domain::{Name, ProjectId, Timestamp, UserId};
    use crate::storage::Nonce;

    fn account(service: &[&str], project: &[&str]) -> Bytes {
        let roles = |names: &[&str]| names.iter().map(|name| RoleName::new(name)).collect();
        let user = User {
            id: UserId(1),
            name: Name::new("u").unwrap(),
            profile: Profile::default(),
            memberships: vec![Membership { project: ProjectId(2), roles: roles(project) }],
            service_roles: roles(service),
            created_at: Timestamp(3),
            modified_at: Timestamp(4),
            created_by: None,
        };
        let token = Sealed { key: 1, bytes: vec![1] };
        let account = Account { user: Arc::new(user), token_hash: TokenHash([7; 32]), token };
        encode(&Truth { standing: Standing::Live, claim: None, thing: Arc::new(account) }, Nonce::default())
    }

    #[test]
    fn the_pseudo_role_stays_behind_unless_it_is_asked_for() {
        let user = Key::new("user/1");
        let with = account(&["_admin_", "service_admin"], &["publisher", "_admin_"]);
        assert_eq!(choose(&user, with.clone(), false), Ok(Some(account(&["service_admin"], &["publisher"]))));
        assert_eq!(choose(&user, with.clone(), true), Ok(Some(with)));
        let without = account(&["service_admin"], &[]);
        assert_eq!(choose(&user, without.clone(), false), Ok(Some(without)));
        let other = Bytes::from_static(b"no account");
        assert_eq!(choose(&Key::new("user-name/u"), other.clone(), false), Ok(Some(other)));
        assert_eq!(choose(&Key::new("node/at/1"), Bytes::new(), true), Ok(None));
    }
}
