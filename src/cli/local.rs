//! What needs no public API: the configuration, a store's folder, keys, backups.

use super::args::{Key, Store};
use super::output::Output;
use super::{Answer, Failure};
use crate::config::{Config, DEFAULTS, Sources, StoreUrl, schema};
use crate::server::{self, Request, Response};
use crate::storage::segment::vfs::RealVfs;
use crate::storage::segment::{Report, inspect};
use serde_json::{Value, json};
use std::path::Path;

/// Checks the configuration, or prints what there is to configure.
pub(super) fn check_config(sources: &Sources, print_schema: bool, defaults: bool, out: Output) -> Answer {
    if print_schema {
        let pretty = serde_json::to_string_pretty(&schema()).map_err(|error| Failure::Failed(error.to_string()))?;
        return out.line(pretty);
    }
    if defaults {
        return out.bytes(DEFAULTS.as_bytes(), b"");
    }
    let config = Config::load(sources)?;
    server::check_certificate(&config).map_err(Failure::Usage)?;
    drop(server::check_policy(&config).map_err(Failure::Usage)?);
    let service_token = if config.service_token()?.is_some() { "set" } else { "none" };
    let certificate = if config.tls.cert_file.is_empty() {
        config.own_certificate().map_or_else(
            || "made at start, kept in memory".to_owned(),
            |(file, _)| format!("{} (made when missing)", file.display()),
        )
    } else {
        config.tls.cert_file.clone()
    };
    let key =
        config.key_file().map_or_else(|| "made at start, kept in memory".to_owned(), |file| file.display().to_string());
    let facts = [
        ("store", config.store.url.clone()),
        ("AMS", config.listen.ams.clone()),
        ("AMS over TLS", config.listen.ams_tls.clone()),
        ("certificate logins", config.listen.ams_x509.clone()),
        ("certificate", certificate),
        ("metrics, health", config.listen.ops.clone()),
        ("key file", key),
        ("service token", service_token.to_owned()),
        ("log", format!("{} as {}", config.log.level, config.log.format)),
    ];
    let mut text = "the configuration is valid".to_owned();
    for (name, value) in facts {
        text.push_str(&format!("\n  {name:<18}  {value}"));
    }
    out.answer(&json!({ "valid": true }), text)
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Answer<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(work).map_err(Failure::Failed)
}

/// The folder of the configured store.
fn folder(config: &Config) -> Answer<std::path::PathBuf> {
    match config.store_url()? {
        StoreUrl::Segment(folder) if folder.is_dir() => Ok(folder),
        StoreUrl::Segment(folder) => Err(Failure::Failed(format!(
            "there is no store in {}: name another with --set store.url=segment:FOLDER",
            folder.display()
        ))),
        StoreUrl::Cql { .. } => Err(Failure::Usage(
            "a store in a cluster has no folder here: copy it with the cluster's own tools, such as nodetool snapshot"
                .to_owned(),
        )),
        StoreUrl::Memory => Err(Failure::Usage("a store in memory has no folder".to_owned())),
    }
}

/// Copies the store: by the running service if there is one, else here.
pub(super) fn backup(sources: &Sources, to: &Path, out: Output) -> Answer {
    let config = Config::load(sources)?;
    let from = folder(&config)?;
    let failed = |error: String| Failure::Failed(format!("backup of {} to {}: {error}", from.display(), to.display()));
    let to = std::path::absolute(to)?;
    let asked = server::ask(&from, &Request::Backup { folder: to.clone() });
    match asked.map_err(|error| failed(format!("the service broke off: {error}")))? {
        Some(Response::Done) => {}
        Some(Response::Failed(error)) => return Err(failed(error)),
        None => block_on(server::backup_stopped(&config, &from, &to)).map_err(|error| match error {
            Failure::Failed(error) => failed(error),
            other => other,
        })?,
    }
    let key = config.key_file().map_or_else(String::new, |file| file.display().to_string());
    out.answer(
        &json!({ "folder": to.display().to_string(), "key_file": key }),
        format!(
            "copied {} to {}\nkeep a copy of {key} elsewhere: without it the tokens in the backup do not work",
            from.display(),
            to.display()
        ),
    )
}

