//! Subscriptions: list, show, create, delete, access list. What consumers do is in `pull` and `offsets`.

use super::acl;
use super::bodies::SubscriptionBody;
use super::error::{Failure, Refusal};
use super::push;
use super::query::next_token;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::broker::{NewSubscription, PageRequest, SubscriptionChange};
use crate::domain::project::Project;
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::{Name, Resource, limits};
use std::time::Duration;

fn write(project: &Project, subscription: &Subscription, status: Option<&str>, json: &mut Json) {
    json.field("name").string(&format!("/projects/{}/subscriptions/{}", project.name, subscription.name));
    json.field("topic").string(&format!("/projects/{}/topics/{}", project.name, subscription.topic));
    json.field("pushConfig").object(|json| push::write(subscription.push.as_ref(), json));
    json.field("ackDeadlineSeconds").number(subscription.settings.ack_deadline.as_secs());
    if subscription.settings.mode == AckMode::Individual {
        json.field("ackMode").string("individual");
    }
    if let Some(status) = status {
        json.field("pushStatus").string(status);
    }
    json.field("createdOn").seconds(subscription.created_at);
}

fn shown(call: &Call<'_>, subscription: &Subscription, status: Option<&str>) -> Answer {
    let project = call.project()?;
    Ok(render::object(Indent::Three, |json| write(project, subscription, status, json)))
}

/// The subscriptions that the caller may see, newest first.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let (project, page) = (call.project()?, call.query.page(None)?);
    let principal = &call.principal;
    let visible = |subscription: &Subscription| principal.sees_subscription(&subscription.acl);
    let page = call.ams.broker.subscriptions(project.id, page, &visible).await?;
    Ok(render::object(Indent::Three, |json| {
        json.field("subscriptions").array(|json| {
            page.items.iter().for_each(|item| json.item().object(|json| write(project, item, None, json)));
        });
        json.field("nextPageToken").string(&next_token(&page));
        json.field("totalSize").number(page.total);
    }))
}

/// The names of a topic's subscriptions, in creation order.
pub(crate) async fn list_by_topic(call: &Call<'_>) -> Answer {
    let (project, topic) = (call.project()?, call.topic().await?);
    let of_topic = |subscription: &Subscription| subscription.topic == topic.name;
    let page = call.ams.broker.subscriptions(project.id, PageRequest::default(), &of_topic).await?;
    let names = page.items.iter().rev().map(|item| format!("/projects/{}/subscriptions/{}", project.name, item.name));
    Ok(render::object(Indent::Compact, |json| json.field("subscriptions").strings(names)))
}

/// The path's subscription.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    let subscription = call.subscription().await?;
    let status = push::status(call, &subscription)?;
    shown(call, &subscription, status.as_deref())
}

/// Makes the path's subscription, at the present end of its topic.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let invalid = || Failure::arguments("Subscription");
    let body = SubscriptionBody::decode(&call.body).map_err(|_| invalid())?;
    // Above 600 is accepted here, below 0 is not (quirk 23); what 32 bits do not hold could not be kept.
    let ack_deadline = match u32::try_from(body.ack_deadline_seconds).map_err(|_| invalid())? {
        0 => limits::ACK_DEADLINE_DEFAULT,
        seconds => Duration::from_secs(u64::from(seconds)),
    };
    let mode = match body.ack_mode.as_deref() {
        None | Some("" | "cumulative") => AckMode::Cumulative,
        Some("individual") => AckMode::Individual,
        Some(_) => return Err(invalid().into()),
    };
    let project = call.project()?;
    let topic = topic_of(project, body.topic.as_deref().unwrap_or_default())?;
    call.ams.broker.topic(project.id, &topic).await?;
    let push = match &body.push {
        Some(body) => Some(push::new(call, body).await?),
        None => None,
    };
    let acl = push.as_ref().and_then(|push| push::worker_of(call, push)).into_iter().collect();
    let new = NewSubscription {
        name: call.name("subscription")?,
        topic,
        settings: Settings { mode, ack_deadline, max_attempts: None, dead_letter_topic: None, dead_letter_ttl: None },
        push,
        acl,
        created_by: call.principal.user_id(),
    };
    let subscription = call.ams.broker.create_subscription(project.id, new).await?;
    if !subscription.acl.is_empty() {
        push::join(call).await?;
    }
    shown(call, &subscription, None)
}

/// The topic's name in a reference. As sloppy as the original where clients may lean on it: one of the two words may be wrong
/// (quirk 24). A topic of another project is none of this one's (quirk 25).
fn topic_of(project: &Project, reference: &str) -> Result<Name, Refusal> {
    let missing = || crate::domain::Error::NotFound(Resource::Topic);
    let parts: Vec<_> = reference.split('/').collect();
    match parts.as_slice() {
        [first, of, third, name] if *first == "projects" || *third == "topics" => {
            let name = Name::new(name).map_err(|_| missing())?;
            if *of == project.name.as_str() { Ok(name) } else { Err(missing().into()) }
        }
        _ => Err(Failure::name("Topic").into()),
    }
}

/// Removes the path's subscription.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    let (project, name) = (call.project()?, call.name("subscription")?);
    let subscription = call.ams.broker.subscription(project.id, &name).await?;
    let deactivated = push::deactivated(call, &subscription)?;
    call.ams.broker.delete_subscription(project.id, &name).await?;
    let Some(message) = deactivated else { return Ok(Vec::new()) };
    Ok(render::object(Indent::Compact, |json| json.field("message").string(&message)))
}

/// Who may consume.
pub(crate) async fn acl(call: &Call<'_>) -> Answer {
    acl::shown(call.ams, &call.subscription().await?.acl).await
}

/// Sets who may consume.
pub(crate) async fn modify_acl(call: &Call<'_>) -> Answer {
    let list = acl::read(call, "Subscription ACL").await?;
    let change = SubscriptionChange { acl: Some(list), settings: None };
    call.ams.broker.update_subscription(call.project_id()?, &call.name("subscription")?, change).await?;
    Ok(Vec::new())
}
