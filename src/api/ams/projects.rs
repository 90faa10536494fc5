//! Projects: list, show, create, update, delete.
//!
//! Beyond the original, a service admin may give a project a `quota` of its own by an update: an object of `messagesPerSecond`,
//! `bytesPerSecond`, `topics`, `subscriptions`; one left out is as configured, 0 is without bound. It is shown only where it was given.

use super::bodies::ProjectBody;
use super::error::Failure;
use super::principal::is_name;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use super::users::creator;
use crate::broker::{NewProject, ProjectChange};
use crate::domain::project::{Project, Quota};
use crate::domain::{Error, Name};
use std::borrow::Cow;

fn write(project: &Project, created_by: &str, json: &mut Json) {
    json.field_unless_empty("name", project.name.as_str());
    json.field("created_on").seconds(project.created_at);
    json.field("modified_on").seconds(project.modified_at);
    json.field_unless_empty("created_by", created_by);
    json.field_unless_empty("description", &project.description);
    let Quota { messages_per_second, bytes_per_second, topics, subscriptions } = project.quota;
    let own = [
        ("messagesPerSecond", messages_per_second),
        ("bytesPerSecond", bytes_per_second),
        ("topics", topics),
        ("subscriptions", subscriptions),
    ];
    if project.quota != Quota::default() {
        json.field("quota").object(|json| {
            for (name, most) in own {
                if let Some(most) = most {
                    json.field(name).number(most);
                }
            }
        });
    }
}

async fn shown(call: &Call<'_>, project: &Project) -> Answer {
    let created_by = creator(call.ams, project.created_by).await?;
    Ok(render::object(Indent::Three, |json| write(project, &created_by, json)))
}

/// All projects in creation order; `{}` when there are none (quirk 50).
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let projects = call.ams.broker.projects().await?;
    let mut creators = Vec::with_capacity(projects.len());
    for project in &projects {
        creators.push(creator(call.ams, project.created_by).await?);
    }
    Ok(render::object(Indent::Three, |json| {
        if !projects.is_empty() {
            json.field("projects").array(|json| {
                for (project, created_by) in projects.iter().zip(&creators) {
                    json.item().object(|json| write(project, created_by, json));
                }
            });
        }
    }))
}

/// The path's project.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    shown(call, call.project()?).await
}

/// Makes the path's project.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = ProjectBody::decode(&call.body).map_err(|_| Failure::arguments("Project"))?;
    let new = NewProject {
        name: call.name("project")?,
        description: body.description.unwrap_or_default().into_owned(),
        created_by: call.principal.user_id(),
    };
    let project = call.ams.broker.create_project(new).await?;
    shown(call, &project).await
}

/// Renames or describes the path's project; empty texts change nothing.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let body = ProjectBody::decode(&call.body).map_err(|_| Failure::INVALID_BODY)?;
    let given = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
    let change = ProjectChange { name: new_name(body.name, "project")?, description: given(body.description) };
    if body.quota.is_some() && !call.principal.is_privileged() {
        return Err(Failure::FORBIDDEN.into());
    }
    let mut project = call.ams.broker.update_project(call.project_id()?, change).await?;
    if let Some(quota) = body.quota {
        project = call.ams.broker.set_project_quota(project.id, quota).await?;
    }
    shown(call, &project).await
}

/// A new name from a body, under the rule that names in paths have (quirk 41); none for an absent or empty one.
pub(crate) fn new_name(text: Option<Cow<'_, str>>, of: &str) -> Result<Option<Name>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if !is_name(text.as_bytes()) {
        return Err(Failure::name(of));
    }
    Name::new(&text).map(Some).map_err(|_| Failure::name(of))
}

/// Removes the path's project with all that is in it, and its memberships (quirk 45).
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    let id = call.project_id()?;
    match call.ams.broker.delete_project(id).await {
        // Another request was faster, and may not have come to the memberships.
        Ok(()) | Err(Error::NotFound(_)) => call.ams.auth.forget_project(id).await?,
        Err(error) => return Err(error.into()),
    }
    Ok(Vec::new())
}