/// Makes the tables of a store in a cluster.
pub(super) fn migrate(sources: &Sources, out: Output) -> Answer {
    let config = Config::load(sources)?;
    let done = block_on(server::migrate(&config))?;
    let text = if done.applied.is_empty() {
        format!("nothing to do: the tables have version {}", done.version)
    } else {
        format!("applied {}: the tables have version {}", done.applied.join(", "), done.version)
    };
    out.answer(&json!({ "applied": done.applied, "version": done.version }), text)
}

/// Changes the key of a stopped service's store.
pub(super) fn key(command: Key, sources: &Sources, out: Output) -> Answer {
    let Key::Rotate = command;
    let config = Config::load(sources)?;
    let store = folder(&config)?;
    if server::is_served(&store) {
        return Err(Failure::Failed(format!(
            "the service runs on {}: stop it, rotate the key, start it again; nothing was changed",
            store.display()
        )));
    }
    let users = block_on(server::rotate_key(&config))?;
    let file = config.key_file().map_or_else(String::new, |file| file.display().to_string());
    out.answer(
        &json!({ "users": users, "key_file": file }),
        format!("{file} holds a new key; the tokens of {users} users are encrypted with it"),
    )
}

/// Looks into a stopped store.
pub(super) fn store(command: Store, out: Output) -> Answer {
    let Store::Inspect { folder } = command;
    if !folder.is_dir() {
        return Err(Failure::Failed(format!("{} is no folder", folder.display())));
    }
    let report = inspect(&folder, &RealVfs).map_err(|error| Failure::Failed(server::at(&folder, &error)))?;
    if out.json() {
        out.line(as_json(&report).to_string())?;
    } else {
        print(&report, out)?;
    }
    match report.damage.len() {
        0 => Ok(()),
        1 => Err(Failure::Failed(format!("{} is damaged in 1 place: restore it from a backup", folder.display()))),
        count => {
            Err(Failure::Failed(format!("{} is damaged in {count} places: restore it from a backup", folder.display())))
        }
    }
}

fn print(report: &Report, out: Output) -> Answer {
    let logs = report.logs.iter().map(|log| {
        let bounds = log.bounds;
        vec![log.id.to_string(), bounds.first.to_string(), bounds.next.to_string(), bounds.bytes.to_string()]
    });
    out.table(&Value::Null, &["LOG", "FIRST", "NEXT", "BYTES"], &logs.collect::<Vec<_>>())?;
    out.line("")?;
    let kinds =
        report.documents.iter().map(|(kind, of)| vec![kind.clone(), of.count.to_string(), of.bytes.to_string()]);
    out.table(&Value::Null, &["DOCUMENTS", "COUNT", "BYTES"], &kinds.collect::<Vec<_>>())?;
    out.line("")?;
    let segments = report.segments.iter().map(|segment| {
        let state = if segment.sealed { "sealed" } else { "active" };
        let figures = [segment.bytes, segment.used, segment.groups, segment.records].map(|figure| figure.to_string());
        [segment.file.clone()].into_iter().chain(figures).chain([state.to_owned()]).collect()
    });
    out.table(
        &Value::Null,
        &["SEGMENT", "BYTES", "USED", "GROUPS", "RECORDS", "STATE"],
        &segments.collect::<Vec<_>>(),
    )?;
    out.line("")?;
    for place in &report.damage {
        out.line(format!("damage: {place}"))?;
    }
    let end = if report.clean { "stopped cleanly" } else { "not stopped cleanly; the next start recovers it" };
    let sums = if report.damage.is_empty() { "every checksum holds" } else { "not every checksum holds" };
    out.line(format!("{end}; {sums}"))
}

fn as_json(report: &Report) -> Value {
    let logs = report.logs.iter().map(|log| {
        let bounds = log.bounds;
        json!({ "id": log.id.to_string(), "first": bounds.first.0, "next": bounds.next.0, "bytes": bounds.bytes })
    });
    let documents =
        report.documents.iter().map(|(kind, of)| json!({ "kind": kind, "count": of.count, "bytes": of.bytes }));
    let segments = report.segments.iter().map(|segment| {
        json!({
            "file": segment.file, "bytes": segment.bytes, "used": segment.used,
            "groups": segment.groups, "records": segment.records, "sealed": segment.sealed,
        })
    });
    json!({
        "clean": report.clean,
        "logs": logs.collect::<Vec<_>>(),
        "documents": documents.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "damage": report.damage,
    })
}
