//! The writer thread: takes what waits, makes it one group, writes and syncs it, publishes it, answers.
//!
//! Owns the end of the stream: active segment, position, chain, group number. The only one who writes groups. Any
//! failure of a write or a sync poisons the store; a sync is never tried twice.

use super::Shared;
use super::checkpoint::Checkpoint;
use super::decide::{Draft, Fate};
use super::file::{DATA_START, Segment, name_of};
use super::group::{Kind, encode, group_len};
use super::pool::Spare;
use super::queue::Request;
use super::upkeep::Reason;
use super::vfs::Vfs;
use crate::storage::{Result, StoreError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most payload bytes of one group, unless a single request has more.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Most requests of one group.
const GROUP_REQUESTS_MAX: usize = 1024;

/// The nice value of the writer's thread.
const PRIORITY: i32 = -10;

/// The end of the stream.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) segment: Arc<Segment>,
    /// Where the next group goes.
    pub(super) end: u64,
    /// The last group's checksum.
    pub(super) chain: u32,
    /// The next group's number.
    pub(super) group: u64,
}

/// Makes a spare the segment `sequence`: durable header first, then the name.
pub(super) fn begin_segment(
    vfs: &dyn Vfs,
    dir: &Path,
    spare: Spare,
    sequence: u64,
    chain: u32,
    group: u64,
) -> io::Result<Arc<Segment>> {
    let (_, salt) = uuid::Uuid::new_v4().as_u64_pair();
    let segment = Segment::begin(spare.file, sequence, salt, chain, group)?;
    vfs.rename(&dir.join(spare.name), &dir.join(name_of(sequence)))?;
    vfs.sync_dir(dir)?;
    Ok(Arc::new(segment))
}

impl Writer {
    /// Runs until the store is closed or poisoned.
    pub(super) fn run(mut self) {
        // Everybody waits for this thread, and it computes next to nothing: where the process may, it goes before others, so that
        // a sync does not wait for a busy core. Where it may not, nothing is lost but that.
        let _ = rustix::process::setpriority_process(None, PRIORITY);
        let shared = Arc::clone(&self.shared);
        let most = usize::try_from(shared.options.segment_bytes / 2).unwrap_or(usize::MAX).min(GROUP_BYTES_MAX);
        while let Some(requests) = shared.queue.drain(GROUP_REQUESTS_MAX, most) {
            let mut draft = Draft::default();
            self.secure_reserve();
            let room = shared.room();
            for request in requests {
                match request {
                    Request::Cut { reply } => {
                        self.finish(std::mem::take(&mut draft));
                        drop(reply.send(self.cut()));
                    }
                    Request::Stop { reply } => {
                        self.finish(std::mem::take(&mut draft));
                        drop(reply.send(self.stop()));
                        shared.shut_down(None);
                    }
                    request => {
                        if !draft.has_room(&request, most) {
                            self.finish(std::mem::take(&mut draft));
                        }
                        draft.add(&shared.state.read(), request, room);
                    }
                }
            }
            self.finish(draft);
            if shared.is_down() {
                shared.queue.close();
            }
        }
    }

    /// Makes sure, well before the segment is full, that the reserve is there or is known to be wanting; upkeep has usually done it.
    fn secure_reserve(&self) {
        let Shared { pool, options, .. } = &*self.shared;
        if self.end > options.segment_bytes / 2 && pool.len() < options.reserve_segments && !pool.no_room() {
            pool.top_up();
        }
    }

    /// Commits a draft and answers.
    fn finish(&mut self, draft: Draft) {
        if draft.is_empty() {
            return;
        }
        if draft.records.is_empty() {
            return draft.end(&Fate::Durable);
        }
        let fate = match self.shared.down() {
            // An earlier draft of the same round has failed.
            Some(error) => Fate::Refused(error),
            None => self.commit(&draft).err().unwrap_or(Fate::Durable),
        };
        if let Fate::Broken(why) = &fate {
            self.shared.shut_down(Some(why));
        }
        draft.end(&fate);
    }

