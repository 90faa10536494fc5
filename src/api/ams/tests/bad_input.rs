//! Whatever is wrong with a request, it gets its answer and changes nothing: the store is the same before and after.

use super::*;

/// Method, path, token, body, status, and a part of the answer.
type Row<'a> = (&'a str, &'a str, &'a str, Vec<u8>, u16, &'a str);

fn rows<'a>(consumer: &'a str, publisher: &'a str) -> Vec<Row<'a>> {
    let deep = "[".repeat(100_000).into_bytes();
    let nested = format!(r#"{{"x":{}1{}}}"#, "[".repeat(500), "]".repeat(500)).into_bytes();
    let p = "/v1/projects/DEMO";
    let leak = |path: String| -> &'static str { Box::leak(path.into_boxed_str()) };
    let at = |rest: &str| leak(format!("{p}{rest}"));
    vec![
        ("GET", "/v1/nothing", SERVICE, vec![], 404, "404 page not found\n"),
        ("PATCH", at("/topics/t1"), SERVICE, vec![], 404, "404 page not found\n"),
        ("POST", at("/topics/t1:purge"), SERVICE, vec![], 404, "404 page not found\n"),
        ("POST", "/v1/version", SERVICE, vec![], 405, ""),
        ("POST", at("/topics/t1:publish"), "", b"{}".to_vec(), 401, "Unauthorized"),
        ("POST", at("/topics/t1:publish"), "wrong", b"{}".to_vec(), 401, "Unauthorized"),
        ("POST", at("/topics/t1:publish"), consumer, b"{}".to_vec(), 403, "forbidden"),
        ("POST", at("/topics/t1:publish"), publisher, b"{}".to_vec(), 403, "forbidden"),
        ("PUT", at("/topics/t9"), publisher, vec![], 403, "forbidden"),
        ("DELETE", at("/topics/t1"), consumer, vec![], 403, "forbidden"),
        ("POST", "/v1/projects/NONE/topics/t1:publish", SERVICE, b"{}".to_vec(), 404, "project doesn't exist"),
        ("PUT", at("/topics/t,1"), SERVICE, vec![], 400, "Invalid topic name"),
        ("PUT", at("/topics/%00"), SERVICE, vec![], 400, "Invalid topic name"),
        ("PUT", leak(format!("{p}/topics/{}", "x".repeat(2_000))), SERVICE, vec![], 400, "Invalid topic name"),
        (
            "POST",
            at("/topics/t1:publish"),
            SERVICE,
            b"{\"messages\":[{\"data\":\"x\"}".to_vec(),
            400,
            "Invalid Message Arguments",
        ),
        ("POST", at("/topics/t1:publish"), SERVICE, deep.clone(), 400, "Invalid Message Arguments"),
        ("POST", at("/topics/t1:publish"), SERVICE, nested.clone(), 400, "Invalid Message Arguments"),
        (
            "POST",
            at("/topics/t1:publish"),
            SERVICE,
            b"{\"messages\":[{\"data\":\"a\"},{\"data\":\xff}]}".to_vec(),
            400,
            "Invalid Message Arguments",
        ),
        (
            "POST",
            at("/topics/t1:publish"),
            SERVICE,
            b"{\"messages\":[{\"data\":\"a\"},{\"data\":\"\\u12\"}]}".to_vec(),
            400,
            "Invalid Message Arguments",
        ),
        (
            "POST",
            at("/topics/t1:publish"),
            SERVICE,
            br#"{"messages":[{"data":"a"},{"attributes":{"a":{}}}]}"#.to_vec(),
            400,
            "Invalid Message Arguments",
        ),
        ("POST", at("/topics/t1:publish"), SERVICE, vec![b' '; (16 << 20) + 1], 413, "too large"),
        (
            "POST",
            at("/topics/t1:publish"),
            SERVICE,
            format!(r#"{{"messages":[{{"data":"a"}},{{"data":"{}"}}]}}"#, "A".repeat(1_500_000)).into_bytes(),
            413,
            "too large",
        ),
        ("PUT", at("/topics/t9"), SERVICE, br#"{"schema":5}"#.to_vec(), 400, "Invalid Request Body"),
        (
            "PUT",
            at("/topics/t9"),
            SERVICE,
            br#"{"schema":"projects/DEMO/schemas/none"}"#.to_vec(),
            404,
            "Schema doesn't exist",
        ),
        ("PUT", at("/topics/t1"), SERVICE, vec![], 409, "Topic already exists"),
        ("PUT", at("/subscriptions/s9"), SERVICE, deep.clone(), 400, "Invalid Subscription Arguments"),
        (
            "PUT",
            at("/subscriptions/s9"),
            SERVICE,
            br#"{"topic":"projects/DEMO/topics/none"}"#.to_vec(),
            404,
            "Topic doesn't exist",
        ),
        (
            "PUT",
            at("/subscriptions/s1"),
            SERVICE,
            br#"{"topic":"projects/DEMO/topics/t1"}"#.to_vec(),
            409,
            "Subscription already exists",
        ),
        (
            "POST",
            at("/subscriptions/s1:pull"),
            SERVICE,
            br#"{"maxMessages":{}}"#.to_vec(),
            400,
            "Invalid Pull Parameters Arguments",
        ),
        ("POST", at("/subscriptions/s1:pull"), consumer, b"{}".to_vec(), 403, "forbidden"),
        (
            "POST",
            at("/subscriptions/s1:acknowledge"),
            SERVICE,
            br#"{"ackIds":"x"}"#.to_vec(),
            400,
            "Invalid ack parameter",
        ),
        (
            "POST",
            at("/subscriptions/s1:acknowledge"),
            SERVICE,
            br#"{"ackIds":["projects/DEMO/subscriptions/s2:0"]}"#.to_vec(),
            400,
            "Invalid ack id",
        ),
        (
            "POST",
            at("/subscriptions/s1:acknowledge"),
            SERVICE,
            br#"{"ackIds":["projects/DEMO/subscriptions/s1:7"]}"#.to_vec(),
            500,
            "wrong ack",
        ),
        (
            "POST",
            at("/subscriptions/s2:acknowledge"),
            SERVICE,
            br#"{"ackIds":["projects/DEMO/subscriptions/s2:0"]}"#.to_vec(),
            500,
            "no ack pending",
        ),
        (
            "POST",
            at("/subscriptions/s1:modifyOffset"),
            SERVICE,
            br#"{"offset":99}"#.to_vec(),
            400,
            "Offset out of bounds",
        ),
        (
            "POST",
            at("/subscriptions/s1:modifyOffset"),
            SERVICE,
            br#"{"offset":-1}"#.to_vec(),
            400,
            "Offset out of bounds",
        ),
        (
            "POST",
            at("/subscriptions/s1:modifyAckDeadline"),
            SERVICE,
            br#"{"ackDeadlineSeconds":601}"#.to_vec(),
            400,
            "needs value between 0 and 600",
        ),
        (
            "POST",
            at("/subscriptions/s1:modifyAcl"),
            SERVICE,
            br#"{"authorized_users":["carol","ghost"]}"#.to_vec(),
            404,
            "ghost do not exist",
        ),
        (
            "POST",
            at("/topics/none:modifyAcl"),
            SERVICE,
            br#"{"authorized_users":["carol"]}"#.to_vec(),
            404,
            "Topic doesn't exist",
        ),
        ("GET", at("/subscriptions/s1:timeToOffset?time=now"), SERVICE, vec![], 400, "Zulu"),
        ("GET", at("/topics?pageSize=ten"), SERVICE, vec![], 400, "Invalid page size"),
        ("GET", at("/topics?pageToken=%00"), SERVICE, vec![], 400, "Invalid page token"),
        ("POST", "/v1/projects/NEW", SERVICE, nested, 400, "Invalid Project Arguments"),
        ("PUT", p, SERVICE, br#"{"name":"OTHER"}"#.to_vec(), 400, "name already exists"),
        ("PUT", p, SERVICE, br#"{"name":"a/b"}"#.to_vec(), 400, "Invalid project name"),
        ("POST", "/v1/users/new", SERVICE, br#"{"service_roles":["king"]}"#.to_vec(), 400, "invalid role: king"),
        (
            "POST",
            "/v1/users/new",
            SERVICE,
            br#"{"projects":[{"project":"NONE"}]}"#.to_vec(),
            400,
            "invalid project: NONE",
        ),
        ("PUT", "/v1/users/carol", SERVICE, br#"{"name":"paul"}"#.to_vec(), 400, "name already exists"),
        ("PUT", "/v1/users/ghost", SERVICE, br#"{"email":"x"}"#.to_vec(), 404, "User doesn't exist"),
        ("POST", "/v1/users/ghost:refreshToken", SERVICE, vec![], 404, "User doesn't exist"),
        ("DELETE", "/v1/users/ghost", SERVICE, vec![], 404, "User doesn't exist"),
        ("POST", at("/members/carol:add"), SERVICE, br#"{"roles":["consumer"]}"#.to_vec(), 409, "already a member"),
        ("POST", at("/members/ghost:remove"), SERVICE, vec![], 404, "User doesn't exist"),
        ("PUT", at("/members/carol"), SERVICE, br#"{"projects":[]}"#.to_vec(), 403, "not a member"),
    ]
}

#[actix_web::test]
async fn bad_requests_get_their_answer_and_change_nothing() {
    let world = World::demo().await;
    world.post("/v1/projects/OTHER", "{}").await.ok();
    world.subscription("s1", "").await;
    world.subscription("s2", "").await;
    world.publish(&["a", "b"]).await;
    world.pull("s1", 2).await;
    let consumer = world.member("carol", r#""consumer""#).await;
    let publisher = world.member("paul", r#""publisher""#).await;
    let before = world.dump().await;
    for (method, path, token, body, status, part) in rows(&consumer, &publisher) {
        let shown = String::from_utf8_lossy(&body).chars().take(80).collect::<String>();
        let reply = world.as_user(token, Method::from_bytes(method.as_bytes()).unwrap(), path, body).await;
        assert_eq!(reply.status, status, "{method} {path} {shown}: {}", reply.body);
        assert!(reply.body.contains(part), "{method} {path} {shown}: {}", reply.body);
        assert_eq!(world.dump().await, before, "{method} {path} {shown}");
    }
}
