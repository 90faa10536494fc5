//! What a handler may know of and do to its client's connection: whether the client has gone, and hanging up on it. The HTTP server alone
//! offers neither: it takes a closed read side for half a conversation, and reads a refused body without end to its end.
//!
//! The server registers [`on_connect`] on its listeners; without it, handlers wait to the end of their time.

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::http::Version;
use actix_web::rt::net::TcpStream;
use std::any::Any;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::Interest;

/// How long an answer has to leave before a hang-up.
const PARTING: Duration = Duration::from_millis(100);

/// A second handle on a connection's socket: for looking whether the client closed it, and for closing it.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    /// Made by the first handler that waits: most connections never have one.
    watched: OnceLock<Option<TcpStream>>,
}

/// Remembers a new connection: give it to `HttpServer::on_connect`. Plain and TLS connections; others are not watched.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection
        .downcast_ref::<TcpStream>()
        .or_else(|| connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0));
    if let Some(socket) = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok()) {
        data.insert(Connection { socket, watched: OnceLock::new() });
    }
}

/// Ends when the request's client closed the connection, else never. Harmless to drop.
pub(crate) async fn client_gone(request: &HttpRequest) {
    if let Some(watched) = request.conn_data::<Connection>().and_then(Connection::watch) {
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // Something was sent that is not for us to read: wait for the next event.
            let _ = watched.try_io::<()>(Interest::READABLE, || Err(ErrorKind::WouldBlock.into()));
        }
    }
    std::future::pending().await
}

/// Closes the request's connection once its answer had time to leave: the client goes on sending what nobody will read. Does nothing on
/// HTTP/2, where the stream ends alone.
pub(crate) fn hang_up(request: &HttpRequest) {
    let connection = request.conn_data::<Connection>().filter(|_| request.version() < Version::HTTP_2);
    if let Some(socket) = connection.and_then(|connection| connection.socket.try_clone().ok()) {
        actix_web::rt::spawn(async move {
            tokio::time::sleep(PARTING).await;
            // Closed already is as good.
            let _ = std::net::TcpStream::from(socket).shutdown(Shutdown::Both);
        });
    }
}

impl Connection {
    fn watch(&self) -> Option<&TcpStream> {
        let watch = || TcpStream::from_std(self.socket.try_clone().ok()?.into()).ok();
        self.watched.get_or_init(watch).as_ref()
    }
}
