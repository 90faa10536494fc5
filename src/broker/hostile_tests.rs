//! A hostile machine under the whole broker: a disk that is full or fails under the embedded store, and a clock that jumps.

use super::fixture::{Fixture, name, publish, settings};
use super::{Broker, NewProject, NewSubscription, NewTopic, Options, PullRequest};
use crate::clock::Clock;
use crate::domain::subscription::{AckMode, Subscription, Targets};
use crate::domain::topic::{Retention, Topic};
use crate::domain::{Error, Offset};
use crate::storage::segment::vfs::{CrashVfs, Faults};
use crate::storage::segment::{Options as StoreOptions, SegmentStore};
use crate::storage::{Health, Store};
use crate::telemetry::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: u64 = 3_600 * 1_000_000;

/// A broker over an embedded store on a disk that fails on demand, with a topic and a cumulative subscription.
struct OnDisk {
    vfs: CrashVfs,
    store: Arc<SegmentStore>,
    broker: Broker,
}

impl OnDisk {
    async fn open(vfs: CrashVfs) -> Self {
        let options = StoreOptions { segment_bytes: 64 << 10, cache_bytes: 8 << 10, ..StoreOptions::default() };
        let store = SegmentStore::open(Path::new("/store"), options, Clock::System, Arc::new(vfs.clone())).unwrap();
        let store = Arc::new(store);
        let metrics = Arc::new(Metrics::new().unwrap());
        let shared: Arc<dyn Store> = Arc::<SegmentStore>::clone(&store);
        let broker = Broker::start(shared, Clock::System, Options::default(), metrics).await.unwrap();
        Self { vfs, store, broker }
    }

    async fn made(&self) -> (Arc<Topic>, Arc<Subscription>) {
        let new = NewProject { name: name("project"), description: String::new(), created_by: None };
        let project = self.broker.create_project(new).await.unwrap().id;
        let new = NewTopic { name: name("topic"), retention: Retention::default(), schema: None, created_by: None };
        let topic = self.broker.create_topic(project, new).await.unwrap();
        let new = NewSubscription {
            name: name("subscription"),
            topic: name("topic"),
            settings: settings(AckMode::Cumulative),
            push: None,
            acl: Vec::new(),
            created_by: None,
        };
        (topic, self.broker.create_subscription(project, new).await.unwrap())
    }

    /// What stands in the store of this disk, found by name.
    async fn found(&self) -> (Arc<Topic>, Arc<Subscription>) {
        let project = self.broker.project(&name("project")).await.unwrap().id;
        let topic = self.broker.topic(project, &name("topic")).await.unwrap();
        (topic, self.broker.subscription(project, &name("subscription")).await.unwrap())
    }

    /// Publishes numbered messages of 4 KiB one by one until one is refused; how many were not, and why the last was.
    async fn publish_until_refused(&self, topic: &Topic, from: u64) -> (u64, Error) {
        for number in from.. {
            if let Err(error) = publish(&self.broker, topic, &[&text(number)]).await {
                return (number, error);
            }
        }
        unreachable!("there is no end of numbers")
    }

    /// Takes and acknowledges everything; the texts.
    async fn taken(&self, subscription: &Subscription) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let request = PullRequest { messages_max: 7, ..PullRequest::default() };
            let deliveries = self.broker.pull(subscription, request).await.unwrap();
            let Some(last) = deliveries.last() else { return texts };
            let targets = Targets::Through(last.published.offset);
            let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            texts.extend(deliveries.iter().map(|delivery| text(&delivery.published.message.payload.bytes)));
            self.broker.acknowledge(subscription, targets, None).await.unwrap();
        }
    }
}

fn text(number: u64) -> String {
    format!("{number:04096}")
}

fn texts(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(text).collect()
}

