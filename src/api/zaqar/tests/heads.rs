//! What is checked before any handler, in its order; what tells clients what there is.

use super::*;

const FULL: [(&str, &str); 2] = [("Client-ID", CLIENT), ("X-Project-ID", "p")];

#[actix_web::test]
async fn versions_need_nothing_and_the_home_document_a_client() {
    let world = World::new().await;
    let versions = world.send("GET", "/", &[], "").await;
    assert_eq!(versions.with(300)["versions"][0]["links"][0]["href"], "/v2/");
    assert!(versions.header("x-openstack-request-id").starts_with("req-"));
    world.send("GET", "/", &[("Accept", "text/html")], "").await.with(406);
    world.send("GET", "/v2/", &[], "").await.with(400);
    let home = world.get("/v2/").await;
    assert_eq!(home.header("content-type"), "application/json-home");
    assert_eq!(home.header("cache-control"), "max-age=86400");
    let resources = home.with(200)["resources"].clone();
    for (name, resource) in resources.as_object().unwrap() {
        let template = resource["href-template"].as_str().or(resource["href"].as_str()).unwrap();
        assert!(template.starts_with("/v2") && name.starts_with("rel/"), "{name}: {template}");
    }
    assert_eq!(resources["rel/queue"]["href-template"], "/v2/queues/{queue_name}");
    assert_eq!(resources["rel/claim"]["href-vars"]["claim_id"], "param/claim_id");
}

#[actix_web::test]
async fn the_head_is_checked_in_the_contracts_order() {
    let world = World::new().await;
    let q = "/v2/queues/q";
    let client = ("Client-ID", CLIENT);
    for (method, path, headers, status, title) in [
        ("GET", "/v2", &[][..], 404, "404 Not Found"),
        ("GET", "/v2/queues/q/", &[], 404, "404 Not Found"),
        ("GET", "/v2/pools", &FULL, 404, "404 Not Found"),
        ("GET", "/v2/health", &FULL, 404, "404 Not Found"),
        ("HEAD", q, &FULL, 405, ""),
        ("POST", q, &[], 400, "Missing header value"),
        ("POST", q, &[("Client-ID", "x"), ("X-Project-ID", "p")], 400, "Wrong UUID value"),
        ("POST", q, &[client], 400, "Project-Id Missing"),
        ("POST", q, &[client, ("X-Project-ID", "")], 400, "Empty project header not allowed"),
        ("POST", q, &FULL, 405, "405 Method Not Allowed"),
        ("GET", "/v2/queues/", &FULL, 400, "Invalid queue identification"),
        ("GET", "/v2/queues/%20", &FULL, 400, "Invalid queue identification"),
        ("PUT", "/v2/queues/a%2Fb", &FULL, 400, "Invalid queue identification"),
        ("GET", q, &[client, ("X-Project-ID", "p"), ("Accept", "text/plain")], 406, "406 Not Acceptable"),
        ("GET", q, &[("Accept", "application/json-home")], 406, "406 Not Acceptable"),
        ("GET", q, &[client, ("X-Project-ID", "p"), ("URL-Signature", "x")], 404, "404 Not Found"),
        ("GET", q, &[("Host", "evil.example"), client, ("X-Project-ID", "p")], 403, "Not authorized"),
    ] {
        let answer = world.send(method, path, headers, "").await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {}", answer.body);
        assert_eq!(answer.header("x-openstack-request-id").len(), 40);
        if method != "HEAD" {
            assert_eq!(answer.json()["title"], title, "{method} {path} {headers:?}");
        }
    }
    let form = [FULL[0], FULL[1], ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(world.send("PUT", q, &form, "a=b").await.with(400)["title"], "Invalid Content-Type");
    assert_eq!(world.send("PUT", q, &form, "").await.status, 201);
    world
        .send("GET", q, &[FULL[0], ("X-Project-ID", &"ü".repeat(257))], "")
        .await
        .says(400, "The format of the submitted queue name or project id is not valid.");
    assert_eq!(world.send("GET", "/v2/queues", &[FULL[0], ("X-Project-ID", &"x".repeat(300))], "").await.status, 200);
}

#[actix_web::test]
async fn a_wrong_method_and_options_tell_the_right_ones() {
    let world = World::new().await;
    let wrong = world.send("POST", "/v2/queues/q", &FULL, "").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "DELETE, GET, PATCH, PUT, OPTIONS"));
    let options = world.send("OPTIONS", "/v2/queues/q/claims", &[], "").await;
    assert_eq!((options.status, options.header("allow"), options.body.as_str()), (200, "POST", ""));
}

#[actix_web::test]
async fn addresses_and_known_names_are_hosts() {
    let world = World::with(|options| options.hosts = vec!["queues.example".to_owned()]).await;
    for host in ["127.0.0.1:8888", "[::1]:8888", "localhost", "LOCALHOST:1", "queues.example:80", "10.1.2.3"] {
        assert_eq!(world.send("GET", "/", &[("Host", host)], "").await.status, 300, "{host}");
    }
    for host in ["localhost.evil.example", "127.0.0.1.evil.example:8888", ""] {
        assert_eq!(world.send("GET", "/", &[("Host", host)], "").await.status, 403, "{host}");
    }
}

#[actix_web::test]
async fn a_client_is_the_same_however_its_id_is_written() {
    let world = World::new().await;
    world.post(&["1"]).await;
    let plain = CLIENT.replace('-', "");
    for id in [plain.as_str(), &CLIENT.to_uppercase(), &format!("{{{CLIENT}}}"), &format!("urn:uuid:{CLIENT}")] {
        let own = world.as_client(id, "GET", "/v2/queues/q/messages", "").await.with(200);
        assert_eq!(own["messages"].as_array().unwrap().len(), 0, "{id}");
    }
    for wrong in ["", "x", &plain[1..], &format!("{plain}0"), &plain.replace('3', "g")] {
        world.as_client(wrong, "GET", "/v2/queues", "").await.says(400, "Malformed hexadecimal UUID.");
    }
    let relaxed = World::with(|options| options.limits.client_id_strict = false).await;
    relaxed.as_client("a-long-enough-name", "GET", "/v2/queues", "").await.with(200);
    relaxed.as_client("short", "GET", "/v2/queues", "").await.with(400);
}

#[actix_web::test]
async fn health_is_for_administrators_in_admin_mode_whose_roles_are_believed() {
    let headers = [FULL[0], FULL[1], ("X-Roles", "member,admin")];
    let world = World::with(|options| options.admin_mode = true).await;
    world.send("GET", "/v2/health", &headers, "").await.says(403, "You are not authorized to complete this action.");
    let world = World::with(|options| (options.admin_mode, options.trust_roles) = (true, true)).await;
    let health = world.send("GET", "/v2/health", &headers, "").await.with(200);
    assert_eq!(health["storage_reachable"], true);
    let steps = health["operation_status"].as_object().unwrap();
    assert_eq!(steps.len(), 8, "{steps:?}");
    assert!(steps.values().all(|step| step["succeeded"] == true && step["ref"].is_null()), "{steps:?}");
    world.send("GET", "/v2/health", &FULL, "").await.with(403);
    assert_eq!(world.get("/v2/ping").await.status, 204);
    assert_eq!(world.send("HEAD", "/v2/ping", &FULL, "").await.status, 204);
    world.send("GET", "/v2/ping", &[], "").await.with(400);
}
