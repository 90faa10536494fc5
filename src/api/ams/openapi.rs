//! The OpenAPI document of what the dialect serves today: paths and methods from the route table, bodies and statuses by operation.
//!
//! `schemas/openapi/ams-v1.json` is this document; a test fails when the two differ. Compiled for tests alone: nothing serves it.

use super::paths::{self, Operation as Op, Route};
use crate::domain::limits::NAME_BYTES_MAX;
use serde_json::{Map, Value, json};

/// The whole document.
fn document() -> Value {
    let mut paths = Map::new();
    for route in paths::all() {
        let path = format!("/v1/{}", route.pattern.join("/"));
        let entry = paths.entry(path).or_insert_with(|| json!({ "parameters": variables(route) }));
        entry[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Angelia, AMS v1",
            "version": "1",
            "description": "The ARGO Messaging Service's HTTP API as served here. Field names of bodies match in any case, unknown \
                fields are passed over, `null` is an absent field. Routes that are not listed answer 404.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "header": [] }, { "query": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "header": { "type": "apiKey", "in": "header", "name": "x-api-key" },
                "query": { "type": "apiKey", "in": "query", "name": "key" },
            },
            "schemas": { "Error": error() },
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {
                    "code": { "type": "integer" },
                    "message": { "type": "string" },
                    "status": { "type": "string" },
                },
            },
        },
    })
}

