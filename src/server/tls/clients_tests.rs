//! Which client certificates are believed, with authorities and lists made here.

use super::*;
use crate::config::Sources;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::time::Duration;

/// 2026-06-01: when everything here is judged.
const NOW: i64 = 1_780_272_000;

/// An authority with what it signed itself with.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}

impl Authority {
    fn root(name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let made = params.self_signed(&key).unwrap();
        Self { certificate: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    }

    fn below(&self, name: &str, serial: u64) -> Self {
        let (mut params, key) = (authority_params(name), KeyPair::generate().unwrap());
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    }

    fn client_with(&self, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "robot");
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        change(&mut params);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }

    fn client(&self, serial: u64) -> CertificateDer<'static> {
        self.client_with(serial, |_| ())
    }

    /// A list of revoked serial numbers that holds until a year.
    fn list(&self, revoked: &[u64], until: i32) -> rcgen::CertificateRevocationList {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 2, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 3, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }
}

/// A folder with authorities and lists, and the judge over it.
struct World {
    folder: tempfile::TempDir,
    metrics: Arc<Metrics>,
}

impl World {
    fn new() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        Self { folder: tempfile::tempdir().unwrap(), metrics: Arc::new(Metrics::new().unwrap()) }
    }

    /// Puts a file, always with another length than before.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn open(&self, with_lists: bool) -> Result<Arc<Clients>, String> {
        let folder = self.folder.path().display();
        let mut set = vec![
            "listen.ams_x509=127.0.0.1:0".to_owned(),
            format!("ams_x509.ca_path={folder}"),
            "store.url=memory:".to_owned(),
        ];
        if with_lists {
            set.push(format!("ams_x509.crl_path={folder}"));
        }
        Clients::open(&Config::load(&Sources { set, ..Sources::default() }).unwrap(), Arc::clone(&self.metrics))
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics.certificates.refused.with_label_values(&[reason]).get()
    }
}

fn at(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.unsigned_abs()))
}

