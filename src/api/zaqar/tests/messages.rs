//! Messages: posting, looking at them, deleting them.

use super::*;
use crate::broker::NewMessage;
use crate::domain::Name;
use serde_json::json;

const MESSAGES: &str = "/v2/queues/q/messages";

#[actix_web::test]
async fn bodies_come_back_to_the_byte_and_documents_hold_nothing_else() {
    let world = World::new().await;
    let bodies =
        [r#"{"z": 1,  "a":[1.50, 1e400]}"#, "null", "\"\\u00e9 ü \\ud800\"", "[ ]", "-0", "9223372036854775807"];
    let posted = world
        .call(
            "POST",
            MESSAGES,
            &format!(
                r#"{{"messages": [{}]}}"#,
                bodies.map(|body| format!("{{\"body\": {body}, \"x\": 1}}")).join(", ")
            ),
        )
        .await;
    assert_eq!(posted.status, 201, "{}", posted.body);
    let location = posted.header("location").to_owned();
    let ids: Vec<_> = location.strip_prefix("/v2/queues/q/messages?ids=").unwrap().split(',').collect();
    let page = world.get(&location).await;
    let documents: Vec<_> = ids
        .iter()
        .zip(bodies)
        .map(|(id, body)| {
            format!(r#"{{"id": "{id}", "href": "/v2/queues/q/messages/{id}", "ttl": 3600, "age": 0, "body": {body}}}"#)
        })
        .collect();
    assert_eq!(page.body, format!(r#"{{"messages": [{}]}}"#, documents.join(", ")));
    assert_eq!(world.get(&format!("{MESSAGES}/{}", ids[1])).await.body, documents[1]);
    let hrefs: Vec<_> = ids.iter().map(|id| format!("{MESSAGES}/{id}")).collect();
    assert_eq!(posted.json()["resources"], json!(hrefs));
}

#[actix_web::test]
async fn a_list_is_followed_by_its_links_to_an_end_that_stays_usable() {
    let world = World::new().await;
    let ids = world.post(&["1", "2", "3"]).await;
    let first = world.get(&format!("{MESSAGES}?echo=True&limit=2")).await.with(200);
    assert_eq!(first["messages"].as_array().unwrap().len(), 2);
    let next = first["links"][0]["href"].as_str().unwrap().to_owned();
    assert_eq!(next, format!("{MESSAGES}?limit=2&echo=true&include_delayed=true&marker={}", ids[1]));
    world.call("DELETE", &format!("{MESSAGES}/{}", ids[1]), "").await;
    let second = world.get(&next).await.with(200);
    assert_eq!(second["messages"][0]["body"], 3, "a marker outlives its message");
    let end = second["links"][0]["href"].as_str().unwrap().to_owned();
    assert_eq!(world.get(&end).await.body, r#"{"messages": [], "links": []}"#);
    world.post(&["4"]).await;
    assert_eq!(world.bodies(&end).await, [json!(4)]);
    for unknown in ["1", "zzz", &ids[0].replace('0', "f")] {
        assert_eq!(
            world.bodies(&format!("{MESSAGES}?echo=true&marker={unknown}")).await,
            [Value::Null; 0],
            "{unknown}"
        );
    }
}

#[actix_web::test]
async fn who_sees_what() {
    let world = World::new().await;
    world.call("PUT", "/v2/queues/q", r#"{"_default_message_delay": 100}"#).await;
    let post = async |client: &str, body: &str| world.as_client(client, "POST", MESSAGES, body).await.with(201);
    post(CLIENT, r#"{"messages": [{"body": "own", "delay": 0, "ttl": 600}]}"#).await;
    post(
        OTHER_CLIENT,
        r#"{"messages": [{"body": "short", "delay": 0, "ttl": 60}, {"body": "claimed", "delay": 0, "ttl": 600}]}"#,
    )
    .await;
    post(OTHER_CLIENT, r#"{"messages": [{"body": "delayed", "ttl": 600}, {"body": "free", "delay": 0, "ttl": 600}]}"#)
        .await;
    world.claim(r#"{"ttl": 600}"#).await;
    let own = world.get(&format!("{MESSAGES}?echo=true&include_claimed=true")).await.with(200);
    let last = own["messages"].as_array().unwrap().len();
    assert_eq!(last, 4);
    world.pass(61);
    for (query, seen) in [
        ("", &[][..]),
        ("include_delayed=true", &["delayed"]),
        ("echo=true&include_claimed=true", &["own", "short", "claimed", "free"]),
        ("include_claimed=1&include_delayed=yes", &["short", "claimed", "delayed", "free"]),
    ] {
        assert_eq!(
            world.bodies(&format!("{MESSAGES}?{query}")).await,
            seen.iter().map(|body| json!(body)).collect::<Vec<_>>(),
            "{query}"
        );
    }
    world.pass(40);
    assert_eq!(world.bodies(MESSAGES).await, [json!("delayed")], "its time has come");
    world.pass(540);
    let all = format!("{MESSAGES}?echo=1&include_claimed=1&include_delayed=1");
    assert_eq!(world.bodies(&all).await, [json!("short")], "a claim made it live longer");
    world.pass(3_600);
    assert_eq!(world.figures().await, (0, 0, 0));
}

#[actix_web::test]
async fn a_queue_that_delays_nothing_does_not_look_at_delays() {
    let world = World::new().await;
    world.call("POST", MESSAGES, r#"{"messages": [{"body": 1, "delay": "x"}]}"#).await.with(201);
    assert_eq!(world.bodies(&format!("{MESSAGES}?echo=true")).await, [json!(1)]);
}

#[actix_web::test]
async fn a_message_is_deleted_as_its_claim_allows() {
    let world = World::new().await;
    let ids = world.post(&["0", "1", "2", "3"]).await;
    let (claim, _) = {
        world.call("POST", "/v2/queues/q/claims?limit=1", "").await.with(201);
        world.claim("{\"ttl\": 60}").await
    };
    let claim = claim.rsplit('/').next().unwrap();
    let delete = async |id: &str, claim: Option<&str>| {
        let query = claim.map_or_else(String::new, |claim| format!("?claim_id={claim}"));
        world.call("DELETE", &format!("{MESSAGES}/{id}{query}"), "").await
    };
    let claimed = "This message is claimed; it cannot be deleted without a valid claim ID.";
    let no_claim = "The specified claim does not exist or has expired.";
    let not_claimed = "A claim was specified, but the message is not currently claimed.";
    let unknown = "6f3c2f1e-0000-4000-8000-000000000001";
    delete(&ids[1], None).await.says(403, claimed);
    delete(&ids[0], Some(claim)).await.says(403, claimed);
    delete(&ids[1], Some(unknown)).await.says(400, no_claim);
    delete(&ids[1], Some("123")).await.says(400, no_claim);
    assert_eq!(delete(&ids[1], Some(claim)).await.status, 204);
    assert_eq!(delete(&ids[1], Some("123")).await.status, 204, "it is gone");
    for nothing in ["123", &ids[2].replace('2', "3")] {
        assert_eq!(delete(nothing, None).await.status, 204, "{nothing}");
    }
    world.pass(61);
    delete(&ids[2], Some(claim)).await.says(400, not_claimed);
    delete(&ids[2], Some("123")).await.says(400, no_claim);
    assert_eq!(delete(&ids[2], None).await.status, 204);
    assert_eq!(world.call("DELETE", "/v2/queues/none/messages/1", "").await.status, 204);
    assert_eq!(world.figures().await, (1, 1, 2));
}

#[actix_web::test]
async fn bulk_deletion_asks_for_no_claim_and_pop_takes_the_oldest_free_ones() {
    let world = World::new().await;
    let ids = world.post(&["0", "1", "2", "3"]).await;
    world.call("POST", "/v2/queues/q/claims?limit=2", "").await.with(201);
    assert_eq!(
        world.call("DELETE", &format!("{MESSAGES}?ids={},nothing&ids={}", ids[0], ids[3]), "").await.status,
        204
    );
    assert_eq!(world.figures().await, (1, 1, 2));
    let popped = world.call("DELETE", &format!("{MESSAGES}?pop=5"), "").await.with(200);
    assert_eq!(
        popped,
        json!({"messages": [{"id": ids[2], "claim_id": null, "claim_count": 0, "ttl": 300, "age": 0, "body": 2}]})
    );
    assert_eq!(world.call("DELETE", &format!("{MESSAGES}?pop=5"), "").await.body, r#"{"messages": []}"#);
    assert_eq!(world.call("DELETE", "/v2/queues/none/messages?pop=1", "").await.body, r#"{"messages": []}"#);
    world
        .get(&format!("{MESSAGES}/{}", ids[2]))
        .await
        .says(404, &format!("Message {} does not exist in queue q for project proj1", ids[2]));
}

#[actix_web::test]
async fn ids_of_another_queue_or_an_earlier_one_mean_nothing() {
    let world = World::new().await;
    let ids = world.post(&["1"]).await;
    world.call("POST", "/v2/queues/other/messages", r#"{"messages": [{"body": 2}]}"#).await.with(201);
    assert_eq!(world.get(&format!("/v2/queues/other/messages/{}", ids[0])).await.status, 404);
    world.call("DELETE", "/v2/queues/q", "").await;
    world
        .get(&format!("{MESSAGES}?ids={}", ids[0]))
        .await
        .says(404, &format!("No messages with IDs: ['{}'] found in the queue q for project proj1.", ids[0]));
    world.post(&["3"]).await;
    assert_eq!(world.get(&format!("{MESSAGES}/{}", ids[0])).await.status, 404);
}

#[actix_web::test]
async fn a_message_of_another_dialect_is_shown_as_base64() {
    let world = World::new().await;
    world.call("PUT", "/v2/queues/q", "").await;
    let project = world.zaqar.project("proj1").await.unwrap().unwrap();
    let queue = world.broker.queue(project, &Name::new("q").unwrap()).await.unwrap();
    let mut batch = world.broker.batch();
    batch.push(&NewMessage { payload: b"hello", ..NewMessage::default() }).unwrap();
    world.broker.publish(&queue.topic, batch).await.unwrap();
    let page = world.get(MESSAGES).await.with(200);
    assert_eq!((&page["messages"][0]["body"], &page["messages"][0]["ttl"]), (&json!("aGVsbG8="), &json!(1_209_600)));
}
