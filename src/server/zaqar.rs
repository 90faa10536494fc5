//! The Zaqar dialect as the configuration shapes it.

use super::foundation::Foundation;
use crate::api::zaqar::{Bindings, Limits, Zaqar, ZaqarOptions};
use crate::auth::Token;
use crate::auth::keystone::{self, Keystone};
use crate::auth::policy::Policy;
use crate::auth::signed_url::UrlKey;
use crate::config::Config;
use crate::domain::Name;
use crate::domain::acl::RoleName;
use crate::domain::topic::Retention;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// The dialect over an open store.
pub(super) fn dialect(config: &Config, foundation: &Foundation, metrics: &Arc<Metrics>) -> Result<Zaqar, String> {
    let Foundation { broker, auth, .. } = foundation;
    let zaqar = Zaqar::new(broker.clone(), Arc::clone(metrics), options(config)?);
    Ok(match keystone(config, foundation)? {
        Some(keystone) => zaqar.with_keystone(keystone, auth.clone()),
        None => zaqar,
    })
}

/// Keystone, if it is to be asked.
fn keystone(config: &Config, foundation: &Foundation) -> Result<Option<Keystone>, String> {
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
        min_length_client_id: limits.min_length_client_id,
        max_length_client_id: limits.max_length_client_id,
        client_id_strict: limits.client_id_uuid_safe == "strict",
    }
}
