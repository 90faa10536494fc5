//! Metrics as AMS shows them: of the service, of a project, of a topic, of a subscription. What operators' tools read is `api::ops`.

use super::Ams;
use super::error::Refusal;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use super::times;
use crate::broker::PageRequest;
use crate::domain::project::Project;
use crate::domain::{Day, Error, Timestamp, UserId};
use crate::telemetry::process;
use std::collections::HashMap;

/// Most days of a daily series.
const DAYS_MAX: usize = 30;
/// How the original writes the time of what never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What all metrics of one kind have in common, in the order in which it is written.
#[derive(Debug)]
struct Kind {
    metric: &'static str,
    metric_type: &'static str,
    value_type: &'static str,
    resource_type: &'static str,
    description: &'static str,
}

const fn counter(metric: &'static str, resource_type: &'static str, description: &'static str) -> Kind {
    Kind { metric, metric_type: "counter", value_type: "int64", resource_type, description }
}

const fn real(
    metric: &'static str,
    metric_type: &'static str,
    resource_type: &'static str,
    description: &'static str,
) -> Kind {
    Kind { metric, metric_type, value_type: "float64", resource_type, description }
}

static PROJECT_TOPICS: Kind = counter(
    "project.number_of_topics",
    "project",
    "Counter that displays the number of topics belonging to the specific project",
);
static PROJECT_SUBSCRIPTIONS: Kind = counter(
    "project.number_of_subscriptions",
    "project",
    "Counter that displays the number of subscriptions belonging to the specific project",
);
static USER_TOPICS: Kind = counter(
    "project.user.number_of_topics",
    "project.user",
    "Counter that displays the number of topics that a user has access to the specific project",
);
static USER_SUBSCRIPTIONS: Kind = counter(
    "project.user.number_of_subscriptions",
    "project.user",
    "Counter that displays the number of subscriptions that a user has access to the specific project",
);
static PROJECT_DAYS: Kind = counter(
    "project.number_of_daily_messages",
    "project",
    "A collection of counters that represents the total number of messages published each day to all of the project's topics",
);
static TOPIC_SUBSCRIPTIONS: Kind = counter(
    "topic.number_of_subscriptions",
    "topic",
    "Counter that displays the number of subscriptions belonging to a specific topic",
);
static TOPIC_MESSAGES: Kind = counter(
    "topic.number_of_messages",
    "topic",
    "Counter that displays the number of messages published to the specific topic",
);
static TOPIC_BYTES: Kind = counter(
    "topic.number_of_bytes",
    "topic",
    "Counter that displays the total size of data (in bytes) published to the specific topic",
);
static TOPIC_DAYS: Kind = counter(
    "topic.number_of_daily_messages",
    "topic",
    "A collection of counters that represents the total number of messages published each day to a specific topic",
);
static TOPIC_RATE: Kind = real(
    "topic.publishing_rate",
    "rate",
    "topic",
    "A rate that displays how many messages were published per second between the last two publish events",
);
static SUBSCRIPTION_MESSAGES: Kind = counter(
    "subscription.number_of_messages",
    "subscription",
    "Counter that displays the number of messages consumed from the specific subscription",
);
static SUBSCRIPTION_BYTES: Kind = counter(
    "subscription.number_of_bytes",
    "subscription",
    "Counter that displays the total size of data (in bytes) consumed from the specific subscription",
);
static SUBSCRIPTION_RATE: Kind = real(
    "subscription.consumption_rate",
    "rate",
    "subscription",
    "A rate that displays how many messages were consumed per second between the last two consume events",
);
static NODE_CPU: Kind = real(
    "ams_node.cpu_usage",
    "percentage",
    "ams_node",
    "Percentage value that displays the CPU usage of ams service in the specific node",
);
static NODE_MEMORY: Kind = real(
    "ams_node.memory_usage",
    "percentage",
    "ams_node",
    "Percentage value that displays the Memory usage of ams service in the specific node",
);

/// A value.
#[derive(Clone, Copy, Debug)]
enum Value {
    Count(u64),
    Real(f64),
}

/// A metric of one resource: its points in time, as they are written.
#[derive(Debug)]
pub(crate) struct Metric {
    kind: &'static Kind,
    resource: String,
    points: Vec<(String, Value)>,
}

