//! Projects, members, users, topics, subscriptions, access lists, pages.

use super::*;
use crate::domain::Name;
use crate::domain::topic::Retention;

#[actix_web::test]
async fn projects_are_made_shown_changed_and_removed() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/projects").await.ok().body, "{}");
    let admin = world.post("/v1/users/admin1", r#"{"service_roles":["service_admin"]}"#).await.ok().json();
    let admin = admin["token"].as_str().unwrap();
    let made =
        world.as_user(admin, Method::POST, "/v1/projects/DEMO", r#"{"description":"first project","name":"x"}"#).await;
    let expected = "{\n   \"name\": \"DEMO\",\n   \"created_on\": \"2024-05-01T10:00:00Z\",\n   \"modified_on\": \"2024-05-01T10:00:00Z\",\n   \"created_by\": \"admin1\",\n   \"description\": \"first project\"\n}";
    assert_eq!(made.ok().body, expected);
    assert_eq!(world.get("/v1/projects/DEMO").await.ok().body, expected);
    world.post("/v1/projects/DEMO", "{}").await.is(409, "Project already exists");
    world.clock.advance(Duration::from_secs(5));
    world.post("/v1/projects/OTHER", "{}").await.ok();
    let list = world.get("/v1/projects").await.ok().json();
    assert_eq!((&list["projects"][0]["name"], &list["projects"][1]["name"]), (&"DEMO".into(), &"OTHER".into()));
    assert_eq!(list["projects"][1].get("created_by"), None);

    world
        .put("/v1/projects/DEMO", r#"{"name":"OTHER"}"#)
        .await
        .is(400, "invalid project name change, name already exists");
    world.put("/v1/projects/DEMO", r#"{"name":"bad name"}"#).await.is(400, "Invalid project name");
    world.put("/v1/projects/DEMO", "").await.is(400, "Invalid Request Body");
    let changed = world.put("/v1/projects/DEMO", r#"{"name":"NEW","description":""}"#).await.ok().json();
    assert_eq!((&changed["name"], &changed["description"]), (&"NEW".into(), &"first project".into()));
    assert_eq!(changed["modified_on"], "2024-05-01T10:00:05Z");
    world.get("/v1/projects/DEMO").await.is(404, "project doesn't exist");
    assert_eq!(world.delete("/v1/projects/NEW").await.ok().body, "");
    world.get("/v1/projects/NEW").await.is(404, "project doesn't exist");
}

#[actix_web::test]
async fn a_removed_project_takes_its_memberships_with_it() {
    let world = World::demo().await;
    world.member("alice", r#""consumer""#).await;
    world.delete("/v1/projects/DEMO").await.ok();
    assert_eq!(world.get("/v1/users/alice").await.ok().json().get("projects"), None);
}

#[actix_web::test]
async fn a_new_member_is_shown_as_the_contract_shows_him() {
    let world = World::demo().await;
    let admin = world.post("/v1/users/admin1", r#"{"service_roles":["service_admin"]}"#).await.ok().json();
    let body = r#"{"email":"a@example.org","projects":[{"project":"ELSE","roles":["nonsense"]},{"project":"DEMO","roles":["publisher","consumer"]}]}"#;
    let made = world
        .as_user(admin["token"].as_str().unwrap(), Method::POST, "/v1/projects/DEMO/members/alice", body)
        .await
        .ok();
    let (uuid, token) =
        (made.json()["uuid"].as_str().unwrap().to_owned(), made.json()["token"].as_str().unwrap().to_owned());
    let expected = "{\n   \"uuid\": \"UUID\",\n   \"projects\": [\n      {\n         \"project\": \"DEMO\",\n         \"roles\": [\n            \"publisher\",\n            \"consumer\"\n         ],\n         \"topics\": [],\n         \"subscriptions\": []\n      }\n   ],\n   \"name\": \"alice\",\n   \"token\": \"TOKEN\",\n   \"email\": \"a@example.org\",\n   \"service_roles\": [],\n   \"created_on\": \"2024-05-01T10:00:00Z\",\n   \"modified_on\": \"2024-05-01T10:00:00Z\",\n   \"created_by\": \"admin1\"\n}";
    assert_eq!(made.body, expected.replace("UUID", &uuid).replace("TOKEN", &token));
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[actix_web::test]
async fn members_are_added_changed_and_removed_one_project_at_a_time() {
    let world = World::demo().await;
    let members = "/v1/projects/DEMO/members";
    world.post("/v1/users/bob", "{}").await.ok();
    world.get(&format!("{members}/bob")).await.is(404, "User doesn't exist");
    world.post(&format!("{members}/nobody:add"), "").await.is(404, "User doesn't exist");
    world.post(&format!("{members}/bob:add"), "").await.is(400, "Invalid Request Body");
    world.post(&format!("{members}/bob:add"), r#"{"roles":["king"]}"#).await.is(400, "invalid role: king");
    let put = format!("{members}/bob");
    let roles = r#"{"projects":[{"project":"DEMO","roles":["publisher"]}]}"#;
    let not_a_member = "Access to this resource is forbidden. User is not a member of the project";
    world.put(&put, roles).await.is(403, not_a_member);
    world.post(&format!("{members}/bob:remove"), "").await.is(403, not_a_member);
    world.post(&format!("{members}/bob:add"), r#"{"roles":["consumer"],"topics":["t1"]}"#).await.ok();
    world
        .post(&format!("{members}/bob:add"), r#"{"roles":[]}"#)
        .await
        .is(409, "User is already a member of the project");
    world.put(&put, "{}").await.is(403, not_a_member);
    world.put(&put, "{").await.is(400, "Invalid User Arguments");
    let changed = world.put(&put, roles).await.ok().json();
    assert_eq!(changed["projects"][0]["roles"], serde_json::json!(["publisher"]));
    assert_eq!(world.post(&format!("{members}/bob:remove"), "").await.ok().body, "{}");
    world.get(&put).await.is(404, "User doesn't exist");
    world.post(&format!("{members}/bob"), "{}").await.is(409, "User already exists");
    world.post(&format!("{members}/new"), "").await.is(400, "Invalid User Arguments");
}

#[actix_web::test]
async fn a_project_admin_sees_neither_tokens_nor_creators_nor_other_projects() {
    let world = World::demo().await;
    let admin = world.member("adam", r#""project_admin""#).await;
    world.post("/v1/projects/OTHER", "{}").await.ok();
    let user = r#"{"projects":[{"project":"DEMO","roles":["consumer"]},{"project":"OTHER","roles":["consumer"]}],"service_roles":["push_worker"]}"#;
    world.post("/v1/users/zoe", user).await.ok();
    let full = world.get("/v1/projects/DEMO/members/zoe").await.ok().json();
    assert_eq!(full["projects"].as_array().unwrap().len(), 2);
    assert!(full["token"].is_string() && full["service_roles"][0] == "push_worker");
    let list = "/v1/projects/DEMO/members?details=true";
    for path in ["/v1/projects/DEMO/members/zoe", list] {
        let seen = world.as_user(&admin, Method::GET, path, "").await.ok().json();
        let seen = if path == list { seen["users"][0].clone() } else { seen };
        assert_eq!(seen["name"], "zoe");
        assert_eq!((seen.get("token"), seen.get("created_by")), (None, None), "{path}");
        assert_eq!(seen["service_roles"], serde_json::json!([]));
        assert_eq!(seen["projects"].as_array().unwrap().len(), 1, "{path}");
    }
    let plain = world.as_user(&admin, Method::GET, "/v1/projects/DEMO/members", "").await.ok().json();
    assert_eq!((plain["users"][0].get("projects"), &plain["totalSize"]), (None, &2.into()));
    let made = world.as_user(&admin, Method::POST, "/v1/projects/DEMO/members/new", "{}").await.ok().json();
    assert!(made["token"].is_string() && made["created_by"] == "adam");
}

#[actix_web::test]
async fn users_are_made_found_changed_and_removed() {
    let world = World::demo().await;
    world.post("/v1/users/u", "").await.is(400, "Invalid User Arguments");
    for (body, message) in [
        (r#"{"projects":[{"project":"DEMO"},{"project":"DEMO"}]}"#, "duplicate reference of project DEMO"),
        (r#"{"projects":[{"project":"NONE"}]}"#, "invalid project: NONE"),
        (r#"{"projects":[{"project":"a/b"}]}"#, "invalid project: a/b"),
        (r#"{"projects":[{"project":"DEMO","roles":["king"]}]}"#, "invalid role: king"),
        (r#"{"service_roles":["king"]}"#, "invalid role: king"),
    ] {
        world.post("/v1/users/u", body).await.is(400, message);
    }
    let body = r#"{"EMAIL":"u@x","first_name":"U","projects":[{"project":""},{"project":"DEMO","roles":null}],"service_roles":null,"token":"mine","uuid":"mine"}"#;
    let made = world.post("/v1/users/u", body).await.ok().json();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["projects"][0]["roles"], serde_json::json!([]));
    assert_eq!((&made["email"], &made["service_roles"]), (&"u@x".into(), &serde_json::json!([])));
    world.post("/v1/users/u", "{}").await.is(409, "User already exists");
    for path in [
        "/v1/users/u",
        &format!("/v1/users:byToken/{token}"),
        &format!("/v1/users:byUUID/{}", made["uuid"].as_str().unwrap()),
    ] {
        assert_eq!(world.get(path).await.ok().json(), made, "{path}");
    }
    assert_eq!(world.as_user(token, Method::GET, "/v1/users/profile", "").await.ok().json(), made);
    world.as_user("wrong", Method::GET, "/v1/users/profile", "").await.is(401, "Unauthorized");
    world.get("/v1/users/profile").await.is(401, "Unauthorized");

    world.put("/v1/users/u", r#"{"name":"a b"}"#).await.is(400, "Invalid user name");
    world.post("/v1/users/other", "{}").await.ok();
    world.put("/v1/users/u", r#"{"name":"other"}"#).await.is(400, "invalid user name change, name already exists");
    world.clock.advance(Duration::from_secs(60));
    let changed =
        world.put("/v1/users/u", r#"{"name":"v","email":"","last_name":"V","projects":[]}"#).await.ok().json();
    assert_eq!((&changed["name"], &changed["email"], &changed["last_name"]), (&"v".into(), &"u@x".into(), &"V".into()));
    assert_eq!((changed.get("projects"), &changed["token"], &changed["uuid"]), (None, &made["token"], &made["uuid"]));
    let refreshed = world.post("/v1/users/v:refreshToken", "").await.ok().json();
    assert_ne!(refreshed["token"], made["token"]);
    assert_eq!(refreshed["modified_on"], changed["modified_on"]);
    world.as_user(token, Method::GET, "/v1/users/profile", "").await.is(401, "Unauthorized");
    assert_eq!(world.delete("/v1/users/v").await.ok().body, "");
    // Somebody who is not there is not somebody else (quirk 1).
    world.get("/v1/users/v").await.is(404, "User doesn't exist");
    world.delete("/v1/users/v").await.is(404, "User doesn't exist");
    world.put("/v1/users/v", "{}").await.is(404, "User doesn't exist");
    world.put("/v1/users/v", r#"{"service_roles":["king"]}"#).await.is(400, "invalid role: king");
    world.post("/v1/users/v:refreshToken", "").await.is(404, "User doesn't exist");
    world.get(&format!("/v1/users:byToken/{token}")).await.is(404, "User doesn't exist");
    world.get("/v1/users:byUUID/none").await.is(404, "User doesn't exist");
}

#[actix_web::test]
async fn a_list_is_paged_newest_first_with_exact_totals() {
    let world = World::new().await;
    world.post("/v1/projects/DEMO", "{}").await.ok();
    assert_eq!(
        world.get("/v1/projects/DEMO/topics").await.ok().body,
        "{\n   \"topics\": [],\n   \"nextPageToken\": \"\",\n   \"totalSize\": 0\n}"
    );
    for name in ["t1", "t2", "t3"] {
        world.put(&format!("/v1/projects/DEMO/topics/{name}"), "").await.ok();
        world.subscription_of(name).await;
        world.member(name, "").await;
    }
    for (path, field) in [
        ("/v1/projects/DEMO/topics", "topics"),
        ("/v1/projects/DEMO/subscriptions", "subscriptions"),
        ("/v1/projects/DEMO/members", "users"),
        ("/v1/users", "users"),
        ("/v1/users?project=DEMO", "users"),
    ] {
        let join = if path.contains('?') { '&' } else { '?' };
        let names = |page: &Value| -> Vec<String> {
            page[field]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
                .collect()
        };
        let first = world.get(&format!("{path}{join}pageSize=2")).await.ok().json();
        assert_eq!((names(&first), &first["totalSize"]), (vec!["t3".to_owned(), "t2".to_owned()], &3.into()), "{path}");
        let token = first["nextPageToken"].as_str().unwrap().replace('=', "%3D").replace('+', "%2B");
        let second = world.get(&format!("{path}{join}pageSize=2&pageToken={token}")).await.ok().json();
        assert_eq!(
            (names(&second), &second["nextPageToken"], &second["totalSize"]),
            (vec!["t1".to_owned()], &"".into(), &3.into())
        );
        world.get(&format!("{path}{join}pageSize=x")).await.is(400, "Invalid page size");
        world.get(&format!("{path}{join}pageToken=invalid")).await.is(400, "Invalid page token");
        assert_eq!(names(&world.get(&format!("{path}{join}pageSize=0")).await.ok().json()).len(), 3);
    }
    world.get("/v1/users?project=NONE").await.is(404, "ProjectUUID doesn't exist");
    // A token goes on where its item was.
    let first = world.get("/v1/projects/DEMO/topics?pageSize=1").await.ok().json();
    let token = first["nextPageToken"].as_str().unwrap().replace('=', "%3D");
    world.delete("/v1/projects/DEMO/topics/t2").await.ok();
    let rest = world.get(&format!("/v1/projects/DEMO/topics?pageToken={token}")).await.ok().json();
    assert_eq!((rest["topics"].as_array().unwrap().len(), &rest["totalSize"]), (1, &2.into()));
    // The library's name for it.
    let users = world.get("/v1/users?details=True&pageSize=2&nextPageToken=").await.ok().json();
    let token = users["nextPageToken"].as_str().unwrap().replace('=', "%3D");
    let rest = world.get(&format!("/v1/users?pageSize=2&nextPageToken={token}")).await.ok().json();
    assert_eq!((rest["users"][0]["name"].as_str(), users["users"][0]["projects"].is_array()), (Some("t1"), true));
}

impl World {
    async fn subscription_of(&self, topic: &str) {
        let body = format!(r#"{{"topic":"projects/DEMO/topics/{topic}"}}"#);
        self.put(&format!("/v1/projects/DEMO/subscriptions/{topic}"), &body).await.ok();
    }
}

#[actix_web::test]
async fn a_topic_keeps_what_was_configured_when_it_was_made() {
    let keep = |days| Retention { age: Duration::from_secs(days * 86_400), bytes: Some(days) };
    let world = World::with(|options| options.retention = keep(3)).await;
    let project = async || world.ams.broker.project(&Name::new("DEMO").unwrap()).await.unwrap().id;
    let kept =
        async |name: &str| world.ams.broker.topic(project().await, &Name::new(name).unwrap()).await.unwrap().retention;
    world.post("/v1/projects/DEMO", "{}").await.ok();
    world.put("/v1/projects/DEMO/topics/t1", "").await.ok();
    world.ams.set_options(AmsOptions {
        retention: keep(4),
        service_token: Some(Token::new(SERVICE)),
        ..AmsOptions::default()
    });
    world.put("/v1/projects/DEMO/topics/t2", "").await.ok();
    assert_eq!((kept("t1").await, kept("t2").await), (keep(3), keep(4)));
}

#[actix_web::test]
async fn topics_are_made_shown_and_removed() {
    let world = World::demo().await;
    let expected = "{\n   \"name\": \"/projects/DEMO/topics/t1\",\n   \"created_on\": \"2024-05-01T10:00:00Z\"\n}";
    assert_eq!(world.get("/v1/projects/DEMO/topics/t1").await.ok().body, expected);
    world.put("/v1/projects/DEMO/topics/t1", "").await.is(409, "Topic already exists");
    for body in ["{}", "null", r#"{"schema":"","other":"x"}"#, r#"{"schema":null}"#] {
        world.put("/v1/projects/DEMO/topics/t2", body).await.ok();
        world.delete("/v1/projects/DEMO/topics/t2").await.ok();
    }
    for body in [" ", "[]", r#"{"schema":1}"#, r#"{"x":true}"#, "{}{}"] {
        world.put("/v1/projects/DEMO/topics/t2", body).await.is(400, "Invalid Request Body");
    }
    world.put("/v1/projects/DEMO/topics/t2", r#"{"schema":"x"}"#).await.is(400, "wrong schema name declaration");
    world
        .put("/v1/projects/DEMO/topics/t2", r#"{"schema":"projects/DEMO/schemas/s"}"#)
        .await
        .is(404, "Schema doesn't exist");
    assert_eq!(world.delete("/v1/projects/DEMO/topics/t1").await.ok().body, "");
    world.get("/v1/projects/DEMO/topics/t1").await.is(404, "Topic doesn't exist");
    world.delete("/v1/projects/DEMO/topics/t1").await.is(404, "Topic doesn't exist");
}

#[actix_web::test]
async fn a_subscription_is_shown_as_the_contract_shows_it() {
    let world = World::demo().await;
    world.subscription("s1", r#","pushConfig":{}"#).await;
    let expected = r#"{
   "name": "/projects/DEMO/subscriptions/s1",
   "topic": "/projects/DEMO/topics/t1",
   "pushConfig": {
      "type": "",
      "pushEndpoint": "",
      "maxMessages": 0,
      "authorizationHeader": {},
      "retryPolicy": {},
      "verificationHash": "",
      "verified": false,
      "mattermostUrl": "",
      "mattermostUsername": "",
      "mattermostChannel": "",
      "base64Decode": false
   },
   "ackDeadlineSeconds": 10,
   "createdOn": "2024-05-01T10:00:00Z"
}"#;
    assert_eq!(world.get("/v1/projects/DEMO/subscriptions/s1").await.ok().body, expected);
    world.subscription("s2", r#","ackDeadlineSeconds":700,"ackMode":"individual""#).await;
    let individual = world.get("/v1/projects/DEMO/subscriptions/s2").await.ok().json();
    assert_eq!((&individual["ackDeadlineSeconds"], &individual["ackMode"]), (&700.into(), &"individual".into()));
    let by_topic = world.get("/v1/projects/DEMO/topics/t1/subscriptions").await.ok();
    assert_eq!(
        by_topic.body,
        r#"{"subscriptions":["/projects/DEMO/subscriptions/s1","/projects/DEMO/subscriptions/s2"]}"#
    );
    world.get("/v1/projects/DEMO/topics/none/subscriptions").await.is(404, "Topic doesn't exist");
    assert_eq!(world.delete("/v1/projects/DEMO/subscriptions/s1").await.ok().body, "");
    world.get("/v1/projects/DEMO/subscriptions/s1").await.is(404, "Subscription doesn't exist");
    world.delete("/v1/projects/DEMO/subscriptions/s1").await.is(404, "Subscription doesn't exist");
}

#[actix_web::test]
async fn creating_a_subscription_checks_in_the_contracts_order() {
    let world = World::demo().await;
    let path = "/v1/projects/DEMO/subscriptions/s1";
    for body in [
        "",
        "[]",
        r#"{"topic":1}"#,
        r#"{"ackDeadlineSeconds":10.0}"#,
        r#"{"ackDeadlineSeconds":"10"}"#,
        r#"{"ackDeadlineSeconds":-1}"#,
        r#"{"ackDeadlineSeconds":4294967296}"#,
        r#"{"ackMode":"both"}"#,
        r#"{"ackMode":1}"#,
        r#"{"pushConfig":[]}"#,
        r#"{"pushConfig":{"maxMessages":"1"}}"#,
        r#"{"pushConfig":{"retryPolicy":"linear"}}"#,
    ] {
        world.put(path, body).await.is(400, "Invalid Subscription Arguments");
    }
    for topic in
        ["", "t1", "/projects/DEMO/topics/t1", "projects/DEMO/topics", "x/DEMO/y/t1", "projects/DEMO/topics/t1/x"]
    {
        world.put(path, &format!(r#"{{"topic":"{topic}"}}"#)).await.is(400, "Invalid Topic name");
    }
    world.put(path, "{}").await.is(400, "Invalid Topic name");
    for topic in
        ["projects/DEMO/topics/none", "projects/DEMO/topics/", "projects/OTHER/topics/t1", "projects/DEMO/topics/a:b"]
    {
        world.put(path, &format!(r#"{{"topic":"{topic}"}}"#)).await.is(404, "Topic doesn't exist");
    }
    for push in [
        r#"{"type":"http_endpoint"}"#,
        r#"{"pushEndpoint":"https://x"}"#,
        r#"{"maxMessages":1}"#,
        r#"{"retryPolicy":{"period":1}}"#,
        r#"{"base64Decode":true}"#,
    ] {
        let body = format!(r#"{{"topic":"projects/DEMO/topics/t1","pushConfig":{push}}}"#);
        world.put(path, &body).await.is(409, "Push functionality is currently disabled");
    }
    // The library's and the docs' sloppy forms pass.
    for (name, body) in [
        ("a", r#"{"topic":"projects/DEMO/topic/t1","pushConfig":null,"ackDeadlineSeconds":null}"#),
        (
            "b",
            r#"{"TOPIC":"x/DEMO/topics/t1","pushConfig":{"type":"","authorizationHeader":{},"retryPolicy":null},"ackDeadlineSeconds":0}"#,
        ),
        ("c", r#"{"topic":"projects/DEMO/topics/t1","ackMode":"cumulative","unknown":[{}]}"#),
    ] {
        let made = world.put(&format!("/v1/projects/DEMO/subscriptions/{name}"), body).await.ok().json();
        assert_eq!((&made["ackDeadlineSeconds"], made.get("ackMode")), (&10.into(), None));
    }
    world
        .put("/v1/projects/DEMO/subscriptions/a", r#"{"topic":"projects/DEMO/topics/t1"}"#)
        .await
        .is(409, "Subscription already exists");
}

#[actix_web::test]
async fn access_lists_hold_members_by_name() {
    let world = World::demo().await;
    world.subscription("s1", "").await;
    for name in ["alice", "bob", "eve"] {
        world.member(name, r#""publisher","consumer""#).await;
    }
    world.post("/v1/users/stranger", "{}").await.ok();
    for (resource, what, missing) in
        [("topics/t1", "Topic ACL", "topics/none"), ("subscriptions/s1", "Subscription ACL", "subscriptions/none")]
    {
        let (acl, modify) =
            (format!("/v1/projects/DEMO/{resource}:acl"), format!("/v1/projects/DEMO/{resource}:modifyAcl"));
        assert_eq!(world.get(&acl).await.ok().body, "{\n   \"authorized_users\": []\n}");
        for body in [
            "",
            "{}",
            "null",
            r#"{"authorized_users":null}"#,
            r#"{"authorized_users":"bob"}"#,
            r#"{"authorized_users":[1]}"#,
        ] {
            world.post(&modify, body).await.is(400, &format!("Invalid {what} Arguments"));
        }
        let unknown = r#"{"authorized_users":["x/y","alice","stranger","ghost"]}"#;
        world.post(&modify, unknown).await.is(404, "User(s): x/y, stranger, ghost do not exist");
        let list = r#"{"authorized_users":["bob","eve","alice","bob"]}"#;
        assert_eq!(world.post(&modify, list).await.ok().body, "");
        assert_eq!(world.get(&acl).await.ok().json()["authorized_users"], serde_json::json!(["bob", "eve", "alice"]));
        // Nothing is made of what is not there (quirk 2).
        let resource = if what.starts_with('T') { "Topic" } else { "Subscription" };
        world
            .post(&format!("/v1/projects/DEMO/{missing}:modifyAcl"), list)
            .await
            .is(404, &format!("{resource} doesn't exist"));
        world.get(&format!("/v1/projects/DEMO/{missing}:acl")).await.is(404, &format!("{resource} doesn't exist"));
    }
    world.delete("/v1/users/eve").await.ok();
    assert_eq!(
        world.get("/v1/projects/DEMO/topics/t1:acl").await.ok().json()["authorized_users"],
        serde_json::json!(["bob", "alice"])
    );
    let alice = world.get("/v1/users/alice").await.ok().json();
    assert_eq!(
        (&alice["projects"][0]["topics"], &alice["projects"][0]["subscriptions"]),
        (&serde_json::json!(["t1"]), &serde_json::json!(["s1"]))
    );
}

#[actix_web::test]
async fn lists_show_publishers_and_consumers_only_what_is_theirs() {
    let world = World::demo().await;
    world.put("/v1/projects/DEMO/topics/t2", "").await.ok();
    world.subscription("s1", "").await;
    world.subscription("s2", "").await;
    let user = world.member("alice", r#""publisher","consumer""#).await;
    let both = world.member("boss", r#""publisher","consumer","project_admin""#).await;
    let list = r#"{"authorized_users":["alice"]}"#;
    world.post("/v1/projects/DEMO/topics/t2:modifyAcl", list).await.ok();
    world.post("/v1/projects/DEMO/subscriptions/s1:modifyAcl", list).await.ok();
    for (kind, own) in [("topics", "t2"), ("subscriptions", "s1")] {
        let path = format!("/v1/projects/DEMO/{kind}");
        let seen = world.as_user(&user, Method::GET, &path, "").await.ok().json();
        assert_eq!(
            (&seen["totalSize"], &seen[kind][0]["name"]),
            (&1.into(), &format!("/projects/DEMO/{kind}/{own}").into())
        );
        assert_eq!(world.as_user(&both, Method::GET, &path, "").await.ok().json()["totalSize"], 2);
    }
    // An admin who is a publisher too is bound by the access list (quirk 8).
    world
        .as_user(&both, Method::POST, "/v1/projects/DEMO/topics/t2:publish", "{}")
        .await
        .is(403, "Access to this resource is forbidden");
    world
        .as_user(&both, Method::POST, "/v1/projects/DEMO/subscriptions/s1:pull", "{}")
        .await
        .is(403, "Access to this resource is forbidden");
    world.as_user(&user, Method::POST, "/v1/projects/DEMO/subscriptions/s1:pull", "{}").await.ok();
    let open = World::with(|options| options.per_resource_auth = false).await;
    open.post("/v1/projects/DEMO", "{}").await.ok();
    open.put("/v1/projects/DEMO/topics/t2", "").await.ok();
    let publisher = open.member("paul", r#""publisher""#).await;
    open.as_user(&publisher, Method::POST, "/v1/projects/DEMO/topics/t2:publish", "{}").await.ok();
}
