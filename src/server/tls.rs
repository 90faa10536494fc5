//! The server's certificate: read from files, made on the first start when there is none, and changed while running.
//!
//! A certificate made here is signed by an authority made with it, whose key is thrown away at once: clients trust the file, and
//! nobody can ever sign another certificate with it.

pub(super) mod clients;

use super::private;
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use arc_swap::ArcSwap;
use clients::Clients;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How long a certificate made here is valid.
const YEARS: i32 = 10;

/// The certificate in force; handshakes take the newest one.
#[derive(Debug)]
pub(super) struct Certificate {
    current: ArcSwap<CertifiedKey>,
    /// Chain and key; none for a certificate that lives in memory.
    files: Option<(PathBuf, PathBuf)>,
}

impl Certificate {
    /// The configured certificate, else this machine's own, made if there is none.
    pub(super) fn open(config: &Config, clock: &Clock) -> Result<Arc<Self>, String> {
        let (current, files) = if config.tls.cert_file.is_empty() {
            match config.own_certificate() {
                Some(files) => {
                    make_missing(&files, clock)?;
                    (load(&files)?, Some(files))
                }
                None => {
                    let made = make(clock)?;
                    (certified(made.chain.as_bytes(), made.key.as_bytes())?, None)
                }
            }
        } else {
            let files = (PathBuf::from(&config.tls.cert_file), PathBuf::from(&config.tls.key_file));
            (load(&files)?, Some(files))
        };
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(current), files }))
    }

    /// Reads the files anew; open connections keep what they have. On an error the present certificate stays.
    pub(super) fn reload(&self) -> Result<(), String> {
        if let Some(files) = &self.files {
            self.current.store(Arc::new(load(files)?));
        }
        Ok(())
    }

    /// The file of the chain, which clients of a certificate made here must trust.
    pub(super) fn chain_file(&self) -> Option<&Path> {
        self.files.as_ref().map(|(chain, _)| chain.as_path())
    }

    /// As [`Certificate::server_config`], and clients are asked for a certificate. Nobody resumes a session: a certificate would
    /// not be looked at again.
    pub(super) fn server_config_for(self: &Arc<Self>, clients: Arc<Clients>) -> ServerConfig {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder().with_client_cert_verifier(clients).with_cert_resolver(resolver);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config
    }

    /// TLS 1.2 and 1.3 with this certificate, no client certificates.
    pub(super) fn server_config(self: &Arc<Self>) -> ServerConfig {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Checks that configured files hold a certificate and its key, and what client certificates are judged by.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if !config.tls.cert_file.is_empty() {
        let files = (PathBuf::from(&config.tls.cert_file), PathBuf::from(&config.tls.key_file));
        load(&files).map_err(|error| format!("tls.cert_file: {error}"))?;
    }
    if config.listen.ams_x509 != "off" {
        let metrics = Metrics::new().map_err(|error| error.to_string())?;
        Clients::open(config, Arc::new(metrics))?;
    }
    Ok(())
}

fn load((chain, key): &(PathBuf, PathBuf)) -> Result<CertifiedKey, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    certified(&read(chain)?, &read(key)?)
        .map_err(|error| format!("{error}: the certificate is {}, its key {}", chain.display(), key.display()))
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate file holds no certificate".to_owned());
    }
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the certificate's key is no PEM: {error}"))?;
    let provider = CryptoProvider::get_default().ok_or("no TLS provider is installed")?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| format!("certificate and key do not fit: {error}"))
}

/// Makes certificate and key where both are missing.
fn make_missing((chain, key): &(PathBuf, PathBuf), clock: &Clock) -> Result<(), String> {
    match (chain.exists(), key.exists()) {
        (true, true) => Ok(()),
        (false, false) => {
            let made = make(clock)?;
            let write = |path: &Path, text: &str| {
                private::write(path, text.as_bytes())
                    .map_err(|error| format!("cannot write {}: {error}", path.display()))
            };
            // The key first: a certificate without its key would look complete.
            write(key, &made.key)?;
            write(chain, &made.chain)?;
            open_to_readers(chain)?;
            tracing::info!(certificate = %chain.display(), "made a certificate for this machine");
            Ok(())
        }
        (found, _) => {
            let (left, lost) = if found { (chain, key) } else { (key, chain) };
            Err(format!(
                "{} is there but {} is not: put it back, or remove the first to have both made anew",
                left.display(),
                lost.display()
            ))
        }
    }
}

