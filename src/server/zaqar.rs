//! The Zaqar dialect as the configuration shapes it.

use super::foundation::Foundation;
use super::push::authorities;
use super::stages::SchemaStage;
use crate::api::zaqar::{self, Bindings, Confirmation, Limits, Notice, Notifier, Stage, Zaqar, ZaqarOptions};
use crate::auth::Token;
use crate::auth::keystone::{self, Keystone};
use crate::auth::policy::Policy;
use crate::auth::signed_url::UrlKey;
use crate::broker::Broker;
use crate::config::{self, Config};
use crate::delivery::{self, Delivery, Feed, Mailer, Notifications, SmtpServer, SmtpTls, TrustToken, TrustTokens};
use crate::domain::acl::RoleName;
use crate::domain::push::Notify;
use crate::domain::subscription::Subscription;
use crate::domain::topic::{Retention, Topic};
use crate::domain::{self, Name};
use crate::telemetry::metrics::Metrics;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Keystone, if it is to be asked.
pub(super) fn keystone(config: &Config, foundation: &Foundation) -> Result<Option<Keystone>, String> {
    if config.zaqar.auth_strategy != "keystone" {
        return Ok(None);
    }
    let own = &config.keystone;
    let password = own.password().map_err(|error| error.to_string())?;
    let authorities = match own.ca_file.as_str() {
        "" => None,
        file => Some(std::fs::read(file).map_err(|error| format!("keystone.ca_file: {file}: {error}"))?),
    };
    let options = keystone::Options {
        url: own.url.clone(),
        user: own.user.clone(),
        password: Token::new(password.reveal()),
        project: own.project.clone(),
        user_domain: own.user_domain.clone(),
        project_domain: own.project_domain.clone(),
        cache_age: Duration::from_secs(own.cache_seconds),
        cache_entries: own.cache_tokens,
        timeout: Duration::from_secs(own.timeout_seconds),
        authorities,
    };
    let keystone = Keystone::new(options, foundation.broker.clone());
    keystone.map(Some).map_err(|error| format!("keystone: {error}"))
}

/// The rules in force, read from their file.
///
/// # Errors
/// When the file cannot be read, or says what cannot be judged.
pub(crate) fn policy(config: &Config) -> Result<Policy, String> {
    let file = &config.zaqar.policy_file;
    if file.is_empty() {
        return Ok(Policy::default());
    }
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("zaqar.policy_file: cannot read {file}: {error}"))?;
    Policy::parse(&text).map_err(|why| format!("zaqar.policy_file: {file}: {why}"))
}

fn bindings(config: &Config) -> Result<Bindings, String> {
    let told = |error: crate::config::Invalid| error.to_string();
    let mut projects = std::collections::BTreeMap::new();
    for (id, project) in config.projects.bound().map_err(told)? {
        projects.insert(id, Name::new(&project).map_err(|error| format!("projects.bind: {error}"))?);
    }
    let roles = config.projects.mapped().map_err(told)?.into_iter();
    let roles = roles.map(|(role, own)| (role, own.iter().map(|own| RoleName::new(own)).collect())).collect();
    Ok(Bindings { projects, roles, per_resource: config.ams.per_resource_auth })
}

/// How the configuration shapes the dialect.
pub(super) fn options(config: &Config) -> Result<ZaqarOptions, String> {
    let (zaqar, limits) = (&config.zaqar, limits(config));
    let secret = zaqar.signed_url_secret.reveal();
    // Without somebody who keeps trusts, nobody can be spoken to in another's name.
    let trusts = zaqar.auth_strategy == "keystone";
    // A claim may make a message live longer than its own ttl.
    let life = limits.max_message_ttl + limits.max_claim_ttl + limits.max_claim_grace;
    let age = Duration::from_secs(life.max(config.retention.days.saturating_mul(86_400)));
    Ok(ZaqarOptions {
        policy: policy(config)?,
        bindings: bindings(config)?,
        trust_roles: zaqar.noauth_trust_roles,
        admin_mode: zaqar.admin_mode,
        url_key: (!secret.is_empty()).then(|| UrlKey::new(secret)),
        hosts: zaqar.host_names(),
        retention: Retention { age, bytes: Some(config.retention.bytes).filter(|bytes| *bytes > 0) },
        body_time_max: Duration::from_secs(config.limits.body_seconds),
        silence: Duration::from_secs(config.limits.keep_alive_seconds),
        subscriber_types: zaqar
            .schemes()
            .into_iter()
            .filter(|scheme| trusts || !scheme.starts_with("trust+"))
            .collect(),
        confirmation: confirmation(zaqar),
        limits,
    })
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
        default_subscription_ttl: limits.default_subscription_ttl,
        max_subscriptions_per_page: limits.max_subscriptions_per_page,
        min_length_client_id: limits.min_length_client_id,
        max_length_client_id: limits.max_length_client_id,
        client_id_strict: limits.client_id_uuid_safe == "strict",
    }
}

