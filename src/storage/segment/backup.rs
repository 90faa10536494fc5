//! A consistent copy of a running store.
//!
//! Owns the cut (the active segment is sealed; everything sealed plus a checkpoint of that instant is a whole, cleanly stopped
//! store) and the copying, during which no segment goes. Publishing goes on meanwhile.

use super::checkpoint::Checkpoint;
use super::file::{Seal, Segment};
use super::index::Row;
use super::queue::Request;
use super::vfs::VfsFile;
use super::{SegmentStore, Shared};
use crate::storage::{Result, StoreError};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is copied at a time.
const STEP: u64 = 1 << 20;

/// Keeps segments from going while it lives.
struct Pin(Arc<Shared>);

impl Pin {
    fn new(shared: &Arc<Shared>) -> Self {
        // Under the lock, so that whoever frees sees it or has finished.
        let _state = shared.state.read();
        shared.pins.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
        self.0.upkeep.wake();
    }
}

impl SegmentStore {
    /// Copies the store as of now into an empty or new directory, which then opens as a store. The checkpoint comes last: a copy
    /// that was broken off does not open.
    pub async fn backup(&self, to: &Path) -> Result<()> {
        let (shared, to) = (Arc::clone(&self.shared), to.to_owned());
        let pin = Pin::new(&shared);
        let cut = shared.ask(|reply| Request::Cut { reply }).await?;
        let copy = move || {
            let result = copy(&pin.0, &to, &cut);
            result.map_err(|error| StoreError::Unavailable(format!("copying to {}: {error}", to.display())))
        };
        let copied = tokio::task::spawn_blocking(copy).await;
        copied.map_err(|error| StoreError::Unavailable(format!("the backup was given up: {error}")))?
    }
}

fn copy(shared: &Shared, to: &Path, cut: &Checkpoint) -> io::Result<()> {
    let vfs = shared.vfs.as_ref();
    vfs.make_dir(to)?;
    if !vfs.list(to)?.is_empty() {
        return Err(io::Error::other("the directory is not empty"));
    }
    let segments: Vec<(Arc<Segment>, Seal)> = {
        let state = shared.state.read();
        let sealed = state.segments.range(..=cut.segment);
        sealed.filter_map(|(_, found)| Some((Arc::clone(&found.segment), found.seal?))).collect()
    };
    for (segment, seal) in segments {
        let target = vfs.create(&to.join(segment.name()))?;
        let end = seal.table + u64::from(seal.runs) * Row::LEN as u64;
        copy_file(segment.file.as_ref(), target.as_ref(), end)?;
    }
    cut.write(vfs, to)?;
    Ok(())
}

fn copy_file(from: &dyn VfsFile, to: &dyn VfsFile, length: u64) -> io::Result<()> {
    let mut at = 0;
    while at < length {
        let mut bytes = vec![0; usize::try_from(STEP.min(length - at)).unwrap_or(0)];
        from.read_at(&mut bytes, at)?;
        to.write_at(&mut [IoSlice::new(&bytes)], at)?;
        at += bytes.len() as u64;
    }
    to.sync()
}
