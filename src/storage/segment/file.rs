//! One segment file: header, groups, and at its end the footer.
//!
//! Owns the layout and its checksums; decides nothing about which segment lives.
//!
//! ```text
//! 0      header   magic 8 · format u8 · zero ×3 · crc u32 · sequence u64 · salt u64 · chain u32 · zero u32 · first group u64 · file bytes u64
//! 512    seal     magic 8 · crc u32 · chain u32 · end u64 · next group u64 · table u64 · runs u32 · table crc u32
//! 4096   groups up to `end`
//! end    index entries of each run (offset u64 · time u64 · position u32), then the table: one row a run
//! ```
//!
//! The header is synced before the file gets its name in the store, the seal (with the footer) before the next
//! segment does: of a segment that is not the newest both must hold. Sequence and salt make the generation that seeds
//! every checksum of the file. `chain` of the header is the one of the segment before.

use super::group::SECTOR;
use super::index::{Row, SegmentIndex};
use super::vfs::VfsFile;
use crate::storage::{Result, StoreError};
use bytes::{Buf, BufMut};
use std::io::{self, IoSlice};
use std::sync::Arc;

/// The version of the on-disk format, of segments and checkpoints.
pub(super) const FORMAT: u8 = 1;
/// Where the groups begin.
pub(super) const DATA_START: u64 = 4096;
/// Where the seal stands.
const SEAL_AT: u64 = SECTOR;
const HEADER_MAGIC: &[u8; 8] = b"ANGELSEG";
const SEAL_MAGIC: &[u8; 8] = b"ANGELEND";

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its place in the stream, from 1; never used twice.
    pub(super) sequence: u64,
    /// The seed of its checksums.
    pub(super) seed: u32,
    /// The checksum of its own header: the first group's `chain`.
    pub(super) crc: u32,
    /// The chain at the end of the segment before.
    pub(super) chain: u32,
    /// The number of its first group.
    pub(super) first_group: u64,
    /// Its bytes.
    pub(super) file: Arc<dyn VfsFile>,
}

/// What is written when a segment is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// Where the groups end.
    pub(super) end: u64,
    /// The last group's checksum.
    pub(super) chain: u32,
    /// The number of the group after the last one.
    pub(super) next_group: u64,
    /// Where the table of runs stands.
    pub(super) table: u64,
    /// How many runs it has.
    pub(super) runs: u32,
    table_crc: u32,
}

/// The seal as found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealFound {
    /// The segment was never sealed.
    None,
    /// It is sealed.
    Seal(Seal),
    /// The bytes are neither.
    Damaged,
}

/// The file name of a segment.
pub(super) fn name_of(sequence: u64) -> String {
    format!("{sequence:016x}.segment")
}

/// The sequence that a file's name says, if it is a segment's.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The seed of a generation's checksums.
pub(super) fn seed_of(sequence: u64, salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&sequence.to_le_bytes()), &salt.to_le_bytes())
}

impl Segment {
    /// The file's name.
    pub(super) fn name(&self) -> String {
        name_of(self.sequence)
    }

    /// What to say of damage in this file.
    pub(super) fn damage(&self, position: u64, what: &str) -> StoreError {
        StoreError::Corrupt(format!("{} at position {position}: {what}", self.name()))
    }

    /// Begins a generation in a file: writes its header over whatever the file held, and syncs it.
    pub(super) fn begin(
        file: Arc<dyn VfsFile>,
        sequence: u64,
        salt: u64,
        chain: u32,
        first_group: u64,
    ) -> io::Result<Self> {
        let head = header(sequence, salt, chain, first_group, file.size()?);
        file.write_at(&mut [IoSlice::new(&head)], 0)?;
        file.sync()?;
        let crc = crc_of_header(&head);
        Ok(Self { sequence, seed: seed_of(sequence, salt), crc, chain, first_group, file })
    }

