//! Documents: one conditional write for each change, and an index of keys for scans.
//!
//! A version is the time of its change in microseconds, but always above the one before; what is deleted stays as a row that is not
//! live, so that this holds across delete and create whatever the clocks say. Owns this, the index, and what a doubtful write's
//! nonce says.

use super::Cluster;
use super::rows::Author;
use super::session::{Decision, Present, values};
use crate::storage::{Document, Key, Order, Put, Result, StoreError, Version};
use bytes::Bytes;
use futures_util::StreamExt;
use scylla::DeserializeRow;
use scylla::value::CqlValue;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Keys of one look into the index.
const INDEX_PAGE: usize = 500;
/// Documents of one request, and requests at a time.
const FETCH: usize = 50;
const FETCHES: usize = 4;
/// Directories that are looked into at a time.
const DIRECTORIES: usize = 8;
/// How often a change is tried anew because the row changed from not live to live or back.
const TURNS: usize = 16;
/// More than any key, as keys have an upper bound.
static BEYOND_ALL: [u8; crate::storage::KEY_BYTES_MAX + 1] = [0xff; crate::storage::KEY_BYTES_MAX + 1];

/// A document's row.
#[derive(Clone, Debug, DeserializeRow)]
struct Row {
    version: i64,
    live: bool,
    val: Option<Bytes>,
}

/// One of several documents.
#[derive(Clone, Debug, DeserializeRow)]
struct KeyedRow {
    k: Bytes,
    version: i64,
    live: bool,
    val: Option<Bytes>,
}

/// Who wrote a document's version.
#[derive(Clone, Debug, DeserializeRow)]
struct Written {
    version: i64,
    w: Uuid,
    ws: i64,
}

/// What a refused change shows.
#[derive(Clone, Copy, Debug, Default)]
struct PresentDocument {
    version: Option<i64>,
    live: Option<bool>,
}

impl Present for PresentDocument {
    fn take(&mut self, column: &str, value: &CqlValue) {
        match column {
            "version" => self.version = value.as_bigint(),
            "live" => self.live = value.as_boolean(),
            _ => {}
        }
    }
}

impl PresentDocument {
    /// The version that callers see.
    fn seen(&self) -> Version {
        let live = self.version.filter(|_| self.live == Some(true));
        live.map_or(Version::ABSENT, version)
    }
}

/// What a change does.
#[derive(Clone, Copy)]
enum Change<'a> {
    Put(&'a Bytes),
    Delete,
}

