//! What things cost, in counts that are the same on every machine: memory asked for, bytes written, syncs, appends, wake-ups,
//! instructions.
//!
//! Each test holds a bound a little above what is reached today: who exceeds it has made the hot path dearer, and either finds a way
//! around or moves the bound and says why. Everything goes through the AMS dialect over the embedded store on a disk in memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what is wrong with a test's own scaffold may stop the test where it stands"
)]

mod disk;
mod heap;
mod instructions;
mod wakes;

use actix_web::App;
use actix_web::test as harness;
use angelia::api::ams::{Ams, AmsOptions, configure, default_roles};
use angelia::auth::{Auth, KeyRing, Token};
use angelia::broker::{Broker, Options};
use angelia::clock::Clock;
use angelia::storage::Store;
use angelia::storage::segment::{self, SegmentStore};
use angelia::telemetry::metrics::Metrics;
use disk::CountingVfs;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The token of all requests.
const SERVICE: &str = "a service token of some length";
/// The base64 form of the 1,024 bytes that every message has.
const DATA_LETTERS: usize = 1_368;

/// A whole service: the dialect, the broker, the store, and the disk that counts.
struct World {
    ams: Arc<Ams>,
    store: Arc<SegmentStore>,
    disk: CountingVfs,
}

impl World {
    async fn new() -> Self {
        Self::of_segments(8 << 20).await
    }

