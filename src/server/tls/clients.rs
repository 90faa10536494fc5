//! Which client certificates are believed: authorities and revocation lists from files, read anew while running.
//!
//! Believed is a certificate that leads to one of the authorities, is in its time, may be a client's, and is revoked by nobody
//! on its way. Where revocation lists are configured, every certificate on the way but the authority's own needs a list of its
//! issuer in which it does not stand and whose next update is not past: what is not known to be good is refused.
//!
//! A file that cannot be used keeps what was read of it before, so that a half-written list opens and closes nothing. Sessions
//! are never resumed: each connection's certificate is looked at anew. Knows no user: `auth` does.

use crate::config::Config;
use crate::telemetry::metrics::Metrics;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, Der, TrustAnchor, UnixTime};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most files of a folder.
const FILES_MAX: usize = 10_000;
/// What authorities' files of a folder end with.
const AUTHORITY_ENDS: &[&str] = &["pem", "crt"];
/// What revocation lists' files of a folder end with.
const LIST_ENDS: &[&str] = &["r0", "crl", "pem"];

/// The judge of client certificates; connections take the newest rules.
#[derive(Debug)]
pub(crate) struct Clients {
    current: ArcSwap<Rules>,
    files: Mutex<Files>,
    metrics: Arc<Metrics>,
}

/// The rules in force.
#[derive(Debug)]
struct Rules(Arc<dyn ClientCertVerifier>);

/// What was read, file by file.
#[derive(Debug)]
struct Files {
    authorities: Place<CertificateDer<'static>>,
    /// None where revocation is not asked for.
    lists: Option<Place<List>>,
}

/// A file, or a folder of files with certain ends.
#[derive(Debug)]
struct Place<T> {
    key: &'static str,
    path: PathBuf,
    ends: &'static [&'static str],
    parse: fn(&[u8]) -> Result<Vec<T>, String>,
    known: BTreeMap<PathBuf, Known<T>>,
}

/// What was read of a file, and how it looked then.
#[derive(Debug)]
struct Known<T> {
    stamp: Stamp,
    items: Vec<T>,
}

/// Tells a changed file: seconds and nanoseconds of its change, bytes, inode.
type Stamp = (i64, i64, u64, u64);

/// A revocation list.
#[derive(Clone, Debug)]
struct List {
    der: CertificateRevocationListDer<'static>,
    /// Unix seconds.
    from: i64,
    /// Unix seconds; the end of time when it does not say.
    until: i64,
}

impl Clients {
    /// The configured authorities and lists, read now.
    pub(crate) fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Arc<Self>, String> {
        let settings = &config.ams_x509;
        let authorities = Place::new("ams_x509.ca_path", &settings.ca_path, AUTHORITY_ENDS, certificates);
        let lists = (!settings.crl_path.is_empty())
            .then(|| Place::new("ams_x509.crl_path", &settings.crl_path, LIST_ENDS, revocation_lists));
        let mut files = Files { authorities, lists };
        files.look(true, &metrics)?;
        let rules = files.rules(&metrics)?;
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(rules), files: Mutex::new(files), metrics }))
    }

    /// Reads what changed, or everything; connections from now on are judged by it. On an error everything stays. Blocks.
    pub(crate) fn reload(&self, everything: bool) -> Result<(), String> {
        let mut files = self.files.lock();
        let taken = files.look(everything, &self.metrics).and_then(|changed| {
            if changed {
                self.current.store(Arc::new(files.rules(&self.metrics)?));
                tracing::info!("authorities and revocation lists of client certificates are read anew");
            }
            Ok(())
        });
        taken.inspect_err(|_| self.metrics.certificates.reload_failures.inc())
    }

    /// Whether a certificate (the first) with what leads to its authority is believed at an instant.
    pub(crate) fn believes(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        chain.split_first().is_some_and(|(own, others)| self.judge(own, others, now).is_ok())
    }

    fn judge(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let judged = self.current.load().0.verify_client_cert(own, others, now);
        judged.map(|_| ()).inspect_err(|error| {
            let reason = reason(error);
            self.metrics.certificates.refused.with_label_values(&[reason]).inc();
            tracing::info!(reason, %error, "a client certificate was refused");
        })
    }
}

/// Why a certificate is refused, in few words: a label.
fn reason(error: &Error) -> &'static str {
    use CertificateError as Why;
    match error {
        Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => "expired",
        Error::InvalidCertificate(Why::NotValidYet | Why::NotValidYetContext { .. }) => "not_valid_yet",
        Error::InvalidCertificate(Why::Revoked) => "revoked",
        Error::InvalidCertificate(Why::UnknownIssuer) => "unknown_issuer",
        Error::InvalidCertificate(Why::UnknownRevocationStatus) => "no_revocation_list",
        Error::InvalidCertificate(Why::ExpiredRevocationList | Why::ExpiredRevocationListContext { .. })
        | Error::InvalidCertRevocationList(_) => "bad_revocation_list",
        _ => "other",
    }
}

impl ClientCertVerifier for Clients {
    /// Who comes without a certificate is answered over HTTP.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a list of hundreds of authorities helps no client that has one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(own, others, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.load().0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.load().0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}

impl Files {
    /// Reads what changed, or everything; whether anything did.
    fn look(&mut self, everything: bool, metrics: &Metrics) -> Result<bool, String> {
        let authorities = self.authorities.look(everything, metrics)?;
        let lists = self.lists.as_mut().map_or(Ok(false), |lists| lists.look(everything, metrics))?;
        Ok(authorities || lists)
    }

