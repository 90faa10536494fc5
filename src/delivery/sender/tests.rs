//! Requests to a real server over TLS.

use super::*;
use crate::delivery::tests::receiver::{Receiver, loopback};
use crate::domain::network::Network;

fn url(receiver: &Receiver, path: &str) -> Url {
    parse_url(&receiver.url(path), &["https"]).unwrap()
}

#[tokio::test]
async fn a_body_arrives_with_its_headers_over_one_connection() {
    let receiver = Receiver::start(|_| (201, "taken".to_owned())).await;
    let sender = receiver.sender(loopback());
    for _ in 0..3 {
        let answered =
            sender.post_json(&url(&receiver, "/a?b=c"), Some("secret"), Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(answered, Answered { status: 201, body: b"taken".to_vec() });
    }
    let got = receiver.got();
    assert!(got.iter().all(|request| request.path == "/a?b=c" && request.body == "{}"));
    assert!(got.iter().all(|request| request.header("authorization") == "secret"));
    assert!(got.iter().all(|request| request.header("content-type") == "application/json"));
    assert!(got.iter().all(|request| request.peer == got[0].peer), "one connection");
}

#[tokio::test]
async fn what_is_not_public_is_not_connected_to() {
    let receiver = Receiver::start(|_| (200, String::new())).await;
    let sender = receiver.sender(Guard::default());
    let by_name = url(&receiver, "/").to_string().replace("127.0.0.1", "localhost");
    for target in [url(&receiver, "/"), Url::parse(&by_name).unwrap()] {
        let Unanswered(why) = sender.get(&target).await.unwrap_err();
        assert!(why.contains("push.allow_networks"), "{target}: {why}");
    }
    let elsewhere = Guard::new(vec![Network::parse("10.0.0.0/8").unwrap()]);
    assert!(receiver.sender(elsewhere).get(&url(&receiver, "/")).await.is_err());
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let receiver = Receiver::start(|_| (302, String::new())).await;
    let answered = receiver.sender(loopback()).get(&url(&receiver, "/")).await.unwrap();
    assert_eq!((answered.status, receiver.got().len()), (302, 1));
}

#[tokio::test]
async fn a_certificate_of_nobody_known_is_refused() {
    let (receiver, stranger) =
        (Receiver::start(|_| (200, String::new())).await, Receiver::start(|_| (200, String::new())).await);
    let Unanswered(why) = stranger.sender(loopback()).get(&url(&receiver, "/")).await.unwrap_err();
    assert!(why.starts_with("cannot connect") && why.to_lowercase().contains("certificate"), "{why}");
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn of_a_large_answer_only_the_beginning_is_kept() {
    let receiver = Receiver::start(|_| (500, "x".repeat(5 << 20))).await;
    let answered = receiver.sender(loopback()).get(&url(&receiver, "/")).await.unwrap();
    assert_eq!((answered.status, answered.body.len()), (500, ANSWER_BYTES));
}

#[test]
fn only_absolute_urls_with_a_host_are_taken() {
    for right in ["https://a.example", "HTTPS://a:5000/x?y#z", "https://[::1]/", "https://user:word@a/"] {
        assert!(parse_url(right, &["https"]).is_some(), "{right}");
    }
    let long = format!("https://a/{}", "x".repeat(URL_BYTES_MAX));
    for wrong in [
        "",
        "http://a",
        "a.example",
        "//a",
        "https://",
        "https:///",
        "ftp://a",
        "https://a b/",
        "https://a:99999/",
        &long,
    ] {
        assert!(parse_url(wrong, &["https"]).is_none(), "{wrong}");
    }
}
