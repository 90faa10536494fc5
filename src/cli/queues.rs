//! Zaqar's queues, messages and claims from the command line: a few calls of the dialect's HTTP API each, and their answers as text.

use super::args::{Claim, Message, Queue};
use super::client::segment;
use super::messages::{printable, read_lines};
use super::output::Output;
use super::resources::{items, text};
use super::zaqar_client::ZaqarClient;
use super::{Answer, Failure};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Most messages and bytes of one post; well below what servers take.
const POST_MESSAGES: usize = 100;
const POST_BYTES: usize = 128 << 10;
/// Most things of one page; no server takes fewer.
const PAGE: u32 = 10;

fn path(queue: &str, rest: &str) -> String {
    format!("/v2/queues/{}{rest}", segment(queue))
}

/// Does a queue command.
pub(super) async fn queue(client: &ZaqarClient, command: Queue, out: Output) -> Answer {
    match command {
        Queue::Create { queue, metadata } => {
            let metadata = metadata.map(|text| object("--metadata", &text)).transpose()?;
            let what = format!("queue {queue}");
            let made = client.call(Method::PUT, &path(&queue, ""), metadata.as_ref(), &what).await?.is_new;
            let shown = if made { format!("made queue {queue}") } else { format!("queue {queue} is there already") };
            out.answer(&json!({ "created": made }), shown)
        }
        Queue::List => list_queues(client, out).await,
        Queue::Show { queue } => {
            let metadata = get(client, &path(&queue, ""), &format!("queue {queue}")).await?;
            let members = metadata.as_object().into_iter().flatten();
            let lines: Vec<_> = members.map(|(key, value)| format!("{key}  {value}")).collect();
            out.answer(&metadata, lines.join("\n"))
        }
        Queue::Stats { queue } => {
            let stats = get(client, &path(&queue, "/stats"), &format!("queue {queue}")).await?;
            let figure = |name: &str| stats.pointer(&format!("/messages/{name}")).cloned().unwrap_or_default();
            let shown =
                format!("free     {}\nclaimed  {}\ntotal    {}", figure("free"), figure("claimed"), figure("total"));
            out.answer(&stats, shown)
        }
        Queue::Delete { queue } => {
            client.call(Method::DELETE, &path(&queue, ""), None, &format!("queue {queue}")).await?;
            out.answer(&json!({}), format!("deleted queue {queue}"))
        }
        Queue::Purge { queue } => {
            client.call(Method::POST, &path(&queue, "/purge"), None, &format!("queue {queue}")).await?;
            out.answer(&json!({}), format!("purged queue {queue}"))
        }
    }
}

async fn list_queues(client: &ZaqarClient, out: Output) -> Answer {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(client, &format!("/v2/queues?limit={PAGE}&marker={}", segment(&after)), "queues").await?;
        let before = all.len();
        all.extend(items(&page, "queues").cloned());
        if all.len() == before {
            break;
        }
        after = all.last().map(|queue| text(queue, "name").to_owned()).unwrap_or_default();
    }
    let rows: Vec<_> = all.iter().map(|queue| vec![text(queue, "name").to_owned()]).collect();
    out.table(&json!({ "queues": all }), &["QUEUE"], &rows)
}

/// Does a message command.
pub(super) async fn message(client: &ZaqarClient, command: Message, out: Output) -> Answer {
    match command {
        Message::Post { queue, messages, text, ttl } => {
            let mut post = Post { client, queue, ttl, text, ids: Vec::new() };
            if messages.is_empty() {
                let mut lines = read_lines(POST_MESSAGES);
                let mut taken = Vec::new();
                while lines.recv_many(&mut taken, POST_MESSAGES).await > 0 {
                    let ready: Vec<Vec<u8>> = taken.drain(..).collect::<Result<_, _>>()?;
                    post.send_all(ready.iter().map(|line| String::from_utf8_lossy(line).into_owned())).await?;
                }
            } else {
                post.send_all(messages.into_iter()).await?;
            }
            let Post { queue, ids, .. } = post;
            let plural = if ids.len() == 1 { "message" } else { "messages" };
            let shown = format!("posted {} {plural} to queue {queue}", ids.len());
            out.answer(&json!({ "ids": ids }), shown)
        }
        Message::List { queue, max, after, claimed } => list_messages(client, &queue, max, after, claimed, out).await,
        Message::Claim { queue, max, ttl, grace } => {
            let limit = max.map_or_else(String::new, |max| format!("?limit={max}"));
            let wish: Map<_, _> = [("ttl", ttl), ("grace", grace)]
                .into_iter()
                .filter_map(|(key, seconds)| Some((key.to_owned(), seconds?.into())))
                .collect();
            let (path, what) = (path(&queue, &format!("/claims{limit}")), format!("claim from queue {queue}"));
            let answer = client.call(Method::POST, &path, Some(&wish.into()), &what).await?;
            let Some(location) = answer.location else { return nothing(out) };
            let id = location.rsplit('/').next().unwrap_or_default();
            if !out.json() {
                out.line(format!("claim {id}"))?;
            }
            show(&json!({ "claim_id": id, "messages": answer.body.get("messages") }), out)
        }
        Message::Pop { queue, max } => {
            let path = path(&queue, &format!("/messages?pop={max}"));
            let answer = client.call(Method::DELETE, &path, None, &format!("pop from queue {queue}")).await?;
            show(&answer.body, out)
        }
        Message::Delete { queue, id, claim } => {
            let claim = claim.map_or_else(String::new, |claim| format!("?claim_id={}", segment(&claim)));
            let path = path(&queue, &format!("/messages/{}{claim}", segment(&id)));
            client.call(Method::DELETE, &path, None, &format!("message {id}")).await?;
            out.answer(&json!({}), format!("deleted message {id}"))
        }
    }
}

