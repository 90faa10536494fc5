//! A minimal client of NATS and JetStream: one connection, what is sent gathers until it is waited for. Understands what the load
//! needs, no more.

use crate::Result;
use crate::verify::field;
use memchr::memmem;
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The stream that everything is published to, and its subject.
pub(crate) const STREAM: &str = "t";
/// What is read already is thrown away beyond this much.
const KEEP: usize = 1 << 20;

/// A connection with its own inbox.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    out: Vec<u8>,
    got: Vec<u8>,
    at: usize,
    inbox: String,
}

/// A message that arrived: places in the client's buffer, good until the next one is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    subject: Range<usize>,
    reply: Range<usize>,
    payload: Range<usize>,
    /// A status instead of a message: nothing there, too late.
    pub(crate) is_status: bool,
}

impl Client {
    /// Connects; the number makes the inbox its own.
    pub(crate) async fn open(address: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let inbox = format!("_INBOX.{number}");
        let mut client = Self { stream, out: Vec::new(), got: Vec::new(), at: 0, inbox };
        write!(
            client.out,
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"bench\",\"version\":\"1\"}}\r\n\
             SUB {}.* 1\r\n",
            client.inbox
        )?;
        client.flush().await?;
        Ok(client)
    }

    /// Puts a message into what is sent next; its answer comes to the inbox under `reply`, if that is given.
    pub(crate) fn publish(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) -> Result<()> {
        match reply {
            Some(reply) => write!(self.out, "PUB {subject} {}.{reply} {}\r\n", self.inbox, payload.len())?,
            None => write!(self.out, "PUB {subject} {}\r\n", payload.len())?,
        }
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Sends what has gathered.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Sends a request to the server's own interface and gives its answer.
    pub(crate) async fn request(&mut self, subject: &str, payload: &str) -> Result<String> {
        self.publish(subject, Some("request"), payload.as_bytes())?;
        self.flush().await?;
        loop {
            let incoming = self.next().await?;
            if self.reply_to(&incoming) == "request" {
                let answer = self.payload(&incoming).to_owned();
                return if answer.contains("\"error\"") {
                    Err(format!("{subject}: {answer}").into())
                } else {
                    Ok(answer)
                };
            }
        }
    }

    /// The next message, waited for.
    pub(crate) async fn next(&mut self) -> Result<Incoming> {
        loop {
            if let Some(incoming) = self.parse()? {
                return Ok(incoming);
            }
            if !self.out.is_empty() {
                self.flush().await?;
            }
            if self.at == self.got.len() {
                self.got.clear();
                self.at = 0;
            } else if self.at > KEEP {
                self.got.drain(..self.at);
                self.at = 0;
            }
            self.got.reserve(64 << 10);
            if self.stream.read_buf(&mut self.got).await? == 0 {
                return Err("NATS closed the connection".into());
            }
        }
    }

    /// The next message, if it is there already.
    pub(crate) fn parse(&mut self) -> Result<Option<Incoming>> {
        loop {
            let rest = self.got.get(self.at..).unwrap_or_default();
            let Some(length) = memmem::find(rest, b"\r\n") else { return Ok(None) };
            let line = std::str::from_utf8(rest.get(..length).unwrap_or_default())?;
            let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
            let after = self.at + length + 2;
            match verb {
                "MSG" | "HMSG" => {
                    let has_headers = verb == "HMSG";
                    let place = |word: &str| {
                        let from = self.at + (word.as_ptr() as usize - line.as_ptr() as usize);
                        from..from + word.len()
                    };
                    let words: Vec<&str> = arguments.split(' ').collect();
                    let sizes = if has_headers { 2 } else { 1 };
                    let size = |at: usize| words.iter().rev().nth(at).and_then(|word| word.parse::<usize>().ok());
                    let total = size(0).ok_or("a message without a size")?;
                    let headers = if has_headers { size(1).ok_or("a message without a size")? } else { 0 };
                    if self.got.len() < after + total + 2 {
                        return Ok(None);
                    }
                    let reply = words.get(2).filter(|_| words.len() == 3 + sizes);
                    let incoming = Incoming {
                        subject: words.first().map_or(0..0, |word| place(word)),
                        reply: reply.map_or(0..0, |word| place(word)),
                        payload: after + headers..after + total,
                        is_status: has_headers && headers == total,
                    };
                    self.at = after + total + 2;
                    return Ok(Some(incoming));
                }
                "PING" => self.out.extend_from_slice(b"PONG\r\n"),
                "-ERR" => return Err(format!("NATS: {arguments}").into()),
                _ => {}
            }
            self.at = after;
        }
    }

    fn text(&self, place: &Range<usize>) -> &str {
        std::str::from_utf8(self.got.get(place.clone()).unwrap_or_default()).unwrap_or_default()
    }

    /// What of the inbox it came to: the `reply` of what it answers.
    pub(crate) fn reply_to(&self, incoming: &Incoming) -> &str {
        self.text(&incoming.subject).strip_prefix(self.inbox.as_str()).unwrap_or_default().trim_start_matches('.')
    }

    pub(crate) fn payload(&self, incoming: &Incoming) -> &str {
        self.text(&incoming.payload)
    }

    /// The place of a delivered message in its stream, from 0 on: the sixth word of where it is acknowledged.
    pub(crate) fn offset(&self, incoming: &Incoming) -> Option<u64> {
        self.text(&incoming.reply).split('.').nth(5)?.parse::<u64>().ok()?.checked_sub(1)
    }

    /// Acknowledges a message; with `reply`, the server answers when it has.
    pub(crate) fn acknowledge(&mut self, incoming: &Incoming, reply: Option<&str>) -> Result<()> {
        let subject = self.text(&incoming.reply).to_owned();
        self.publish(&subject, reply, b"")
    }

    /// Makes the stream, on disk.
    pub(crate) async fn make_stream(&mut self) -> Result<()> {
        let config =
            format!("{{\"name\":\"{STREAM}\",\"subjects\":[\"{STREAM}\"],\"storage\":\"file\",\"num_replicas\":1}}");
        self.request(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &config).await.map(drop)
    }

    /// Makes a durable consumer of the stream; `all` if one acknowledgement stands for all before it.
    pub(crate) async fn make_consumer(&mut self, name: &str, all: bool) -> Result<()> {
        let policy = if all { "all" } else { "explicit" };
        let config = format!(
            "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"durable_name\":\"{name}\",\"ack_policy\":\"{policy}\",\"deliver_policy\":\"all\",\
             \"ack_wait\":600000000000,\"max_ack_pending\":-1}}}}"
        );
        self.request(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{name}"), &config).await.map(drop)
    }

    /// Asks a consumer for messages: what is there now, or waiting for so many seconds.
    pub(crate) fn ask(&mut self, consumer: &str, count: u64, wait: Option<u64>) -> Result<()> {
        let how = wait.map_or_else(|| "\"no_wait\":true".to_owned(), |wait| format!("\"expires\":{wait}000000000"));
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}");
        self.publish(&subject, Some("pull"), format!("{{\"batch\":{count},{how}}}").as_bytes())
    }
}

/// The offset that a publish was answered with, from 0 on.
pub(crate) fn published_at(answer: &str) -> Option<u64> {
    field(answer, "seq")?.parse::<u64>().ok()?.checked_sub(1)
}
