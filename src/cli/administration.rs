//! Schemas, registrations, quotas and push: one call of the API each, and its answer as text.

use super::args::{Language, PushChange, QuotaChange, Registration, RegistrationStatus, Schema, SchemaFiles};
use super::client::{Client, segment};
use super::output::Output;
use super::resources::{items, short, text};
use super::{Answer, Failure};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

/// Does a schema command.
pub(super) async fn schema(client: &Client, command: Schema, out: Output) -> Answer {
    match command {
        Schema::Create { schema, language, rules } => {
            let body = schema_body(Some(language), &rules, false)?;
            let answer = schema_call(client, Method::POST, &schema, "", Some(&body)).await?;
            out.answer(&answer, format!("created schema {schema}; `angelia schema attach` gives it to a topic"))
        }
        Schema::Update { schema, language, rules, any_attributes } => {
            let body = schema_body(language, &rules, any_attributes)?;
            if body.as_object().is_none_or(Map::is_empty) {
                return Err(Failure::Usage(
                    "give what to change: --type, --payload, --attributes or --any-attributes".to_owned(),
                ));
            }
            let answer = schema_call(client, Method::PUT, &schema, "", Some(&body)).await?;
            out.answer(&answer, format!("changed schema {schema}"))
        }
        Schema::List => {
            let answer = client.call(Method::GET, &client.path("schemas", "", ""), None, "schemas").await?;
            let row = |schema: &Value| {
                let attributes = if schema.get("attributes").is_some() { "yes" } else { "no" };
                vec![short(schema, "name").to_owned(), text(schema, "type").to_owned(), attributes.to_owned()]
            };
            let rows: Vec<_> = items(&answer, "schemas").map(row).collect();
            out.table(&answer, &["SCHEMA", "TYPE", "ATTRIBUTES"], &rows)
        }
        Schema::Show { schema } => {
            let answer = schema_call(client, Method::GET, &schema, "", None).await?;
            let pretty = |key| answer.get(key).map(|rules| format!("\n{key}\n{rules:#}")).unwrap_or_default();
            let head = format!("schema  {}\ntype    {}", text(&answer, "name"), text(&answer, "type"));
            out.answer(&answer, format!("{head}{}{}", pretty("schema"), pretty("attributes")))
        }
        Schema::Delete { schema } => {
            schema_call(client, Method::DELETE, &schema, "", None).await?;
            out.answer(&json!({}), format!("deleted schema {schema}"))
        }
        Schema::Validate { schema, file } => {
            let answer = schema_call(client, Method::POST, &schema, ":validate", Some(&json_of(&file)?)).await?;
            out.answer(&answer, format!("follows schema {schema}"))
        }
        Schema::Attach { schema, topic } => {
            let body = json!({ "schema": format!("projects/{}/schemas/{schema}", client.project()) });
            let path = client.path("topics", &topic, ":attachSchema");
            client.call(Method::POST, &path, Some(&body), &format!("schema {schema}")).await?;
            out.answer(&json!({}), format!("topic {topic} now takes only messages that follow schema {schema}"))
        }
        Schema::Detach { topic } => {
            let path = client.path("topics", &topic, ":detachSchema");
            client.call(Method::POST, &path, None, &format!("topic {topic}")).await?;
            out.answer(&json!({}), format!("topic {topic} now takes any message"))
        }
    }
}

async fn schema_call(client: &Client, method: Method, name: &str, verb: &str, body: Option<&Value>) -> Answer<Value> {
    client.call(method, &client.path("schemas", name, verb), body, &format!("schema {name}")).await
}

fn schema_body(language: Option<Language>, rules: &SchemaFiles, any_attributes: bool) -> Answer<Value> {
    let mut body = Map::new();
    if let Some(language) = language {
        let name = match language {
            Language::Json => "json",
            Language::Avro => "avro",
        };
        body.insert("type".to_owned(), name.into());
    }
    for (key, file) in [("schema", &rules.payload), ("attributes", &rules.attributes)] {
        if let Some(file) = file {
            body.insert(key.to_owned(), json_of(file)?);
        }
    }
    if any_attributes {
        body.insert("attributes".to_owned(), json!({}));
    }
    Ok(body.into())
}

/// A file's JSON; of `-` that of standard input.
fn json_of(file: &Path) -> Answer<Value> {
    let name = file.display();
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::Usage(format!("{name} is no JSON: {error}")))
}

