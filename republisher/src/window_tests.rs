//! Windows from answers as they come over the wire.

use super::*;
use crate::config::Plan;
use serde_json::{Value, json};

fn plan(more: &str) -> PairPlan {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "secret").unwrap();
    let text = format!(
        r#"
[service.s]
url = "http://127.0.0.1:1"
token_file = "token"
[[pair]]
name = "p"
source = {{ service = "s", project = "P", subscription = "S" }}
target = {{ service = "s", project = "P" }}
{more}
[[pair.rule]]
topic = "{{attribute:to}}"
"#
    );
    let path = folder.path().join("republisher.toml");
    std::fs::write(&path, text).unwrap();
    Plan::load(&path).unwrap().pairs.remove(0)
}

fn answer(messages: &[(&str, Value)]) -> Vec<u8> {
    let received = messages.iter().enumerate().map(|(at, (data, attributes))| {
        let message = json!({"messageId": at.to_string(), "data": data, "attributes": attributes, "publishTime": "T"});
        json!({"ackId": format!("a:{at}"), "message": message})
    });
    json!({"receivedMessages": received.collect::<Vec<_>>()}).to_string().into_bytes()
}

fn window(plan: &PairPlan, published: &[&str], messages: &[(&str, Value)]) -> Window {
    let published = published.iter().map(|identity| (Box::from(*identity), Instant::now())).collect();
    Maker { plan, own_topic: Some("own"), dense_from: None, published: &published }.window(&answer(messages)).unwrap()
}

/// Topic, entries and payloads of each request.
fn requests(window: &Window) -> Vec<(String, Vec<usize>, Vec<String>)> {
    let all = window.queues.iter().flat_map(|queue| queue.requests.iter().map(|request| (&queue.topic, request)));
    all.map(|(topic, request)| {
        (topic.clone(), request.messages.iter().map(|(_, entry)| *entry).collect(), payloads(request))
    })
    .collect()
}

