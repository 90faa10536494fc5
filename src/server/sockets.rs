//! Listening sockets: bound before anything else starts, so that a taken port is told at once and nothing was touched.

use crate::config::Config;
use rustix::net::sockopt::set_tcp_user_timeout;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// The sockets of all listeners that are not off.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) ams: Option<TcpListener>,
    pub(super) ams_tls: Option<TcpListener>,
    pub(super) ams_x509: Option<TcpListener>,
    pub(super) zaqar: Option<TcpListener>,
    pub(super) zaqar_websocket: Option<TcpListener>,
    pub(super) ops: Option<TcpListener>,
    pub(super) cluster: Option<TcpListener>,
}

/// Where the listeners really are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) ams: Option<SocketAddr>,
    pub(super) ams_tls: Option<SocketAddr>,
    pub(super) ams_x509: Option<SocketAddr>,
    pub(super) zaqar: Option<SocketAddr>,
    pub(super) zaqar_websocket: Option<SocketAddr>,
    pub(super) ops: Option<SocketAddr>,
    pub(super) cluster: Option<SocketAddr>,
}

impl Sockets {
    /// Binds them all. A connection whose client takes nothing of what was sent for `limits.keep_alive_seconds` is cut by the
    /// kernel: as idle as one that sends nothing, but it holds an answer.
    pub(super) fn bind(config: &Config) -> Result<Self, String> {
        let sockets = Self {
            ams: bind("listen.ams", &config.listen.ams)?,
            ams_tls: bind("listen.ams_tls", &config.listen.ams_tls)?,
            ams_x509: bind("listen.ams_x509", &config.listen.ams_x509)?,
            zaqar: bind("listen.zaqar", &config.listen.zaqar)?,
            zaqar_websocket: bind("listen.zaqar_websocket", &config.listen.zaqar_websocket)?,
            ops: bind("listen.ops", &config.listen.ops)?,
            cluster: bind("listen.cluster", &config.listen.cluster)?,
        };
        let millis = u32::try_from(config.limits.keep_alive_seconds.saturating_mul(1_000)).unwrap_or(u32::MAX);
        let Self { ams, ams_tls, ams_x509, zaqar, zaqar_websocket, ops, cluster } = &sockets;
        for socket in [ams, ams_tls, ams_x509, zaqar, zaqar_websocket, ops, cluster].into_iter().flatten() {
            // Accepted connections inherit it.
            set_tcp_user_timeout(socket, millis).map_err(|error| format!("cannot set a socket's timeout: {error}"))?;
        }
        Ok(sockets)
    }

    /// Where they are; a port of 0 has become a real one.
    pub(super) fn addresses(&self) -> Addresses {
        let of = |socket: &Option<TcpListener>| socket.as_ref().and_then(|socket| socket.local_addr().ok());
        Addresses {
            ams: of(&self.ams),
            ams_tls: of(&self.ams_tls),
            ams_x509: of(&self.ams_x509),
            zaqar: of(&self.zaqar),
            zaqar_websocket: of(&self.zaqar_websocket),
            ops: of(&self.ops),
            cluster: of(&self.cluster),
        }
    }
}

impl Addresses {
    /// The URLs of the listeners by name.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, String)> {
        let listeners = [
            ("ams", "http", self.ams),
            ("ams_tls", "https", self.ams_tls),
            ("ams_x509", "https", self.ams_x509),
            ("zaqar", "http", self.zaqar),
            ("zaqar_websocket", "ws", self.zaqar_websocket),
            ("ops", "http", self.ops),
            ("cluster", "tcp", self.cluster),
        ];
        listeners.into_iter().filter_map(|(name, scheme, address)| Some((name, format!("{scheme}://{}", address?))))
    }

    /// The line that tells programs that the service is ready, and where.
    pub(super) fn line(&self) -> String {
        let urls: Vec<String> = self.urls().map(|(name, url)| format!("{name}={url}")).collect();
        format!("listening {}", urls.join(" "))
    }
}

fn bind(key: &str, text: &str) -> Result<Option<TcpListener>, String> {
    let Some(address) = Config::address(key, text).map_err(|error| error.to_string())? else { return Ok(None) };
    let socket = TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "{key}: port {} of {} is taken: stop what uses it, or choose another with --set {key}={}:PORT",
                address.port(),
                address.ip(),
                address.ip()
            )
        }
        ErrorKind::PermissionDenied => {
            format!("{key}: {address} may not be opened: choose a port above 1023 with --set {key}=…")
        }
        _ => format!("{key}: cannot listen on {address}: {error}"),
    })?;
    Ok(Some(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let first = bind("listen.ams", "127.0.0.1:0").unwrap().unwrap();
        let taken = first.local_addr().unwrap().to_string();
        let message = bind("listen.ams", &taken).unwrap_err();
        assert!(message.contains("is taken") && message.contains("--set listen.ams=127.0.0.1:PORT"), "{message}");
        assert!(bind("listen.ams", "off").unwrap().is_none());
    }

    #[test]
    fn the_ready_line_leaves_out_what_is_off() {
        let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let (ams, zaqar, ops) = (at(1), at(2), at(3));
        let addresses =
            Addresses { ams, ams_tls: None, ams_x509: None, zaqar, zaqar_websocket: None, ops, cluster: None };
        assert_eq!(
            addresses.line(),
            "listening ams=http://127.0.0.1:1 zaqar=http://127.0.0.1:2 ops=http://127.0.0.1:3"
        );
    }
}
