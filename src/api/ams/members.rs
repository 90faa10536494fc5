//! Members of a project: list, show, create, update, add, remove.

use super::bodies::{self, UserBody};
use super::error::{Failure, Refusal};
use super::request::{Answer, Call};
use super::users::{self, Memberships, refuse_known, roles};
use crate::auth::NewUser;
use crate::domain::user::{Membership, Profile, User};
use crate::domain::{ProjectId, Resource};
use std::borrow::Cow;
use std::sync::Arc;

impl Call<'_> {
    /// What this caller sees of a member: all, or what concerns the project.
    fn seen_memberships(&self, project: ProjectId) -> Memberships {
        if self.principal.is_privileged() { Memberships::All } else { Memberships::Only(project) }
    }

    /// The path's user, member or not.
    async fn user(&self) -> Result<Arc<User>, Refusal> {
        Ok(self.ams.auth.user(&self.name("user")?).await?)
    }

    /// The body that shows a member to this caller.
    async fn shown_member(&self, user: Arc<User>) -> Answer {
        let seen = self.seen_memberships(self.project_id()?);
        users::shown(self.ams, user, self.principal.is_privileged(), seen).await
    }
}

/// The members, newest first.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let project = call.project_id()?;
    let page = call.query.page(None)?;
    let seen = if call.query.is_true("details") { call.seen_memberships(project) } else { Memberships::Hidden };
    let page = call.ams.auth.users(page, &|user| user.membership(project).is_some()).await?;
    users::shown_page(call.ams, page, call.principal.is_privileged(), seen).await
}

/// One member.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    let user = call.user().await?;
    if user.membership(call.project_id()?).is_none() {
        return Err(crate::domain::Error::NotFound(Resource::User).into());
    }
    call.shown_member(user).await
}

/// The roles that a body gives in this project; none without an entry for it.
fn roles_here<'b>(call: &Call<'_>, body: &'b UserBody<'_>) -> Result<Option<&'b [Cow<'b, str>]>, Failure> {
    let name = call.project()?.name.as_str();
    let entry = body.projects.iter().flatten().find(|entry| entry.project == name);
    Ok(entry.map(|entry| entry.roles.as_slice()))
}

/// Makes a user who is a member of this project and nothing else; whoever made him sees him whole, once.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = UserBody::decode(&call.body).map_err(|_| Failure::arguments("User"))?;
    let name = call.name("user")?;
    refuse_known(call.ams, &name).await?;
    let given = roles_here(call, &body)?.unwrap_or_default();
    let roles = roles(&*call.ams.auth.roles().await?, given)?;
    let new = NewUser {
        name,
        profile: Profile { email: body.profile.email.unwrap_or_default().into_owned(), ..Profile::default() },
        memberships: vec![Membership { project: call.project_id()?, roles }],
        service_roles: Vec::new(),
        created_by: call.principal.user_id(),
    };
    let (user, _) = call.ams.auth.create_user(new).await?;
    users::shown(call.ams, user, true, Memberships::All).await
}

/// Sets a member's roles. A body without an entry for this project says "not a member" even of a member (quirk 44).
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let body = UserBody::decode(&call.body).map_err(|_| Failure::arguments("User"))?;
    let project = call.project_id()?;
    let user = call.user().await?;
    let given = roles_here(call, &body)?.filter(|_| user.membership(project).is_some());
    let roles = roles(&*call.ams.auth.roles().await?, given.ok_or(Failure::NOT_A_MEMBER)?)?;
    let user = call.ams.auth.set_membership(user.id, project, Some(roles)).await?;
    call.shown_member(user).await
}

/// Makes an existing user a member.
pub(crate) async fn add(call: &Call<'_>) -> Answer {
    let project = call.project_id()?;
    let user = call.user().await?;
    let given = bodies::list(&call.body, "roles").map_err(|_| Failure::INVALID_BODY)?.unwrap_or_default();
    if user.membership(project).is_some() {
        return Err(Failure::conflict("User is already a member of the project").into());
    }
    let roles = roles(&*call.ams.auth.roles().await?, &given)?;
    let user = call.ams.auth.set_membership(user.id, project, Some(roles)).await?;
    call.shown_member(user).await
}

/// Ends a membership; access lists keep the user.
pub(crate) async fn remove(call: &Call<'_>) -> Answer {
    let project = call.project_id()?;
    let user = call.user().await?;
    if user.membership(project).is_none() {
        return Err(Failure::NOT_A_MEMBER.into());
    }
    call.ams.auth.set_membership(user.id, project, None).await?;
    Ok(b"{}".to_vec())
}
