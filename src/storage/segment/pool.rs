//! Spare segment files: recycled ones, and new ones made ahead.
//!
//! Owns the `*.spare` files of the directory. Writing over a file that has its length and its blocks makes a sync cost a quarter
//! of what it costs on a growing file, so spares are allocated, then filled with zeros piece by piece, once; recycled ones
//! need neither. Running out of room here sets `full` and harms nothing. Knows no records.

use super::vfs::{Vfs, VfsFile};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The end of a spare's name.
pub(super) const SUFFIX: &str = ".spare";
/// What is zero-filled at a time: so little that a commit behind it hardly waits.
pub(super) const FILL_STEP: u64 = 1 << 20;
/// What it is filled with, piece by piece.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file ready to become a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) name: String,
    pub(super) file: Arc<dyn VfsFile>,
    /// How far it is filled; the whole length of a recycled one.
    filled: u64,
}

impl Spare {
    /// Fills it a step further. Synced once, when it is full: the commits in between are left to the writer.
    fn fill(&mut self, length: u64) -> io::Result<()> {
        let step = FILL_STEP.min(length.saturating_sub(self.filled));
        self.file.write_at(&mut zeros(step), self.filled)?;
        self.filled += step;
        if self.filled == length { self.file.sync() } else { Ok(()) }
    }
}

/// The spares of one store.
#[derive(Debug)]
pub(super) struct Pool {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    segment_bytes: u64,
    /// How many are made ahead.
    wanted: usize,
    /// How many are kept.
    kept: usize,
    inner: Mutex<Inner>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    spares: VecDeque<Spare>,
    /// Spares out for a step of filling.
    filling: usize,
    no_room: bool,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(vfs: Arc<dyn Vfs>, dir: &Path, segment_bytes: u64, wanted: usize, kept: usize) -> Self {
        let (inner, returned) = (Mutex::default(), Condvar::new());
        Self { vfs, dir: dir.to_owned(), segment_bytes, wanted, kept: kept.max(wanted), inner, returned }
    }

    /// Takes in a spare found at open, or removes it if it is of no use.
    pub(super) fn adopt(&self, name: &str) -> io::Result<()> {
        let path = self.dir.join(name);
        let file = self.vfs.open(&path)?;
        let mut inner = self.inner.lock();
        if file.size()? != self.segment_bytes || inner.spares.len() >= self.kept {
            return self.vfs.remove(&path);
        }
        // How far it was filled is not known; unfilled blocks only make it slower, once.
        inner.spares.push_back(Spare { name: name.to_owned(), file, filled: self.segment_bytes });
        Ok(())
    }

