//! The upkeep thread: what keeps the directory small and the writer undisturbed.
//!
//! Owns checkpoints in the background, the return of dead segments, spares made ahead, copying forward, and the shrinking of
//! memory when nothing happens. Sleeps until woken, and looks by itself once a second.

use super::checkpoint::{Checkpoint, Kept};
use super::compact;
use super::file::name_of;
use super::pool::FILL_STEP;
use super::{CHECKPOINT_SHARE, IDLE_CACHE_BYTES, Shared};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long it sleeps when there is nothing to do.
const TICK: Duration = Duration::from_secs(1);
/// The pause between two steps of zero-filling: leaves the disk to the writer.
const FILL_PAUSE: Duration = Duration::from_millis(15);
/// After so many quiet ticks memory is given back.
const QUIET_TICKS: u32 = 10;

/// How the thread is woken.
#[derive(Debug, Default)]
pub(super) struct Signal {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Signal {
    /// Wakes the thread, now or at its next sleep.
    pub(super) fn wake(&self) {
        *self.woken.lock() = true;
        self.condvar.notify_one();
    }

    fn sleep(&self, longest: Duration) {
        let mut woken = self.woken.lock();
        if !*woken {
            self.condvar.wait_for(&mut woken, longest);
        }
        *woken = false;
    }
}

/// The last checkpoint, behind the lock under which the next one is written.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// Segments before this one need no replay.
    pub(super) segment: u64,
    /// The file's length.
    pub(super) bytes: u64,
    /// Room for the next one.
    pub(super) kept: Option<Kept>,
    /// The end mark is written: no checkpoint may follow.
    pub(super) ended: bool,
}

/// Runs until the store is closed or poisoned.
pub(super) fn run(shared: &Arc<Shared>) {
    let (mut quiet, mut commits_seen, mut bytes_seen) = (0, 0, 0);
    while !shared.is_down() {
        if let Err(error) = round(shared) {
            if error.kind() != io::ErrorKind::StorageFull {
                shared.shut_down(Some(&error.to_string()));
                return;
            }
            tracing::warn!(%error, "no room for a checkpoint; tried again");
        }
        let bytes = shared.stats.synced_bytes.load(Ordering::Relaxed);
        // A writer that is faster takes spares before they are filled: filling would only take the disk from it.
        let outrun = bytes - bytes_seen > FILL_STEP;
        bytes_seen = bytes;
        let filling = shared.options.zero_fill && (outrun || shared.pool.fill_step().unwrap_or(false));
        let commits = shared.stats.commits.load(Ordering::Relaxed);
        quiet = if commits == commits_seen { quiet + 1 } else { 0 };
        commits_seen = commits;
        if quiet == QUIET_TICKS {
            let state = &mut *shared.state.write();
            state.recent.shrink(&mut state.logs, IDLE_CACHE_BYTES);
        }
        shared.upkeep.sleep(if filling { FILL_PAUSE } else { TICK });
    }
}

/// One look at everything.
fn round(shared: &Arc<Shared>) -> io::Result<()> {
    shared.keep_room(&mut shared.covered.lock());
    if let Some(reason) = checkpoint_due(shared) {
        shared.write_checkpoint(reason).map_err(|error| told("writing CHECKPOINT", &error))?;
    }
    free_dead(shared).map_err(|error| told("giving back a segment", &error))?;
    shared.pool.top_up();
    if compact::step(shared) {
        shared.upkeep.wake();
    }
    Ok(())
}

/// An error of a kind, with what failed.
fn told(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// What a checkpoint is written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The next start reads less.
    Shortens,
    /// Segments become free.
    Frees,
    /// The store is closed, and the groups of its last segment end here.
    Ends(u64),
}

/// A checkpoint is due when segments were sealed since the last one and it pays: it sets more free than it costs, or the stream has
/// grown by several times its size.
fn checkpoint_due(shared: &Shared) -> Option<Reason> {
    let (covered, bytes) = {
        let covered = shared.covered.lock();
        (covered.segment, covered.bytes)
    };
    let state = shared.state.read();
    let sealed = state.active.saturating_sub(covered) * shared.options.segment_bytes;
    let dead = state.dead(u64::MAX).filter(|sequence| *sequence >= covered).count() as u64;
    let freed = dead * shared.options.segment_bytes;
    if freed > bytes || (freed > 0 && shared.pool.no_room()) {
        return Some(Reason::Frees);
    }
    (sealed > 0 && sealed >= CHECKPOINT_SHARE * bytes).then_some(Reason::Shortens)
}

/// Gives back the files of dead segments that no replay needs.
pub(super) fn free_dead(shared: &Shared) -> io::Result<()> {
    let covered = shared.covered.lock().segment;
    let dead: Vec<_> = {
        let state = &mut *shared.state.write();
        if shared.pins.load(Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let dead: Vec<u64> = state.dead(covered).collect();
        dead.into_iter().filter_map(|sequence| state.segments.remove(&sequence)).collect()
    };
    for segment in dead {
        let name = name_of(segment.segment.sequence);
        let mut covered = shared.covered.lock();
        if covered.kept.is_none() {
            shared.vfs.remove(&shared.dir.join(&name))?;
            shared.keep_room(&mut covered);
            continue;
        }
        drop(covered);
        // A file that somebody still reads must not be written over: it is removed, and lives until it is closed.
        let file = Arc::into_inner(segment.segment).map(|segment| segment.file);
        shared.pool.recycle(&name, file)?;
    }
    Ok(())
}

impl Shared {
    /// Takes the room that the next checkpoint needs, twice what it would need now and at least 1/256 of a segment. On a full disk a
    /// spare is given up for it: without a checkpoint nothing would ever come free. What fails is tried again.
    fn keep_room(&self, covered: &mut Covered) {
        let needed = self.state.read().checkpoint_bytes();
        if covered.ended || covered.kept.as_ref().is_some_and(|kept| kept.bytes() >= needed) {
            return;
        }
        let wanted = (2 * needed).max(self.options.segment_bytes / 256);
        let mut take = |bytes| match &mut covered.kept {
            Some(kept) => kept.grow(bytes),
            none => Kept::make(self.vfs.as_ref(), &self.dir, bytes).map(|made| *none = Some(made)),
        };
        let full = take(wanted).is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        if full && self.pool.give_up_one() && take(wanted).is_err() {
            drop(take(needed + needed / 8));
        }
    }

    /// Writes a checkpoint. On a full disk one that sets something free, or is the last, takes the kept room; any other waits.
    pub(super) fn write_checkpoint(&self, reason: Reason) -> io::Result<()> {
        let mut covered = self.covered.lock();
        if covered.ended {
            return Ok(());
        }
        let mut checkpoint = Checkpoint::of(&self.state.read());
        if let Reason::Ends(end) = reason {
            checkpoint.clean_end = end;
        }
        let bytes = checkpoint.encode();
        let length = bytes.len() as u64;
        let room = match Kept::make(self.vfs.as_ref(), &self.dir, length) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                if reason == Reason::Shortens {
                    self.keep_room(&mut covered);
                    return Ok(());
                }
                covered.kept.take_if(|kept| kept.bytes() >= length).ok_or(error)?
            }
            made => made?,
        };
        room.become_checkpoint(self.vfs.as_ref(), &self.dir, &bytes)?;
        covered.segment = checkpoint.segment;
        covered.bytes = length;
        covered.ended = matches!(reason, Reason::Ends(_));
        self.keep_room(&mut covered);
        Ok(())
    }
}
