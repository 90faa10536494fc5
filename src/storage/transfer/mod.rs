//! A whole store in one file that any engine can take in: logs with their batches, offsets and times, then documents.
//!
//! Both ways are streams: memory is that of one read. Both can be broken off anywhere and done again, then they go on where they were. The
//! values of documents and the store's keys are wrapped under a passphrase; messages are not. Nobody may change the store meanwhile.
//! Blocks on the file: for a command of its own. Knows no kind of document; whoever calls may change or leave out some.

mod file;
#[cfg(test)]
mod tests;
mod wrap;

use super::{
    Append, Batch, Key, LogId, Offset, Order, Position, Purpose, Put, Read, ReadLimit, Store, StoreError, StoredBatch,
    Version,
};
use bytes::Bytes;
use file::{Broken, Frame, Reader, Writer};
use std::path::Path;
use std::time::Duration;
use wrap::Wrap;

const READ: ReadLimit = ReadLimit { bytes: 1 << 20, batches: 1_024 };
const PAGE: usize = 100;
const LOGS: usize = 500;
/// Stands in a store while an import is under way: which one.
const MARK: &str = "import/mark";
/// How often what the store could not do is tried again, and the pause before it.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// An export is made durable after so many bytes: what is lost by a power cut is done again.
const SYNC_EVERY: u64 = 256 << 20;

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Logs begun.
    pub logs: u64,
    /// Batches.
    pub batches: u64,
    /// What they hold, in offsets.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Documents.
    pub documents: u64,
}

impl Progress {
    fn count(&mut self, frame: &Frame) {
        match frame {
            Frame::Log { .. } => self.logs += 1,
            Frame::Batch(batch) => {
                self.batches += 1;
                self.messages += u64::from(batch.count);
                self.bytes += batch.payload.len() as u64;
            }
            Frame::Document { .. } => self.documents += 1,
            Frame::Head(_) | Frame::End(_) => {}
        }
    }
}

/// What an export takes of the documents: the value to write, or none to leave it out. An error ends the export.
pub type Choose<'a> = dyn Fn(&Key, Bytes) -> Result<Option<Bytes>, String> + Send + Sync + 'a;
/// Told how far it has come, often.
pub type Tell<'a> = dyn FnMut(&Progress) + Send + 'a;

/// Writes a store into a file, which is new or was begun by an export of the same store that was broken off.
///
/// # Errors
/// What is wrong with the file, the passphrase or the store: one line.
pub async fn export(
    store: &dyn Store,
    path: &Path,
    keys: &[u8],
    passphrase: &str,
    choose: &Choose<'_>,
    tell: &mut Tell<'_>,
) -> Result<Progress, String> {
    let mut export =
        if path.exists() { Export::resume(path, passphrase)? } else { Export::begin(path, keys, passphrase)? };
    export.logs(store, tell).await?;
    export.documents(store, choose, tell).await?;
    let count = export.writer.count;
    export.put(Frame::End(count), tell)?;
    export.writer.sync().map_err(|error| at(path, &error))?;
    Ok(export.progress)
}

/// An export under way.
struct Export<'a> {
    path: &'a Path,
    writer: Writer,
    wrap: Wrap,
    progress: Progress,
    synced: u64,
    /// The log that was begun last, and up to where it is written.
    log: Option<(LogId, Option<Offset>)>,
    /// The document that was written last.
    key: Option<Key>,
}

impl<'a> Export<'a> {
    fn begin(path: &'a Path, keys: &[u8], passphrase: &str) -> Result<Self, String> {
        let wrap = Wrap::fresh(passphrase)?;
        let mut id = [0; 16];
        wrap::fill(&mut id)?;
        let head = [&id[..], wrap.said(), &wrap.hide(keys, &id)?].concat();
        let mut writer = Writer::create(path).map_err(|error| at(path, &error))?;
        writer.write(&Frame::Head(head.into())).map_err(|error| at(path, &error))?;
        Ok(Self { path, writer, wrap, progress: Progress::default(), synced: 0, log: None, key: None })
    }

