//! Topics: as queues, beside them.

use super::*;
use serde_json::json;

#[actix_web::test]
async fn a_topic_is_no_queue_of_the_same_name() {
    let world = World::new().await;
    let made = world.call("PUT", "/v2/topics/t", r#"{"k": 1}"#).await;
    assert_eq!((made.status, made.header("location"), made.body.as_str()), (201, "/v2/topics/t", ""));
    assert_eq!(world.call("PUT", "/v2/topics/t", "").await.status, 204);
    assert_eq!(world.get("/v2/queues").await.body, r#"{"queues": [], "links": []}"#);
    assert_eq!(world.call("PUT", "/v2/queues/t", "").await.status, 201);
    assert_eq!(
        world.get("/v2/topics?detailed=true&limit=1").await.with(200),
        json!({
            "topics": [{
                "name": "t",
                "href": "/v2/topics/t",
                "metadata": {
                    "k": 1,
                    "_max_messages_post_size": 262_144,
                    "_default_message_ttl": 3_600,
                    "_default_message_delay": 0
                }
            }],
            "links": [{"rel": "next", "href": "/v2/topics?limit=1&detailed=true&marker=t"}]
        })
    );
    assert_eq!(world.get("/v2/topics?marker=t").await.body, r#"{"topics": [], "links": []}"#);
    assert_eq!(world.get("/v2/topics?name=x").await.body, r#"{"topics": [], "links": []}"#);
    let patched = world.patch("/v2/topics/t", r#"[{"op": "remove", "path": "/metadata/k"}]"#).await.with(200);
    assert_eq!(patched.as_object().unwrap().len(), 3);
    world.patch("/v2/topics/none", "[]").await.says(404, "Topic none does not exist for project proj1");
    assert_eq!(world.call("DELETE", "/v2/topics/t", "").await.status, 204);
    assert_eq!(world.get("/v2/queues").await.with(200)["queues"][0]["name"], "t");
}

#[actix_web::test]
async fn messages_and_subscriptions_of_a_topic_stand_under_it() {
    let world = World::new().await;
    assert_eq!(
        world.get("/v2/topics/t/stats").await.with(200),
        json!({"messages": {"claimed": 0, "free": 0, "total": 0}})
    );
    let posted = world.call("POST", "/v2/topics/t/messages", r#"{"messages": [{"body": 1}]}"#).await;
    let href = posted.with(201)["resources"][0].as_str().unwrap().to_owned();
    assert!(href.starts_with("/v2/topics/t/messages/"), "{href}");
    assert!(posted.header("location").starts_with("/v2/topics/t/messages?ids="));
    let page = world.get("/v2/topics/t/messages?echo=true").await.with(200);
    assert_eq!((&page["messages"][0]["href"], &page["messages"][0]["body"]), (&json!(href), &json!(1)));
    assert!(page["links"][0]["href"].as_str().unwrap().starts_with("/v2/topics/t/messages?echo=true"));
    assert_eq!(world.get(&href).await.with(200)["body"], 1);
    let stats = world.get("/v2/topics/t/stats").await.with(200)["messages"].clone();
    assert_eq!((&stats["total"], stats.get("free")), (&json!(1), None));
    assert_eq!(stats["oldest"]["href"], href);
    let subscribed = world.call("POST", "/v2/topics/t/subscriptions", r#"{"subscriber": "http://h/"}"#).await;
    assert_eq!((subscribed.status, subscribed.header("location")), (201, "/v2/topics/t/subscriptions"));
    let list = world.get("/v2/topics/t/subscriptions").await.with(200);
    assert_eq!(list["subscriptions"][0]["source"], "t");
    assert_eq!(world.get("/v2/queues/t/subscriptions").await.with(200)["subscriptions"], json!([]));
    assert_eq!(world.call("POST", "/v2/topics/t/purge", "").await.status, 204);
    assert_eq!(world.get("/v2/topics/t/messages?echo=1").await.body, r#"{"messages": [], "links": []}"#);
    assert_eq!(world.call("DELETE", &href, "").await.status, 204);
}

#[actix_web::test]
async fn a_topic_has_a_name_as_queues_have_and_no_claims() {
    let world = World::new().await;
    for wrong in ["/v2/topics/", "/v2/topics/a%20b", "/v2/topics/topic%3At/messages"] {
        world.get(wrong).await.says(400, "The format of the submitted topic name or project id is not valid.");
    }
    world
        .get("/v2/queues/topic%3At")
        .await
        .says(400, "The format of the submitted queue name or project id is not valid.");
    for nothing in ["/v2/topics/t/claims", "/v2/topics/t/share"] {
        assert_eq!(world.call("POST", nothing, "{}").await.body, r#"{"title": "404 Not Found"}"#);
    }
}
