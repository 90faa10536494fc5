//! The file operations that the segment engine needs, and nothing more.
//!
//! Owns the traits [`Vfs`] and [`VfsFile`]; implementations: [`RealVfs`] (the disk), [`MemoryVfs`] (a disk in memory that
//! knows what is synced) and [`CrashVfs`] (the same with faults and power cuts). Knows nothing of segments.

mod crash;
mod direct;
mod memory;
mod real;

#[cfg(test)]
pub(super) use crash::Dice;
pub use crash::{Change, CrashVfs, Faults};
pub use memory::MemoryVfs;
pub use real::RealVfs;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A file system as the engine sees it. All calls block.
pub trait Vfs: Send + Sync + Debug + 'static {
    /// Makes a directory and its parents; it may exist.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a new file for reading and writing; it must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Opens a file that exists: for reading and writing, or for reading alone where writing is not permitted.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Renames a file, replacing one of the new name. Durable after [`Vfs::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Vfs::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory's entries durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file (made if need be) for this process until the answer is dropped; `WouldBlock` when somebody holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// Holds a lock while it lives.
pub trait Lock: Send + Sync + Debug {}

/// An open file. Positions and lengths are in bytes.
pub trait VfsFile: Send + Sync + Debug {
    /// The file's length.
    fn size(&self) -> io::Result<u64>;

    /// Fills the buffer from a position; `UnexpectedEof` if the file ends before.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all parts one behind the other from a position, as one vectored write where the system can.
    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Makes everything written durable, and the length too.
    fn sync(&self) -> io::Result<()>;

    /// Takes room on the disk, so that writes below `length` cannot run out of it, and makes the file that long.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;
}
