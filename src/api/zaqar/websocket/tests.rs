//! Frames as clients send them, and their replies, over a real broker on the memory store. What a connection does is tested from outside.

use super::session::Session;
use super::{check_origin, pack};
use crate::api::zaqar::tests::World;
use crate::api::zaqar::websocket::transport::{Kind, Message};
use crate::api::zaqar::{Zaqar, ZaqarOptions};
use actix_web::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use serde_json::{Value, json};
use std::sync::Arc;

const CLIENT: &str = "3381af92-2b9e-11e3-b191-71861300734c";
const OTHER: &str = "3381af922b9e11e3b19171861300734d";

/// A client at work.
struct Client {
    session: Session,
    id: &'static str,
    project: &'static str,
}

impl Client {
    fn new(zaqar: &Arc<Zaqar>) -> Self {
        Self { session: Session::new(Arc::clone(zaqar)), id: CLIENT, project: "proj1" }
    }

    async fn say(&mut self, text: &str) -> Value {
        let message = Message { kind: Kind::Text, bytes: text.to_owned().into() };
        let reply = self.session.answer(message).await;
        assert_eq!(reply.kind, Kind::Text);
        serde_json::from_slice(&reply.bytes).unwrap()
    }

    fn frame(&self, action: &str, body: &Value) -> Value {
        json!({ "action": action, "headers": { "Client-ID": self.id, "X-Project-ID": self.project }, "body": body })
    }

    async fn ask(&mut self, action: &str, body: Value) -> (u64, Value) {
        let frame = self.frame(action, &body);
        let reply = self.say(&frame.to_string()).await;
        assert_eq!(reply["request"]["action"], action);
        assert_eq!(reply["request"]["body"], body);
        (reply["headers"]["status"].as_u64().unwrap(), reply["body"].clone())
    }

    #[track_caller]
    fn refused((status, body): (u64, Value), wanted: u64, text: &str) {
        assert_eq!((status, body["error"].as_str()), (wanted, Some(text)), "{body}");
    }

    async fn post(&mut self, bodies: &[Value]) -> Vec<Value> {
        let messages: Vec<_> = bodies.iter().map(|body| json!({ "ttl": 300, "body": body })).collect();
        let (status, body) = self.ask("message_post", json!({ "queue_name": "q", "messages": messages })).await;
        assert_eq!(status, 201, "{body}");
        body["message_ids"].as_array().unwrap().clone()
    }
}

async fn client() -> (World, Client) {
    let world = World::new().await;
    let client = Client::new(&world.zaqar);
    (world, client)
}

#[actix_web::test]
async fn queues_are_made_shown_and_removed() {
    let (_world, mut client) = client().await;
    let named = || json!({ "queue_name": "w1" });
    assert_eq!(client.ask("queue_get", named()).await, (200, json!({})));
    let zeros = json!({ "messages": { "claimed": 0, "free": 0, "total": 0 } });
    assert_eq!(client.ask("queue_get_stats", named()).await, (404, zeros.clone()));
    let made = json!({ "queue_name": "w1", "metadata": { "own": 1 } });
    assert_eq!(client.ask("queue_create", made.clone()).await, (201, json!("Queue w1 created.")));
    assert_eq!(client.ask("queue_create", made).await, (204, json!("Queue w1 created.")));
    assert_eq!(client.ask("queue_get", named()).await, (200, json!({ "own": 1 })));
    assert_eq!(client.ask("queue_get_stats", named()).await, (200, zeros));
    assert_eq!(client.ask("queue_list", json!({})).await, (200, json!({ "queues": [{ "name": "w1" }] })));
    let detailed = json!({ "queues": [{ "name": "w1", "metadata": { "own": 1 } }] });
    assert_eq!(client.ask("queue_list", json!({ "detailed": true, "limit": 1 })).await, (200, detailed));
    assert_eq!(client.ask("queue_purge", named()).await, (204, json!({})));
    assert_eq!(client.ask("queue_delete", named()).await, (204, json!("Queue w1 removed.")));
    let without_body = json!({ "action": "queue_list", "headers": client.frame("", &json!(null))["headers"] });
    assert_eq!(client.say(&without_body.to_string()).await["body"], json!({ "queues": [] }));
}

