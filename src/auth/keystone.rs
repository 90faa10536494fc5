//! Keystone: whose a token is, and tokens that stand for a trust. Asks an OpenStack identity service (v3) as a service user; what it said
//! is believed for a bounded time, and kept for a bounded number of tokens.
//!
//! Nothing is asked twice at a time for one token, and only so many questions are open at once. A token is kept as its hash alone.

mod cache;
mod wire;

#[cfg(test)]
mod tests;

use super::Token;
use crate::broker::Broker;
use crate::domain::Timestamp;
use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, digest};
use cache::Cache;
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Longest token; Keystone's own are a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Questions that are open at a time, and so the lanes that tokens are spread over.
const LANES: usize = 32;
/// A token of our own is renewed when it has no more time than this.
const RENEW_BEFORE: Duration = Duration::from_secs(120);
/// An idle connection is kept so long.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// No trust ends later: the last instant that Keystone can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// How Keystone is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its address, with or without `/v3` at the end.
    pub url: String,
    /// The service user's name.
    pub user: String,
    /// His password.
    pub password: Token,
    /// His project's name.
    pub project: String,
    /// His domain's id.
    pub user_domain: String,
    /// His project's domain's id.
    pub project_domain: String,
    /// How long an answer is believed: a token that is revoked is refused at most so long after.
    pub cache_age: Duration,
    /// Of how many tokens.
    pub cache_entries: usize,
    /// How long a question may take, waiting for a lane included.
    pub timeout: Duration,
    /// PEM of more certificate authorities.
    pub authorities: Option<Vec<u8>>,
}

/// Whose a token is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The user's id.
    pub user: String,
    /// The id of his domain.
    pub user_domain: String,
    /// The id of the project that the token is for; none for a token that is for no project.
    pub project: Option<String>,
    /// The id of that project's domain.
    pub project_domain: String,
    /// The user's roles in it.
    pub roles: Vec<String>,
    /// When the token ends.
    pub expires: Timestamp,
}

/// Why nobody is known by a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// Keystone does not have it, or not any more.
    Refused,
    /// Keystone could not be asked: a line for the log.
    Unavailable(String),
}

/// Keystone. Clones share everything.
#[derive(Clone, Debug)]
pub struct Keystone {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Client,
    /// With `/v3` at the end.
    base: String,
    options: Options,
    /// For its clock.
    broker: Broker,
    known: Cache<Identity>,
    trusts: Cache<Entrusted>,
    own: ArcSwapOption<Own>,
    lanes: [Semaphore; LANES],
    renewal: Semaphore,
}

/// What a trust gives: a token that acts for somebody, and who that is.
#[derive(Debug)]
pub struct Entrusted {
    /// The token.
    pub token: Token,
    /// Whose it is: his who made the trust.
    pub identity: Identity,
}

/// Who we are ourselves.
#[derive(Debug)]
struct Own {
    token: Token,
    user: String,
    expires: Timestamp,
}

type Result<T> = std::result::Result<T, Unknown>;

fn trouble(what: impl Into<String>) -> Unknown {
    Unknown::Unavailable(what.into())
}

