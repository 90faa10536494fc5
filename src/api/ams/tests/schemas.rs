//! Schemas, quotas and the audit topic as clients meet them.

use super::*;
use crate::domain::Name;
use crate::domain::project::Quota;
use crate::domain::topic::Retention;
use base64::Engine;
use serde_json::json;

const SCHEMAS: &str = "/v1/projects/DEMO/schemas";
const PERSON: &str = r#"{"type":"JSON","schema":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"telephone":{"type":"string"}}}}"#;

fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl World {
    /// With a schema `person`, and a topic `people` that has it.
    async fn people() -> Self {
        let world = Self::demo().await;
        world.post(&format!("{SCHEMAS}/person"), PERSON).await.ok();
        world.put("/v1/projects/DEMO/topics/people", r#"{"schema":"projects/DEMO/schemas/person"}"#).await.ok();
        world
    }

    /// Publishes messages, each an object.
    async fn people_told(&self, messages: Value) -> Reply {
        self.post("/v1/projects/DEMO/topics/people:publish", &json!({ "messages": messages }).to_string()).await
    }
}

#[actix_web::test]
async fn a_schema_is_made_shown_changed_and_removed_as_the_contract_says() {
    let world = World::demo().await;
    assert_eq!(world.get(SCHEMAS).await.ok().body, "{\n \"schemas\": []\n}");
    let made =
        world.post(&format!("{SCHEMAS}/s"), r#"{"type":"json","schema":{"type":"object","maximum":1.0}} x"#).await.ok();
    let uuid = made.json()["uuid"].as_str().unwrap().to_owned();
    let shown = format!(
        "{{\n \"uuid\": \"{uuid}\",\n \"name\": \"projects/DEMO/schemas/s\",\n \"type\": \"json\",\n \"schema\": {{\n  \"maximum\": 1,\n  \"type\": \"object\"\n }}\n}}"
    );
    assert_eq!(made.body, shown);
    assert_eq!(world.get(&format!("{SCHEMAS}/s")).await.ok().body, shown);
    let other = r#"{"TYPE":"Avro","schema":{"type":"string"},"attributes":{"required":["site"]}}"#;
    let made = world.post(&format!("{SCHEMAS}/a"), other).await.ok().json();
    assert_eq!((&made["type"], &made["attributes"]), (&json!("avro"), &json!({"required": ["site"]})));
    let names: Vec<Value> = world.get(SCHEMAS).await.ok().json()["schemas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["projects/DEMO/schemas/s", "projects/DEMO/schemas/a"]);
    let changed =
        world.put(&format!("{SCHEMAS}/a"), r#"{"name":"projects/X/schemas/b","attributes":{}}"#).await.ok().json();
    assert_eq!((&changed["uuid"], &changed["name"]), (&made["uuid"], &json!("projects/DEMO/schemas/b")));
    assert_eq!(changed.get("attributes"), None);
    assert_eq!(world.delete(&format!("{SCHEMAS}/b")).await.ok().body, "");
    world.get(&format!("{SCHEMAS}/b")).await.is(404, "Schema doesn't exist");
}

#[actix_web::test]
async fn each_error_of_schemas_is_the_contracts_and_changes_nothing() {
    let world = World::people().await;
    let consumer = world.member("carl", "\"consumer\"").await;
    let before = world.dump().await;
    let remote = r#"{"type":"json","schema":{"$ref":"http://127.0.0.1/x"}}"#;
    let valid = r#"{"type":"json","schema":{}}"#;
    let wrong_kind = "Schema type can only be 'json' or 'avro'";
    let topic = "/v1/projects/DEMO/topics";
    for (method, path, body, status, message) in [
        (Method::POST, format!("{SCHEMAS}/n"), "", 400, "Invalid Schema Arguments"),
        (Method::POST, format!("{SCHEMAS}/n"), "[]", 400, "Invalid Schema Arguments"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"json","schema":[]}"#, 400, "Invalid Schema Arguments"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"json","schema":"x"}"#, 400, "Invalid Schema Arguments"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":1,"schema":{}}"#, 400, "Invalid Schema Arguments"),
        (
            Method::POST,
            format!("{SCHEMAS}/n"),
            r#"{"type":"json","schema":{},"attributes":[]}"#,
            400,
            "Invalid Schema Arguments",
        ),
        (Method::POST, format!("{SCHEMAS}/person"), valid, 409, "Schema already exists"),
        (Method::POST, format!("{SCHEMAS}/person"), r#"{"type":"x"}"#, 409, "Schema already exists"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"schema":{}}"#, 400, wrong_kind),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"xml","schema":{}}"#, 400, wrong_kind),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"json"}"#, 400, "schema is invalid"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"avro","schema":null}"#, 400, "schema is invalid"),
        (Method::POST, format!("{SCHEMAS}/n"), r#"{"type":"avro","schema":{}}"#, 400, "missing type: map[]"),
        (
            Method::POST,
            format!("{SCHEMAS}/n"),
            r#"{"type":"json","schema":{"pattern":"("}}"#,
            400,
            "pattern must be a valid regex",
        ),
        (
            Method::POST,
            format!("{SCHEMAS}/n"),
            remote,
            400,
            "$ref must stay inside the schema, like #/definitions/name; given: http://127.0.0.1/x",
        ),
        (Method::POST, format!("{SCHEMAS}/n:foo"), valid, 400, "Invalid schema name"),
        (Method::GET, format!("{SCHEMAS}/none"), "", 404, "Schema doesn't exist"),
        (Method::PUT, format!("{SCHEMAS}/none"), "[", 404, "Schema doesn't exist"),
        (Method::PUT, format!("{SCHEMAS}/person"), "[", 400, "Invalid Schema Arguments"),
        (Method::PUT, format!("{SCHEMAS}/person"), r#"{"name":"other"}"#, 400, "wrong schema name declaration"),
        (
            Method::PUT,
            format!("{SCHEMAS}/person"),
            r#"{"name":"projects/DEMO/schemas/a b"}"#,
            400,
            "Invalid schema name",
        ),
        (Method::PUT, format!("{SCHEMAS}/person"), r#"{"type":"xml"}"#, 400, wrong_kind),
        (Method::PUT, format!("{SCHEMAS}/person"), r#"{"type":"avro"}"#, 400, "unknown type name: \"object\""),
        (
            Method::PUT,
            format!("{SCHEMAS}/person"),
            r#"{"schema":{"required":"a"}}"#,
            400,
            "required must be of an array",
        ),
        (Method::DELETE, format!("{SCHEMAS}/none"), "", 404, "Schema doesn't exist"),
        (Method::POST, format!("{SCHEMAS}/none:validate"), "{}", 404, "Schema doesn't exist"),
        (
            Method::POST,
            format!("{SCHEMAS}/person:validate"),
            "{}",
            400,
            "Message 0 data is not valid,(root): name is required",
        ),
        (Method::POST, format!("{SCHEMAS}/person:validate"), "", 400, "Message 0 data is not valid JSON format,EOF"),
        (Method::POST, format!("{topic}/none:attachSchema"), "[", 404, "Topic doesn't exist"),
        (Method::POST, format!("{topic}/t1:attachSchema"), "[", 400, "Invalid Request Body"),
        (Method::POST, format!("{topic}/t1:attachSchema"), r#"{"schema":5}"#, 400, "Invalid Request Body"),
        (
            Method::POST,
            format!("{topic}/t1:attachSchema"),
            r#"{"schema":"person"}"#,
            400,
            "wrong schema name declaration",
        ),
        (
            Method::POST,
            format!("{topic}/t1:attachSchema"),
            r#"{"schema":"projects/P/schemas/none"}"#,
            404,
            "Schema doesn't exist",
        ),
        (Method::POST, format!("{topic}/none:detachSchema"), "", 404, "Topic doesn't exist"),
    ] {
        let reply = world.call(method.clone(), &path, body).await;
        let said = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((reply.status, said.as_str()), (status, message), "{method} {path} {body}");
    }
    for (method, path) in [(Method::GET, ""), (Method::POST, "/person"), (Method::DELETE, "/person")] {
        let reply = world.as_user(&consumer, method, &format!("{SCHEMAS}{path}"), valid).await;
        reply.is(403, "Access to this resource is forbidden");
    }
    assert_eq!(world.dump().await, before);
}

#[actix_web::test]
async fn a_message_that_breaks_its_topics_schema_is_named_and_nothing_is_stored() {
    let world = World::people().await;
    let before = world.dump().await;
    let (good, bad) = (encoded(r#"{"name":"x"}"#), encoded("{}"));
    for (messages, message) in [
        (json!([{ "data": bad }]), "Message 0 data is not valid,(root): name is required"),
        (
            json!([{ "data": good }, { "data": encoded(r#"{"telephone":5}"#) }]),
            "Message 1 data is not valid.1)(root): name is required.2)telephone: Invalid type. Expected: string, given: integer.",
        ),
        (
            json!([{ "data": "not base64!" }]),
            "Message 0 is not in valid base64 enocding,illegal base64 data at input byte 3",
        ),
        (
            json!([{ "data": good }, { "data": "DGFnZWxvc8T8Cg" }]),
            "Message 1 is not in valid base64 enocding,illegal base64 data at input byte 12",
        ),
        (json!([{ "attributes": { "a": "b" } }]), "Message 0 data is not valid JSON format,EOF"),
        (json!([{ "data": encoded("{") }]), "Message 0 data is not valid JSON format,unexpected EOF"),
        (
            json!([{ "data": encoded("not") }]),
            "Message 0 data is not valid JSON format,invalid character 'o' in literal null (expecting 'u')",
        ),
    ] {
        world.people_told(messages).await.is(400, message);
    }
    assert_eq!(world.dump().await, before);
    let ids = world
        .people_told(json!([{ "data": good }, { "data": encoded("{\"name\":\"y\"} and more") }]))
        .await
        .ok()
        .json();
    assert_eq!(ids["messageIds"], json!(["0", "1"]));
    world.delete(&format!("{SCHEMAS}/person")).await.ok();
    world.people_told(json!([{ "data": bad }])).await.ok();
    assert_eq!(world.get("/v1/projects/DEMO/topics/people").await.ok().json().get("schema"), None);
}

#[actix_web::test]
async fn a_topic_shows_the_schema_that_it_has() {
    let world = World::people().await;
    let shown = |path: &'static str| {
        let world = &world;
        async move { world.get(&format!("/v1/projects/DEMO/topics{path}")).await.ok().json() }
    };
    assert_eq!(shown("/people").await["schema"], "projects/DEMO/schemas/person");
    assert_eq!(shown("").await["topics"][0]["schema"], "projects/DEMO/schemas/person");
    world.put(&format!("{SCHEMAS}/person"), r#"{"name":"projects/DEMO/schemas/human"}"#).await.ok();
    assert_eq!(shown("/people").await["schema"], "projects/DEMO/schemas/human");
    for (verb, body) in
        [("detachSchema", ""), ("detachSchema", ""), ("attachSchema", ""), ("attachSchema", r#"{"schema":""}"#)]
    {
        let done = world.post(&format!("/v1/projects/DEMO/topics/people:{verb}"), body).await.ok();
        assert_eq!(done.body, "");
        assert_eq!(shown("/people").await.get("schema"), None);
    }
    world.post("/v1/projects/DEMO/topics/people:attachSchema", r#"{"schema":"projects/any/schemas/human"}"#).await.ok();
    assert_eq!(shown("/people").await["schema"], "projects/DEMO/schemas/human");
}

#[actix_web::test]
async fn a_schema_may_ask_for_attributes_too() {
    let world = World::people().await;
    let attributes = r#"{"attributes":{"required":["site"],"properties":{"site":{"enum":["A","B"]}}}}"#;
    world.put(&format!("{SCHEMAS}/person"), attributes).await.ok();
    let data = encoded(r#"{"name":"x"}"#);
    world.people_told(json!([{ "data": data, "attributes": { "site": "A", "x": "y" } }])).await.ok();
    world
        .people_told(json!([{ "data": data, "attributes": { "site": "A" } }, { "data": data }]))
        .await
        .is(400, "Message 1 attributes are not valid,(root): site is required");
    world
        .people_told(json!([{ "data": data, "attributes": { "site": "C" } }]))
        .await
        .is(400, "Message 0 attributes are not valid,site: site must be one of the following: \"A\", \"B\"");
    let validate =
        |query: &str| world.post_owned(format!("{SCHEMAS}/person:validate{query}"), r#"{"name":"x"}"#.to_owned());
    let words = "{\n \"message\": \"Message validated successfully\"\n}";
    let (plain, right) = (validate(""), validate("?attributes=%7B%22site%22:%22B%22%7D"));
    assert_eq!((plain.await.ok().body.as_str(), right.await.ok().body.as_str()), (words, words));
    validate("?attributes=%7B%7D").await.is(400, "Message 0 attributes are not valid,(root): site is required");
    validate("?attributes=x").await.is(400, "Invalid Schema Payload Arguments");
}

#[actix_web::test]
async fn avro_is_validated_by_its_bare_binary_form() {
    let world = World::demo().await;
    let schema = r#"{"type":"avro","schema":{"type":"record","name":"User","namespace":"user.avro","fields":[{"name":"username","type":"string"},{"name":"phone","type":"int"}]}}"#;
    world.post(&format!("{SCHEMAS}/u"), schema).await.ok();
    world.post("/v1/projects/DEMO/topics/t1:attachSchema", r#"{"schema":"projects/DEMO/schemas/u"}"#).await.ok();
    let right = encoded("\u{2}a\u{2}");
    world.publish(&[&right]).await;
    let refused = "Message 0 is not valid.cannot decode binary record \"user.avro.User\" field \"username\": \
                   cannot decode binary string: cannot decode binary bytes: negative size: -40";
    let body = json!({ "messages": [{ "data": encoded("Obj\u{1}") }] }).to_string();
    world.post("/v1/projects/DEMO/topics/t1:publish", &body).await.is(400, refused);
    let validate = |body: Value| world.post_owned(format!("{SCHEMAS}/u:validate"), body.to_string());
    validate(json!({ "data": right })).await.ok();
    validate(json!({ "data": encoded("Obj\u{1}") })).await.is(400, refused);
    validate(json!({ "data": "x" }))
        .await
        .is(400, "Message 0 is not in valid base64 enocding,illegal base64 data at input byte 0");
    validate(json!({ "Data": right })).await.is(400, "Invalid Schema Payload Arguments");
    validate(json!({ "data": 5 })).await.is(400, "Invalid Request Body");
}

impl World {
    async fn post_owned(&self, path: String, body: String) -> Reply {
        self.post(&path, &body).await
    }
}

#[actix_web::test]
async fn above_its_quota_a_project_is_told_when_to_come_again() {
    let world = World::demo().await;
    let admin = world.member("paula", "\"project_admin\"").await;
    let body = r#"{"quota":{"messagesPerSecond":2,"topics":1}}"#;
    let refused = world.as_user(&admin, Method::PUT, "/v1/projects/DEMO", body).await;
    refused.is(403, "Access to this resource is forbidden");
    let shown = world.put("/v1/projects/DEMO", body).await.ok().json();
    assert_eq!(shown["quota"], json!({ "messagesPerSecond": 2, "topics": 1 }));
    world.publish(&["YQ==", "YQ==", "YQ==", "YQ=="]).await;
    let above = world.post("/v1/projects/DEMO/topics/t1:publish", r#"{"messages":[{"data":"YQ=="}]}"#).await;
    above.is(429, "The project's quota of messages a second is used up");
    assert_eq!(above.json()["error"]["status"], "RESOURCE_EXHAUSTED");
    assert_eq!(above.header("retry-after"), "2");
    world.clock.advance(Duration::from_secs(2));
    world.publish(&["YQ=="]).await;
    let topic = world.put("/v1/projects/DEMO/topics/t2", "").await;
    topic.is(429, "The project's quota of topics is used up");
    assert_eq!(topic.header("retry-after"), "");
    assert_eq!(world.put("/v1/projects/DEMO", r#"{"quota":{}}"#).await.ok().json().get("quota"), None);
    world.ams.broker.set_common_quota(Quota { subscriptions: Some(1), ..Quota::default() });
    world.put("/v1/projects/DEMO/topics/t2", "").await.ok();
    world.subscription("s1", "").await;
    let body = r#"{"topic":"projects/DEMO/topics/t1"}"#;
    world
        .put("/v1/projects/DEMO/subscriptions/s2", body)
        .await
        .is(429, "The project's quota of subscriptions is used up");
    world.put("/v1/projects/DEMO/subscriptions/s1", body).await.is(409, "Subscription already exists");
}

#[actix_web::test]
async fn administrative_calls_are_told_to_the_audit_topic_and_no_others() {
    let world = World::demo().await;
    let admin = world.member("paula", "\"project_admin\"").await;
    let name = |text| Name::new(text).unwrap();
    world.ams.broker.open_audit(name("OPS"), name("audit"), Retention::default()).await.unwrap();
    world.post("/v1/projects/OPS/topics/audit:publish", r#"{"messages":[]}"#).await.ok();
    world.put("/v1/projects/OPS/subscriptions/a", r#"{"topic":"projects/OPS/topics/audit"}"#).await.ok();
    world.publish(&["YQ=="]).await;
    world.get("/v1/projects/DEMO").await.ok();
    let made = world.as_user(&admin, Method::PUT, "/v1/projects/DEMO/topics/t2?key=secret", "").await.ok();
    world.as_user(&admin, Method::DELETE, "/v1/projects/DEMO/topics/none", "").await;
    world.as_user("wrong-token", Method::DELETE, "/v1/projects/DEMO/topics/t1", "").await;
    let pulled = world
        .post("/v1/projects/OPS/subscriptions/a:pull", r#"{"maxMessages":"10","returnImmediately":"true"}"#)
        .await
        .ok()
        .json();
    let received = pulled["receivedMessages"].as_array().unwrap();
    let told = received.iter().map(|one| {
        let data = one["message"]["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    });
    // The subscription to it was made before it could tell of that.
    let told: Vec<Value> = told.filter(|one| one["operation"] != "subscriptions:create").collect();
    let of = |field: &str| told.iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("operation"), ["topics:create", "topics:delete", "topics:delete"]);
    assert_eq!(of("who"), ["paula", "paula", "(unknown)"]);
    assert_eq!(of("status"), [200, 404, 401]);
    assert_eq!(of("outcome"), ["done", "refused", "refused"]);
    assert_eq!(told[0]["path"], "/v1/projects/DEMO/topics/t2");
    assert_eq!(told[0]["request_id"], made.header("x-request-id"));
    assert_eq!(told[1]["reason"], "Topic doesn't exist");
    let everything = format!("{told:?}");
    assert!(!everything.contains("secret") && !everything.contains(&admin) && !everything.contains("wrong-token"));
    world
        .post("/v1/projects/OPS/topics/audit:publish", r#"{"messages":[{"data":"YQ=="}]}"#)
        .await
        .is(403, "Access to this resource is forbidden");
    world.delete("/v1/projects/OPS/topics/audit").await.is(403, "Access to this resource is forbidden");
    world.delete("/v1/projects/OPS").await.is(403, "Access to this resource is forbidden");
}
