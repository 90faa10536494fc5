//! Topics: list, show, create, delete, access list. Publishing is in `publish`.

use super::acl;
use super::query::next_token;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use super::schemas;
use crate::broker::{NewTopic, TopicChange};
use crate::domain::SchemaId;
use crate::domain::project::Project;
use crate::domain::schema::Schema;
use crate::domain::topic::Topic;

fn write(project: &Project, topic: &Topic, schema: Option<&Schema>, json: &mut Json) {
    json.field("name").string(&format!("/projects/{}/topics/{}", project.name, topic.name));
    if let Some(schema) = schema {
        json.field("schema").string(&schemas::reference_to(project, schema));
    }
    json.field("created_on").seconds(topic.created_at);
}

async fn shown(call: &Call<'_>, topic: &Topic) -> Answer {
    let project = call.project()?;
    let schema = call.ams.broker.schema_of(topic).await?;
    Ok(render::object(Indent::Three, |json| write(project, topic, schema.as_deref(), json)))
}

/// The topics that the caller may see, newest first.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let (project, page) = (call.project()?, call.query.page(None)?);
    let principal = &call.principal;
    let visible = |topic: &Topic| principal.sees_topic(&topic.acl);
    let page = call.ams.broker.topics(project.id, page, &visible).await?;
    let mut schemas = Vec::with_capacity(page.items.len());
    for topic in &page.items {
        schemas.push(call.ams.broker.schema_of(topic).await?);
    }
    Ok(render::object(Indent::Three, |json| {
        json.field("topics").array(|json| {
            for (topic, schema) in page.items.iter().zip(&schemas) {
                json.item().object(|json| write(project, topic, schema.as_deref(), json));
            }
        });
        json.field("nextPageToken").string(&next_token(&page));
        json.field("totalSize").number(page.total);
    }))
}

/// The path's topic.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    shown(call, &*call.topic().await?).await
}

/// Makes the path's topic; a body may name its schema.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let new = NewTopic {
        name: call.name("topic")?,
        retention: call.ams.options().retention,
        schema: schemas::named(call).await?.map(|schema| schema.id),
        created_by: call.principal.user_id(),
    };
    let topic = call.ams.broker.create_topic(call.project_id()?, new).await?;
    shown(call, &topic).await
}

/// Sets the schema that messages must keep from now on; a body that names none takes it away (quirk 37).
pub(crate) async fn attach_schema(call: &Call<'_>) -> Answer {
    call.topic().await?;
    let schema = schemas::named(call).await?.map(|schema| schema.id);
    set_schema(call, schema).await
}

/// Takes the schema away.
pub(crate) async fn detach_schema(call: &Call<'_>) -> Answer {
    set_schema(call, None).await
}

async fn set_schema(call: &Call<'_>, schema: Option<SchemaId>) -> Answer {
    let change = TopicChange { schema: Some(schema), ..TopicChange::default() };
    call.ams.broker.update_topic(call.project_id()?, &call.name("topic")?, change).await?;
    Ok(Vec::new())
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
