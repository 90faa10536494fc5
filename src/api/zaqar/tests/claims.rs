//! Claims, and the queue for messages that were claimed too often.

use super::*;
use serde_json::json;

#[actix_web::test]
async fn a_claim_is_shown_renewed_and_released() {
    let world = World::new().await;
    world.post(&["1", "2", "3"]).await;
    let answer = world.call("POST", "/v2/queues/q/claims?limit=2", r#"{"ttl": 100, "grace": null}"#).await;
    let (path, claimed) = (answer.header("location").to_owned(), answer.with(201));
    let id = path.strip_prefix("/v2/queues/q/claims/").unwrap();
    for message in claimed["messages"].as_array().unwrap() {
        assert_eq!(message["href"].as_str().unwrap().rsplit('=').next(), Some(id), "clients find it there");
        assert_eq!(message.as_object().unwrap().len(), 5);
    }
    world.pass(40);
    let shown = world.get(&path).await.with(200);
    assert_eq!((&shown["age"], &shown["ttl"], &shown["href"]), (&json!(40), &json!(100), &json!(path)));
    assert_eq!(shown["messages"].as_array().unwrap().len(), 2);
    assert_eq!(world.call("PATCH", &path, r#"{"ttl": 200, "grace": 1}"#).await.status, 204);
    let renewed = world.get(&path).await.with(200);
    assert_eq!((&renewed["age"], &renewed["ttl"]), (&json!(0), &json!(200)));
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &path, "").await.status, 204);
    }
    let gone = format!("Claim {id} does not exist in queue q for project proj1");
    world.get(&path).await.says(404, &gone);
    world.call("PATCH", &path, "{}").await.says(404, &gone);
    assert_eq!(world.claim("").await.1, [json!(1), json!(2), json!(3)]);
    let none = world.call("POST", "/v2/queues/q/claims", "").await;
    assert_eq!((none.status, none.header("location"), none.body.as_str()), (204, "", ""));
    assert_eq!(world.call("POST", "/v2/queues/none/claims", "").await.status, 204);
    assert_eq!(world.get("/v2/queues?name=none").await.with(200)["queues"], json!([]));
}

#[actix_web::test]
async fn a_claim_makes_what_would_expire_live_longer_and_never_shorter() {
    for (ttl, grace, lives) in [(777, 23, 120 + 680), (121, 60, 181), (60, 60, 120)] {
        let world = World::with(|options| options.limits.max_claim_ttl = 1_000).await;
        world.call("POST", "/v2/queues/q/messages", r#"{"messages": [{"ttl": 120, "body": 1}]}"#).await.with(201);
        // Only renewal takes a grace below a minute.
        let (path, _) = world.claim(r#"{"ttl": 60, "grace": 60}"#).await;
        assert_eq!(world.call("PATCH", &path, &format!(r#"{{"ttl": {ttl}, "grace": {grace}}}"#)).await.status, 204);
        assert_eq!(world.get(&path).await.with(200)["messages"][0]["ttl"], lives);
        world.call("DELETE", &path, "").await;
        let released = world.get("/v2/queues/q/messages?echo=true").await.with(200);
        assert_eq!(released["messages"][0]["ttl"], lives, "what it gained, it keeps");
        world.pass(lives - 1);
        assert_eq!(world.figures().await, (0, 1, 1));
        world.pass(1);
        assert_eq!(world.figures().await, (0, 0, 0));
    }
}

#[actix_web::test]
async fn a_claim_outlives_neither_its_time_nor_its_queue() {
    let world = World::new().await;
    world.post(&["1"]).await;
    let (path, _) = world.claim(r#"{"ttl": 60}"#).await;
    world.pass(61);
    assert_eq!(world.get(&path).await.status, 404);
    let (path, _) = world.claim("").await;
    world.call("DELETE", "/v2/queues/q", "").await;
    assert_eq!(world.call("PATCH", &path, "{}").await.status, 404);
    world.post(&["2"]).await;
    assert_eq!((world.get(&path).await.status, world.claim("").await.1), (404, vec![json!(2)]));
}

#[actix_web::test]
async fn what_was_claimed_too_often_goes_to_the_dead_letter_queue_which_is_made_for_it() {
    let world = World::new().await;
    let metadata = r#"{"_max_claim_count": 2, "_dead_letter_queue": "dead", "_dead_letter_queue_messages_ttl": 777}"#;
    world.call("PUT", "/v2/queues/q", metadata).await;
    world.post(&[r#"{"k":  1}"#]).await;
    for _ in 0..2 {
        assert_eq!(world.claim(r#"{"ttl": 60}"#).await.1, [json!({"k": 1})]);
        world.pass(61);
    }
    assert_eq!(world.call("POST", "/v2/queues/q/claims", "").await.status, 204);
    let mut moved = Vec::new();
    for _ in 0..1_000 {
        moved = world.get("/v2/queues/dead/messages?echo=true").await.with(200)["messages"].as_array().unwrap().clone();
        if !moved.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let [message] = moved.as_slice() else { panic!("not moved") };
    assert_eq!((&message["ttl"], &message["body"]), (&json!(777), &json!({"k": 1})));
    assert_eq!(world.figures().await, (0, 0, 0));
}

#[actix_web::test]
async fn a_policy_set_later_counts_and_one_that_points_at_itself_does_not() {
    let world = World::new().await;
    world.post(&["1"]).await;
    world.patch("/v2/queues/q", r#"[{"op":"add","path":"/metadata/_max_claim_count","value":0},{"op":"add","path":"/metadata/_dead_letter_queue","value":"q"}]"#).await.with(200);
    let (path, _) = world.claim("").await;
    world.call("DELETE", &path, "").await;
    world
        .patch("/v2/queues/q", r#"[{"op":"replace","path":"/metadata/_dead_letter_queue","value":"dead"}]"#)
        .await
        .with(200);
    assert_eq!(world.call("POST", "/v2/queues/q/claims", "").await.status, 204, "moved at the first claim");
}
