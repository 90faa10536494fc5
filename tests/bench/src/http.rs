//! A minimal HTTP/1.1 client: one connection, kept alive, one request in flight. Understands what this server sends, no more.

use crate::Result;
use memchr::memmem;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A kept connection with its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    token: String,
    out: Vec<u8>,
    got: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, token: token.to_owned(), out: Vec::new(), got: Vec::new() })
    }

    /// Sends a request and gives the body of its answer, which must be a 200.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<&[u8]> {
        self.out.clear();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        let (begin, end, status) = self.answer().await?;
        let body = self.got.get(begin..end).unwrap_or_default();
        if status != 200 {
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
        let head = String::from_utf8_lossy(self.got.get(..begin).unwrap_or_default()).to_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.ok_or("an answer without content-length")?.trim().parse()?;
        while self.got.len() < begin + length {
            self.more().await?;
        }
        Ok((begin, begin + length, status))
    }

    async fn more(&mut self) -> Result<()> {
        self.got.reserve(64 << 10);
        match self.stream.read_buf(&mut self.got).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}
