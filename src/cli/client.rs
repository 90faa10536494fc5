//! The public HTTP API as the command line uses it: where the server is, which token, and what its refusals mean in words.

use super::args::Remote;
use super::{Answer, Failure};
use crate::config::{Config, Sources};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a path segment keeps as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A server at a URL.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    url: String,
}

impl Http {
    /// The server that the options name, else `own`.
    pub(super) fn new(options: &Remote, config: &Config, own: impl FnOnce() -> Answer<String>) -> Answer<Self> {
        let url = match &options.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => own()?,
        };
        if !Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Failure::Usage(format!("--url {url}: write it as http://host:port or https://host:port")));
        }
        let mut client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10));
        let own_certificate = config.own_certificate().map(|(certificate, _)| certificate).filter(|path| path.exists());
        for path in options.ca_file.iter().chain(&own_certificate) {
            for certificate in read_certificates(path)? {
                client = client.add_root_certificate(certificate);
            }
        }
        let client = client.build().map_err(|error| Failure::Failed(format!("cannot prepare HTTP: {error}")))?;
        Ok(Self { client, url })
    }

    /// A request to be completed.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and reads the answer whole.
    pub(super) async fn exchange(&self, request: RequestBuilder) -> Answer<(StatusCode, HeaderMap, Bytes)> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, headers, bytes))
    }

    /// The JSON of an answer, null for an empty one.
    pub(super) fn json(&self, bytes: &[u8]) -> Answer<Value> {
        let value = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(bytes) };
        value.map_err(|_| Failure::Failed(format!("{} answers, but not as Angelia does: is the port right?", self.url)))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Failed(if error.is_connect() {
            format!(
                "nothing answers at {}: start the service with `angelia serve`, or give another --url ({})",
                self.url,
                root(error)
            )
        } else {
            format!("the connection to {} broke: {}", self.url, root(error))
        })
    }
}

/// A server to talk to.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    token: String,
    /// The file that the token came from, when nobody gave one: this machine's administrator's.
    own_token_file: Option<PathBuf>,
    project: String,
}

/// A refusal of the server.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Client {
    /// Finds out server and token: from the options, else from the configuration of this machine.
    pub(super) fn new(options: &Remote, sources: &Sources) -> Answer<Self> {
        let config = Config::load(sources)?;
        let http = Http::new(options, &config, || own_url(&config))?;
        let (token, own_token_file) = token(options, &config)?;
        Ok(Self { http, token, own_token_file, project: options.project.clone() })
    }

    /// The project that was asked for.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// The path of something in the project, with a verb such as `:pull` or none.
    pub(super) fn path(&self, kind: &str, name: &str, verb: &str) -> String {
        let (project, name) = (segment(&self.project), segment(name));
        if name.is_empty() {
            format!("/v1/projects/{project}/{kind}")
        } else {
            format!("/v1/projects/{project}/{kind}/{name}{verb}")
        }
    }

    /// One call. The answer's JSON, null for an empty one. `what` names the thing for messages.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>, what: &str) -> Answer<Value> {
        match self.ask(method, path, body).await? {
            Ok(value) => Ok(value),
            Err(refusal) => Err(Failure::Failed(self.explain(&refusal, what))),
        }
    }

    /// One call whose refusal the caller wants to see.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer<Result<Value, Refusal>> {
        let mut request = self.http.request(method, path).header("x-api-key", &self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, _, bytes) = self.http.exchange(request).await?;
        if status.is_success() {
            return self.http.json(&bytes).map(Ok);
        }
        let message = serde_json::from_slice::<Value>(&bytes)
            .ok()
            .and_then(|value| value.pointer("/error/message").and_then(Value::as_str).map(str::to_owned))
            .unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned());
        Ok(Err(Refusal { status, message }))
    }

    /// A refusal in words: what was refused, the server's message, what to do.
    fn explain(&self, refusal: &Refusal, what: &str) -> String {
        let advice = match (refusal.status.as_u16(), refusal.message.as_str()) {
            (401, _) => "; the token means nobody here: give another with --token or --token-file".to_owned(),
            (403, _) => "; the token's user lacks the role or is not in the access list".to_owned(),
            (404, message) if message.eq_ignore_ascii_case("project doesn't exist") => {
                format!("; `angelia project list` shows all, --project {} was asked for", self.project)
            }
            (404, "Topic doesn't exist") => "; `angelia topic list` shows what is there".to_owned(),
            (404, "Subscription doesn't exist") => "; `angelia subscription list` shows what is there".to_owned(),
            (404, "Schema doesn't exist") => "; `angelia schema list` shows what is there".to_owned(),
            (404, "User registration doesn't exist") => "; `angelia registration list` shows all".to_owned(),
            (409, "Push functionality is currently disabled") => {
                "; the service must be started with push.enabled=true".to_owned()
            }
            (404, "User doesn't exist") => "; `angelia user list` shows who is there".to_owned(),
            (429 | 503, _) => "; try again in a moment".to_owned(),
            _ => String::new(),
        };
        format!("{what}: {} ({}){advice}", refusal.message, refusal.status.as_u16())
    }

    /// Keeps a new token for later commands, if the old one was kept on this machine.
    pub(super) fn replace_own_token(&self, old: Option<&str>, new: &str) -> Answer {
        match &self.own_token_file {
            Some(path) if old == Some(self.token.as_str()) => crate::server::private::write(path, new.as_bytes())
                .map_err(|error| Failure::Failed(format!("cannot keep the new token in {}: {error}", path.display()))),
            _ => Ok(()),
        }
    }
}

/// A name as a path segment.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// The URL of the service that this machine's configuration describes.
fn own_url(config: &Config) -> Answer<String> {
    let listen = &config.listen;
    if listen.ams == "off" {
        listener_url("listen.ams_tls", "https", &listen.ams_tls)
    } else {
        listener_url("listen.ams", "http", &listen.ams)
    }
}

/// The URL of a configured listener.
pub(super) fn listener_url(key: &str, scheme: &str, text: &str) -> Answer<String> {
    let Some(mut address) = Config::address(key, text)? else {
        return Err(Failure::Usage(format!("{key} is off: give the service's address with --url")));
    };
    if address.port() == 0 {
        return Err(Failure::Usage(
            "the configured listener takes any free port: give the service's address with --url".to_owned(),
        ));
    }
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    Ok(format!("{scheme}://{address}"))
}

/// The token, and the file it is kept in if it is this machine's own.
fn token(options: &Remote, config: &Config) -> Answer<(String, Option<PathBuf>)> {
    if let Some(token) = options.given_token()? {
        return Ok((token, None));
    }
    let read = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let advice = "give one with --token, --token-file or ANGELIA_TOKEN";
    match config.token_file() {
        Some(path) => match read(&path) {
            Ok(token) => Ok((token, Some(path))),
            Err(_) => Err(Failure::Usage(format!("no token: there is none in {}; {advice}", path.display()))),
        },
        None => Err(Failure::Usage(format!("no token: {advice}"))),
    }
}

fn read_certificates(path: &Path) -> Answer<Vec<reqwest::Certificate>> {
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("--ca-file: cannot use {}: {error}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    reqwest::Certificate::from_pem_bundle(&text).map_err(|error| wrong(&error))
}

/// The innermost reason of a failed request.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
