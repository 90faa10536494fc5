//! Access lists of topics and subscriptions: names on the wire, ids in the documents.

use super::error::{Failure, Refusal};
use super::render::{self, Indent};
use super::request::{Answer, Call};
use super::users::creator;
use super::{Ams, bodies};
use crate::domain::{Error, Name, UserId, limits};

/// The body that shows a list; users who are gone are left out.
pub(crate) async fn shown(ams: &Ams, list: &[UserId]) -> Answer {
    let mut names = Vec::with_capacity(list.len());
    for id in list {
        names.push(creator(ams, Some(*id)).await?);
    }
    let present = names.iter().filter(|name| !name.is_empty());
    Ok(render::object(Indent::Three, |json| json.field("authorized_users").strings(present)))
}

/// Reads a list from a body: each name once, each a member of the path's project.
pub(crate) async fn read(call: &Call<'_>, what: &str) -> Result<Vec<UserId>, Refusal> {
    let names = bodies::list(&call.body, "authorized_users").ok().flatten().ok_or_else(|| Failure::arguments(what))?;
    if names.len() > limits::ACL_USERS_MAX {
        return Err(Failure::arguments(what).into());
    }
    let project = call.project_id()?;
    let (mut list, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for text in &names {
        let user = match Name::new(text) {
            Ok(name) => call.ams.auth.user(&name).await,
            Err(_) => Err(Error::NotFound(crate::domain::Resource::User)),
        };
        match user {
            Ok(user) if user.membership(project).is_none() => unknown.push(text.as_ref()),
            Ok(user) if list.contains(&user.id) => {}
            Ok(user) => list.push(user.id),
            Err(Error::NotFound(_)) => unknown.push(text.as_ref()),
            Err(error) => return Err(error.into()),
        }
    }
    if unknown.is_empty() {
        Ok(list)
    } else {
        Err(Failure::missing(format!("User(s): {} do not exist", unknown.join(", "))).into())
    }
}
