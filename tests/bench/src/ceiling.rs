//! The ceilings: what HTTP alone and the disk alone do on this machine, in the same run as the rows that are compared with them.
//!
//! The bare server parses the same bodies as the service and keeps nothing; the raw loop writes and syncs and does nothing else.

use crate::report::Figure;
use crate::rows::percentiles;
use crate::verify::Faults;
use crate::{Options, Result};
use actix_web::{App, HttpResponse, HttpServer, web};
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

/// Serves publish requests on any path until it is killed, and prints where, as the service does.
pub(crate) fn serve() -> Result<()> {
    let answer = |body: web::Bytes| async move {
        let Ok(body) = serde_json::from_slice::<Body>(&body) else { return HttpResponse::BadRequest().finish() };
        let decoded = body.messages.iter().filter(|message| STANDARD.decode(&message.data).is_ok()).count();
        let ids: Vec<String> = (0..decoded).map(|id| format!("\"{id}\"")).collect();
        HttpResponse::Ok().content_type("application/json").body(format!("{{\"messageIds\":[{}]}}", ids.join(",")))
    };
    actix_web::rt::System::new().block_on(async move {
        let application =
            move || App::new().app_data(web::PayloadConfig::new(16 << 20)).default_service(web::to(answer));
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
    let latency = percentiles(latencies);
    Ok(Figure { value, per_cpu: None, latency, peak_mib: 0.0, verified: 0, faults: Faults::default() })
}
