//! The segment engine under a broker: killed, opened again, serving from the tail it recovered, then without power.
//!
//! The engine has threads of its own, so these runs are judged, not repeated byte for byte.

use angelia::broker::{Broker, NewMessage, NewProject, NewSubscription, NewTopic, Options, PullRequest};
use angelia::clock::Clock;
use angelia::domain::subscription::{AckMode, Settings, Subscription, Targets};
use angelia::domain::topic::{Retention, Topic};
use angelia::domain::{Name, Offset};
use angelia::storage::Store;
use angelia::storage::segment::vfs::CrashVfs;
use angelia::storage::segment::{self, SegmentStore};
use angelia::telemetry::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CUTS: u64 = 12;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn open(disk: &CrashVfs) -> Broker {
    let options = segment::Options {
        segment_bytes: 64 << 10,
        reserve_segments: 1,
        pool_segments: 2,
        zero_fill: false,
        ..segment::Options::default()
    };
    let store = SegmentStore::open(Path::new("/store"), options, Clock::System, Arc::new(disk.clone())).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let options = Options { snapshot_every: 4, ..Options::default() };
    Broker::start(store, Clock::System, options, Arc::new(Metrics::new().unwrap())).await.unwrap()
}

async fn furnish(broker: &Broker) -> (Arc<Topic>, Arc<Subscription>) {
    let new = NewProject { name: name("project"), description: String::new(), created_by: None };
    let project = broker.create_project(new).await.unwrap().id;
    let new = NewTopic { name: name("a"), retention: Retention::default(), schema: None, created_by: None };
    let topic = broker.create_topic(project, new).await.unwrap();
    let settings = Settings {
        mode: AckMode::Individual,
        ack_deadline: Duration::from_secs(600),
        max_attempts: None,
        dead_letter_topic: None,
        dead_letter_ttl: None,
    };
    let new = NewSubscription {
        name: name("work"),
        topic: name("a"),
        settings,
        push: None,
        acl: Vec::new(),
        created_by: None,
    };
    (topic, broker.create_subscription(project, new).await.unwrap())
}

/// Publishes some messages, leases some, acknowledges some; answers what was acknowledged to whom.
async fn live(broker: &Broker, topic: &Topic, work: &Subscription, from: u64, count: u64) -> Vec<u64> {
    for number in from..from + count {
        let mut batch = broker.batch();
        batch.push(&NewMessage { payload: number.to_string().as_bytes(), ..NewMessage::default() }).unwrap();
        assert_eq!(broker.publish(topic, batch).await.unwrap().first, Offset(number));
    }
    let request = PullRequest { messages_max: u32::try_from(count / 2).unwrap(), ..PullRequest::default() };
    let deliveries = broker.pull(work, request).await.unwrap();
    let done: Vec<_> = deliveries.iter().step_by(2).map(|given| (given.published.offset, given.fence)).collect();
    broker.acknowledge(work, Targets::Leased(done.clone()), None).await.unwrap();
    done.into_iter().map(|(offset, _)| offset.0).collect()
}

/// Everything that was answered is there: all messages in order, and nothing that was acknowledged or is leased comes again.
async fn check(broker: &Broker, topic: &Topic, work: &Subscription, count: u64, done: &[u64]) {
    let found = broker.browse(topic, Offset(0), u32::MAX, u64::MAX).await.unwrap();
    let texts: Vec<_> =
        found.iter().map(|found| String::from_utf8_lossy(&found.message.payload.bytes).into_owned()).collect();
    assert_eq!(texts, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
    let progress = broker.progress(work).await.unwrap();
    assert_eq!(progress.backlog, count - done.len() as u64, "{done:?} {progress:?}");
}

/// One life of a process: what it leaves behind is on the disk alone.
fn life<T>(disk: &CrashVfs, life: impl AsyncFnOnce(&Broker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let told = runtime.block_on(async {
        let broker = open(disk).await;
        life(&broker).await
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    told
}

#[test]
fn what_is_served_from_a_recovered_tail_survives_a_power_cut() {
    for seed in 0..CUTS {
        let disk = CrashVfs::default();
        let (topic, work, mut done, disk) = life(&disk, async |broker: &Broker| {
            let (topic, work) = furnish(broker).await;
            let done = live(broker, &topic, &work, 0, 8).await;
            // Killed: the next process finds all that was written, synced or not, and serves it.
            (topic, work, done, disk.kill())
        });
        let count = if seed % 2 == 0 { 14 } else { 8 };
        let disk = life(&disk, async |broker: &Broker| {
            check(broker, &topic, &work, 8, &done).await;
            if count > 8 {
                done.extend(live(broker, &topic, &work, 8, count - 8).await);
            }
            disk.crash(seed)
        });
        // What was served before is not gone now.
        life(&disk, async |broker: &Broker| {
            check(broker, &topic, &work, count, &done).await;
            done.extend(live(broker, &topic, &work, count, 4).await);
            check(broker, &topic, &work, count + 4, &done).await;
        });
    }
}
