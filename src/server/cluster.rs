//! A store in a cluster, and the nodes that share it: where it is, as whom, how safely; who else is at work.

mod frames;
mod members;
mod notices;

pub(super) use members::Members;

use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::storage::cql::{self, Migrated, Options, StatementObserver};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::Duration;

/// Makes or renews the tables of the configured store.
///
/// # Errors
/// When the store is in no cluster, or the tables cannot be made.
pub(crate) async fn migrate(config: &Config) -> Result<Migrated, String> {
    let StoreUrl::Cql { hosts, keyspace } = config.store_url().map_err(|error| error.to_string())? else {
        return Err(format!("only a store in a cluster has tables; store.url is {}", config.store.url));
    };
    let options = options(config, hosts, keyspace, None)?;
    cql::migrate(&options, &config.store.cql.replication, Clock::System).await.map_err(|error| error.to_string())
}

/// How to reach a cluster.
///
/// # Errors
/// When a file cannot be read or used.
pub(super) fn options(
    config: &Config,
    hosts: Vec<String>,
    keyspace: String,
    observer: Option<Arc<dyn StatementObserver>>,
) -> Result<Options, String> {
    let cql = &config.store.cql;
    let password = config.cql_password().map_err(|error| error.to_string())?;
    Ok(Options {
        datacenter: Some(cql.datacenter.clone()).filter(|name| !name.is_empty()),
        global: cql.consistency == "global",
        credentials: password.map(|password| (cql.user.clone(), password.reveal().to_owned())),
        tls: tls(config)?,
        request_timeout: Duration::from_millis(cql.request_ms),
        settle_timeout: Duration::from_millis(cql.settle_ms),
        observer,
        ..Options::new(hosts, keyspace)
    })
}

fn tls(config: &Config) -> Result<Option<Arc<ClientConfig>>, String> {
    let cql = &config.store.cql;
    if cql.ca_file.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates("store.cql.ca_file", &cql.ca_file)? {
        roots.add(certificate).map_err(|error| format!("store.cql.ca_file: {}: {error}", cql.ca_file))?;
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    if cql.cert_file.is_empty() {
        return Ok(Some(Arc::new(builder.with_no_client_auth())));
    }
    let chain = certificates("store.cql.cert_file", &cql.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&cql.key_file)
        .map_err(|error| format!("store.cql.key_file: {} is no PEM key: {error}", cql.key_file))?;
    let client = builder.with_client_auth_cert(chain, key);
    client
        .map(|client| Some(Arc::new(client)))
        .map_err(|error| format!("store.cql.cert_file: {}: {error}", cql.cert_file))
}

fn certificates(key: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{key}: {path} is no PEM certificate: {error}");
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"it holds none")) } else { Ok(found) }
}
