//! `config from-ams`: the `config.json` of an ARGO Messaging Service (`ams-v1.md` §10.1) as a configuration of ours, with a comment
//! on everything that has no counterpart. Opens nothing but that file; `check-config` says whether the outcome works here.

use super::output::Output;
use super::{Answer, Failure};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::Path;

/// Most bytes of such a file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The original's port when the file gives none.
const PORT: u16 = 8_080;
/// The original's certificate and key when the file gives none.
const CERTIFICATE: &str = "/etc/pki/tls/certs/localhost.crt";
const CERTIFICATE_KEY: &str = "/etc/pki/tls/private/localhost.key";
/// Where the store is put, beside which its key is kept.
const STORE: &str = "segment:/var/lib/angelia/store";
/// Our operators' port, and the one beside it.
const OPS_PORTS: [u16; 2] = [8_081, 8_082];

/// What the original's file may hold that has no counterpart, and why.
const WITHOUT: &[(&str, &str)] = &[
    ("bind_ip", "the original loads it and listens on all addresses: change listen.ams_tls for another"),
    ("zookeeper_hosts", "there is no ZooKeeper"),
    ("kafka_znode", "there is no Kafka"),
    ("store_host", "there is no MongoDB: see store.url"),
    ("store_db", "there is no MongoDB: see store.url"),
    ("push_server_host", "there is no push server: the service itself delivers"),
    ("push_server_port", "there is no push server: the service itself delivers"),
    ("push_tls_enabled", "there is no push server: the service itself delivers"),
    ("verify_push_server", "there is no push server: the service itself delivers"),
    (
        "push_worker_token",
        "a secret, not repeated here: no push worker comes from outside any more; for monitors that look with it, put it into a file (mode 0600) that \
         ams.push_worker_token_file names",
    ),
    (
        "certificate_authorities_dir",
        "it served to verify the push server; for client certificates see ams_x509.ca_path",
    ),
    ("log_facilities", "lines go to standard error, from where systemd takes them to the journal and syslog"),
];

/// Settings whose values are not repeated in a comment.
const SECRET: &[&str] = &["push_worker_token"];

/// The original's file: its settings by lower-case name, those taken away that were looked at.
struct Original(Map<String, Value>);

