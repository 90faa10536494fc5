//! Users: list, show, find, create, update, refresh a token, delete; and how a user is shown everywhere.

use super::Ams;
use super::bodies::{MembershipBody, UserBody};
use super::error::{Failure, Refusal};
use super::projects::new_name;
use super::query::next_token;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::auth::{NewUser, Token, UserChange};
use crate::broker::{Page, PageRequest};
use crate::domain::acl::{RoleName, RoleTable};
use crate::domain::user::{Membership, User};
use crate::domain::{Error, Name, ProjectId, UserId};
use std::borrow::Cow;
use std::sync::Arc;

/// Which memberships of a user are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Memberships {
    /// None, and no field for them.
    Hidden,
    /// All.
    All,
    /// The one in this project.
    Only(ProjectId),
}

/// A user as one caller may see him.
#[derive(Debug)]
pub(crate) struct UserView {
    user: Arc<User>,
    token: Option<Token>,
    created_by: String,
    projects: Vec<ProjectView>,
}

/// A membership with the names of what the user's access lists open.
#[derive(Debug)]
struct ProjectView {
    project: String,
    roles: Vec<RoleName>,
    topics: Vec<String>,
    subscriptions: Vec<String>,
}

/// The name of who made something; empty for nobody and for a user who is gone.
pub(crate) async fn creator(ams: &Ams, id: Option<UserId>) -> Result<String, Error> {
    let Some(id) = id else { return Ok(String::new()) };
    match ams.auth.user_by_id(id).await {
        Ok(user) => Ok(user.name.as_str().to_owned()),
        Err(Error::NotFound(_)) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Gathers what is shown of a user. `privileged` sees his token, service roles and creator.
pub(crate) async fn view(
    ams: &Ams,
    user: Arc<User>,
    privileged: bool,
    memberships: Memberships,
) -> Result<UserView, Error> {
    let (token, created_by) = if privileged {
        (Some(ams.auth.token_of(user.id).await?), creator(ams, user.created_by).await?)
    } else {
        (None, String::new())
    };
    let mut projects = Vec::new();
    for membership in &user.memberships {
        let shows = match memberships {
            Memberships::Hidden => false,
            Memberships::All => true,
            Memberships::Only(project) => project == membership.project,
        };
        if shows {
            projects.extend(project_view(ams, user.id, membership).await?);
        }
    }
    Ok(UserView { user, token, created_by, projects })
}

/// None when the project is gone.
async fn project_view(ams: &Ams, user: UserId, membership: &Membership) -> Result<Option<ProjectView>, Error> {
    let (id, all) = (membership.project, PageRequest::default());
    let project = match ams.broker.project_by_id(id).await {
        Ok(project) => project.name.as_str().to_owned(),
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let topics = ams.broker.topics(id, all, &|topic| topic.acl.contains(&user)).await?.items;
    let subscriptions =
        ams.broker.subscriptions(id, all, &|subscription| subscription.acl.contains(&user)).await?.items;
    Ok(Some(ProjectView {
        project,
        roles: membership.roles.clone(),
        topics: topics.iter().map(|topic| topic.name.as_str().to_owned()).collect(),
        subscriptions: subscriptions.iter().map(|subscription| subscription.name.as_str().to_owned()).collect(),
    }))
}

fn write(view: &UserView, json: &mut Json) {
    let (user, profile) = (&view.user, &view.user.profile);
    json.field("uuid").quoted(user.id);
    if !view.projects.is_empty() {
        json.field("projects").array(|json| {
            for entry in &view.projects {
                json.item().object(|json| {
                    json.field("project").string(&entry.project);
                    json.field("roles").strings(entry.roles.iter().map(RoleName::as_str));
                    json.field("topics").strings(&entry.topics);
                    json.field("subscriptions").strings(&entry.subscriptions);
                });
            }
        });
    }
    json.field("name").string(user.name.as_str());
    json.field_unless_empty("first_name", &profile.first_name);
    json.field_unless_empty("last_name", &profile.last_name);
    json.field_unless_empty("organization", &profile.organization);
    json.field_unless_empty("description", &profile.description);
    json.field_unless_empty("token", view.token.as_ref().map_or("", Token::reveal));
    json.field("email").string(&profile.email);
    // Only who sees the token sees these.
    let service_roles = if view.token.is_some() { user.service_roles.as_slice() } else { &[] };
    json.field("service_roles").strings(service_roles.iter().map(RoleName::as_str));
    json.field("created_on").seconds(user.created_at);
    json.field("modified_on").seconds(user.modified_at);
    json.field_unless_empty("created_by", &view.created_by);
}

/// The body that shows one user.
pub(crate) async fn shown(ams: &Ams, user: Arc<User>, privileged: bool, memberships: Memberships) -> Answer {
    let view = view(ams, user, privileged, memberships).await?;
    Ok(render::object(Indent::Three, |json| write(&view, json)))
}

/// The body that shows a page of users.
pub(crate) async fn shown_page(ams: &Ams, page: Page<Arc<User>>, privileged: bool, memberships: Memberships) -> Answer {
    let token = next_token(&page);
    let mut views = Vec::with_capacity(page.items.len());
    for user in page.items {
        views.push(view(ams, user, privileged, memberships).await?);
    }
    Ok(render::object(Indent::Three, |json| {
        json.field("users").array(|json| views.iter().for_each(|view| json.item().object(|json| write(view, json))));
        json.field("nextPageToken").string(&token);
        json.field("totalSize").number(page.total);
    }))
}

/// Role names from a body, each of which must occur in the role table.
pub(crate) fn roles(table: &RoleTable, names: &[Cow<'_, str>]) -> Result<Vec<RoleName>, Failure> {
    let known = |name: &Cow<'_, str>| {
        let role = RoleName::new(name);
        if table.knows(&role) { Ok(role) } else { Err(Failure::argument(format!("invalid role: {name}"))) }
    };
    names.iter().map(known).collect()
}

/// Memberships from a body, checked entry by entry; entries without a project do not count.
async fn memberships(ams: &Ams, entries: &[MembershipBody<'_>]) -> Result<Vec<Membership>, Refusal> {
    let table = ams.auth.roles().await?;
    let mut list: Vec<Membership> = Vec::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        let name = &entry.project;
        if name.is_empty() {
            continue;
        }
        if entries.iter().take(place).any(|earlier| earlier.project == *name) {
            return Err(Failure::argument(format!("duplicate reference of project {name}")).into());
        }
        let invalid = || Refusal::from(Failure::argument(format!("invalid project: {name}")));
        let project = match ams.broker.project(&Name::new(name).map_err(|_| invalid())?).await {
            Ok(project) => project.id,
            Err(Error::NotFound(_)) => return Err(invalid()),
            Err(error) => return Err(error.into()),
        };
        list.push(Membership { project, roles: roles(&table, &entry.roles)? });
    }
    Ok(list)
}

/// All users, or a project's, newest first.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let named = call.query.get("project").filter(|name| !name.is_empty());
    let project = match named {
        None => None,
        Some(name) => {
            let unknown = || Refusal::from(Failure::not_found("ProjectUUID"));
            let name = Name::new(&name).map_err(|_| unknown())?;
            match call.ams.broker.project(&name).await {
                Ok(project) => Some(project.id),
                Err(Error::NotFound(_)) => return Err(unknown()),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let privileged = call.principal.is_privileged();
    let memberships = match (call.query.is_true("details"), project) {
        (true, _) if privileged => Memberships::All,
        (true, Some(project)) => Memberships::Only(project),
        _ => Memberships::Hidden,
    };
    // The Python library sends the token under the name it reads it from (quirk 54).
    let page = call.query.page(Some("nextPageToken"))?;
    let visible = |user: &User| project.is_none_or(|project| user.membership(project).is_some());
    let page = call.ams.auth.users(page, &visible).await?;
    shown_page(call.ams, page, privileged, memberships).await
}

/// The path's user.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    let user = call.ams.auth.user(&call.name("user")?).await?;
    shown(call.ams, user, true, Memberships::All).await
}

/// The user with this token.
pub(crate) async fn by_token(call: &Call<'_>) -> Answer {
    let token = Token::new(String::from_utf8_lossy(call.variables.get("token")).into_owned());
    let user = call.ams.auth.user_by_token(&token).await?.ok_or_else(|| Failure::not_found("User"))?;
    shown(call.ams, user, true, Memberships::All).await
}

/// The user of this id.
pub(crate) async fn by_uuid(call: &Call<'_>) -> Answer {
    let text = std::str::from_utf8(call.variables.get("uuid")).unwrap_or_default();
    let id = UserId::parse(text).ok_or_else(|| Failure::not_found("User"))?;
    let user = call.ams.auth.user_by_id(id).await?;
    shown(call.ams, user, true, Memberships::All).await
}

/// The caller himself, whoever he is.
pub(crate) async fn profile(ams: &Ams, token: Option<Token>) -> Answer {
    let token = token.ok_or(Failure::UNAUTHORIZED)?;
    let user = ams.auth.user_by_token(&token).await?.ok_or(Failure::UNAUTHORIZED)?;
    shown(ams, user, true, Memberships::All).await
}

/// Makes the path's user.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = UserBody::decode(&call.body).map_err(|_| Failure::arguments("User"))?;
    let name = call.name("user")?;
    refuse_known(call.ams, &name).await?;
    let memberships = memberships(call.ams, body.projects.as_deref().unwrap_or_default()).await?;
    let service_roles = roles(&*call.ams.auth.roles().await?, body.service_roles.as_deref().unwrap_or_default())?;
    let new = NewUser {
        name,
        profile: body.profile.into(),
        memberships,
        service_roles,
        created_by: call.principal.user_id(),
    };
    let (user, _) = call.ams.auth.create_user(new).await?;
    shown(call.ams, user, true, Memberships::All).await
}

/// A user who exists is told before what is wrong with the rest of the body.
pub(crate) async fn refuse_known(ams: &Ams, name: &Name) -> Result<(), Refusal> {
    match ams.auth.user(name).await {
        Ok(_) => Err(Failure::already_exists("User").into()),
        Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Changes what the body gives of the path's user; empty texts and absent lists change nothing, `[]` clears a list.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let body = UserBody::decode(&call.body).map_err(|_| Failure::arguments("User"))?;
    let name = new_name(body.name, "user")?;
    let memberships = match &body.projects {
        Some(entries) => Some(memberships(call.ams, entries).await?),
        None => None,
    };
    let service_roles = match &body.service_roles {
        Some(names) => Some(roles(&*call.ams.auth.roles().await?, names)?),
        None => None,
    };
    let user = call.ams.auth.user(&call.name("user")?).await?;
    let mut profile = user.profile.clone();
    body.profile.change(&mut profile);
    let change = UserChange { name, profile: Some(profile), memberships, service_roles };
    let user = call.ams.auth.update_user(user.id, change).await?;
    shown(call.ams, user, true, Memberships::All).await
}

/// Gives the path's user a new token.
pub(crate) async fn refresh_token(call: &Call<'_>) -> Answer {
    let user = call.ams.auth.user(&call.name("user")?).await?;
    call.ams.auth.refresh_token(user.id).await?;
    shown(call.ams, user, true, Memberships::All).await
}

/// Removes the path's user.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    let user = call.ams.auth.user(&call.name("user")?).await?;
    call.ams.auth.delete_user(user.id).await?;
    Ok(Vec::new())
}
