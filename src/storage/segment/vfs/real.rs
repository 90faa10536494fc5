//! The disk: std and rustix calls, one to one. Owns no policy, but that aligned writes and large reads go around the page cache
//! where they may.

use super::{Lock, Vfs, VfsFile, direct};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealVfs;

impl Vfs for RealVfs {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Disk::file(OpenOptions::new().read(true).write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                File::open(path)?
            }
            other => other?,
        };
        Ok(Disk::file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The lock goes when the file is closed.
impl Lock for File {}

/// A file of the disk.
#[derive(Debug)]
struct Disk {
    file: File,
    /// No other file of this process has it.
    number: u64,
    /// Whether the file system refused a write around the cache.
    cached: AtomicBool,
}

impl Disk {
    fn file(file: File) -> Arc<dyn VfsFile> {
        static FILES: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { file, number: FILES.fetch_add(1, Ordering::Relaxed), cached: AtomicBool::new(false) })
    }
}

impl VfsFile for Disk {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let large = direct::is_large(buffer.len()) && !self.cached.load(Ordering::Relaxed);
        if large && direct::read(&self.file, buffer, position)? {
            return Ok(());
        }
        self.file.read_exact_at(buffer, position)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        if direct::is_aligned(parts, position) && !self.cached.load(Ordering::Relaxed) {
            if direct::write(&self.file, self.number, parts, position)? {
                return Ok(());
            }
            self.cached.store(true, Ordering::Relaxed);
        }
        let mut parts = parts;
        let mut position = position;
        // Drops empty parts, of which the system would write nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match rustix::io::pwritev(&self.file, parts, position) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    IoSlice::advance_slices(&mut parts, written);
                    position += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // A file system without it: only written bytes take room.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; 1 << 20];
                let mut at = 0;
                while at < length {
                    let part = usize::try_from(length - at).unwrap_or(usize::MAX).min(zeros.len());
                    self.file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
                    at += part as u64;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
