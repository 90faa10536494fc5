//! The composition root: configuration in, running service out.
//!
//! Order of start: configuration, log, sockets (a taken port is told before anything is touched), operators' listener (alive,
//! not ready), certificates, store with its recovery, broker, keys and users, the dialects' listeners, ready.
//!
//! Order of stop: not ready, no new connections, requests in work finish within `limits.drain_seconds`, broker, store with its
//! end mark, operators' listener. A second signal ends all waiting; the store then recovers at the next start.

mod bootstrap;
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod control;
mod descriptors;
mod engine;
#[cfg(test)]
mod failing_disk_tests;
mod foundation;
mod gauges;
mod listeners;
pub mod private;
mod push;
mod service;
mod sockets;
mod stages;
mod tls;
mod transfer;
mod welcome;
mod zaqar;

pub(crate) use cluster::migrate;
pub use control::{Request, Response, ask, is_served};
pub(crate) use engine::{at, backup_stopped};
pub(crate) use foundation::rotate_key;
pub(crate) use tls::check as check_certificate;
pub(crate) use transfer::{export, import, import_ams};
pub(crate) use zaqar::policy as check_policy;

use crate::config::{Config, Invalid, Sources};
use crate::telemetry::logging;
use service::Service;
use sockets::Sockets;
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
            () = told.stop_asked() => return Ok(()),
        };
        while told.next().await == Wish::Reload {
            service.reload(&sources, &level);
        }
        tokio::select! {
            stopped = service.stop() => Ok(stopped?),
            () = told.stop_asked() => {
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
    async fn stop_asked(&mut self) {
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
