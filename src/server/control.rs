//! The control socket: what an operator on this machine asks of the running service, outside the public API.
//!
//! A Unix socket in the store's folder, mode 0600. One request a connection: a line of JSON each way.

use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the store's folder.
const SOCKET: &str = "control.sock";
/// Most bytes of a request.
const REQUEST_BYTES: u64 = 64 << 10;
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Copy the store into a new folder.
    Backup {
        /// Where to; absolute.
        folder: PathBuf,
    },
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done,
    /// It is not, and why.
    Failed(String),
}

/// Asks the service that runs on a store's folder. None when none runs there. Waits as long as the work takes.
///
/// # Errors
/// When the service does not answer as it should.
pub fn ask(folder: &Path, request: &Request) -> std::io::Result<Option<Response>> {
    let Ok(mut stream) = BlockingStream::connect(folder.join(SOCKET)) else { return Ok(None) };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(Some(serde_json::from_str(&answer)?))
}

/// Whether a service runs on a store's folder and answers there.
#[must_use]
pub fn is_served(folder: &Path) -> bool {
    BlockingStream::connect(folder.join(SOCKET)).is_ok()
}

/// Serves the socket until dropped.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Makes the socket, in place of one that a crash left. The caller holds the folder's lock: nobody else serves it.
    pub(super) fn serve<F>(folder: &Path, work: impl Fn(Request) -> F + 'static) -> std::io::Result<Self>
    where
        F: Future<Output = Response> + 'static,
    {
        let path = folder.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let task = actix_web::rt::spawn(async move {
            // One at a time: nobody runs two backups at once, and no more is needed.
            while let Ok((stream, _)) = listener.accept().await {
                if let Err(error) = answer(stream, &work).await {
                    tracing::debug!(%error, "a control connection ended early");
                }
            }
        });
        Ok(Self { path, task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

async fn answer<F: Future<Output = Response>>(
    mut stream: UnixStream,
    work: impl Fn(Request) -> F,
) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let mut reading = tokio::io::BufReader::new(reading.take(REQUEST_BYTES));
    tokio::time::timeout(REQUEST_TIME, reading.read_line(&mut line)).await??;
    let response = match serde_json::from_str(&line) {
        Ok(request) => work(request).await,
        Err(error) => Response::Failed(format!("not a request: {error}")),
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    writing.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_request_is_answered_on_a_socket_that_only_its_owner_may_use() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SOCKET), "left by a crash").unwrap();
        let control =
            Control::serve(folder.path(), |request| async move { Response::Failed(format!("{request:?}")) }).unwrap();
        let mode = std::fs::metadata(folder.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (place, backup) = (folder.path().to_owned(), Request::Backup { folder: "/copy".into() });
        let expected = Response::Failed(format!("{backup:?}"));
        let answer = tokio::task::spawn_blocking(move || ask(&place, &backup)).await.unwrap().unwrap();
        assert_eq!(answer, Some(expected));
        drop(control);
        assert_eq!(ask(folder.path(), &Request::Backup { folder: "/copy".into() }).unwrap(), None);
    }
}