    fn resume(path: &'a Path, passphrase: &str) -> Result<Self, String> {
        let mut reader = Reader::open(path)?;
        let (_, wrap, _) = head(path, &mut reader, passphrase)?;
        let (mut progress, mut log, mut key) = (Progress::default(), None, None);
        loop {
            let frame = match reader.next() {
                Ok(frame) => frame,
                Err(Broken::Off) => break,
                Err(Broken::Damaged(why)) => return Err(at(path, &why)),
            };
            progress.count(&frame);
            match frame {
                Frame::Log { id, .. } => log = Some((id, None)),
                Frame::Batch(batch) => log = log.map(|(id, _)| (id, Some(batch.next()))),
                Frame::Document { key: written, .. } => key = Some(written),
                Frame::Head(_) => return Err(at(path, &"it begins twice")),
                Frame::End(_) => return Err(at(path, &"it is a complete export already; name another file")),
            }
        }
        let writer = Writer::behind(path, &reader).map_err(|error| at(path, &error))?;
        Ok(Self { path, writer, wrap, progress, synced: progress.bytes, log, key })
    }

    fn put(&mut self, frame: Frame, tell: &mut Tell<'_>) -> Result<(), String> {
        let failed = |error: std::io::Error| at(self.path, &error);
        self.writer.write(&frame).map_err(failed)?;
        self.progress.count(&frame);
        if self.progress.bytes - self.synced >= SYNC_EVERY {
            self.writer.sync().map_err(failed)?;
            self.synced = self.progress.bytes;
        }
        tell(&self.progress);
        Ok(())
    }

    async fn logs(&mut self, store: &dyn Store, tell: &mut Tell<'_>) -> Result<(), String> {
        if self.key.is_some() {
            return Ok(());
        }
        if let Some((log, next)) = self.log {
            self.batches(store, log, next, tell).await?;
        }
        loop {
            let after = self.log.map(|(log, _)| log);
            let logs = again(async || store.logs(after, LOGS).await).await?;
            for log in &logs {
                let Some(bounds) = again(async || store.bounds(*log).await).await? else { continue };
                self.log = Some((*log, None));
                self.put(Frame::Log { id: *log, first: bounds.first }, tell)?;
                self.batches(store, *log, None, tell).await?;
            }
            if logs.len() < LOGS {
                return Ok(());
            }
        }
    }

    /// The batches of a log from an offset on, or all that are kept.
    async fn batches(
        &mut self,
        store: &dyn Store,
        log: LogId,
        from: Option<Offset>,
        tell: &mut Tell<'_>,
    ) -> Result<(), String> {
        let first = again(async || store.bounds(log).await).await?.map(|bounds| bounds.first);
        let Some(mut next) = from.or(first) else { return Err(format!("{log} was closed meanwhile")) };
        loop {
            let batches = match again(async || store.read(log, Position::Offset(next), READ).await).await? {
                Read::Batches(batches) => batches,
                Read::Trimmed { .. } | Read::Closed => return Err(format!("{log} was changed meanwhile")),
            };
            let Some(end) = batches.last().map(StoredBatch::next) else { return Ok(()) };
            for batch in batches {
                self.put(Frame::Batch(batch), tell)?;
            }
            next = end;
        }
    }

    async fn documents(&mut self, store: &dyn Store, choose: &Choose<'_>, tell: &mut Tell<'_>) -> Result<(), String> {
        let mut after = self.key.clone();
        loop {
            let page = again(async || store.scan(&Key::new(""), after.as_ref(), PAGE, Order::Ascending).await).await?;
            after = page.last().map(|(key, _)| key.clone());
            let full = page.len() == PAGE;
            for (key, document) in page {
                if let Some(value) = choose(&key, document.value)? {
                    let value = self.wrap.hide(&value, &key.0)?.into();
                    self.put(Frame::Document { key, value }, tell)?;
                }
            }
            if !full {
                return Ok(());
            }
        }
    }
}

