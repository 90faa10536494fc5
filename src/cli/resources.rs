//! Topics, subscriptions, projects, users and tokens: one call of the API each, and its answer as text.

use super::administration;
use super::args::{AckMode, AclChange, Project, Subscription, Token, Topic, User};
use super::client::{Client, segment};
use super::output::Output;
use super::{Answer, Failure};
use reqwest::Method;
use serde_json::{Value, json};

/// The text under a key, or nothing.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The last part of a full name such as `/projects/P/topics/T`.
pub(super) fn short<'a>(value: &'a Value, key: &str) -> &'a str {
    text(value, key).rsplit('/').next().unwrap_or_default()
}

/// The entries of the list under a key.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn words(value: &Value, key: &str) -> String {
    items(value, key).filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Does a topic command.
pub(super) async fn topic(client: &Client, command: Topic, out: Output) -> Answer {
    match command {
        Topic::Create { topic } => {
            let path = client.path("topics", &topic, "");
            let answer = client.call(Method::PUT, &path, None, &format!("topic {topic}")).await?;
            out.answer(&answer, format!("created topic {topic} in project {}", client.project()))
        }
        Topic::List => {
            let answer = client.call(Method::GET, &client.path("topics", "", ""), None, "topics").await?;
            let row = |topic| vec![short(topic, "name").to_owned(), text(topic, "created_on").to_owned()];
            let rows: Vec<_> = items(&answer, "topics").map(row).collect();
            out.table(&answer, &["TOPIC", "CREATED"], &rows)
        }
        Topic::Show { topic } => {
            let path = client.path("topics", &topic, "");
            let answer = client.call(Method::GET, &path, None, &format!("topic {topic}")).await?;
            let path = client.path("topics", &topic, "/subscriptions");
            let readers = client.ask(Method::GET, &path, None).await?.unwrap_or_default();
            let names = words(&readers, "subscriptions");
            let names: Vec<&str> = names.split(',').filter_map(|name| name.rsplit('/').next()).collect();
            let subscriptions = names.join(", ");
            out.answer(
                &answer,
                format!(
                    "topic          {}\ncreated        {}\nsubscriptions  {subscriptions}",
                    text(&answer, "name"),
                    text(&answer, "created_on")
                ),
            )
        }
        Topic::Delete { topic } => {
            let path = client.path("topics", &topic, "");
            client.call(Method::DELETE, &path, None, &format!("topic {topic}")).await?;
            out.answer(&json!({}), format!("deleted topic {topic} and its messages"))
        }
        Topic::Acl { topic, change } => acl(client, "topics", &topic, change, out).await,
    }
}

/// Does a subscription command.
pub(super) async fn subscription(client: &Client, command: Subscription, out: Output) -> Answer {
    match command {
        Subscription::Create { subscription, topic, ack_deadline, ack_mode } => {
            let mut body = json!({
                "topic": format!("projects/{}/topics/{topic}", client.project()),
                "ackDeadlineSeconds": ack_deadline,
            });
            if let (AckMode::Individual, Some(body)) = (ack_mode, body.as_object_mut()) {
                body.insert("ackMode".to_owned(), "individual".into());
            }
            let what = format!("subscription {subscription} to topic {topic}");
            let answer =
                client.call(Method::PUT, &client.path("subscriptions", &subscription, ""), Some(&body), &what).await?;
            out.answer(
                &answer,
                format!("created subscription {subscription} to topic {topic}; it gets what is published from now on"),
            )
        }
        Subscription::List => {
            let answer = client.call(Method::GET, &client.path("subscriptions", "", ""), None, "subscriptions").await?;
            let rows: Vec<_> = items(&answer, "subscriptions").map(subscription_row).collect();
            out.table(&answer, &["SUBSCRIPTION", "TOPIC", "ACK", "MODE", "CREATED"], &rows)
        }
        Subscription::Show { subscription } => {
            let path = client.path("subscriptions", &subscription, "");
            let answer = client.call(Method::GET, &path, None, &format!("subscription {subscription}")).await?;
            let shown = format!(
                "subscription  {}\ntopic         {}\nack deadline  {} s\nack mode      {}\ncreated       {}",
                text(&answer, "name"),
                text(&answer, "topic"),
                answer.get("ackDeadlineSeconds").and_then(Value::as_u64).unwrap_or_default(),
                mode(&answer),
                text(&answer, "createdOn"),
            );
            out.answer(&answer, shown)
        }
        Subscription::Delete { subscription } => {
            let path = client.path("subscriptions", &subscription, "");
            client.call(Method::DELETE, &path, None, &format!("subscription {subscription}")).await?;
            out.answer(&json!({}), format!("deleted subscription {subscription}"))
        }
        Subscription::Offsets { subscription } => {
            let answer = offsets(client, &subscription).await?;
            let [first, next, current] = ["min", "max", "current"].map(|key| number(&answer, key));
            let shown = format!(
                "first kept  {first}\nnext        {next}\ncurrent     {current}\nbacklog     {}",
                next.saturating_sub(current)
            );
            out.answer(&answer, shown)
        }
        Subscription::Seek { subscription, to, time } => seek(client, &subscription, to, time, out).await,
        Subscription::Acl { subscription, change } => acl(client, "subscriptions", &subscription, change, out).await,
        Subscription::Push { subscription, change } => administration::push(client, &subscription, change, out).await,
        Subscription::Verify { subscription } => administration::verify(client, &subscription, out).await,
    }
}

