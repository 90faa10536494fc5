//! The Zaqar v2 dialect: OpenStack's messaging service over our operations.
//!
//! A request goes: host or token → route table → head (signature, types, Client-ID, project, names) → method → policy → binding → body →
//! one handler → answer. Each resource has a file; `error` is the one place where our failures become the contract's texts. Meaning lives below: a
//! handler only translates.
//!
//! The original's defects that are kept, mended or decided are numbered in the contract's §24; code that follows one says so.

mod bound;
mod caller;
mod claims;
mod collection;
mod confirmation;
mod document;
mod error;
mod health;
mod home;
mod ids;
mod json;
mod messages;
mod metadata;
mod notifier;
mod patch;
mod post;
mod projects;
mod query;
mod queues;
mod request;
mod routes;
mod share;
mod sockets;
mod stages;
mod stats;
mod subscriptions;
mod times;
mod trusts;
pub mod websocket;

#[cfg(test)]
mod tests;

pub use confirmation::Confirmation;
pub use notifier::{Feed, Notice, Notifier};
pub use stages::Stage;

use crate::api::{LARGEST, LEAST, Room, RouteMetrics};
use crate::auth::Auth;
use crate::auth::keystone::Keystone;
use crate::auth::policy::Policy;
use crate::auth::signed_url::UrlKey;
use crate::broker::Broker;
use crate::domain::Timestamp;
use crate::domain::topic::Retention;
use crate::telemetry::metrics::Metrics;
use actix_web::web;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use bound::Bindings;

/// The bounds of the dialect, under the names that the original has for them; times in seconds, sizes in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The ttl of messages that come without one.
    pub default_message_ttl: u64,
    /// Longest ttl of a message.
    pub max_message_ttl: u64,
    /// The delay shown for queues that have none.
    pub default_message_delay: u64,
    /// Longest delay of a message.
    pub max_message_delay: u64,
    /// The ttl of claims that come without one.
    pub default_claim_ttl: u64,
    /// Longest ttl of a claim.
    pub max_claim_ttl: u64,
    /// The grace of claims that come without one.
    pub default_claim_grace: u64,
    /// Longest grace of a claim.
    pub max_claim_grace: u64,
    /// Largest request that posts messages.
    pub max_messages_post_size: u64,
    /// Largest request that makes or changes a queue.
    pub max_queue_metadata: u64,
    /// Most queues of a page.
    pub max_queues_per_page: u64,
    /// Most messages of a page.
    pub max_messages_per_page: u64,
    /// Most messages of a claim or pop.
    pub max_messages_per_claim_or_pop: u64,
    /// The ttl of subscriptions that come without one.
    pub default_subscription_ttl: u64,
    /// Most subscriptions of a page.
    pub max_subscriptions_per_page: u64,
    /// Whether a Client-ID must be a UUID.
    pub client_id_strict: bool,
    /// Fewest characters of a Client-ID that need be no UUID.
    pub min_length_client_id: u64,
    /// Most characters of a Client-ID that need be no UUID.
    pub max_length_client_id: u64,
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self {
            default_message_ttl: 3_600,
            max_message_ttl: 1_209_600,
            default_message_delay: 0,
            max_message_delay: 900,
            default_claim_ttl: 300,
            max_claim_ttl: 43_200,
            default_claim_grace: 60,
            max_claim_grace: 43_200,
            max_messages_post_size: 262_144,
            max_queue_metadata: 65_536,
            max_queues_per_page: 20,
            max_messages_per_page: 20,
            max_messages_per_claim_or_pop: 20,
            default_subscription_ttl: 3_600,
            max_subscriptions_per_page: 20,
            client_id_strict: true,
            min_length_client_id: 10,
            max_length_client_id: 36,
        }
    }
}

impl Limits {
    /// The largest body that any request may have.
    fn body_bytes(&self) -> usize {
        usize::try_from(self.max_messages_post_size.max(self.max_queue_metadata)).unwrap_or(usize::MAX)
    }
}