impl Metric {
    fn count(kind: &'static Kind, resource: &str, count: impl TryInto<u64>, at: Timestamp) -> Self {
        let count = count.try_into().unwrap_or(u64::MAX);
        Self { kind, resource: resource.to_owned(), points: vec![(times::seconds(at), Value::Count(count))] }
    }

    fn real(kind: &'static Kind, resource: &str, value: f64, at: Option<Timestamp>) -> Self {
        let at = at.map_or_else(|| NEVER.to_owned(), times::seconds);
        Self { kind, resource: resource.to_owned(), points: vec![(at, Value::Real(value))] }
    }

    fn days(kind: &'static Kind, resource: &str, days: Vec<(Day, u64)>) -> Self {
        let points = days.into_iter().map(|(day, count)| (times::day(day), Value::Count(count))).collect();
        Self { kind, resource: resource.to_owned(), points }
    }

    fn write(&self, json: &mut Json) {
        json.field("metric").string(self.kind.metric);
        json.field("metric_type").string(self.kind.metric_type);
        json.field("value_type").string(self.kind.value_type);
        json.field("resource_type").string(self.kind.resource_type);
        json.field("resource_name").string(&self.resource);
        json.field("timeseries").array(|json| {
            for (at, value) in &self.points {
                json.item().object(|json| {
                    json.field("timestamp").string(at);
                    match *value {
                        Value::Count(count) => json.field("value").number(count),
                        Value::Real(real) => json.field("value").float(real),
                    }
                });
            }
        });
        json.field("description").string(self.kind.description);
    }
}

/// The field that holds metrics.
pub(crate) fn write(metrics: &[Metric], json: &mut Json) {
    json.field("metrics").array(|json| metrics.iter().for_each(|metric| json.item().object(|json| metric.write(json))));
}

fn shown(metrics: &[Metric]) -> Answer {
    Ok(render::object_of(Indent::Three, 512 * metrics.len(), |json| write(metrics, json)))
}

/// What this node takes of its machine, as `ps` counts it: processor time since the start, memory at this moment, in tenths of a
/// percent. One entry of each (quirk 47).
pub(crate) fn of_node(ams: &Ams) -> [Metric; 2] {
    let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole * 1_000.0).round() / 10.0 } else { 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "a share in tenths of a percent")]
    let memory = share(process::resident_bytes() as f64, process::machine_bytes() as f64);
    let cpu = share(process::cpu_time().as_secs_f64(), ams.broker.clock().monotonic().as_secs_f64());
    let (host, now) = (process::host_name(), Some(ams.broker.now()));
    [Metric::real(&NODE_CPU, &host, cpu, now), Metric::real(&NODE_MEMORY, &host, memory, now)]
}

/// What the service takes.
pub(crate) async fn of_service(call: &Call<'_>) -> Answer {
    shown(&of_node(call.ams))
}

/// How many of these access lists hold each user.
fn memberships<'a>(lists: impl Iterator<Item = &'a [UserId]>) -> HashMap<UserId, u64> {
    let mut counts = HashMap::new();
    for user in lists.flatten() {
        *counts.entry(*user).or_default() += 1;
    }
    counts
}

/// The path's project: its topics and subscriptions, what each member may use of them, and its days.
pub(crate) async fn of_project(call: &Call<'_>) -> Answer {
    let (broker, auth, project) = (&call.ams.broker, &call.ams.auth, call.project()?);
    let (all, now) = (PageRequest::default(), broker.now());
    let topics = broker.topics(project.id, all, &|_| true).await?.items;
    let subscriptions = broker.subscriptions(project.id, all, &|_| true).await?.items;
    let mut members = auth.users(all, &|user| user.membership(project.id).is_some()).await?.items;
    // They come newest first.
    members.reverse();
    let name = project.name.as_str();
    let mut metrics = vec![
        Metric::count(&PROJECT_TOPICS, name, topics.len(), now),
        Metric::count(&PROJECT_SUBSCRIPTIONS, name, subscriptions.len(), now),
    ];
    let may_publish = memberships(topics.iter().map(|topic| topic.acl.as_slice()));
    let may_consume = memberships(subscriptions.iter().map(|subscription| subscription.acl.as_slice()));
    for (kind, counts) in [(&USER_TOPICS, may_publish), (&USER_SUBSCRIPTIONS, may_consume)] {
        metrics.extend(members.iter().filter_map(|member| {
            let count = counts.get(&member.id)?;
            Some(Metric::count(kind, &format!("{name}.{}", member.name), *count, now))
        }));
    }
    metrics.push(Metric::days(&PROJECT_DAYS, name, days_of(call, project).await?));
    shown(&metrics)
}