fn mode(subscription: &Value) -> &str {
    Some(text(subscription, "ackMode")).filter(|mode| !mode.is_empty()).unwrap_or("cumulative")
}

fn subscription_row(subscription: &Value) -> Vec<String> {
    vec![
        short(subscription, "name").to_owned(),
        short(subscription, "topic").to_owned(),
        format!("{} s", number(subscription, "ackDeadlineSeconds")),
        mode(subscription).to_owned(),
        text(subscription, "createdOn").to_owned(),
    ]
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

async fn offsets(client: &Client, subscription: &str) -> Answer<Value> {
    let path = client.path("subscriptions", subscription, ":offsets");
    client.call(Method::GET, &path, None, &format!("subscription {subscription}")).await
}

async fn seek(client: &Client, subscription: &str, to: Option<String>, time: Option<String>, out: Output) -> Answer {
    let what = format!("subscription {subscription}");
    let offset = match (to.as_deref(), time) {
        (_, Some(time)) => {
            let path =
                format!("{}?time={}", client.path("subscriptions", subscription, ":timeToOffset"), segment(&time));
            number(&client.call(Method::GET, &path, None, &what).await?, "offset")
        }
        (Some("start"), _) => number(&offsets(client, subscription).await?, "min"),
        (Some("end") | None, _) => number(&offsets(client, subscription).await?, "max"),
        (Some(text), _) => {
            text.parse().map_err(|_| Failure::Usage(format!("--to {text}: write an offset, `start` or `end`")))?
        }
    };
    let path = client.path("subscriptions", subscription, ":modifyOffset");
    client.call(Method::POST, &path, Some(&json!({ "offset": offset })), &what).await?;
    out.answer(&json!({ "offset": offset }), format!("subscription {subscription} goes on at offset {offset}"))
}

async fn acl(client: &Client, kind: &str, name: &str, change: AclChange, out: Output) -> Answer {
    let what = format!("access list of {name}");
    let users = if change.none { Some(Vec::new()) } else { change.users };
    if let Some(users) = users {
        let body = json!({ "authorized_users": users });
        client.call(Method::POST, &client.path(kind, name, ":modifyAcl"), Some(&body), &what).await?;
    }
    let answer = client.call(Method::GET, &client.path(kind, name, ":acl"), None, &what).await?;
    let names = words(&answer, "authorized_users").replace(',', "\n");
    out.answer(&answer, if names.is_empty() { "nobody".to_owned() } else { names })
}

/// Does a project command.
pub(super) async fn project(client: &Client, command: Project, out: Output) -> Answer {
    let path = |name: &str| format!("/v1/projects/{}", segment(name));
    match command {
        Project::Create { name, description } => {
            let body = json!({ "description": description });
            let answer = client.call(Method::POST, &path(&name), Some(&body), &format!("project {name}")).await?;
            out.answer(&answer, format!("created project {name}"))
        }
        Project::List => {
            let answer = client.call(Method::GET, "/v1/projects", None, "projects").await?;
            let row = |project| ["name", "created_on", "description"].map(|key| text(project, key).to_owned()).to_vec();
            let rows: Vec<_> = items(&answer, "projects").map(row).collect();
            out.table(&answer, &["PROJECT", "CREATED", "DESCRIPTION"], &rows)
        }
        Project::Show { name } => {
            let answer = client.call(Method::GET, &path(&name), None, &format!("project {name}")).await?;
            let [name, created, by, about] =
                ["name", "created_on", "created_by", "description"].map(|key| text(&answer, key).to_owned());
            out.answer(
                &answer,
                format!("project      {name}\ncreated      {created}\ncreated by   {by}\ndescription  {about}"),
            )
        }
        Project::Quota { name, change } => administration::quota(client, &name, change, out).await,
        Project::Delete { name } => {
            client.call(Method::DELETE, &path(&name), None, &format!("project {name}")).await?;
            out.answer(&json!({}), format!("deleted project {name} with its topics and subscriptions"))
        }
    }
}

fn user_path(name: &str, verb: &str) -> String {
    format!("/v1/users/{}{verb}", segment(name))
}

/// Does a user command.
pub(super) async fn user(client: &Client, command: User, out: Output) -> Answer {
    match command {
        User::Create { name, email, role, service_role } => {
            let mut body = json!({ "email": email, "service_roles": service_role });
            if let (false, Some(body)) = (role.is_empty(), body.as_object_mut()) {
                body.insert("projects".to_owned(), json!([{ "project": client.project(), "roles": role }]));
            }
            let answer = client.call(Method::POST, &user_path(&name, ""), Some(&body), &format!("user {name}")).await?;
            out.answer(&answer, format!("created user {name}\ntoken {}", text(&answer, "token")))
        }
        User::List => {
            let answer = client.call(Method::GET, "/v1/users?details=true", None, "users").await?;
            let rows: Vec<_> = items(&answer, "users").map(user_row).collect();
            let shown = without_tokens(answer.clone());
            out.table(&shown, &["USER", "SERVICE ROLES", "PROJECT ROLES", "EMAIL"], &rows)
        }
        User::Show { name } => {
            let answer = client.call(Method::GET, &user_path(&name, ""), None, &format!("user {name}")).await?;
            let shown = format!(
                "user           {}\nuuid           {}\nemail          {}\nservice roles  {}\nproject roles  {}\ncreated        {}",
                text(&answer, "name"),
                text(&answer, "uuid"),
                text(&answer, "email"),
                words(&answer, "service_roles"),
                project_roles(&answer),
                text(&answer, "created_on"),
            );
            out.answer(&without_tokens(answer), shown)
        }
        User::Delete { name } => {
            client.call(Method::DELETE, &user_path(&name, ""), None, &format!("user {name}")).await?;
            out.answer(&json!({}), format!("deleted user {name}"))
        }
    }
}

/// A user's object, or a list of them, without tokens: `token show` is for those.
fn without_tokens(mut answer: Value) -> Value {
    let listed = answer.get_mut("users").and_then(Value::as_array_mut).into_iter().flatten();
    listed.filter_map(Value::as_object_mut).for_each(|user| {
        user.remove("token");
    });
    if let Some(user) = answer.as_object_mut() {
        user.remove("token");
    }
    answer
}

fn project_roles(user: &Value) -> String {
    let entry = |entry| format!("{}:{}", text(entry, "project"), words(entry, "roles"));
    items(user, "projects").map(entry).collect::<Vec<_>>().join(" ")
}

fn user_row(user: &Value) -> Vec<String> {
    vec![
        text(user, "name").to_owned(),
        words(user, "service_roles"),
        project_roles(user),
        text(user, "email").to_owned(),
    ]
}

/// Does a token command.
pub(super) async fn token(client: &Client, command: Token, out: Output) -> Answer {
    let (method, name, verb) = match command {
        Token::Show { user } => (Method::GET, user, ""),
        Token::Refresh { user } => (Method::POST, user, ":refreshToken"),
    };
    let what = format!("user {name}");
    let refresh = method == Method::POST;
    let before = client.call(Method::GET, &user_path(&name, ""), None, &what).await?;
    let answer =
        if refresh { client.call(method, &user_path(&name, verb), None, &what).await? } else { before.clone() };
    let token = text(&answer, "token");
    if refresh {
        client.replace_own_token(before.get("token").and_then(Value::as_str), token)?;
    }
    out.answer(&json!({ "user": name, "token": token }), token)
}
