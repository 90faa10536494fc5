//! Who may do what: roles, the permissions that a role table grants, and access lists. Deny by default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The name of a role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(pub Arc<str>);

impl RoleName {
    /// A role of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which roles may do what. A permission is named by the operation it opens; an operation without a row is open to nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleTable {
    rows: BTreeMap<String, BTreeSet<RoleName>>,
}

impl RoleTable {
    /// A table of these rows; rows of one permission add up.
    #[must_use]
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) -> Self {
        let mut table = Self::default();
        for (permission, roles) in rows {
            table.rows.entry(permission.to_owned()).or_default().extend(roles.iter().copied().map(RoleName::new));
        }
        table
    }

    /// Whether any of the roles opens the permission.
    #[must_use]
    pub fn allows<'a>(&self, permission: &str, mut roles: impl Iterator<Item = &'a RoleName>) -> bool {
        self.rows.get(permission).is_some_and(|allowed| roles.any(|role| allowed.contains(role)))
    }

    /// Whether a role of this name occurs in any row.
    #[must_use]
    pub fn knows(&self, role: &RoleName) -> bool {
        self.rows.values().any(|roles| roles.contains(role))
    }

    /// The rows in permission order.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &BTreeSet<RoleName>)> {
        self.rows.iter().map(|(permission, roles)| (permission.as_str(), roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_row_grants_is_denied() {
        let table = RoleTable::new([
            ("publish", &["publisher", "admin"][..]),
            ("publish", &["robot"]),
            ("pull", &["consumer"]),
        ]);
        let publisher = [RoleName::new("publisher")];
        assert!(table.allows("publish", publisher.iter()));
        assert!(table.allows("publish", [RoleName::new("robot")].iter()));
        assert!(!table.allows("pull", publisher.iter()));
        assert!(!table.allows("delete", publisher.iter()));
        assert!(!table.allows("publish", [].iter()));
        assert!(table.knows(&RoleName::new("consumer")));
        assert!(!table.knows(&RoleName::new("nobody")));
    }
}