impl Cluster {
    /// A document at a quorum.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Document>> {
        let row = self.row(key).await?.filter(|row| row.live);
        Ok(row.map(|row| Document { version: version(row.version), value: row.val.unwrap_or_default() }))
    }

    /// Contract 14 and 15.
    pub(super) async fn put(&self, key: &Key, value: &Bytes, expected: Version) -> Result<Put> {
        self.change(key, Change::Put(value), expected).await
    }

    /// Contract 14 and 15.
    pub(super) async fn delete(&self, key: &Key, expected: Version) -> Result<Put> {
        self.change(key, Change::Delete, expected).await
    }

    async fn change(&self, key: &Key, change: Change<'_>, expected: Version) -> Result<Put> {
        let (_turn, waited) = self.turns.of(&key.0).await;
        let Ok(old) = i64::try_from(expected.0) else { return Ok(Put::Conflict(self.seen(key).await?)) };
        // Whoever had to wait has probably lost already, which a read finds out for a fifth of the price.
        if waited && expected != Version::ABSENT {
            let present = self.seen(key).await?;
            if present != expected {
                return Ok(Put::Conflict(present));
            }
        }
        match change {
            Change::Put(value) if expected == Version::ABSENT => self.make(key, value).await,
            Change::Delete if expected == Version::ABSENT => {
                let row = self.row(key).await?;
                let present = row.as_ref().filter(|row| row.live).map(|row| version(row.version));
                let new = self.version_after(row.map_or(0, |row| row.version));
                Ok(present.map_or(Put::Done(version(new)), Put::Conflict))
            }
            Change::Put(value) => self.put_over(key, value, old, true).await,
            Change::Delete => self.remove(key, old).await,
        }
    }

    /// Makes a document where none is live: on nothing, or on what a delete left.
    async fn make(&self, key: &Key, value: &Bytes) -> Result<Put> {
        for _ in 0..TURNS {
            let new = self.version_after(0);
            self.index(key, new).await?;
            let nonce = self.nonce();
            let (w, ws) = (Uuid::from_u128(nonce.writer), nonce.sequence.cast_signed());
            let values = values! { k: &key.0, new: new, w: w, ws: ws, val: value };
            let decision = self.session.settle::<PresentDocument>(&self.statements.create_document, values).await?;
            let present = match decision {
                Decision::Applied => return Ok(Put::Done(version(new))),
                Decision::Refused { present, doubt: false } => present,
                Decision::Refused { present, doubt: true } => {
                    if self.wrote(key, nonce, new).await? {
                        return Ok(Put::Done(version(new)));
                    }
                    present
                }
            };
            match present.version {
                Some(_) if present.live == Some(true) => return Ok(Put::Conflict(present.seen())),
                Some(dead) => {
                    let put = self.put_over(key, value, dead, false).await?;
                    // Not even the remains may be there any more; then it is made on nothing.
                    if put != Put::Conflict(Version::ABSENT) {
                        return Ok(put);
                    }
                }
                None => {}
            }
        }
        Err(StoreError::Unavailable(format!("{key} changes all the time; try again")))
    }

    /// Writes over a present row, live or not.
    async fn put_over(&self, key: &Key, value: &Bytes, old: i64, live: bool) -> Result<Put> {
        let new = self.version_after(old);
        if !live {
            self.index(key, new).await?;
        }
        let nonce = self.nonce();
        let (w, ws) = (Uuid::from_u128(nonce.writer), nonce.sequence.cast_signed());
        let values = values! { k: &key.0, old: old, live: live, new: new, w: w, ws: ws, val: value };
        let decision = self.session.settle::<PresentDocument>(&self.statements.put_document, values).await?;
        self.changed(key, decision, nonce, new).await
    }

    async fn remove(&self, key: &Key, old: i64) -> Result<Put> {
        let new = self.version_after(old);
        let nonce = self.nonce();
        let (w, ws) = (Uuid::from_u128(nonce.writer), nonce.sequence.cast_signed());
        let values = values! { k: &key.0, old: old, new: new, w: w, ws: ws };
        let decision = self.session.settle::<PresentDocument>(&self.statements.delete_document, values).await?;
        let put = self.changed(key, decision, nonce, new).await?;
        if let Put::Done(_) = put {
            let (dir, k) = (directory(&key.0), &key.0);
            let forgotten = values! { version: new, dir: &dir, k: k };
            // A key too many in the index costs a scan one read; it hides nothing.
            if let Err(error) = self.session.write(&self.statements.forget_key, forgotten).await {
                tracing::debug!(%key, %error, "the key of a deleted document stays in the index");
            }
        }
        Ok(put)
    }

    async fn changed(
        &self,
        key: &Key,
        decision: Decision<PresentDocument>,
        nonce: crate::storage::Nonce,
        new: i64,
    ) -> Result<Put> {
        match decision {
            Decision::Applied => Ok(Put::Done(version(new))),
            Decision::Refused { doubt: true, .. } if self.wrote(key, nonce, new).await? => Ok(Put::Done(version(new))),
            Decision::Refused { present, .. } => Ok(Put::Conflict(present.seen())),
        }
    }

    /// Whether a doubtful change was made, as far as its document still tells.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when a later change stands there by now, or it could not be read.
    async fn wrote(&self, key: &Key, nonce: crate::storage::Nonce, new: i64) -> Result<bool> {
        let lost = |why: String| StoreError::Unknown(format!("whether version {new} of {key} was made: {why}"));
        let read = self.session.read_one::<Written>(&self.statements.decided_document, values! { k: &key.0 }).await;
        match read.map_err(|error| lost(error.to_string()))? {
            Some(row) if Author { w: row.w, ws: row.ws }.is(nonce) => Ok(true),
            Some(row) if row.version > new => Err(lost("it was changed again".to_owned())),
            _ => Ok(false),
        }
    }

    async fn row(&self, key: &Key) -> Result<Option<Row>> {
        self.session.read_one(&self.statements.document, values! { k: &key.0 }).await
    }

    async fn seen(&self, key: &Key) -> Result<Version> {
        let row = self.row(key).await?.filter(|row| row.live);
        Ok(row.map_or(Version::ABSENT, |row| version(row.version)))
    }

    fn version_after(&self, old: i64) -> i64 {
        let now = super::rows::signed(self.session.clock.wall());
        now.max(old.saturating_add(1))
    }

    /// Puts a key into the index, before its document may be there.
    async fn index(&self, key: &Key, new: i64) -> Result<()> {
        let dir = directory(&key.0);
        if !self.directories.lock().contains(&dir) {
            self.session.write(&self.statements.add_dir, values! { dir: &dir }).await?;
            let mut known = self.directories.lock();
            if known.len() >= super::DIRECTORIES_MAX {
                known.clear();
            }
            known.insert(dir.clone());
        }
        let k = &key.0;
        self.session.write(&self.statements.add_key, values! { dir: &dir, k: k, version: new }).await
    }

    /// Contract 16. Keys come from the index, which may hold too many but never too few; documents decide.
    pub(super) async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Key, Document)>> {
        let mut range = Range::new(prefix, after, order);
        let directories = self.directories_of(prefix).await?;
        let mut found = Vec::new();
        while found.len() < limit && range.lo < range.hi {
            let wanted = (limit - found.len()).min(INDEX_PAGE);
            let keys = self.keys(&directories, &range, wanted, order).await?;
            let Some(last) = keys.last().cloned() else { break };
            let full = keys.len() >= wanted;
            found.extend(self.fetch(keys).await?);
            if !full {
                break;
            }
            range.go_past(&last, order);
        }
        Ok(found)
    }

    /// The directories that may hold keys of a prefix.
    async fn directories_of(&self, prefix: &Key) -> Result<Vec<Vec<u8>>> {
        let dir = directory(&prefix.0);
        if prefix.0.iter().filter(|byte| **byte == b'/').count() > 1 {
            return Ok(vec![dir]);
        }
        let all: Vec<(Vec<u8>,)> = self.session.read(&self.statements.dirs, values! {}).await?;
        let begun = [b"/", &*prefix.0].concat();
        let may = |dir: &Vec<u8>| dir.starts_with(&begun) || begun.starts_with(dir);
        Ok(all.into_iter().map(|(dir,)| dir).filter(may).collect())
    }

    /// The first `wanted` keys of a range, of all directories together.
    async fn keys(&self, directories: &[Vec<u8>], range: &Range, wanted: usize, order: Order) -> Result<Vec<Key>> {
        let n = i32::try_from(wanted).unwrap_or(i32::MAX);
        let statement = match order {
            Order::Ascending => &self.statements.keys_up,
            Order::Descending => &self.statements.keys_down,
        };
        let looks = futures_util::stream::iter(directories.to_vec()).map(|dir| async move {
            let values = values! { dir: dir, lo: &range.lo, hi: &range.hi, n: n };
            self.session.read::<(Bytes,)>(statement, values).await
        });
        let pages: Vec<Result<Vec<(Bytes,)>>> = looks.buffer_unordered(DIRECTORIES).collect().await;
        let mut keys = Vec::new();
        for page in pages {
            keys.extend(page?.into_iter().map(|(key,)| Key(key)));
        }
        keys.sort();
        if order == Order::Descending {
            keys.reverse();
        }
        keys.truncate(wanted);
        Ok(keys)
    }

    /// The live documents of these keys, in the same order.
    async fn fetch(&self, keys: Vec<Key>) -> Result<Vec<(Key, Document)>> {
        let chunks: Vec<Vec<Bytes>> =
            keys.chunks(FETCH).map(|chunk| chunk.iter().map(|key| key.0.clone()).collect()).collect();
        let fetches = futures_util::stream::iter(chunks).map(|ks| async move {
            self.session.read::<KeyedRow>(&self.statements.documents, values! { ks: ks }).await
        });
        let pages: Vec<Result<Vec<KeyedRow>>> = fetches.buffered(FETCHES).collect().await;
        let mut rows = HashMap::new();
        for page in pages {
            rows.extend(page?.into_iter().filter(|row| row.live).map(|row| {
                let document = Document { version: version(row.version), value: row.val.unwrap_or_default() };
                (Key(row.k), document)
            }));
        }
        Ok(keys.into_iter().filter_map(|key| rows.remove(&key).map(|document| (key, document))).collect())
    }
}