/// Prints the configuration that a file comes to.
pub(super) fn print(file: &Path, out: Output) -> Answer {
    let refused = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let metadata = std::fs::metadata(file).map_err(|error| refused(format!("cannot be read: {error}")))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(refused(format!("is larger than {FILE_BYTES_MAX} bytes: it is no configuration")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| refused(format!("cannot be read: {error}")))?;
    out.bytes(translate(&text).map_err(refused)?.as_bytes(), b"")
}

/// The configuration that a text comes to, or why it is none of the original's.
fn translate(text: &str) -> Result<String, String> {
    let mut original = Original::read(text)?;
    let port = original.port()?;
    let certificate = original.text("certificate", CERTIFICATE)?;
    let key = original.text("certificate_key", CERTIFICATE_KEY)?;
    let per_resource_auth = original.flag("per_resource_auth", true)?;
    let service_token = original.text("service_token", "")?;
    let push = original.flag("push_enabled", false)?;
    let auth_option =
        original.word("auth_option", "", &[("", "key"), ("key", "key"), ("header", "header"), ("both", "both")])?;
    let hostname = original.text("proxy_hostname", "")?;
    // As the original does, words that are no level count as INFO.
    let level = match original.text("log_level", "INFO")?.as_str() {
        "DEBUG" => "debug",
        "WARNING" => "warn",
        "ERROR" | "FATAL" => "error",
        _ => "info",
    };
    let ops = OPS_PORTS.into_iter().find(|ops| *ops != port).unwrap_or_default();
    let mut toml =
        String::from("# Made from the config.json of an ARGO Messaging Service. What is not here keeps its default:\n");
    toml.push_str("# `angelia check-config --defaults` explains every setting, `angelia check-config --config FILE` checks this file.\n");
    section(&mut toml, "store", &[("url", quoted(STORE))]);
    let listeners =
        [("ams", "off".to_owned()), ("ams_tls", format!("0.0.0.0:{port}")), ("ops", format!("127.0.0.1:{ops}"))];
    section(&mut toml, "listen", &listeners.map(|(key, address)| (key, quoted(&address))));
    section(&mut toml, "tls", &[("cert_file", quoted(&certificate)), ("key_file", quoted(&key))]);
    let mut ams = vec![("auth_option", quoted(auth_option)), ("per_resource_auth", per_resource_auth.to_string())];
    if !hostname.is_empty() {
        ams.push(("proxy_hostname", quoted(&hostname)));
    }
    section(&mut toml, "ams", &ams);
    if !service_token.is_empty() {
        toml.push_str("# Better moved into a file of its own (mode 0600) that service_token_file names.\n");
        line(&mut toml, "service_token", &quoted(&service_token));
    }
    section(&mut toml, "push", &[("enabled", push.to_string())]);
    section(&mut toml, "log", &[("level", quoted(level))]);
    original.remarks(&mut toml);
    Ok(toml)
}

impl Original {
    fn read(text: &str) -> Result<Self, String> {
        let read: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Object(read) = read else { return Err("is no JSON object".to_owned()) };
        let known = |key: &str| WITHOUT.iter().any(|(name, _)| *name == key) || TAKEN.contains(&key);
        let mut settings = Map::new();
        for (key, value) in read {
            // The original reads names in any case.
            if settings.insert(key.to_ascii_lowercase(), value).is_some() {
                return Err(format!("has {key} twice"));
            }
        }
        if settings.keys().any(|key| known(key)) {
            Ok(Self(settings))
        } else {
            Err("has no setting of an ARGO Messaging Service".to_owned())
        }
    }

    fn text(&mut self, key: &str, default: &str) -> Result<String, String> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(format!("has a control character in {key}"))
            }
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(format!("{key} must be a text")),
        }
    }

    /// A flag, as JSON knows it or as a text.
    fn flag(&mut self, key: &str, default: bool) -> Result<bool, String> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(format!("{key} must be true or false")),
        }
    }

    fn port(&mut self) -> Result<u16, String> {
        let port = match self.0.remove("port") {
            None | Some(Value::Null) => return Ok(PORT),
            Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        port.filter(|port| *port > 0).ok_or_else(|| "port must be a number from 1 to 65535".to_owned())
    }

    /// One of these words, in any case, in our spelling.
    fn word(&mut self, key: &str, default: &str, words: &[(&str, &'static str)]) -> Result<&'static str, String> {
        let text = self.text(key, default)?;
        let found = words.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(&text));
        let all: Vec<&str> = words.iter().map(|(theirs, _)| *theirs).filter(|word| !word.is_empty()).collect();
        found.map(|(_, ours)| *ours).ok_or_else(|| format!("{key} must be one of {}", all.join(", ")))
    }

    /// Comments on all that is left.
    fn remarks(mut self, toml: &mut String) {
        let mut remarks: Vec<String> = Vec::new();
        for (key, why) in WITHOUT {
            if let Some(value) = self.0.remove(*key) {
                let value = if SECRET.contains(key) { "…".to_owned() } else { value.to_string() };
                remarks.push(format!("{key} = {}: {why}", plain(&value)));
            }
        }
        remarks.extend(self.0.keys().map(|key| format!("{}: not known, left out", plain(key))));
        if !remarks.is_empty() {
            toml.push_str("\n# Without a counterpart:\n");
            remarks.iter().for_each(|remark| toml.push_str(&format!("# {remark}\n")));
        }
    }
}

/// The settings that have a counterpart.
const TAKEN: &[&str] = &[
    "port",
    "certificate",
    "certificate_key",
    "per_resource_auth",
    "service_token",
    "push_enabled",
    "auth_option",
    "proxy_hostname",
    "log_level",
];

fn section(toml: &mut String, name: &str, settings: &[(&str, String)]) {
    // Writing to a text cannot fail.
    let _ = write!(toml, "\n[{name}]\n");
    settings.iter().for_each(|(key, value)| line(toml, key, value));
}

fn line(toml: &mut String, key: &str, value: &str) {
    let _ = writeln!(toml, "{key} = {value}");
}

/// A text without control characters as TOML has it: JSON's escapes are TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What may stand in a comment.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    /// As the original is deployed.
    const DEPLOYED: &str = r#"{"bind_ip":"","port":443,"zookeeper_hosts":["zoo1:2181","zoo2:2181"],"kafka_znode":"","store_host":"mongo:27017",
        "store_db":"argo_msg","certificate":"/etc/tls/a.pem","certificate_key":"/etc/tls/a \"key\".pem","per_resource_auth":"false",
        "service_token":"S3CR3T","push_enabled":true,"push_server_host":"push","push_server_port":443,"push_worker_token":"W0RK3R",
        "push_tls_enabled":true,"verify_push_server":true,"certificate_authorities_dir":"/etc/grid-security/certificates",
        "proxy_hostname":"msg.example.org","auth_option":"BOTH","log_level":"WARNING","log_facilities":["syslog"],"own\nkey":1}"#;

    fn config(toml: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("angelia.toml");
        std::fs::write(&file, toml).unwrap();
        Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap()
    }

    #[test]
    fn a_deployed_file_becomes_a_valid_configuration() {
        let toml = translate(DEPLOYED).unwrap();
        let config = config(&toml);
        assert_eq!((config.listen.ams.as_str(), config.listen.ams_tls.as_str()), ("off", "0.0.0.0:443"));
        assert_eq!(config.tls.key_file, "/etc/tls/a \"key\".pem");
        assert_eq!((config.ams.auth_option.as_str(), config.ams.per_resource_auth), ("both", false));
        assert_eq!(config.service_token().unwrap().unwrap().reveal(), "S3CR3T");
        assert_eq!((config.ams.proxy_hostname.as_str(), config.log.level.as_str()), ("msg.example.org", "warn"));
        assert!(config.push.enabled);
        for (key, _) in WITHOUT {
            assert!(toml.contains(&format!("\n# {key} = ")), "{key}: {toml}");
        }
        assert!(!toml.contains("W0RK3R") && toml.contains("# own key: not known, left out"), "{toml}");
    }

    #[test]
    fn an_almost_empty_file_takes_the_originals_defaults() {
        let config = config(&translate(r#"{"Store_Host":"mongo"}"#).unwrap());
        assert_eq!((config.listen.ams_tls.as_str(), config.ams.auth_option.as_str()), ("0.0.0.0:8080", "key"));
        assert!(config.ams.per_resource_auth && config.service_token().unwrap().is_none() && !config.push.enabled);
        assert_eq!(config.tls.cert_file, CERTIFICATE);
        let beside = super::tests::config(&translate(r#"{"port":"8081"}"#).unwrap());
        assert_eq!(beside.listen.ops, "127.0.0.1:8082");
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "is no JSON"),
            ("port: 443", "is no JSON"),
            ("[]", "is no JSON object"),
            ("{}", "no setting of an ARGO Messaging Service"),
            (r#"{"name":"package.json"}"#, "no setting of an ARGO Messaging Service"),
            (r#"{"port":0}"#, "port must be"),
            (r#"{"port":70000}"#, "port must be"),
            (r#"{"port":443.5}"#, "port must be"),
            (r#"{"port":[443]}"#, "port must be"),
            (r#"{"certificate":7}"#, "certificate must be a text"),
            (r#"{"certificate":"a\nb"}"#, "control character in certificate"),
            (r#"{"per_resource_auth":"perhaps"}"#, "per_resource_auth must be true or false"),
            (r#"{"auth_option":"cookie"}"#, "auth_option must be one of key, header, both"),
            (r#"{"port":1,"PORT":2}"#, "twice"),
        ] {
            let refused = translate(text).unwrap_err();
            assert!(refused.contains(reason) && !refused.contains('\n'), "{text}: {refused}");
        }
    }
}
