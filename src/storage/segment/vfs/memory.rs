//! A disk in memory that knows what is synced and what is not.
//!
//! Owns the bytes and directory entries of all its files, each as it reads now and as it is durable. What a power cut
//! makes of the difference is `crash.rs`'s business.

use super::{Lock, Vfs, VfsFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// A file system in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryVfs {
    disk: Arc<Mutex<Disk>>,
}

/// All entries, as they read now and as they are durable.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) entries: BTreeMap<PathBuf, Arc<MemoryFile>>,
    pub(super) durable: BTreeMap<PathBuf, Arc<MemoryFile>>,
    /// What was done to the entries since the last sync, in order.
    pub(super) pending: Vec<EntryChange>,
    locked: BTreeSet<PathBuf>,
}

/// A change of a directory entry.
#[derive(Clone, Debug)]
pub(super) enum EntryChange {
    Made(PathBuf, Arc<MemoryFile>),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct MemoryFile {
    pub(super) bytes: Mutex<FileBytes>,
}

/// A file's bytes as they read now, as they are durable, and the sectors in which the two may differ.
#[derive(Debug, Default)]
pub(super) struct FileBytes {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: BTreeSet<usize>,
}

impl Disk {
    /// Applies a change to a set of entries; one whose file is not there does nothing.
    pub(super) fn change(entries: &mut BTreeMap<PathBuf, Arc<MemoryFile>>, change: &EntryChange) {
        match change {
            EntryChange::Made(path, file) => {
                entries.insert(path.clone(), Arc::clone(file));
            }
            EntryChange::Renamed(from, to) => {
                if let Some(file) = entries.remove(from) {
                    entries.insert(to.clone(), file);
                }
            }
            EntryChange::Removed(path) => {
                entries.remove(path);
            }
        }
    }

    fn apply(&mut self, change: EntryChange) {
        Self::change(&mut self.entries, &change);
        self.pending.push(change);
    }
}

impl MemoryVfs {
    /// Looks at the disk.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Disk) -> T) -> T {
        look(&mut self.disk.lock())
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.with(|disk| disk.entries.values().map(|file| file.bytes.lock().now.len() as u64).sum())
    }

    /// The files with their bytes as they read now.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.with(|disk| {
            disk.entries.iter().map(|(path, file)| (path.clone(), file.bytes.lock().now.clone())).collect()
        })
    }

    /// A disk that holds these files, all durable.
    #[must_use]
    pub fn from_files(files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let entries: BTreeMap<_, _> = files
            .into_iter()
            .map(|(path, bytes)| {
                let bytes = FileBytes { now: bytes.clone(), durable: bytes, dirty: BTreeSet::new() };
                (path, Arc::new(MemoryFile { bytes: Mutex::new(bytes) }))
            })
            .collect();
        let disk = Disk { durable: entries.clone(), entries, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }
}

impl Vfs for MemoryVfs {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.with(|disk| {
            let inside = disk.entries.keys().filter(|path| path.parent() == Some(dir));
            inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
        }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.with(|disk| {
            if disk.entries.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let file = Arc::new(MemoryFile::default());
            disk.apply(EntryChange::Made(path.to_owned(), Arc::clone(&file)));
            Ok(file as Arc<dyn VfsFile>)
        })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.with(|disk| match disk.entries.get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn VfsFile>),
            None => Err(ErrorKind::NotFound.into()),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|disk| {
            if !disk.entries.contains_key(from) {
                return Err(ErrorKind::NotFound.into());
            }
            disk.apply(EntryChange::Renamed(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|disk| {
            if !disk.entries.contains_key(path) {
                return Err(ErrorKind::NotFound.into());
            }
            disk.apply(EntryChange::Removed(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.with(|disk| {
            disk.durable = disk.entries.clone();
            disk.pending.clear();
        });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.with(|disk| disk.locked.insert(path.to_owned())) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { disk: Arc::clone(&self.disk), path: path.to_owned() }))
    }
}

/// A lock on a memory disk.
#[derive(Debug)]
struct MemoryLock {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.lock().locked.remove(&self.path);
    }
}

impl FileBytes {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.grow(end);
        }
        if let Some(place) = self.now.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        self.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
    }

    fn grow(&mut self, length: usize) {
        self.dirty.extend(self.now.len() / SECTOR..length.div_ceil(SECTOR));
        self.now.resize(length, 0);
    }
}

/// A position in memory.
fn position(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| ErrorKind::InvalidInput.into())
}

impl VfsFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let at = position(at)?;
        let bytes = self.bytes.lock();
        let Some(source) = bytes.now.get(at..at.saturating_add(buffer.len())) else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], at: u64) -> io::Result<()> {
        let mut at = position(at)?;
        let mut bytes = self.bytes.lock();
        for part in parts.iter() {
            bytes.write(part, at);
            at += part.len();
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let bytes = &mut *self.bytes.lock();
        bytes.durable.resize(bytes.now.len(), 0);
        for sector in std::mem::take(&mut bytes.dirty) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(bytes.now.len());
            if let (Some(to), Some(from)) = (bytes.durable.get_mut(range.clone()), bytes.now.get(range)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = position(length)?;
        let mut bytes = self.bytes.lock();
        if bytes.now.len() < length {
            bytes.grow(length);
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let length = position(length)?;
        let mut bytes = self.bytes.lock();
        bytes.now.truncate(length);
        Ok(())
    }
}
