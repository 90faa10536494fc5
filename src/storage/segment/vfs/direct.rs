//! Writes and large reads around the page cache: what the engine writes is read from memory while it is new, and what it reads it
//! keeps as long as it is of use, so a second copy in the system's cache is paid for (a page found, cleared and filled for every
//! 4 KiB) and seldom used.
//!
//! Owns the aligned buffer that this needs, one for a thread, and the handle that a thread writes with. Promises no more than any
//! other write: durable is what was synced. Where a file system does not take part it says so, and the caller goes the usual way.

use rustix::fs::{Mode, OFlags};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Positions, lengths and buffers are multiples of this.
const ALIGNMENT: usize = 512;
/// Most bytes of one write.
const PIECE: usize = 2 << 20;
/// The least that is read around the cache: less is read better with what stands beside it.
const LARGE: usize = 256 << 10;

thread_local! {
    static DESK: RefCell<Desk> = const { RefCell::new(Desk { buffer: Vec::new(), handle: None }) };
}

/// What a thread writes with.
struct Desk {
    buffer: Vec<u8>,
    /// The file written last: whose it is by its number, and the handle.
    handle: Option<(u64, File)>,
}

/// Whether a write of these parts there may go around the cache.
pub(super) fn is_aligned(parts: &[IoSlice<'_>], position: u64) -> bool {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    bytes > 0 && bytes.is_multiple_of(ALIGNMENT) && position.is_multiple_of(ALIGNMENT as u64)
}

/// Writes aligned parts to `file`, which nobody else calls `number`. False when its file system does not take such writes; some
/// of the parts may be written then.
pub(super) fn write(file: &File, number: u64, parts: &[IoSlice<'_>], position: u64) -> io::Result<bool> {
    DESK.with_borrow_mut(|desk| match desk.write(file, number, parts, position) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(false),
        other => other.map(|()| true),
    })
}

/// Whether a read of so much may go around the cache.
pub(super) const fn is_large(bytes: usize) -> bool {
    bytes >= LARGE && bytes <= PIECE - 2 * ALIGNMENT
}

/// Fills a large buffer from a position. False when the file system does not take such reads, or the file ends before.
pub(super) fn read(file: &File, into: &mut [u8], position: u64) -> io::Result<bool> {
    let skip = usize::try_from(position % ALIGNMENT as u64).unwrap_or(0);
    let Ok(handle) = open(file, OFlags::RDONLY) else { return Ok(false) };
    DESK.with_borrow_mut(|desk| {
        let wanted = skip + into.len();
        let room = aligned(&mut desk.buffer, wanted.next_multiple_of(ALIGNMENT));
        let got = match handle.read_at(room, position - skip as u64) {
            Err(error) if error.kind() != ErrorKind::InvalidInput => return Err(error),
            got => got.unwrap_or(0),
        };
        let found = room.get(..got).and_then(|room| room.get(skip..wanted));
        found.map_or(Ok(false), |found| {
            into.copy_from_slice(found);
            Ok(true)
        })
    })
}

impl Desk {
    fn write(&mut self, file: &File, number: u64, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let handle = match self.handle.take().filter(|(of, _)| *of == number) {
            Some((_, handle)) => handle,
            None => open(file, OFlags::WRONLY)?,
        };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let room = aligned(&mut self.buffer, bytes.min(PIECE));
        let (mut at, mut filled) = (position, 0);
        for part in parts {
            let mut rest: &[u8] = part;
            while !rest.is_empty() {
                let space = room.get_mut(filled..).unwrap_or_default();
                let (now, later) = rest.split_at(rest.len().min(space.len()));
                space.get_mut(..now.len()).unwrap_or_default().copy_from_slice(now);
                filled += now.len();
                rest = later;
                if filled == room.len() {
                    handle.write_all_at(room, at)?;
                    at += filled as u64;
                    filled = 0;
                }
            }
        }
        handle.write_all_at(room.get(..filled).unwrap_or_default(), at)?;
        self.handle = Some((number, handle));
        Ok(())
    }
}

/// Another handle of an open file, which may have any name by now.
fn open(file: &File, access: OFlags) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()) {
        Ok(handle) => Ok(File::from(handle)),
        // Without /proc, or of a file that may not be opened again.
        Err(_) => Err(ErrorKind::Unsupported.into()),
    }
}

/// An aligned part of the buffer, so long.
fn aligned(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    let wanted = bytes.next_power_of_two() + ALIGNMENT;
    if buffer.len() < wanted {
        *buffer = vec![0; wanted];
    }
    let from = buffer.as_ptr().align_offset(ALIGNMENT);
    buffer.get_mut(from..from.saturating_add(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    #[test]
    fn parts_come_out_as_they_went_in_whatever_their_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let noise: Vec<u8> = (0..3 * PIECE + 512).map(|at| (at % 251) as u8).collect();
        let (one, rest) = noise.split_at(700);
        let (two, three) = rest.split_at(PIECE);
        let parts = [IoSlice::new(one), IoSlice::new(two), IoSlice::new(three)];
        assert!(is_aligned(&parts, 4_096) && !is_aligned(&parts, 100) && !is_aligned(&parts[..2], 0));
        if write(file.as_file(), 1, &parts, 4_096).unwrap() {
            let mut read = vec![0; noise.len()];
            file.as_file().read_exact_at(&mut read, 4_096).unwrap();
            assert!(read == noise);
        }
    }

    #[test]
    fn a_large_read_finds_what_was_written_either_way_and_not_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let noise: Vec<u8> = (0..LARGE + 4_096).map(|at| (at % 251) as u8).collect();
        file.as_file().write_all_at(&noise, 0).unwrap();
        let mut into = vec![0; LARGE];
        for position in [0, 1, 511, 700] {
            if read(file.as_file(), &mut into, position).unwrap() {
                assert!(into == noise[position as usize..][..LARGE], "{position}");
            }
        }
        assert!(!read(file.as_file(), &mut into, 4_097).unwrap(), "the file ends before");
        assert!(is_large(LARGE) && is_large(1 << 20) && !is_large(LARGE - 1) && !is_large(PIECE));
    }

    #[test]
    fn each_file_gets_its_own() {
        let files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
        for (round, at) in [(1, 0), (2, 1), (3, 0)] {
            let part = [round; 512];
            if write(files[at].as_file(), 10 + at as u64, &[IoSlice::new(&part)], 512 * u64::from(round)).unwrap() {
                let mut read = [0; 512];
                files[at].as_file().read_exact_at(&mut read, 512 * u64::from(round)).unwrap();
                assert_eq!(read, part);
            }
        }
    }
}
