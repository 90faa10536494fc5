//! Queues and their metadata.

use super::*;

const Q: &str = "/v2/queues/q";

#[actix_web::test]
async fn a_queue_is_made_once_shown_with_defaults_and_deleted_as_often_as_one_likes() {
    let world = World::new().await;
    let missing = world.get(Q).await.with(200);
    assert_eq!(missing["_max_messages_post_size"], 262_144);
    let made = world.call("PUT", Q, r#"{"_default_message_ttl": 120, "desc": "x", "_max_claim_count": null}"#).await;
    assert_eq!((made.status, made.header("location"), made.body.as_str()), (201, Q, ""));
    let again = world.call("PUT", Q, r#"{"desc": "y"}"#).await;
    assert_eq!((again.status, again.header("location")), (204, Q));
    assert_eq!(
        world.get(Q).await.body,
        r#"{"_default_message_ttl": 120, "desc": "x", "_max_claim_count": null, "_max_messages_post_size": 262144, "_default_message_delay": 0, "_dead_letter_queue": null, "_dead_letter_queue_messages_ttl": null, "_enable_encrypt_messages": false}"#
    );
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", Q, "").await.status, 204);
    }
    assert_eq!(world.get(Q).await.with(200)["desc"], Value::Null);
    assert_eq!(world.call("PUT", Q, "").await.status, 201);
}

#[actix_web::test]
async fn a_list_pages_filters_and_counts() {
    let world = World::new().await;
    assert_eq!(world.get("/v2/queues?with_count=true").await.body, r#"{"queues": [], "links": []}"#);
    for (name, body) in [("b", r#"{"k": 1}"#), ("a.1", r#"{"k": "v"}"#), ("c", ""), ("ab", r#"{"k": 1}"#)] {
        world.call("PUT", &format!("/v2/queues/{name}"), body).await;
    }
    let names = async |path: &str| {
        let page = world.get(path).await.with(200);
        let names = page["queues"].as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), page["links"][0]["href"].as_str().map(str::to_owned), page["count"].as_u64())
    };
    let (first, next, count) = names("/v2/queues?limit=3&with_count=True").await;
    assert_eq!((first, count), (vec!["a.1".to_owned(), "ab".to_owned(), "b".to_owned()], Some(4)));
    assert_eq!(next.as_deref(), Some("/v2/queues?limit=3&with_count=true&marker=b"));
    let (second, next, _) = names(&next.unwrap()).await;
    assert_eq!((second.as_slice(), next.is_some()), (&["c".to_owned()][..], true));
    assert_eq!(names(&next.unwrap()).await.0, [""; 0]);
    assert_eq!(names("/v2/queues?name=a").await.0, ["a.1", "ab"]);
    let (found, next, _) = names("/v2/queues?k=1&name=b").await;
    assert_eq!(
        (found, next.as_deref()),
        (vec!["ab".to_owned(), "b".to_owned()], Some("/v2/queues?name=b&k=1&marker=b"))
    );
    assert_eq!(names("/v2/queues?k=v").await.0, ["a.1"]);
    let detailed = world.get("/v2/queues?detailed=true&name=a.1").await.with(200);
    assert_eq!(detailed["queues"][0]["metadata"]["k"], "v");
    assert_eq!(detailed["queues"][0]["metadata"]["_default_message_ttl"], 3_600);
    let other = [("Client-ID", CLIENT), ("X-Project-ID", "proj2")];
    assert_eq!(world.send("GET", "/v2/queues", &other, "").await.body, r#"{"queues": [], "links": []}"#);
}

#[actix_web::test]
async fn metadata_is_changed_as_a_whole_or_not_at_all() {
    let world = World::new().await;
    world.patch(Q, "[]").await.says(404, "Queue q does not exist for project proj1");
    world.call("PUT", Q, r#"{"a": {"deep": [1,  2]}, "b": 1}"#).await;
    let changed = world
        .patch(Q, r#"[{"op":"add","path":"/metadata/c~1d","value":"x"},{"op":"replace","path":"/Metadata/_max_claim_count","value":3},{"op":"remove","path":"/metadata/b"},{"op":"remove","path":"/x/_dead_letter_queue"}]"#)
        .await
        .with(200);
    assert_eq!((&changed["c/d"], &changed["_max_claim_count"], &changed["b"]), (&"x".into(), &3.into(), &Value::Null));
    assert!(world.get(Q).await.body.starts_with(r#"{"a": {"deep": [1,  2]}, "#), "other values keep their text");
    for (body, status, said) in [
        (
            r#"[{"op":"add","path":"/metadata/n","value":1},{"op":"remove","path":"/metadata/none"}]"#,
            409,
            "Can't remove non-existent object none.",
        ),
        (
            r#"[{"op":"add","path":"/metadata/n","value":1},{"op":"replace","path":"/metadata/none","value":1}]"#,
            409,
            "Can't replace non-existent object none.",
        ),
        (
            r#"[{"op":"add","path":"/metadata/n","value":1},{"op":"add","path":"/metadata/_default_message_ttl","value":59}]"#,
            400,
            "_default_message_ttl can not exceed 1209600 seconds, and must be at least 60 seconds long.",
        ),
    ] {
        world.patch(Q, body).await.says(status, said);
        assert_eq!(world.get(Q).await.with(200)["n"], Value::Null, "nothing of it was kept");
    }
    assert_eq!(world.patch(Q, "[]").await.status, 200);
}

#[actix_web::test]
async fn purge_takes_all_messages_and_keeps_the_queue() {
    let world = World::new().await;
    world.call("PUT", Q, r#"{"k": 1}"#).await;
    world.post(&["1", "2", "3"]).await;
    let (claim, _) = world.claim("{}").await;
    world.post(&["4"]).await;
    let purge = "/v2/queues/q/purge";
    for (body, left) in [
        (r#"{"resource_types": []}"#, (3, 1, 4)),
        (r#"{"resource_types": ["subscriptions"]}"#, (3, 1, 4)),
        ("", (0, 0, 0)),
    ] {
        assert_eq!(world.call("POST", purge, body).await.status, 204);
        assert_eq!(world.figures().await, left, "{body}");
    }
    assert_eq!((world.get(&claim).await.status, &world.get(Q).await.with(200)["k"]), (404, &1.into()));
    assert_eq!(world.call("POST", "/v2/queues/none/purge", "").await.status, 204);
    assert_eq!(world.get("/v2/queues").await.with(200)["queues"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn figures_tell_oldest_and_newest_in_three_members() {
    let world = World::new().await;
    let none = world.get("/v2/queues/q/stats").await.body;
    assert_eq!(none, r#"{"messages": {"claimed": 0, "free": 0, "total": 0}}"#);
    let first = world.post(&["1"]).await;
    world.pass(51);
    world.post(&["2", "3"]).await;
    world.pass(12);
    let figures = world.get("/v2/queues/q/stats").await.with(200)["messages"].clone();
    assert_eq!(
        figures["oldest"],
        serde_json::json!({"href": format!("/v2/queues/q/messages/{}", first[0]), "age": 63, "created": "2024-05-01T10:00:00Z"})
    );
    assert_eq!(
        (&figures["newest"]["age"], &figures["newest"]["created"]),
        (&12.into(), &"2024-05-01T10:00:51Z".into())
    );
    assert_eq!(world.figures().await, (0, 3, 3));
}