#[actix_web::test]
async fn messages_are_posted_listed_and_deleted() {
    let (_world, mut client) = client().await;
    let ids = client.post(&[json!({ "n": 1 }), json!("two"), json!(null)]).await;
    let listed =
        |body: Value| body["messages"].as_array().unwrap().iter().map(|m| m["body"].clone()).collect::<Vec<_>>();
    let (_, own) = client.ask("message_list", json!({ "queue_name": "q" })).await;
    assert_eq!(own, json!({ "messages": [] }), "one's own are not echoed");
    let (status, all) = client.ask("message_list", json!({ "queue_name": "q", "echo": true, "limit": 2 })).await;
    assert_eq!(
        (status, &all["messages"][0]),
        (200, &json!({ "id": ids[0], "claim_id": null, "ttl": 300, "age": 0, "body": { "n": 1 } }))
    );
    let rest = json!({ "queue_name": "q", "echo": true, "marker": ids[1] });
    assert_eq!(listed(client.ask("message_list", rest).await.1), [json!(null)]);
    client.id = OTHER;
    assert_eq!(listed(client.ask("message_list", json!({ "queue_name": "q" })).await.1).len(), 3);
    let one = |id: &Value| json!({ "queue_name": "q", "message_id": id });
    assert_eq!(client.ask("message_get", one(&ids[1])).await.1["messages"]["body"], "two");
    let many = json!({ "queue_name": "q", "message_ids": [ids[2], "nonsense", ids[0]] });
    assert_eq!(listed(client.ask("message_get_many", many).await.1).len(), 2);
    let none = json!({ "queue_name": "q", "message_ids": [] });
    assert_eq!(client.ask("message_get_many", none).await, (200, json!({ "messages": [] })));
    assert_eq!(client.ask("message_delete", one(&ids[0])).await, (204, json!({})));
    let (status, gone) = client.ask("message_get", one(&ids[0])).await;
    assert_eq!((status, gone["error"].as_str().unwrap().contains("does not exist in queue q")), (404, true));
    let (status, popped) = client.ask("message_delete_many", json!({ "queue_name": "q", "pop": 1 })).await;
    assert_eq!(
        (status, &popped["messages"][0]["body"], &popped["messages"][0]["claim_count"]),
        (200, &json!("two"), &json!(0))
    );
    let left = json!({ "queue_name": "q", "message_ids": [ids[2]] });
    assert_eq!(client.ask("message_delete_many", left).await, (204, json!({})));
    assert_eq!(client.ask("message_list", json!({ "queue_name": "none" })).await, (200, json!({ "messages": [] })));
}

#[actix_web::test]
async fn claims_are_made_shown_renewed_and_released() {
    let (_world, mut client) = client().await;
    assert_eq!(client.ask("claim_create", json!({ "queue_name": "q" })).await, (204, json!({ "claim_id": null })));
    let ids = client.post(&[json!(1), json!(2)]).await;
    let (status, claim) =
        client.ask("claim_create", json!({ "queue_name": "q", "ttl": 100, "grace": 60, "limit": 2 })).await;
    let id = claim["claim_id"].clone();
    assert_eq!((status, &claim["messages"][0]["claim_id"], &claim["messages"][0]["id"]), (201, &id, &ids[0]));
    let named = || json!({ "queue_name": "q", "claim_id": id });
    let (status, shown) = client.ask("claim_get", named()).await;
    assert_eq!(
        (status, &shown["age"], &shown["ttl"], shown.as_object().unwrap().len()),
        (200, &json!(0), &json!(100), 3)
    );
    let held = client.ask("message_delete", json!({ "queue_name": "q", "message_id": ids[0] })).await;
    Client::refused(held, 403, "This message is claimed; it cannot be deleted without a valid claim ID.");
    let mine = json!({ "queue_name": "q", "message_id": ids[0], "claim_id": id });
    assert_eq!(client.ask("message_delete", mine).await, (204, json!({})));
    let id_text = id.as_str().unwrap();
    assert_eq!(client.ask("claim_update", named()).await, (204, json!(format!("Claim {id_text} updated."))));
    assert_eq!(client.ask("claim_delete", named()).await, (204, json!(format!("Claim {id_text} deleted."))));
    Client::refused(client.ask("claim_get", named()).await, 404, &format!("Claim {id_text} does not exist."));
    Client::refused(client.ask("claim_update", named()).await, 404, &format!("Claim {id_text} does not exist."));
    let range = "Limit must be at least 1 and may not be greater than 20.";
    Client::refused(client.ask("claim_create", json!({ "queue_name": "q", "limit": 21 })).await, 400, range);
}

