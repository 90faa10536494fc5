//! Sends one HTTP request to a URL that somebody outside chose: within time and size, to allowed addresses only, following no
//! redirect and no proxy. Connections are kept and used again. Knows no dialect, tries nothing twice.

use super::guard::Guard;
use crate::domain::error::with_causes;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};
use std::time::Duration;

/// Most bytes of an answer that are kept.
const ANSWER_BYTES: usize = 1 << 10;
/// An answer is read this far, so that its connection can be used again; a longer one costs the connection.
const DRAIN_BYTES: usize = 64 << 10;
/// Longest time to read the rest of an answer whose beginning is known.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// An idle connection is kept so long, and so many to one host.
const IDLE_TIME: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 8;
/// Longest URL.
const URL_BYTES_MAX: usize = 8 << 10;

/// Sends requests. Clones share connections.
#[derive(Clone, Debug)]
pub struct Sender {
    http: Client,
    guard: Guard,
    timeout: Duration,
}

/// What an endpoint answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body, at most 1 KiB.
    pub body: Vec<u8>,
}

/// Why there is no answer: a line for whoever set the endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unanswered(pub String);

impl Sender {
    /// A sender that trusts the machine's certificate authorities and those of a PEM bundle, and gives each request `timeout` from
    /// the first step to the answer's head.
    ///
    /// # Errors
    /// When the bundle or the machine's authorities cannot be used.
    pub fn new(guard: Guard, authorities: Option<&[u8]>, timeout: Duration) -> Result<Self, String> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .dns_resolver(guard.clone())
            .user_agent(concat!("angelia/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS);
        if let Some(pem) = authorities {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| told(&error))?;
            if certificates.is_empty() {
                return Err("it holds no certificate".to_owned());
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| told(&error))?;
        Ok(Self { http, guard, timeout })
    }

    /// How long a request may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_json(&self, url: &Url, authorization: Option<&str>, body: Bytes) -> Result<Answered, Unanswered> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                Unanswered("the authorization header has characters that HTTP does not carry".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        self.post(url, headers, body).await
    }

    /// Posts a body under these headers.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Answered, Unanswered> {
        self.send(Method::POST, url, headers, body).await
    }

    /// Asks for a resource.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, url: &Url) -> Result<Answered, Unanswered> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new()).await
    }

    async fn send(&self, method: Method, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Answered, Unanswered> {
        self.guard.check(url).map_err(Unanswered)?;
        let request = self.http.request(method, url.clone()).headers(headers).body(body);
        let answer = tokio::time::timeout(self.timeout, request.send()).await;
        let answer = answer.map_err(|_| Unanswered(format!("no answer within {} s", self.timeout.as_secs_f32())))?;
        read(answer.map_err(|error| Unanswered(told(&error)))?).await
    }
}

/// Reads what is kept of an answer. Its head alone decides, so a body that does not end is no failure.
async fn read(mut answer: Response) -> Result<Answered, Unanswered> {
    let status = answer.status();
    let mut body = Vec::new();
    let mut seen = 0;
    let reading = async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            seen += chunk.len();
            let room = ANSWER_BYTES.saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
            if seen > DRAIN_BYTES {
                break;
            }
        }
    };
    // Late or broken off: what came is what there is, and the connection is not used again.
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
    Ok(Answered { status: StatusCode::as_u16(&status), body })
}

/// Reads an absolute URL of one of these schemes, with a host. A user in front of it becomes basic authorization, unless there is
/// another one.
#[must_use]
pub fn parse_url(text: &str, schemes: &[&str]) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= URL_BYTES_MAX)?;
    let fits = schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty());
    fits.then_some(url)
}

/// An error with its causes in one line, without the URL: that may hold secrets.
fn told(error: &reqwest::Error) -> String {
    with_causes(if error.is_connect() { "cannot connect" } else { "the request failed" }, error)
}

#[cfg(test)]
mod tests;
