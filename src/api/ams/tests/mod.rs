//! The dialect as clients see it: real requests through the whole application, over a real broker on the memory store.

mod administration;
mod bad_input;
mod certificates;
mod consuming;
mod metrics;
mod push;
mod registrations;
mod schemas;
mod transport;
mod waiting;

use super::{Ams, AmsOptions, AuthOption, configure, default_roles};
use crate::auth::{Auth, KeyRing, Token};
use crate::broker::{Broker, Options};
use crate::clock::Clock;
use crate::storage::memory::MemoryStore;
use crate::storage::{Key, Order, Position, ReadLimit, Store};
use crate::telemetry::metrics::Metrics;
use actix_web::App;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::test as harness;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The service token of all tests.
const SERVICE: &str = "service-secret";
/// When all tests begin: 2024-05-01T10:00:00Z.
const START: u64 = 1_714_557_600_000_000;

/// A running dialect.
struct World {
    ams: Arc<Ams>,
    store: Arc<MemoryStore>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }

    #[track_caller]
    fn is(&self, status: u16, message: &str) {
        let said = self.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!((self.status, said.as_str()), (status, message));
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut AmsOptions)) -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
        let metrics = Arc::new(Metrics::new().unwrap());
        let dyn_store: Arc<dyn Store> = store.clone();
        let options = Options { cache_age: Duration::ZERO, ..Options::default() };
        let broker = Broker::start(dyn_store, clock.clone(), options, metrics.clone()).await.unwrap();
        let auth = Auth::start(broker.clone(), KeyRing::generate().unwrap(), default_roles()).await.unwrap();
        let mut options = AmsOptions { service_token: Some(Token::new(SERVICE)), ..AmsOptions::default() };
        change(&mut options);
        Self { ams: Arc::new(Ams::new(broker, auth, metrics.clone(), options)), store, clock, metrics }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        let application = harness::init_service(App::new().configure(configure(self.ams.clone()))).await;
        let mut request = harness::TestRequest::with_uri(path).method(method).set_payload(body.into());
        for (name, value) in headers {
            request = request.insert_header((HeaderName::try_from(*name).unwrap(), *value));
        }
        let answer = harness::call_service(&application, request.to_request()).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = String::from_utf8(harness::read_body(answer).await.to_vec()).unwrap();
        Reply { status, headers, body }
    }

    async fn as_user(&self, token: &str, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(method, path, &[("x-api-key", token)], body).await
    }

    /// A request of the service token.
    async fn call(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.as_user(SERVICE, method, path, body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, "").await
    }

    async fn put(&self, path: &str, body: &str) -> Reply {
        self.call(Method::PUT, path, body).await
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        self.call(Method::POST, path, body).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.call(Method::DELETE, path, "").await
    }

    /// A project `DEMO` with a topic `t1`.
    async fn demo() -> Self {
        let world = Self::new().await;
        world.post("/v1/projects/DEMO", "{}").await.ok();
        world.put("/v1/projects/DEMO/topics/t1", "").await.ok();
        world
    }

    /// A member of `DEMO`, and his token.
    async fn member(&self, name: &str, roles: &str) -> String {
        let body = format!(r#"{{"projects":[{{"project":"DEMO","roles":[{roles}]}}]}}"#);
        let made = self.post(&format!("/v1/projects/DEMO/members/{name}"), &body).await.ok().json();
        made["token"].as_str().unwrap().to_owned()
    }

    /// A subscription of `t1`.
    async fn subscription(&self, name: &str, more: &str) {
        let body = format!(r#"{{"topic":"projects/DEMO/topics/t1"{more}}}"#);
        self.put(&format!("/v1/projects/DEMO/subscriptions/{name}"), &body).await.ok();
    }

    /// Publishes texts to `t1`, each already base64 or not.
    async fn publish(&self, data: &[&str]) -> Vec<String> {
        let messages: Vec<Value> = data.iter().map(|data| serde_json::json!({ "data": data })).collect();
        let body = serde_json::json!({ "messages": messages }).to_string();
        let answer = self.post("/v1/projects/DEMO/topics/t1:publish", &body).await.ok().json();
        answer["messageIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// Pulls at once; the messages with their ack ids.
    async fn pull(&self, subscription: &str, count: u32) -> Vec<(String, Value)> {
        let body = format!(r#"{{"maxMessages":"{count}","returnImmediately":"true"}}"#);
        let answer =
            self.post(&format!("/v1/projects/DEMO/subscriptions/{subscription}:pull"), &body).await.ok().json();
        let received = answer["receivedMessages"].as_array().unwrap().iter();
        received.map(|item| (item["ackId"].as_str().unwrap().to_owned(), item["message"].clone())).collect()
    }

    async fn pulled_ids(&self, subscription: &str, count: u32) -> Vec<String> {
        let pulled = self.pull(subscription, count).await;
        pulled.iter().map(|(_, message)| message["messageId"].as_str().unwrap().to_owned()).collect()
    }

    async fn ack(&self, subscription: &str, ids: &[&str]) -> Reply {
        let body = serde_json::json!({ "ackIds": ids }).to_string();
        self.post(&format!("/v1/projects/DEMO/subscriptions/{subscription}:acknowledge"), &body).await
    }

    /// Everything that the store holds.
    async fn dump(&self) -> Vec<String> {
        let store = &self.store;
        let documents = store.scan(&Key::new(""), None, 1 << 20, Order::Ascending).await.unwrap();
        let mut dump: Vec<String> = documents.iter().map(|document| format!("{document:?}")).collect();
        for log in store.logs(None, 1 << 20).await.unwrap() {
            let first = store.bounds(log).await.unwrap().unwrap().first;
            let limit = ReadLimit { bytes: 1 << 30, batches: 1 << 20 };
            dump.push(format!("{log} {:?}", store.read(log, Position::Offset(first), limit).await.unwrap()));
        }
        dump
    }
}
