//! Subscriptions: who is to be told of what is posted, and what he is asked.

use super::*;
use crate::api::zaqar::sockets::Following;
use crate::api::zaqar::{Confirmation, Feed, Notice, Notifier};
use crate::domain::Name;
use crate::domain::push::{Notify, Shared};
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;

const ALL: &str = "/v2/queues/q/subscriptions";

/// Tells nobody, and keeps what it should have told.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Notice>>);

#[async_trait]
impl Notifier for Recorder {
    fn check(&self, notify: &Notify) -> Result<(), String> {
        if notify.subscriber.contains("never") { Err("Nobody is there.".to_owned()) } else { Ok(()) }
    }

    fn notice(&self, _subscription: Arc<Subscription>, notice: Notice) {
        self.0.lock().push(notice);
    }

    async fn follow(&self, _topic: &Topic, queue: &str) -> crate::domain::Result<Box<dyn Feed>> {
        Ok(Box::new(Once(Some(queue.to_owned()))))
    }
}

/// One notification, then none.
#[derive(Debug)]
struct Once(Option<String>);

#[async_trait]
impl Feed for Once {
    async fn next(&mut self) -> crate::domain::Result<Bytes> {
        match self.0.take() {
            Some(text) => Ok(Bytes::from(text)),
            None => std::future::pending().await,
        }
    }
}

impl World {
    /// With somebody who should tell, and what he should have told.
    async fn told(change: impl FnOnce(&mut ZaqarOptions)) -> (Self, Arc<Recorder>) {
        let (mut world, recorder) = (Self::with(change).await, Arc::new(Recorder::default()));
        let zaqar = Arc::into_inner(world.zaqar).unwrap().with_notifier(recorder.clone());
        world.zaqar = Arc::new(zaqar);
        (world, recorder)
    }

    async fn subscribe(&self, body: &str) -> String {
        let made = self.call("POST", ALL, body).await;
        assert_eq!(made.header("location"), ALL);
        made.with(201)["subscription_id"].as_str().unwrap().to_owned()
    }
}