/// Takes a file into a store that holds nothing yet, or what an import of the same file left when it was broken off. `take_keys` gets the
/// store's keys before anything is written. The whole file is checked first.
///
/// # Errors
/// What is wrong with the file, the passphrase or the store: one line.
pub async fn import(
    store: &dyn Store,
    path: &Path,
    passphrase: &str,
    take_keys: impl FnOnce(&[u8]) -> Result<(), String>,
    tell: &mut Tell<'_>,
) -> Result<Progress, String> {
    check(path)?;
    let mut reader = Reader::open(path)?;
    let (id, wrap, keys) = head(path, &mut reader, passphrase)?;
    let mark = claim(store, id).await?;
    take_keys(&keys)?;
    let mut import = Import { store, log: None };
    let mut progress = Progress::default();
    loop {
        let frame = reader.next().map_err(|broken| match broken {
            Broken::Off => at(path, &"it was cut off meanwhile"),
            Broken::Damaged(why) => at(path, &why),
        })?;
        progress.count(&frame);
        match frame {
            Frame::Log { id, first } => {
                import.finish_log().await?;
                import.log = Some((id, first, None));
            }
            Frame::Batch(batch) => import.batch(batch).await?,
            Frame::Document { key, value } => {
                import.finish_log().await?;
                let value = wrap.show(&value, &key.0).ok_or_else(|| at(path, &format!("{key} cannot be unwrapped")))?;
                import.document(&key, value.into()).await?;
            }
            Frame::Head(_) => return Err(at(path, &"it begins twice")),
            Frame::End(_) => break,
        }
        tell(&progress);
    }
    import.finish_log().await?;
    again(async || store.delete(&Key::new(MARK), mark).await).await?;
    Ok(progress)
}

/// Reads a whole file.
fn check(path: &Path) -> Result<(), String> {
    let mut reader = Reader::open(path)?;
    loop {
        let count = reader.count;
        match reader.next() {
            Ok(Frame::End(said)) if said == count => return Ok(()),
            Ok(Frame::End(_)) => return Err(at(path, &"its end does not belong to it")),
            Ok(_) => {}
            Err(Broken::Off) => {
                return Err(at(path, &"it is not complete: do the export again, it goes on where it was"));
            }
            Err(Broken::Damaged(why)) => return Err(at(path, &why)),
        }
    }
}

/// What a file begins with: which export it is, its wrap, the keys in it.
fn head(path: &Path, reader: &mut Reader, passphrase: &str) -> Result<([u8; 16], Wrap, Vec<u8>), String> {
    let Ok(Frame::Head(head)) = reader.next() else {
        return Err(at(path, &"it has no beginning: remove it and do the export again"));
    };
    let cut = || at(path, &"its beginning is cut short");
    let (id, rest) = head.split_first_chunk::<16>().ok_or_else(cut)?;
    let (said, keys) = rest.split_first_chunk::<{ wrap::SAID }>().ok_or_else(cut)?;
    let wrap = Wrap::of(passphrase, *said).map_err(|why| at(path, &why))?;
    let keys = wrap.show(keys, id).ok_or_else(|| at(path, &"it was written with another passphrase"))?;
    Ok((*id, wrap, keys))
}

/// Makes sure that the store is empty or holds what this import left, and marks it; the mark's version.
async fn claim(store: &dyn Store, id: [u8; 16]) -> Result<Version, String> {
    let mark = Key::new(MARK);
    if let Some(document) = again(async || store.get(&mark).await).await? {
        return if document.value == id[..] {
            Ok(document.version)
        } else {
            Err("the store holds a part of another import: go on with that, or take a fresh store".to_owned())
        };
    }
    let present = again(async || store.scan(&Key::new(""), None, 1, Order::Ascending).await).await?;
    if let Some((key, _)) = present.first() {
        return Err(format!("the store is not empty ({key}): an import needs a fresh one"));
    }
    let value = Bytes::copy_from_slice(&id);
    put(store, &mark, &value).await?;
    let marked = again(async || store.get(&mark).await).await?;
    marked.map(|document| document.version).ok_or_else(|| "the store forgets what is written".to_owned())
}

