//! The whole service over a disk that begins to fail: what operators and clients are told, and what is there after a restart.

use super::engine::Engine;
use super::foundation::Foundation;
use super::gauges::Gauges;
use crate::api::ams::{self, Ams, AmsOptions, default_roles};
use crate::api::ops::{self, Ops, Phase};
use crate::auth::{Auth, KeyRing, Token};
use crate::broker::{Broker, Options};
use crate::clock::Clock;
use crate::storage::segment::vfs::{CrashVfs, Faults, MemoryVfs};
use crate::storage::segment::{self, SegmentStore};
use crate::telemetry::metrics::Metrics;
use actix_web::App;
use actix_web::http::Method;
use actix_web::test as harness;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const TOKEN: &str = "service-secret";
const DIR: &str = "/store";

/// The service over a disk that fails on demand.
struct World {
    foundation: Foundation,
    ams: Arc<Ams>,
    ops: Arc<Ops>,
}

impl World {
    async fn open(disk: &CrashVfs, keys: &Path) -> Self {
        let (clock, metrics) = (Clock::System, Arc::new(Metrics::new().unwrap()));
        let options = segment::Options { segment_bytes: 256 << 10, ..segment::Options::default() };
        let store = SegmentStore::open(Path::new(DIR), options, clock.clone(), Arc::new(disk.clone())).unwrap();
        let engine = Arc::new(Engine::over(store, Path::new(DIR)));
        let broker = Broker::start(engine.store(), clock, Options::default(), Arc::clone(&metrics)).await.unwrap();
        let auth = Auth::start(broker.clone(), KeyRing::open(keys).unwrap(), default_roles()).await.unwrap();
        let options = AmsOptions { service_token: Some(Token::new(TOKEN)), ..AmsOptions::default() };
        let ams = Arc::new(Ams::new(broker.clone(), auth.clone(), Arc::clone(&metrics), options));
        let foundation = Foundation { engine, broker, auth };
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        ops.attach(Arc::new(Gauges::new(metrics, &foundation)));
        ops.set_phase(Phase::Ready);
        Self { foundation, ams, ops }
    }

    /// A request to either listener: status and body.
    async fn call(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let app = App::new().configure(ops::configure(self.ops.clone())).configure(ams::configure(self.ams.clone()));
        let app = harness::init_service(app).await;
        let request = harness::TestRequest::with_uri(path).method(method).insert_header(("x-api-key", TOKEN));
        let answer = harness::call_service(&app, request.set_payload(body.to_owned()).to_request()).await;
        let status = answer.status().as_u16();
        (status, String::from_utf8(harness::read_body(answer).await.to_vec()).unwrap())
    }

    /// A request of the project, which must be answered well.
    async fn done(&self, method: Method, path: &str, body: &str) -> Value {
        let (status, said) = self.call(method, &format!("/v1/projects/P{path}"), body).await;
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap_or_default()
    }

    /// A request of the project, which must be answered as by a backend that is not there.
    async fn fails(&self, method: Method, path: &str, body: &str, message: &str) {
        let (status, said) = self.call(method, &format!("/v1/projects/P{path}"), body).await;
        assert_eq!(status, 503, "{path}: {said}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["error"]["message"], message, "{path}");
    }

    async fn is_ready(&self) -> bool {
        self.call(Method::GET, "/readyz", "").await.0 == 200
    }
}

const PUBLISH: &str = "/topics/t:publish";
const MESSAGE: &str = r#"{"messages":[{"data":"a2VwdA=="}]}"#;

async fn fails_and_recovers(fault: Faults, keys: &Path) {
    let disk = CrashVfs::over(MemoryVfs::default());
    let world = World::open(&disk, keys).await;
    world.done(Method::POST, "", "{}").await;
    world.done(Method::PUT, "/topics/t", "").await;
    world.done(Method::PUT, "/subscriptions/s", r#"{"topic":"projects/P/topics/t"}"#).await;
    for _ in 0..3 {
        world.done(Method::POST, PUBLISH, MESSAGE).await;
    }
    world.done(Method::POST, "/subscriptions/s:pull", r#"{"maxMessages":"1"}"#).await;
    let ack = |offset| format!(r#"{{"ackIds":["projects/P/subscriptions/s:{offset}"]}}"#);
    world.done(Method::POST, "/subscriptions/s:acknowledge", &ack(0)).await;
    assert!(world.is_ready().await);

    disk.set_faults(fault);
    world.fails(Method::POST, PUBLISH, MESSAGE, "Backend Error").await;
    assert!(!world.is_ready().await, "{fault:?}");
    // Whatever the disk does now: what it has done with the failed write nobody knows before the store is opened anew.
    disk.set_faults(Faults::default());
    world.fails(Method::POST, PUBLISH, MESSAGE, "Backend Error").await;
    world.fails(Method::PUT, "/topics/u", "", "Internal error while querying datastore").await;
    assert!(!world.is_ready().await, "{fault:?}");
    let why = world.foundation.close().await.unwrap_err();
    assert!(why.contains("injected") && why.contains(".segment at position "), "{why}");
    drop(world);

    for after in [disk.crash(7), disk.kill()] {
        let world = World::open(&after, keys).await;
        assert!(world.is_ready().await);
        let bounds = world.done(Method::GET, "/subscriptions/s:offsets", "").await;
        assert_eq!((&bounds["min"], &bounds["current"]), (&Value::from(0), &Value::from(1)));
        assert!(matches!(bounds["max"].as_u64(), Some(3 | 4)), "three acknowledged, one in doubt: {bounds}");
        let pulled = world.done(Method::POST, "/subscriptions/s:pull", r#"{"maxMessages":"2"}"#).await;
        let data = |at: usize| pulled["receivedMessages"][at]["message"]["data"].clone();
        assert_eq!((data(0), data(1)), ("a2VwdA==".into(), "a2VwdA==".into()));
        world.done(Method::POST, PUBLISH, MESSAGE).await;
        world.foundation.close().await.unwrap();
    }
}

#[actix_web::test]
async fn a_service_whose_disk_fails_is_not_ready_and_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("key");
    for fault in [Faults { writes_fail: true, ..Faults::default() }, Faults { syncs_fail: true, ..Faults::default() }] {
        fails_and_recovers(fault, &keys).await;
    }
}