#[actix_web::test]
async fn a_subscription_is_made_shown_changed_and_deleted() {
    let world = World::new().await;
    let id = world.subscribe(r#"{"subscriber": "http://h:1/cb", "ttl": 600, "options": {"a":  1}}"#).await;
    assert_eq!(world.get("/v2/queues?with_count=1").await.with(200)["count"], 1, "the queue came with it");
    world.pass(5);
    let item = format!("{ALL}/{id}");
    assert_eq!(
        world.get(&item).await.body,
        format!(
            r#"{{"id": "{id}", "source": "q", "subscriber": "http://h:1/cb", "ttl": 600, "age": 5, "options": {{"a":  1}}, "confirmed": false}}"#
        )
    );
    let changed = world.call("PATCH", &item, r#"{"subscriber": null, "ttl": 100, "options": {}, "x": 1}"#).await;
    assert_eq!((changed.status, changed.header("location"), changed.body.as_str()), (204, item.as_str(), ""));
    let shown = world.get(&item).await.with(200);
    assert_eq!((&shown["ttl"], &shown["options"]), (&json!(100), &json!({})));
    assert_eq!(world.call("PATCH", &item, r#"{"subscriber": "https://other/"}"#).await.status, 204);
    assert_eq!(world.get(&item).await.with(200)["subscriber"], "https://other/");
    world.pass(99);
    assert_eq!(world.get(&item).await.status, 200, "a new ttl counts from the change");
    world.pass(1);
    world.get(&item).await.says(404, &format!("Subscription {id} does not exist"));
    assert_eq!(world.get(ALL).await.body, r#"{"subscriptions": [], "links": []}"#);
    for _ in 0..2 {
        assert_eq!(world.call("DELETE", &item, "").await.status, 204);
    }
}

#[actix_web::test]
async fn a_subscriber_is_there_once_and_one_whose_time_is_over_makes_room() {
    let world = World::new().await;
    let body = r#"{"subscriber": "http://h/", "ttl": 60}"#;
    let id = world.subscribe(body).await;
    assert_eq!(
        world.subscribe(r#"{"subscriber": "http://h/", "ttl": 900}"#).await,
        id,
        "not confirmed: the same again"
    );
    assert_eq!(world.get(&format!("{ALL}/{id}")).await.with(200)["ttl"], 60);
    assert_eq!(world.call("PUT", &format!("{ALL}/{id}/confirm"), r#"{"confirmed": true}"#).await.status, 204);
    let again = world.call("POST", ALL, body).await;
    assert_eq!(again.header("location"), ALL);
    again.says(409, "Such subscription already exists.Subscriptions are unique by project + queue + subscriber URI.");
    let other = world.subscribe(r#"{"subscriber": "http://h/2"}"#).await;
    world
        .call("PATCH", &format!("{ALL}/{other}"), r#"{"subscriber": "http://h/"}"#)
        .await
        .says(409, "Such subscription already exists. Subscriptions are unique by project + queue + subscriber URI.");
    world.pass(60);
    let fresh = world.subscribe(body).await;
    assert_ne!(fresh, id);
    world.pass(60);
    assert_eq!(world.call("PATCH", &format!("{ALL}/{other}"), r#"{"subscriber": "http://h/"}"#).await.status, 204);
}

#[actix_web::test]
async fn subscriptions_are_listed_page_by_page_as_they_were_made() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..11 {
        ids.push(world.subscribe(&format!(r#"{{"subscriber": "http://h/{n}"}}"#)).await);
    }
    let page = world.get(ALL).await.with(200);
    let shown = |page: &Value| -> Vec<String> {
        let all = page["subscriptions"].as_array().unwrap().iter();
        all.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&page), ids[..10]);
    assert_eq!(page["links"], json!([{"rel": "next", "href": format!("{ALL}?marker={}", ids[9])}]));
    let next = world.get(page["links"][0]["href"].as_str().unwrap()).await.with(200);
    assert_eq!(shown(&next), ids[10..]);
    assert_eq!(shown(&world.get(&format!("{ALL}?limit=2&detailed=False")).await.with(200)), ids[..2]);
    assert_eq!(world.get(&format!("{ALL}?marker=x")).await.body, r#"{"subscriptions": [], "links": []}"#);
    assert_eq!(world.get("/v2/queues/none/subscriptions").await.body, r#"{"subscriptions": [], "links": []}"#);
    for limit in ["0", "21", "-1"] {
        let text = "Limit must be at least 1 and may not be greater than 20.";
        world.get(&format!("{ALL}?limit={limit}")).await.says(400, text);
    }
}

#[actix_web::test]
async fn what_a_new_subscription_must_have_is_told() {
    let (world, _) = World::told(|_| ()).await;
    let types = "The subscriber type of subscription must be supported in the list ['http', 'https', 'mailto'].";
    let late = "The TTL seconds for a subscription plus current time must be less than 9999-12-31 23:59:59.999999.";
    for (body, told) in [
        ("", "Missing parameter subscriber in body."),
        ("{}", "Missing parameter subscriber in body."),
        (r#"{"ttl": 60}"#, "Missing parameter subscriber in body."),
        ("[]", "Subscriptions must be a dict."),
        (r#"{"subscriber": null}"#, types),
        (r#"{"subscriber": ""}"#, types),
        (r#"{"subscriber": 1}"#, types),
        (r#"{"subscriber": "ftp://h/"}"#, types),
        (r#"{"subscriber": "trust+http://h/"}"#, types),
        (r#"{"subscriber": "http://h/", "options": 1}"#, "Options must be a dict."),
        (r#"{"subscriber": "http://h/", "options": {"_retry_policy": []}}"#, "retry_policy must be a dict."),
        (
            r#"{"subscriber": "http://h/", "options": {"_retry_policy": {"minimum_delay": 25}}}"#,
            "invalid minimum_delay and maximum_delay.",
        ),
        (r#"{"subscriber": "http://h/", "ttl": "60"}"#, "TTL must be an integer."),
        (r#"{"subscriber": "http://h/", "ttl": null}"#, "TTL must be an integer."),
        (r#"{"subscriber": "http://h/", "ttl": 59}"#, "The TTL for a subscription must be at least 60 seconds long."),
        (r#"{"subscriber": "http://h/", "ttl": 0}"#, "The TTL for a subscription must be at least 60 seconds long."),
        (r#"{"subscriber": "http://h/", "ttl": true}"#, "The TTL for a subscription must be at least 60 seconds long."),
        (r#"{"subscriber": "http://h/", "ttl": 253402300799}"#, late),
        (r#"{"subscriber": "http://never/"}"#, "Nobody is there."),
    ] {
        world.call("POST", ALL, body).await.says(400, told);
    }
    world.call("POST", ALL, "nonsense").await.says(400, "Request body could not be parsed.");
    let huge = format!(r#"{{"subscriber": "http://h/", "options": {{"a": "{}"}}}}"#, "x".repeat(70_000));
    world.call("POST", ALL, &huge).await.says(400, "Request body is too large.");
    assert_eq!(world.get(ALL).await.with(200)["subscriptions"], json!([]));
    for fine in [
        r#"{"subscriber": "HTTP://h/", "ttl": 220367260800}"#,
        r#"{"subscriber": "mailto:fake@123.com", "options": null}"#,
    ] {
        world.subscribe(fine).await;
    }
}

#[actix_web::test]
async fn what_a_change_must_have_is_told_before_anybody_is_looked_for() {
    let (world, _) = World::told(|_| ()).await;
    let nobody = format!("{ALL}/0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f11");
    for (body, told) in [
        ("", "No subscription to create."),
        ("{}", "No subscription to create."),
        ("[1]", "Subscriptions must be a dict."),
        (r#"{"ttl": 1}"#, "The TTL for a subscription must be at least 60 seconds long."),
        (r#"{"options": "x"}"#, "Options must be a dict."),
        (r#"{"x": 1, "ttl": null}"#, "Subscription 0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f11 could not be updated."),
    ] {
        world.call("PATCH", &nobody, body).await.says(400, told);
    }
    let text = "Subscription 0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f11 does not exist";
    world.call("PATCH", &nobody, r#"{"ttl": 60}"#).await.says(404, text);
    world.call("PUT", &format!("{nobody}/confirm"), r#"{"confirmed": true}"#).await.says(404, text);
    world.get(&format!("{ALL}/x")).await.says(404, "Subscription x does not exist");
    for body in ["", "{}", r#"{"confirmed": 1}"#, r#"{"confirmed": "true"}"#] {
        world.call("PUT", &format!("{nobody}/confirm"), body).await.says(400, "The 'confirmed' should be boolean.");
    }
    let id = world.subscribe(r#"{"subscriber": "http://h/"}"#).await;
    let elsewhere = format!("/v2/queues/other/subscriptions/{id}");
    world.get(&elsewhere).await.says(404, &format!("Subscription {id} does not exist"));
    let item = format!("{ALL}/{id}");
    world.call("PATCH", &item, r#"{"subscriber": "http://never/"}"#).await.says(400, "Nobody is there.");
    assert_eq!(world.get(&item).await.with(200)["subscriber"], "http://h/");
}

#[actix_web::test]
async fn subscriptions_outlive_their_queue_and_go_with_a_purge() {
    let world = World::new().await;
    let id = world.subscribe(r#"{"subscriber": "http://h/"}"#).await;
    assert_eq!(world.call("DELETE", "/v2/queues/q", "").await.status, 204);
    assert_eq!(world.get(ALL).await.with(200)["subscriptions"][0]["id"], id);
    let other = World::as_client(&world, OTHER_CLIENT, "GET", ALL, "").await.with(200);
    assert_eq!(other["subscriptions"][0]["id"], id, "whoever asks in the project");
    let strange = [("Client-ID", CLIENT), ("X-Project-ID", "other")];
    assert_eq!(world.send("GET", ALL, &strange, "").await.with(200)["subscriptions"], json!([]));
    assert_eq!(world.call("POST", "/v2/queues/q/purge", r#"{"resource_types": ["messages"]}"#).await.status, 204);
    assert_eq!(world.get(&format!("{ALL}/{id}")).await.status, 200);
    assert_eq!(world.call("POST", "/v2/queues/q/purge", "").await.status, 204);
    assert_eq!(world.get(&format!("{ALL}/{id}")).await.status, 404);
}

fn asking(options: &mut ZaqarOptions) {
    options.confirmation = Some(Confirmation {
        page: "https://page/confirm".to_owned(),
        public_url: "https://cloud/messaging".to_owned(),
        public_websocket_url: String::new(),
        mail: "Confirm\nQueue {0}, project {1}: {2}".to_owned(),
        goodbye: "Bye\n{2}".to_owned(),
    });
}

#[actix_web::test]
async fn a_subscriber_is_asked_and_answers_by_what_he_was_sent() {
    let (world, recorder) = World::told(asking).await;
    let id = world.subscribe(r#"{"subscriber": "http://h/", "ttl": 3600}"#).await;
    let notice = recorder.0.lock().pop().unwrap();
    let asked: Value = serde_json::from_str(&notice.json).unwrap();
    let path = format!("{ALL}/{id}/confirm");
    let signature = asked["URL-Signature"].as_str().unwrap().to_owned();
    assert_eq!(
        asked,
        json!({
            "Message_Type": "SubscriptionConfirmation",
            "Message": "You have chosen to subscribe to the queue: q",
            "URL-Signature": signature,
            "URL-Methods": "PUT",
            "URL-Paths": path,
            "X-Project-ID": "proj1",
            "URL-Expires": "2024-05-01T11:00:00",
            "SubscribeBody": {"confirmed": true},
            "UnsubscribeBody": {"confirmed": false},
            "WSGISubscribeURL": format!("https://cloud/messaging{path}"),
            "queue_name": "q"
        })
    );
    let link = format!(
        "https://page/confirm?Signature={signature}&Methods=PUT&Paths={path}&Project=proj1&Expires=2024-05-01T11:00:00&Url=https://cloud/messaging{path}&Queue=q"
    );
    assert_eq!(notice.mail, Some(("Confirm".to_owned(), format!("Queue q, project proj1: {link}"))));
    let headers = [
        ("Client-ID", OTHER_CLIENT),
        ("X-Project-ID", "proj1"),
        ("URL-Signature", &signature),
        ("URL-Methods", "PUT"),
        ("URL-Paths", &path),
        ("URL-Expires", "2024-05-01T11:00:00"),
    ];
    let confirmed = async || world.get(&format!("{ALL}/{id}")).await.with(200)["confirmed"].clone();
    let answer = world.send("PUT", &path, &headers, &asked["SubscribeBody"].to_string()).await;
    assert_eq!((answer.status, answer.header("location")), (204, path.as_str()));
    assert_eq!((confirmed().await, recorder.0.lock().len()), (json!(true), 0));
    assert_eq!(world.send("PUT", &path, &headers, &asked["UnsubscribeBody"].to_string()).await.status, 204);
    assert_eq!(confirmed().await, json!(false));
    let notice = recorder.0.lock().pop().unwrap();
    let told: Value = serde_json::from_str(&notice.json).unwrap();
    assert_eq!(told["Message_Type"], "UnsubscribeConfirmation");
    assert_eq!(
        told["Message"],
        "You have unsubscribed successfully to the queue: q, you can resubscribe it by using confirmed=True."
    );
    assert!(notice.mail.unwrap().1.starts_with("https://page/confirm?Signature="));
    world.subscribe(r#"{"subscriber": "http://h/", "ttl": 3600}"#).await;
    assert_eq!(recorder.0.lock().len(), 1, "asked again while he has not confirmed");
}

#[actix_web::test]
async fn nobody_is_asked_where_nobody_need_confirm_and_no_mail_goes_without_a_page() {
    let (world, recorder) = World::told(|_| ()).await;
    world.subscribe(r#"{"subscriber": "http://h/"}"#).await;
    assert!(recorder.0.lock().is_empty());
    let (world, recorder) = World::told(|options| {
        asking(options);
        options.confirmation.as_mut().unwrap().page = String::new();
    })
    .await;
    world.subscribe(r#"{"subscriber": "mailto:a@b.example"}"#).await;
    assert_eq!(recorder.0.lock().pop().unwrap().mail, None);
}

#[actix_web::test]
async fn a_connections_subscription_is_shown_while_it_lives() {
    let (world, _) = World::told(|_| ()).await;
    let notify = |subscriber: &str| Notify {
        subscriber: subscriber.to_owned(),
        options: Shared("{}".to_owned()),
        ttl: Duration::from_secs(60),
        since: crate::domain::Timestamp(START),
    };
    let queue = Name::new("q").unwrap();
    let begin = async |uri: &str| Following::begin(&world.zaqar, "proj1", &queue, notify(uri)).await;
    let mut following = begin("http://socket/1").await.unwrap();
    assert!(begin("http://socket/1").await.is_err(), "one of a URI on a queue");
    assert_eq!(following.next().await.unwrap(), "q");
    let item = format!("{ALL}/{}", following.id());
    assert_eq!(world.get(&item).await.with(200)["subscriber"], "http://socket/1");
    assert_eq!(world.call("PATCH", &item, r#"{"ttl": 90}"#).await.status, 204);
    assert_eq!(world.get(ALL).await.with(200)["subscriptions"][0]["ttl"], 90);
    assert_eq!(world.call("DELETE", &item, "").await.status, 204);
    assert_eq!((following.next().await, world.get(&item).await.status), (None, 404));
    let following = begin("http://socket/1").await.unwrap();
    drop(following);
    assert_eq!(world.get(ALL).await.with(200)["subscriptions"], json!([]), "gone with its connection");
    let mut following = begin("http://socket/2").await.unwrap();
    assert!(following.next().await.is_some());
    world.pass(60);
    assert_eq!((following.next().await, world.get(ALL).await.with(200)["subscriptions"].clone()), (None, json!([])));
}