async fn days_of(call: &Call<'_>, project: &Project) -> Result<Vec<(Day, u64)>, Error> {
    call.ams.broker.daily_messages_of_project(project.id, Day(0)..=Day(u64::MAX), DAYS_MAX).await
}

/// How many a second, between the time before and the last time; for the first time as if a second had passed.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn rate(count: u64, at: Option<Timestamp>, before: Option<Timestamp>) -> f64 {
    match (at, before) {
        (None, _) => 0.0,
        (Some(_), None) => count as f64,
        // Stored times are whole microseconds, and two may be equal.
        (Some(at), Some(before)) => count as f64 / at.since(before).as_secs_f64().max(1e-6),
    }
}

/// A thing for whose metrics the caller's access list is looked at before whether it is there.
fn listed<T>(
    call: &Call<'_>,
    found: Result<T, Refusal>,
    role: &str,
    list: impl Fn(&T) -> &[UserId],
) -> Result<T, Refusal> {
    match &found {
        Ok(thing) => call.principal.check_list(call.ams, role, list(thing))?,
        Err(Refusal::Met(Error::NotFound(_))) => call.principal.check_list(call.ams, role, &[])?,
        Err(_) => {}
    }
    found
}

/// The path's topic: what was published to it.
pub(crate) async fn of_topic(call: &Call<'_>) -> Answer {
    let topic = listed(call, call.topic().await, "publisher", |topic| &topic.acl)?;
    let (broker, name) = (&call.ams.broker, topic.name.as_str());
    let all = PageRequest::default();
    let subscriptions = broker.subscriptions(topic.project, all, &|one| one.topic == topic.name).await?.total;
    let (bounds, days) = (broker.topic_bounds(&topic).await?, broker.daily_messages(&topic, DAYS_MAX).await?);
    let now = broker.now();
    let rate = rate(bounds.published.into(), bounds.published_at, bounds.published_before);
    shown(&[
        Metric::count(&TOPIC_SUBSCRIPTIONS, name, subscriptions, now),
        Metric::count(&TOPIC_MESSAGES, name, bounds.messages, now),
        Metric::count(&TOPIC_BYTES, name, bounds.bytes, now),
        Metric::days(&TOPIC_DAYS, name, days),
        Metric::real(&TOPIC_RATE, name, rate, bounds.published_at),
    ])
}

/// The path's subscription: what was given out of it, again or for the first time.
pub(crate) async fn of_subscription(call: &Call<'_>) -> Answer {
    let subscription = listed(call, call.subscription().await, "consumer", |subscription| &subscription.acl)?;
    let (broker, name) = (&call.ams.broker, subscription.name.as_str());
    let (seen, now) = (broker.statistics(&subscription).await?, broker.now());
    shown(&[
        Metric::count(&SUBSCRIPTION_MESSAGES, name, seen.messages, now),
        Metric::count(&SUBSCRIPTION_BYTES, name, seen.bytes, now),
        Metric::real(
            &SUBSCRIPTION_RATE,
            name,
            rate(seen.consumed, seen.consumed_at, seen.consumed_before),
            seen.consumed_at,
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_two_times() {
        let second = |seconds: u64| Some(Timestamp(seconds * 1_000_000));
        let about = |rate: f64, expected: f64| assert!((rate - expected).abs() < 1e-9, "{rate}");
        about(rate(0, None, None), 0.0);
        about(rate(5, second(7), None), 5.0);
        about(rate(5, second(7), second(5)), 2.5);
        assert!(rate(5, second(7), second(7)).is_finite());
    }
}
