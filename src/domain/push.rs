//! Where a subscription's messages are pushed to, and how. Sends nothing.

use super::id::Timestamp;
use super::retry::RetryPolicy;
use std::fmt;
use std::time::Duration;

/// A subscription's push configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Push {
    /// Where to.
    pub target: Target,
    /// The pauses between deliveries.
    pub retry: RetryPolicy,
    /// Whether payloads are sent as their text rather than as base64.
    pub decode: bool,
    /// Whether the target has shown that it wants this; nothing is pushed before.
    pub verified: bool,
}

/// A place to push to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// An endpoint of whoever consumes.
    Webhook(Webhook),
    /// A channel of a Mattermost chat, by its incoming webhook.
    Mattermost(Mattermost),
    /// A subscriber who is told of each message posted to a queue.
    Notify(Notify),
}

/// An endpoint of whoever consumes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// The https URL, as it was given.
    pub endpoint: String,
    /// Most messages of one delivery, as it was given; below 1 counts as 1. One has a simpler body than others.
    pub messages_max: i64,
    /// What the `Authorization` header says; none for no such header.
    pub authorization: Option<Shared>,
    /// What the endpoint's host must answer to be verified.
    pub hash: Shared,
}

/// A channel of a chat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mattermost {
    /// The incoming webhook, as it was given.
    pub url: String,
    /// Under which name to post; empty for the webhook's own.
    pub username: String,
    /// Where to post; empty for the webhook's own.
    pub channel: String,
}

/// A subscriber who is told of each message posted to a queue, one by one, until his time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// Whom to tell, and how: the URI as it was given.
    pub subscriber: String,
    /// What he asked for beside that: a JSON object as it was given. May hold what only he should know.
    pub options: Shared,
    /// How long he is told.
    pub ttl: Duration,
    /// Since when that counts.
    pub since: Timestamp,
}

impl Notify {
    /// When nothing is told any more.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.since.plus(self.ttl)
    }
}

/// A secret shared with an endpoint. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Shared(pub String);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(…)")
    }
}

impl Push {
    /// The URL that deliveries go to.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.target {
            Target::Webhook(webhook) => &webhook.endpoint,
            Target::Mattermost(chat) => &chat.url,
            Target::Notify(notify) => &notify.subscriber,
        }
    }

    /// The subscriber who is told of each message, if that is what it is for.
    #[must_use]
    pub const fn notify(&self) -> Option<&Notify> {
        match &self.target {
            Target::Notify(notify) => Some(notify),
            Target::Webhook(_) | Target::Mattermost(_) => None,
        }
    }

    /// Most messages of one delivery, at least 1.
    #[must_use]
    pub fn messages_max(&self) -> u32 {
        match &self.target {
            Target::Webhook(webhook) => u32::try_from(webhook.messages_max.max(1)).unwrap_or(u32::MAX),
            Target::Mattermost(_) | Target::Notify(_) => 1,
        }
    }
}
