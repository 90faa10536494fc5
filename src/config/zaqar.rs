//! The settings of the Zaqar dialect.

use super::{Secret, names};
use serde::Deserialize;

/// The stages that there are.
pub(super) const STAGES: [&str; 2] = ["notification", "json_schema"];

/// `[zaqar]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zaqar {
    /// `noauth` or `keystone`.
    pub auth_strategy: String,
    /// Whether there need be no authentication off loopback either.
    pub noauth_anywhere: bool,
    /// Whether roles are believed as sent.
    pub noauth_trust_roles: bool,
    /// Host names with commas between them.
    pub hosts: String,
    /// Whether administrators' resources are there.
    pub admin_mode: bool,
    /// What URLs are signed with, or empty.
    pub signed_url_secret: Secret,
    /// The policy file, or empty.
    pub policy_file: String,
    /// Stages with commas between them.
    pub pipeline: String,
    /// The schema of the stage that has one, or empty.
    pub json_schema_file: String,
    /// Whether subscribers must confirm before they are told anything.
    pub require_confirmation: bool,
    /// The page that mails ask to visit, or empty.
    pub external_confirmation_url: String,
    /// The service's own address, or empty.
    pub public_url: String,
    /// The address of its WebSocket listener, or empty.
    pub public_websocket_url: String,
    /// The mail that asks for confirmation.
    pub confirmation_mail: String,
    /// The mail to who is not told any more.
    pub unsubscription_mail: String,
    /// The command that sends mail, or empty.
    pub smtp_command: String,
    /// The SMTP server, or empty.
    pub smtp_host: String,
    /// Its port.
    pub smtp_port: u16,
    /// `starttls`, `implicit` or `off`.
    pub smtp_tls: String,
    /// Who logs in there, or empty.
    pub smtp_user_name: String,
    /// His password.
    pub smtp_user_password: Secret,
    /// Who mail is from.
    pub smtp_from: String,
    /// Most mails of a project in a minute.
    pub mails_per_minute: u32,
    /// Bounds.
    pub limits: ZaqarLimits,
}

impl Zaqar {
    /// The host names.
    #[must_use]
    pub fn host_names(&self) -> Vec<String> {
        names(&self.hosts)
    }

    /// The stages in their order.
    #[must_use]
    pub fn stages(&self) -> Vec<String> {
        names(&self.pipeline)
    }

    /// The schemes that subscribers may have.
    #[must_use]
    pub fn schemes(&self) -> Vec<String> {
        names(&self.limits.subscriber_types)
    }
}

/// `[zaqar.limits]`; times in seconds, sizes in bytes. Explained in `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is explained where its default stands")]
pub struct ZaqarLimits {
    pub default_message_ttl: u64,
    pub max_message_ttl: u64,
    pub default_message_delay: u64,
    pub max_message_delay: u64,
    pub default_claim_ttl: u64,
    pub max_claim_ttl: u64,
    pub default_claim_grace: u64,
    pub max_claim_grace: u64,
    pub max_messages_post_size: u64,
    pub max_queue_metadata: u64,
    pub max_queues_per_page: u64,
    pub max_messages_per_page: u64,
    pub max_messages_per_claim_or_pop: u64,
    pub default_subscription_ttl: u64,
    pub max_subscriptions_per_page: u64,
    pub subscriber_types: String,
    pub min_length_client_id: u64,
    pub max_length_client_id: u64,
    pub client_id_uuid_safe: String,
}

impl ZaqarLimits {
    /// The value of a numeric setting, by its last name.
    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        Some(match name {
            "default_message_ttl" => self.default_message_ttl,
            "max_message_ttl" => self.max_message_ttl,
            "default_message_delay" => self.default_message_delay,
            "max_message_delay" => self.max_message_delay,
            "default_claim_ttl" => self.default_claim_ttl,
            "max_claim_ttl" => self.max_claim_ttl,
            "default_claim_grace" => self.default_claim_grace,
            "max_claim_grace" => self.max_claim_grace,
            "max_messages_post_size" => self.max_messages_post_size,
            "max_queue_metadata" => self.max_queue_metadata,
            "max_queues_per_page" => self.max_queues_per_page,
            "max_messages_per_page" => self.max_messages_per_page,
            "max_messages_per_claim_or_pop" => self.max_messages_per_claim_or_pop,
            "default_subscription_ttl" => self.default_subscription_ttl,
            "max_subscriptions_per_page" => self.max_subscriptions_per_page,
            "min_length_client_id" => self.min_length_client_id,
            "max_length_client_id" => self.max_length_client_id,
            _ => return None,
        })
    }
}