impl Keystone {
    /// A client; asks nothing yet.
    ///
    /// # Errors
    /// When the address is none, or the authorities cannot be used.
    pub fn new(options: Options, broker: Broker) -> std::result::Result<Self, String> {
        let base = options.url.trim_end_matches('/');
        let base = if base.ends_with("/v3") { base.to_owned() } else { format!("{base}/v3") };
        let url = Url::parse(&options.url).map_err(|error| format!("`{base}` is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("`{base}` is no address that begins with http:// or https://"));
        }
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .timeout(options.timeout)
            .user_agent(concat!("angelia/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(LANES);
        if let Some(pem) = &options.authorities {
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| wire::told(&error))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let inner = Inner {
            http: builder.build().map_err(|error| wire::told(&error))?,
            base,
            known: Cache::new(options.cache_entries),
            trusts: Cache::new(options.cache_entries),
            own: ArcSwapOption::empty(),
            lanes: std::array::from_fn(|_| Semaphore::new(1)),
            renewal: Semaphore::new(1),
            broker,
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where people log in: for `WWW-Authenticate`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.options.url
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// [`Unknown`].
    pub async fn identify(&self, token: &Token) -> Result<Arc<Identity>> {
        let text = token.reveal();
        if text.is_empty() || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unknown::Refused);
        }
        let key = hash(text);
        let identity = match self.remembered(&self.inner.known, &key) {
            Some(identity) => identity,
            None => self.in_lane(&self.inner.known, &key, self.ask(token)).await?,
        };
        if identity.expires > self.now() { Ok(identity) } else { Err(Unknown::Refused) }
    }

    /// What a trust gives that somebody made for the service user.
    ///
    /// # Errors
    /// [`Unknown::Refused`] when the trust is not there, is over, or is not for our service user.
    pub async fn entrusted(&self, trust: &str) -> Result<Arc<Entrusted>> {
        let key = hash(trust);
        match self.remembered(&self.inner.trusts, &key) {
            Some(known) => Ok(known),
            None => self.in_lane(&self.inner.trusts, &key, self.log_in_for(trust)).await,
        }
    }

    /// Makes a trust by which the service may act for the bearer of a token in its project, with all his roles there, until an instant; its
    /// id.
    ///
    /// # Errors
    /// [`Unknown::Refused`] when Keystone does not let him.
    pub async fn create_trust(&self, bearer: &Token, until: Timestamp) -> Result<String> {
        let (identity, own) = (self.identify(bearer).await?, self.own().await?);
        let roles: Vec<Value> = identity.roles.iter().map(|role| json!({ "name": role })).collect();
        let body = json!({ "trust": {
            "trustor_user_id": identity.user,
            "trustee_user_id": own.user,
            "project_id": identity.project,
            "impersonation": true,
            "allow_redelegation": false,
            "roles": roles,
            "expires_at": wire::time(until.min(Timestamp(LAST_SECOND.saturating_mul(1_000_000)))),
        }});
        let answer = self.call(Method::POST, "/OS-TRUST/trusts", &[("x-auth-token", bearer)], Some(&body)).await?;
        match answer.status {
            StatusCode::CREATED => wire::trust_id(&answer.body).ok_or_else(|| trouble("the answer names no trust")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Unknown::Refused),
            status => Err(trouble(format!("the trust was answered with {status}"))),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.inner.broker.clock().wall())
    }

    fn remembered<T>(&self, cache: &Cache<T>, key: &[u8; 32]) -> Option<Arc<T>> {
        cache.get(key, self.inner.broker.clock().monotonic())
    }

    /// Asks what nobody has asked meanwhile, in turn with the others of its lane, and remembers the answer.
    async fn in_lane<T>(
        &self,
        cache: &Cache<T>,
        key: &[u8; 32],
        question: impl Future<Output = Result<(T, Timestamp)>>,
    ) -> Result<Arc<T>> {
        let [first, ..] = &self.inner.lanes;
        let [byte, ..] = key;
        let lane = self.inner.lanes.get(usize::from(*byte) % LANES).unwrap_or(first);
        let asked = async {
            let _turn = lane.acquire().await.map_err(|_| trouble("it is not asked any more"))?;
            if let Some(known) = self.remembered(cache, key) {
                return Ok(known);
            }
            // Counted from before the question: what changed since may not be in the answer.
            let (asked_at, now) = (self.inner.broker.clock().monotonic(), self.now());
            let (found, expires) = question.await?;
            let age = self.inner.options.cache_age.min(expires.since(now));
            Ok(cache.put(*key, found, asked_at, age))
        };
        let late = |_| trouble(format!("no answer within {} s", self.inner.options.timeout.as_secs()));
        tokio::time::timeout(self.inner.options.timeout, asked).await.map_err(late)?
    }

    /// Asks whose a token is.
    async fn ask(&self, token: &Token) -> Result<(Identity, Timestamp)> {
        let mut own = self.own().await?;
        for last in [false, true] {
            let headers = [("x-auth-token", &own.token), ("x-subject-token", token)];
            let answer = self.call(Method::GET, "/auth/tokens?nocatalog", &headers, None).await?;
            match answer.status {
                StatusCode::OK => {
                    let identity = wire::identity(&answer.body).map_err(trouble)?;
                    let expires = identity.expires;
                    return Ok((identity, expires));
                }
                StatusCode::NOT_FOUND => return Err(Unknown::Refused),
                // Our own token was revoked.
                StatusCode::UNAUTHORIZED if !last => {
                    self.forget(&own);
                    own = self.own().await?;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    let who = &self.inner.options.user;
                    return Err(trouble(format!(
                        "the user {who} may not ask whose tokens are: give him the role service"
                    )));
                }
                status => return Err(trouble(format!("the question was answered with {status}"))),
            }
        }
        Err(trouble("our own token is refused"))
    }

    /// Our own token, made anew when it is about to end.
    async fn own(&self) -> Result<Arc<Own>> {
        let fresh = |own: &Arc<Own>| own.expires > self.now().plus(RENEW_BEFORE);
        if let Some(own) = self.inner.own.load_full().filter(fresh) {
            return Ok(own);
        }
        let _turn = self.inner.renewal.acquire().await.map_err(|_| trouble("it is not asked any more"))?;
        if let Some(own) = self.inner.own.load_full().filter(fresh) {
            return Ok(own);
        }
        let Options { project, project_domain, .. } = &self.inner.options;
        let scope = json!({ "project": { "name": project, "domain": { "id": project_domain } } });
        let (token, identity) = self.log_in(scope).await.map_err(|why| match why {
            Unknown::Refused => trouble(format!("the service user {} cannot log in", self.inner.options.user)),
            why => why,
        })?;
        let own = Arc::new(Own { token, user: identity.user, expires: identity.expires });
        self.inner.own.store(Some(Arc::clone(&own)));
        Ok(own)
    }

    /// Makes our own token anew at its next use, unless somebody has already.
    fn forget(&self, own: &Arc<Own>) {
        self.inner.own.compare_and_swap(own, None);
    }

    async fn log_in_for(&self, trust: &str) -> Result<(Entrusted, Timestamp)> {
        let (token, identity) = self.log_in(json!({ "OS-TRUST:trust": { "id": trust } })).await?;
        let lasts = identity.expires.since(self.now()).saturating_sub(RENEW_BEFORE);
        Ok((Entrusted { token, identity }, self.now().plus(lasts)))
    }

    /// Logs in with the service user's password.
    async fn log_in(&self, scope: Value) -> Result<(Token, Identity)> {
        let Options { user, password, user_domain, .. } = &self.inner.options;
        let user = json!({ "name": user, "domain": { "id": user_domain }, "password": password.reveal() });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let body = json!({ "auth": { "identity": identity, "scope": scope } });
        let answer = self.call(Method::POST, "/auth/tokens", &[], Some(&body)).await?;
        match (answer.status, answer.token) {
            (StatusCode::CREATED, Some(token)) => Ok((token, wire::identity(&answer.body).map_err(trouble)?)),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, _) => Err(Unknown::Refused),
            (status, _) => Err(trouble(format!("the login was answered with {status}"))),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        tokens: &[(&'static str, &Token)],
        body: Option<&Value>,
    ) -> Result<wire::Answer> {
        let mut request = self.inner.http.request(method, format!("{}{path}", self.inner.base));
        for (name, token) in tokens {
            request = request.header(*name, wire::secret(token).ok_or(Unknown::Refused)?);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| trouble(wire::told(&error)))?;
        wire::Answer::read(answer).await.map_err(trouble)
    }
}

fn hash(text: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    key
}