fn payloads(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["messages"].as_array().unwrap().iter().map(|message| message["data"].as_str().unwrap().to_owned()).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn each_topic_has_its_messages_in_order_in_requests_of_bounded_size() {
    let plan = plan("publish_messages = 2");
    let to = |topic: &str| json!({ "to": topic });
    let messages = [("a", to("x")), ("b", to("y")), ("c", to("x")), ("d", to("x")), ("e", to("y"))];
    let made = requests(&window(&plan, &[], &messages));
    let wanted = vec![
        ("x".to_owned(), vec![0, 2], owned(&["a", "c"])),
        ("x".to_owned(), vec![3], owned(&["d"])),
        ("y".to_owned(), vec![1, 4], owned(&["b", "e"])),
    ];
    assert_eq!(made, wanted);
}

#[test]
fn a_request_stays_below_its_bytes_unless_one_message_alone_is_more() {
    let plan = plan("publish_bytes = 1024");
    let (small, large) = ("s".repeat(300), "l".repeat(3000));
    let messages = [&small, &small, &small, &large, &small].map(|data| (data.as_str(), json!({"to": "x"})));
    let made = window(&plan, &[], &messages);
    let sizes: Vec<_> =
        made.queues[0].requests.iter().map(|request| (request.messages.len(), request.body.len())).collect();
    assert_eq!(sizes.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [2, 1, 1, 1]);
    assert!(sizes.iter().all(|(count, bytes)| *count == 1 || *bytes <= 1024), "{sizes:?}");
}

#[test]
fn a_message_keeps_its_payload_and_says_where_it_comes_from() {
    let plan = plan("id_attribute = \"origin\"");
    let attributes = json!({"to": "x", "origin": "forged", "odd \"\\\n": "ü\u{1}"});
    let made = window(&plan, &[], &[("b+/=", attributes)]);
    let body: Value = serde_json::from_slice(&made.queues[0].requests[0].body).unwrap();
    let wanted = json!({"to": "x", "origin": "projects/P/subscriptions/S:0", "odd \"\\\n": "ü\u{1}"});
    assert_eq!(body, json!({"messages": [{"data": "b+/=", "attributes": wanted}]}));
}

#[test]
fn halves_hold_the_same_messages_in_the_same_order() {
    let plan = plan("");
    let messages = ["a", "b", "c", "d", "e"].map(|data| (data, json!({"to": "x"})));
    let made = window(&plan, &[], &messages);
    let request = &made.queues[0].requests[0];
    let [first, second] = request.halves().unwrap();
    assert_eq!((payloads(&first), payloads(&second)), (owned(&["a", "b"]), owned(&["c", "d", "e"])));
    let [third, fourth] = second.halves().unwrap();
    assert_eq!((payloads(&third), payloads(&fourth)), (owned(&["c"]), owned(&["d", "e"])));
    assert_eq!(fourth.messages.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(third.halves(), None);
}

#[test]
fn what_was_published_already_is_acknowledged_only() {
    let plan = plan("");
    let messages = ["a", "b", "c"].map(|data| (data, json!({"to": "x"})));
    let made = window(&plan, &["0@T", "1@another time"], &messages);
    assert_eq!((made.known, made.entries.len()), (1, 3));
    assert_eq!(requests(&made), [("x".to_owned(), vec![1, 2], owned(&["b", "c"]))]);
}

#[test]
fn nothing_after_a_message_that_stops_is_taken() {
    let plan = plan("");
    for stopping in [json!({}), json!({"to": "own"})] {
        let messages = [("a", json!({"to": "x"})), ("b", stopping), ("c", json!({"to": "x"}))];
        let made = window(&plan, &[], &messages);
        assert!(made.halt.is_some());
        assert_eq!(made.entries.len(), 1);
        assert_eq!(made.untouched, [Box::from("a:1"), Box::from("a:2")]);
        assert_eq!(made.ack_ids(), ["a:0", "a:1", "a:2"]);
        assert_eq!(requests(&made), [("x".to_owned(), vec![0], owned(&["a"]))]);
    }
}

#[test]
fn what_comes_after_a_gap_is_left_untouched_where_the_order_asks_for_it() {
    let plan = plan("");
    let published = HashMap::new();
    let messages = ["a", "b", "c"].map(|data| (data, json!({"to": "x"})));
    let text = String::from_utf8(answer(&messages)).unwrap().replace("\"messageId\":\"2\"", "\"messageId\":\"3\"");
    for (dense_from, taken) in [(None, 3), (Some(0), 2), (Some(1), 0)] {
        let maker = Maker { plan: &plan, own_topic: None, dense_from, published: &published };
        let made = maker.window(text.as_bytes()).unwrap();
        assert_eq!((made.entries.len(), made.untouched.len(), made.halt), (taken, 3 - taken, None), "{dense_from:?}");
    }
}

#[test]
fn messages_without_data_or_attributes_pass_and_an_odd_answer_is_refused() {
    let mut plan = plan("unmatched = \"topic\"\nunmatched_topic = \"others\"");
    plan.id_attribute = "id".to_owned();
    let published = HashMap::new();
    let maker = Maker { plan: &plan, own_topic: None, dense_from: None, published: &published };
    let bare = br#"{"receivedMessages":[{"ackId":"a","message":{"messageId":"x"}}]}"#;
    let made = maker.window(bare).unwrap();
    let body = &made.queues[0].requests[0].body;
    assert_eq!(&body[..], br#"{"messages":[{"attributes":{"id":"projects/P/subscriptions/S:x"}}]}"#);
    assert_eq!((made.unmatched, made.entries.len()), (1, 1));
    for odd in ["", "[]", "{\"receivedMessages\":[{}]}", "<html>"] {
        assert!(maker.window(odd.as_bytes()).is_err(), "{odd}");
    }
}