    /// A service whose store has segments of so many bytes.
    async fn of_segments(segment_bytes: u64) -> Self {
        let disk = CountingVfs::default();
        let options = segment::Options { segment_bytes, zero_fill: false, ..segment::Options::default() };
        let opened = SegmentStore::open(Path::new("/store"), options, Clock::System, Arc::new(disk.clone()));
        let store = Arc::new(opened.unwrap());
        // From here on the disk's work is what requests cause.
        while store.stats().segments_pool < segment::Options::default().reserve_segments {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let dyn_store: Arc<dyn Store> = store.clone();
        let broker = Broker::start(dyn_store, Clock::System, Options::default(), metrics.clone()).await.unwrap();
        let auth = Auth::start(broker.clone(), KeyRing::generate().unwrap(), default_roles()).await.unwrap();
        let options = AmsOptions { service_token: Some(Token::new(SERVICE)), ..AmsOptions::default() };
        Self { ams: Arc::new(Ams::new(broker, auth, metrics, options)), store, disk }
    }
}

/// The running application of a world, with a project, a topic and subscriptions of both modes: sends a request, which must succeed, and
/// gives its answer's body.
async fn application(world: &World) -> impl AsyncFn(&'static str, &'static str, String) -> String {
    let application = harness::init_service(App::new().configure(configure(world.ams.clone()))).await;
    let call = async move |method: &'static str, path: &'static str, body: String| {
        let request = harness::TestRequest::with_uri(path)
            .method(method.parse().unwrap())
            .insert_header(("x-api-key", SERVICE))
            .set_payload(body);
        let answer = harness::call_service(&application, request.to_request()).await;
        assert_eq!(answer.status(), 200, "{method} {path}");
        String::from_utf8(harness::read_body(answer).await.to_vec()).unwrap()
    };
    let subscription =
        |mode: &str| format!(r#"{{"topic":"projects/p/topics/t","ackDeadlineSeconds":600,"ackMode":"{mode}"}}"#);
    call("POST", "/v1/projects/p", "{}".to_owned()).await;
    call("PUT", "/v1/projects/p/topics/t", String::new()).await;
    call("PUT", "/v1/projects/p/subscriptions/c", subscription("cumulative")).await;
    call("PUT", "/v1/projects/p/subscriptions/i", subscription("individual")).await;
    call
}

/// The body that publishes so many messages of 1 KiB, each with so many attributes.
fn messages(count: usize, attributes: usize) -> String {
    let mut body = String::from("{\"messages\":[");
    for message in 0..count {
        let comma = if message == 0 { "" } else { "," };
        let _ = write!(body, "{comma}{{\"data\":\"{message:08}{}\"", "A".repeat(DATA_LETTERS - 8));
        if attributes > 0 {
            let pairs: Vec<String> = (0..attributes).map(|at| format!("\"key{at}\":\"value\"")).collect();
            let _ = write!(body, ",\"attributes\":{{{}}}", pairs.join(","));
        }
        body.push('}');
    }
    body.push_str("]}");
    body
}

const PUBLISH: &str = "/v1/projects/p/topics/t:publish";

/// The body that pulls so many messages.
fn pull(count: usize) -> String {
    format!("{{\"maxMessages\":\"{count}\",\"returnImmediately\":\"true\"}}")
}

/// What one more message in a request costs in allocations: of requests with 100 and with 300 messages, the least of some rounds each.
async fn allocations_of_one_more(disk: &CountingVfs, mut request: impl AsyncFnMut(usize)) -> f64 {
    let mut least = [u64::MAX; 2];
    for _ in 0..5 {
        for (least, count) in least.iter_mut().zip([100, 300]) {
            let before = disk.counts.allocations_beside();
            request(count).await;
            *least = (*least).min(disk.counts.allocations_beside() - before);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let more = least[1].saturating_sub(least[0]) as f64;
    more / 200.0
}

/// One test at a time: the counts are the whole process's.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[actix_web::test]
async fn a_published_message_costs_no_allocation_of_its_own() {
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    for (attributes, bound) in [(0, 0.1), (2, 2.5)] {
        let bodies = [messages(100, attributes), messages(300, attributes)];
        let publish = async |count: usize| drop(call("POST", PUBLISH, bodies[usize::from(count > 100)].clone()).await);
        let cost = allocations_of_one_more(&world.disk, publish).await;
        println!("allocations of a published message with {attributes} attributes: {cost}");
        assert!(cost <= bound, "{cost} with {attributes} attributes");
    }
    world.store.close().await.unwrap();
}

#[actix_web::test]
async fn a_pulled_message_costs_no_allocation_of_its_own() {
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    for _ in 0..10 {
        call("POST", PUBLISH, messages(300, 0)).await;
    }
    for (path, bound) in [("/v1/projects/p/subscriptions/c:pull", 0.1), ("/v1/projects/p/subscriptions/i:pull", 0.1)] {
        let pull = async |count: usize| drop(call("POST", path, pull(count)).await);
        let cost = allocations_of_one_more(&world.disk, pull).await;
        println!("allocations of a pulled message, {path}: {cost}");
        assert!(cost <= bound, "{cost} for {path}");
    }
    world.store.close().await.unwrap();
}

#[actix_web::test]
async fn a_message_is_written_once_with_little_beside_it() {
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    for (count, bound) in [(1, 1_536), (100, 1_050)] {
        let before = world.disk.counts.now();
        call("POST", PUBLISH, messages(count, 0)).await;
        let work = world.disk.counts.since(before);
        let each = work.bytes / count as u64;
        println!("bytes written for each message of {count}: {each}");
        assert!(each <= bound, "{each} bytes for each message of {count}");
        assert_eq!((work.writes, work.syncs), (1, 1), "one write and one sync for a request");
    }
    world.store.close().await.unwrap();
}

#[actix_web::test]
async fn a_pull_and_its_acknowledgement_are_one_small_commit_each() {
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    call("POST", PUBLISH, messages(100, 0)).await;
    let before = world.disk.counts.now();
    let pulled = call("POST", "/v1/projects/p/subscriptions/i:pull", pull(100)).await;
    let ids: Vec<&str> = pulled.split('"').filter(|part| part.starts_with("projects/p/subscriptions/i:")).collect();
    assert_eq!(ids.len(), 100);
    let body = format!("{{\"ackIds\":[\"{}\"]}}", ids.join("\",\""));
    call("POST", "/v1/projects/p/subscriptions/i:acknowledge", body).await;
    let work = world.disk.counts.since(before);
    println!("bytes written for pulling and acknowledging 100 messages: {}", work.bytes);
    assert!(work.syncs <= 2 && work.bytes <= 2 * 512, "{work:?}");
    world.store.close().await.unwrap();
}

#[actix_web::test]
async fn concurrent_publishes_share_appends_and_syncs() {
    const PUBLISHES: usize = 64;
    let _alone = ALONE.lock().await;
    let world = World::new().await;
    let call = application(&world).await;
    let (before, stats) = (world.disk.counts.now(), world.store.stats());
    let publishes = (0..PUBLISHES).map(|_| call("POST", PUBLISH, messages(1, 0)));
    futures_util::future::join_all(publishes).await;
    let work = world.disk.counts.since(before);
    let appends = world.store.stats().operations - stats.operations;
    println!("{PUBLISHES} concurrent publishes: {appends} appends, {} syncs", work.syncs);
    // The first goes alone, the others wait for it together.
    assert!(appends <= 3 && work.syncs <= 3, "{appends} appends, {work:?}");
    world.store.close().await.unwrap();
}
