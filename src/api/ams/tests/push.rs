//! Push configurations through the whole dialect; what pushes is a stand-in that answers as it is told.

use super::{SERVICE, World};
use crate::api::ams::{Ams, AmsOptions, Condition, Push, Pusher, Unverified};
use crate::auth::{NewUser, Token};
use crate::domain::acl::RoleName;
use crate::domain::push::Webhook;
use crate::domain::subscription::Subscription;
use crate::domain::user::Profile;
use crate::domain::{Name, Timestamp, UserId};
use actix_web::http::Method;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;

const PUSHED: &str = "/v1/projects/DEMO/subscriptions/p";

#[derive(Debug, Default)]
struct StandIn {
    unverified: Mutex<Option<Unverified>>,
    condition: Mutex<Option<Condition>>,
    asked: Mutex<Vec<String>>,
}

impl Pusher for StandIn {
    fn accepts(&self, endpoint: &str) -> bool {
        endpoint.starts_with("https://")
    }

    fn verify(&self, webhook: Webhook) -> Pin<Box<dyn Future<Output = Result<(), Unverified>> + Send + '_>> {
        self.asked.lock().push(webhook.endpoint);
        let answer = self.unverified.lock().clone().map_or(Ok(()), Err);
        Box::pin(async { answer })
    }

    fn condition(&self, _subscription: &Subscription) -> Option<Condition> {
        self.condition.lock().clone()
    }
}

/// The demonstration's world with push on, and its worker.
async fn pushing() -> (World, Arc<StandIn>, UserId) {
    let world = World::demo().await;
    let new = NewUser {
        name: Name::new("push_worker_0").unwrap(),
        profile: Profile::default(),
        memberships: Vec::new(),
        service_roles: vec![RoleName::new("push_worker")],
        created_by: None,
    };
    let worker = world.ams.auth.create_user_with_token(new, &Token::new("worker-token")).await.unwrap().id;
    let pusher = Arc::new(StandIn { condition: Mutex::new(Some(Condition::default())), ..StandIn::default() });
    let options = AmsOptions { service_token: Some(Token::new(SERVICE)), ..AmsOptions::default() };
    let ams = Ams::new(world.ams.broker.clone(), world.ams.auth.clone(), world.metrics.clone(), options);
    let ams = ams.with_push(Push { pusher: pusher.clone(), worker, endpoint: "here".to_owned() });
    (World { ams: Arc::new(ams), ..world }, pusher, worker)
}

