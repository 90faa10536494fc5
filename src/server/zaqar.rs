//! The Zaqar dialect as the configuration shapes it.

use crate::api::zaqar::{self, Limits, Notifier, ZaqarOptions};
use crate::auth::signed_url::UrlKey;
use crate::broker::Broker;
use crate::config::Config;
use crate::delivery::Feed;
use crate::domain::Result;
use crate::domain::topic::{Retention, Topic};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

/// How the configuration shapes the dialect.
pub(super) fn options(config: &Config) -> ZaqarOptions {
    let (zaqar, limits) = (&config.zaqar, limits(config));
    let secret = zaqar.signed_url_secret.reveal();
    // A claim may make a message live longer than its own ttl.
    let life = limits.max_message_ttl + limits.max_claim_ttl + limits.max_claim_grace;
    let age = Duration::from_secs(life.max(config.retention.days.saturating_mul(86_400)));
    ZaqarOptions {
        trust_roles: zaqar.noauth_trust_roles,
        admin_mode: zaqar.admin_mode,
        url_key: (!secret.is_empty()).then(|| UrlKey::new(secret)),
        hosts: zaqar.host_names(),
        retention: Retention { age, bytes: Some(config.retention.bytes).filter(|bytes| *bytes > 0) },
        body_time_max: Duration::from_secs(config.limits.body_seconds),
        silence: Duration::from_secs(config.limits.keep_alive_seconds),
        limits,
    }
}

fn limits(config: &Config) -> Limits {
    let limits = &config.zaqar.limits;
    Limits {
        default_message_ttl: limits.default_message_ttl,
        max_message_ttl: limits.max_message_ttl,
        default_message_delay: limits.default_message_delay,
        max_message_delay: limits.max_message_delay,
        default_claim_ttl: limits.default_claim_ttl,
        max_claim_ttl: limits.max_claim_ttl,
        default_claim_grace: limits.default_claim_grace,
        max_claim_grace: limits.max_claim_grace,
        max_messages_post_size: limits.max_messages_post_size,
        max_queue_metadata: limits.max_queue_metadata,
        max_queues_per_page: limits.max_queues_per_page,
        max_messages_per_page: limits.max_messages_per_page,
        max_messages_per_claim_or_pop: limits.max_messages_per_claim_or_pop,
        min_length_client_id: limits.min_length_client_id,
        max_length_client_id: limits.max_length_client_id,
        client_id_strict: limits.client_id_uuid_safe == "strict",
    }
}

/// Deliveries as the Zaqar dialect sees them.
#[derive(Debug)]
pub(super) struct ZaqarNotifier(pub(super) Broker);

#[async_trait]
impl Notifier for ZaqarNotifier {
    async fn follow(&self, topic: &Topic, queue: &str) -> Result<Box<dyn zaqar::Feed>> {
        Ok(Box::new(SocketFeed(Feed::begin(&self.0, topic, queue).await?)))
    }
}

/// A feed as the Zaqar dialect sees it.
#[derive(Debug)]
struct SocketFeed(Feed);

#[async_trait]
impl zaqar::Feed for SocketFeed {
    async fn next(&mut self) -> Result<Bytes> {
        self.0.next().await
    }
}
