//! Which rule opens which operation, by the names that Zaqar has for them (`queues:create`), in the language of oslo.policy. Judges what
//! it is told of a bearer; who that is, is not its affair.

mod check;
mod file;

use check::{Attribute, Check, Text};
use std::collections::{BTreeMap, BTreeSet};

/// The rule that makes an administrator: what `is_admin:True` asks for.
const IS_ADMIN: &str = "context_is_admin";
/// The role that it, and each rule of [`GUARDED`], asks for.
const ADMIN: &str = "admin";

/// The operations that are open to everybody who is known.
const OPEN: &[&str] = &[
    "queues:get_all",
    "queues:create",
    "queues:get",
    "queues:delete",
    "queues:update",
    "queues:stats",
    "queues:share",
    "queues:purge",
    "messages:get_all",
    "messages:create",
    "messages:get",
    "messages:delete",
    "messages:delete_all",
    "claims:create",
    "claims:get",
    "claims:delete",
    "claims:update",
    "subscription:get_all",
    "subscription:create",
    "subscription:get",
    "subscription:delete",
    "subscription:update",
    "subscription:confirm",
    "topics:get_all",
    "topics:create",
    "topics:get",
    "topics:delete",
    "topics:update",
    "topics:stats",
    "topics:purge",
    "ping:get",
    "flavors:get_all",
    "flavors:get",
];

/// The operations that are an administrator's.
const GUARDED: &[&str] = &[
    "flavors:create",
    "flavors:delete",
    "flavors:update",
    "pools:get_all",
    "pools:create",
    "pools:get",
    "pools:delete",
    "pools:update",
    "health:get",
];

/// What is known of who asks. An empty text is unknown, and matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bearer<'a> {
    /// His id.
    pub user: &'a str,
    /// The id of his project, whose the things are that he reaches.
    pub project: &'a str,
    /// The id of his own domain.
    pub user_domain: &'a str,
    /// The id of his project's domain.
    pub project_domain: &'a str,
    /// His roles in the project, compared without case, as Keystone does.
    pub roles: &'a [String],
}

/// The rules in force. Every rule that one of them names is there, and none leads to itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    rules: BTreeMap<String, Check>,
}

impl Default for Policy {
    /// Zaqar's own rules: everything is open that is not an administrator's.
    fn default() -> Self {
        let admin = || Check::Role(Text::Literal(ADMIN.to_owned()));
        let open = OPEN.iter().map(|name| ((*name).to_owned(), Check::Always));
        let guarded = GUARDED.iter().map(|name| ((*name).to_owned(), admin()));
        let own = Check::Is(Attribute::Project, Text::Project);
        let helpers = [
            (IS_ADMIN.to_owned(), admin()),
            ("admin_or_owner".to_owned(), Check::Any(vec![Check::Admin("True".to_owned()), own])),
        ];
        Self { rules: open.chain(guarded).chain(helpers).collect() }
    }
}

impl Policy {
    /// The default rules with those of a policy file (YAML or JSON) in their place.
    ///
    /// # Errors
    /// What is wrong, and where: the text, a rule for an operation that there is not, a check that is not known (`http:` among them), a
    /// rule that names one that there is not, or leads to itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut policy = Self::default();
        for (name, check) in file::read(text)? {
            if name.contains(':') && !OPEN.contains(&name.as_str()) && !GUARDED.contains(&name.as_str()) {
                return Err(format!("there is no operation `{name}`; a helper's name has no colon"));
            }
            policy.rules.insert(name, check);
        }
        let mut sound = BTreeSet::new();
        for name in policy.rules.keys() {
            policy.follow(name, &mut Vec::new(), &mut sound)?;
        }
        Ok(policy)
    }

    /// Goes wherever a rule leads.
    fn follow<'a>(
        &'a self,
        name: &'a str,
        path: &mut Vec<&'a str>,
        sound: &mut BTreeSet<&'a str>,
    ) -> Result<(), String> {
        if sound.contains(name) {
            return Ok(());
        }
        let from = path.last().copied().unwrap_or_default();
        let check =
            self.rules.get(name).ok_or_else(|| format!("`{from}` names the rule `{name}`, which there is not"))?;
        if path.contains(&name) {
            return Err(format!("the rule `{name}` leads to itself: {} -> {name}", path.join(" -> ")));
        }
        path.push(name);
        let mut named = Vec::new();
        check.each(&mut |check| match check {
            Check::Rule(other) => named.push(other.as_str()),
            Check::Admin(_) => named.push(IS_ADMIN),
            _ => {}
        });
        for other in named {
            self.follow(other, path, sound)?;
        }
        path.pop();
        sound.insert(name);
        Ok(())
    }

    /// Whether a bearer may do what a rule names. What has no rule is open to nobody.
    #[must_use]
    pub fn may(&self, rule: &str, bearer: &Bearer<'_>) -> bool {
        self.rules.get(rule).is_some_and(|check| self.holds(check, bearer))
    }

    fn holds(&self, check: &Check, bearer: &Bearer<'_>) -> bool {
        match check {
            Check::Always => true,
            Check::Never => false,
            Check::All(checks) => checks.iter().all(|check| self.holds(check, bearer)),
            Check::Any(checks) => checks.iter().any(|check| self.holds(check, bearer)),
            Check::Not(check) => !self.holds(check, bearer),
            Check::Rule(name) => self.may(name, bearer),
            Check::Admin(wanted) => *wanted == if self.may(IS_ADMIN, bearer) { "True" } else { "False" },
            Check::Role(role) => bearer.roles.iter().any(|own| own.eq_ignore_ascii_case(role.of(bearer))),
            Check::Is(attribute, text) => {
                let own = attribute.of(bearer);
                !own.is_empty() && own == text.of(bearer)
            }
        }
    }
}

#[cfg(test)]
mod tests;
