//! The table of all settings: their names, kinds and ranges. Values and explanations are in `config/default.toml`; a test holds
//! the two together. Reads no file and no environment.

use serde_json::{Value, json};

/// The compiled-in defaults, which explain every setting.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What a setting may hold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// An address with port, or `off`.
    Listener,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number between these, both included.
    Integer(u64, u64),
}

/// Every setting with its kind, in the order of `config/default.toml`.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("store.url", Kind::Text),
    ("store.segment_bytes", Kind::Integer(1_048_576, 2_147_483_648)),
    ("store.reserve_segments", Kind::Integer(1, 64)),
    ("store.cache_bytes", Kind::Integer(1_048_576, 17_179_869_184)),
    ("store.cql.datacenter", Kind::Text),
    ("store.cql.consistency", Kind::Choice(&["local", "global"])),
    ("store.cql.user", Kind::Text),
    ("store.cql.password_file", Kind::Text),
    ("store.cql.ca_file", Kind::Text),
    ("store.cql.cert_file", Kind::Text),
    ("store.cql.key_file", Kind::Text),
    ("store.cql.request_ms", Kind::Integer(200, 60_000)),
    ("store.cql.settle_ms", Kind::Integer(1_000, 120_000)),
    ("store.cql.replication", Kind::Text),
    ("listen.ams", Kind::Listener),
    ("listen.ams_tls", Kind::Listener),
    ("listen.ams_x509", Kind::Listener),
    ("listen.zaqar", Kind::Listener),
    ("listen.zaqar_websocket", Kind::Listener),
    ("listen.ops", Kind::Listener),
    ("listen.cluster", Kind::Listener),
    ("cluster.address", Kind::Text),
    ("cluster.secret_file", Kind::Text),
    ("tls.cert_file", Kind::Text),
    ("tls.key_file", Kind::Text),
    ("ams.service_token", Kind::Text),
    ("ams.service_token_file", Kind::Text),
    ("ams.push_worker_token_file", Kind::Text),
    ("ams.auth_option", Kind::Choice(&["key", "header", "both"])),
    ("ams.per_resource_auth", Kind::Flag),
    ("ams.proxy_hostname", Kind::Text),
    ("ams_x509.ca_path", Kind::Text),
    ("ams_x509.crl_path", Kind::Text),
    ("ams_x509.reload_seconds", Kind::Integer(1, 86_400)),
    ("ams_x509.hosts", Kind::Text),
    ("zaqar.auth_strategy", Kind::Choice(&["noauth", "keystone"])),
    ("zaqar.noauth_anywhere", Kind::Flag),
    ("zaqar.noauth_trust_roles", Kind::Flag),
    ("zaqar.hosts", Kind::Text),
    ("zaqar.admin_mode", Kind::Flag),
    ("zaqar.signed_url_secret", Kind::Text),
    ("zaqar.policy_file", Kind::Text),
    ("zaqar.pipeline", Kind::Text),
    ("zaqar.json_schema_file", Kind::Text),
    ("zaqar.require_confirmation", Kind::Flag),
    ("zaqar.external_confirmation_url", Kind::Text),
    ("zaqar.public_url", Kind::Text),
    ("zaqar.public_websocket_url", Kind::Text),
    ("zaqar.confirmation_mail", Kind::Text),
    ("zaqar.unsubscription_mail", Kind::Text),
    ("zaqar.smtp_command", Kind::Text),
    ("zaqar.smtp_host", Kind::Text),
    ("zaqar.smtp_port", Kind::Integer(1, 65_535)),
    ("zaqar.smtp_tls", Kind::Choice(&["starttls", "implicit", "off"])),
    ("zaqar.smtp_user_name", Kind::Text),
    ("zaqar.smtp_user_password", Kind::Text),
    ("zaqar.smtp_from", Kind::Text),
    ("zaqar.mails_per_minute", Kind::Integer(1, 100_000)),
    ("zaqar.limits.default_message_ttl", Kind::Integer(60, 31_536_000)),
    ("zaqar.limits.max_message_ttl", Kind::Integer(60, 31_536_000)),
    ("zaqar.limits.default_message_delay", Kind::Integer(0, 86_400)),
    ("zaqar.limits.max_message_delay", Kind::Integer(0, 86_400)),
    ("zaqar.limits.default_claim_ttl", Kind::Integer(60, 43_200)),
    ("zaqar.limits.max_claim_ttl", Kind::Integer(60, 43_200)),
    ("zaqar.limits.default_claim_grace", Kind::Integer(60, 1_209_600)),
    ("zaqar.limits.max_claim_grace", Kind::Integer(60, 1_209_600)),
    ("zaqar.limits.max_messages_post_size", Kind::Integer(1, 8_388_608)),
    ("zaqar.limits.max_queue_metadata", Kind::Integer(1, 262_144)),
    ("zaqar.limits.max_queues_per_page", Kind::Integer(1, 1_000)),
    ("zaqar.limits.max_messages_per_page", Kind::Integer(1, 1_000)),
    ("zaqar.limits.max_messages_per_claim_or_pop", Kind::Integer(1, 1_000)),
    ("zaqar.limits.default_subscription_ttl", Kind::Integer(60, 31_536_000)),
    ("zaqar.limits.max_subscriptions_per_page", Kind::Integer(1, 1_000)),
    ("zaqar.limits.subscriber_types", Kind::Text),
    ("zaqar.limits.client_id_uuid_safe", Kind::Choice(&["strict", "off"])),
    ("zaqar.limits.min_length_client_id", Kind::Integer(1, 256)),
    ("zaqar.limits.max_length_client_id", Kind::Integer(1, 256)),
    ("keystone.url", Kind::Text),
    ("keystone.user", Kind::Text),
    ("keystone.password_file", Kind::Text),
    ("keystone.project", Kind::Text),
    ("keystone.user_domain", Kind::Text),
    ("keystone.project_domain", Kind::Text),
    ("keystone.cache_seconds", Kind::Integer(0, 3_600)),
    ("keystone.cache_tokens", Kind::Integer(1, 1_000_000)),
    ("keystone.timeout_seconds", Kind::Integer(1, 60)),
    ("keystone.ca_file", Kind::Text),
    ("projects.bind", Kind::Text),
    ("projects.roles", Kind::Text),
    ("push.enabled", Kind::Flag),
    ("push.allow_networks", Kind::Text),
    ("push.ca_file", Kind::Text),
    ("push.timeout_seconds", Kind::Integer(1, 300)),
    ("push.in_flight", Kind::Integer(8, 10_000)),
    ("secrets.key_file", Kind::Text),
    ("limits.publish_bytes", Kind::Integer(1_024, 8_388_608)),
    ("limits.message_bytes", Kind::Integer(1_024, 8_388_608)),
    ("limits.body_bytes", Kind::Integer(4_096, 67_108_864)),
    ("limits.header_seconds", Kind::Integer(1, 300)),
    ("limits.body_seconds", Kind::Integer(1, 3_600)),
    ("limits.keep_alive_seconds", Kind::Integer(1, 3_600)),
    ("limits.connections", Kind::Integer(16, 1_000_000)),
    ("limits.waiting_pulls", Kind::Integer(1, 1_000_000)),
    ("limits.drain_seconds", Kind::Integer(0, 600)),
    ("retention.days", Kind::Integer(1, 36_500)),
    ("retention.bytes", Kind::Integer(0, 1_125_899_906_842_624)),
    ("quota.messages_per_second", Kind::Integer(0, 1_000_000_000)),
    ("quota.bytes_per_second", Kind::Integer(0, 1_000_000_000_000)),
    ("quota.topics", Kind::Integer(0, 1_000_000_000)),
    ("quota.subscriptions", Kind::Integer(0, 1_000_000_000)),
    ("audit.project", Kind::Text),
    ("audit.topic", Kind::Text),
    ("log.level", Kind::Text),
    ("log.format", Kind::Choice(&["text", "json"])),
];

