//! The configuration: one typed value, put together from layers, checked as a whole before anything starts.
//!
//! Order: compiled-in `config/default.toml` < the file of `--config` < environment `ANGELIA_SECTION__KEY` < `--set`. A setting
//! that does not exist is refused with the nearest one that does. Opens nothing but configuration and secret files.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod keys;
mod keystone;
mod layers;
mod places;
mod rules;
mod zaqar;

pub use keys::{DEFAULTS, schema};
pub use keystone::{Keystone, Projects};
pub use layers::Sources;
pub use places::StoreUrl;
pub use zaqar::{Zaqar, ZaqarLimits};

use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a configuration cannot be used: one line that names the setting and says what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Invalid(pub String);

/// The whole configuration. Valid once [`Config::load`] has answered it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    pub store: StoreConfig,
    /// Where to listen.
    pub listen: Listen,
    /// The other nodes.
    pub cluster: ClusterConfig,
    /// The certificate.
    pub tls: Tls,
    /// The AMS dialect.
    pub ams: Ams,
    /// Logins by client certificate.
    pub ams_x509: AmsX509,
    /// The Zaqar dialect.
    pub zaqar: Zaqar,
    /// Who says whose a token is.
    pub keystone: Keystone,
    /// Projects of one dialect that are projects of another.
    pub projects: Projects,
    /// Pushing to endpoints.
    pub push: Push,
    /// The store's keys.
    pub secrets: Secrets,
    /// Bounds.
    pub limits: Limits,
    /// What new topics keep.
    pub retention: RetentionConfig,
    /// What projects may use.
    pub quota: QuotaConfig,
    /// Where administrative calls are told.
    pub audit: AuditConfig,
    /// Logging.
    pub log: Log,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Engine and place; see [`StoreUrl`].
    pub url: String,
    /// Bytes of one segment file.
    pub segment_bytes: u64,
    /// Spare segments kept ready.
    pub reserve_segments: usize,
    /// Most bytes of recent messages in memory.
    pub cache_bytes: usize,
    /// How to reach a cluster.
    pub cql: CqlConfig,
}

/// `[store.cql]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CqlConfig {
    /// The data centre of this node's replicas, or empty.
    pub datacenter: String,
    /// `local` or `global`.
    pub consistency: String,
    /// Whom to log in as, or empty.
    pub user: String,
    /// The password's file, or empty.
    pub password_file: String,
    /// PEM of trusted authorities, or empty for no TLS.
    pub ca_file: String,
    /// PEM chain of this client, or empty.
    pub cert_file: String,
    /// PEM key of this client, or empty.
    pub key_file: String,
    /// For one request.
    pub request_ms: u64,
    /// For a write of unknown outcome.
    pub settle_ms: u64,
    /// Replicas of a new keyspace.
    pub replication: String,
}

/// `[listen]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// AMS over HTTP.
    pub ams: String,
    /// AMS over HTTPS.
    pub ams_tls: String,
    /// Logins by client certificate.
    pub ams_x509: String,
    /// Zaqar over HTTP.
    pub zaqar: String,
    /// Zaqar over WebSocket.
    pub zaqar_websocket: String,
    /// Metrics and health.
    pub ops: String,
    /// Notices of other nodes.
    pub cluster: String,
}

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Where others reach `listen.cluster`, or empty.
    pub address: String,
    /// The file of the nodes' common secret, or empty.
    pub secret_file: String,
}

/// `[tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM chain, or empty.
    pub cert_file: String,
    /// PEM key, or empty.
    pub key_file: String,
}

/// `[ams]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ams {
    /// The service token in clear, or empty.
    pub service_token: Secret,
    /// The service token's file, or empty.
    pub service_token_file: String,
    /// The push worker's token's file, or empty.
    pub push_worker_token_file: String,
    /// `key`, `header` or `both`.
    pub auth_option: String,
    /// Whether access lists are checked.
    pub per_resource_auth: bool,
    /// The public host name, or empty.
    pub proxy_hostname: String,
}

/// `[ams_x509]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmsX509 {
    /// Authorities: a PEM file, or a folder of them; empty while the listener is off.
    pub ca_path: String,
    /// Revocation lists: a file, or a folder of them; empty for none.
    pub crl_path: String,
    /// How often changed files are looked for.
    pub reload_seconds: u64,
    /// Host names with commas between them; empty for any.
    pub hosts: String,
}

impl AmsX509 {
    /// The host names.
    #[must_use]
    pub fn host_names(&self) -> Vec<String> {
        names(&self.hosts)
    }
}

/// What stands between commas.
fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `[push]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Whether anything is pushed.
    pub enabled: bool,
    /// Networks that endpoints may be in although they are not public.
    pub allow_networks: String,
    /// More certificate authorities, PEM, or empty.
    pub ca_file: String,
    /// For an endpoint to answer.
    pub timeout_seconds: u64,
    /// Deliveries under way.
    pub in_flight: usize,
}

/// `[secrets]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The file of the store's keys, or empty for the default place.
    pub key_file: String,
}

