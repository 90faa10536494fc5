//! A disk that fails: injected write and sync errors, no room, and power cuts.
//!
//! Owns the faults of one [`CrashVfs`] and the picture of the disk after a cut: what was synced, and of everything else
//! (sectors of 512 bytes, lengths, directory entries) a random part, sectors also torn or zeroed.

use super::memory::{Disk, FileBytes, MemoryFile, SECTOR};
use super::{Lock, MemoryVfs, Vfs, VfsFile};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What goes wrong. The default is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes at the n-th change from now (a write, sync, allocation or change of an entry; 1 is the next one).
    pub power_cut_in: Option<u64>,
    /// Only changes of entries and lengths count for it: those are rare.
    pub power_cut_at_entry: bool,
    /// Every write fails.
    pub writes_fail: bool,
    /// Every sync of a file fails.
    pub syncs_fail: bool,
    /// The disk holds no more than this many bytes.
    pub room: Option<u64>,
}

/// A memory disk with faults. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct CrashVfs {
    disk: MemoryVfs,
    control: Arc<Mutex<Control>>,
}

#[derive(Debug, Default)]
struct Control {
    faults: Faults,
    power_is_off: bool,
    changes: u64,
    cut_at: Option<(Change, PathBuf)>,
}

/// The kinds of change that faults tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Of a file's bytes, or of the room taken for them.
    Write,
    /// What makes the others durable.
    Sync,
    /// Of a directory's entry, or of a file's length.
    Entry,
}

impl CrashVfs {
    /// A disk with faults over another's content.
    #[must_use]
    pub fn over(disk: MemoryVfs) -> Self {
        Self { disk, control: Arc::default() }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.control.lock().faults = faults;
    }

    /// Whether the power is off: every call fails.
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.control.lock().power_is_off
    }

    /// How many changes the disk has seen.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.control.lock().changes
    }

    /// At which change the power went, and of what (a file is known by the name that it was opened with). None when it went between
    /// two changes, or is on.
    #[must_use]
    pub fn cut_at(&self) -> Option<(Change, PathBuf)> {
        self.control.lock().cut_at.clone()
    }

    /// The disk itself.
    #[must_use]
    pub fn disk(&self) -> &MemoryVfs {
        &self.disk
    }

    /// Cuts the power (all further calls fail) and answers the disk that is found after it: the synced data, and of the rest what
    /// the seed decides.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        self.control.lock().power_is_off = true;
        let mut dice = Dice(seed);
        let files = self.disk.with(|disk| {
            let mut entries = disk.durable.clone();
            for change in &disk.pending {
                if dice.below(2) == 0 {
                    Disk::change(&mut entries, change);
                }
            }
            let survive = |(path, file): (_, Arc<MemoryFile>)| (path, survivor(&file.bytes.lock(), &mut dice));
            entries.into_iter().map(survive).collect::<BTreeMap<_, _>>()
        });
        Self::over(MemoryVfs::from_files(files))
    }

    /// Fails all further calls, as for a process that is killed, and answers the disk as the next process finds it: everything
    /// that was written, synced or not.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.control.lock().power_is_off = true;
        Self::over(self.disk.clone())
    }

    /// Fails if it must; otherwise a change goes on. Answers whether the power goes with it.
    fn admit(&self, change: Change, path: &Path) -> io::Result<bool> {
        let control = &mut *self.control.lock();
        if control.power_is_off {
            return Err(power_cut());
        }
        control.changes += 1;
        let counts = change == Change::Entry || !control.faults.power_cut_at_entry;
        if let Some(left) = control.faults.power_cut_in.as_mut().filter(|_| counts) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                control.power_is_off = true;
                control.cut_at = Some((change, path.to_owned()));
                // A write was on its way and may reach the disk in part; a sync or an entry was not.
                return if change == Change::Write { Ok(true) } else { Err(power_cut()) };
            }
        }
        match change {
            Change::Write if control.faults.writes_fail => Err(io::Error::other("injected write error")),
            Change::Sync if control.faults.syncs_fail => Err(io::Error::other("injected sync error")),
            _ => Ok(false),
        }
    }

    /// Fails if so many more bytes do not fit.
    fn make_room(&self, more: u64) -> io::Result<()> {
        match self.control.lock().faults.room {
            Some(room) if more > 0 && self.disk.used() + more > room => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn read_only(&self) -> io::Result<()> {
        if self.power_is_off() { Err(power_cut()) } else { Ok(()) }
    }

    fn file(&self, path: &Path, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(CrashFile { vfs: self.clone(), path: path.to_owned(), file })
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is off")
}

/// A file after a cut: durable bytes, and each dirty sector as the dice fall.
fn survivor(bytes: &FileBytes, dice: &mut Dice) -> Vec<u8> {
    let mut after = bytes.durable.clone();
    if bytes.now.len() > after.len() && dice.below(2) == 0 {
        after.resize(bytes.now.len(), 0);
    } else if bytes.now.len() < after.len() && dice.below(2) == 0 {
        after.truncate(bytes.now.len());
    }
    for sector in &bytes.dirty {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(after.len()).min(bytes.now.len());
        let (Some(to), Some(from)) = (after.get_mut(range.clone()), bytes.now.get(range)) else { continue };
        match dice.below(8) {
            0..=2 => {}
            3..=5 => to.copy_from_slice(from),
            6 => to.fill(0),
            _ => {
                let torn = dice.below(from.len().max(1) as u64);
                for (to, from) in to.iter_mut().zip(from).take(usize::try_from(torn).unwrap_or(0)) {
                    *to = *from;
                }
            }
        }
    }
    after
}

/// Splitmix64: small, seeded, good enough for faults.
pub(in crate::storage::segment) struct Dice(pub(in crate::storage::segment) u64);

impl Dice {
    /// A number below a limit, which is not zero.
    pub(in crate::storage::segment) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl Vfs for CrashVfs {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.read_only()?;
        self.disk.make_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.read_only()?;
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.admit(Change::Entry, path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.read_only()?;
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.admit(Change::Entry, from)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.admit(Change::Entry, path)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.admit(Change::Sync, dir)?;
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct CrashFile {
    vfs: CrashVfs,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
}

impl VfsFile for CrashFile {
    fn size(&self) -> io::Result<u64> {
        self.vfs.read_only()?;
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.vfs.read_only()?;
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let cut = self.vfs.admit(Change::Write, &self.path)?;
        let end = position + parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.vfs.make_room(end.saturating_sub(self.file.size()?))?;
        self.file.write_at(parts, position)?;
        if cut { Err(power_cut()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.vfs.admit(Change::Sync, &self.path)?;
        self.file.sync()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let cut = self.vfs.admit(Change::Write, &self.path)?;
        self.vfs.make_room(length.saturating_sub(self.file.size()?))?;
        self.file.allocate(length)?;
        if cut { Err(power_cut()) } else { Ok(()) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.vfs.admit(Change::Entry, &self.path)?;
        self.file.truncate(length)
    }
}
