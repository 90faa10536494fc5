//! Subscribers of queues: told of each message by itself, at the pace of their policy, from a log that outlives everything.

use super::*;
use crate::domain::Timestamp;
use crate::domain::push::Notify;
use serde_json::json;

impl World {
    async fn subscriber(&self, url: String, options: Value, ttl: Duration) -> Arc<Subscription> {
        let (options, since) = (Shared(options.to_string()), Timestamp(self.broker.clock().wall()));
        let notify = Notify { subscriber: url, options, ttl, since };
        self.broker.add_subscriber(self.topic.project, &self.topic.name, notify).await.unwrap().0
    }

    async fn post(&self, body: &str, delay: Option<Duration>) {
        let mut batch: BatchBuilder = self.broker.batch();
        let form = crate::domain::message::PayloadForm::Json;
        let ttl = Some(Duration::from_secs(300));
        batch.push(&NewMessage { payload: body.as_bytes(), form, delay, ttl, ..NewMessage::default() }).unwrap();
        self.broker.publish(&self.topic, batch).await.unwrap();
    }

    fn tell(&self, receiver: &Receiver, require_confirmation: bool) -> Delivery {
        let notifications = Some(Notifications { require_confirmation, ..Notifications::default() });
        let (scope, runtime) = (Scope { endpoints: false, notifications }, Handle::current());
        let placement = Arc::new(Everything::default());
        let outward = (receiver.sender(loopback()), scope);
        Delivery::start(self.broker.clone(), outward, placement, Arc::clone(&self.metrics), 64, runtime)
    }
}

const LONG: Duration = Duration::from_secs(3_600);

/// The bodies of the notifications that came to a path, in order.
fn bodies(receiver: &Receiver, path: &str) -> Vec<Value> {
    let got = receiver.got();
    let got = got.iter().filter(|got| got.path == path);
    got.map(|got| serde_json::from_str::<Value>(&got.body).unwrap()["body"].clone()).collect()
}