    /// A spare: a prepared one or, if there is none, a new one without filling.
    pub(super) fn take(&self) -> io::Result<Spare> {
        loop {
            if let Some(spare) = self.take_prepared() {
                return Ok(spare);
            }
            match self.create() {
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    let mut inner = self.inner.lock();
                    inner.no_room = true;
                    if inner.filling == 0 && inner.spares.is_empty() {
                        return Err(error);
                    }
                    if inner.spares.is_empty() {
                        self.returned.wait(&mut inner);
                    }
                }
                other => return other,
            }
        }
    }

    /// A spare that is filled to its end, if need be now: for when nobody waits yet.
    pub(super) fn take_filled(&self) -> io::Result<Spare> {
        let mut spare = self.take()?;
        while spare.filled < self.segment_bytes {
            spare.fill(self.segment_bytes)?;
        }
        Ok(spare)
    }

    /// A prepared spare, the best filled first.
    fn take_prepared(&self) -> Option<Spare> {
        let spares = &mut self.inner.lock().spares;
        let best = spares.iter().enumerate().max_by_key(|(_, spare)| spare.filled)?.0;
        spares.remove(best)
    }

    /// Puts a dead segment's file among the spares, or removes it when there are enough (or it is not of the usual size).
    pub(super) fn recycle(&self, segment_name: &str, file: Option<Arc<dyn VfsFile>>) -> io::Result<()> {
        let path = self.dir.join(segment_name);
        let usual = |file: &Arc<dyn VfsFile>| file.size().is_ok_and(|size| size == self.segment_bytes);
        let enough = self.inner.lock().spares.len() >= self.kept;
        match file.filter(usual) {
            Some(file) if !enough => {
                let name = new_name();
                self.vfs.rename(&path, &self.dir.join(&name))?;
                // Before its next life begins the name of the last one must be gone for good.
                self.vfs.sync_dir(&self.dir)?;
                let mut inner = self.inner.lock();
                inner.spares.push_back(Spare { name, file, filled: self.segment_bytes });
                inner.no_room = inner.no_room && inner.spares.len() < self.wanted;
                Ok(())
            }
            _ => self.vfs.remove(&path),
        }
    }

    /// Makes spares until enough are ready; says whether the disk has room. Other errors leave things as they are.
    pub(super) fn top_up(&self) {
        loop {
            {
                let mut inner = self.inner.lock();
                if inner.spares.len() + inner.filling >= self.wanted {
                    inner.no_room = false;
                    return;
                }
            }
            match self.create() {
                Ok(spare) => self.inner.lock().spares.push_back(spare),
                Err(error) => {
                    if error.kind() == ErrorKind::StorageFull {
                        self.inner.lock().no_room = true;
                    }
                    return;
                }
            }
        }
    }

    /// Fills a spare a step further. Answers whether there is more to fill.
    pub(super) fn fill_step(&self) -> io::Result<bool> {
        let mut spare = {
            let mut inner = self.inner.lock();
            let Some(at) = inner.spares.iter().position(|spare| spare.filled < self.segment_bytes) else {
                return Ok(false);
            };
            inner.filling += 1;
            let Some(spare) = inner.spares.remove(at) else { return Ok(false) };
            spare
        };
        let result = spare.fill(self.segment_bytes);
        let mut inner = self.inner.lock();
        inner.filling -= 1;
        let removed = match result {
            Ok(()) => {
                inner.spares.push_back(spare);
                Ok(true)
            }
            // Of no use to anybody.
            Err(error) => self.vfs.remove(&self.dir.join(&spare.name)).and(Err(error)),
        };
        self.returned.notify_all();
        removed
    }

    /// A new file with its room taken.
    fn create(&self) -> io::Result<Spare> {
        let name = new_name();
        let path = self.dir.join(&name);
        let file = self.vfs.create(&path)?;
        if let Err(error) = file.allocate(self.segment_bytes).and_then(|()| file.sync()) {
            self.vfs.remove(&path)?;
            return Err(error);
        }
        Ok(Spare { name, file, filled: 0 })
    }

    /// Removes a spare for the sake of its room, the least prepared first. Says whether there was one.
    pub(super) fn give_up_one(&self) -> bool {
        let mut inner = self.inner.lock();
        let least = inner.spares.iter().enumerate().min_by_key(|(_, spare)| spare.filled).map(|(at, _)| at);
        let Some(spare) = least.and_then(|at| inner.spares.remove(at)) else { return false };
        self.vfs.remove(&self.dir.join(&spare.name)).is_ok()
    }

    /// How many spares are ready.
    pub(super) fn len(&self) -> usize {
        let inner = self.inner.lock();
        inner.spares.len() + inner.filling
    }

    /// Whether the disk refused the last spare that was wanted.
    pub(super) fn no_room(&self) -> bool {
        self.inner.lock().no_room
    }
}

/// So many zero bytes.
fn zeros(bytes: u64) -> Vec<IoSlice<'static>> {
    let whole = ZEROS.len() as u64;
    let pieces = (0..bytes.div_ceil(whole)).map(|piece| {
        let length = usize::try_from(whole.min(bytes - piece * whole)).unwrap_or(ZEROS.len());
        IoSlice::new(ZEROS.get(..length).unwrap_or(&ZEROS))
    });
    pieces.collect()
}

fn new_name() -> String {
    format!("{}{SUFFIX}", uuid::Uuid::new_v4().simple())
}
