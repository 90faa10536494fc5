//! The composition root: configuration in, running service out.
//!
//! Order of start: configuration, log, sockets (a taken port is told before anything is touched), operators' listener (alive,
//! not ready), store with its recovery, keys, broker, users, certificate, AMS listeners, ready.
//!
//! Order of stop: not ready, no new connections, requests in work finish within `limits.drain_seconds`, broker, store with its
//! end mark, operators' listener. A second signal ends all waiting; the store then recovers at the next start.

mod bootstrap;
mod control;
mod engine;
mod gauges;
mod listeners;
pub mod private;
mod sockets;
mod tls;
mod welcome;

pub use control::{Request, Response, ask};
pub(crate) use engine::backup_stopped;

use crate::api::ams::{Ams, AmsOptions, AuthOption, default_roles};
use crate::api::ops::{Ops, Phase};
use crate::auth::{Auth, KeyRing, Token};
use crate::broker::{self, Broker};
use crate::clock::Clock;
use crate::config::{Config, Invalid, Sources};
use crate::storage::Store;
use crate::telemetry::logging::{self, Level};
use crate::telemetry::metrics::Metrics;
use control::Control;
use engine::Engine;
use gauges::Gauges;
use listeners::Running;
use sockets::{Addresses, Sockets};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tls::Certificate;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the service is started for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To serve.
    Serve,
    /// To be tried: with a project, a topic and a subscription, and commands to copy.
    Quickstart,
}

/// Why the service stopped other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The configuration cannot be used.
    #[error(transparent)]
    Configuration(#[from] Invalid),
    /// Something failed: one line that says what and what to do.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for Stopped {
    fn from(line: String) -> Self {
        Self::Failed(line)
    }
}

/// Runs the service until it is told to stop. Blocks. A TLS provider must have been installed for the process.
///
/// # Errors
/// When it cannot start, or did not stop cleanly.
pub fn run(sources: Sources, mode: Mode) -> Result<(), Stopped> {
    let config = Config::load(&sources)?;
    let level = logging::start(&config.log.level, config.log.format == "json")?;
    let sockets = Sockets::bind(&config)?;
    actix_web::rt::System::new().block_on(async {
        let mut told = Told::listen()?;
        let service = tokio::select! {
            started = Service::start(&config, sockets, mode) => started?,
            () = told.to_stop() => return Ok(()),
        };
        while told.next().await == Wish::Reload {
            service.reload(&sources, &level);
        }
        tokio::select! {
            stopped = service.stop(Duration::from_secs(config.limits.drain_seconds)) => Ok(stopped?),
            () = told.to_stop() => {
                Err(Stopped::Failed("stopped at once by a second signal; the store recovers at the next start".to_owned()))
            }
        }
    })
}

/// The signals that the service heeds.
struct Told {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Stop,
    Reload,
}

impl Told {
    fn listen() -> Result<Self, String> {
        let to = |kind| signal(kind).map_err(|error| format!("cannot listen to signals: {error}"));
        Ok(Self {
            terminate: to(SignalKind::terminate())?,
            interrupt: to(SignalKind::interrupt())?,
            hang_up: to(SignalKind::hangup())?,
        })
    }

    /// Ends at the next signal to stop.
    async fn to_stop(&mut self) {
        while self.next().await == Wish::Reload {}
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }
}

/// The running service, in the order of its start.
struct Service {
    ops: Arc<Ops>,
    ops_listener: Option<Running>,
    engine: Arc<Engine>,
    broker: Broker,
    certificate: Option<Arc<Certificate>>,
    ams: Arc<Ams>,
    ams_listener: Running,
    /// Held for its socket.
    control: Option<Control>,
}

impl Service {
    async fn start(config: &Config, sockets: Sockets, mode: Mode) -> Result<Self, String> {
        let clock = Clock::System;
        let addresses = sockets.addresses();
        let metrics = Arc::new(Metrics::new().map_err(|error| format!("cannot make the metrics: {error}"))?);
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        let ops_listener = sockets.ops.map(|socket| listeners::serve_ops(socket, &ops)).transpose()?;

        let engine = Arc::new(Engine::open(config, &clock, &metrics).await?);
        let store = engine.store();
        let broker = start_broker(config, store, clock.clone(), &metrics).await?;
        let auth = start_auth(config, &broker).await?;
        let gauges = Arc::new(Gauges::new(Arc::clone(&metrics), Arc::clone(&engine), broker.clone()));
        ops.refresh_with(Box::new(move || {
            let gauges = Arc::clone(&gauges);
            Box::pin(async move { gauges.fill().await })
        }));

        let admin = bootstrap::administrator(config, &auth, mode).await?;
        if mode == Mode::Quickstart {
            bootstrap::demonstration(&broker).await?;
        }
        let certificate = match &sockets.ams_tls {
            Some(_) => Some(Certificate::open(config, &clock)?),
            None => None,
        };
        let ams = Arc::new(Ams::new(broker.clone(), auth, metrics, ams_options(config)));
        let tls = sockets.ams_tls.zip(certificate.as_ref().map(Certificate::server_config));
        let ams_listener = listeners::serve_ams(sockets.ams, tls, &ams, &config.limits)?;
        let control = serve_control(&engine)?;
        ops.set_phase(Phase::Ready);
        tracing::info!(store = %config.store.url, "{}", addresses.line());
        let service = Self { ops, ops_listener, engine, broker, certificate, ams, ams_listener, control };
        service.greet(config, addresses, mode, admin.as_ref()).await?;
        Ok(service)
    }

