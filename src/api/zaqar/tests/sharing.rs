//! Pre-signed URLs: what they open, and what not.

use super::*;
use serde_json::json;

async fn signed(world: &World, body: &str) -> Value {
    world.call("POST", "/v2/queues/q/share", body).await.with(200)
}

async fn with(world: &World, signed: &Value, method: &str, path: &str, change: &[(&str, &str)], body: &str) -> u16 {
    let list = |name: &str| {
        let list = signed[name].as_array().unwrap().iter().map(|item| item.as_str().unwrap());
        list.rev().collect::<Vec<_>>().join(",")
    };
    let (paths, methods) = (list("paths"), list("methods"));
    let mut headers = vec![
        ("Client-ID", CLIENT),
        ("X-Project-ID", signed["project"].as_str().unwrap()),
        ("URL-Signature", signed["signature"].as_str().unwrap()),
        ("URL-Expires", signed["expires"].as_str().unwrap()),
        ("URL-Methods", &methods),
        ("URL-Paths", &paths),
    ];
    for (name, value) in change {
        headers.retain(|(given, _)| given != name);
        headers.push((name, value));
    }
    world.send(method, path, &headers, body).await.status
}

#[actix_web::test]
async fn a_signature_opens_its_paths_and_methods_until_it_expires() {
    let world = World::new().await;
    let body =
        r#"{"paths": ["messages", "claims"], "methods": ["POST", "GET"], "expires": "2024-05-01T11:00:00+01:00"}"#;
    world.call("POST", "/v2/queues/q/share", body).await.says(400, "`expires` is lower than the current time");
    let signed = signed(&world, &body.replace("11:00", "11:01")).await;
    assert_eq!(
        (&signed["paths"], &signed["methods"], &signed["project"], &signed["expires"]),
        (
            &json!(["/v2/queues/q/claims", "/v2/queues/q/messages"]),
            &json!(["GET", "POST"]),
            &json!("proj1"),
            &json!("2024-05-01T10:01:00")
        )
    );
    let (messages, post) = ("/v2/queues/q/messages", r#"{"messages": [{"body": 1}]}"#);
    assert_eq!(with(&world, &signed, "POST", messages, &[], post).await, 201);
    assert_eq!(with(&world, &signed, "GET", "/v2/queues/q/messages/1", &[], "").await, 404);
    assert_eq!(
        with(
            &world,
            &signed,
            "GET",
            &format!("{messages}?echo=true"),
            &[("URL-Expires", "2024-05-01T12:01:00+02:00")],
            ""
        )
        .await,
        200
    );
    for (method, path, change) in [
        ("DELETE", "/v2/queues/q/messages?pop=1", &[][..]),
        ("GET", "/v2/queues/q/messagesx", &[]),
        ("GET", "/v2/queues/q", &[]),
        ("GET", "/v2/queues/p/messages", &[]),
        ("GET", messages, &[("X-Project-ID", "proj2")]),
        ("GET", messages, &[("URL-Expires", "2025-05-01T10:01:00")]),
        ("GET", messages, &[("URL-Expires", "soon")]),
        ("GET", messages, &[("URL-Methods", "GET")]),
        ("GET", messages, &[("URL-Paths", messages)]),
        ("GET", messages, &[("URL-Signature", "00")]),
    ] {
        assert_eq!(with(&world, &signed, method, path, change, "").await, 404, "{method} {path} {change:?}");
    }
    world.pass(61);
    assert_eq!(with(&world, &signed, "GET", messages, &[], "").await, 404);
}

#[actix_web::test]
async fn without_a_key_nothing_is_signed_and_a_signature_lends_no_role() {
    let world = World::with(|options| options.url_key = None).await;
    world.call("POST", "/v2/queues/q/share", "{}").await.says(400, "The `key` can't be None");
    let world = World::with(|options| (options.admin_mode, options.trust_roles) = (true, true)).await;
    let signed = signed(&world, "{}").await;
    assert_eq!((&signed["methods"], &signed["expires"]), (&json!(["GET"]), &json!("2024-05-02T10:00:00")));
    assert_eq!(with(&world, &signed, "GET", "/v2/health", &[("X-Roles", "admin")], "").await, 404);
}

#[actix_web::test]
async fn what_cannot_be_shared_is_told() {
    let world = World::new().await;
    for (body, said) in [
        (r#"{"project_id": "x"}"#, "Unknown keys: {'project_id'}"),
        (r#"{"paths": ["x"]}"#, "Invalid paths: {'x'}"),
        (r#"{"methods": "GET"}"#, "`methods` should be a list"),
        (
            r#"{"expires": 12345}"#,
            "`expires` should be date format, for example 2016-01-01T00:00:00, not integer value: 12345",
        ),
        (
            r#"{"expires": "12345"}"#,
            "`expires` should be date format, for example 2016-01-01T00:00:00, not integer value: 12345",
        ),
        (r#"{"expires": "nope"}"#, "Unable to parse date string 'nope'"),
        ("[]", "Document type not supported."),
    ] {
        world.call("POST", "/v2/queues/q/share", body).await.says(400, said);
    }
    assert_eq!(world.get("/v2/queues").await.with(200)["queues"], json!([]));
}