#[actix_web::test]
async fn what_is_wrong_is_said_in_the_contracts_order() {
    let (_world, mut client) = client().await;
    let error = async |client: &mut Client, text: &str| {
        let reply = client.say(text).await;
        assert_eq!(reply["headers"]["status"], 400);
        (reply["request"].clone(), reply["body"]["error"].as_str().unwrap().to_owned())
    };
    let nothing = json!({ "action": null, "body": {}, "headers": {}, "api": "v2" });
    for text in ["{", "", "{\"a\":NaN}", "{\"a\": 99999999999999999999}", &"[".repeat(10_000)] {
        let (request, said) = error(&mut client, text).await;
        assert_eq!(request, nothing);
        assert!(said.starts_with("Can't decode text (JSON) request. "), "{said}");
    }
    for text in ["[]", "1", "\"x\""] {
        assert_eq!(
            error(&mut client, text).await,
            (nothing.clone(), "Unexpected body type. Expected dict or dict like.".to_owned())
        );
    }
    for (frame, said) in [
        (json!({}), "None is not a valid action"),
        (json!({ "action": "xyz" }), "xyz is not a valid action"),
        (json!({ "action": "get_home_doc" }), "get_home_doc is not a valid action"),
        (json!({ "action": 7 }), "7 is not a valid action"),
    ] {
        assert_eq!(error(&mut client, &frame.to_string()).await.1, said);
    }
    let headers = json!({ "Client-ID": CLIENT, "X-Project-ID": "proj1" });
    for frame in [
        json!({ "action": "queue_get", "headers": headers }),
        json!({ "action": "queue_get", "body": { "queue_name": "q" } }),
        json!({ "action": "queue_get", "headers": { "Client-ID": CLIENT }, "body": { "queue_name": "q" } }),
        json!({ "action": "queue_get", "headers": { "Client-ID": 1, "X-Project-ID": "p" }, "body": { "queue_name": "q" } }),
        json!({ "action": "queue_get", "headers": headers, "body": {} }),
        json!({ "action": "queue_get", "headers": headers, "body": [] }),
        json!({ "action": "queue_get", "headers": headers, "body": { "queue_name": 1 } }),
        json!({ "action": "queue_list", "headers": headers, "body": { "limit": "1" } }),
        json!({ "action": "message_get_many", "headers": headers, "body": { "queue_name": "q", "message_ids": [1] } }),
        json!({ "action": "message_post", "headers": headers, "body": { "queue_name": "q", "messages": {} } }),
        json!({ "action": "authenticate", "headers": { "X-Project-ID": "p" } }),
    ] {
        assert_eq!(error(&mut client, &frame.to_string()).await.1, "Schema validation failed.", "{frame}");
    }
}

#[actix_web::test]
async fn wrong_values_are_refused_as_over_http() {
    let (_world, mut client) = client().await;
    let post = |messages: Value| json!({ "queue_name": "q", "messages": messages });
    for (body, said) in [
        (post(json!([{ "ttl": 300 }])), "Bad request. Missing \"body\" field."),
        (post(json!([{ "ttl": "x", "body": 1 }])), "Bad request. The value of the \"ttl\" field must be a int."),
        (post(json!([])), "No messages to enqueu."),
        (
            post(json!([{ "ttl": 5, "body": 1 }])),
            "The TTL for a message may not exceed 1209600 seconds, and must be at least 60 seconds long.",
        ),
        (
            post(json!([{ "ttl": 60, "body": "x".repeat(262_144) }])),
            "Message collection size is too large. Max size 262144",
        ),
    ] {
        Client::refused(client.ask("message_post", body).await, 400, said);
    }
    let wrong = "The format of the submitted queue name or project id is not valid.";
    Client::refused(client.ask("queue_create", json!({ "queue_name": "a b" })).await, 400, wrong);
    let limit = "Limit must be at least 1 and may not be greater than 20.";
    Client::refused(client.ask("message_list", json!({ "queue_name": "q", "limit": 0 })).await, 400, limit);
    let metadata = json!({ "queue_name": "q", "metadata": { "_default_message_ttl": 5 } });
    assert_eq!(client.ask("queue_create", metadata).await.0, 400);
    let types = json!({ "queue_name": "q", "resource_types": ["cats"] });
    Client::refused(
        client.ask("queue_purge", types).await,
        400,
        "Resource types must be a sub set of {'messages', 'subscriptions'}.",
    );
    client.id = "nobody";
    let badly = "badly formed hexadecimal UUID string";
    Client::refused(client.ask("message_list", json!({ "queue_name": "q" })).await, 400, badly);
    assert_eq!(client.ask("queue_get", json!({ "queue_name": "q" })).await, (200, json!({})));
    client.project = "";
    assert_eq!(client.ask("queue_get", json!({ "queue_name": "q" })).await.0, 400);
}