    /// Tells programs, and in a demonstration people, where the service is.
    async fn greet(
        &self,
        config: &Config,
        addresses: Addresses,
        mode: Mode,
        admin: Option<&Token>,
    ) -> Result<(), String> {
        let mut text = addresses.line();
        text.push('\n');
        if mode == Mode::Quickstart {
            let trust = self.certificate.as_ref().and_then(|certificate| certificate.chain_file());
            let at = bootstrap::demonstration_position(&self.broker).await?;
            text.push_str(&welcome::text(&welcome::Facts { config, addresses, trust, admin, at }));
        }
        // Whoever started us may have closed our output; that is no reason to stop.
        drop(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()));
        Ok(())
    }

    /// Takes over what may change while running; on a mistake everything stays as it is.
    fn reload(&self, sources: &Sources, level: &Level) {
        let taken = Config::load(sources).map_err(|error| error.to_string()).and_then(|config| {
            self.certificate.as_ref().map_or(Ok(()), |certificate| certificate.reload())?;
            level.set(&config.log.level)?;
            self.ams.set_options(ams_options(&config));
            Ok(())
        });
        match taken {
            Ok(()) => tracing::info!("certificate, limits and log level are read anew"),
            Err(error) => tracing::error!(%error, "the configuration stays as it was"),
        }
    }

    async fn stop(self, drain: Duration) -> Result<(), String> {
        tracing::info!("stopping: requests in work are finished first");
        self.ops.set_phase(Phase::Draining);
        drop(self.control);
        self.ams_listener.stop(drain, async || self.broker.stop().await).await;
        self.engine.close().await.map_err(|error| format!("the store did not close cleanly: {error}"))?;
        if let Some(listener) = self.ops_listener {
            listener.stop(Duration::ZERO, async || {}).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

async fn start_broker(
    config: &Config,
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: &Arc<Metrics>,
) -> Result<Broker, String> {
    let options = broker::Options {
        publish_bytes: config.limits.publish_bytes,
        waiting_pulls_max: config.limits.waiting_pulls,
        ..broker::Options::default()
    };
    let started = Broker::start(store, clock, options, Arc::clone(metrics)).await;
    started.map_err(|error| format!("the store cannot be read: {error}"))
}

/// Opens the keys and the users. A key file that was made for a store that turns out to have another is taken away again.
async fn start_auth(config: &Config, broker: &Broker) -> Result<Auth, String> {
    let path = config.key_file();
    let made = path.as_deref().is_some_and(|path| !path.exists());
    let started = async {
        let keys = match &path {
            Some(path) => KeyRing::open(path)?,
            None => KeyRing::generate()?,
        };
        Auth::start(broker.clone(), keys, default_roles()).await
    };
    started.await.map_err(|error| {
        if let (true, Some(path)) = (made, &path) {
            drop(std::fs::remove_file(path));
        }
        let place = path.as_deref().map_or_else(String::new, |path| format!(" ({})", path.display()));
        format!("secrets.key_file{place}: {error}")
    })
}

/// How the configuration shapes the AMS dialect.
fn ams_options(config: &Config) -> AmsOptions {
    let service_token = config.ams.service_token.reveal();
    AmsOptions {
        auth_option: AuthOption::parse(&config.ams.auth_option).unwrap_or_default(),
        per_resource_auth: config.ams.per_resource_auth,
        service_token: (!service_token.is_empty()).then(|| Token::new(service_token)),
        message_bytes_max: config.limits.message_bytes,
        body_bytes_max: config.limits.body_bytes,
        body_time_max: Duration::from_secs(config.limits.body_seconds),
        proxy_hostname: config.ams.proxy_hostname.clone(),
        ..AmsOptions::default()
    }
}

/// The control socket of a store on disk.
fn serve_control(engine: &Arc<Engine>) -> Result<Option<Control>, String> {
    let Some(folder) = engine.folder() else { return Ok(None) };
    let engine = Arc::clone(engine);
    let work = move |request| {
        let engine = Arc::clone(&engine);
        async move {
            match request {
                Request::Backup { folder } => match engine.backup(&folder).await {
                    Ok(()) => Response::Done,
                    Err(error) => Response::Failed(error),
                },
            }
        }
    };
    let serve = |folder: &Path| Control::serve(folder, work);
    let control =
        serve(folder).map_err(|error| format!("cannot make the control socket in {}: {error}", folder.display()))?;
    Ok(Some(control))
}

/// Gives the store of a stopped service a new key, and everything that was encrypted with the old one. The number of users
/// whose tokens that were.
///
/// # Errors
/// When the service runs, or the key is not the store's.
pub(crate) async fn rotate_key(config: &Config) -> Result<usize, String> {
    let path = config.key_file().ok_or("a store in memory keeps no key: there is nothing to change")?;
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let engine = Engine::open(config, &Clock::System, &metrics).await?;
    let broker = start_broker(config, engine.store(), Clock::System, &metrics).await?;
    let rotated = async {
        // Only who has the right key may add one.
        start_auth(config, &broker).await?;
        let keys = KeyRing::add_key(&path).map_err(|error| error.to_string())?;
        let auth = Auth::start(broker.clone(), keys, default_roles()).await.map_err(|error| error.to_string())?;
        let renewed = auth.rotate().await.map_err(|error| error.to_string())?;
        KeyRing::drop_old(&path).map_err(|error| error.to_string())?;
        Ok(renewed)
    };
    let rotated: Result<usize, String> = rotated.await;
    broker.stop().await;
    engine.close().await?;
    rotated
}
