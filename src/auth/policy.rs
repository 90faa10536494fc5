//! Which role opens which operation, by rules named as Zaqar names them (`queues:create`). Decides by roles alone; who bears them is not
//! its affair.

/// The role that the guarded rules ask for.
const ADMIN: &str = "admin";

/// What asks for the role: everything of health and pools, and changing flavors.
const GUARDED: &[&str] = &["health:", "pools:", "flavors:create", "flavors:update", "flavors:delete"];

/// Whether a caller with these roles may do what a rule names: Zaqar's defaults, by which everything is open that is not an
/// administrator's. Roles are compared without case, as Keystone does.
#[must_use]
pub fn may(rule: &str, roles: &[String]) -> bool {
    let guarded = GUARDED.iter().any(|guarded| rule.starts_with(guarded));
    !guarded || roles.iter().any(|role| role.eq_ignore_ascii_case(ADMIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_administrators_look_at_health_and_pools_and_change_flavors() {
        let (nobody, admin) = (Vec::new(), vec!["member".to_owned(), "Admin".to_owned()]);
        for open in
            ["queues:get_all", "queues:share", "messages:delete_all", "claims:create", "ping:get", "flavors:get"]
        {
            assert!(may(open, &nobody), "{open}");
        }
        for guarded in ["health:get", "pools:get_all", "pools:create", "flavors:update"] {
            assert!(!may(guarded, &nobody) && may(guarded, &admin), "{guarded}");
        }
    }
}
