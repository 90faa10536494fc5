//! The AMS v1 dialect: the wire contract of the ARGO Messaging Service over our operations.
//!
//! A request goes: CORS → route table → names, token, project, roles → body → one handler → answer. Each resource has a file;
//! `error` is the one place where our failures become the contract's texts. Meaning lives below: a handler only translates.
//!
//! The original's defects that are kept, mended or decided are numbered in the contract's §13; code that follows one says so.

mod acl;
mod audit;
mod bindings;
mod bodies;
mod cors;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod json;
mod members;
mod metrics;
mod offsets;
#[cfg(test)]
mod openapi;
mod paths;
mod payload;
mod principal;
mod projects;
mod publish;
mod pull;
mod push;
mod query;
mod registrations;
mod render;
mod request;
mod schemas;
mod status;
mod subscriptions;
pub mod takeover;
mod times;
mod topics;
mod usage;
mod users;
pub mod x509;

#[cfg(test)]
mod tests;

pub use push::{Condition, Push, Pusher, Unverified};

use crate::api::{LARGEST, LEAST, Room, RouteMetrics};
use crate::auth::{Auth, Token};
use crate::broker::Broker;
use crate::domain::Timestamp;
use crate::domain::acl::RoleTable;
use crate::domain::topic::Retention;
use crate::telemetry::metrics::Metrics;
use actix_web::web;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Where a request's token may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthOption {
    /// Only the query parameter `key`.
    Key,
    /// Only the header `x-api-key`.
    Header,
    /// The header, else the query parameter.
    #[default]
    Both,
}

impl AuthOption {
    /// Reads the configured word, in any case; none for an unknown one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "key" => Some(Self::Key),
            "header" => Some(Self::Header),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

/// What `GET /v1/version` tells. Empty texts of the optional ones are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// When the program was built: the build's `SOURCE_DATE_EPOCH` (seconds since 1970, as reproducible builds have it); empty
    /// when it had none.
    pub build_time: String,
    /// The release; only admins see it.
    pub release: String,
    /// The distribution, if any.
    pub distro: String,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            build_time: build_time(option_env!("SOURCE_DATE_EPOCH")),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            distro: String::new(),
        }
    }
}

/// Seconds since 1970, as a build's environment has them, as a time; empty for none.
fn build_time(seconds: Option<&str>) -> String {
    let since = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    since.map(|since| times::seconds(Timestamp::EPOCH.plus(since))).unwrap_or_default()
}

/// How the dialect behaves; the defaults are the product's.
#[derive(Clone, Debug)]
pub struct AmsOptions {
    /// Where tokens may stand.
    pub auth_option: AuthOption,
    /// Whether publishers and consumers are bound to access lists.
    pub per_resource_auth: bool,
    /// A token that opens everything; none for no such token. An empty one counts as none.
    pub service_token: Option<Token>,
    /// Most bytes of one message, counted as the original counts its stored form.
    pub message_bytes_max: usize,
    /// Most bytes of a request body: above what `limits.publish_bytes` takes as base64 in JSON.
    pub body_bytes_max: usize,
    /// Longest time that a body may take to arrive.
    pub body_time_max: Duration,
    /// What new topics keep.
    pub retention: Retention,
    /// The public host name, shown by `version`; empty for none.
    pub proxy_hostname: String,
    /// What `version` tells.
    pub version: Version,
}

impl Default for AmsOptions {
    fn default() -> Self {
        Self {
            auth_option: AuthOption::Both,
            per_resource_auth: true,
            service_token: None,
            message_bytes_max: 1_500_000,
            body_bytes_max: 16 << 20,
            body_time_max: Duration::from_secs(120),
            retention: Retention::default(),
            proxy_hostname: String::new(),
            version: Version::default(),
        }
    }
}

/// The dialect over one broker.
#[derive(Debug)]
pub struct Ams {
    broker: Broker,
    auth: Auth,
    metrics: RouteMetrics,
    /// Of the listener for client certificates.
    login_metrics: RouteMetrics,
    options: ArcSwap<AmsOptions>,
    /// None while nothing is pushed.
    push: Option<Push>,
    /// The first half of all requests' ids, random, and how many there were: the second.
    requests: (u64, AtomicU64),
    /// Of request bodies.
    bodies: Arc<Room>,
    /// Of answers.
    answers: Arc<Room>,
}

impl Ams {
    /// The dialect over this broker and its users.
    #[must_use]
    pub fn new(broker: Broker, auth: Auth, metrics: Arc<Metrics>, options: AmsOptions) -> Self {
        let room = options.body_bytes_max.saturating_mul(LARGEST).max(LEAST);
        Self {
            broker,
            auth,
            metrics: RouteMetrics::new(Arc::clone(&metrics), "ams", paths::all().map(|route| route.name)),
            login_metrics: RouteMetrics::new(metrics, "ams_x509", std::iter::once("authx509")),
            options: ArcSwap::from_pointee(options),
            push: None,
            requests: (Uuid::new_v4().as_u64_pair().0, AtomicU64::new(0)),
            bodies: Room::new(room),
            answers: Room::new(room),
        }
    }

    /// The dialect with push on.
    #[must_use]
    pub fn with_push(self, push: Push) -> Self {
        Self { push: Some(push), ..self }
    }

    /// Puts other options in force, for requests from now on.
    pub fn set_options(&self, options: AmsOptions) {
        self.options.store(Arc::new(options));
    }

    /// An id that no other request has.
    fn next_request_id(&self) -> Uuid {
        Uuid::from_u64_pair(self.requests.0, self.requests.1.fetch_add(1, Ordering::Relaxed))
    }

    /// The options in force.
    fn options(&self) -> Guard<Arc<AmsOptions>> {
        self.options.load()
    }

    /// Whether a token is the service token; takes as long for any token of its length.
    fn is_service_token(&self, token: &Token) -> bool {
        self.options().service_token.as_ref().is_some_and(|service| {
            let (service, token) = (service.reveal().as_bytes(), token.reveal().as_bytes());
            !service.is_empty() && aws_lc_rs::constant_time::verify_slices_are_equal(service, token).is_ok()
        })
    }
}

/// The role table that deployments of the original seed, `registrations:delete` (quirk 55) and our extensions added.
#[must_use]
pub fn default_roles() -> RoleTable {
    RoleTable::new(paths::all().map(|route| (route.name, route.roles)))
}

/// Serves every path of an application: give it to `App::configure`, in each worker anew.
pub fn configure(service: Arc<Ams>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |application| {
        application.default_service(web::to(move |request, payload| {
            let service = Arc::clone(&service);
            async move { request::answer(&service, request, payload).await }
        }));
    }
}