    fn rules(&self, metrics: &Metrics) -> Result<Rules, String> {
        let mut roots = RootCertStore::empty();
        let (used, unusable) = roots.add_parsable_certificates(self.authorities.items().cloned());
        if unusable > 0 {
            tracing::warn!(used, unusable, "some authorities of client certificates cannot be used");
        }
        let named = |place: &Path| place.display().to_string();
        if used == 0 {
            let path = named(&self.authorities.path);
            return Err(format!("ams_x509.ca_path: {path} holds no certificate of an authority that can be used"));
        }
        let mut builder = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
        let mut lists: Vec<&List> = self.lists.iter().flat_map(Place::items).collect();
        if let Some(place) = &self.lists {
            if lists.is_empty() {
                return Err(format!("ams_x509.crl_path: {} holds no revocation list", named(&place.path)));
            }
            // Of two lists of one authority the newer one counts, which is found first.
            lists.sort_by_key(|list| std::cmp::Reverse(list.from));
            builder = builder.enforce_revocation_expiration();
        }
        metrics.certificates.lists_until.set(lists.iter().map(|list| list.until).min().unwrap_or_default());
        let rules = builder.with_crls(lists.into_iter().map(|list| list.der.clone())).build();
        rules.map(Rules).map_err(|error| format!("client certificates cannot be judged: {error}"))
    }
}

impl<T> Place<T> {
    fn new(
        key: &'static str,
        path: &str,
        ends: &'static [&'static str],
        parse: fn(&[u8]) -> Result<Vec<T>, String>,
    ) -> Self {
        Self { key, path: path.into(), ends, parse, known: BTreeMap::new() }
    }

    fn items(&self) -> impl Iterator<Item = &T> {
        self.known.values().flat_map(|known| &known.items)
    }

    /// Reads the files that changed, or all; whether anything is different now. A file that cannot be used is told of once and
    /// keeps what it had.
    fn look(&mut self, everything: bool, metrics: &Metrics) -> Result<bool, String> {
        let listed =
            self.files().map_err(|error| format!("{}: cannot read {}: {error}", self.key, self.path.display()));
        let files = listed?;
        let before = self.known.len();
        self.known.retain(|path, _| files.contains_key(path));
        let mut changed = self.known.len() != before;
        for (path, stamp) in files {
            if !everything && self.known.get(&path).is_some_and(|known| known.stamp == stamp) {
                continue;
            }
            match read(&path).and_then(|bytes| (self.parse)(&bytes)) {
                Ok(items) => {
                    changed = true;
                    self.known.insert(path, Known { stamp, items });
                }
                Err(error) if path == self.path && self.known.is_empty() => {
                    return Err(format!("{}: {} cannot be used: {error}", self.key, path.display()));
                }
                Err(error) => {
                    metrics.certificates.reload_failures.inc();
                    tracing::warn!(file = %path.display(), %error, "cannot be used; what it held before stays in force");
                    self.known.entry(path).or_insert(Known { stamp, items: Vec::new() }).stamp = stamp;
                }
            }
        }
        Ok(changed)
    }

    /// The files there are now.
    fn files(&self) -> std::io::Result<BTreeMap<PathBuf, Stamp>> {
        if !self.path.is_dir() {
            return Ok(BTreeMap::from([(self.path.clone(), stamp(&self.path)?)]));
        }
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let ends = path.extension().and_then(|end| end.to_str()).is_some_and(|end| self.ends.contains(&end));
            // One that vanished, or a link to nowhere, is not there.
            if let (true, Ok(stamp)) = (ends, stamp(&path)) {
                files.insert(path, stamp);
            }
            if files.len() > FILES_MAX {
                return Err(std::io::Error::other(format!("it holds more than {FILES_MAX} files")));
            }
        }
        Ok(files)
    }
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let found = std::fs::metadata(path)?;
    Ok((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(format!("is larger than {FILE_BYTES_MAX} bytes")) } else { Ok(bytes) }
}

/// The certificates of a PEM file.
fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if all.is_empty() => Err("holds no certificate in PEM".to_owned()),
        all => all.map_err(|error| error.to_string()),
    }
}

/// The revocation lists of a file: PEM, else one in DER. A PEM file without any is one of certificates.
fn revocation_lists(bytes: &[u8]) -> Result<Vec<List>, String> {
    let ders: Vec<CertificateRevocationListDer<'static>> = if bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        let all: Result<_, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        all.map_err(|error| error.to_string())?
    } else {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    };
    ders.into_iter().map(list).collect()
}

fn list(der: CertificateRevocationListDer<'static>) -> Result<List, String> {
    let (rest, parsed) =
        CertificateRevocationList::from_der(&der).map_err(|error| format!("holds no revocation list: {error}"))?;
    if !rest.is_empty() {
        return Err("holds something behind a revocation list".to_owned());
    }
    let from = parsed.last_update().timestamp();
    let until = parsed.next_update().map_or(i64::MAX, |time| time.timestamp());
    usable(&der)?;
    Ok(List { der, from, until })
}

/// Whether the judge takes the list: one that it does not would spoil all others.
fn usable(der: &CertificateRevocationListDer<'static>) -> Result<(), String> {
    // A judge needs an authority; this one has signed nothing.
    let nothing = || Der::from_slice(&[]);
    let (subject, subject_public_key_info) = (nothing(), nothing());
    let roots = RootCertStore { roots: vec![TrustAnchor { subject, subject_public_key_info, name_constraints: None }] };
    let built = WebPkiClientVerifier::builder(Arc::new(roots)).with_crls([der.clone()]).build();
    built.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
