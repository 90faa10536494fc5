//! The ceilings: what HTTP alone and the disk alone do on this machine, in the same run as the rows that are compared with them.
//!
//! The bare server parses the same bodies as the service, answers pulls of the same form, and keeps nothing; the raw loop writes and
//! syncs and does nothing else.

use crate::load::{Size, Stamp};
use crate::report::{Figure, percentiles};
use crate::{Options, Result};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// The size of the file that the raw loop writes over and over: filled once, as a store's segments are.
const FILE_BYTES: usize = 64 << 20;

#[derive(Deserialize)]
struct Body {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    data: String,
}

#[derive(Deserialize)]
struct Acknowledged {
    #[serde(rename = "ackIds")]
    ack_ids: Vec<String>,
}

/// Takes a publish, keeps nothing, and makes up as many ids.
fn publish(body: &[u8]) -> HttpResponse {
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return HttpResponse::BadRequest().finish() };
    let decoded = body.messages.iter().filter(|message| STANDARD.decode(&message.data).is_ok()).count();
    let ids: Vec<String> = (0..decoded).map(|id| format!("\"{id}\"")).collect();
    HttpResponse::Ok().content_type("application/json").body(format!("{{\"messageIds\":[{}]}}", ids.join(",")))
}

/// Answers a pull with a hundred messages, encoded anew each time.
fn pull(messages: &[Vec<u8>]) -> HttpResponse {
    let mut out = String::with_capacity(200 << 10);
    out.push_str("{\n   \"receivedMessages\": [");
    for (id, message) in messages.iter().enumerate() {
        let comma = if id == 0 { "" } else { "," };
        out.push_str(&format!(
            "{comma}{{\"ackId\": \"projects/b/subscriptions/s:{id}\", \"message\": {{\"messageId\": \"{id}\", \"data\": \""
        ));
        STANDARD.encode_string(message, &mut out);
        out.push_str("\", \"publishTime\": \"2026-01-01T00:00:00.000000000Z\"}}");
    }
    out.push_str("]}");
    HttpResponse::Ok().content_type("application/json").body(out)
}

/// Takes an acknowledgement.
fn acknowledge(body: &[u8]) -> HttpResponse {
    match serde_json::from_slice::<Acknowledged>(body) {
        Ok(acknowledged) if !acknowledged.ack_ids.is_empty() => HttpResponse::Ok().body("{}"),
        _ => HttpResponse::BadRequest().finish(),
    }
}

/// Serves on any path until it is killed, and prints where, as the service does.
pub(crate) fn serve() -> Result<()> {
    let message = |sequence| {
        let mut text = String::new();
        Stamp { producer: 0, sequence }.write(Size::of_bytes(1_024), &mut text);
        STANDARD.decode(text)
    };
    let messages: Vec<Vec<u8>> = (0..100).map(message).collect::<std::result::Result<_, _>>()?;
    let messages = web::Data::new(messages);
    let answer = async |request: HttpRequest, body: web::Bytes, messages: web::Data<Vec<Vec<u8>>>| {
        let path = request.path();
        if path.ends_with(":pull") {
            pull(&messages)
        } else if path.ends_with(":acknowledge") {
            acknowledge(&body)
        } else {
            publish(&body)
        }
    };
    actix_web::rt::System::new().block_on(async move {
        let application = move || {
            let limit = web::PayloadConfig::new(16 << 20);
            App::new().app_data(limit).app_data(messages.clone()).default_service(web::to(answer))
        };
        let server = HttpServer::new(application).workers(2).disable_signals().bind("127.0.0.1:0")?;
        for address in server.addrs() {
            println!("listening ams=http://{address}");
        }
        std::io::stdout().flush()?;
        Ok(server.run().await?)
    })
}

/// Writes so many bytes and syncs, again and again, over space that was written before: syncs a second.
pub(crate) fn disk(options: &Options, folder: &Path, bytes: usize) -> Result<Figure> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(folder.join("raw"))?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_all()?;
    let payload = vec![7; bytes];
    let (begun, mut at, mut latencies) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < options.seconds {
        let start = Instant::now();
        file.write_all_at(&payload, at as u64)?;
        file.sync_data()?;
        latencies.push(u32::try_from(start.elapsed().as_micros())?);
        at = if at + 2 * bytes > FILE_BYTES { 0 } else { at + bytes };
    }
    let value = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(Figure { value, latency: percentiles(latencies), ..Figure::default() })
}
