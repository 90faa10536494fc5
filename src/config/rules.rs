//! What a configuration must satisfy, setting by setting and across settings. Each message names the setting and what to do.

use super::keys::{KEYS, Kind};
use super::zaqar::STAGES;
use super::{Config, Invalid, StoreUrl, places};
use crate::domain::network::Network;
use std::path::Path;

/// Checks everything that can be checked without opening anything.
pub(super) fn check(config: &Config) -> Result<(), Invalid> {
    for (name, kind) in KEYS {
        if let Kind::Integer(least, most) = kind {
            let value = integer(config, name);
            if !(*least..=*most).contains(&value) {
                return Err(Invalid(format!("{name}: {value} is outside {least} to {most}")));
            }
        }
    }
    choice("ams.auth_option", &config.ams.auth_option)?;
    choice("zaqar.auth_strategy", &config.zaqar.auth_strategy)?;
    choice("zaqar.smtp_tls", &config.zaqar.smtp_tls)?;
    choice("zaqar.limits.client_id_uuid_safe", &config.zaqar.limits.client_id_uuid_safe)?;
    choice("store.cql.consistency", &config.store.cql.consistency)?;
    choice("log.format", &config.log.format)?;
    if let Err(error) = crate::telemetry::logging::filter(&config.log.level) {
        return Err(Invalid(format!("log.level: {error}; write for example info or info,angelia::storage=debug")));
    }
    check_listeners(config)?;
    check_zaqar(config)?;
    check_keystone(config)?;
    check_notifications(config)?;
    check_networks(&config.push.allow_networks)?;
    check_secrets(config)?;
    check_cluster(config)?;
    check_audit(config)?;
    check_sizes(config)
}

fn check_zaqar(config: &Config) -> Result<(), Invalid> {
    let noauth = config.zaqar.auth_strategy == "noauth" && !config.zaqar.noauth_anywhere;
    for (key, text) in
        [("listen.zaqar", &config.listen.zaqar), ("listen.zaqar_websocket", &config.listen.zaqar_websocket)]
    {
        let at = places::address(key, text)?;
        if noauth && at.is_some_and(|at| !at.ip().is_loopback()) {
            return Err(Invalid(format!(
                "{key} is not on loopback, and zaqar.auth_strategy is noauth: whoever reaches it would reach every project; listen on \
                 127.0.0.1, or set zaqar.noauth_anywhere if that is meant"
            )));
        }
    }
    for (least, most) in [
        ("default_message_ttl", "max_message_ttl"),
        ("default_message_delay", "max_message_delay"),
        ("default_claim_ttl", "max_claim_ttl"),
        ("default_claim_grace", "max_claim_grace"),
        ("min_length_client_id", "max_length_client_id"),
    ] {
        let limits = &config.zaqar.limits;
        if limits.integer(least) > limits.integer(most) {
            return Err(Invalid(format!(
                "zaqar.limits.{least} is above zaqar.limits.{most}: lower it or raise the other"
            )));
        }
    }
    Ok(())
}

fn check_keystone(config: &Config) -> Result<(), Invalid> {
    config.projects.bound()?;
    config.projects.mapped()?;
    if config.zaqar.auth_strategy != "keystone" {
        return Ok(());
    }
    let keystone = &config.keystone;
    for (key, text) in [
        ("keystone.url", &keystone.url),
        ("keystone.user", &keystone.user),
        ("keystone.password_file", &keystone.password_file),
        ("keystone.project", &keystone.project),
        ("keystone.user_domain", &keystone.user_domain),
        ("keystone.project_domain", &keystone.project_domain),
    ] {
        if text.is_empty() {
            return Err(Invalid(format!("{key} is empty while zaqar.auth_strategy is keystone: set it")));
        }
    }
    Ok(())
}

