//! Publishing and pulling from the command line. Nothing is printed as published or acknowledged before the server said so.

use super::args::{Publish, Pull};
use super::client::Client;
use super::output::Output;
use super::resources::text;
use super::{Answer, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::io::{BufRead, IsTerminal, Read, Write};
use tokio::sync::mpsc;

/// Most data bytes of one request; far below what servers take, so that base64 and attributes fit.
const REQUEST_BYTES: usize = 2 << 20;
/// Most bytes of one line of standard input.
const LINE_BYTES: u64 = 8 << 20;
/// Publishes everything there is, request by request.
pub(super) async fn publish(client: &Client, command: Publish, out: Output) -> Answer {
    let attributes = attributes(&command.attribute)?;
    let mut given: Vec<Vec<u8>> = command.messages.into_iter().map(String::into_bytes).collect();
    for path in &command.file {
        let read = std::fs::read(path);
        given.push(read.map_err(|error| Failure::Usage(format!("--file: cannot read {}: {error}", path.display())))?);
    }
    let mut run = Publisher { client, topic: command.topic, attributes, count: 0, last: None, out };
    let batch = usize::from(command.batch);
    if given.is_empty() {
        let mut lines = read_lines(batch);
        let mut taken = Vec::new();
        while lines.recv_many(&mut taken, batch).await > 0 {
            let ready: Vec<Vec<u8>> = taken.drain(..).collect::<Result<_, _>>()?;
            run.send_all(ready, batch).await?;
        }
    } else {
        run.send_all(given, batch).await?;
    }
    run.finish()
}

/// `name=value` pairs as an object.
fn attributes(pairs: &[String]) -> Answer<Map<String, Value>> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Value::from(value))),
        _ => Err(Failure::Usage(format!("--attribute {pair}: write it as name=value"))),
    };
    pairs.iter().map(pair).collect()
}

/// The lines of standard input, read on a thread of their own: what has arrived is published without waiting for more.
pub(super) fn read_lines(ahead: usize) -> mpsc::Receiver<Answer<Vec<u8>>> {
    let (send, receive) = mpsc::channel(ahead);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
            let item = match read {
                Ok(0) => return,
                Ok(size) if size as u64 == LINE_BYTES && line.last() != Some(&b'\n') => {
                    Err(Failure::Failed(format!("a line of standard input is longer than {LINE_BYTES} bytes")))
                }
                Ok(_) => {
                    line.pop_if(|byte| *byte == b'\n');
                    line.pop_if(|byte| *byte == b'\r');
                    Ok(line)
                }
                Err(error) => Err(Failure::Failed(format!("cannot read standard input: {error}"))),
            };
            let failed = item.is_err();
            if send.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    receive
}

struct Publisher<'a> {
    client: &'a Client,
    topic: String,
    attributes: Map<String, Value>,
    count: u64,
    last: Option<String>,
    out: Output,
}

impl Publisher<'_> {
    async fn send_all(&mut self, messages: Vec<Vec<u8>>, batch: usize) -> Answer {
        let mut request = Vec::new();
        let mut bytes = 0;
        for message in messages {
            if !request.is_empty() && (request.len() == batch || bytes + message.len() > REQUEST_BYTES) {
                self.send(std::mem::take(&mut request)).await?;
                bytes = 0;
            }
            bytes += message.len();
            let mut entry = Map::new();
            entry.insert("data".to_owned(), STANDARD.encode(&message).into());
            if !self.attributes.is_empty() {
                entry.insert("attributes".to_owned(), self.attributes.clone().into());
            }
            request.push(Value::from(entry));
        }
        if request.is_empty() { Ok(()) } else { self.send(request).await }
    }

    async fn send(&mut self, messages: Vec<Value>) -> Answer {
        let path = self.client.path("topics", &self.topic, ":publish");
        let so_far = if self.count == 0 { String::new() } else { format!(" (after {} messages)", self.count) };
        let what = format!("publish to topic {}{so_far}", self.topic);
        let answer = self.client.call(Method::POST, &path, Some(&json!({ "messages": messages })), &what).await?;
        let ids = answer.get("messageIds").and_then(Value::as_array);
        self.count += ids.map_or(0, Vec::len) as u64;
        self.last = ids.and_then(|ids| ids.last()).and_then(Value::as_str).map(str::to_owned);
        if self.out.json() {
            return self.out.line(answer.to_string());
        }
        progress(&format!("\r{} messages published", self.count))
    }

    fn finish(self) -> Answer {
        progress("\r\x1b[K")?;
        if self.out.json() {
            return Ok(());
        }
        let last = self.last.map_or_else(String::new, |id| format!(", the last at offset {id}"));
        let plural = if self.count == 1 { "message" } else { "messages" };
        self.out.line(format!("published {} {plural} to topic {}{last}", self.count, self.topic))
    }
}

