//! Push as a part of the service: its runtime, its user, and the dialect's view of it.

use super::foundation::Foundation;
use super::zaqar;
use crate::api::ams::{self, Condition, Pusher};
use crate::auth::keystone::Keystone;
use crate::auth::{Auth, NewUser, Token};
use crate::config::Config;
use crate::delivery::guard::Guard;
use crate::delivery::sender::{Sender, parse_url};
use crate::delivery::{CircuitState, Delivery, Failing, Placement, Scope, Step, Unverified};
use crate::domain::acl::RoleName;
use crate::domain::network::Network;
use crate::domain::push::Webhook;
use crate::domain::subscription::Subscription;
use crate::domain::user::Profile;
use crate::domain::{Error, Name, UserId};
use crate::telemetry::metrics::Metrics;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The user in whose name is pushed, unless the configured token is another's.
const WORKER: &str = "push_worker_0";
/// The role that lets him.
const ROLE: &str = "push_worker";
/// Threads that push: they mostly wait, encrypt now and then.
const THREADS: usize = 2;

/// Push at work. Has threads of its own, so that thousands of endpoints and their TLS take nothing from requests.
#[derive(Debug)]
pub(super) struct Pushing {
    delivery: Delivery,
    /// Who pushes for the AMS dialect, if it is pushed.
    worker: Option<UserId>,
    drain: Duration,
    runtime: Option<Runtime>,
}

impl Pushing {
    /// Begins to push, if push is on or subscribers of queues are told.
    pub(super) async fn start(
        config: &Config,
        foundation: &Foundation,
        metrics: &Arc<Metrics>,
        (placement, keystone): (Arc<dyn Placement>, Option<&Keystone>),
    ) -> Result<Option<Self>, String> {
        let scope = Scope { endpoints: config.push.enabled, notifications: zaqar::notifications(config, keystone)? };
        if !scope.endpoints && scope.notifications.is_none() {
            return Ok(None);
        }
        let sender = sender(config)?;
        let worker = if scope.endpoints { Some(worker(config, &foundation.auth).await?) } else { None };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("push")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start threads to push: {error}"))?;
        let delivery = Delivery::start(
            foundation.broker.clone(),
            (sender, scope),
            placement,
            Arc::clone(metrics),
            config.push.in_flight,
            runtime.handle().clone(),
        );
        let drain = Duration::from_secs(config.limits.drain_seconds);
        Ok(Some(Self { delivery, worker, drain, runtime: Some(runtime) }))
    }

    /// What the AMS dialect needs of it; none where push is off.
    pub(super) fn of_ams(&self, config: &crate::config::Ams) -> Option<ams::Push> {
        let endpoint = if config.proxy_hostname.is_empty() { "localhost" } else { &config.proxy_hostname };
        let pusher = Arc::new(AmsPusher(self.delivery.clone()));
        self.worker.map(|worker| ams::Push { pusher, worker, endpoint: endpoint.to_owned() })
    }

    /// What is delivered.
    pub(super) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Finishes the deliveries under way, and begins no more.
    pub(super) async fn stop(&self) {
        self.delivery.stop(self.drain).await;
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn sender(config: &Config) -> Result<Sender, String> {
    let push = &config.push;
    let networks = Network::parse_all(&push.allow_networks).map_err(|word| format!("push.allow_networks: {word}"))?;
    let timeout = Duration::from_secs(push.timeout_seconds);
    let authorities = authorities(config)?;
    Sender::new(Guard::new(networks), authorities.as_deref(), timeout).map_err(|error| in_file(config, &error))
}

/// The authorities that are trusted beside the machine's.
pub(super) fn authorities(config: &Config) -> Result<Option<Vec<u8>>, String> {
    match config.push.ca_file.as_str() {
        "" => Ok(None),
        file => std::fs::read(file).map(Some).map_err(|error| in_file(config, &error)),
    }
}

fn in_file(config: &Config, error: &dyn std::fmt::Display) -> String {
    format!("push.ca_file: {}: {error}", config.push.ca_file)
}

/// The worker's user: the one with the configured token, else [`WORKER`], made if he is missing.
async fn worker(config: &Config, auth: &Auth) -> Result<UserId, String> {
    let failed = |error: Error| format!("cannot make the push worker's user: {error}");
    let token = config.push_worker_token().map_err(|error| error.to_string())?;
    let token = token.map(|token| Token::new(token.reveal()));
    let bearer = match &token {
        Some(token) => auth.user_by_token(token).await.map_err(failed)?,
        None => None,
    };
    let name = Name::new(WORKER).map_err(failed)?;
    let user = match bearer {
        Some(bearer) => bearer,
        None => match (auth.user(&name).await, &token) {
            (Ok(user), Some(token)) => {
                auth.set_token(user.id, token).await.map_err(failed)?;
                user
            }
            (Ok(user), None) => user,
            (Err(Error::NotFound(_)), _) => {
                let token = token.map_or_else(Token::fresh, Ok).map_err(failed)?;
                auth.create_user_with_token(new_worker(name), &token).await.map_err(failed)?
            }
            (Err(error), _) => return Err(failed(error)),
        },
    };
    if user.service_roles.iter().any(|role| role.as_str() == ROLE) {
        return Ok(user.id);
    }
    Err(format!(
        "the user {} is to push but has no service role {ROLE}: give it to him, or set push.enabled to false",
        user.name
    ))
}

fn new_worker(name: Name) -> NewUser {
    NewUser {
        name,
        profile: Profile { description: "pushes messages to endpoints".to_owned(), ..Profile::default() },
        memberships: Vec::new(),
        service_roles: vec![RoleName::new(ROLE)],
        created_by: None,
    }
}

/// Deliveries as the AMS dialect sees them.
#[derive(Debug)]
struct AmsPusher(Delivery);

impl Pusher for AmsPusher {
    fn accepts(&self, endpoint: &str) -> bool {
        parse_url(endpoint, &["https"]).is_some()
    }

    fn verify(&self, webhook: Webhook) -> Pin<Box<dyn Future<Output = Result<(), ams::Unverified>> + Send + '_>> {
        Box::pin(async {
            self.0.verify(webhook).await.map_err(|why| match why {
                Unverified::Status => ams::Unverified::Status,
                Unverified::Hash => ams::Unverified::Hash,
                Unverified::Unanswered(why) => ams::Unverified::Unanswered(why),
            })
        })
    }

    fn condition(&self, subscription: &Subscription) -> Option<Condition> {
        let condition = self.0.condition(subscription.id)?;
        let failing = condition.failing.map(|Failing { at, step, why }| {
            let doing = match step {
                Step::Consume => "consume",
                Step::Send => "send",
                Step::Acknowledge => "acknowledge",
            };
            (at, doing, why)
        });
        Some(Condition { failing, resting: condition.circuit == CircuitState::Open })
    }
}