fn check_notifications(config: &Config) -> Result<(), Invalid> {
    let zaqar = &config.zaqar;
    let stages = zaqar.stages();
    if let Some(unknown) = stages.iter().find(|stage| !STAGES.contains(&stage.as_str())) {
        let known = STAGES.join(" or ");
        return Err(Invalid(format!("zaqar.pipeline: `{unknown}` is no stage; write {known}, with a comma between")));
    }
    if stages.iter().any(|stage| stage == "json_schema") == zaqar.json_schema_file.is_empty() {
        return Err(Invalid(
            "zaqar.json_schema_file and the stage json_schema in zaqar.pipeline belong together: set both, or none"
                .to_owned(),
        ));
    }
    if zaqar.require_confirmation && zaqar.signed_url_secret.reveal().is_empty() {
        return Err(Invalid(
            "zaqar.require_confirmation: subscribers confirm by signed URLs; set zaqar.signed_url_secret, too"
                .to_owned(),
        ));
    }
    let known = ["http", "https", "mailto", "trust+http", "trust+https"];
    match zaqar.schemes().iter().find(|scheme| !known.contains(&scheme.as_str())) {
        Some(unknown) => Err(Invalid(format!(
            "zaqar.limits.subscriber_types: `{unknown}` cannot be told anything; write some of {}",
            known.join(",")
        ))),
        None => Ok(()),
    }
}

fn check_cluster(config: &Config) -> Result<(), Invalid> {
    let cql = &config.store.cql;
    if cql.user.is_empty() != cql.password_file.is_empty() {
        return Err(Invalid(
            "store.cql.user and store.cql.password_file belong together: set both, or none".to_owned(),
        ));
    }
    if cql.cert_file.is_empty() != cql.key_file.is_empty() {
        return Err(Invalid(
            "store.cql.cert_file and store.cql.key_file belong together: set both, or none".to_owned(),
        ));
    }
    if !cql.cert_file.is_empty() && cql.ca_file.is_empty() {
        return Err(Invalid(
            "store.cql.cert_file without store.cql.ca_file: name the authorities to trust, too".to_owned(),
        ));
    }
    if matches!(config.store_url()?, StoreUrl::Cql { .. }) && config.secrets.key_file.is_empty() {
        return Err(Invalid(
            "secrets.key_file: a store in a cluster needs one; every node must have the same file".to_owned(),
        ));
    }
    check_notices(config)
}

fn check_notices(config: &Config) -> Result<(), Invalid> {
    let Some(at) = places::address("listen.cluster", &config.listen.cluster)? else { return Ok(()) };
    if !matches!(config.store_url()?, StoreUrl::Cql { .. }) {
        return Err(Invalid("listen.cluster: only a cql:// store is shared with other nodes; leave it off".to_owned()));
    }
    if config.cluster.secret_file.is_empty() {
        return Err(Invalid(
            "cluster.secret_file: listen.cluster needs one; every node must have the same file".to_owned(),
        ));
    }
    if at.ip().is_unspecified() && config.cluster.address.is_empty() {
        return Err(Invalid(
            "cluster.address: listen.cluster is on all addresses; name the host and port that the other nodes reach"
                .to_owned(),
        ));
    }
    Ok(())
}

fn check_listeners(config: &Config) -> Result<(), Invalid> {
    let listen = &config.listen;
    let named = [
        ("listen.ams", &listen.ams),
        ("listen.ams_tls", &listen.ams_tls),
        ("listen.ams_x509", &listen.ams_x509),
        ("listen.zaqar", &listen.zaqar),
        ("listen.zaqar_websocket", &listen.zaqar_websocket),
        ("listen.ops", &listen.ops),
        ("listen.cluster", &listen.cluster),
    ];
    let mut taken = Vec::new();
    for (key, text) in named {
        let Some(address) = places::address(key, text)? else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, seen)| *seen == address && address.port() != 0) {
            return Err(Invalid(format!(
                "{key}: {address} is already taken by {other}; give each listener its own port"
            )));
        }
        taken.push((key, address));
    }
    if listen.ams == "off" && listen.ams_tls == "off" {
        return Err(Invalid(
            "listen.ams and listen.ams_tls are both off: nobody could use the service; open one".to_owned(),
        ));
    }
    if listen.ams_x509 != "off" && config.ams_x509.ca_path.is_empty() {
        return Err(Invalid(
            "ams_x509.ca_path is empty while listen.ams_x509 is open: name the authorities that clients' certificates come from"
                .to_owned(),
        ));
    }
    if config.tls.cert_file.is_empty() != config.tls.key_file.is_empty() {
        return Err(Invalid(
            "tls.cert_file and tls.key_file belong together: set both, or none to have them made".to_owned(),
        ));
    }
    Ok(())
}

fn check_networks(text: &str) -> Result<(), Invalid> {
    let why = |word| Invalid(format!("push.allow_networks: `{word}` is no network such as 10.0.0.0/8 or fd00::/8"));
    Network::parse_all(text).map(drop).map_err(why)
}

