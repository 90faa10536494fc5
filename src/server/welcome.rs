//! What a newcomer reads: where the service is, and commands to copy that work as they stand.

use super::bootstrap::{PROJECT, SUBSCRIPTION, TOPIC};
use super::sockets::Addresses;
use crate::auth::Token;
use crate::config::Config;
use crate::domain::Offset;
use std::fmt::Write;
use std::path::Path;

/// What the text depends on.
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) addresses: Addresses,
    /// The certificate's file, if clients must be told of it.
    pub(super) trust: Option<&'a Path>,
    /// The administrator's token, on the first start only.
    pub(super) admin: Option<&'a Token>,
    /// Which message the next pull gives first.
    pub(super) at: Offset,
}

/// The whole text.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let mut text = String::from("\nAngelia is running.\n\n");
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    for (name, url) in facts.addresses.urls() {
        let (what, path) = match name {
            "ops" => ("metrics, health", "/metrics"),
            "zaqar" => ("Zaqar API", "/v2/"),
            _ => ("AMS API", "/v1"),
        };
        put(format_args!("  {what:<16}  {url}{path}"));
    }
    put(format_args!("  {:<16}  {}", "data", facts.config.store.url));
    if let Some(path) = facts.config.token_file() {
        put(format_args!("  {:<16}  {} (for the command line; user admin)", "token", path.display()));
    }
    if let Some(path) = facts.config.key_file() {
        put(format_args!("  {:<16}  {} (keep a copy: without it no token works)", "key", path.display()));
    }
    put(format_args!(""));
    let token = facts.admin.map_or("$ANGELIA_TOKEN", Token::reveal);
    if facts.admin.is_none() {
        put(format_args!("The token first (or look at it with `{} token show admin`):\n", command(facts)));
        put(format_args!("  export ANGELIA_TOKEN=$({} token show admin)\n", command(facts)));
    }
    if let Some((_, url)) = facts.addresses.urls().find(|(name, _)| !matches!(*name, "ops" | "zaqar")) {
        let trust = match facts.trust {
            Some(file) if url.starts_with("https") => format!(" --cacert {}", quoted(&absolute(file))),
            None if url.starts_with("https") => " -k".to_owned(),
            _ => String::new(),
        };
        let call = |path: &str, body: &str| {
            format!(
                "  curl -s{trust} {url}/v1/projects/{PROJECT}/{path} \\\n    -H \"x-api-key: {token}\" -d '{body}'\n"
            )
        };
        let at = facts.at;
        put(format_args!(
            "Publish a message:\n\n{}",
            call(
                &format!("topics/{TOPIC}:publish"),
                r#"{"messages":[{"data":"aGVsbG8=","attributes":{"from":"curl"}}]}"#
            )
        ));
        put(format_args!(
            "Pull it (data is base64; this one says hello):\n\n{}",
            call(&format!("subscriptions/{SUBSCRIPTION}:pull"), r#"{"maxMessages":"1","returnImmediately":"true"}"#)
        ));
        put(format_args!(
            "Acknowledge it, by the ackId that the pull shows:\n\n{}",
            call(
                &format!("subscriptions/{SUBSCRIPTION}:acknowledge"),
                &format!(r#"{{"ackIds":["projects/{PROJECT}/subscriptions/{SUBSCRIPTION}:{at}"]}}"#)
            )
        ));
    }
    if let Some(address) = facts.addresses.ams_tls {
        put(format_args!("{}", python(&address.to_string(), facts)));
    }
    put(format_args!("`{} --help` shows what else the command line can do. Ctrl-C stops.", program()));
    text
}

fn python(address: &str, facts: &Facts<'_>) -> String {
    let token = facts
        .admin
        .map_or_else(|| "os.environ[\"ANGELIA_TOKEN\"]".to_owned(), |token| format!("\"{}\"", token.reveal()));
    let import = if facts.admin.is_some() { "" } else { "  import os\n" };
    let verify = facts.trust.map_or_else(|| "False".to_owned(), |file| format!("\"{}\"", absolute(file)));
    format!(
        "The same in Python (pip install argo-ams-library):\n\n{import}  \
         from argo_ams_library import AmsMessage, ArgoMessagingService\n  \
         ams = ArgoMessagingService(endpoint=\"{address}\", token={token}, project=\"{PROJECT}\")\n  \
         tls = {{\"verify\": {verify}}}\n  \
         ams.publish(\"{TOPIC}\", AmsMessage(data=\"hello\", attributes={{\"from\": \"python\"}}), **tls)\n  \
         [(ack_id, message)] = ams.pull_sub(\"{SUBSCRIPTION}\", num=1, return_immediately=True, **tls)\n  \
         print(message.get_data())\n  \
         ams.ack_sub(\"{SUBSCRIPTION}\", [ack_id], **tls)\n"
    )
}

/// How this program was called, as one would call it again.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "angelia".to_owned(), |name| quoted(&name.to_string_lossy()))
}

/// A call of the command line that finds this service: with the settings that it was started with.
fn command(facts: &Facts<'_>) -> String {
    let mut words = vec![program()];
    words.extend(std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy())));
    let free = [&facts.config.listen.ams, &facts.config.listen.ams_tls].into_iter().any(|text| text.ends_with(":0"));
    if let (true, Some((_, url))) = (free, facts.addresses.urls().find(|(name, _)| !matches!(*name, "ops" | "zaqar"))) {
        words.push(format!("--url {url}"));
    }
    words.join(" ")
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// A word as a shell takes it whole.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn facts_of(config: &Config, admin: Option<&Token>) -> String {
        let at = |port| Some(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        let (ams, ams_tls, ops) = (at(8080), at(8443), at(8081));
        let addresses =
            Addresses { ams, ams_tls, ams_x509: None, zaqar: None, zaqar_websocket: None, ops, cluster: None };
        text(&Facts { config, addresses, trust: Some(Path::new("/x/cert.pem")), admin, at: Offset(7) })
    }

    #[test]
    fn the_first_start_shows_the_token_and_later_ones_do_not() {
        let config = Config::load(&Sources::default()).unwrap();
        let token = Token::new("t0ken");
        let first = facts_of(&config, Some(&token));
        assert_eq!(first.matches("t0ken").count(), 4, "three commands and the Python client");
        let later = facts_of(&config, None);
        assert!(!later.contains("t0ken"));
        assert!(later.contains("export ANGELIA_TOKEN=$("));
        assert_eq!(later.matches("x-api-key: $ANGELIA_TOKEN").count(), 3);
    }

    #[test]
    fn the_acknowledgement_is_of_the_message_that_the_pull_will_give() {
        let config = Config::load(&Sources::default()).unwrap();
        assert!(facts_of(&config, None).contains(r#"{"ackIds":["projects/demo/subscriptions/reader:7"]}"#));
    }

    #[test]
    fn a_word_is_quoted_for_the_shell_when_it_must_be() {
        assert_eq!(quoted("store.url=segment:./data"), "store.url=segment:./data");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
