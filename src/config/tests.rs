//! How layers combine, and what is refused with which words.

use super::*;

fn sources(file: Option<&std::path::Path>, environment: &[(&str, &str)], set: &[&str]) -> Sources {
    Sources {
        file: file.map(Into::into),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        set: set.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn refused(set: &[&str]) -> String {
    Config::load(&sources(None, &[], set)).expect_err("must be refused").to_string()
}

#[test]
fn the_defaults_are_valid_and_as_operators_know_them() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.store_url().unwrap(), StoreUrl::Segment("./data".into()));
    assert_eq!(config.listen.ams, "127.0.0.1:8080");
    assert_eq!(config.listen.ams_tls, "127.0.0.1:8443");
    assert_eq!(config.listen.ops, "127.0.0.1:8081");
    assert_eq!(config.limits.publish_bytes, crate::domain::limits::PUBLISH_BYTES_MAX);
    assert_eq!(config.retention.days * 86_400, crate::domain::limits::RETENTION_DEFAULT.as_secs());
    assert_eq!(config.retention.bytes, 0);
    assert_eq!(config.key_file().unwrap(), PathBuf::from("./data.key"));
    assert_eq!(config.token_file().unwrap(), PathBuf::from("./data.token"));
    assert_eq!(config.own_certificate().unwrap().0, PathBuf::from("./data.tls-cert.pem"));
}

#[test]
fn a_later_layer_wins_setting_by_setting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("angelia.toml");
    std::fs::write(
        &file,
        "[log]\nlevel = \"warn\"\nformat = \"json\"\n[limits]\nconnections = 100\ndrain_seconds = 1\n",
    )
    .unwrap();
    let environment =
        [("ANGELIA_LIMITS__CONNECTIONS", "200"), ("ANGELIA_LIMITS__DRAIN_SECONDS", "2"), ("ANGELIA_TOKEN", "x")];
    let config = Config::load(&sources(Some(&file), &environment, &["limits.drain_seconds=3"])).unwrap();
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.log.format, "json");
    assert_eq!(config.limits.connections, 200);
    assert_eq!(config.limits.drain_seconds, 3);
    assert_eq!(config.limits.keep_alive_seconds, 75);
}

#[test]
fn a_setting_of_an_inner_section_is_reached_from_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("angelia.toml");
    std::fs::write(&file, "[zaqar.limits]\nmax_claim_ttl = 500\nmax_queues_per_page = 7\n").unwrap();
    let environment =
        [("ANGELIA_ZAQAR__LIMITS__MAX_CLAIM_TTL", "600"), ("ANGELIA_ZAQAR__LIMITS__MAX_MESSAGE_DELAY", "5")];
    let config = Config::load(&sources(Some(&file), &environment, &["zaqar.limits.max_message_delay=6"])).unwrap();
    let limits = &config.zaqar.limits;
    assert_eq!((limits.max_claim_ttl, limits.max_queues_per_page, limits.max_message_delay), (600, 7, 6));
}

#[test]
fn an_unknown_setting_is_refused_with_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("angelia.toml");
    std::fs::write(&file, "[store]\nulr = \"memory:\"\n").unwrap();
    let message = Config::load(&sources(Some(&file), &[], &[])).unwrap_err().to_string();
    assert!(message.contains("angelia.toml: there is no setting `store.ulr`; did you mean `store.url`?"), "{message}");
    let message = Config::load(&sources(None, &[("ANGELIA_LOGS__LEVEL", "info")], &[])).unwrap_err().to_string();
    assert!(
        message.contains("ANGELIA_LOGS__LEVEL: there is no setting `logs.level`; did you mean `log.level`?"),
        "{message}"
    );
    let message = refused(&["limits.conections=5"]);
    assert!(message.contains("did you mean `limits.connections`?"), "{message}");
    std::fs::write(&file, "[sotre]\n").unwrap();
    assert!(Config::load(&sources(Some(&file), &[], &[])).unwrap_err().to_string().contains("`sotre`"));
}

