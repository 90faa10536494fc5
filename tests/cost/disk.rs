//! A disk in memory that counts what is written and synced. Owns the counts; the bytes are [`MemoryVfs`]'s.

use crate::heap::{allocations, allocations_of_this_thread};
use angelia::storage::segment::vfs::{Lock, MemoryVfs, Vfs, VfsFile};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a sync takes: long enough for others to queue up behind it, as on a disk.
const SYNC: Duration = Duration::from_millis(2);

/// What was done to the files of a disk.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    writes: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    /// Allocations of the disk itself, which no real one makes.
    allocations: AtomicU64,
}

/// A reading of [`Counts`], or the difference of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) writes: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

impl Counts {
    pub(crate) fn now(&self) -> Work {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Work { writes: of(&self.writes), bytes: of(&self.bytes), syncs: of(&self.syncs) }
    }

    /// Allocations so far of everything but the disk.
    pub(crate) fn allocations_beside(&self) -> u64 {
        allocations() - self.allocations.load(Ordering::Relaxed)
    }

    /// What was done since an earlier reading.
    pub(crate) fn since(&self, before: Work) -> Work {
        let now = self.now();
        Work { writes: now.writes - before.writes, bytes: now.bytes - before.bytes, syncs: now.syncs - before.syncs }
    }
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountingVfs {
    disk: MemoryVfs,
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn VfsFile>,
    counts: Arc<Counts>,
}

impl CountingVfs {
    fn counting(&self, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(CountingFile { file, counts: Arc::clone(&self.counts) })
    }
}

impl Vfs for CountingVfs {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.counting(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.counting(self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

impl VfsFile for CountingFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let before = allocations_of_this_thread();
        let written = self.file.write_at(parts, position);
        self.counts.allocations.fetch_add(allocations_of_this_thread() - before, Ordering::Relaxed);
        written
    }

    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(SYNC);
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        let before = allocations_of_this_thread();
        let synced = self.file.sync();
        self.counts.allocations.fetch_add(allocations_of_this_thread() - before, Ordering::Relaxed);
        synced
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}