#[actix_web::test]
async fn a_packed_request_gets_a_packed_reply() {
    let (_world, mut client) = client().await;
    let body = json!({ "queue_name": "q", "messages": [{ "ttl": 60, "body": { "é": [1, -2.5, null, true] } }] });
    let packed = pack::pack(client.frame("message_post", &body).to_string().as_bytes());
    let mut send = async |packed: Vec<u8>| {
        let reply = client.session.answer(Message { kind: Kind::Binary, bytes: packed.into() }).await;
        assert_eq!(reply.kind, Kind::Binary);
        serde_json::from_slice::<Value>(&pack::unpack(&reply.bytes, 1 << 20).unwrap()).unwrap()
    };
    let reply = send(packed).await;
    assert_eq!((&reply["headers"]["status"], &reply["request"]["body"]), (&json!(201), &body));
    let bomb = send(vec![0x91; 1_000]).await;
    assert_eq!(bomb["headers"]["status"], 400);
    assert!(
        bomb["body"]["error"].as_str().unwrap().starts_with("Can't decode binary (MessagePack) request. "),
        "{bomb}"
    );
}

#[actix_web::test]
async fn authenticating_is_answered_and_shows_no_token() {
    let (_world, mut client) = client().await;
    let headers = json!({ "X-Auth-Token": "secret", "X-Project-ID": "proj1", "Client-ID": CLIENT });
    let reply = client.say(&json!({ "action": "authenticate", "headers": headers }).to_string()).await;
    assert_eq!((&reply["headers"]["status"], &reply["body"]), (&json!(200), &json!({ "message": "Authentified." })));
    assert!(!reply.to_string().contains("secret"), "{reply}");
}

#[actix_web::test]
async fn a_signature_opens_what_it_covers_and_nothing_else() {
    let (world, mut client) = client().await;
    client.post(&[json!(1)]).await;
    let share = r#"{"paths": ["messages"], "methods": ["GET"]}"#;
    let signed = world.call("POST", "/v2/queues/q/share", share).await.with(200);
    let frame = |action: &str, queue: &str, methods: &Value| {
        let body = json!({ "queue_name": queue, "echo": true, "messages": [{ "ttl": 60, "body": 1 }] });
        json!({ "action": action, "body": body, "headers": {
            "Client-ID": CLIENT, "X-Project-ID": "proj1", "URL-Signature": signed["signature"], "URL-Expires": signed["expires"],
            "URL-Methods": methods, "URL-Paths": signed["paths"],
        } })
        .to_string()
    };
    let get = json!(["GET"]);
    for (action, queue, methods, status) in [
        ("message_list", "q", &get, 200),
        ("message_list", "other", &get, 403),
        ("message_post", "q", &get, 403),
        ("message_post", "q", &json!(["GET", "POST"]), 403),
        ("message_list", "q", &json!("GET"), 403),
        ("queue_get", "q", &get, 403),
    ] {
        assert_eq!(
            client.say(&frame(action, queue, methods)).await["headers"]["status"],
            status,
            "{action} {queue} {methods}"
        );
    }
    world.pass(100_000);
    let late = client.say(&frame("message_list", "q", &get)).await;
    assert_eq!(late["body"], json!({ "error": "Not authentified." }));
}

#[test]
fn a_page_of_somebody_else_is_refused() {
    let options = ZaqarOptions { hosts: vec!["zaqar.example".to_owned()], ..ZaqarOptions::default() };
    let allowed = |origin: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:9000"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        check_origin(&options, &headers).is_ok()
    };
    for fine in [None, Some("http://127.0.0.1:9000"), Some("https://zaqar.example"), Some("https://ZAQAR.example:8443")]
    {
        assert!(allowed(fine), "{fine:?}");
    }
    for strange in
        ["http://evil.example", "null", "", "http://127.0.0.1:80", "http://10.0.0.1", "http://zaqar.example.evil"]
    {
        assert!(!allowed(Some(strange)), "{strange}");
    }
}
