//! Topics: list, show, create, delete, access list. Publishing is in `publish`.

use super::acl;
use super::bodies;
use super::error::{Failure, Refusal};
use super::principal::is_name;
use super::query::next_token;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::broker::{NewTopic, TopicChange};
use crate::domain::project::Project;
use crate::domain::topic::Topic;

fn write(project: &Project, topic: &Topic, json: &mut Json) {
    json.field("name").string(&format!("/projects/{}/topics/{}", project.name, topic.name));
    json.field("created_on").seconds(topic.created_at);
}

fn shown(call: &Call<'_>, topic: &Topic) -> Answer {
    let project = call.project()?;
    Ok(render::object(Indent::Three, |json| write(project, topic, json)))
}

/// The topics that the caller may see, newest first.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let (project, page) = (call.project()?, call.query.page(None)?);
    let principal = &call.principal;
    let visible = |topic: &Topic| is_name(topic.name.as_str().as_bytes()) && principal.sees_topic(&topic.acl);
    let page = call.ams.broker.topics(project.id, page, &visible).await?;
    Ok(render::object(Indent::Three, |json| {
        json.field("topics").array(|json| {
            page.items.iter().for_each(|topic| json.item().object(|json| write(project, topic, json)));
        });
        json.field("nextPageToken").string(&next_token(&page));
        json.field("totalSize").number(page.total);
    }))
}

/// The path's topic.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    shown(call, &*call.topic().await?)
}

/// Makes the path's topic. A body may name a schema; there are none yet, so any that is named does not exist.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    if !call.body.is_empty() {
        let body = bodies::map(&call.body).map_err(|_| Failure::INVALID_BODY)?;
        refuse_schema(body.get("schema").map_or("", String::as_str))?;
    }
    let new = NewTopic {
        name: call.name("topic")?,
        retention: call.ams.options().retention,
        schema: None,
        created_by: call.principal.user_id(),
    };
    let topic = call.ams.broker.create_topic(call.project_id()?, new).await?;
    shown(call, &topic)
}

/// Says what is wrong with a reference to a schema, unless it is empty.
fn refuse_schema(reference: &str) -> Result<(), Refusal> {
    if reference.is_empty() {
        return Ok(());
    }
    let parts: Vec<_> = reference.split('/').collect();
    match parts.as_slice() {
        ["projects", _, "schemas", _] => Err(Failure::not_found("Schema").into()),
        _ => Err(Failure::argument("wrong schema name declaration").into()),
    }
}

/// Removes the path's topic and its messages; its subscriptions stay.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    call.ams.broker.delete_topic(call.project_id()?, &call.name("topic")?).await?;
    Ok(Vec::new())
}

/// Who may publish.
pub(crate) async fn acl(call: &Call<'_>) -> Answer {
    acl::shown(call.ams, &call.topic().await?.acl).await
}

/// Sets who may publish.
pub(crate) async fn modify_acl(call: &Call<'_>) -> Answer {
    let list = acl::read(call, "Topic ACL").await?;
    let change = TopicChange { acl: Some(list), ..TopicChange::default() };
    call.ams.broker.update_topic(call.project_id()?, &call.name("topic")?, change).await?;
    Ok(Vec::new())
}