    /// Opens a segment that should be `sequence`; checks its header.
    pub(super) fn open(file: Arc<dyn VfsFile>, sequence: u64) -> Result<(Self, SealFound)> {
        let name = name_of(sequence);
        let damage = |position: u64, what: &str| StoreError::Corrupt(format!("{name} at position {position}: {what}"));
        let mut head = vec![0; DATA_START as usize];
        file.read_at(&mut head, 0).map_err(|error| damage(0, &format!("the header cannot be read: {error}")))?;
        if !head.starts_with(HEADER_MAGIC) {
            return Err(damage(0, "not the header of a segment"));
        }
        let format = head.get(8).copied().unwrap_or(0);
        if format != FORMAT {
            return Err(other_format(&name, format));
        }
        let (first, rest) = head.split_at_checked(SECTOR as usize).unwrap_or((&head, &[]));
        let (second, rest) = rest.split_at_checked(SECTOR as usize).unwrap_or((rest, &[]));
        let mut fields = first.get(12..).unwrap_or_default();
        let crc = fields.get_u32_le();
        let (found, salt, chain) = (fields.get_u64_le(), fields.get_u64_le(), fields.get_u32_le());
        fields.advance(4);
        let (first_group, made_with) = (fields.get_u64_le(), fields.get_u64_le());
        if crc != crc_of_header(first) {
            return Err(damage(0, "the header's checksum does not hold"));
        }
        if found != sequence {
            return Err(damage(16, &format!("the header is that of segment {found}, under another name")));
        }
        if let Some(at) = rest.iter().position(|byte| *byte != 0) {
            return Err(damage(2 * SECTOR + at as u64, "a byte that must be zero is not"));
        }
        let segment = Self { sequence, seed: seed_of(sequence, salt), crc, chain, first_group, file };
        let seal = segment.parse_seal(second);
        // A sealed segment that is cut loses its footer, which is found; one that is not sealed would lose its last groups.
        let size = segment.file.size().map_err(|error| damage(0, &format!("has no size: {error}")))?;
        if !matches!(seal, SealFound::Seal(_)) && size < made_with {
            return Err(damage(size, &format!("the file ends here, and was made with {made_with} bytes")));
        }
        Ok((segment, seal))
    }

    fn parse_seal(&self, sector: &[u8]) -> SealFound {
        if sector.iter().all(|byte| *byte == 0) {
            return SealFound::None;
        }
        let mut fields = sector.get(8..).unwrap_or_default();
        let crc = fields.get_u32_le();
        if !sector.starts_with(SEAL_MAGIC) || crc != crc32c::crc32c_append(self.seed, fields) {
            return SealFound::Damaged;
        }
        let (chain, end, next_group) = (fields.get_u32_le(), fields.get_u64_le(), fields.get_u64_le());
        let (table, runs, table_crc) = (fields.get_u64_le(), fields.get_u32_le(), fields.get_u32_le());
        SealFound::Seal(Seal { end, chain, next_group, table, runs, table_crc })
    }

    /// Writes footer and seal behind the last group, and syncs the file: with it everything before. Answers the runs as they
    /// can be found from now on.
    pub(super) fn seal(
        &self,
        index: &SegmentIndex,
        end: u64,
        chain: u32,
        next_group: u64,
    ) -> io::Result<(Seal, Vec<Row>)> {
        let (mut footer, rows) = index.encode(end, self.seed);
        let table = end + footer.len() as u64;
        let entries = footer.len();
        for row in &rows {
            row.encode(&mut footer);
        }
        let table_crc = crc32c::crc32c_append(self.seed, footer.get(entries..).unwrap_or_default());
        let runs = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let seal = Seal { end, chain, next_group, table, runs, table_crc };
        self.file.write_at(&mut [IoSlice::new(&footer)], end)?;
        self.file.write_at(&mut [IoSlice::new(&self.seal_sector(&seal))], SEAL_AT)?;
        self.file.sync()?;
        Ok((seal, rows))
    }

    fn seal_sector(&self, seal: &Seal) -> Vec<u8> {
        let mut fields = Vec::with_capacity(SECTOR as usize);
        fields.put_u32_le(seal.chain);
        fields.put_u64_le(seal.end);
        fields.put_u64_le(seal.next_group);
        fields.put_u64_le(seal.table);
        fields.put_u32_le(seal.runs);
        fields.put_u32_le(seal.table_crc);
        fields.resize(SECTOR as usize - 12, 0);
        let mut sector = SEAL_MAGIC.to_vec();
        sector.put_u32_le(crc32c::crc32c_append(self.seed, &fields));
        sector.extend_from_slice(&fields);
        sector
    }

