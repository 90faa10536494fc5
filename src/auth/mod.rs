//! Who is asking: users, their tokens, and the role table. Decides who somebody is; what he may do is `domain::acl`.
//!
//! Tokens are found by a keyed hash and kept encrypted under the store's key; they appear in no log. Certificates stand for users
//! by bindings ([`x509`]).

#[cfg(test)]
mod interrupted_tests;
mod keys;
pub mod keystone;
pub mod policy;
mod registrations;
mod roles;
pub mod signed_url;
#[cfg(test)]
mod tests;
mod tokens;
mod users;
pub mod x509;

pub use keys::KeyRing;
pub use tokens::{TOKEN_BYTES_MAX, Token};
pub use users::{NewUser, UserChange};

use crate::broker::Broker;
use crate::broker::codec::document::KeyCheck;
use crate::broker::documents::Documents;
use crate::broker::documents::keys::KeyCheckKey;
use crate::domain::acl::RoleTable;
use crate::domain::{Error, Result};
use arc_swap::ArcSwapOption;
use std::sync::Arc;

/// What the check document holds in encrypted form.
const CHECK: &[u8] = b"angelia";
const CHECK_CONTEXT: &[u8] = b"key check";

/// Users and their tokens over the broker's documents. Clones share everything.
#[derive(Clone, Debug)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    broker: Broker,
    keys: Arc<KeyRing>,
    defaults: Arc<RoleTable>,
    roles: ArcSwapOption<roles::InForce>,
}

impl Auth {
    /// Users over a broker's documents. The first start marks the store as belonging to the current key and stores the default
    /// role table.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the store belongs to a key that the ring does not have; storage.
    pub async fn start(broker: Broker, keys: KeyRing, defaults: RoleTable) -> Result<Self> {
        check_keys(broker.documents(), &keys).await?;
        roles::seed(&broker, &defaults).await?;
        let keys = Arc::new(keys);
        broker.set_wrap(Arc::<KeyRing>::clone(&keys));
        let inner = Inner { broker, keys, defaults: Arc::new(defaults), roles: ArcSwapOption::empty() };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn documents(&self) -> &Documents {
        self.inner.broker.documents()
    }

    /// Makes everything anew that was made with an older key than the current one, the wrapping of data keys too; how many users that
    /// were. May be stopped and called again at any time. Afterwards the older keys are not needed any more, if all nodes have the current one in
    /// front.
    ///
    /// # Errors
    /// Storage; what was done stays done.
    pub async fn rotate(&self) -> Result<usize> {
        let mut renewed = 0;
        for id in self.users_of_older_keys().await? {
            renewed += usize::from(self.renew_secret(id).await?);
        }
        self.inner.broker.rewrap().await?;
        let check = new_check(&self.inner.keys)?;
        self.documents().update(&KeyCheckKey, |_old| Ok(check.clone())).await?;
        Ok(renewed)
    }
}

fn new_check(keys: &KeyRing) -> Result<KeyCheck> {
    Ok(KeyCheck { sealed: keys.seal(CHECK, CHECK_CONTEXT)? })
}

/// Checks that the ring has the key that the store belongs to; a store that belongs to none is the current one's from now on.
async fn check_keys(documents: &Documents, keys: &KeyRing) -> Result<()> {
    let present = match documents.fetch(&KeyCheckKey).await? {
        Some(present) => present,
        None => {
            documents.put_new(&KeyCheckKey, &new_check(keys)?).await?;
            // Another node may have been first.
            let vanished = || Error::Unavailable("the key's check document vanished while it was made".to_owned());
            documents.fetch(&KeyCheckKey).await?.ok_or_else(vanished)?
        }
    };
    match keys.unseal(&present.record.sealed, CHECK_CONTEXT) {
        Ok(text) if text == CHECK => Ok(()),
        _ => Err(Error::Invalid {
            what: "key file",
            why: format!(
                "is not the one of this store, which belongs to key {} of another file: put a copy of that file back \
                 (tokens cannot be used without it)",
                present.record.sealed.key
            ),
        }),
    }
}
