//! The checkpoint: documents, tails and trim points as of one group, so that older segments need not be replayed.
//!
//! Owns the file `CHECKPOINT` and its format. It is written beside, synced, renamed, and the directory synced; so it is always
//! whole, and a byte that does not hold is damage.
//!
//! ```text
//! magic 8 · format u8 · zero ×3 · crc u32 · body bytes u64
//! body: segment u64 · group u64 · version u64 · clean end u64 (0: the store was not stopped)
//!       logs u64, each id u128 · first u64 · next u64 · last time u64
//!       closed logs u64, each id u128
//!       documents u64, each version u64 · key bytes u32 · value bytes u32 · key · value
//! ```

use super::file::{FORMAT, other_format};
use super::state::{Log, State};
use super::vfs::{Vfs, VfsFile};
use crate::storage::{Document, LogId, Result, StoreError, Version};
use bytes::{Buf, BufMut, Bytes};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file's name.
pub(super) const NAME: &str = "CHECKPOINT";
/// The end of the name of a checkpoint being written.
pub(super) const TEMPORARY: &str = ".checkpoint";
const MAGIC: &[u8; 8] = b"ANGELCHK";
const HEADER: usize = 24;

/// How long the file is with so many tails, closed logs and documents, and so many bytes of keys and values.
pub(super) fn length(logs: usize, closed: usize, documents: usize, bytes: u64) -> u64 {
    HEADER as u64 + 56 + 40 * logs as u64 + 16 * (closed + documents) as u64 + bytes
}

/// A state as of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The segment that held the last group; all before it need no replay.
    pub(super) segment: u64,
    /// The last group whose effect is in here.
    pub(super) group: u64,
    pub(super) version: u64,
    /// After a clean stop: where the last segment's groups end. Else zero.
    pub(super) clean_end: u64,
    pub(super) logs: Vec<Tail>,
    pub(super) closed: Vec<LogId>,
    pub(super) documents: Vec<(Bytes, Document)>,
}

/// A log's tail and trim point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) id: LogId,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) last_time: u64,
}

impl Checkpoint {
    /// The state as it is now.
    pub(super) fn of(state: &State) -> Self {
        let tail =
            |(id, log): (&LogId, &Log)| Tail { id: *id, first: log.first, next: log.next, last_time: log.last_time };
        Self {
            segment: state.active,
            group: state.group,
            version: state.version,
            clean_end: 0,
            logs: state.logs.iter().map(tail).collect(),
            closed: state.closed.iter().collect(),
            documents: state.documents.iter().map(|(key, document)| (key.clone(), document.clone())).collect(),
        }
    }

    /// The state that it describes, without any segment.
    pub(super) fn into_state(self) -> State {
        let mut state = State { version: self.version, group: self.group, ..State::default() };
        for Tail { id, first, next, last_time } in self.logs {
            state.logs.insert(id, Log { first, next, last_time, ..Log::default() });
        }
        for log in self.closed {
            state.closed.insert(log);
        }
        for (key, document) in self.documents {
            state.put(key, document);
        }
        state
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64_le(self.segment);
        body.put_u64_le(self.group);
        body.put_u64_le(self.version);
        body.put_u64_le(self.clean_end);
        body.put_u64_le(self.logs.len() as u64);
        for log in &self.logs {
            body.put_u128_le(log.id.0);
            body.put_u64_le(log.first);
            body.put_u64_le(log.next);
            body.put_u64_le(log.last_time);
        }
        body.put_u64_le(self.closed.len() as u64);
        for log in &self.closed {
            body.put_u128_le(log.0);
        }
        body.put_u64_le(self.documents.len() as u64);
        for (key, document) in &self.documents {
            body.put_u64_le(document.version.0);
            body.put_u32_le(u32::try_from(key.len()).unwrap_or(u32::MAX));
            body.put_u32_le(u32::try_from(document.value.len()).unwrap_or(u32::MAX));
            body.put_slice(key);
            body.put_slice(&document.value);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.put_u32_le(u32::from(FORMAT));
        bytes.put_u32_le(crc_of(bytes.as_slice(), &(body.len() as u64).to_le_bytes(), &body));
        bytes.put_u64_le(body.len() as u64);
        bytes.append(&mut body);
        bytes
    }

    /// Writes the file durably, in place of one before.
    pub(super) fn write(&self, vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
        let bytes = self.encode();
        Kept::make(vfs, dir, bytes.len() as u64)?.become_checkpoint(vfs, dir, &bytes)
    }

    /// Reads the file of a directory; none if there is none.
    pub(super) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Self>> {
        let damage =
            |position: usize, what: &str| StoreError::Corrupt(format!("{NAME} at position {position}: {what}"));
        let file = match vfs.open(&dir.join(NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| damage(0, &format!("cannot be opened: {error}")))?,
        };
        let read = |length: usize, position: usize| {
            let mut bytes = vec![0; length];
            let result = file.read_at(&mut bytes, position as u64);
            result.map(|()| bytes).map_err(|error| damage(position, &format!("cannot be read: {error}")))
        };
        let head = read(HEADER, 0)?;
        if !head.starts_with(MAGIC) {
            return Err(damage(0, "not the header of a checkpoint"));
        }
        let format = head.get(8).copied().unwrap_or(0);
        if format != FORMAT {
            return Err(other_format(NAME, format));
        }
        let (start, mut rest) = head.split_at_checked(12).unwrap_or((&head, &[]));
        let crc = rest.get_u32_le();
        let length = rest.chunk().to_vec();
        let body_len = rest.get_u64_le();
        let size = file.size().map_err(|error| damage(0, &format!("has no size: {error}")))?;
        if body_len > size.saturating_sub(HEADER as u64) {
            return Err(damage(16, "the length is beyond the file's end"));
        }
        let body = Bytes::from(read(usize::try_from(body_len).unwrap_or(usize::MAX), HEADER)?);
        if crc != crc_of(start, &length, &body) {
            return Err(damage(0, "the checksum over the whole file does not hold"));
        }
        Self::decode(body).map(Some).ok_or_else(|| damage(HEADER, "the body is not that of a checkpoint"))
    }

    fn decode(mut body: Bytes) -> Option<Self> {
        let mut found = Self {
            segment: body.try_get_u64_le().ok()?,
            group: body.try_get_u64_le().ok()?,
            version: body.try_get_u64_le().ok()?,
            clean_end: body.try_get_u64_le().ok()?,
            ..Self::default()
        };
        for _ in 0..body.try_get_u64_le().ok()? {
            let id = LogId(body.try_get_u128_le().ok()?);
            let (first, next) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
            found.logs.push(Tail { id, first, next, last_time: body.try_get_u64_le().ok()? });
        }
        for _ in 0..body.try_get_u64_le().ok()? {
            found.closed.push(LogId(body.try_get_u128_le().ok()?));
        }
        for _ in 0..body.try_get_u64_le().ok()? {
            let version = Version(body.try_get_u64_le().ok()?);
            let (key, value) = (body.try_get_u32_le().ok()? as usize, body.try_get_u32_le().ok()? as usize);
            if body.remaining() < key.checked_add(value)? {
                return None;
            }
            // Copies, so that one document does not keep the whole file in memory.
            let key = Bytes::copy_from_slice(&body.split_to(key));
            let value = Bytes::copy_from_slice(&body.split_to(value));
            found.documents.push((key, Document { version, value }));
        }
        body.is_empty().then_some(found)
    }
}

/// A file with room for the next checkpoint, so that a full disk cannot stop what frees room.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    bytes: u64,
}