/// The dialect at work: with its stages, and with who tells subscribers if that is one of them.
pub(super) fn dialect(
    config: &Config,
    foundation: &Foundation,
    keystone: Option<&Keystone>,
    delivery: Option<&Delivery>,
    metrics: &Arc<Metrics>,
) -> Result<Zaqar, String> {
    let Foundation { broker, auth, .. } = foundation;
    let mut zaqar = Zaqar::new(broker.clone(), Arc::clone(metrics), options(config)?);
    if let Some(keystone) = keystone {
        zaqar = zaqar.with_keystone(keystone.clone(), auth.clone());
    }
    if let (true, Some(delivery)) = (notifies(config), delivery) {
        zaqar = zaqar.with_notifier(Arc::new(ZaqarNotifier { broker: broker.clone(), delivery: delivery.clone() }));
    }
    let mut stages: Vec<Arc<dyn Stage>> = Vec::new();
    for stage in config.zaqar.stages() {
        if stage == "json_schema" {
            stages.push(Arc::new(SchemaStage::open(&config.zaqar.json_schema_file)?));
        }
    }
    Ok(zaqar.with_stages(stages))
}

/// Whether subscribers of queues are told.
fn notifies(config: &Config) -> bool {
    let serves = config.listen.zaqar != "off" || config.listen.zaqar_websocket != "off";
    serves && config.zaqar.stages().iter().any(|stage| stage == "notification")
}

/// How subscribers of queues are told; none for not at all.
pub(super) fn notifications(config: &Config, keystone: Option<&Keystone>) -> Result<Option<Notifications>, String> {
    if !notifies(config) {
        return Ok(None);
    }
    let require_confirmation = config.zaqar.require_confirmation;
    let trusts = keystone.map(|keystone| Arc::new(Trusts(keystone.clone())) as Arc<dyn TrustTokens>);
    Ok(Some(Notifications { require_confirmation, mailer: mailer(config)?.map(Arc::new), trusts }))
}

fn mailer(config: &Config) -> Result<Option<Mailer>, String> {
    let zaqar = &config.zaqar;
    let (per_minute, timeout) = (zaqar.mails_per_minute, Duration::from_secs(config.push.timeout_seconds));
    if !zaqar.smtp_command.is_empty() {
        let mailer = Mailer::by_command(&zaqar.smtp_command, &zaqar.smtp_from, per_minute, timeout);
        return mailer.map(Some).map_err(|error| format!("zaqar.smtp_command or zaqar.smtp_from: {error}"));
    }
    if zaqar.smtp_host.is_empty() {
        return Ok(None);
    }
    let server = SmtpServer {
        host: zaqar.smtp_host.clone(),
        port: zaqar.smtp_port,
        tls: match zaqar.smtp_tls.as_str() {
            "implicit" => SmtpTls::Implicit,
            "off" => SmtpTls::Off,
            _ => SmtpTls::StartTls,
        },
        login: (zaqar.smtp_user_name.clone(), zaqar.smtp_user_password.reveal().to_owned()),
        authorities: authorities(config)?,
    };
    let mailer = Mailer::by_smtp(server, &zaqar.smtp_from, per_minute, timeout);
    mailer.map(Some).map_err(|error| format!("zaqar.smtp_host or zaqar.smtp_from: {error}"))
}

/// How subscribers are asked to confirm; none where they need not.
fn confirmation(config: &config::Zaqar) -> Option<Confirmation> {
    config.require_confirmation.then(|| Confirmation {
        page: config.external_confirmation_url.clone(),
        public_url: config.public_url.clone(),
        public_websocket_url: config.public_websocket_url.clone(),
        mail: config.confirmation_mail.clone(),
        goodbye: config.unsubscription_mail.clone(),
    })
}

/// Keystone's trusts as deliveries see them.
#[derive(Debug)]
struct Trusts(Keystone);

#[async_trait]
impl TrustTokens for Trusts {
    async fn token(&self, trust_id: &str) -> Result<TrustToken, String> {
        match self.0.entrusted(trust_id).await {
            Ok(trust) => Ok(TrustToken::new(trust.token.reveal().to_owned())),
            Err(keystone::Unknown::Refused) => Err("Keystone does not know the trust, or not any more".to_owned()),
            Err(keystone::Unknown::Unavailable(why)) => Err(format!("Keystone: {why}")),
        }
    }
}

/// Deliveries as the Zaqar dialect sees them.
#[derive(Debug)]
struct ZaqarNotifier {
    broker: Broker,
    delivery: Delivery,
}

#[async_trait]
impl Notifier for ZaqarNotifier {
    fn check(&self, notify: &Notify) -> Result<(), String> {
        delivery::check(notify)
    }

    fn notice(&self, subscription: Arc<Subscription>, notice: Notice) {
        let Notice { json, mail } = notice;
        self.delivery.notice(subscription, delivery::Notice { json, mail });
    }

    async fn follow(&self, topic: &Topic, queue: &str) -> domain::Result<Box<dyn zaqar::Feed>> {
        Ok(Box::new(SocketFeed(Feed::begin(&self.broker, topic, queue).await?)))
    }
}

/// A feed as the Zaqar dialect sees it.
#[derive(Debug)]
struct SocketFeed(Feed);

#[async_trait]
impl zaqar::Feed for SocketFeed {
    async fn next(&mut self) -> domain::Result<Bytes> {
        self.0.next().await
    }
}
