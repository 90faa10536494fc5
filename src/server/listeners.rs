//! HTTP servers on bound sockets, with their limits, and how they end.

use super::descriptors;
use crate::api::ams::x509::{self, X509Login};
use crate::api::ams::{self, Ams};
use crate::api::connection;
use crate::api::ops::{self, Ops};
use crate::api::zaqar::{self, Zaqar};
use crate::config::Limits;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::rt::task::JoinHandle;
use actix_web::web::ServiceConfig;
use actix_web::{App, HttpServer};
use rustls::ServerConfig;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Connections that the operators' listener takes.
const OPS_CONNECTIONS: usize = 64;
/// Connections that the listener for client certificates takes: each is there for one token.
const X509_CONNECTIONS: usize = 512;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server at work.
#[derive(Debug)]
pub(super) struct Running {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(server: Server) -> Self {
        Self { handle: server.handle(), task: actix_web::rt::spawn(server) }
    }

    /// Takes no new connections, lets requests in work finish within the listener's drain time, and ends.
    pub(super) async fn stop(self) {
        self.handle.stop(true).await;
        // The server has ended; only its answer is left to take.
        drop(self.task.await);
    }
}

/// Serves metrics and health.
pub(super) fn serve_ops(socket: TcpListener, ops: &Arc<Ops>) -> Result<Running, String> {
    let ops = Arc::clone(ops);
    let server = HttpServer::new(move || App::new().configure(ops::configure(Arc::clone(&ops))))
        .workers(1)
        .max_connections(OPS_CONNECTIONS)
        .client_request_timeout(Duration::from_secs(5))
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(75)))
        .shutdown_timeout(1)
        .disable_signals()
        .listen(socket)
        .map_err(|error| format!("listen.ops: {error}"))?;
    Ok(Running::start(server.run()))
}

/// Serves the AMS dialect over HTTP and HTTPS.
pub(super) fn serve_ams(
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, ServerConfig)>,
    ams: &Arc<Ams>,
    limits: &Limits,
) -> Result<Running, String> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let ams = Arc::clone(ams);
    let mut server = HttpServer::new(move || App::new().configure(ams::configure(Arc::clone(&ams))))
        .on_connect(connection::on_connect)
        .workers(workers)
        .max_connections(descriptors::connections(limits.connections).div_ceil(workers))
        .client_request_timeout(Duration::from_secs(limits.header_seconds))
        .client_disconnect_timeout(Duration::from_secs(5))
        .tls_handshake_timeout(HANDSHAKE)
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(limits.keep_alive_seconds)))
        .tcp_nodelay(true)
        .shutdown_timeout(limits.drain_seconds)
        .disable_signals();
    if let Some(socket) = plain {
        server = server.listen(socket).map_err(|error| format!("listen.ams: {error}"))?;
    }
    if let Some((socket, config)) = tls {
        server = server.listen_rustls_0_23(socket, config).map_err(|error| format!("listen.ams_tls: {error}"))?;
    }
    Ok(Running::start(server.run()))
}

/// Serves the Zaqar dialect over HTTP.
pub(super) fn serve_zaqar(socket: TcpListener, zaqar: &Arc<Zaqar>, limits: &Limits) -> Result<Running, String> {
    let service = Arc::clone(zaqar);
    serve_plain("listen.zaqar", socket, limits, move |application| {
        zaqar::configure(Arc::clone(&service))(application);
    })
}

/// Serves the Zaqar dialect over WebSocket.
pub(super) fn serve_zaqar_websocket(
    socket: TcpListener,
    zaqar: &Arc<Zaqar>,
    limits: &Limits,
) -> Result<Running, String> {
    let service = Arc::clone(zaqar);
    serve_plain("listen.zaqar_websocket", socket, limits, move |application| {
        zaqar::websocket::configure(Arc::clone(&service))(application);
    })
}

fn serve_plain(
    key: &str,
    socket: TcpListener,
    limits: &Limits,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> Result<Running, String> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .on_connect(connection::on_connect)
        .workers(workers)
        .max_connections(descriptors::connections(limits.connections).div_ceil(workers))
        .client_request_timeout(Duration::from_secs(limits.header_seconds))
        .client_disconnect_timeout(Duration::from_secs(5))
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(limits.keep_alive_seconds)))
        .tcp_nodelay(true)
        .shutdown_timeout(limits.drain_seconds)
        .disable_signals()
        .listen(socket)
        .map_err(|error| format!("{key}: {error}"))?;
    Ok(Running::start(server.run()))
}

/// Serves logins by client certificate.
pub(super) fn serve_x509(
    socket: TcpListener,
    config: ServerConfig,
    login: &Arc<X509Login>,
    limits: &Limits,
) -> Result<Running, String> {
    let login = Arc::clone(login);
    let server = HttpServer::new(move || App::new().configure(x509::configure(Arc::clone(&login))))
        .on_connect(x509::on_connect)
        .workers(1)
        .max_connections(X509_CONNECTIONS)
        .client_request_timeout(Duration::from_secs(limits.header_seconds))
        .client_disconnect_timeout(Duration::from_secs(5))
        .tls_handshake_timeout(HANDSHAKE)
        // A client comes once for its token.
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(limits.keep_alive_seconds.min(5))))
        .tcp_nodelay(true)
        .shutdown_timeout(limits.drain_seconds)
        .disable_signals()
        .listen_rustls_0_23(socket, config)
        .map_err(|error| format!("listen.ams_x509: {error}"))?;
    Ok(Running::start(server.run()))
}
