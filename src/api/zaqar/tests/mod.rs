//! The dialect as clients see it: real requests through the whole application, over a real broker on the memory store.

mod bad_input;
mod claims;
mod heads;
mod identity;
mod messages;
mod queues;
mod sharing;
mod subscriptions;
mod topics;

use super::{Zaqar, ZaqarOptions, configure};
use crate::auth::signed_url::UrlKey;
use crate::broker::{Broker, Options};
use crate::clock::Clock;
use crate::storage::Store;
use crate::storage::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use actix_web::App;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::test as harness;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// When all tests begin: 2024-05-01T10:00:00Z.
const START: u64 = 1_714_557_600_000_000;
const CLIENT: &str = "3381af92-2b9e-11e3-b191-71861300734c";
const OTHER_CLIENT: &str = "3381af922b9e11e3b19171861300734d";
const PATCH: &str = "application/openstack-messaging-v2.0-json-patch";

/// A running dialect.
pub(super) struct World {
    pub(super) zaqar: Arc<Zaqar>,
    broker: Broker,
    clock: Clock,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Its JSON, if it has this status.
    #[track_caller]
    pub(super) fn with(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    #[track_caller]
    fn says(&self, status: u16, description: &str) {
        let said = self.json()["description"].as_str().unwrap_or_default().to_owned();
        assert_eq!((self.status, said.as_str()), (status, description));
        assert_eq!((self.header("content-type"), self.header("vary")), ("application/json", "Accept"));
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut ZaqarOptions)) -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(START));
        let metrics = Arc::new(Metrics::new().unwrap());
        let dyn_store: Arc<dyn Store> = store;
        let options = Options { cache_age: Duration::ZERO, ..Options::default() };
        let broker = Broker::start(dyn_store, clock.clone(), options, metrics.clone()).await.unwrap();
        let mut options = ZaqarOptions { url_key: Some(UrlKey::new("topsecret")), ..ZaqarOptions::default() };
        change(&mut options);
        Self { zaqar: Arc::new(Zaqar::new(broker.clone(), metrics, options)), broker, clock }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let application = harness::init_service(App::new().configure(configure(self.zaqar.clone()))).await;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = harness::TestRequest::with_uri(path).method(method);
        if !body.is_empty() {
            request = request.set_payload(body.to_owned()).insert_header(("content-length", body.len()));
        }
        for (name, value) in headers {
            request = request.insert_header((HeaderName::try_from(*name).unwrap(), *value));
        }
        let answer = harness::call_service(&application, request.to_request()).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = String::from_utf8(harness::read_body(answer).await.to_vec()).unwrap();
        Reply { status, headers, body }
    }

    async fn as_client(&self, client: &str, method: &str, path: &str, body: &str) -> Reply {
        self.send(method, path, &[("Client-ID", client), ("X-Project-ID", "proj1")], body).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        self.as_client(CLIENT, method, path, body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, "").await
    }

    async fn patch(&self, path: &str, body: &str) -> Reply {
        let headers = [("Client-ID", CLIENT), ("X-Project-ID", "proj1"), ("Content-Type", PATCH)];
        self.send("PATCH", path, &headers, body).await
    }

    /// Posts bodies to `q`; their ids.
    async fn post(&self, bodies: &[&str]) -> Vec<String> {
        let messages: Vec<_> = bodies.iter().map(|body| format!(r#"{{"ttl": 300, "body": {body}}}"#)).collect();
        let body = format!(r#"{{"messages": [{}]}}"#, messages.join(","));
        let posted = self.call("POST", "/v2/queues/q/messages", &body).await.with(201);
        let hrefs = posted["resources"].as_array().unwrap().iter();
        hrefs.map(|href| href.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    }

    /// Claims from `q`: the claim's path, and the bodies.
    async fn claim(&self, body: &str) -> (String, Vec<Value>) {
        let answer = self.call("POST", "/v2/queues/q/claims", body).await;
        let claimed = answer.with(201);
        let bodies = claimed["messages"].as_array().unwrap().iter().map(|message| message["body"].clone()).collect();
        (answer.header("location").to_owned(), bodies)
    }

    /// The bodies on a page.
    async fn bodies(&self, path: &str) -> Vec<Value> {
        let page = self.get(path).await.with(200);
        page["messages"].as_array().unwrap().iter().map(|message| message["body"].clone()).collect()
    }

    async fn figures(&self) -> (u64, u64, u64) {
        let figures = self.get("/v2/queues/q/stats").await.with(200)["messages"].clone();
        let figure = |name: &str| figures[name].as_u64().unwrap();
        (figure("claimed"), figure("free"), figure("total"))
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}
