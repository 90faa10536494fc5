//! The running service: its parts in the order of their start, and how they end.

use super::cluster::Members;
use super::control::{Control, Request, Response};
use super::engine::Engine;
use super::foundation::{Foundation, in_cluster};
use super::gauges::Gauges;
use super::listeners::{self, Running};
use super::push::Pushing;
use super::sockets::{Addresses, Sockets};
use super::tls::Certificate;
use super::tls::clients::Clients;
use super::{Mode, bootstrap, welcome, zaqar};
use crate::api::ams::x509::X509Login;
use crate::api::ams::{Ams, AmsOptions, AuthOption};
use crate::api::ops::{Ops, Phase};
use crate::api::zaqar::Zaqar;
use crate::auth::Token;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{Config, QuotaConfig, Sources};
use crate::delivery::Everything;
use crate::domain::Name;
use crate::domain::project::Quota;
use crate::domain::topic::Retention;
use crate::telemetry::logging::Level;
use crate::telemetry::metrics::Metrics;
use actix_web::rt::task::JoinHandle;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Everything that runs.
pub(super) struct Service {
    ops: Arc<Ops>,
    ops_listener: Option<Running>,
    foundation: Foundation,
    front: Front,
}

/// What the world reaches.
struct Front {
    certificate: Option<Arc<Certificate>>,
    ams: Arc<Ams>,
    listener: Running,
    /// Logins by client certificate.
    x509: Option<X509>,
    zaqar: Arc<Zaqar>,
    /// Its listeners, over HTTP and over WebSocket.
    zaqar_listeners: Vec<Running>,
    /// Held for its socket.
    control: Option<Control>,
    push: Option<Pushing>,
    /// In a cluster.
    members: Option<Members>,
}

impl Service {
    /// Starts everything in the order that the module `server` gives.
    pub(super) async fn start(config: &Config, sockets: Sockets, mode: Mode) -> Result<Self, String> {
        let clock = Clock::System;
        let addresses = sockets.addresses();
        let metrics = Arc::new(Metrics::new().map_err(|error| format!("cannot make the metrics: {error}"))?);
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        let ops_listener = sockets.ops.map(|socket| listeners::serve_ops(socket, &ops)).transpose()?;
        let options = ams_options(config)?;
        let tls = sockets.ams_tls.is_some() || sockets.ams_x509.is_some();
        let certificate = tls.then(|| Certificate::open(config, &clock)).transpose()?;
        let clients = sockets.ams_x509.is_some().then(|| Clients::open(config, Arc::clone(&metrics))).transpose()?;

        let foundation = Foundation::open(config, &clock, &metrics).await?;
        foundation.broker.set_common_quota(common_quota(config));
        ops.attach(Arc::new(Gauges::new(Arc::clone(&metrics), &foundation)));
        let front = async {
            let admin = bootstrap::administrator(config, &foundation.auth, mode).await?;
            if mode == Mode::Quickstart {
                bootstrap::demonstration(&foundation.broker, options.retention).await?;
            }
            open_audit(config, &foundation.broker, options.retention).await?;
            let Foundation { engine, broker, auth } = &foundation;
            let members = match in_cluster(config) {
                true => Some(Members::join(config, broker, &metrics, sockets.cluster).await?),
                false => None,
            };
            let placement = members.as_ref().map_or_else(|| Arc::new(Everything::default()) as _, Members::placement);
            let keystone = zaqar::keystone(config, &foundation)?;
            let push = Pushing::start(config, &foundation, &metrics, (placement, keystone.as_ref())).await?;
            let delivery = push.as_ref().map(Pushing::delivery);
            let zaqar = Arc::new(zaqar::dialect(config, &foundation, keystone.as_ref(), delivery, &metrics)?);
            let ams = Ams::new(broker.clone(), auth.clone(), metrics, options);
            let ams = Arc::new(match push.as_ref().and_then(|push| push.of_ams(&config.ams)) {
                Some(push) => ams.with_push(push),
                None => ams,
            });
            let tls = sockets.ams_tls.zip(certificate.as_ref().map(Certificate::server_config));
            let listener = listeners::serve_ams(sockets.ams, tls, &ams, &config.limits)?;
            let x509 = sockets.ams_x509.zip(certificate.as_ref()).zip(clients);
            let x509 =
                x509.map(|((socket, own), clients)| X509::start(socket, own, clients, &ams, config)).transpose()?;
            let serve_zaqar = |socket| listeners::serve_zaqar(socket, &zaqar, &config.limits);
            let serve_websocket = |socket| listeners::serve_zaqar_websocket(socket, &zaqar, &config.limits);
            let zaqar_listeners = [sockets.zaqar.map(serve_zaqar), sockets.zaqar_websocket.map(serve_websocket)];
            let zaqar_listeners = zaqar_listeners.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
            let control = serve_control(engine);
            let front = Front { certificate, ams, listener, x509, zaqar, zaqar_listeners, control, push, members };
            ops.set_phase(Phase::Ready);
            tracing::info!(store = %config.store.url, "{}", addresses.line());
            front.greet(config, addresses, mode, &foundation, admin.as_ref()).await?;
            Ok(front)
        };
        match front.await {
            Ok(front) => Ok(Self { ops, ops_listener, foundation, front }),
            Err(error) => {
                // The first failure is the one to tell.
                drop(foundation.close().await);
                Err(error)
            }
        }
    }