#[tokio::test]
async fn each_message_is_told_in_order_as_the_subscriber_wants_it() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (201, String::new())).await);
    world.post("0", None).await;
    let plain = world.subscriber(receiver.url("/plain"), json!({}), LONG).await;
    let options = json!({"post_headers": {"x-mine": "yes"}, "post_data": r#"{"in": "$zaqar_message$"}"#});
    let own = world.subscriber(receiver.url("/own"), options, LONG).await;
    let delivery = world.tell(&receiver, false);
    world.post(r#"{"n":  1}"#, None).await;
    world.post("2", Some(LONG)).await;
    for subscription in [&plain, &own] {
        world.reaches(subscription, 3).await;
    }
    assert_eq!(
        bodies(&receiver, "/plain"),
        [json!({"n": 1}), json!(2)],
        "none from before, and a delay counts for nothing"
    );
    let got = receiver.got();
    let first = got.iter().find(|got| got.path == "/plain").unwrap();
    assert_eq!(first.body, r#"{"ttl": 300, "body": {"n":  1}, "Message_Type": "Notification", "queue_name": "t"}"#);
    assert_eq!(first.header("content-type"), "application/json");
    let own: Vec<_> = got.iter().filter(|got| got.path == "/own").collect();
    assert_eq!((own[0].header("x-mine"), own.len()), ("yes", 2));
    assert_eq!(own[0].body, format!(r#"{{"in": {}}}"#, first.body));
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_refusal_is_final_and_a_failure_is_tried_again_while_others_go() {
    let failures = Arc::new(Mutex::new(HashMap::new()));
    let left = Arc::clone(&failures);
    let receiver = Receiver::start(move |got| {
        let body = serde_json::from_str::<Value>(&got.body).unwrap()["body"].clone();
        let seen = { *left.lock().entry(body.to_string()).and_modify(|seen| *seen += 1).or_insert(1_u32) };
        match body.as_str().unwrap() {
            "refused" => (404, String::new()),
            "late" if seen < 4 => (500, String::new()),
            "never" => (503, String::new()),
            _ => (200, String::new()),
        }
    })
    .await;
    let world = World::new().await;
    let policy = json!({
        "retries_with_no_delay": 2, "minimum_delay_retries": 1, "minimum_delay": 1, "maximum_delay": 11, "maximum_delay_retries": 0
    });
    let late = world.subscriber(receiver.url("/"), json!({"_retry_policy": policy}), LONG).await;
    let delivery = world.tell(&receiver, false);
    for body in ["\"refused\"", "\"late\"", "\"fine\""] {
        world.post(body, None).await;
    }
    world.reaches(&late, 3).await;
    let told: Vec<_> = bodies(&receiver, "/").iter().map(|body| body.as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["refused", "late", "late", "late", "fine", "late"]);
    let hopeless = json!({"_retry_policy": {"retries_with_no_delay": 1, "minimum_delay_retries": 0, "minimum_delay": 0,
        "maximum_delay": 10, "maximum_delay_retries": 0}});
    let gone = world.subscriber(receiver.url("/gone"), hopeless, LONG).await;
    world.post("\"never\"", None).await;
    // At once, after 0 and after 5 s: then nothing of it is left.
    world.reaches(&gone, 4).await;
    assert_eq!(bodies(&receiver, "/gone").len(), 4);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn retries_go_on_where_they_were_after_a_restart() {
    let receiver = Receiver::start(|_| (500, String::new())).await;
    let world = World::new().await;
    let policy = json!({
        "retries_with_no_delay": 1, "minimum_delay_retries": 1, "minimum_delay": 1, "maximum_delay": 11, "maximum_delay_retries": 0
    });
    let options = json!({"_retry_policy": policy});
    world.subscriber(receiver.url("/"), options, LONG).await;
    let delivery = world.tell(&receiver, false);
    world.post("1", None).await;
    until("two attempts", || async { bodies(&receiver, "/").len() == 2 }).await;
    delivery.stop(PATIENCE).await;
    let begun = world.broker.clock().monotonic();
    let delivery = world.tell(&receiver, false);
    until("a third attempt", || async { bodies(&receiver, "/").len() == 3 }).await;
    let took = world.broker.clock().monotonic() - begun;
    assert!(took < Duration::from_secs(8), "by its own pause, not by a lease that must end first");
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn nothing_is_told_before_it_is_wanted_or_after_its_time() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (500, String::new())).await);
    let asked = world.subscriber(receiver.url("/asked"), json!({}), LONG).await;
    let short = world.subscriber(receiver.url("/short"), json!({}), Duration::from_secs(4)).await;
    world.broker.confirm_subscriber(&short, true, true).await.unwrap();
    let delivery = world.tell(&receiver, true);
    world.post("\"before\"", None).await;
    until("the first", || async { !bodies(&receiver, "/short").is_empty() }).await;
    world.broker.confirm_subscriber(&asked, true, true).await.unwrap();
    world.post("\"after\"", None).await;
    until("what is wanted", || async { !bodies(&receiver, "/asked").is_empty() }).await;
    assert!(bodies(&receiver, "/asked").iter().all(|body| body == "after"));
    until("its end", || async {
        world.broker.subscribers(world.topic.project, &world.topic.name).await.unwrap().len() == 1
    })
    .await;
    let told = bodies(&receiver, "/short").len();
    world.post("\"late\"", None).await;
    until("the other", || async { bodies(&receiver, "/asked").iter().any(|body| body == "late") }).await;
    assert_eq!(bodies(&receiver, "/short").len(), told);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_notice_is_sent_to_who_is_told_nothing_yet_and_tried_again() {
    let refusals = Arc::new(Mutex::new(2));
    let left = Arc::clone(&refusals);
    let receiver = Receiver::start(move |_| {
        let mut left = left.lock();
        *left -= 1;
        (if *left >= 0 { 500 } else { 200 }, String::new())
    })
    .await;
    let world = World::new().await;
    let subscription = world.subscriber(receiver.url("/"), json!({}), LONG).await;
    let delivery = world.tell(&receiver, true);
    delivery.notice(subscription, Notice { json: r#"{"body": "confirm"}"#.to_owned(), mail: None });
    until("the notice", || async { bodies(&receiver, "/").len() == 3 }).await;
    assert_eq!(bodies(&receiver, "/"), ["confirm"; 3]);
    delivery.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_spoken_to() {
    let (world, receiver) = (World::new().await, Receiver::start(|_| (200, String::new())).await);
    let policy = json!({"retries_with_no_delay": 0, "minimum_delay_retries": 0, "minimum_delay": 0, "maximum_delay": 10,
        "maximum_delay_retries": 0});
    let options = json!({"_retry_policy": policy});
    let subscription = world.subscriber(receiver.url("/"), options, LONG).await;
    let scope = Scope { endpoints: false, notifications: Some(Notifications::default()) };
    let outward = (receiver.sender(guard::Guard::default()), scope);
    let metrics = Arc::clone(&world.metrics);
    let delivery =
        Delivery::start(world.broker.clone(), outward, Arc::new(Everything::default()), metrics, 64, Handle::current());
    world.post("1", None).await;
    until("a failure", || async {
        let condition = delivery.condition(subscription.id);
        condition
            .and_then(|condition| condition.failing)
            .is_some_and(|failing| failing.why.contains("push.allow_networks"))
    })
    .await;
    assert!(receiver.got().is_empty());
    delivery.stop(PATIENCE).await;
}