/// `[limits]`; units are in the names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// One publish request, stored.
    pub publish_bytes: usize,
    /// One message as JSON.
    pub message_bytes: usize,
    /// One request's body.
    pub body_bytes: usize,
    /// For a request's head to arrive.
    pub header_seconds: u64,
    /// For a request's body to arrive.
    pub body_seconds: u64,
    /// For an idle connection.
    pub keep_alive_seconds: u64,
    /// AMS connections.
    pub connections: usize,
    /// Pulls that wait.
    pub waiting_pulls: usize,
    /// For requests in work at the end.
    pub drain_seconds: u64,
}

/// `[retention]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Older messages go.
    pub days: u64,
    /// The oldest messages go above so many bytes; 0 for no bound.
    pub bytes: u64,
}

/// `[quota]`; 0 for no bound.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaConfig {
    /// Messages published in a second.
    pub messages_per_second: u64,
    /// Bytes published in a second.
    pub bytes_per_second: u64,
    /// Topics.
    pub topics: u64,
    /// Subscriptions.
    pub subscriptions: u64,
}

/// `[audit]`; both empty for none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The project of the audit topic.
    pub project: String,
    /// The audit topic.
    pub topic: String,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A filter.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
}

/// A text that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "unset" } else { "set" })
    }
}

impl Config {
    /// Puts the layers together and checks everything that can be checked without opening anything else.
    ///
    /// # Errors
    /// The first thing that is wrong, in one line.
    pub fn load(sources: &Sources) -> Result<Self, Invalid> {
        let config: Self = layers::merge(sources)?;
        rules::check(&config)?;
        Ok(config)
    }

    /// The service token, from the configuration or its file; none if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn service_token(&self) -> Result<Option<Secret>, Invalid> {
        let Ams { service_token, service_token_file, .. } = &self.ams;
        if service_token_file.is_empty() {
            return Ok(Some(service_token.clone()).filter(|token| !token.reveal().is_empty()));
        }
        places::read_secret("ams.service_token_file", service_token_file).map(|text| Some(Secret(text)))
    }

    /// The push worker's token from its file; none if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn push_worker_token(&self) -> Result<Option<Secret>, Invalid> {
        let file = &self.ams.push_worker_token_file;
        if file.is_empty() {
            return Ok(None);
        }
        places::read_secret("ams.push_worker_token_file", file).map(|text| Some(Secret(text)))
    }

    /// Engine and place of the store.
    ///
    /// # Errors
    /// When `store.url` names no engine of this build. Never after [`Config::load`].
    pub fn store_url(&self) -> Result<StoreUrl, Invalid> {
        StoreUrl::parse(&self.store.url)
    }

    /// The password of the cluster's user; none when there is no user.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn cql_password(&self) -> Result<Option<Secret>, Invalid> {
        let CqlConfig { user, password_file, .. } = &self.store.cql;
        if user.is_empty() {
            return Ok(None);
        }
        places::read_secret("store.cql.password_file", password_file).map(|text| Some(Secret(text)))
    }

    /// The secret that nodes know each other by; none if they need none.
    ///
    /// # Errors
    /// When the file cannot be read, or its secret is too short to be one.
    pub fn cluster_secret(&self) -> Result<Option<Secret>, Invalid> {
        const LETTERS_MIN: usize = 32;
        let file = &self.cluster.secret_file;
        if file.is_empty() {
            return Ok(None);
        }
        let secret = places::read_secret("cluster.secret_file", file)?;
        if secret.len() < LETTERS_MIN {
            let told = format!(
                "cluster.secret_file: {file} holds less than {LETTERS_MIN} letters; openssl rand -hex 32 makes some"
            );
            return Err(Invalid(told));
        }
        Ok(Some(Secret(secret)))
    }

    /// A file that stands beside the store's folder, never inside: the folder's name with `.suffix` added; for a store in a cluster,
    /// beside the key file. None for a store that keeps nothing.
    #[must_use]
    pub fn beside_store(&self, suffix: &str) -> Option<PathBuf> {
        match self.store_url().ok()? {
            StoreUrl::Segment(folder) => Some(places::beside(&folder, suffix)),
            StoreUrl::Cql { .. } => Some(PathBuf::from(&self.secrets.key_file).with_extension(suffix)),
            StoreUrl::Memory => None,
        }
    }

    /// Where the store's keys are. None: they live as long as the process, like the store itself.
    #[must_use]
    pub fn key_file(&self) -> Option<PathBuf> {
        if self.secrets.key_file.is_empty() {
            self.beside_store("key")
        } else {
            Some(self.secrets.key_file.clone().into())
        }
    }

    /// Where the administrator's token is kept for the command line of this machine.
    #[must_use]
    pub fn token_file(&self) -> Option<PathBuf> {
        self.beside_store("token")
    }

    /// Where a certificate made by the service is kept, and its key: beside the key file.
    #[must_use]
    pub fn own_certificate(&self) -> Option<(PathBuf, PathBuf)> {
        let key_file = self.key_file()?;
        Some((key_file.with_extension("tls-cert.pem"), key_file.with_extension("tls-key.pem")))
    }

    /// A listener's address; none when it is off.
    ///
    /// # Errors
    /// When the text is neither. Never after [`Config::load`].
    pub fn address(key: &str, text: &str) -> Result<Option<SocketAddr>, Invalid> {
        places::address(key, text)
    }
}

#[cfg(test)]
mod tests;
