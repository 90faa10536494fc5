//! The public HTTP API of an AMS v1 service, as far as republishing needs it: pull, acknowledge, publish, and a look at the source.
//!
//! Owns requests, the token and what a refusal means ([`Failure`]). Never retries: that is the caller's.

use crate::config::{Secret, Service, TokenPlace};
use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 20;
/// The most characters of a service's own words that are shown.
const WORDS_MAX: usize = 300;
const CONNECT_SECONDS: u64 = 10;

/// Why a call was not answered with success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What to tell, without a secret.
    pub(crate) words: String,
}

/// What to do about a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The network, or a service that cannot just now: again after a back-off, not before the time it asked for. What was
    /// asked may have been done.
    Passing(Option<Duration>),
    /// The service is right to refuse: somebody must change something. Holds the status.
    Problem(u16),
    /// The answer is larger than anything that is read.
    TooLarge,
}

impl Failure {
    fn passing(words: String) -> Self {
        Self { kind: Kind::Passing(None), words }
    }

    fn foreign(words: &str) -> Self {
        Self { kind: Kind::Problem(200), words: format!("{words}; is this the address of an AMS v1 service?") }
    }

    /// Whether the service refused with this status.
    pub(crate) fn is(&self, status: u16) -> bool {
        self.kind == Kind::Problem(status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.words)
    }
}

/// How messages of a subscription are acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AckMode {
    /// The highest id stands for all before it; AMS's own way.
    Cumulative,
    /// Each message by itself, leased until a deadline.
    Individual,
}

/// What is known of a subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    /// `/projects/P/topics/T`.
    pub(crate) topic: String,
    pub(crate) mode: AckMode,
    /// How long an answer of a pull is the puller's.
    pub(crate) deadline: Duration,
}

/// Where a subscription stands in its topic.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Offsets {
    pub(crate) max: u64,
    pub(crate) current: u64,
}

