//! Whatever is wrong with a request, it gets the contract's answer and changes nothing.

use super::*;

#[actix_web::test]
async fn every_refusal_has_its_text() {
    let world = World::new().await;
    world.call("PUT", "/v2/queues/q", r#"{"_max_messages_post_size": 2000, "_default_message_delay": 10}"#).await;
    let before = world.get("/v2/queues/q").await.body;
    for (method, path, body, status, said) in rows() {
        let answer = match method {
            "PATCH" if path.is_empty() => world.patch("/v2/queues/q", body).await,
            _ => world.call(method, &format!("/v2/queues{path}"), body).await,
        };
        assert_eq!(answer.status, status, "{method} {path} {body} {}", answer.body);
        assert_eq!(answer.json()["description"], said, "{method} {path} {body}");
    }
    let big = "x".repeat(2_000);
    for (path, body, said) in [
        ("/v2/queues/q/messages", format!(r#"{{"messages": [{{"body": "{big}"}}]}}"#), "Message collection size is too large. The max size for current queue is 2000. It is calculated by max size = min(max_messages_post_size_config: 262144, max_messages_post_size_queue: 2000).".to_owned()),
        ("/v2/queues/p/messages", format!(r#"{{"messages": [{{"body": "{}"}}]}}"#, "x".repeat(262_144)), "Message collection size is too large. Max size 262144".to_owned()),
    ] {
        world.call("POST", path, &body).await.says(400, &said);
    }
    let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(65_536));
    world.call("PUT", "/v2/queues/p", &large).await.says(400, "Queue metadata is too large. Max size: 65536");
    world.patch("/v2/queues/q", &large).await.says(400, "Queue metadata is too large. Max size: 65536");
    world.call("PATCH", "/v2/queues/q", "[]").await.with(415);
    assert_eq!(world.get("/v2/queues/q").await.body, before);
    assert_eq!(world.get("/v2/queues").await.with(200)["queues"].as_array().unwrap().len(), 1, "nothing was made");
    assert_eq!(world.figures().await, (0, 0, 0));
}

type Row = (&'static str, &'static str, &'static str, u16, &'static str);

const UNPARSED: &str = "Request body could not be parsed.";
const WRONG_DOCUMENT: &str = "Document type not supported.";
const NONE_FOUND: &str = "No messages were found in the request body.";
const PAGE: &str = "Limit must be at least 1 and may not be greater than 20.";
const CLAIM_TTL: &str = "The TTL for a claim may not exceed 43200 seconds, and must be at least 60 seconds long.";
const NO_CLAIM: &str = "Claim 1 does not exist in queue q for project proj1";
const MESSAGE_TTL: &str = "The TTL for a message may not exceed 1209600 seconds, and must be at least 60 seconds long.";
const OPS: &str = "It must be one of the following: add, remove, replace.";

fn rows() -> Vec<Row> {
    let mut rows = vec![
        ("GET", "?limit=0", "", 400, "Limit must be at least 1 and no greater than 20."),
        ("GET", "?limit=21", "", 400, "Limit must be at least 1 and no greater than 20."),
        ("GET", "?limit=x", "", 400, "The \"limit\" parameter is invalid. The value must be an integer."),
        (
            "GET",
            "?detailed=None",
            "",
            400,
            "The \"detailed\" parameter is invalid. The value of the parameter must be \"true\" or \"false\".",
        ),
        ("GET", "/q/messages?limit=-1", "", 400, PAGE),
        ("GET", "/none/messages?limit=21", "", 400, PAGE),
        (
            "GET",
            "/q/messages?echo=None",
            "",
            400,
            "The \"echo\" parameter is invalid. The value of the parameter must be \"true\" or \"false\".",
        ),
        ("GET", "/q/messages?ids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21", "", 400, PAGE),
        ("GET", "/q/messages?ids=-1", "", 404, "No messages with IDs: ['-1'] found in the queue q for project proj1."),
        ("GET", "/none/messages/1", "", 404, "Queue none does not exist for project proj1"),
        (
            "DELETE",
            "/q/messages",
            "",
            400,
            "The request should have either \"ids\" or \"pop\" parameter in the request, to be able to delete.",
        ),
        (
            "DELETE",
            "/q/messages?ids=1&pop=1",
            "",
            400,
            "pop and id params cannot be present together in the delete request.",
        ),
        ("DELETE", "/q/messages?pop=0", "", 400, "Pop value must be at least 1 and may not be greater than 20."),
        (
            "DELETE",
            "/q/messages?pop=1000000000",
            "",
            400,
            "Pop value must be at least 1 and may not be greater than 20.",
        ),
        ("DELETE", "/q/messages?pop=%20", "", 400, "The \"pop\" parameter is invalid. The value must be an integer."),
        (
            "DELETE",
            "/q/messages?ids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21",
            "",
            400,
            "ids parameter should have at least 1 and not greater than 20 values.",
        ),
        ("POST", "/q/messages", "", 400, "Request body can not be empty"),
        ("POST", "/q/claims?limit=0", "", 400, PAGE),
        ("POST", "/q/claims?limit=x", "{", 400, "The \"limit\" parameter is invalid. The value must be an integer."),
        ("GET", "/q/claims/1", "", 404, NO_CLAIM),
        ("POST", "/q/purge", "{}", 400, "Post body must contain key \"resource_types\"."),
        (
            "POST",
            "/q/purge",
            r#"{"resource_types": ["x"]}"#,
            400,
            "Resource types must be a sub set of {'messages', 'subscriptions'}.",
        ),
        (
            "POST",
            "/q/purge",
            r#"{"resource_types": 5}"#,
            400,
            "Resource types must be a sub set of {'messages', 'subscriptions'}.",
        ),
    ];
    rows.extend(posts().map(|(body, said)| ("POST", "/q/messages", body, 400, said)));
    rows.extend(claims());
    rows.extend(metadata().map(|(body, said)| ("PUT", "/new", body, 400, said)));
    rows.extend(patches().map(|(body, said)| ("PATCH", "", body, 400, said)));
    rows
}

fn posts() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("{", UNPARSED),
        ("\"123\"", UNPARSED),
        ("{\"messages\": [{\"body\": NaN}]}", UNPARSED),
        ("{\"messages\": [{\"body\": \"\u{1}\"}]}", UNPARSED),
        ("[]", NONE_FOUND),
        ("{}", NONE_FOUND),
        (r#"[{"body": 1, "ttl": 100}]"#, NONE_FOUND),
        (r#"{"messages": {}}"#, WRONG_DOCUMENT),
        (r#"{"messages": null}"#, WRONG_DOCUMENT),
        (r#"{"messages": [1]}"#, WRONG_DOCUMENT),
        (r#"{"messages": []}"#, "No messages to enqueu."),
        (r#"{"messages": [{"body": 1}, {"ttl": 100}]}"#, "Missing \"body\" field."),
        (r#"{"messages": [{"body": 1, "ttl": "100"}]}"#, "The value of the \"ttl\" field must be a int."),
        (r#"{"messages": [{"body": 1, "ttl": null}]}"#, "The value of the \"ttl\" field must be a int."),
        (r#"{"messages": [{"body": 1, "ttl": 100.5}]}"#, "The value of the \"ttl\" field must be a int."),
        (r#"{"messages": [{"body": 1, "delay": "1"}]}"#, "The value of the \"delay\" field must be a int."),
        (r#"{"messages": [{"body": 18446744073709551616}]}"#, "JSON contains integer that is too large."),
        (r#"{"messages": [{"body": 1, "ttl": 59}]}"#, MESSAGE_TTL),
        (r#"{"messages": [{"body": 1, "ttl": true}]}"#, MESSAGE_TTL),
        (r#"{"messages": [{"body": 1}, {"body": 1, "ttl": 1209601}]}"#, MESSAGE_TTL),
        (
            r#"{"messages": [{"body": 1, "delay": 901}]}"#,
            "The Delay TTL for a message may not exceed 900 seconds,and must be at least 0 seconds long.",
        ),
        (
            r#"{"messages": [{"body": 1, "delay": -1}]}"#,
            "The Delay TTL for a message may not exceed 900 seconds,and must be at least 0 seconds long.",
        ),
    ]
    .into_iter()
}

fn claims() -> impl Iterator<Item = Row> {
    let create = [
        ("\"x\"", UNPARSED),
        ("[]", WRONG_DOCUMENT),
        (r#"{"ttl": "60"}"#, "The value of the \"ttl\" field must be a int."),
        (r#"{"grace": 60.5}"#, "The value of the \"grace\" field must be a int."),
        (r#"{"ttl": 59}"#, CLAIM_TTL),
        (r#"{"ttl": 43201}"#, CLAIM_TTL),
        (
            r#"{"grace": 59}"#,
            "The grace for a claim may not exceed 43200 seconds, and must be at least 60 seconds long.",
        ),
    ];
    let renew = [
        ("", 400, "Request body can not be empty"),
        ("[]", 400, WRONG_DOCUMENT),
        (r#"{"ttl": 59}"#, 400, CLAIM_TTL),
        ("{}", 404, NO_CLAIM),
    ];
    let create = create.into_iter().map(|(body, said)| ("POST", "/q/claims", body, 400, said));
    create.chain(renew.into_iter().map(|(body, status, said)| ("PATCH", "/q/claims/1", body, status, said)))
}

fn metadata() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        (" ", UNPARSED),
        ("123", UNPARSED),
        ("[]", WRONG_DOCUMENT),
        (r#"{"_max_messages_post_size": "x"}"#, "_max_messages_post_size must be integer."),
        (
            r#"{"_max_messages_post_size": 262145}"#,
            "_max_messages_post_size can not exceed 262144,  and must be at least greater than 0.",
        ),
        (
            r#"{"_max_messages_post_size": -1}"#,
            "_max_messages_post_size can not exceed 262144,  and must be at least greater than 0.",
        ),
        (r#"{"_default_message_ttl": ""}"#, "_default_message_ttl must be integer."),
        (
            r#"{"_default_message_delay": 901}"#,
            "The TTL can not exceed 900 seconds, and must be at least 0 seconds long.",
        ),
        (r#"{"_dead_letter_queue_messages_ttl": 59}"#, MESSAGE_TTL),
        (r#"{"_dead_letter_queue": 5}"#, "_dead_letter_queue must be string."),
        (r#"{"_max_claim_count": 1.5}"#, "_max_claim_count must be integer."),
        (r#"{"_enable_encrypt_messages": 1}"#, "_enable_encrypt_messages must be boolean."),
        (r#"{"_retry_policy": 5}"#, "retry_policy must be a dict."),
        (r#"{"_retry_policy": {"minimum_delay": "5"}}"#, "Retry policy: minimum_delay must be a integer."),
        (r#"{"_retry_policy": {"retry_backoff_function": 5}}"#, "retry_backoff_function must be a string."),
        (r#"{"_retry_policy": {"retry_backoff_function": "x"}}"#, "invalid retry_backoff_function."),
        (
            r#"{"_retry_policy": {"ignore_subscription_override": 1}}"#,
            "ignore_subscription_override must be a boolean.",
        ),
        (r#"{"_retry_policy": {"minimum_delay": 30}}"#, "minimum_delay must less than maximum_delay."),
        (r#"{"_retry_policy": {"minimum_delay": 21}}"#, "invalid minimum_delay and maximum_delay."),
    ]
    .into_iter()
}

fn patches() -> impl Iterator<Item = (&'static str, &'static str)> {
    let invalid = Box::leak(format!("Invalid operation: `move`. {OPS}").into_boxed_str());
    let no_op = Box::leak(format!("Unable to find `op` in JSON Schema change. {OPS}").into_boxed_str());
    [
        ("", "PATCH body could not be empty for update."),
        ("{", UNPARSED),
        ("{}", WRONG_DOCUMENT),
        ("[1]", "Operations must be JSON objects."),
        ("[{}]", no_op),
        (r#"[{"op": "move"}]"#, invalid),
        (r#"[{"op": "add"}]"#, "Unable to find 'path' in JSON Schema change"),
        (r#"[{"op": "add", "path": "a"}]"#, "Pointer `a` does not start with \"/\"."),
        (r#"[{"op": "add", "path": 5}]"#, "Pointer `5` does not start with \"/\"."),
        (r#"[{"op": "add", "path": "/a//b"}]"#, "Pointer `/a//b` contains adjacent \"/\"."),
        (r#"[{"op": "add", "path": "/a/"}]"#, "Pointer `/a/` end with \"/\"."),
        (
            r#"[{"op": "add", "path": "/a/~2"}]"#,
            "Pointer `/a/~2` contains \"~\" not part of a recognized escape sequence.",
        ),
        (r#"[{"op": "add", "path": "/a"}]"#, "Invalid JSON pointer for this resource: '/a, e.g /metadata/key'"),
        (r#"[{"op": "add", "path": "/metadata/a"}]"#, "Operation \"add\" requires a member named \"value\"."),
        (r#"[{"op": "add", "path": "/x/a", "value": 1}]"#, "The root of path must be metadata, e.g /metadata/key."),
    ]
    .into_iter()
}
