//! A minimal HTTP/1.1 client: one connection, kept alive, one request in flight, plain or over TLS. Understands what this server
//! sends, no more.

use crate::Result;
use memchr::memmem;
use std::fmt::Debug;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

trait Stream: AsyncRead + AsyncWrite + Unpin + Debug {}
impl<S: AsyncRead + AsyncWrite + Unpin + Debug> Stream for S {}

/// What a client trusts: the certificates in this file.
pub(crate) fn trust(chain: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(chain)?) {
        // The server's own certificate is no authority; the one behind it is.
        drop(roots.add(certificate?));
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// A kept connection with its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// What names the caller in each request's head.
    caller: String,
    out: Vec<u8>,
    got: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>, caller: String) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            Some(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(ServerName::try_from("localhost")?, stream).await?)
            }
            None => Box::new(stream),
        };
        Ok(Self { stream, caller, out: Vec::new(), got: Vec::new() })
    }

    /// Sends a request and gives the body of its answer, which must be a success.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<&[u8]> {
        self.out.clear();
        write!(
            self.out,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{}content-length: {}\r\n\r\n",
            self.caller,
            body.len()
        )?;
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        let (begin, end, status) = self.answer().await?;
        let body = self.got.get(begin..end).unwrap_or_default();
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(body)).into());
        }
        Ok(body)
    }

    /// Reads one whole answer: where its body begins and ends, and its status.
    async fn answer(&mut self) -> Result<(usize, usize, u16)> {
        self.got.clear();
        let begin = loop {
            self.more().await?;
            if let Some(at) = memmem::find(&self.got, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = std::str::from_utf8(self.got.get(..begin).unwrap_or_default())?;
        let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
        if status == 204 {
            return Ok((begin, begin, status));
        }
        let is_length = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("content-length");
        let length = head.lines().filter_map(|line| line.split_once(':')).find(is_length);
        let length: usize = length.ok_or("an answer without content-length")?.1.trim().parse()?;
        self.got.reserve((begin + length).saturating_sub(self.got.len()));
        while self.got.len() < begin + length {
            self.more().await?;
        }
        Ok((begin, begin + length, status))
    }

    async fn more(&mut self) -> Result<()> {
        if self.got.capacity() - self.got.len() < 16 << 10 {
            self.got.reserve(64 << 10);
        }
        match self.stream.read_buf(&mut self.got).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}