/// A certificate is for everybody to read.
fn open_to_readers(path: &Path) -> Result<(), String> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, mode).map_err(|error| format!("cannot set the mode of {}: {error}", path.display()))
}

struct Made {
    /// The certificate and its authority's, PEM.
    chain: String,
    key: String,
}

/// A certificate for localhost and this machine's name.
fn make(clock: &Clock) -> Result<Made, String> {
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let year = chrono::DateTime::from_timestamp_micros(i64::try_from(clock.wall()).unwrap_or_default())
        .map_or(2024, |now| chrono::Datelike::year(&now));
    let (from, until) = (rcgen::date_time_ymd(year - 1, 1, 1), rcgen::date_time_ymd(year + YEARS, 1, 1));

    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Angelia of this machine (authority)");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (authority.not_before, authority.not_after) = (from, until);
    let authority_key = KeyPair::generate().map_err(failed)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(failed)?;

    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(host_name());
    let mut server = CertificateParams::new(names).map_err(failed)?;
    server.distinguished_name.push(DnType::CommonName, "Angelia of this machine");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (from, until);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).map_err(failed)?;
    Ok(Made { chain: format!("{}{}", certificate.pem(), authority_certificate.pem()), key: key.serialize_pem() })
}

/// This machine's name, if it has one that can stand in a certificate.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    let fits = !name.is_empty()
        && name != "localhost"
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(folder: &Path, more: &[String]) -> Config {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut set = vec![format!("store.url=segment:{}/data", folder.display())];
        set.extend_from_slice(more);
        Config::load(&Sources { set, ..Sources::default() }).unwrap()
    }

    #[test]
    fn a_certificate_is_made_once_with_a_private_key_beside_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        let certificate = Certificate::open(&config, &Clock::System).unwrap();
        assert_eq!(certificate.chain_file(), Some(folder.path().join("data.tls-cert.pem").as_path()));
        assert!(private::is_open_to_others(&folder.path().join("data.tls-cert.pem")));
        assert!(!private::is_open_to_others(&folder.path().join("data.tls-key.pem")));
        let again = Certificate::open(&config, &Clock::System).unwrap();
        assert_eq!(again.current.load().cert, certificate.current.load().cert);
        assert_eq!(certificate.current.load().cert.len(), 2, "the server's and its authority's");
        std::fs::remove_file(folder.path().join("data.tls-key.pem")).unwrap();
        let refused = Certificate::open(&config, &Clock::System).unwrap_err();
        assert!(refused.contains("data.tls-key.pem is not"), "{refused}");
    }

    #[test]
    fn a_reload_takes_the_new_certificate_and_keeps_the_old_one_when_the_new_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("a.pem"), folder.path().join("b.pem"));
        let put = || {
            let made = make(&Clock::System).unwrap();
            std::fs::write(&chain, made.chain).unwrap();
            std::fs::write(&key, made.key).unwrap();
        };
        put();
        let files = [format!("tls.cert_file={}", chain.display()), format!("tls.key_file={}", key.display())];
        let certificate = Certificate::open(&config(folder.path(), &files), &Clock::System).unwrap();
        let first = certificate.current.load_full();
        put();
        certificate.reload().unwrap();
        let second = certificate.current.load_full();
        assert_ne!(first.cert, second.cert);
        std::fs::write(&chain, make(&Clock::System).unwrap().chain).unwrap();
        assert!(certificate.reload().unwrap_err().contains("do not fit"));
        assert_eq!(certificate.current.load_full().cert, second.cert);
    }
}