    /// The table of a sealed segment.
    pub(super) fn rows(&self, seal: &Seal) -> Result<Vec<Row>> {
        let mut bytes = vec![0; seal.runs as usize * Row::LEN];
        self.file
            .read_at(&mut bytes, seal.table)
            .map_err(|error| self.damage(seal.table, &format!("the footer cannot be read: {error}")))?;
        if crc32c::crc32c_append(self.seed, &bytes) != seal.table_crc {
            return Err(self.damage(seal.table, "the footer's checksum does not hold"));
        }
        Ok(bytes.chunks_exact(Row::LEN).map(Row::decode).collect())
    }
}

/// What to say of a file of another format.
pub(super) fn other_format(name: &str, format: u8) -> StoreError {
    let advice = if format > FORMAT {
        "use the newer program that wrote it"
    } else {
        "export it with the program that wrote it"
    };
    StoreError::Open(format!(
        "{name} has on-disk format {format}, this program reads and writes format {FORMAT}: {advice}"
    ))
}

fn header(sequence: u64, salt: u64, chain: u32, first_group: u64, size: u64) -> Vec<u8> {
    let mut head = HEADER_MAGIC.to_vec();
    head.put_u32_le(u32::from(FORMAT));
    head.put_u32_le(0);
    head.put_u64_le(sequence);
    head.put_u64_le(salt);
    head.put_u32_le(chain);
    head.put_u32_le(0);
    head.put_u64_le(first_group);
    head.put_u64_le(size);
    head.resize(DATA_START as usize, 0);
    let crc = crc_of_header(&head);
    if let Some(mut place) = head.get_mut(12..16) {
        place.put_u32_le(crc);
    }
    head
}

/// The checksum of a header's first sector, without the field that holds it.
fn crc_of_header(head: &[u8]) -> u32 {
    let before = crc32c::crc32c(head.get(..12).unwrap_or_default());
    crc32c::crc32c_append(before, head.get(16..SECTOR as usize).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::vfs::{MemoryVfs, Vfs};
    use super::*;
    use crate::storage::LogId;
    use std::path::Path;

    fn file() -> Arc<dyn VfsFile> {
        MemoryVfs::default().create(Path::new("/a")).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_header_seal_and_footer_are_frozen() {
        let file = file();
        file.allocate(DATA_START).unwrap();
        let segment = Segment::begin(Arc::clone(&file), 2, 3, 4, 5).unwrap();
        let mut index = SegmentIndex::default();
        index.add(LogId(6), 7, 1, 8, DATA_START + 32, 9);
        segment.seal(&index, DATA_START + 512, 10, 11).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(
            hex(&bytes[..64]),
            concat!(
                "414e47454c53454701000000473f2d7a0200000000000000030000000000000004000000000000000500000000000000",
                "00100000000000000000000000000000",
            )
        );
        assert_eq!(
            hex(&bytes[512..560]),
            "414e47454c454e445465f7290a00000000120000000000000b00000000000000141200000000000001000000633c92d9"
        );
        assert_eq!(
            hex(&bytes[4096 + 512..]),
            concat!(
                "070000000000000008000000000000002010000006000000000000000000000000000000070000000000000008000000",
                "0000000008000000000000000900000000000000001200000100000044c243d3",
            )
        );
    }

    #[test]
    fn a_header_of_another_format_is_refused_by_name() {
        let file = file();
        Segment::begin(Arc::clone(&file), 1, 3, 4, 5).unwrap();
        file.write_at(&mut [IoSlice::new(&[FORMAT + 1])], 8).unwrap();
        let error = Segment::open(file, 1).unwrap_err().to_string();
        assert!(error.contains("0000000000000001.segment has on-disk format 2"), "{error}");
    }

    #[test]
    fn a_stale_seal_of_an_earlier_generation_is_gone() {
        let file = file();
        let old = Segment::begin(Arc::clone(&file), 1, 3, 4, 5).unwrap();
        old.seal(&SegmentIndex::default(), DATA_START, 10, 11).unwrap();
        Segment::begin(Arc::clone(&file), 2, 4, 4, 5).unwrap();
        assert_eq!(Segment::open(file, 2).unwrap().1, SealFound::None);
    }
}
