//! What holds for every route: routing, CORS, tokens, the order of checks.

use super::*;

#[actix_web::test]
async fn unknown_paths_and_methods_get_the_404_page() {
    let world = World::demo().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/v1/nothing"),
        (Method::GET, "/v1/projects/"),
        (Method::HEAD, "/v1/status"),
        (Method::DELETE, "/v1/status"),
        (Method::PATCH, "/v1/projects/DEMO"),
        (Method::POST, "/v1/projects/DEMO/topics/t1:foo"),
        (Method::GET, "/v1/projects/DEMO/topics/a%2Fb"),
    ] {
        let reply = world.call(method.clone(), path, "").await;
        assert_eq!(reply.status, 404, "{method} {path}");
        assert_eq!(reply.body, "404 page not found\n", "{method} {path}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    let wrong_method = world.post("/v1/version", "").await;
    assert_eq!((wrong_method.status, wrong_method.body.as_str()), (405, ""));
}

#[actix_web::test]
async fn a_path_that_is_not_clean_is_sent_on_with_its_query() {
    let world = World::new().await;
    let reply = world.get("/v1//projects/x/../y?pageSize=1").await;
    assert_eq!((reply.status, reply.header("location")), (301, "/v1/projects/y?pageSize=1"));
}

#[actix_web::test]
async fn pages_of_other_origins_may_read_every_answer() {
    let world = World::new().await;
    for path in ["/v1/status", "/v1/nothing", "/v1/projects/x"] {
        let reply = world.send(Method::GET, path, &[("origin", "https://ui")], "").await;
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
        let reply = world.send(Method::GET, path, &[], "").await;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{path}");
        let asks = [
            ("origin", "https://ui"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-api-key"),
        ];
        let reply = world.send(Method::OPTIONS, path, &asks, "").await;
        assert_eq!((reply.status, reply.header("access-control-allow-headers")), (200, "X-Api-Key"), "{path}");
    }
}

#[actix_web::test]
async fn every_answer_carries_a_request_id_of_its_own() {
    let world = World::new().await;
    let (first, second) = (world.get("/v1/status").await, world.get("/v1/nothing").await);
    for reply in [&first, &second] {
        assert!(uuid::Uuid::parse_str(reply.header("x-request-id")).is_ok());
    }
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[actix_web::test]
async fn checks_come_in_the_contracts_order() {
    let world = World::demo().await;
    let consumer = world.member("carol", r#""consumer""#).await;
    let none = world.member("nora", "").await;
    let publish = "/v1/projects/DEMO/topics/t1:publish";
    // Names before tokens, alphabetically by variable.
    for (path, variable) in [
        ("/v1/projects/a:b/topics/c:d", "project"),
        ("/v1/projects/DEMO/topics/c,d", "topic"),
        ("/v1/projects/DEMO/topics/t:foo", "topic"),
        ("/v1/projects/DEMO/subscriptions/s%20s", "subscription"),
        ("/v1/users/a.b", "user"),
        ("/v1/users:byToken/a%2Bb", "token"),
        ("/v1/projects/%ff", "project"),
    ] {
        world.send(Method::GET, path, &[], "").await.is(400, &format!("Invalid {variable} name"));
    }
    // Then a token, then the project, then whose token it is, then what he may.
    world.send(Method::POST, "/v1/projects/NONE/topics/t:publish", &[], "").await.is(401, "Unauthorized");
    world
        .as_user("wrong", Method::POST, "/v1/projects/NONE/topics/t:publish", "")
        .await
        .is(404, "project doesn't exist");
    world.as_user("wrong", Method::POST, publish, "").await.is(401, "Unauthorized");
    world.as_user(&none, Method::POST, publish, "").await.is(401, "Unauthorized");
    world.as_user(&consumer, Method::POST, publish, "").await.is(403, "Access to this resource is forbidden");
    // A project's roles end with the project.
    world.post("/v1/projects/OTHER", "{}").await.ok();
    world.as_user(&consumer, Method::GET, "/v1/projects/OTHER/subscriptions", "").await.is(401, "Unauthorized");
    let admin = world.member("adam", r#""project_admin""#).await;
    for path in ["/v1/users", "/v1/projects"] {
        world.as_user(&admin, Method::GET, path, "").await.is(401, "Unauthorized");
    }
    // Then the resource, then its access list, then the body.
    let publisher = world.member("paul", r#""publisher""#).await;
    world
        .as_user(&publisher, Method::POST, "/v1/projects/DEMO/topics/none:publish", "x")
        .await
        .is(404, "Topic doesn't exist");
    world.as_user(&publisher, Method::POST, publish, "x").await.is(403, "Access to this resource is forbidden");
    world.post("/v1/projects/DEMO/topics/t1:modifyAcl", r#"{"authorized_users":["paul"]}"#).await.ok();
    world.as_user(&publisher, Method::POST, publish, "x").await.is(400, "Invalid Message Arguments");
    world.as_user(&publisher, Method::POST, publish, "{}").await.ok();
}

#[actix_web::test]
async fn tokens_stand_where_the_option_says() {
    for (option, header, query) in
        [(AuthOption::Both, 200, 200), (AuthOption::Header, 200, 401), (AuthOption::Key, 401, 200)]
    {
        let world = World::with(|options| options.auth_option = option).await;
        assert_eq!(world.get("/v1/projects").await.status, header, "{option:?}");
        let path = format!("/v1/projects?key={SERVICE}");
        assert_eq!(world.send(Method::GET, &path, &[], "").await.status, query, "{option:?}");
        // An empty header is no token, a wrong one is.
        let empty = world.send(Method::GET, &path, &[("x-api-key", "")], "").await;
        assert_eq!(empty.status, query, "{option:?}");
        let wrong = world.send(Method::GET, &path, &[("X-Api-Key", "wrong")], "").await;
        assert_eq!(wrong.status, if option == AuthOption::Key { 200 } else { 401 }, "{option:?}");
    }
}

#[actix_web::test]
async fn an_empty_service_token_opens_nothing() {
    let world = World::with(|options| options.service_token = Some(Token::new(""))).await;
    world.send(Method::GET, "/v1/projects?key=", &[("x-api-key", "")], "").await.is(401, "Unauthorized");
}

#[actix_web::test]
async fn errors_are_laid_out_as_the_contract_shows() {
    let world = World::demo().await;
    let reply = world.get("/v1/projects/DEMO/topics/none").await;
    let expected = "{\n   \"error\": {\n      \"code\": 404,\n      \"message\": \"Topic doesn't exist\",\n      \"status\": \"NOT_FOUND\"\n   }\n}";
    assert_eq!((reply.status, reply.body.as_str()), (404, expected));
}

#[actix_web::test]
async fn status_and_version_are_open_with_more_for_some() {
    let world = World::with(|options| options.proxy_hostname = "lb.example.org".to_owned()).await;
    let status = world.send(Method::GET, "/v1/status", &[], "").await.ok();
    assert_eq!(status.body, "{\n \"status\": \"ok\",\n \"push_functionality\": \"disabled\"\n}");
    let viewer = world.post("/v1/users/vera", r#"{"service_roles":["admin_viewer"]}"#).await.ok().json();
    let admin = world.post("/v1/users/adam", r#"{"service_roles":["service_admin"]}"#).await.ok().json();
    let nobody = world.post("/v1/users/nora", "{}").await.ok().json();
    let details = "/v1/status?details=true";
    world.as_user(admin["token"].as_str().unwrap(), Method::GET, details, "").await.ok();
    world.as_user(viewer["token"].as_str().unwrap(), Method::GET, details, "").await.ok();
    world.as_user(nobody["token"].as_str().unwrap(), Method::GET, details, "").await.is(401, "Unauthorized");
    world.get(details).await.is(403, "Access to this resource is forbidden");
    world.send(Method::GET, details, &[], "").await.is(403, "Access to this resource is forbidden");
    let version = world.send(Method::GET, "/v1/version", &[], "").await.ok().json();
    assert_eq!((&version["hostname"], &version["release"]), (&"lb.example.org".into(), &Value::Null));
    let version = world.as_user(admin["token"].as_str().unwrap(), Method::GET, "/v1/version", "").await.ok().json();
    assert_eq!(version["release"], env!("CARGO_PKG_VERSION"));
}

#[actix_web::test]
async fn requests_are_counted_by_route_and_status() {
    let world = World::demo().await;
    world.get("/v1/projects/DEMO").await.ok();
    world.get("/v1/projects/NONE").await;
    let text = world.metrics.render().unwrap();
    assert!(
        text.contains(r#"angelia_requests_total{dialect="ams",operation="projects:show",status="200"} 1"#),
        "{text}"
    );
    assert!(
        text.contains(r#"angelia_requests_total{dialect="ams",operation="projects:show",status="404"} 1"#),
        "{text}"
    );
}

#[test]
fn the_default_roles_are_the_seeded_ones() {
    let table = default_roles();
    let may = |role: &str, permission: &str| table.allows(permission, [crate::domain::acl::RoleName::new(role)].iter());
    assert_eq!(table.rows().count(), super::super::paths::all().count(), "each route has a row");
    assert!(may("publisher", "topics:publish") && !may("publisher", "subscriptions:pull"));
    assert!(may("consumer", "subscriptions:pull") && !may("consumer", "topics:publish"));
    assert!(may("push_worker", "users:byToken") && may("argo_api_authn", "users:byUUID"));
    assert!(may("service_admin", "registrations:delete") && !may("project_admin", "users:show"));
}

#[test]
fn the_builds_time_is_that_of_its_sources_or_none() {
    use super::super::build_time;
    assert_eq!(build_time(Some("1714557600")), "2024-05-01T10:00:00Z");
    assert_eq!([build_time(Some("yesterday")), build_time(None)], ["", ""]);
}