/// How the dialect behaves; the defaults are the original's.
#[derive(Debug)]
pub struct ZaqarOptions {
    /// Whether roles are believed as sent, where no Keystone says who has which; without it, nobody has any.
    pub trust_roles: bool,
    /// Which roles open what.
    pub policy: Policy,
    /// Which projects are AMS projects at the same time.
    pub bindings: Bindings,
    /// Whether administrators' resources are there.
    pub admin_mode: bool,
    /// What pre-signed URLs are signed with; none for no such URLs.
    pub url_key: Option<UrlKey>,
    /// The names, beside addresses and `localhost`, that the service is known under.
    pub hosts: Vec<String>,
    /// What queues keep.
    pub retention: Retention,
    /// Longest time that a body may take to arrive.
    pub body_time_max: Duration,
    /// How long a WebSocket may be silent until its client is asked whether it is there.
    pub silence: Duration,
    /// The schemes that subscribers may have.
    pub subscriber_types: Vec<String>,
    /// How subscribers are asked to confirm; none where they need not.
    pub confirmation: Option<Confirmation>,
    /// Bounds.
    pub limits: Limits,
}

#[cfg(test)]
impl Default for ZaqarOptions {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            trust_roles: false,
            policy: Policy::default(),
            bindings: Bindings::default(),
            admin_mode: false,
            url_key: None,
            hosts: Vec::new(),
            retention: Retention { age: Duration::from_secs(limits.max_message_ttl), bytes: None },
            body_time_max: Duration::from_secs(60),
            silence: Duration::from_secs(75),
            subscriber_types: ["http", "https", "mailto"].map(str::to_owned).to_vec(),
            confirmation: None,
            limits,
        }
    }
}

/// The dialect over one broker.
#[derive(Debug)]
pub struct Zaqar {
    broker: Broker,
    metrics: RouteMetrics,
    options: ArcSwap<ZaqarOptions>,
    /// Says who asks; none where whoever reaches the listener is believed.
    keystone: Option<Keystone>,
    /// The users of bound projects' access lists; none without Keystone.
    users: Option<Auth>,
    /// Of request bodies.
    bodies: Arc<Room>,
    /// Of answers.
    answers: Arc<Room>,
    /// Ended when its WebSockets are to be closed.
    closing: CancellationToken,
    /// The subscriptions of connections.
    sockets: sockets::Sockets,
    /// Who tells subscribers; none where nothing is told.
    notifier: Option<Arc<dyn Notifier>>,
    /// What messages go through before they are stored, in this order.
    stages: Vec<Arc<dyn Stage>>,
}

impl Zaqar {
    /// The dialect over this broker.
    #[must_use]
    pub fn new(broker: Broker, metrics: Arc<Metrics>, options: ZaqarOptions) -> Self {
        let room = options.limits.body_bytes().saturating_mul(LARGEST).max(LEAST);
        Self {
            broker,
            metrics: RouteMetrics::new(metrics, "zaqar", routes::names()),
            options: ArcSwap::from_pointee(options),
            keystone: None,
            users: None,
            bodies: Room::new(room),
            answers: Room::new(room),
            closing: CancellationToken::new(),
            sockets: sockets::Sockets::default(),
            notifier: None,
            stages: Vec::new(),
        }
    }

    /// Has subscribers told.
    #[must_use]
    pub fn with_notifier(self, notifier: Arc<dyn Notifier>) -> Self {
        Self { notifier: Some(notifier), ..self }
    }

    /// The dialect for those whom Keystone knows; in bound projects they are these users, too.
    #[must_use]
    pub fn with_keystone(self, keystone: Keystone, users: Auth) -> Self {
        Self { keystone: Some(keystone), users: Some(users), ..self }
    }

    /// Has messages go through these stages, in this order, before they are stored.
    #[must_use]
    pub fn with_stages(self, stages: Vec<Arc<dyn Stage>>) -> Self {
        Self { stages, ..self }
    }

    /// Puts other options in force, for requests from now on.
    pub fn set_options(&self, options: ZaqarOptions) {
        self.options.store(Arc::new(options));
    }

    /// Says farewell to all WebSockets: they would last for ever.
    pub fn close_sockets(&self) {
        self.closing.cancel();
    }

    /// The options in force.
    fn options(&self) -> Guard<Arc<ZaqarOptions>> {
        self.options.load()
    }

    /// The present instant.
    fn now(&self) -> Timestamp {
        Timestamp(self.broker.clock().wall())
    }
}

/// Serves every path of an application: give it to `App::configure`, in each worker anew.
pub fn configure(service: Arc<Zaqar>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |application| {
        application.default_service(web::to(move |request, payload| {
            let service = Arc::clone(&service);
            async move { request::answer(&service, request, payload).await }
        }));
    }
}