/// The kind of a setting, if there is one of this name.
pub(super) fn kind(key: &str) -> Option<Kind> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// The setting whose name is nearest to a wrong one, if one is near enough to be meant.
pub(super) fn nearest(wrong: &str) -> Option<&'static str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |(name, _): &(&'static str, Kind)| {
        let whole = distance(wrong, name);
        // A right key in a wrong section is nearer than its spelling shows.
        let moved = if last(wrong) == last(name) { 1 } else { usize::MAX };
        (whole.min(moved), *name)
    };
    KEYS.iter().map(near).min().filter(|(distance, _)| *distance <= 1 + wrong.len() / 4).map(|(_, name)| name)
}

/// How many letters must be put in, taken out or changed to make one word of the other. O(lengths' product).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in to.chars().zip(row.iter().skip(1)) {
            left = (above + 1).min(left + 1).min(corner + usize::from(a != b));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// The JSON Schema of a configuration file, made from the table and the explanations in `config/default.toml`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = section();
    for (name, kind) in KEYS {
        let Some((header, key)) = name.rsplit_once('.') else { continue };
        let mut rule = rule(*kind);
        if let (Some(rule), Some(explanation)) = (rule.as_object_mut(), explanation(header, key)) {
            rule.insert("description".to_owned(), explanation.into());
        }
        let within = header.split('.').try_fold(&mut schema, |table, name| {
            let properties = table.get_mut("properties")?.as_object_mut()?;
            Some(properties.entry(name).or_insert_with(section))
        });
        if let Some(Value::Object(properties)) = within.and_then(|table| table.get_mut("properties")) {
            properties.insert(key.to_owned(), rule);
        }
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "Angelia configuration".into());
    }
    schema
}

