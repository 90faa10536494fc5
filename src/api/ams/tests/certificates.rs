//! Bindings of certificates' subjects through their routes. Logins by certificate need TLS: `tests/ams/x509.py` does them.

use super::*;

impl World {
    async fn robot(&self) -> String {
        self.post("/v1/users/robot", "{}").await.ok().json()["uuid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_binding_is_made_shown_listed_changed_and_removed() {
    let world = World::new().await;
    let uuid = world.robot().await;
    let body = format!(
        r#"{{"service_uuid":"x","host":"h","auth_identifier":"/C=GR/CN=robot","unique_key":"{uuid}","auth_type":"x509"}}"#
    );
    let made = world.post("/v1/bindings/b1", &body).await.ok();
    let shown = made.json();
    assert_eq!(
        (shown["name"].as_str(), shown["auth_identifier"].as_str(), shown["unique_key"].as_str()),
        (Some("b1"), Some("CN=robot,C=GR"), Some(uuid.as_str()))
    );
    assert_eq!((shown["user"].as_str(), shown["auth_type"].as_str()), (Some("robot"), Some("x509")));
    assert!(shown.get("issuer").is_none() && shown["created_on"] == "2024-05-01T10:00:00Z");
    assert_eq!(world.get("/v1/bindings/b1").await.ok().body, made.body);
    world.post("/v1/bindings/b2", r#"{"auth_identifier":"CN=b","user":"robot","issuer":"CN=CA"}"#).await.ok();
    let all = world.get("/v1/bindings").await.ok().json();
    assert_eq!(all["bindings"].as_array().unwrap().len(), 2);
    let found = world.get("/v1/bindings?authID=%2FC%3DGR%2FCN%3Drobot").await.ok().json();
    assert_eq!(found["bindings"][0]["name"], "b1");
    world.put("/v1/bindings/b2", r#"{"issuer":""}"#).await.ok();
    assert!(world.get("/v1/bindings/b2").await.ok().json().get("issuer").is_none());
    assert_eq!(world.delete("/v1/bindings/b1").await.ok().body, "");
    world.get("/v1/bindings/b1").await.is(404, "Binding was not found");
}

#[tokio::test]
async fn a_wrong_binding_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.robot().await;
    world.post("/v1/bindings/b1", r#"{"auth_identifier":"CN=a","user":"robot"}"#).await.ok();
    let before = world.dump().await;
    let missing = "binding object contains empty fields. empty value for field: ";
    for (name, body, status, message) in [
        ("b1", r#"{"auth_identifier":"CN=b","user":"robot"}"#, 409, "Binding already exists".to_owned()),
        (
            "b2",
            r#"{"auth_identifier":"/CN=a","user":"robot"}"#,
            409,
            "Binding with this auth_identifier already exists".to_owned(),
        ),
        ("b2", r#"{"user":"robot"}"#, 400, format!("{missing}auth_identifier")),
        ("b2", r#"{"auth_identifier":"CN=b"}"#, 400, format!("{missing}unique_key")),
        ("b2", r#"{"auth_identifier":"CN=b","user":"nobody"}"#, 404, "User doesn't exist".to_owned()),
        ("b2", r#"{"auth_identifier":"CN=b","unique_key":"7"}"#, 404, "User doesn't exist".to_owned()),
        (
            "b2",
            r#"{"auth_identifier":"CN=b","unique_key":"7","user":"robot"}"#,
            400,
            "Give unique_key or user, not both".to_owned(),
        ),
        (
            "b2",
            r#"{"auth_identifier":"CN=b","user":"robot","auth_type":"oidc"}"#,
            400,
            "Auth type: oidc is not yet supported. Supported:[x509]".to_owned(),
        ),
        ("b2", r#"{"auth_identifier":7}"#, 400, "Invalid Binding Arguments".to_owned()),
        ("b2", "", 400, "Invalid Binding Arguments".to_owned()),
    ] {
        world.post(&format!("/v1/bindings/{name}"), body).await.is(status, &message);
    }
    let ambiguous = r#"{"auth_identifier":"/O=x/CN=host/a.example.org","user":"robot"}"#;
    let refused = world.post("/v1/bindings/b2", ambiguous).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("ambiguous") && refused.body.contains("CN=…,O=…"), "{}", refused.body);
    world
        .put("/v1/bindings/b1", r#"{"name":"b9"}"#)
        .await
        .is(400, "A binding keeps its name: make another and delete this one");
    world.put("/v1/bindings/b9", "{}").await.is(404, "Binding was not found");
    world.delete("/v1/bindings/b9").await.is(404, "Binding was not found");
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn only_service_admins_see_and_make_bindings() {
    let world = World::demo().await;
    let token = world.member("pa", r#""project_admin""#).await;
    for (method, path) in [
        (Method::GET, "/v1/bindings"),
        (Method::GET, "/v1/bindings/b"),
        (Method::POST, "/v1/bindings/b"),
        (Method::PUT, "/v1/bindings/b"),
        (Method::DELETE, "/v1/bindings/b"),
    ] {
        assert!(matches!(world.as_user(&token, method.clone(), path, "{}").await.status, 401 | 403), "{method} {path}");
        world.send(method, path, &[], "{}").await.is(401, "Unauthorized");
    }
}