/// Writes a document that is not there, or finds it written.
async fn put(store: &dyn Store, key: &Key, value: &Bytes) -> Result<(), String> {
    for _ in 0..TRIES {
        match store.put(key, value.clone(), Version::ABSENT).await {
            Ok(Put::Done(_)) => return Ok(()),
            Ok(Put::Conflict(_)) => {
                let present = again(async || store.get(key).await).await?;
                let same = present.is_some_and(|document| document.value == *value);
                return if same { Ok(()) } else { Err(format!("the store has another {key}: take a fresh store")) };
            }
            Err(error) => pause_after(error).await?,
        }
    }
    Err(format!("{key} could not be written"))
}

/// An import under way.
struct Import<'a> {
    store: &'a dyn Store,
    /// The log that is being written, where it begins, and the offset after what the store has of it; none before its first batch.
    log: Option<(LogId, Offset, Option<Offset>)>,
}

impl Import<'_> {
    /// Makes a log if it is not there; the offset after what it holds.
    async fn begin(&self, log: LogId, first: Offset) -> Result<Offset, String> {
        let store = self.store;
        again(async || store.create(log, first).await).await?;
        let bounds = again(async || store.bounds(log).await).await?;
        bounds.map(|bounds| bounds.next).ok_or_else(|| format!("{log} was closed in this store: take a fresh one"))
    }

    async fn batch(&mut self, batch: StoredBatch) -> Result<(), String> {
        let Some((log, first, next)) = self.log else {
            return Err("the export has a batch outside any log".to_owned());
        };
        let next = match next {
            Some(next) => next,
            None => self.begin(log, batch.first).await?,
        };
        let end = batch.next();
        if next < end {
            self.append(log, next, batch).await?;
        }
        self.log = Some((log, first, Some(next.max(end))));
        Ok(())
    }

    async fn append(&self, log: LogId, next: Offset, batch: StoredBatch) -> Result<(), String> {
        if next != batch.first {
            return Err(format!("{log} goes on at {next}, the export at {}: take a fresh store", batch.first));
        }
        for _ in 0..TRIES {
            let StoredBatch { count, time, nonce, ref payload, .. } = batch;
            let copy = Batch { count, time, nonce, payload: payload.clone() };
            match self.store.append(log, batch.first, copy, Purpose::Growth).await {
                Ok(Append::Appended { .. }) => return Ok(()),
                // An earlier try whose outcome was unknown.
                Ok(Append::Conflict { next }) if next == batch.next() => return Ok(()),
                Ok(Append::Conflict { next }) => return Err(format!("somebody else writes to {log}, up to {next}")),
                Ok(Append::Closed) => return Err(format!("{log} was closed meanwhile")),
                Err(error) => pause_after(error).await?,
            }
        }
        Err(format!("{log} could not be written"))
    }

    /// A log without a batch is made, too; what it had trimmed is trimmed.
    async fn finish_log(&mut self) -> Result<(), String> {
        let Some((log, first, next)) = self.log.take() else { return Ok(()) };
        if next.is_none() {
            self.begin(log, first).await?;
        }
        let store = self.store;
        again(async || store.trim(log, first).await).await
    }

    async fn document(&self, key: &Key, value: Bytes) -> Result<(), String> {
        put(self.store, key, &value).await
    }
}

/// Does what may be done twice, a few times if need be.
async fn again<T>(call: impl AsyncFn() -> super::Result<T>) -> Result<T, String> {
    for _ in 1..TRIES {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) => pause_after(error).await?,
        }
    }
    call().await.map_err(|error| error.to_string())
}

/// Waits before what failed for now is tried again; what failed for good ends it.
async fn pause_after(error: StoreError) -> Result<(), String> {
    match error {
        StoreError::Unknown(_) | StoreError::Unavailable(_) => {
            tokio::time::sleep(PAUSE).await;
            Ok(())
        }
        other => Err(other.to_string()),
    }
}

fn at(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}