/// A table that holds nothing yet, and nothing but what is put into it.
fn section() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

fn rule(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Listener => json!({ "type": "string", "pattern": "^(off|.+:[0-9]{1,5})$" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
    }
}

/// The comment above a setting in `config/default.toml`, as one paragraph.
fn explanation(section: &str, key: &str) -> Option<String> {
    let mut comment: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in DEFAULTS.lines() {
        if let Some(header) = line.strip_prefix('[') {
            inside = header.strip_suffix(']') == Some(section);
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
            continue;
        } else if inside && line.split('=').next().map(str::trim) == Some(key) {
            return Some(comment.join(" "));
        }
        comment.clear();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_recognised() {
        assert_eq!(nearest("store.ulr"), Some("store.url"));
        assert_eq!(nearest("listen.ams-tls"), Some("listen.ams_tls"));
        assert_eq!(nearest("ams.publish_bytes"), Some("limits.publish_bytes"));
        assert_eq!(nearest("quite.else"), None);
    }

    #[test]
    fn every_setting_is_explained_with_its_range_and_when_it_takes_effect() {
        for (name, kind) in KEYS {
            let (section, key) = name.rsplit_once('.').unwrap();
            let text = explanation(section, key).unwrap_or_else(|| panic!("{name} has no explanation"));
            assert!(text.ends_with("[reload]") || text.ends_with("[restart]"), "{name}: {text}");
            match kind {
                Kind::Integer(least, most) => {
                    assert!(text.contains(&format!(" {least} to {most}. ")), "{name}: range missing in: {text}");
                }
                Kind::Choice(words) => {
                    assert!(words.iter().all(|word| text.contains(&format!("\"{word}\""))), "{name}")
                }
                Kind::Text | Kind::Listener | Kind::Flag => {}
            }
        }
    }

    fn leaves(path: &str, value: &serde_json::Value) -> Vec<String> {
        match value.as_object() {
            Some(table) => table.iter().flat_map(|(key, value)| leaves(&format!("{path}.{key}"), value)).collect(),
            None => vec![path.trim_start_matches('.').to_owned()],
        }
    }

    #[test]
    fn every_default_is_in_the_table() {
        let table: serde_json::Value = config::Config::builder()
            .add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml))
            .build()
            .and_then(config::Config::try_deserialize)
            .unwrap();
        let names = leaves("", &table);
        assert_eq!(names.len(), KEYS.len());
        assert!(names.iter().all(|name| kind(name).is_some()), "{names:?}");
    }

    #[test]
    fn the_published_schema_is_the_one_that_the_table_makes() {
        let published: Value = serde_json::from_str(include_str!("../../schemas/config.schema.json")).unwrap();
        assert_eq!(published, schema(), "write it anew: angelia check-config --schema > schemas/config.schema.json");
    }
}