/// Messages on their way, request by request.
struct Post<'a> {
    client: &'a ZaqarClient,
    queue: String,
    ttl: Option<u64>,
    text: bool,
    ids: Vec<String>,
}

impl Post<'_> {
    async fn send_all(&mut self, bodies: impl Iterator<Item = String>) -> Answer {
        let (mut request, mut bytes) = (Vec::new(), 0);
        for body in bodies {
            if !request.is_empty() && (request.len() == POST_MESSAGES || bytes + body.len() > POST_BYTES) {
                self.send(std::mem::take(&mut request)).await?;
                bytes = 0;
            }
            bytes += body.len();
            let body = if self.text { None } else { serde_json::from_str(&body).ok() }.unwrap_or(Value::from(body));
            let mut message = json!({ "body": body });
            if let (Some(ttl), Some(message)) = (self.ttl, message.as_object_mut()) {
                message.insert("ttl".to_owned(), ttl.into());
            }
            request.push(message);
        }
        if request.is_empty() { Ok(()) } else { self.send(request).await }
    }

    async fn send(&mut self, messages: Vec<Value>) -> Answer {
        let so_far = if self.ids.is_empty() { String::new() } else { format!(" (after {} messages)", self.ids.len()) };
        let what = format!("post to queue {}{so_far}", self.queue);
        let (path, body) = (path(&self.queue, "/messages"), json!({ "messages": messages }));
        let answer = self.client.call(Method::POST, &path, Some(&body), &what).await?;
        let hrefs = items(&answer.body, "resources").filter_map(Value::as_str);
        self.ids.extend(hrefs.filter_map(|href| href.rsplit('/').next()).map(str::to_owned));
        Ok(())
    }
}

async fn list_messages(
    client: &ZaqarClient,
    queue: &str,
    max: u32,
    after: Option<String>,
    claimed: bool,
    out: Output,
) -> Answer {
    let (mut all, mut after, mut left) = (Vec::new(), after.unwrap_or_default(), max);
    while left > 0 {
        let limit = left.min(PAGE);
        let query = format!("?echo=true&include_claimed={claimed}&limit={limit}&marker={}", segment(&after));
        let page = get(client, &path(queue, &format!("/messages{query}")), &format!("queue {queue}")).await?;
        let found: Vec<Value> = items(&page, "messages").cloned().collect();
        let Some(last) = found.last() else { break };
        after = text(last, "id").to_owned();
        left = left.saturating_sub(u32::try_from(found.len()).unwrap_or(left));
        all.extend(found);
    }
    show(&json!({ "messages": all }), out)
}

/// Does a claim command.
pub(super) async fn claim(client: &ZaqarClient, command: Claim, out: Output) -> Answer {
    let place = |queue: &str, id: &str| (path(queue, &format!("/claims/{}", segment(id))), format!("claim {id}"));
    match command {
        Claim::Show { queue, id } => {
            let (path, what) = place(&queue, &id);
            let claim = get(client, &path, &what).await?;
            if !out.json() {
                let figure = |key| claim.get(key).cloned().unwrap_or_default();
                out.line(format!("age {} of {} seconds", figure("age"), figure("ttl")))?;
            }
            show(&claim, out)
        }
        Claim::Renew { queue, id, ttl } => {
            let (path, what) = place(&queue, &id);
            let wish = ttl.map_or_else(|| json!({}), |ttl| json!({ "ttl": ttl }));
            client.call(Method::PATCH, &path, Some(&wish), &what).await?;
            out.answer(&json!({}), format!("renewed claim {id}"))
        }
        Claim::Release { queue, id } => {
            let (path, what) = place(&queue, &id);
            client.call(Method::DELETE, &path, None, &what).await?;
            out.answer(&json!({}), format!("released claim {id}"))
        }
    }
}

async fn get(client: &ZaqarClient, path: &str, what: &str) -> Answer<Value> {
    Ok(client.call(Method::GET, path, None, what).await?.body)
}

fn nothing(out: Output) -> Answer {
    out.answer(&json!({ "messages": [] }), "no messages")
}

/// Messages, one a line.
fn show(answer: &Value, out: Output) -> Answer {
    let row = |message: &Value| {
        let figure = |key| message.get(key).cloned().unwrap_or_default().to_string();
        let body = message.get("body").cloned().unwrap_or_default().to_string();
        vec![text(message, "id").to_owned(), figure("age"), figure("ttl"), printable(&body)]
    };
    let rows: Vec<_> = items(answer, "messages").map(row).collect();
    if rows.is_empty() && !out.json() { nothing(out) } else { out.table(answer, &["ID", "AGE", "TTL", "BODY"], &rows) }
}

fn object(option: &str, text: &str) -> Answer<Value> {
    let value = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    value.ok_or_else(|| Failure::Usage(format!("{option}: write a JSON object such as {{\"note\": \"mine\"}}")))
}
