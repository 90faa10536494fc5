//! The engine as a whole: the storage contract on a disk in memory and on a real one, and what only this engine promises.

use super::vfs::{CrashVfs, Faults, MemoryVfs, RealVfs, Vfs};
use super::{CommitObserver, Options, SegmentStore, inspect};
use crate::clock::Clock;
use crate::storage::contract::{
    ALL, Subject, append, append_counts, batch, bounds, contract_suite, done, made, put_new, read_all,
};
use crate::storage::differential_tests::agrees_with_memory;
use crate::storage::{Append, Health, Key, LogId, Offset, Position, Purpose, Put, Read, Store, StoreError, Version};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DIR: &str = "/store";

/// Small segments, and a small cache so that reads go to the disk.
fn small() -> Options {
    Options { segment_bytes: 64 << 10, cache_bytes: 4 << 10, ..Options::default() }
}

fn open_with(vfs: &Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<SegmentStore, StoreError> {
    SegmentStore::open(dir, options, Clock::System, Arc::clone(vfs))
}

fn memory() -> Arc<dyn Vfs> {
    Arc::new(MemoryVfs::default())
}

fn open(vfs: &Arc<dyn Vfs>) -> SegmentStore {
    open_with(vfs, Path::new(DIR), small()).unwrap()
}

/// A subject in memory, opened again after the crash that dropping a store is.
fn subject_in_memory(options: Options) -> Subject {
    let vfs = memory();
    let reopened = (Arc::clone(&vfs), options.clone());
    let store: Arc<dyn Store> = Arc::new(open_with(&vfs, Path::new(DIR), options).unwrap());
    Subject::reopenable(store, move || {
        let store = open_with(&reopened.0, Path::new(DIR), reopened.1.clone()).unwrap();
        std::future::ready(Arc::new(store) as Arc<dyn Store>)
    })
}

/// A subject on the disk, with the defaults but the segments' size.
fn subject_on_disk() -> Subject {
    let (vfs, dir): (Arc<dyn Vfs>, _) = (Arc::new(RealVfs), tempfile::tempdir().unwrap());
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(open_with(&vfs, dir.path(), options.clone()).unwrap());
    Subject::reopenable(store, move || {
        let store = open_with(&vfs, dir.path(), options.clone()).unwrap();
        std::future::ready(Arc::new(store) as Arc<dyn Store>)
    })
}

contract_suite!(in_memory, async { subject_in_memory(small()) });
contract_suite!(on_disk, async { subject_on_disk() });

#[test]
fn the_engine_agrees_with_the_memory_engine() {
    agrees_with_memory(60, async || subject_in_memory(small()));
}
