//! Metrics of the service, of projects, topics and subscriptions, and the averages over a period.

use super::*;

const P: &str = "/v1/projects/DEMO";

/// Each metric as `name resource value…`, a daily value with its day.
fn series(reply: &Reply) -> Vec<String> {
    let metrics = reply.json()["metrics"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |metric: &Value| {
        let points = metric["timeseries"].as_array().unwrap().iter();
        let points = points.map(|point| format!(" {}={}", text(&point["timestamp"]), point["value"]));
        format!("{} {}{}", text(&metric["metric"]), text(&metric["resource_name"]), points.collect::<String>())
    };
    metrics.iter().map(line).collect()
}

#[actix_web::test]
async fn a_topics_metrics_count_what_was_published() {
    let world = World::demo().await;
    let fresh = world.get(&format!("{P}/topics/t1:metrics")).await.ok();
    let day = "topic.number_of_daily_messages t1";
    let now = "2024-05-01T10:00:00Z";
    assert_eq!(
        series(&fresh),
        [
            format!("topic.number_of_subscriptions t1 {now}=0"),
            format!("topic.number_of_messages t1 {now}=0"),
            format!("topic.number_of_bytes t1 {now}=0"),
            day.to_owned(),
            "topic.publishing_rate t1 0001-01-01T00:00:00Z=0".to_owned(),
        ]
    );
    world.subscription("s", "").await;
    world.publish(&["YQ==", "YWE=", "YWFh"]).await;
    let once = series(&world.get(&format!("{P}/topics/t1:metrics")).await.ok());
    assert_eq!(once[4], format!("topic.publishing_rate t1 {now}=3"), "the first one counts as if a second had passed");
    world.clock.advance(Duration::from_secs(86_400));
    world.publish(&["YQ=="]).await;
    let now = "2024-05-02T10:00:00Z";
    let later = world.get(&format!("{P}/topics/t1:metrics")).await.ok();
    assert_eq!(
        series(&later),
        [
            format!("topic.number_of_subscriptions t1 {now}=1"),
            format!("topic.number_of_messages t1 {now}=4"),
            format!("topic.number_of_bytes t1 {now}=16"),
            format!("{day} 2024-05-02=1 2024-05-01=3"),
            format!("topic.publishing_rate t1 {now}=0.000011574074074074073"),
        ]
    );
    let first = "{\n   \"metrics\": [\n      {\n         \"metric\": \"topic.number_of_subscriptions\",\n         \"metric_type\": \"counter\",\n         \"value_type\": \"int64\",\n         \"resource_type\": \"topic\",\n         \"resource_name\": \"t1\",\n         \"timeseries\": [\n            {\n               \"timestamp\": \"2024-05-02T10:00:00Z\",\n               \"value\": 1\n            }\n         ],\n         \"description\": \"Counter that displays the number of subscriptions belonging to a specific topic\"\n      },";
    assert!(later.body.starts_with(first), "{}", later.body);
}

#[actix_web::test]
async fn a_subscriptions_metrics_count_what_was_pulled_again_too() {
    let world = World::demo().await;
    world.subscription("s", "").await;
    let fresh = series(&world.get(&format!("{P}/subscriptions/s:metrics")).await.ok());
    assert_eq!(fresh[2], "subscription.consumption_rate s 0001-01-01T00:00:00Z=0");
    world.publish(&["YQ==", "YWE="]).await;
    world.pull("s", 2).await;
    world.clock.advance(Duration::from_secs(4));
    world.pull("s", 2).await;
    let now = "2024-05-01T10:00:04Z";
    let seen = series(&world.get(&format!("{P}/subscriptions/s:metrics")).await.ok());
    assert_eq!(
        seen,
        [
            format!("subscription.number_of_messages s {now}=4"),
            format!("subscription.number_of_bytes s {now}=16"),
            format!("subscription.consumption_rate s {now}=0.5"),
        ]
    );
    world.delete(&format!("{P}/topics/t1")).await.ok();
    assert_eq!(
        series(&world.get(&format!("{P}/subscriptions/s:metrics")).await.ok()).len(),
        3,
        "the topic may be gone"
    );
}

#[actix_web::test]
async fn a_projects_metrics_count_its_things_its_members_and_its_days() {
    let world = World::demo().await;
    for name in ["zoe", "abe", "idle"] {
        world.member(name, r#""publisher""#).await;
    }
    world.put(&format!("{P}/topics/t2"), "").await.ok();
    world.subscription("s", "").await;
    world.post(&format!("{P}/topics/t1:modifyAcl"), r#"{"authorized_users":["abe","zoe"]}"#).await.ok();
    world.post(&format!("{P}/topics/t2:modifyAcl"), r#"{"authorized_users":["abe"]}"#).await.ok();
    world.post(&format!("{P}/subscriptions/s:modifyAcl"), r#"{"authorized_users":["zoe"]}"#).await.ok();
    world.publish(&["YQ=="]).await;
    world.post(&format!("{P}/topics/t2:publish"), r#"{"messages":[{},{}]}"#).await.ok();
    let now = "2024-05-01T10:00:00Z";
    assert_eq!(
        series(&world.get(&format!("{P}:metrics")).await.ok()),
        [
            format!("project.number_of_topics DEMO {now}=2"),
            format!("project.number_of_subscriptions DEMO {now}=1"),
            format!("project.user.number_of_topics DEMO.zoe {now}=1"),
            format!("project.user.number_of_topics DEMO.abe {now}=2"),
            format!("project.user.number_of_subscriptions DEMO.zoe {now}=1"),
            "project.number_of_daily_messages DEMO 2024-05-01=3".to_owned(),
        ]
    );
}

#[actix_web::test]
async fn an_access_list_is_looked_at_before_whether_the_thing_is_there() {
    let world = World::demo().await;
    world.subscription("s", "").await;
    let (publisher, consumer) = (world.member("p", r#""publisher""#).await, world.member("c", r#""consumer""#).await);
    let get =
        async |token: &str, path: &str| world.as_user(token, Method::GET, &format!("{P}/{path}:metrics"), "").await;
    let forbidden = "Access to this resource is forbidden";
    for path in ["topics/t1", "topics/missing"] {
        get(&publisher, path).await.is(403, forbidden);
    }
    for path in ["subscriptions/s", "subscriptions/missing"] {
        get(&consumer, path).await.is(403, forbidden);
    }
    world.post(&format!("{P}/topics/t1:modifyAcl"), r#"{"authorized_users":["p"]}"#).await.ok();
    get(&publisher, "topics/t1").await.ok();
    get(SERVICE, "topics/missing").await.is(404, "Topic doesn't exist");
    get(SERVICE, "subscriptions/missing").await.is(404, "Subscription doesn't exist");
}

#[actix_web::test]
async fn the_node_shows_one_entry_of_each_kind() {
    let world = World::new().await;
    for _ in 0..2 {
        let metrics = world.get("/v1/metrics").await.ok().json();
        let names = metrics["metrics"].as_array().unwrap().iter().map(|metric| metric["metric"].clone());
        assert_eq!(names.collect::<Vec<_>>(), ["ams_node.cpu_usage", "ams_node.memory_usage"]);
        let memory = &metrics["metrics"][1];
        assert_eq!((&memory["metric_type"], &memory["value_type"]), (&"percentage".into(), &"float64".into()));
        assert_eq!(memory["timeseries"][0]["timestamp"], "2024-05-01T10:00:00Z");
    }
}

/// A world where DEMO took 30 messages in two days, another project one, a third none.
async fn used() -> World {
    let world = World::demo().await;
    for project in ["OTHER", "IDLE"] {
        world.post(&format!("/v1/projects/{project}"), "{}").await.ok();
        world.put(&format!("/v1/projects/{project}/topics/t"), "").await.ok();
    }
    world.member("m", r#""consumer""#).await;
    world.subscription("s", "").await;
    world.publish(&["YQ=="; 20]).await;
    world.clock.advance(Duration::from_secs(86_400));
    world.publish(&["YQ=="; 10]).await;
    world.put(&format!("{P}/topics/t2"), "").await.ok();
    world.post("/v1/projects/OTHER/topics/t:publish", r#"{"messages":[{}]}"#).await.ok();
    world
}

#[actix_web::test]
async fn averages_are_of_the_projects_that_took_messages_in_the_period() {
    let world = used().await;
    let whole = world.get("/v1/metrics/va_metrics?start_date=2024-04-29&projects=DEMO").await.ok();
    let expected = "{\n \"projects_metrics\": {\n  \"projects\": [\n   {\n    \"project\": \"DEMO\",\n    \"message_count\": 30,\n    \"average_daily_messages\": 7.5,\n    \"topics_count\": 2,\n    \"subscriptions_count\": 1,\n    \"users_count\": 1\n   }\n  ],\n  \"total_message_count\": 30,\n  \"average_daily_messages\": 7.5\n },\n \"total_users_count\": 1,\n \"total_topics_count\": 2,\n \"total_subscriptions_count\": 1\n}";
    assert_eq!(whole.body, expected);
    let all = world.get("/v1/metrics/va_metrics").await.ok().json();
    let names = all["projects_metrics"]["projects"].as_array().unwrap().iter().map(|one| one["project"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["DEMO", "OTHER"], "IDLE took none");
    assert_eq!(all["projects_metrics"]["average_daily_messages"], 0.02);
    let second = world.get("/v1/metrics/va_metrics?start_date=2024-05-02&end_date=2024-05-02").await.ok().json();
    let demo = &second["projects_metrics"]["projects"][0];
    assert_eq!((&demo["message_count"], &demo["topics_count"]), (&10.into(), &1.into()), "made in the period");
    assert_eq!((&demo["subscriptions_count"], &demo["users_count"]), (&0.into(), &0.into()));
    let none = world.get("/v1/metrics/va_metrics?end_date=2020-01-01").await.ok().json();
    assert_eq!(none["projects_metrics"]["projects"], serde_json::json!([]));
    assert_eq!(
        (&none["total_topics_count"], &none["projects_metrics"]["average_daily_messages"]),
        (&0.into(), &0.into())
    );
}

#[actix_web::test]
async fn what_is_no_period_or_project_is_refused() {
    let world = used().await;
    for (query, status, message) in [
        ("start_date=1.1.2024&end_date=x&projects=missing", 400, "Start date is not in valid format"),
        ("end_date=2024-13-01&projects=missing", 400, "End date is not in valid format"),
        ("start_date=2024-05-02&end_date=2024-05-01&projects=missing", 400, "Start date cannot be after the end date"),
        ("projects=DEMO,missing", 404, "Project missing doesn't exist"),
        ("projects=a%2Fb", 404, "Project a/b doesn't exist"),
    ] {
        world.get(&format!("/v1/metrics/va_metrics?{query}")).await.is(status, message);
    }
}

#[actix_web::test]
async fn a_usage_report_is_of_the_projects_that_one_administers() {
    let world = used().await;
    let body =
        r#"{"projects":[{"project":"DEMO","roles":["project_admin"]},{"project":"OTHER","roles":["consumer"]}]}"#;
    let admin = world.post("/v1/users/admin", body).await.ok().json();
    let report = async |token: &str, query: &str| {
        world.as_user(token, Method::GET, &format!("/v1/users/usageReport{query}"), "").await
    };
    let token = admin["token"].as_str().unwrap();
    let own = report(token, "?projects=DEMO,OTHER,missing").await.ok();
    assert!(own.body.starts_with("{\n   \"va_metrics\": {\n      \"projects_metrics\": {"), "{}", own.body);
    let own = own.json();
    let projects = own["va_metrics"]["projects_metrics"]["projects"].as_array().unwrap();
    assert_eq!((projects.len(), &projects[0]["project"]), (1, &"DEMO".into()));
    // Whom the first day brought, and the admin himself.
    assert_eq!(projects[0]["users_count"], 2);
    assert_eq!(own["operational_metrics"]["metrics"].as_array().unwrap().len(), 2);
    let none = report(token, "?projects=OTHER").await.ok().json();
    assert_eq!(none["va_metrics"]["projects_metrics"]["projects"], serde_json::json!([]));
    assert_eq!(none["operational_metrics"]["metrics"], serde_json::json!([]));
    report(token, "?start_date=x").await.is(400, "Start date is not in valid format");
    report(SERVICE, "?start_date=x").await.is(401, "Unauthorized");
    world.send(Method::GET, "/v1/users/usageReport", &[], "").await.is(401, "Unauthorized");
}