fn asked_for(push: &str) -> String {
    format!(r#"{{"topic":"projects/DEMO/topics/t1","pushConfig":{push}}}"#)
}

const WEBHOOK: &str = r#"{"type":"http_endpoint","pushEndpoint":"https://a/b"}"#;

#[tokio::test]
async fn a_push_subscription_is_shown_as_the_contract_shows_it() {
    let (world, _, _) = pushing().await;
    let made = world.put(PUSHED, &asked_for(WEBHOOK)).await.ok();
    let hidden = |text: &str| {
        let secret = |text: &str, name: &str| {
            let from = text.find(&format!("\"{name}\": \"")).unwrap() + name.len() + 5;
            format!("{}…{}", &text[..from], &text[from + 64..])
        };
        secret(&secret(text, "value"), "verificationHash")
    };
    let wanted = r#"   "pushConfig": {
      "type": "http_endpoint",
      "pushEndpoint": "https://a/b",
      "maxMessages": 1,
      "authorizationHeader": {
         "type": "autogen",
         "value": "…"
      },
      "retryPolicy": {
         "type": "linear",
         "period": 3000
      },
      "verificationHash": "…",
      "verified": false,
      "mattermostUrl": "",
      "mattermostUsername": "",
      "mattermostChannel": "",
      "base64Decode": false
   },"#;
    assert!(hidden(&made.body).contains(wanted), "{}", made.body);
    assert_eq!(world.get(PUSHED).await.ok().body, made.body);
    // A client that knows no type.
    let old = world.put("/v1/projects/DEMO/subscriptions/old", &asked_for(r#"{"pushEndpoint":"https://a/b"}"#)).await;
    assert_eq!(old.ok().json()["pushConfig"]["type"], "http_endpoint");
    let status = world.get("/v1/status").await.ok();
    assert!(status.body.starts_with("{\n \"status\": \"ok\",\n \"push_servers\": [\n  {\n   \"endpoint\": \"here\""));
}

#[tokio::test]
async fn refusals_come_in_the_contracts_order_and_change_nothing() {
    let off = World::demo().await;
    off.put(PUSHED, &asked_for("{}")).await.ok();
    let disabled = "Push functionality is currently disabled";
    off.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.is(409, disabled);
    off.post("/v1/projects/DEMO/subscriptions/no:verifyPushEndpoint", "").await.is(409, disabled);
    off.post(&format!("{PUSHED}:modifyPushConfig"), r#"{"pushConfig":{"type":"x"}}"#).await.is(409, disabled);
    let (world, pusher, worker) = pushing().await;
    let modify = format!("{PUSHED}:modifyPushConfig");
    world.post(&modify, "{").await.is(400, "Invalid Subscription Arguments");
    world.post(&modify, "{}").await.is(404, "Subscription doesn't exist");
    world.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.is(404, "Subscription doesn't exist");
    world.put(PUSHED, &asked_for(WEBHOOK)).await.ok();
    world.put(PUSHED, &asked_for(WEBHOOK)).await.is(409, "Subscription already exists");
    let before = world.get(PUSHED).await.ok().body;
    for (push, why) in [
        (r#"{"type":"http"}"#, "Push configuration type can only be of 'http_endpoint' or 'mattermost'"),
        (
            r#"{"type":"","pushEndpoint":"https://a"}"#,
            "Push configuration type can only be of 'http_endpoint' or 'mattermost'",
        ),
        (
            r#"{"pushEndpoint":"http://a","authorizationHeader":{"type":"x"}}"#,
            "Push endpoint should be addressed by a valid https url",
        ),
        (
            r#"{"pushEndpoint":"https://a","authorizationHeader":{"type":"x"},"retryPolicy":{"type":"x"}}"#,
            "Authorization header type can only be of 'autogen' or 'disabled' type",
        ),
        (r#"{"type":"mattermost","retryPolicy":{"type":"x"}}"#, "Field mattermostUrl cannot be empty"),
        (
            r#"{"pushEndpoint":"https://a","retryPolicy":{"type":"x"}}"#,
            "Retry policy can only be of 'linear' or 'slowstart' type",
        ),
    ] {
        world.put(PUSHED, &asked_for(push)).await.is(400, why);
        world.post(&modify, &format!(r#"{{"pushConfig":{push}}}"#)).await.is(400, why);
    }
    for (answer, why) in [
        (Unverified::Status, "Endpoint verification failed.Wrong response status code"),
        (Unverified::Hash, "Endpoint verification failed.Wrong verification hash"),
        (Unverified::Unanswered("cannot connect".to_owned()), "Endpoint verification failed.cannot connect"),
    ] {
        *pusher.unverified.lock() = Some(answer);
        world.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.is(401, why);
    }
    assert_eq!(world.get(PUSHED).await.ok().body, before);
    world.ams.auth.delete_user(worker).await.unwrap();
    let unavailable = "Push functionality is currently unavailable";
    world.put("/v1/projects/DEMO/subscriptions/q", &asked_for(WEBHOOK)).await.is(500, unavailable);
    world.post(&modify, r#"{"pushConfig":{"type":"x"}}"#).await.is(500, unavailable);
    assert!(world.get("/v1/status").await.ok().body.contains("\"status\": \"warning\""));
    // Back to pulling goes without a worker.
    world.post(&modify, "{}").await.ok();
    assert_eq!(world.get(PUSHED).await.ok().json()["pushConfig"]["type"], "");
}

#[tokio::test]
async fn the_worker_joins_what_is_pushed_and_leaves_what_is_not() {
    let (world, pusher, _) = pushing().await;
    let acl = async || world.get(&format!("{PUSHED}:acl")).await.ok().json()["authorized_users"].clone();
    world.put(PUSHED, &asked_for(WEBHOOK)).await.ok();
    assert_eq!(acl().await, serde_json::json!([]));
    world.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.ok();
    assert_eq!(*pusher.asked.lock(), ["https://a/b"]);
    assert_eq!(acl().await, serde_json::json!(["push_worker_0"]));
    world.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.is(409, "Push endpoint is already verified");
    let user = world.get("/v1/users:byToken/worker-token").await.ok().json();
    assert_eq!(
        user["projects"],
        serde_json::json!([{"project": "DEMO", "roles": [], "topics": [], "subscriptions": ["p"]}])
    );
    let modify = format!("{PUSHED}:modifyPushConfig");
    let chat = r#"{"pushConfig":{"type":"mattermost","mattermostUrl":"x","base64Decode":true,"retryPolicy":{"type":"slowstart"}}}"#;
    world.post(&modify, chat).await.ok();
    let shown = world.get(PUSHED).await.ok().json()["pushConfig"].clone();
    assert_eq!(shown["authorizationHeader"], serde_json::json!({}));
    assert_eq!((shown["verified"].as_bool(), shown["maxMessages"].as_i64()), (Some(true), Some(1)));
    assert_eq!(acl().await, serde_json::json!(["push_worker_0"]));
    // Another kind of endpoint: what was decoded stays decoded, and nothing goes before it is verified.
    world.post(&modify, &format!(r#"{{"pushConfig":{WEBHOOK}}}"#)).await.ok();
    let shown = world.get(PUSHED).await.ok().json()["pushConfig"].clone();
    assert_eq!((shown["verified"].as_bool(), shown["base64Decode"].as_bool()), (Some(false), Some(true)));
    assert_eq!(shown["authorizationHeader"], serde_json::json!({"type": "disabled"}));
    assert_eq!(acl().await, serde_json::json!([]));
}

#[tokio::test]
async fn only_the_worker_and_the_service_admin_pull_what_is_pushed() {
    let (world, _, _) = pushing().await;
    world.put(PUSHED, &asked_for(WEBHOOK)).await.ok();
    let pull = format!("{PUSHED}:pull");
    world.as_user("worker-token", Method::POST, &pull, "{}").await.ok();
    world.post(&pull, "{}").await.ok();
    let admin = world.member("boss", r#""project_admin","consumer""#).await;
    world.as_user(&admin, Method::POST, &pull, "{}").await.is(403, "Access to this resource is forbidden");
    // The same store without push.
    let options = AmsOptions { service_token: Some(Token::new(SERVICE)), ..AmsOptions::default() };
    let ams = Ams::new(world.ams.broker.clone(), world.ams.auth.clone(), world.metrics.clone(), options);
    let off = World { ams: Arc::new(ams), ..world };
    off.as_user("worker-token", Method::POST, &pull, "{}").await.is(409, "Push functionality is currently disabled");
    off.post(&pull, "{}").await.ok();
}

#[tokio::test]
async fn the_status_is_said_in_the_push_servers_words() {
    let (world, pusher, _) = pushing().await;
    world.put(PUSHED, &asked_for(WEBHOOK)).await.ok();
    assert!(world.get(PUSHED).await.ok().json().get("pushStatus").is_none());
    world.post(&format!("{PUSHED}:verifyPushEndpoint"), "").await.ok();
    let status = async |condition: Option<Condition>| {
        *pusher.condition.lock() = condition;
        world.get(PUSHED).await.ok().json()["pushStatus"].as_str().unwrap().to_owned()
    };
    let name = "/projects/DEMO/subscriptions/p";
    assert_eq!(status(Some(Condition::default())).await, format!("Subscription {name} is currently active"));
    assert_eq!(status(None).await, format!("Error: Subscription {name} is not active"));
    let failing = |why: String| Some((Timestamp(1_714_557_845_123_456), "send", why));
    let said = status(Some(Condition { failing: failing("no\nroom".to_owned()), resting: false })).await;
    assert_eq!(said, "2024-05-01T10:04:05 - Could not send message, no\nroom");
    let said = status(Some(Condition { failing: failing("é".repeat(2_000)), resting: true })).await;
    assert_eq!(said.matches('é').count(), 512);
    assert!(said.ends_with(" (circuit open: no delivery for a while)"));
    let listed = world.get("/v1/projects/DEMO/subscriptions").await.ok().json();
    assert!(listed["subscriptions"][0].get("pushStatus").is_none(), "only one by one");
    *pusher.condition.lock() = Some(Condition::default());
    assert_eq!(world.delete(PUSHED).await.ok().body, format!("{{\"message\":\"Subscription {name} deactivated\"}}"));
}
