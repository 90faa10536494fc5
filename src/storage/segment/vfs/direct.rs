//! Writes around the page cache: what the engine writes is read from memory while it is new, so a second copy of it in the
//! system's cache is paid for (a page found, cleared and filled for every 4 KiB) and seldom used.
//!
//! Owns the aligned buffer and the handle that such writes need, one of each for a thread that writes. Promises no more than
//! any other write: durable is what was synced. Where a file system takes no such writes it says so, and the caller writes as usual.

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

impl Desk {
    fn write(&mut self, file: &File, number: u64, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let handle = match self.handle.take().filter(|(of, _)| *of == number) {
            Some((_, handle)) => handle,
            None => open(file)?,
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
fn open(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::open(path, OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()) {
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
