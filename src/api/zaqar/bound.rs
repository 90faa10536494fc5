//! Queues that are an AMS project's topics, by a binding that the operator made: what a caller's roles count for there, and what he must
//! be to read, to write and to administer. Everybody else's queues are no affair of this file.
//!
//! Project administrators do everything. Publishers post and consumers list, claim and delete, if they are in the topic's access list:
//! as the user whose name is their id in Keystone.

use super::caller::Caller;
use super::error::{Failure, Refusal};
use super::projects::missing_is_none;
use super::{Zaqar, ZaqarOptions};
use crate::domain::acl::RoleName;
use crate::domain::topic::Topic;
use crate::domain::{Error, Name, UserId};
use std::collections::BTreeMap;

const ADMINISTRATOR: &str = "project_admin";
const PUBLISHER: &str = "publisher";
const CONSUMER: &str = "consumer";

/// Which projects are AMS projects at the same time, and what Keystone's roles count for in them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bindings {
    /// AMS projects by the ids of projects in Keystone.
    pub projects: BTreeMap<String, Name>,
    /// AMS roles by Keystone's roles, in lower case.
    pub roles: BTreeMap<String, Vec<RoleName>>,
    /// Whether publishers and consumers are held to topics' access lists.
    pub per_resource: bool,
}

impl Bindings {
    /// The AMS project that a project is bound to.
    pub(crate) fn project(&self, id: &str) -> Option<&Name> {
        self.projects.get(id)
    }

    /// Whether a caller's roles count for one of these.
    fn gives(&self, caller: &Caller, wanted: &[&str]) -> bool {
        let own = caller.roles.iter().filter_map(|role| self.roles.get(&role.to_ascii_lowercase()));
        own.flatten().any(|role| wanted.contains(&role.as_str()))
    }
}

/// Who may do what a rule names; none for what concerns no queue.
fn wanted(rule: &str) -> Option<&'static [&'static str]> {
    Some(match rule {
        "messages:create" => &[PUBLISHER],
        "messages:get_all" | "messages:get" | "messages:delete" | "messages:delete_all" => &[CONSUMER],
        "claims:create" | "claims:get" | "claims:update" | "claims:delete" => &[CONSUMER],
        "queues:get_all" | "queues:get" | "queues:stats" => &[PUBLISHER, CONSUMER],
        "ping:get" | "health:get" => return None,
        rule if rule.starts_with("pools:") || rule.starts_with("flavors:") => return None,
        _ => &[],
    })
}

/// Refuses what the caller's roles do not open in a bound project.
pub(crate) async fn check(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    caller: &Caller,
    rule: &str,
    queue: Option<&Name>,
) -> Result<(), Refusal> {
    let bindings = &options.bindings;
    let (Some(_), Some(wanted)) = (bindings.project(&caller.project), wanted(rule)) else { return Ok(()) };
    // Whom nobody knows could be anybody.
    if zaqar.keystone.is_none() {
        return Err(Failure::FORBIDDEN.into());
    }
    if bindings.gives(caller, &[ADMINISTRATOR]) {
        return Ok(());
    }
    let topic = match (queue, zaqar.project(&caller.project).await?) {
        (Some(queue), Some(project)) => missing_is_none(zaqar.broker.topic(project, queue).await)?,
        _ => None,
    };
    // Posting to what is not there would make it.
    let makes = topic.is_none() && rule == "messages:create";
    // An administrator signed.
    let open = if caller.signed { queue.is_some() } else { bindings.gives(caller, wanted) };
    if !open || makes {
        return Err(Failure::FORBIDDEN.into());
    }
    match topic {
        Some(topic) if !caller.signed && !sees(bindings, user(zaqar, caller).await?, &topic) => {
            Err(Failure::FORBIDDEN.into())
        }
        _ => Ok(()),
    }
}

/// What a caller sees of a project's queues.
pub(crate) async fn visible<'a>(
    zaqar: &Zaqar,
    options: &'a ZaqarOptions,
    caller: &Caller,
) -> Result<impl Fn(&Topic) -> bool + Sync + use<'a>, Refusal> {
    let bindings = &options.bindings;
    let free = bindings.project(&caller.project).is_none() || bindings.gives(caller, &[ADMINISTRATOR]);
    let user = if free { None } else { user(zaqar, caller).await? };
    Ok(move |topic: &Topic| free || sees(bindings, user, topic))
}

fn sees(bindings: &Bindings, user: Option<UserId>, topic: &Topic) -> bool {
    !bindings.per_resource || user.is_some_and(|user| topic.acl.contains(&user))
}

/// The user that a caller is in access lists, if there is one.
async fn user(zaqar: &Zaqar, caller: &Caller) -> Result<Option<UserId>, Refusal> {
    let (Some(users), Some(known)) = (&zaqar.users, &caller.known) else { return Ok(None) };
    let Ok(name) = Name::new(&known.identity.user) else { return Ok(None) };
    match users.user(&name).await {
        Ok(user) => Ok(Some(user.id)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
