//! The Zaqar dialect's HTTP API as the command line uses it: where the server is, which project, and what its refusals mean in words.

use super::args::Remote;
use super::client::{Http, listener_url};
use super::{Answer, Failure};
use crate::config::{Config, Sources};
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::Value;
use uuid::Uuid;

/// A server to talk to, as one client of one project.
#[derive(Debug)]
pub(super) struct ZaqarClient {
    http: Http,
    token: Option<String>,
    project: String,
    /// A fresh one each time: nothing that a command looks at depends on it.
    id: Uuid,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// Null for an empty one.
    pub(super) body: Value,
    /// Where something is that was made or found.
    pub(super) location: Option<String>,
    /// Whether it was made.
    pub(super) is_new: bool,
}

impl ZaqarClient {
    /// Finds out the server: from the options, else from the configuration of this machine. A token is sent only if one is given.
    pub(super) fn new(options: &Remote, sources: &Sources) -> Answer<Self> {
        let config = Config::load(sources)?;
        let own = || listener_url("listen.zaqar", "http", &config.listen.zaqar);
        let http = Http::new(options, &config, own)?;
        Ok(Self { http, token: options.given_token()?, project: options.project.clone(), id: Uuid::new_v4() })
    }

    /// One call. `what` names the thing for messages.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>, what: &str) -> Answer<Answered> {
        let mut request = self.http.request(method, path);
        request = request.header("Client-ID", self.id.to_string()).header("X-Project-ID", &self.project);
        if let Some(token) = &self.token {
            request = request.header("X-Auth-Token", token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, headers, bytes) = self.http.exchange(request).await?;
        if status.is_success() {
            let body = self.http.json(&bytes)?;
            let location = headers.get(LOCATION).and_then(|at| at.to_str().ok()).map(str::to_owned);
            return Ok(Answered { body, location, is_new: status.as_u16() == 201 });
        }
        let said = serde_json::from_slice::<Value>(&bytes).ok();
        let member = |key| said.as_ref().and_then(|said| said.get(key)).and_then(Value::as_str);
        let message = member("description").or(member("title")).or(status.canonical_reason()).unwrap_or("refused");
        let advice = match status.as_u16() {
            401 => "; give a Keystone token with --token or --token-file",
            429 | 503 => "; try again in a moment",
            _ => "",
        };
        Err(Failure::Failed(format!("{what}: {message} ({}){advice}", status.as_u16())))
    }
}