impl Kept {
    /// Makes the file and takes the room.
    pub(super) fn make(vfs: &dyn Vfs, dir: &Path, bytes: u64) -> io::Result<Self> {
        let path = dir.join(format!("{}{TEMPORARY}", uuid::Uuid::new_v4().simple()));
        let file = vfs.create(&path)?;
        match file.allocate(bytes) {
            Ok(()) => Ok(Self { path, file, bytes }),
            Err(error) => vfs.remove(&path).and(Err(error)),
        }
    }

    /// How long a checkpoint may be that goes in.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more room.
    pub(super) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Puts a checkpoint into it, durably in place of the one before. One that is longer takes more of the disk.
    pub(super) fn become_checkpoint(self, vfs: &dyn Vfs, dir: &Path, bytes: &[u8]) -> io::Result<()> {
        fill(self.file.as_ref(), bytes)?;
        vfs.rename(&self.path, &dir.join(NAME))?;
        vfs.sync_dir(dir)
    }
}

fn fill(file: &dyn VfsFile, bytes: &[u8]) -> io::Result<()> {
    file.write_at(&mut [IoSlice::new(bytes)], 0)?;
    file.truncate(bytes.len() as u64)?;
    file.sync()
}

/// The checksum over everything but itself.
fn crc_of(start: &[u8], length: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(start), length);
    crc32c::crc32c_append(crc, body)
}

#[cfg(test)]
mod tests {
    use super::super::vfs::MemoryVfs;
    use super::*;

    fn sample() -> Checkpoint {
        let document = Document { version: Version(9), value: Bytes::from_static(b"v") };
        Checkpoint {
            segment: 1,
            group: 2,
            version: 9,
            clean_end: 4096,
            logs: vec![Tail { id: LogId(5), first: 6, next: 7, last_time: 8 }],
            closed: vec![LogId(10)],
            documents: vec![(Bytes::from_static(b"k"), document)],
        }
    }

    #[test]
    fn the_bytes_of_a_checkpoint_are_frozen() {
        let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "414e47454c43484b01000000ebe253148200000000000000010000000000000002000000000000000900000000000000",
                "001000000000000001000000000000000500000000000000000000000000000006000000000000000700000000000000",
                "080000000000000001000000000000000a00000000000000000000000000000001000000000000000900000000000000",
                "01000000010000006b76",
            )
        );
    }

    #[test]
    fn the_length_is_known_before_it_is_written() {
        assert_eq!(sample().encode().len() as u64, length(1, 1, 1, 2));
        assert_eq!(sample().into_state().checkpoint_bytes(), length(1, 1, 1, 2));
    }

    #[test]
    fn a_checkpoint_reads_back_and_every_flipped_byte_is_found() {
        let (vfs, dir) = (MemoryVfs::default(), Path::new("/d"));
        sample().write(&vfs, dir).unwrap();
        assert_eq!(Checkpoint::read(&vfs, dir).unwrap(), Some(sample()));
        let good = sample().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            vfs.open(&dir.join(NAME)).unwrap().write_at(&mut [IoSlice::new(&bad)], 0).unwrap();
            let error = Checkpoint::read(&vfs, dir).unwrap_err().to_string();
            assert!(error.contains(NAME), "{error}");
        }
    }
}