/// Shows progress, if somebody looks.
fn progress(text: &str) -> Answer {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        stderr.write_all(text.as_bytes())?;
        stderr.flush()?;
    }
    Ok(())
}

/// Pulls once, or until interrupted. A follower that has taken everything waits at the server for one message: a pull that waits
/// for more holds back the first.
pub(super) async fn pull(client: &Client, command: Pull, out: Output) -> Answer {
    let name = &command.subscription;
    let what = format!("pull from subscription {name}");
    let mut waits = false;
    loop {
        let (max, immediately) = if waits { (1, "false") } else { (command.max, "true") };
        let body = json!({ "maxMessages": max.to_string(), "returnImmediately": immediately });
        let answer =
            client.call(Method::POST, &client.path("subscriptions", name, ":pull"), Some(&body), &what).await?;
        let received = answer.get("receivedMessages").and_then(Value::as_array).cloned().unwrap_or_default();
        for message in &received {
            print(message, command.raw, out)?;
        }
        if command.ack && !received.is_empty() {
            let ids: Vec<&str> = received.iter().map(|message| text(message, "ackId")).collect();
            let path = client.path("subscriptions", name, ":acknowledge");
            let what = format!("acknowledge {} messages of subscription {name}", ids.len());
            client.call(Method::POST, &path, Some(&json!({ "ackIds": ids })), &what).await?;
        }
        if !command.follow {
            return summary(received.len(), &command);
        }
        waits = received.is_empty();
    }
}

fn summary(count: usize, command: &Pull) -> Answer {
    let text = match (count, command.ack) {
        (0, _) => "no messages\n",
        (_, true) => "acknowledged\n",
        (_, false) => "not acknowledged: they come again after the ack deadline; add --ack to take them\n",
    };
    progress(text)
}

fn print(received: &Value, raw: bool, out: Output) -> Answer {
    if out.json() {
        return out.line(received.to_string());
    }
    let message = received.get("message").unwrap_or(&Value::Null);
    let encoded = text(message, "data");
    let decoded = STANDARD.decode(encoded);
    if raw {
        return out.bytes(decoded.as_deref().unwrap_or(encoded.as_bytes()), b"\n");
    }
    let data =
        decoded.ok().and_then(|data| String::from_utf8(data).ok()).unwrap_or_else(|| format!("base64:{encoded}"));
    let attributes = message.get("attributes").and_then(Value::as_object).into_iter().flatten();
    let attributes: Vec<String> =
        attributes.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let fields = [text(message, "messageId"), text(message, "publishTime"), &attributes.join(","), &printable(&data)];
    out.line(fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join("  "))
}

/// Text of others on a terminal: control characters other than line ends and tabs are shown, not obeyed.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().map(|c| if safe(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_pairs() {
        let pairs = ["site=A".to_owned(), "query=a=b".to_owned(), "empty=".to_owned()];
        let read = attributes(&pairs).unwrap();
        assert_eq!(Value::from(read), json!({ "site": "A", "query": "a=b", "empty": "" }));
        assert!(attributes(&["no".to_owned()]).is_err());
        assert!(attributes(&["=x".to_owned()]).is_err());
    }

    #[test]
    fn a_message_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\nd"), "a\\u{1b}[2Jb\tc\nd");
    }
}
