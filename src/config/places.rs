//! Settings that name a place: store urls, addresses, secret files. Knows nothing of other settings.

use super::Invalid;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Which engine keeps everything, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    /// `memory:`.
    Memory,
    /// `segment:<folder>`.
    Segment(PathBuf),
    /// `cql://<host>[:<port>],…/<keyspace>`.
    Cql {
        /// Each a host with an optional port; at least one.
        hosts: Vec<String>,
        /// A plain name.
        keyspace: String,
    },
}

impl StoreUrl {
    /// Reads a store url.
    ///
    /// # Errors
    /// When this build has no such engine, or the folder is missing.
    pub fn parse(url: &str) -> Result<Self, Invalid> {
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("segment", folder)) if Path::new(folder).file_name().is_some() => Ok(Self::Segment(folder.into())),
            Some(("segment", folder)) => {
                Err(Invalid(format!("store.url: `segment:{folder}` names no folder; write for example segment:./data")))
            }
            Some(("cql", place)) => cql(place).ok_or_else(|| {
                Invalid(format!(
                    "store.url: `cql:{place}` names no cluster; write cql://HOST[:PORT],HOST/KEYSPACE, the keyspace in letters, digits and _"
                ))
            }),
            _ => Err(Invalid(format!("store.url: `{url}` is no store; use segment:<folder>, cql://<host>/<keyspace> or memory:"))),
        }
    }
}

fn cql(place: &str) -> Option<StoreUrl> {
    let (hosts, keyspace) = place.strip_prefix("//")?.split_once('/')?;
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let named = keyspace.starts_with(|letter: char| letter.is_ascii_alphabetic()) && keyspace.chars().all(word);
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    let plain = |host: &String| !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
    (named && keyspace.len() <= 48 && hosts.iter().all(plain))
        .then(|| StoreUrl::Cql { hosts, keyspace: keyspace.to_owned() })
}

/// The path of a folder with `.suffix` added to its name.
pub(super) fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    folder.with_file_name(name)
}

/// Reads a listener's address; host names are resolved, the first address counts.
pub(super) fn address(key: &str, text: &str) -> Result<Option<SocketAddr>, Invalid> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = || Invalid(format!("{key}: `{text}` is no address with port such as 127.0.0.1:8080, nor `off`"));
    let mut addresses = text.to_socket_addrs().map_err(|_| wrong())?;
    addresses.next().map(Some).ok_or_else(wrong)
}

/// The text of a secret's file, without the blanks and line ends around it.
pub(super) fn read_secret(key: &str, path: &str) -> Result<String, Invalid> {
    let text = std::fs::read_to_string(path).map_err(|error| Invalid(format!("{key}: cannot read {path}: {error}")))?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(Invalid(format!("{key}: {path} is empty; write the secret into it")));
    }
    Ok(secret.to_owned())
}