#[test]
fn wrong_values_are_refused_in_one_line_that_names_the_setting() {
    for (set, expected) in [
        (&["limits.connections=many"][..], "limits.connections"),
        (&["retention.days=0"], "retention.days: 0 is outside 1 to 36500"),
        (&["limits.connections=1"], "limits.connections: 1 is outside 16 to 1000000"),
        (&["ams.auth_option=cookie"], "ams.auth_option: `cookie` is none of key, header, both"),
        (&["ams.per_resource_auth=perhaps"], "ams.per_resource_auth"),
        (&["log.level=loud=very"], "log.level"),
        (&["log.format=xml"], "log.format"),
        (&["zaqar.auth_strategy=trust"], "zaqar.auth_strategy: `trust` is none of noauth"),
        (&["listen.zaqar=0.0.0.0:8888"], "listen.zaqar is not on loopback"),
        (&["listen.zaqar_websocket=0.0.0.0:9000"], "listen.zaqar_websocket is not on loopback"),
        (&["zaqar.pipeline=notification,other"], "zaqar.pipeline: `other` is no stage"),
        (&["zaqar.pipeline=json_schema"], "zaqar.json_schema_file and the stage json_schema"),
        (&["zaqar.require_confirmation=true"], "zaqar.require_confirmation: subscribers confirm by signed URLs"),
        (&["zaqar.limits.subscriber_types=http,ftp"], "`ftp` cannot be told anything"),
        (&["zaqar.smtp_tls=maybe"], "zaqar.smtp_tls: `maybe` is none of"),
        (&["zaqar.smtp_port=0"], "zaqar.smtp_port: 0 is outside 1 to 65535"),
        (&["zaqar.limits.max_claim_ttl=50"], "zaqar.limits.max_claim_ttl: 50 is outside 60 to 43200"),
        (
            &["zaqar.limits.max_message_ttl=60"],
            "zaqar.limits.default_message_ttl is above zaqar.limits.max_message_ttl",
        ),
        (&["zaqar.limit.max_claim_ttl=60"], "did you mean `zaqar.limits.max_claim_ttl`?"),
        (&["listen.ams=8080"], "listen.ams: `8080` is no address"),
        (&["listen.ams=127.0.0.1:8443"], "listen.ams_tls: 127.0.0.1:8443 is already taken by listen.ams"),
        (&["listen.ams=off", "listen.ams_tls=off"], "both off"),
        (&["tls.cert_file=a.pem"], "belong together"),
        (&["listen.ams_x509=127.0.0.1:9443"], "ams_x509.ca_path is empty"),
        (&["ams_x509.reload_seconds=0"], "ams_x509.reload_seconds: 0 is outside"),
        (&["store.url=cql://db1/angelia"], "secrets.key_file: a store in a cluster needs one"),
        (&["store.url=postgres:x"], "`postgres:x` is no store"),
        (&["store.url=segment:"], "names no folder"),
        (&["secrets.key_file=./data/key"], "inside the store's folder"),
        (&["limits.publish_bytes=2048"], "limits.message_bytes"),
        (&["limits.body_bytes=1000000"], "set at least 11184808"),
        (&["ams.service_token=a", "ams.service_token_file=b"], "keep the file"),
        (&["push.allow_networks=10.0.0.0/8 here"], "push.allow_networks: `here` is no network"),
        (&["push.in_flight=1"], "push.in_flight: 1 is outside 8 to 10000"),
        (&["audit.topic=audit"], "audit.project: `` is no name"),
        (&["audit.project=P", "audit.topic=a/b"], "audit.topic: `a/b` is no name"),
        (&["quota.topics=-1"], "quota.topics"),
        (&["nonsense"], "write it as section.key=value"),
    ] {
        let message = refused(set);
        assert!(message.contains(expected), "{set:?}: {message}");
        assert!(!message.contains('\n'), "{set:?}: {message}");
    }
}