fn believed(clients: &Clients, chain: &[&CertificateDer<'static>]) -> bool {
    let chain: Vec<CertificateDer<'static>> = chain.iter().map(|one| (*one).clone()).collect();
    clients.believes(&chain, at(NOW))
}

#[test]
fn a_certificate_of_a_known_authority_is_believed_in_its_time() {
    let (world, root, other) = (World::new(), Authority::root("root"), Authority::root("other"));
    world.put("ca.pem", &root.pem);
    let clients = world.open(false).unwrap();
    let own = root.client(1);
    assert!(believed(&clients, &[&own]));
    assert!(!believed(&clients, &[]));
    assert!(!believed(&clients, &[&other.client(1)]));
    assert!(!believed(&clients, &[&other.client(1), &other.certificate]), "an authority that it brings along");
    assert!(!clients.believes(std::slice::from_ref(&own), at(NOW + 366 * 86_400)));
    assert!(!clients.believes(&[own], at(NOW - 366 * 86_400)));
    let reasons = ["unknown_issuer", "expired", "not_valid_yet"].map(|reason| world.refused(reason));
    assert_eq!(reasons, [2, 1, 1]);
}

#[test]
fn a_forger_of_an_authoritys_name_is_not_believed() {
    let (world, root, forger) = (World::new(), Authority::root("root"), Authority::root("root"));
    world.put("ca.pem", &root.pem);
    let clients = world.open(false).unwrap();
    assert!(!believed(&clients, &[&forger.client(1)]));
    assert!(!believed(&clients, &[&forger.client(1), &forger.certificate]));
    let own = root.client(1);
    let mut changed = own.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert!(!believed(&clients, &[&changed.into()]));
    assert!(!believed(&clients, &[&vec![0x30; 70_000].into()]), "a huge one that is none");
}

#[test]
fn a_servers_certificate_is_no_clients() {
    let (world, root) = (World::new(), Authority::root("root"));
    world.put("ca.pem", &root.pem);
    let clients = world.open(false).unwrap();
    let server = root.client_with(1, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert!(!believed(&clients, &[&server]));
    let any = root.client_with(1, |params| params.extended_key_usages = Vec::new());
    assert!(believed(&clients, &[&any]));
}

#[test]
fn an_authority_in_between_is_followed_when_it_is_sent() {
    let (world, root) = (World::new(), Authority::root("root"));
    let between = root.below("between", 9);
    world.put("ca.pem", &root.pem);
    let clients = world.open(false).unwrap();
    let own = between.client(1);
    assert!(believed(&clients, &[&own, &between.certificate]));
    assert!(!believed(&clients, &[&own]));
    let below_a_client = root.client(2);
    assert!(!believed(&clients, &[&own, &below_a_client]));
}

#[test]
fn a_revoked_certificate_or_authority_in_between_is_refused() {
    let (world, root) = (World::new(), Authority::root("root"));
    let (good, bad) = (root.below("good", 8), root.below("bad", 9));
    world.put("ca.pem", &root.pem);
    world.put("root.r0", root.list(&[2, 9], 2030).pem().unwrap());
    world.put("good.crl", good.list(&[5], 2030).der());
    world.put("bad.r0", bad.list(&[], 2030).pem().unwrap());
    let clients = world.open(true).unwrap();
    assert!(believed(&clients, &[&root.client(1)]));
    assert!(!believed(&clients, &[&root.client(2)]));
    assert!(believed(&clients, &[&good.client(1), &good.certificate]));
    assert!(!believed(&clients, &[&good.client(5), &good.certificate]));
    assert!(!believed(&clients, &[&bad.client(1), &bad.certificate]));
    assert_eq!(world.refused("revoked"), 3);
}

#[test]
fn without_a_list_or_with_one_past_its_next_update_nobody_is_believed() {
    let (world, root, silent) = (World::new(), Authority::root("root"), Authority::root("silent"));
    world.put("ca.pem", &root.pem);
    world.put("silent.pem", &silent.pem);
    world.put("root.r0", root.list(&[], 2030).pem().unwrap());
    let clients = world.open(true).unwrap();
    assert_eq!(world.metrics.certificates.lists_until.get(), 1_893_456_000);
    assert!(believed(&clients, &[&root.client(1)]));
    assert!(!believed(&clients, &[&silent.client(1)]));
    assert_eq!(world.refused("no_revocation_list"), 1);
    world.put("root.r0", root.list(&[3], 2026).pem().unwrap());
    clients.reload(true).unwrap();
    assert!(!believed(&clients, &[&root.client(1)]));
    assert_eq!(world.refused("bad_revocation_list"), 1);
}

#[test]
fn a_list_that_another_signed_opens_nothing() {
    let (world, root, forger) = (World::new(), Authority::root("root"), Authority::root("root"));
    world.put("ca.pem", &root.pem);
    world.put("root.r0", forger.list(&[], 2030).pem().unwrap());
    let clients = world.open(true).unwrap();
    assert!(!believed(&clients, &[&root.client(1)]));
}

#[test]
fn changed_files_are_taken_over_and_broken_ones_change_nothing() {
    let (world, root, later) = (World::new(), Authority::root("root"), Authority::root("later"));
    world.put("ca.pem", &root.pem);
    world.put("root.r0", root.list(&[], 2030).pem().unwrap());
    let clients = world.open(true).unwrap();
    let own = root.client(7);
    assert!(believed(&clients, &[&own]));
    world.put("root.r0", root.list(&[7], 2030).pem().unwrap());
    assert!(believed(&clients, &[&own]), "nobody looked yet");
    clients.reload(false).unwrap();
    assert!(!believed(&clients, &[&own]));
    world.put("root.r0", "-----BEGIN X509 CRL-----\nMII");
    clients.reload(false).unwrap();
    assert!(!believed(&clients, &[&own]) && !believed(&clients, &[&later.client(1)]));
    assert!(world.metrics.certificates.reload_failures.get() >= 1);
    world.put("later.pem", &later.pem);
    world.put("later.r0", later.list(&[], 2030).pem().unwrap());
    clients.reload(false).unwrap();
    assert!(believed(&clients, &[&later.client(1)]));
    std::fs::remove_file(world.folder.path().join("later.pem")).unwrap();
    clients.reload(false).unwrap();
    assert!(!believed(&clients, &[&later.client(1)]));
    std::fs::remove_file(world.folder.path().join("ca.pem")).unwrap();
    assert!(clients.reload(false).unwrap_err().contains("holds no certificate"));
    assert!(!believed(&clients, &[&own]) && believed(&clients, &[&root.client(8)]), "the last good rules stay");
}

#[test]
fn what_cannot_be_used_at_the_start_is_told_with_its_setting() {
    let (world, root) = (World::new(), Authority::root("root"));
    assert!(world.open(false).unwrap_err().starts_with("ams_x509.ca_path: "));
    world.put("ca.pem", "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n");
    assert!(world.open(false).unwrap_err().contains("can be used"));
    world.put("ca.pem", &root.pem);
    assert!(world.open(true).unwrap_err().starts_with("ams_x509.crl_path: "));
    let wrong = ["listen.ams_x509=127.0.0.1:0", "ams_x509.ca_path=/nowhere/ca.pem"].map(str::to_owned).to_vec();
    let config = Config::load(&Sources { set: wrong, ..Sources::default() }).unwrap();
    let refused = Clients::open(&config, Arc::clone(&world.metrics)).unwrap_err();
    assert!(refused.contains("ams_x509.ca_path: cannot read /nowhere/ca.pem"), "{refused}");
}