#[tokio::test]
async fn on_a_full_disk_publishes_are_refused_and_pulls_and_acks_go_on() {
    let disk = OnDisk::open(CrashVfs::default()).await;
    let (topic, subscription) = disk.made().await;
    publish(&disk.broker, &topic, &[&text(0)]).await.unwrap();
    disk.vfs.set_faults(Faults { room: Some(disk.vfs.disk().used() + (300 << 10)), ..Faults::default() });
    let (count, refusal) = disk.publish_until_refused(&topic, 1).await;
    assert_eq!(refusal, Error::StoreFull);
    assert_eq!(disk.store.health(), Health::Full);
    assert_eq!(disk.taken(&subscription).await, texts(0..count), "what was acknowledged is read on the full disk");
    assert_eq!(publish(&disk.broker, &topic, &["more"]).await, Err(Error::StoreFull), "still full");
    disk.vfs.set_faults(Faults::default());
    while let Err(error) = publish(&disk.broker, &topic, &[&text(count)]).await {
        assert_eq!(error, Error::StoreFull);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(disk.taken(&subscription).await, texts(count..count + 1), "it takes messages as soon as there is room");
}

#[tokio::test]
async fn a_disk_that_fails_refuses_everything_and_keeps_what_was_acknowledged() {
    for faults in [Faults { writes_fail: true, ..Faults::default() }, Faults { syncs_fail: true, ..Faults::default() }]
    {
        let disk = OnDisk::open(CrashVfs::default()).await;
        let (topic, subscription) = disk.made().await;
        for number in 0..20 {
            publish(&disk.broker, &topic, &[&text(number)]).await.unwrap();
        }
        disk.vfs.set_faults(faults);
        let refused = publish(&disk.broker, &topic, &[&text(99)]).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_) | Error::OutcomeUnknown(_)), "{refused:?}");
        disk.vfs.set_faults(Faults::default());
        let later = publish(&disk.broker, &topic, &[&text(99)]).await.unwrap_err();
        assert!(matches!(later, Error::Unavailable(_)), "what failed once is not trusted again: {later:?}");
        assert_eq!(disk.store.health(), Health::Down);
        assert!(
            disk.broker.pull(&subscription, PullRequest::default()).await.is_err(),
            "a pull would have to be written"
        );
        let after = OnDisk::open(disk.vfs.crash(7)).await;
        let (_, subscription) = after.found().await;
        let taken = after.taken(&subscription).await;
        assert_eq!(taken.get(..20), Some(texts(0..20).as_slice()));
        assert!(taken.len() <= 21 && taken.get(20).is_none_or(|last| *last == text(99)), "{} messages", taken.len());
    }
}

#[test]
fn a_disk_that_may_not_be_written_is_refused_at_the_start_with_the_reason() {
    let vfs = CrashVfs::default();
    vfs.set_faults(Faults { writes_fail: true, ..Faults::default() });
    let opened = SegmentStore::open(Path::new("/store"), StoreOptions::default(), Clock::System, Arc::new(vfs));
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("/store") && error.contains("injected write error"), "{error}");
}

async fn take(broker: &Broker, subscription: &Subscription) -> Vec<(Offset, crate::domain::Fence)> {
    let request = PullRequest { messages_max: 10, ..PullRequest::default() };
    let deliveries = broker.pull(subscription, request).await.unwrap();
    deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlasts_a_clock_that_jumps_back_and_ends_with_one_that_jumps_ahead() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let subscription = fixture.subscription(&topic, AckMode::Individual).await;
    let (broker, clock) = (&fixture.broker, &fixture.clock);
    publish(broker, &topic, &["one", "two"]).await.unwrap();
    let held = take(broker, &subscription).await;
    let right = clock.wall();
    clock.set_wall(right - HOUR);
    assert_eq!(take(broker, &subscription).await, [], "an hour back: the leases last, nobody else gets the messages");
    publish(broker, &topic, &["three"]).await.unwrap();
    let [third] = take(broker, &subscription).await[..] else { panic!("publishing and pulling go on") };
    assert_eq!(third.0, Offset(2));
    broker.acknowledge(&subscription, Targets::Leased(vec![held[0]]), None).await.unwrap();
    clock.set_wall(right + HOUR);
    let again = take(broker, &subscription).await;
    assert_eq!(again.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), [1, 2], "an hour ahead: both have ended");
    let late = broker.acknowledge(&subscription, Targets::Leased(vec![held[1], third]), None).await;
    assert!(matches!(late, Err(Error::LeaseSuperseded { refused: 2 })), "{late:?}");
    assert_eq!(take(broker, &subscription).await, [], "they are leased to one");
    clock.set_wall(right);
    broker.acknowledge(&subscription, Targets::Leased(again), None).await.unwrap();
    assert_eq!(broker.progress(&subscription).await.unwrap().backlog, 0);
}

#[tokio::test(start_paused = true)]
async fn times_in_a_topic_never_go_back_with_the_clock() {
    let fixture = Fixture::new().await;
    let topic = fixture.topic().await;
    let right = fixture.clock.wall();
    let mut last = None;
    for wall in [right, right + HOUR, right, right - HOUR, right + HOUR] {
        fixture.clock.set_wall(wall);
        let at = Some(publish(&fixture.broker, &topic, &["m"]).await.unwrap().at);
        assert!(at >= last, "{at:?} after {last:?}");
        last = at;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_trimmed_when_the_clock_jumps_before_retention_first_looks() {
    let every = Duration::from_secs(10);
    let fixture = Fixture::with(1, Options { maintenance_every: every, ..Options::default() }).await;
    let topic = fixture.topic().await;
    for _ in 0..3 {
        publish(&fixture.broker, &topic, &["m"]).await.unwrap();
    }
    fixture.clock.set_wall(fixture.clock.wall() + 8 * 24 * HOUR);
    publish(&fixture.broker, &topic, &["m"]).await.unwrap();
    tokio::time::sleep(every * 3).await;
    let bounds = fixture.broker.topic_bounds(&topic).await.unwrap();
    assert_eq!((bounds.first, bounds.next), (Offset(0), Offset(4)), "a week and a day did not pass");
    assert_eq!(fixture.broker.inner.metrics.retention_held.get(), 1);
}