/// One project of one service, as one user.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    place: TokenPlace,
    secret: Arc<Secret>,
    token: Arc<RwLock<HeaderValue>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of this project.
    ///
    /// # Errors
    /// A sentence, when the certificates or the token cannot be read.
    pub(crate) fn new(service: &Service, project: &str) -> Result<Self, String> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .timeout(Duration::from_secs(service.timeout_seconds))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .http1_only();
        for certificate in &service.authorities {
            http = http.add_root_certificate(certificate.clone());
        }
        let http = http.build().map_err(|error| format!("cannot prepare HTTP: {error}"))?;
        let token = service.secret.read()?;
        Ok(Self {
            http,
            base: format!("{}/v1/projects/{project}", service.url),
            place: service.token_in,
            secret: Arc::clone(&service.secret),
            token: Arc::new(RwLock::new(token)),
        })
    }

    /// Reads the token anew, for a file may hold another one by now. Keeps the old one if it cannot be read.
    pub(crate) fn refresh_token(&self) {
        if let Ok(token) = self.secret.read() {
            *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
        }
    }

    /// What the subscription is.
    pub(crate) async fn source(&self, subscription: &str) -> Result<Source, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown {
            topic: String,
            ack_deadline_seconds: u64,
            #[serde(default)]
            ack_mode: String,
        }
        let answer = self.call(Method::GET, &format!("/subscriptions/{subscription}"), Bytes::new()).await?;
        let shown: Shown = read(&answer)?;
        let mode = if shown.ack_mode == "individual" { AckMode::Individual } else { AckMode::Cumulative };
        Ok(Source { topic: shown.topic, mode, deadline: Duration::from_secs(shown.ack_deadline_seconds) })
    }

    /// Where the subscription stands.
    pub(crate) async fn offsets(&self, subscription: &str) -> Result<Offsets, Failure> {
        read(&self.call(Method::GET, &format!("/subscriptions/{subscription}:offsets"), Bytes::new()).await?)
    }

    /// Up to so many messages that are there now: the answer's JSON as it came.
    pub(crate) async fn pull(&self, subscription: &str, count: usize) -> Result<Bytes, Failure> {
        let body = json!({"maxMessages": count.to_string(), "returnImmediately": "true"});
        self.call(Method::POST, &format!("/subscriptions/{subscription}:pull"), body.to_string().into()).await
    }

    /// Acknowledges these.
    pub(crate) async fn acknowledge(&self, subscription: &str, ids: &[&str]) -> Result<(), Failure> {
        let body = json!({ "ackIds": ids });
        let path = format!("/subscriptions/{subscription}:acknowledge");
        self.call(Method::POST, &path, body.to_string().into()).await.map(drop)
    }

    /// Gives leased messages back at once.
    pub(crate) async fn release(&self, subscription: &str, ids: &[&str]) -> Result<(), Failure> {
        let body = json!({ "ackIds": ids, "ackDeadlineSeconds": 0 });
        let path = format!("/subscriptions/{subscription}:modifyAckDeadline");
        self.call(Method::POST, &path, body.to_string().into()).await.map(drop)
    }

    /// Publishes a ready body that holds `count` messages.
    pub(crate) async fn publish(&self, topic: &str, body: Bytes, count: usize) -> Result<(), Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Published {
            message_ids: Vec<serde::de::IgnoredAny>,
        }
        let answer = self.call(Method::POST, &format!("/topics/{topic}:publish"), body).await?;
        let published: Published = read(&answer)?;
        if published.message_ids.len() != count {
            let told = format!("{} of {count} messages were taken", published.message_ids.len());
            return Err(Failure::foreign(&told));
        }
        Ok(())
    }

    /// Makes the topic; one that is there is as good.
    pub(crate) async fn create_topic(&self, topic: &str) -> Result<(), Failure> {
        match self.call(Method::PUT, &format!("/topics/{topic}"), Bytes::new()).await {
            Err(failure) if !failure.is(409) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = self.http.request(method, format!("{}{path}", self.base)).body(body);
        request = match self.place {
            TokenPlace::Header => request.header("x-api-key", token),
            TokenPlace::Query => request.query(&[("key", token.to_str().unwrap_or_default())]),
        };
        let mut answer = request.send().await.map_err(|error| self.broken(error))?;
        let status = answer.status();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut all = BytesMut::with_capacity(answer.content_length().map_or(0, clamped));
        while let Some(piece) = answer.chunk().await.map_err(|error| self.broken(error))? {
            if all.len() + piece.len() > ANSWER_MAX {
                let words = format!("the answer of {} is larger than {ANSWER_MAX} bytes", self.base);
                return Err(Failure { kind: Kind::TooLarge, words });
            }
            all.extend_from_slice(&piece);
        }
        if status == StatusCode::OK {
            return Ok(all.freeze());
        }
        Err(self.refused(path, status, asked.map(Duration::from_secs), &all))
    }

    fn refused(&self, path: &str, status: StatusCode, asked: Option<Duration>, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Envelope {
            error: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let words = serde_json::from_slice::<Envelope>(body).map_or(String::new(), |envelope| envelope.error.message);
        let words: String = words.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let code = status.as_u16();
        let passing = status.is_server_error() || code == 429 || code == 408;
        let kind = if passing { Kind::Passing(asked) } else { Kind::Problem(code) };
        Failure { kind, words: format!("{}{path} answers {code}: {words}{}", self.base, advice(code)) }
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        // The address could hold the token; the base that is shown never does.
        let error = error.without_url();
        let mut words = format!("{}: {error}", self.base);
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            words = format!("{words}: {inner}");
            cause = inner.source();
        }
        Failure::passing(words)
    }
}

fn clamped(length: u64) -> usize {
    usize::try_from(length).unwrap_or(ANSWER_MAX).min(ANSWER_MAX)
}

/// What to do about a refusal that does not pass by itself.
fn advice(code: u16) -> &'static str {
    match code {
        401 => "; the token means nobody there: put the right one into its file",
        403 => "; the token's user lacks the role, or is not in the access list",
        404 => "; make it, or correct the configuration",
        _ => "",
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::foreign(&format!("an answer that cannot be read ({error})")))
}