#[test]
fn a_secret_comes_from_its_file_and_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.token");
    std::fs::write(&file, "  s3cret\n").unwrap();
    let set = format!("ams.service_token_file={}", file.display());
    let config = Config::load(&sources(None, &[], &[&set])).unwrap();
    assert_eq!(config.service_token().unwrap().unwrap().reveal(), "s3cret");
    std::fs::write(&file, "\n").unwrap();
    assert!(config.service_token().unwrap_err().to_string().contains("is empty"));
    std::fs::remove_file(&file).unwrap();
    assert!(config.service_token().unwrap_err().to_string().contains("cannot read"));
    let config = Config::load(&sources(None, &[], &["ams.service_token=s3cret"])).unwrap();
    assert_eq!(config.service_token().unwrap().unwrap().reveal(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
    assert!(Config::load(&Sources::default()).unwrap().service_token().unwrap().is_none());
}

#[test]
fn the_examples_of_deployments_are_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let load = |name: &str| Config::load(&sources(Some(&folder.join(name)), &[], &[])).unwrap();
    assert_eq!(load("example.toml").listen.ams, "off");
    let replacement = load("examples/ams-replacement.toml");
    assert_eq!(replacement.ams_x509.host_names(), ["msg.example.org"]);
    let proxy = std::fs::read_to_string(folder.join("examples/haproxy-ams.cfg")).unwrap();
    for address in [&replacement.listen.ams, &replacement.listen.ams_x509] {
        assert!(proxy.contains(&format!("server one {address} check")), "{address}");
    }
}

#[test]
fn ports_of_zero_never_clash() {
    let set = ["listen.ams=127.0.0.1:0", "listen.ams_tls=127.0.0.1:0", "listen.ops=127.0.0.1:0", "store.url=memory:"];
    let config = Config::load(&sources(None, &[], &set)).unwrap();
    assert_eq!(config.key_file(), None);
}

#[test]
fn a_store_in_a_cluster_has_hosts_a_keyspace_and_a_shared_key_file() {
    let set = ["store.url=cql://one,two:9142/angelia", "secrets.key_file=/etc/angelia/shared.key"];
    let config = Config::load(&sources(None, &[("ANGELIA_STORE__CQL__DATACENTER", "east")], &set)).unwrap();
    let hosts = vec!["one".to_owned(), "two:9142".to_owned()];
    assert_eq!(config.store_url().unwrap(), StoreUrl::Cql { hosts, keyspace: "angelia".to_owned() });
    assert_eq!(config.store.cql.datacenter, "east");
    assert_eq!(config.token_file().unwrap(), PathBuf::from("/etc/angelia/shared.token"));
    let key_file = "secrets.key_file=/etc/angelia/shared.key";
    for (set, expected) in [
        (&["store.url=cql://one/angelia"][..], "secrets.key_file: a store in a cluster needs one"),
        (&["store.url=cql://one/an-gelia", key_file], "names no cluster"),
        (&["store.url=cql:one/angelia", key_file], "names no cluster"),
        (&["store.url=cql://one,/angelia", key_file], "names no cluster"),
        (&["store.url=cql://user@one/angelia", key_file], "names no cluster"),
        (&["store.cql.user=me"], "store.cql.user and store.cql.password_file belong together"),
        (&["store.cql.key_file=k"], "store.cql.cert_file and store.cql.key_file belong together"),
        (&["store.cql.cert_file=c", "store.cql.key_file=k"], "name the authorities to trust"),
        (&["store.cql.consistency=one"], "store.cql.consistency: `one` is none of local, global"),
        (&["store.cql.request_ms=1"], "store.cql.request_ms: 1 is outside 200 to 60000"),
        (&["store.cql.dattacenter=x"], "did you mean `store.cql.datacenter`?"),
    ] {
        let message = refused(set);
        assert!(message.contains(expected), "{set:?}: {message}");
    }
}
