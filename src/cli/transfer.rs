//! `export` and `import`: a stopped service's store into a file, and back into any engine.

use super::args::Transfer;
use super::local::block_on;
use super::output::Output;
use super::{Answer, Failure};
use crate::config::{Config, Sources};
use crate::server;
use crate::storage::transfer::Progress;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// How much is done between two lines on the way.
const TELL_EVERY: u64 = 64 << 20;
const TELL_DOCUMENTS: u64 = 10_000;

/// Writes the store into a file.
pub(super) fn export(transfer: &Transfer, keep_admin: bool, sources: &Sources, out: Output) -> Answer {
    let (config, passphrase) = begin(transfer, sources)?;
    let mut teller = Teller::new("exported");
    let mut tell = |progress: &Progress| teller.tell(progress);
    let done = block_on(server::export(&config, &transfer.file, &passphrase, keep_admin, &mut tell))?;
    answer("exported", &done, &transfer.file, out)
}

/// Takes a file into the store.
pub(super) fn import(transfer: &Transfer, sources: &Sources, out: Output) -> Answer {
    let (config, passphrase) = begin(transfer, sources)?;
    let mut teller = Teller::new("imported");
    let mut tell = |progress: &Progress| teller.tell(progress);
    let done = block_on(server::import(&config, &transfer.file, &passphrase, &mut tell))?;
    answer("imported", &done, &transfer.file, out)
}

/// Takes over the data of an ARGO Messaging Service.
pub(super) fn import_ams(folder: &Path, keep_admin: bool, sources: &Sources, out: Output) -> Answer {
    if !folder.is_dir() {
        return Err(Failure::Usage(format!("{} is no folder", folder.display())));
    }
    let config = Config::load(sources)?;
    let taken = block_on(server::import_ams(&config, folder, keep_admin))?;
    let figures = [
        ("projects", taken.projects),
        ("users", taken.users),
        ("schemas", taken.schemas),
        ("topics", taken.topics),
        ("subscriptions", taken.subscriptions),
    ];
    let listed: Vec<String> = figures.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let object = figures.into_iter().map(|(what, count)| (what.to_owned(), count.into())).collect();
    out.answer(&serde_json::Value::Object(object), format!("taken over: {}", listed.join(", ")))
}

fn begin(transfer: &Transfer, sources: &Sources) -> Answer<(Config, String)> {
    let config = Config::load(sources)?;
    let file = &transfer.passphrase_file;
    let text = std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    match text.trim() {
        "" => Err(Failure::Usage(format!("{} is empty; write a passphrase into it", file.display()))),
        passphrase => Ok((config, passphrase.to_owned())),
    }
}

fn answer(verb: &str, done: &Progress, file: &Path, out: Output) -> Answer {
    let Progress { logs, batches, messages, bytes, documents } = *done;
    let figures =
        json!({ "logs": logs, "batches": batches, "messages": messages, "bytes": bytes, "documents": documents });
    out.answer(&figures, format!("{}: {}", file.display(), line(verb, done)))
}

fn line(verb: &str, progress: &Progress) -> String {
    let Progress { logs, batches, messages, bytes, documents } = progress;
    format!("{verb} {logs} logs ({batches} batches, {messages} entries, {bytes} bytes) and {documents} documents")
}

/// Says now and then on standard error how far it has come.
struct Teller {
    verb: &'static str,
    told: (u64, u64),
}

impl Teller {
    const fn new(verb: &'static str) -> Self {
        Self { verb, told: (0, 0) }
    }

    fn tell(&mut self, progress: &Progress) {
        let now = (progress.bytes / TELL_EVERY, progress.documents / TELL_DOCUMENTS);
        if now != self.told {
            self.told = now;
            // Whoever does not listen misses nothing.
            drop(writeln!(std::io::stderr(), "{} so far", line(self.verb, progress)));
        }
    }
}