fn variables(route: &Route) -> Vec<Value> {
    let name = |part: &&str| part.strip_prefix('{').and_then(|rest| rest.split('}').next().map(str::to_owned));
    let variable = |name: String| {
        let pattern = format!("^[A-Za-z0-9_-]{{1,{NAME_BYTES_MAX}}}$");
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "pattern": pattern } })
    };
    route.pattern.iter().filter_map(name).map(variable).collect()
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "tags": [route.name.split(':').next()],
        "responses": responses(route),
    });
    if !route.roles.is_empty() {
        operation["description"] = format!("By default for: {}.", route.roles.join(", ")).into();
    }
    let parameters: Vec<Value> = queries(route.operation).into_iter().map(query).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some((schema, required)) = body(route.operation) {
        operation["requestBody"] =
            json!({ "required": required, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// The query parameters that an operation reads.
fn queries(operation: Op) -> Vec<&'static str> {
    match operation {
        Op::TopicsList | Op::SubscriptionsList => vec!["pageSize", "pageToken"],
        Op::MembersList => vec!["pageSize", "pageToken", "details"],
        Op::UsersList => vec!["pageSize", "pageToken", "nextPageToken", "details", "project"],
        Op::Status => vec!["details"],
        Op::VaMetrics | Op::UsageReport => vec!["start_date", "end_date", "projects"],
        Op::RegistrationsList => vec!["status", "name", "email", "organization", "activation_token"],
        Op::BindingsList => vec!["authID"],
        Op::SubscriptionsTimeToOffset => vec!["time"],
        Op::SchemasValidate => vec!["attributes"],
        _ => Vec::new(),
    }
}

fn query(name: &str) -> Value {
    let schema = match name {
        "pageSize" => json!({ "type": "integer" }),
        "details" => json!({ "type": "boolean" }),
        "start_date" | "end_date" => json!({ "type": "string", "format": "date" }),
        "time" => json!({ "type": "string", "examples": ["2024-01-02T03:04:05.123Z"] }),
        _ => json!({ "type": "string" }),
    };
    json!({ "name": name, "in": "query", "required": name == "time", "schema": schema })
}

fn strings() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}

/// An operation's body, and whether it must be there.
fn body(operation: Op) -> Option<(Value, bool)> {
    let text = json!({ "type": "string" });
    let body = match operation {
        Op::ProjectsCreate => object(json!({ "description": text })),
        Op::ProjectsUpdate => object(json!({ "name": text, "description": text, "quota": quota() })),
        Op::UsersCreate | Op::UsersUpdate | Op::MembersCreate | Op::MembersUpdate => user(),
        Op::RegistrationsCreate => registration(),
        Op::RegistrationsAccept => return Some((json!({}), false)),
        Op::RegistrationsDecline => object(json!({ "comment": text })),
        Op::MembersAdd => object(json!({ "roles": strings() })),
        Op::MembersRemove => return Some((json!({}), false)),
        Op::TopicsCreate | Op::TopicsAttachSchema => return Some((object(json!({ "schema": text })), false)),
        Op::SchemasCreate | Op::SchemasUpdate => object(json!({
            "name": { "type": "string", "examples": ["projects/project/schemas/schema"] },
            "type": { "type": "string", "enum": ["json", "avro"] },
            "schema": { "type": "object" },
            "attributes": { "type": "object", "description": "A JSON Schema of the map of attributes." },
        })),
        Op::SchemasValidate => {
            json!({ "description": "The JSON document itself; for Avro an object with `data` as base64." })
        }
        Op::BindingsCreate | Op::BindingsUpdate => binding(),
        Op::TopicsPublish => publish(),
        Op::TopicsModifyAcl | Op::SubscriptionsModifyAcl => object(json!({ "authorized_users": strings() })),
        Op::SubscriptionsCreate => subscription(),
        Op::SubscriptionsPull => object(json!({
            "maxMessages": { "type": ["string", "integer"] },
            "returnImmediately": { "type": ["string", "boolean"] },
        })),
        Op::SubscriptionsAcknowledge => object(json!({ "ackIds": strings() })),
        Op::SubscriptionsModifyAckDeadline => object(json!({
            "ackDeadlineSeconds": { "type": "integer", "minimum": 0, "maximum": 600 },
            "ackIds": strings(),
        })),
        Op::SubscriptionsModifyPushConfig => object(json!({ "pushConfig": push_config() })),
        Op::SubscriptionsModifyOffset => object(json!({ "offset": { "type": "integer" } })),
        _ => return None,
    };
    Some((body, true))
}

fn quota() -> Value {
    let most = json!({ "type": "integer", "minimum": 0 });
    object(json!({ "messagesPerSecond": most, "bytesPerSecond": most, "topics": most, "subscriptions": most }))
}

fn user() -> Value {
    let text = json!({ "type": "string" });
    let membership = object(json!({ "project": text, "roles": strings() }));
    object(json!({
        "name": text,
        "first_name": text,
        "last_name": text,
        "organization": text,
        "description": text,
        "email": text,
        "service_roles": strings(),
        "projects": { "type": "array", "items": membership },
    }))
}

fn registration() -> Value {
    let text = json!({ "type": "string" });
    let names = ["name", "first_name", "last_name", "organization", "description", "email"];
    let mut fields = object(names.iter().map(|name| ((*name).to_owned(), text.clone())).collect::<Map<_, _>>().into());
    fields["required"] = json!(["name"]);
    fields
}

fn binding() -> Value {
    let text = json!({ "type": "string" });
    let subject = json!({ "type": "string", "examples": ["CN=robot,O=Site,C=GR", "/C=GR/O=Site/CN=robot"] });
    object(json!({
        "auth_identifier": subject,
        "issuer": subject,
        "unique_key": { "type": "string", "description": "The user's uuid." },
        "user": { "type": "string", "description": "The user's name, in place of the uuid." },
        "auth_type": { "type": "string", "enum": ["", "x509"] },
        "name": text,
    }))
}

fn publish() -> Value {
    let message = object(json!({
        "data": { "type": "string", "description": "Base64; other text is taken as it is." },
        "attributes": { "type": "object", "additionalProperties": { "type": "string" } },
    }));
    object(json!({ "messages": { "type": "array", "items": message } }))
}

fn subscription() -> Value {
    let mut fields = object(json!({
        "topic": { "type": "string", "examples": ["projects/project/topics/topic"] },
        "ackDeadlineSeconds": { "type": "integer", "minimum": 0 },
        "ackMode": { "type": "string", "enum": ["", "cumulative", "individual"] },
        "pushConfig": push_config(),
    }));
    fields["required"] = json!(["topic"]);
    fields
}

fn push_config() -> Value {
    let text = json!({ "type": "string" });
    let kind = |kinds: &[&str]| json!({ "type": "string", "enum": kinds });
    object(json!({
        "type": kind(&["http_endpoint", "mattermost"]),
        "pushEndpoint": { "type": "string", "examples": ["https://recv.example.org:5000/receive_here"] },
        "maxMessages": { "type": "integer" },
        "authorizationHeader": object(json!({ "type": kind(&["autogen", "disabled"]) })),
        "retryPolicy": object(json!({ "type": kind(&["linear", "slowstart"]), "period": { "type": "integer" } })),
        "mattermostUrl": text,
        "mattermostUsername": text,
        "mattermostChannel": text,
        "base64Decode": { "type": "boolean" },
    }))
}

/// Every status that an operation may answer.
fn responses(route: &Route) -> Value {
    let operation = route.operation;
    let mut answers = Map::new();
    answers.insert("200".to_owned(), success(operation));
    let mut fails = |status: u16, why: &str| {
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        let mut answer = json!({ "description": why, "content": content });
        if status == 503 {
            answer["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
        }
        answers.insert(status.to_string(), answer);
    };
    if operation == Op::Version {
        return answers.into();
    }
    fails(401, "No token, a wrong one, or a role that may not");
    fails(403, "A list or a project that the caller is not in");
    if operation == Op::Status {
        return answers.into();
    }
    fails(400, "A name, a parameter or a body that is not right");
    fails(404, "Something that the path or the body names does not exist");
    fails(503, "Not now: nothing was done, try again after a while");
    if body(operation).is_some() {
        fails(408, "The body came too slowly, or an acknowledgement came too late");
        fails(413, "A body or a message that is too large");
        fails(409, "Something is in the way: it exists already, or what it needs is gone");
    }
    if operation == Op::SubscriptionsVerifyPushEndpoint {
        fails(401, "No token, a wrong one, a role that may not; or the endpoint does not answer the hash");
        fails(409, "Push is off, the subscription is not pushed to an endpoint, or is verified already");
    }
    if operation == Op::SubscriptionsTimeToOffset {
        fails(409, "There is no message at or after the time");
    }
    if operation == Op::SubscriptionsAcknowledge {
        fails(
            500,
            "`no ack pending` or `wrong ack`: the contract's own words for an acknowledgement that does not fit",
        );
    }
    answers.into()
}

fn success(operation: Op) -> Value {
    let empty = matches!(
        operation,
        Op::ProjectsDelete
            | Op::UsersDelete
            | Op::RegistrationsDelete
            | Op::BindingsDelete
            | Op::TopicsDelete
            | Op::SubscriptionsDelete
            | Op::TopicsModifyAcl
            | Op::SubscriptionsModifyAcl
            | Op::SubscriptionsModifyPushConfig
            | Op::SubscriptionsVerifyPushEndpoint
            | Op::SubscriptionsModifyOffset
            | Op::SubscriptionsModifyAckDeadline
    );
    if empty {
        return json!({ "description": "Done; the body is empty" });
    }
    json!({ "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } })
}

#[test]
fn the_published_document_is_what_is_served() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi/ams-v1.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("ANGELIA_WRITE_SCHEMAS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let published = std::fs::read_to_string(file).unwrap_or_default();
    assert!(published == text, "write it anew: ANGELIA_WRITE_SCHEMAS=1 cargo test --lib openapi");
}

#[test]
fn every_operation_that_is_served_is_described_once() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|path| path.as_object().unwrap().len() - 1).sum();
    assert_eq!(described, paths::all().count());
}