    fn commit(&mut self, draft: &Draft) -> std::result::Result<(), Fate> {
        let shared = Arc::clone(&self.shared);
        let len = group_len(draft.bytes as u64);
        let footer = shared.state.read().index.footer_len(draft.records.len());
        if self.end + len + footer > shared.options.segment_bytes && self.end > DATA_START {
            self.roll()?;
        }
        let group = encode(&draft.records, self.segment.seed, self.group, self.chain);
        let broken = |what: &str, error: io::Error| {
            Fate::Broken(format!("{what} {} at position {}: {error}", self.segment.name(), self.end))
        };
        self.segment.file.write_at(&mut group.slices(), self.end).map_err(|error| broken("writing", error))?;
        let begun = shared.clock.monotonic();
        self.segment.file.sync().map_err(|error| broken("syncing", error))?;
        let took = shared.clock.monotonic().saturating_sub(begun);

        let mut frees = false;
        {
            let state = &mut *shared.state.write();
            for (record, position) in draft.records.iter().zip(&group.positions) {
                state.change(record);
                state.place(record, self.end + position);
                frees |= matches!(record.kind, Kind::Trim | Kind::Close);
            }
            state.group = self.group;
            frees = frees && state.dead(u64::MAX).next().is_some();
        }
        self.end += group.len;
        self.chain = group.crc;
        self.group += 1;
        shared.end.store(self.end, Ordering::Relaxed);
        shared.committed(draft.len(), group.len, took);
        if frees {
            shared.upkeep.wake();
        }
        Ok(())
    }

    /// Seals the active segment and begins the next one.
    fn roll(&mut self) -> std::result::Result<(), Fate> {
        let shared = Arc::clone(&self.shared);
        let broken = |error: io::Error| Fate::Broken(format!("sealing {}: {error}", self.segment.name()));
        let spare = shared.pool.take().map_err(|error| match error.kind() {
            ErrorKind::StorageFull => {
                Fate::Refused(StoreError::Full("the disk has no room for another segment; free some or trim".into()))
            }
            _ => broken(error),
        })?;
        let index = shared.state.read().index.clone();
        let (seal, rows) = self.segment.seal(&index, self.end, self.chain, self.group).map_err(broken)?;
        let next = self.segment.sequence + 1;
        let segment =
            begin_segment(shared.vfs.as_ref(), &shared.dir, spare, next, self.chain, self.group).map_err(broken)?;
        shared.state.write().roll(Some((seal, &rows)), Arc::clone(&segment));
        self.chain = segment.crc;
        self.segment = segment;
        self.end = DATA_START;
        shared.end.store(self.end, Ordering::Relaxed);
        shared.upkeep.wake();
        Ok(())
    }

    /// Seals the active segment; answers the state as of its end, which with all sealed segments is a whole store.
    fn cut(&mut self) -> Result<Checkpoint> {
        if let Some(error) = self.shared.down() {
            return Err(error);
        }
        let sealed = self.segment.sequence;
        let clean_end = self.end;
        match self.roll() {
            Ok(()) => Ok(Checkpoint { segment: sealed, clean_end, ..Checkpoint::of(&self.shared.state.read()) }),
            Err(Fate::Broken(why)) => {
                self.shared.shut_down(Some(&why));
                Err(StoreError::Poisoned(why))
            }
            Err(Fate::Refused(error)) => Err(error),
            Err(Fate::Durable) => Err(StoreError::Unavailable("the segment was not sealed".into())),
        }
    }

    /// The end mark: seals the active segment and writes a checkpoint that says so.
    fn stop(&mut self) -> Result<()> {
        if let Some(error) = self.shared.down() {
            return Err(error);
        }
        let index = self.shared.state.read().index.clone();
        let failed =
            |error: io::Error| StoreError::Unavailable(format!("the store could not be stopped cleanly: {error}"));
        self.segment.seal(&index, self.end, self.chain, self.group).map_err(failed)?;
        self.shared.write_checkpoint(Reason::Ends(self.end)).map_err(failed)?;
        Ok(())
    }
}