/// Directories that are known to be in the table.
pub(super) type Directories = HashSet<Vec<u8>>;

/// What is left of a scan: keys from `lo` on, below `hi`.
struct Range {
    lo: Vec<u8>,
    hi: Vec<u8>,
}

impl Range {
    fn new(prefix: &Key, after: Option<&Key>, order: Order) -> Self {
        let hi = prefix.prefix_end().map_or_else(|| BEYOND_ALL.to_vec(), |end| end.0.to_vec());
        let mut range = Self { lo: prefix.0.to_vec(), hi };
        if let Some(after) = after {
            range.go_past(after, order);
        }
        range
    }

    /// Leaves out a key and all before it in the order of the scan.
    fn go_past(&mut self, key: &Key, order: Order) {
        match order {
            Order::Ascending => {
                // The smallest key above it.
                let above = [&*key.0, &[0]].concat();
                self.lo = above.max(std::mem::take(&mut self.lo));
            }
            Order::Descending => self.hi = key.0.to_vec().min(std::mem::take(&mut self.hi)),
        }
    }
}

/// The directory of a key: a slash, which no partition key may be without, and the key's text before its second slash.
fn directory(key: &[u8]) -> Vec<u8> {
    let mut slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    let first = slashes.next();
    let end = slashes.next().or(first).unwrap_or_default();
    let text = key.split_at_checked(end).map_or(key, |(text, _)| text);
    [b"/", text].concat()
}

fn version(number: i64) -> Version {
    Version(u64::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_at_most_two_components() {
        for (key, dir) in [
            ("topic/p/t", "/topic/p"),
            ("day/p/t/l/9", "/day/p"),
            ("user/u", "/user"),
            ("user/", "/user"),
            ("alone", "/"),
            ("", "/"),
            ("//x", "//"),
        ] {
            assert_eq!(directory(key.as_bytes()), dir.as_bytes(), "{key}");
        }
    }

    #[test]
    fn a_range_ends_with_its_prefix_and_begins_after_what_was_seen() {
        let key = |text: &str| Key::new(text);
        let up = Range::new(&key("k/"), Some(&key("k/3")), Order::Ascending);
        assert_eq!((up.lo, up.hi), (b"k/3\0".to_vec(), b"k0".to_vec()));
        let outside = Range::new(&key("k/"), Some(&key("j")), Order::Ascending);
        assert_eq!(outside.lo, b"k/");
        let down = Range::new(&key("k/"), Some(&key("k/3")), Order::Descending);
        assert_eq!((down.lo, down.hi), (b"k/".to_vec(), b"k/3".to_vec()));
        assert_eq!(Range::new(&key(""), None, Order::Ascending).hi, BEYOND_ALL);
    }
}