fn check_secrets(config: &Config) -> Result<(), Invalid> {
    let ams = &config.ams;
    if !ams.service_token.reveal().is_empty() && !ams.service_token_file.is_empty() {
        return Err(Invalid("ams.service_token and ams.service_token_file are both set: keep the file".to_owned()));
    }
    if let (StoreUrl::Segment(folder), false) = (config.store_url()?, config.secrets.key_file.is_empty()) {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if absolute(Path::new(&config.secrets.key_file)).starts_with(absolute(&folder)) {
            return Err(Invalid(format!(
                "secrets.key_file: {} lies inside the store's folder, where a backup would carry it along; move it out",
                config.secrets.key_file
            )));
        }
    }
    Ok(())
}

fn check_audit(config: &Config) -> Result<(), Invalid> {
    let named = [("audit.project", &config.audit.project), ("audit.topic", &config.audit.topic)];
    if named.iter().all(|(_, name)| name.is_empty()) {
        return Ok(());
    }
    for (key, name) in named {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.is_empty() || !name.bytes().all(letters) {
            return Err(Invalid(format!(
                "{key}: `{name}` is no name; audit.project and audit.topic are both set to letters, digits, _ and -, or both empty"
            )));
        }
    }
    Ok(())
}

fn check_sizes(config: &Config) -> Result<(), Invalid> {
    let limits = &config.limits;
    if limits.message_bytes > limits.publish_bytes {
        return Err(Invalid(format!(
            "limits.message_bytes ({}) is above limits.publish_bytes ({}): lower the first or raise the second",
            limits.message_bytes, limits.publish_bytes
        )));
    }
    let least = limits.publish_bytes / 3 * 4;
    if limits.body_bytes < least {
        return Err(Invalid(format!(
            "limits.body_bytes ({}) is too small for limits.publish_bytes ({}) as base64: set at least {least}",
            limits.body_bytes, limits.publish_bytes
        )));
    }
    Ok(())
}

fn choice(key: &str, value: &str) -> Result<(), Invalid> {
    match super::keys::kind(key) {
        Some(Kind::Choice(words)) if !words.contains(&value) => {
            Err(Invalid(format!("{key}: `{value}` is none of {}", words.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The value of a numeric setting.
fn integer(config: &Config, name: &str) -> u64 {
    let limits = &config.limits;
    match name {
        "store.segment_bytes" => config.store.segment_bytes,
        "store.reserve_segments" => config.store.reserve_segments as u64,
        "store.cache_bytes" => config.store.cache_bytes as u64,
        "store.cql.request_ms" => config.store.cql.request_ms,
        "store.cql.settle_ms" => config.store.cql.settle_ms,
        "push.timeout_seconds" => config.push.timeout_seconds,
        "keystone.cache_seconds" => config.keystone.cache_seconds,
        "keystone.cache_tokens" => config.keystone.cache_tokens as u64,
        "keystone.timeout_seconds" => config.keystone.timeout_seconds,
        "push.in_flight" => config.push.in_flight as u64,
        "limits.publish_bytes" => limits.publish_bytes as u64,
        "limits.message_bytes" => limits.message_bytes as u64,
        "limits.body_bytes" => limits.body_bytes as u64,
        "limits.header_seconds" => limits.header_seconds,
        "limits.body_seconds" => limits.body_seconds,
        "limits.keep_alive_seconds" => limits.keep_alive_seconds,
        "limits.connections" => limits.connections as u64,
        "limits.waiting_pulls" => limits.waiting_pulls as u64,
        "limits.drain_seconds" => limits.drain_seconds,
        "zaqar.smtp_port" => u64::from(config.zaqar.smtp_port),
        "zaqar.mails_per_minute" => u64::from(config.zaqar.mails_per_minute),
        "ams_x509.reload_seconds" => config.ams_x509.reload_seconds,
        "retention.days" => config.retention.days,
        "retention.bytes" => config.retention.bytes,
        "quota.messages_per_second" => config.quota.messages_per_second,
        "quota.bytes_per_second" => config.quota.bytes_per_second,
        "quota.topics" => config.quota.topics,
        "quota.subscriptions" => config.quota.subscriptions,
        _ => zaqar_limit(config, name).unwrap_or(u64::MAX),
    }
}

fn zaqar_limit(config: &Config, name: &str) -> Option<u64> {
    config.zaqar.limits.integer(name.strip_prefix("zaqar.limits.")?)
}