/// Does a registration command.
pub(super) async fn registration(client: &Client, command: Registration, out: Output) -> Answer {
    match command {
        Registration::List { status } => {
            let wanted = match status {
                None => "",
                Some(RegistrationStatus::Pending) => "?status=pending",
                Some(RegistrationStatus::Accepted) => "?status=accepted",
                Some(RegistrationStatus::Declined) => "?status=declined",
            };
            let answer = client.call(Method::GET, &format!("/v1/registrations{wanted}"), None, "registrations").await?;
            let columns = ["uuid", "name", "email", "organization", "status", "registered_at"];
            let row = |registration| columns.map(|key| text(registration, key).to_owned()).to_vec();
            let rows: Vec<_> = items(&answer, "user_registrations").map(row).collect();
            out.table(&answer, &["ID", "NAME", "EMAIL", "ORGANIZATION", "STATUS", "REGISTERED"], &rows)
        }
        Registration::Show { id } => {
            let answer = registration_call(client, Method::GET, &id, "", None).await?;
            let lines = answer.as_object().into_iter().flatten().map(|(key, value)| {
                format!("{key:<18}{}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            });
            out.answer(&answer, lines.collect::<Vec<_>>().join("\n"))
        }
        Registration::Accept { id } => {
            let answer = registration_call(client, Method::POST, &id, ":accept", None).await?;
            let shown = format!("accepted: user {} with token {}", text(&answer, "name"), text(&answer, "token"));
            out.answer(&answer, shown)
        }
        Registration::Decline { id, comment } => {
            let body = json!({ "comment": comment });
            registration_call(client, Method::POST, &id, ":decline", Some(&body)).await?;
            out.answer(&json!({}), format!("declined registration {id}"))
        }
        Registration::Delete { id } => {
            registration_call(client, Method::DELETE, &id, "", None).await?;
            out.answer(&json!({}), format!("deleted registration {id}"))
        }
    }
}

async fn registration_call(
    client: &Client,
    method: Method,
    id: &str,
    verb: &str,
    body: Option<&Value>,
) -> Answer<Value> {
    client.call(method, &format!("/v1/registrations/{}{verb}", segment(id)), body, &format!("registration {id}")).await
}

/// Shows or sets what a project may use.
pub(super) async fn quota(client: &Client, project: &str, change: QuotaChange, out: Output) -> Answer {
    const KEYS: [&str; 4] = ["messagesPerSecond", "bytesPerSecond", "topics", "subscriptions"];
    let (path, what) = (format!("/v1/projects/{}", segment(project)), format!("project {project}"));
    let shown = client.call(Method::GET, &path, None, &what).await?;
    let mut quota = shown.get("quota").and_then(Value::as_object).cloned().unwrap_or_default();
    let QuotaChange { messages_per_second, bytes_per_second, topics, subscriptions, none } = change;
    let given = KEYS.into_iter().zip([messages_per_second, bytes_per_second, topics, subscriptions]);
    let given: Vec<_> = given.filter_map(|(key, count)| Some((key.to_owned(), Value::from(count?)))).collect();
    if none || !given.is_empty() {
        if none {
            quota.clear();
        }
        quota.extend(given);
        client.call(Method::PUT, &path, Some(&json!({ "quota": quota })), &what).await?;
    }
    let line = |key: &str| {
        let count = quota.get(key).and_then(Value::as_u64).filter(|count| *count > 0);
        format!("{key:<18}{}", count.map_or_else(|| "as configured".to_owned(), |count| count.to_string()))
    };
    out.answer(&Value::Object(quota.clone()), KEYS.map(line).join("\n"))
}

/// Sets where a subscription's messages are delivered to.
pub(super) async fn push(client: &Client, subscription: &str, change: PushChange, out: Output) -> Answer {
    let retry = if change.slow_start {
        json!({ "type": "slowstart" })
    } else {
        json!({ "type": "linear", "period": change.period })
    };
    let (config, shown) = match change.to {
        Some(url) => (
            json!({ "pushEndpoint": url, "maxMessages": change.max, "retryPolicy": retry }),
            format!(
                "subscription {subscription} delivers to {url} once it is verified: let it answer the hash that \
                 `angelia subscription show {subscription} --json` tells, then `angelia subscription verify {subscription}`"
            ),
        ),
        None => (json!({}), format!("subscription {subscription} delivers no more; pull from it")),
    };
    let path = client.path("subscriptions", subscription, ":modifyPushConfig");
    let body = json!({ "pushConfig": config });
    client.call(Method::POST, &path, Some(&body), &format!("subscription {subscription}")).await?;
    out.answer(&json!({}), shown)
}

/// Asks a subscription's endpoint for its hash.
pub(super) async fn verify(client: &Client, subscription: &str, out: Output) -> Answer {
    let path = client.path("subscriptions", subscription, ":verifyPushEndpoint");
    client.call(Method::POST, &path, None, &format!("subscription {subscription}")).await?;
    out.answer(&json!({}), format!("the endpoint of subscription {subscription} is verified: deliveries begin"))
}
