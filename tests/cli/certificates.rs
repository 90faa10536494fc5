//! Client certificates and the configuration of an AMS that is replaced, by the command line.

use crate::json;
use crate::service::{Service, angelia};
use std::path::Path;

#[test]
fn bindings_are_made_shown_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    service.run(&["user", "create", "robot"]);
    service.run(&["user", "create", "second"]);
    let made = service.run(&["binding", "create", "b1", "--subject", "/C=GR/O=Site/CN=robot", "--user", "robot"]);
    assert_eq!(made, "bound CN=robot,O=Site,C=GR to user robot as b1\n");
    let (code, complaint) =
        service.refused(&["binding", "create", "b2", "--subject", "CN=robot, O=Site, C=GR", "--user", "second"]);
    assert_eq!((code, complaint.lines().count()), (1, 1), "{complaint}");
    assert!(complaint.contains("Binding with this auth_identifier already exists (409)"), "{complaint}");
    let slash = ["binding", "create", "b2", "--subject", "/O=Site/CN=host/a.example.org", "--user", "second"];
    let (_, complaint) = service.refused(&slash);
    assert!(complaint.contains("ambiguous") && complaint.contains("CN=…,O=…"), "{complaint}");
    service.run(&[
        "binding",
        "create",
        "b2",
        "--subject",
        "CN=host/a.example.org,O=Site",
        "--user",
        "second",
        "--issuer",
        "CN=CA",
    ]);
    let list = service.run(&["binding", "list"]);
    assert!(list.contains("b1") && list.contains("CN=host/a.example.org,O=Site") && list.contains("CN=CA"), "{list}");
    let shown = service.run(&["binding", "update", "b2", "--any-issuer", "--user", "robot"]);
    assert!(shown.contains("any trusted authority") && shown.contains("user     robot"), "{shown}");
    assert_eq!(service.run(&["binding", "show", "b2"]), shown);
    assert_eq!(json(&service.run(&["binding", "show", "b2", "--json"]))["name"], "b2");
    let (code, _) = service.refused(&["binding", "update", "b2"]);
    assert_eq!(code, 2);
    service.run(&["binding", "delete", "b1"]);
    let (code, complaint) = service.refused(&["binding", "show", "b1"]);
    assert!(code == 1 && complaint.contains("binding b1: Binding was not found"), "{complaint}");
}

/// A certificate and its key as files.
fn make_certificate(folder: &Path) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[test]
fn the_configuration_of_an_ams_becomes_one_that_the_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path());
    let theirs = r#"{"bind_ip":"","port":443,"zookeeper_hosts":["h:2181"],"store_host":"m:27017","store_db":"argo_msg",
        "certificate":"cert.pem","certificate_key":"key.pem","per_resource_auth":true,"service_token":"S3CR3T",
        "push_enabled":true,"push_worker_token":"W0RK3R","proxy_hostname":"msg.example.org","auth_option":"both","log_level":"INFO"}"#;
    std::fs::write(folder.path().join("config.json"), theirs).unwrap();
    let made = angelia(folder.path()).args(["config", "from-ams", "config.json"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(folder.path().join("angelia.toml"), &made.stdout).unwrap();
    let checked = angelia(folder.path()).args(["check-config", "--config", "angelia.toml"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("0.0.0.0:443") && said.contains("service token       set"), "{said}");
    for (name, garbage) in [("garbage.json", "{}"), ("garbage.json", "x"), ("cert.pem", "")] {
        if !garbage.is_empty() {
            std::fs::write(folder.path().join(name), garbage).unwrap();
        }
        let refused = angelia(folder.path()).args(["config", "from-ams", name]).output().unwrap();
        let complaint = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), complaint.lines().count()), (Some(2), 1), "{complaint}");
        assert!(complaint.contains(name) && refused.stdout.is_empty(), "{complaint}");
    }
}
