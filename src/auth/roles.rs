//! The role table: as it was stored, with the product's rows for permissions that it does not speak of.
//!
//! The first start stores the default table. Later a stored row decides about its permission whatever newer defaults say; a
//! permission that came with a newer version of the product is open to the roles that its default row names.

use super::Auth;
use crate::broker::Broker;
use crate::broker::codec::document::StoredRoles;
use crate::broker::documents::keys::RolesKey;
use crate::domain::Result;
use crate::domain::acl::{RoleName, RoleTable};
use std::sync::Arc;

/// The table in force, with the stored one that it was made of.
pub(super) type InForce = (Arc<StoredRoles>, Arc<RoleTable>);

impl Auth {
    /// The role table in force. Cached for at most the broker's cache bound.
    pub async fn roles(&self) -> Result<Arc<RoleTable>> {
        let Some(stored) = self.documents().get(&RolesKey).await? else { return Ok(self.inner.defaults.clone()) };
        let known = self.inner.roles.load();
        if let Some((_, table)) = known.as_deref().filter(|(of, _)| Arc::ptr_eq(of, &stored)) {
            return Ok(table.clone());
        }
        let table = Arc::new(merged(&stored.0, &self.inner.defaults));
        self.inner.roles.store(Some(Arc::new((stored, table.clone()))));
        Ok(table)
    }
}

/// Stores the default table unless there is one.
pub(super) async fn seed(broker: &Broker, defaults: &RoleTable) -> Result<()> {
    if broker.documents().fetch(&RolesKey).await?.is_none() {
        broker.documents().put_new(&RolesKey, &StoredRoles(defaults.clone())).await?;
    }
    Ok(())
}

fn merged(stored: &RoleTable, defaults: &RoleTable) -> RoleTable {
    let known = |permission: &str| stored.rows().any(|(row, _)| row == permission);
    let rows = stored.rows().chain(defaults.rows().filter(|(permission, _)| !known(permission)));
    let rows: Vec<(&str, Vec<&str>)> =
        rows.map(|(permission, roles)| (permission, roles.iter().map(RoleName::as_str).collect())).collect();
    RoleTable::new(rows.iter().map(|(permission, roles)| (*permission, roles.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_row_decides_and_a_missing_one_comes_from_the_defaults() {
        let stored = RoleTable::new([("pull", &["robot"][..]), ("publish", &[])]);
        let defaults =
            RoleTable::new([("pull", &["consumer"][..]), ("publish", &["publisher"]), ("seek", &["consumer"])]);
        let expected = RoleTable::new([("pull", &["robot"][..]), ("publish", &[]), ("seek", &["consumer"])]);
        assert_eq!(merged(&stored, &defaults), expected);
    }
}