    /// Takes over what may change while running; on a mistake everything stays as it is.
    pub(super) fn reload(&self, sources: &Sources, level: &Level) {
        let taken = Config::load(sources).map_err(|error| error.to_string()).and_then(|config| {
            let (options, of_zaqar) = (ams_options(&config)?, zaqar::options(&config)?);
            self.front.certificate.as_ref().map_or(Ok(()), |certificate| certificate.reload())?;
            self.front.x509.as_ref().map_or(Ok(()), |x509| x509.clients.reload(true))?;
            level.set(&config.log.level)?;
            self.front.ams.set_options(options);
            self.front.zaqar.set_options(of_zaqar);
            self.foundation.broker.set_common_quota(common_quota(&config));
            Ok(())
        });
        match taken {
            Ok(()) => tracing::info!("certificates, limits, quotas, policy and log level are read anew"),
            Err(error) => tracing::error!(%error, "the configuration stays as it was"),
        }
    }

    /// Ends everything in the order that the module `server` gives.
    pub(super) async fn stop(self) -> Result<(), String> {
        tracing::info!("stopping: requests in work are finished first");
        self.ops.set_phase(Phase::Draining);
        drop(self.front.control);
        let Foundation { broker, .. } = &self.foundation;
        let drain = async {
            if let Some(members) = &self.front.members {
                members.leave().await;
            }
            if let Some(push) = &self.front.push {
                push.stop().await;
            }
            broker.stop().await;
        };
        // Together: the broker ends what would only wait for messages.
        let x509 = async {
            if let Some(x509) = self.front.x509 {
                x509.stop().await;
            }
        };
        self.front.zaqar.close_sockets();
        let zaqar = futures_util::future::join_all(self.front.zaqar_listeners.into_iter().map(Running::stop));
        futures_util::future::join4(self.front.listener.stop(), x509, zaqar, drain).await;
        if let Some(members) = &self.front.members {
            members.end().await;
        }
        self.foundation.close().await?;
        if let Some(listener) = self.ops_listener {
            listener.stop().await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Logins by client certificate, at work.
struct X509 {
    clients: Arc<Clients>,
    listener: Running,
    /// Looks for changed files.
    watch: JoinHandle<()>,
}

impl X509 {
    fn start(
        socket: TcpListener,
        own: &Arc<Certificate>,
        clients: Arc<Clients>,
        ams: &Arc<Ams>,
        config: &Config,
    ) -> Result<Self, String> {
        let judge = Arc::clone(&clients);
        let believed = Box::new(move |chain: &[_], now| judge.believes(chain, now));
        let login = Arc::new(X509Login::new(Arc::clone(ams), config.ams_x509.host_names(), believed));
        let tls = own.server_config_for(Arc::clone(&clients));
        let listener = listeners::serve_x509(socket, tls, &login, &config.limits)?;
        let (watched, pause) = (Arc::clone(&clients), Duration::from_secs(config.ams_x509.reload_seconds));
        let watch = actix_web::rt::spawn(async move {
            loop {
                actix_web::rt::time::sleep(pause).await;
                let clients = Arc::clone(&watched);
                let looked = actix_web::web::block(move || clients.reload(false)).await;
                if let Ok(Err(error)) = looked {
                    tracing::error!(%error, "authorities and revocation lists stay as they were");
                }
            }
        });
        Ok(Self { clients, listener, watch })
    }

    async fn stop(self) {
        self.watch.abort();
        self.listener.stop().await;
    }
}

impl Front {
    /// Tells programs, and in a demonstration people, where the service is.
    async fn greet(
        &self,
        config: &Config,
        addresses: Addresses,
        mode: Mode,
        foundation: &Foundation,
        admin: Option<&Token>,
    ) -> Result<(), String> {
        let mut text = addresses.line();
        text.push('\n');
        if mode == Mode::Quickstart {
            let trust = self.certificate.as_ref().and_then(|certificate| certificate.chain_file());
            let at = bootstrap::demonstration_position(&foundation.broker).await?;
            text.push_str(&welcome::text(&welcome::Facts { config, addresses, trust, admin, at }));
        }
        // Whoever started us may have closed our output; that is no reason to stop.
        drop(std::io::stdout().write_all(text.as_bytes()));
        Ok(())
    }
}

/// How the configuration shapes the AMS dialect.
fn ams_options(config: &Config) -> Result<AmsOptions, String> {
    let service_token = config.service_token().map_err(|error| error.to_string())?;
    Ok(AmsOptions {
        auth_option: AuthOption::parse(&config.ams.auth_option).unwrap_or_default(),
        per_resource_auth: config.ams.per_resource_auth,
        service_token: service_token.map(|token| Token::new(token.reveal())),
        message_bytes_max: config.limits.message_bytes,
        body_bytes_max: config.limits.body_bytes,
        body_time_max: Duration::from_secs(config.limits.body_seconds),
        retention: retention(config),
        proxy_hostname: config.ams.proxy_hostname.clone(),
        ..AmsOptions::default()
    })
}

/// What new topics keep.
pub(super) fn retention(config: &Config) -> Retention {
    Retention {
        age: Duration::from_secs(config.retention.days.saturating_mul(86_400)),
        bytes: Some(config.retention.bytes).filter(|bytes| *bytes > 0),
    }
}

/// What projects may use that have no quota of their own.
fn common_quota(config: &Config) -> Quota {
    let QuotaConfig { messages_per_second, bytes_per_second, topics, subscriptions } = config.quota;
    Quota {
        messages_per_second: Some(messages_per_second),
        bytes_per_second: Some(bytes_per_second),
        topics: Some(topics),
        subscriptions: Some(subscriptions),
    }
}

/// Opens the audit topic, if one is configured.
async fn open_audit(config: &Config, broker: &Broker, retention: Retention) -> Result<(), String> {
    if config.audit.topic.is_empty() {
        return Ok(());
    }
    let name = |key: &str, text: &str| Name::new(text).map_err(|error| format!("{key}: {error}"));
    let project = name("audit.project", &config.audit.project)?;
    let topic = name("audit.topic", &config.audit.topic)?;
    let opened = broker.open_audit(project, topic, retention).await;
    opened.map_err(|error| format!("the audit topic cannot be made: {error}"))
}

/// The control socket of a store on disk. Without it the service serves as well.
fn serve_control(engine: &Arc<Engine>) -> Option<Control> {
    let folder = engine.folder()?;
    let at_work = Arc::clone(engine);
    let work = move |Request::Backup { folder }| {
        let engine = Arc::clone(&at_work);
        async move {
            match engine.backup(&folder).await {
                Ok(()) => Response::Done,
                Err(error) => Response::Failed(error),
            }
        }
    };
    Control::serve(folder, work)
        .inspect_err(|error| {
            tracing::warn!(folder = %folder.display(), %error, "no control socket: backups need a stop");
        })
        .ok()
}
