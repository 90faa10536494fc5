//! The bytes of records and groups: one group is what one commit writes.
//!
//! Owns encoding, decoding and the checksums. A group starts on a sector of its own, so that no later write touches
//! a sector that is synced:
//!
//! ```text
//! group   magic u32 · crc u32 · number u64 · body bytes u32 · records u32 · chain u32 · records crc u32   (32 bytes)
//! record  crc u32 · kind u8 · flags u8 · key bytes u16 · body bytes u32 · body crc u32 · log u128 · first u64
//!         · time u64 · writer u128 · sequence u64 · count u32 · zero u32                      (80 bytes), then key and value
//! ```
//!
//! Little-endian; checksums are CRC-32C. Those of headers are seeded with the segment's generation, so that what an
//! earlier life of the file left behind is never taken for a record of this one. `chain` is the checksum of the group before
//! (of the segment's header for the first). Knows nothing of files.

use crate::storage::{LogId, Nonce};
use bytes::{Buf, BufMut, Bytes};
use std::io::IoSlice;

/// Groups begin at multiples of this: what a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
/// Bytes of a group's header.
pub(super) const GROUP_HEADER: usize = 32;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER: usize = 80;
/// The first bytes of a group.
const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"AGRP");
/// A body up to this is written from a copy beside its header, which costs less than a vector element of its own.
const INLINE_BODY: usize = 512;
/// The flag of a group's last record.
const FLAG_LAST: u8 = 1;

/// What a record says. The codes are frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A log begins at `first`.
    Create = 1,
    /// A batch of `count` messages at `first`.
    Append = 2,
    /// The document `key` has the value `payload` and the version `first`.
    Put = 3,
    /// The document `key` is gone; that made the version `first`.
    Delete = 4,
    /// The log has lost everything below `first`.
    Trim = 5,
    /// The log is closed.
    Close = 6,
    /// A batch copied forward from an older segment; changes nothing of the log.
    Moved = 7,
}

impl Kind {
    const fn of(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Create,
            2 => Self::Append,
            3 => Self::Put,
            4 => Self::Delete,
            5 => Self::Trim,
            6 => Self::Close,
            7 => Self::Moved,
            _ => return None,
        })
    }
}

/// One change, as it is written. What a kind does not use is zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) log: LogId,
    pub(super) first: u64,
    pub(super) time: u64,
    pub(super) nonce: Nonce,
    pub(super) count: u32,
    pub(super) key: Bytes,
    pub(super) payload: Bytes,
}

impl Record {
    /// A record about a log, without a payload.
    pub(super) fn of_log(kind: Kind, log: LogId, first: u64) -> Self {
        let (key, payload) = (Bytes::new(), Bytes::new());
        Self { kind, log, first, time: 0, nonce: Nonce::default(), count: 0, key, payload }
    }

    /// A record about a document.
    pub(super) fn of_document(kind: Kind, key: Bytes, payload: Bytes, version: u64) -> Self {
        Self { kind, log: LogId(0), first: version, time: 0, nonce: Nonce::default(), count: 0, key, payload }
    }

    /// Bytes it takes in a group.
    pub(super) fn written_len(&self) -> usize {
        RECORD_HEADER + self.key.len() + self.payload.len()
    }
}

/// A record's header as read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) kind: Kind,
    pub(super) last: bool,
    pub(super) key_len: usize,
    pub(super) body_len: usize,
    body_crc: u32,
    pub(super) log: LogId,
    pub(super) first: u64,
    pub(super) time: u64,
    pub(super) nonce: Nonce,
    pub(super) count: u32,
}

impl RecordHead {
    /// Reads a record's header; none if its checksum does not hold.
    pub(super) fn parse(bytes: &[u8], seed: u32) -> Option<Self> {
        let mut bytes = bytes.get(..RECORD_HEADER)?;
        if bytes.get_u32_le() != crc32c::crc32c_append(seed, bytes) {
            return None;
        }
        let kind = Kind::of(bytes.get_u8())?;
        let last = bytes.get_u8() & FLAG_LAST != 0;
        let key_len = usize::from(bytes.get_u16_le());
        let body_len = bytes.get_u32_le() as usize;
        let body_crc = bytes.get_u32_le();
        let log = LogId(bytes.get_u128_le());
        let first = bytes.get_u64_le();
        let time = bytes.get_u64_le();
        let nonce = Nonce { writer: bytes.get_u128_le(), sequence: bytes.get_u64_le() };
        let count = bytes.get_u32_le();
        (key_len <= body_len).then_some(Self {
            kind,
            last,
            key_len,
            body_len,
            body_crc,
            log,
            first,
            time,
            nonce,
            count,
        })
    }

    /// Whether this is the body that was written.
    pub(super) fn body_holds(&self, body: &[u8]) -> bool {
        body.len() == self.body_len && crc32c::crc32c(body) == self.body_crc
    }

    /// Whether the record holds a batch.
    pub(super) fn is_batch(&self) -> bool {
        matches!(self.kind, Kind::Append | Kind::Moved)
    }

    /// The offset after the batch's last message.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// A group's header as read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHead {
    pub(super) number: u64,
    pub(super) body_len: usize,
    pub(super) records: u32,
    pub(super) chain: u32,
    pub(super) records_crc: u32,
    /// Its own checksum: the next group's `chain`.
    pub(super) crc: u32,
}

impl GroupHead {
    /// Reads a group's header; none if it is not one of this generation.
    pub(super) fn parse(bytes: &[u8], seed: u32) -> Option<Self> {
        let mut bytes = bytes.get(..GROUP_HEADER)?;
        if bytes.get_u32_le() != GROUP_MAGIC {
            return None;
        }
        let crc = bytes.get_u32_le();
        if crc != crc32c::crc32c_append(seed, bytes) {
            return None;
        }
        let number = bytes.get_u64_le();
        let body_len = bytes.get_u32_le() as usize;
        let records = bytes.get_u32_le();
        Some(Self { number, body_len, records, chain: bytes.get_u32_le(), records_crc: bytes.get_u32_le(), crc })
    }

    /// Bytes from the group's begin to where the next one begins.
    pub(super) fn written_len(&self) -> u64 {
        group_len(self.body_len as u64)
    }
}

/// Bytes of a group whose records take `body` bytes.
pub(super) const fn group_len(body: u64) -> u64 {
    (GROUP_HEADER as u64 + body).next_multiple_of(SECTOR)
}

/// Where the record after this one begins: the group's next, or the next group's first.
pub(super) const fn record_after(end: u64, last: bool) -> u64 {
    if last { end.next_multiple_of(SECTOR) + GROUP_HEADER as u64 } else { end }
}

/// A group ready to be written.
#[derive(Debug)]
pub(super) struct Encoded {
    meta: Vec<u8>,
    pieces: Vec<Piece>,
    /// The whole length, padding included.
    pub(super) len: u64,
    /// The group's checksum.
    pub(super) crc: u32,
    /// Where each record begins, from the group's begin.
    pub(super) positions: Vec<u64>,
}

/// A part of an encoded group.
#[derive(Debug)]
enum Piece {
    /// So many bytes of `meta`.
    Meta(usize),
    /// Bytes of the caller.
    Payload(Bytes),
}

impl Encoded {
    /// The parts in order, for one vectored write.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut meta = self.meta.as_slice();
        let piece = |piece| match piece {
            &Piece::Meta(len) => {
                let (part, rest) = meta.split_at_checked(len).unwrap_or((meta, &[]));
                meta = rest;
                IoSlice::new(part)
            }
            Piece::Payload(bytes) => IoSlice::new(bytes),
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// How many vector elements a record takes at most.
pub(super) fn elements(record: &Record) -> usize {
    if record.payload.len() > INLINE_BODY { 2 } else { 0 }
}

/// Writes records down as one group. Payloads are not copied unless they are small.
pub(super) fn encode(records: &[Record], seed: u32, number: u64, chain: u32) -> Encoded {
    let mut meta = vec![0; GROUP_HEADER];
    let mut pieces = Vec::new();
    let (mut meta_taken, mut position, mut records_crc) = (0, GROUP_HEADER as u64, 0);
    let mut positions = Vec::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        positions.push(position);
        let header = record_header(record, seed, at + 1 == records.len());
        records_crc = crc32c::crc32c_append(records_crc, &header);
        meta.extend_from_slice(&header);
        meta.extend_from_slice(&record.key);
        if record.payload.len() > INLINE_BODY {
            pieces.push(Piece::Meta(meta.len() - meta_taken));
            pieces.push(Piece::Payload(record.payload.clone()));
            meta_taken = meta.len();
        } else {
            meta.extend_from_slice(&record.payload);
        }
        position += record.written_len() as u64;
    }
    let len = position.next_multiple_of(SECTOR);
    meta.resize(meta.len() + usize::try_from(len - position).unwrap_or(0), 0);
    pieces.push(Piece::Meta(meta.len() - meta_taken));

    let mut header = Vec::with_capacity(GROUP_HEADER);
    header.put_u64_le(number);
    header.put_u32_le(u32::try_from(position - GROUP_HEADER as u64).unwrap_or(u32::MAX));
    header.put_u32_le(u32::try_from(records.len()).unwrap_or(u32::MAX));
    header.put_u32_le(chain);
    header.put_u32_le(records_crc);
    let crc = crc32c::crc32c_append(seed, &header);
    let mut place = meta.get_mut(..GROUP_HEADER).unwrap_or_default();
    place.put_u32_le(GROUP_MAGIC);
    place.put_u32_le(crc);
    place.put_slice(&header);
    Encoded { meta, pieces, len, crc, positions }
}

fn record_header(record: &Record, seed: u32, last: bool) -> Vec<u8> {
    let body_crc = crc32c::crc32c_append(crc32c::crc32c(&record.key), &record.payload);
    let mut header = Vec::with_capacity(RECORD_HEADER);
    header.put_u32_le(0);
    header.put_u8(record.kind as u8);
    header.put_u8(if last { FLAG_LAST } else { 0 });
    header.put_u16_le(u16::try_from(record.key.len()).unwrap_or(u16::MAX));
    header.put_u32_le(u32::try_from(record.key.len() + record.payload.len()).unwrap_or(u32::MAX));
    header.put_u32_le(body_crc);
    header.put_u128_le(record.log.0);
    header.put_u64_le(record.first);
    header.put_u64_le(record.time);
    header.put_u128_le(record.nonce.writer);
    header.put_u64_le(record.nonce.sequence);
    header.put_u32_le(record.count);
    header.put_u32_le(0);
    let crc = crc32c::crc32c_append(seed, header.get(4..).unwrap_or_default());
    if let Some(mut place) = header.get_mut(..4) {
        place.put_u32_le(crc);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(group: &Encoded) -> Vec<u8> {
        group.slices().iter().flat_map(|part| part.to_vec()).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn append(payload: Bytes) -> Record {
        let nonce = Nonce { writer: 0xa1, sequence: 0xb2 };
        let (log, key) = (LogId(0x0102), Bytes::new());
        Record { kind: Kind::Append, log, first: 7, time: 0x11, nonce, count: 3, key, payload }
    }

    #[test]
    fn the_bytes_of_a_group_are_frozen() {
        let put = Record::of_document(Kind::Put, Bytes::from_static(b"k/1"), Bytes::from_static(b"value"), 9);
        let bytes = flat(&encode(&[append(Bytes::from_static(b"abc")), put], 0x5eed, 4, 0xc0de));
        assert_eq!(bytes.len(), 512);
        assert_eq!(hex(&bytes[..GROUP_HEADER]), "414752502edb5a170400000000000000ab00000002000000dec000008c6663f7");
        assert_eq!(
            hex(&bytes[GROUP_HEADER..][..RECORD_HEADER + 3]),
            concat!(
                "c3d6303b0200000003000000b73f4b360201000000000000000000000000000007000000000000001100000000000000",
                "a1000000000000000000000000000000b2000000000000000300000000000000616263",
            )
        );
        assert_eq!(
            hex(&bytes[GROUP_HEADER + RECORD_HEADER + 3..][..RECORD_HEADER + 8]),
            concat!(
                "f9dce259030103000800000009699e620000000000000000000000000000000009000000000000000000000000000000",
                "00000000000000000000000000000000000000000000000000000000000000006b2f3176616c7565",
            )
        );
        assert!(bytes[GROUP_HEADER + 2 * RECORD_HEADER + 11..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_group_reads_back_as_it_was_written() {
        let big = Bytes::from(vec![7; INLINE_BODY + 1]);
        let group = encode(&[append(big.clone()), append(Bytes::from_static(b"abc"))], 1, 2, 3);
        let bytes = flat(&group);
        assert_eq!(bytes.len() as u64, group.len);
        let head = GroupHead::parse(&bytes, 1).unwrap();
        assert_eq!((head.number, head.records, head.chain, head.crc), (2, 2, 3, group.crc));
        assert_eq!(head.written_len(), group.len);
        let at = group.positions[1] as usize;
        let second = RecordHead::parse(&bytes[at..], 1).unwrap();
        assert!(second.last && second.body_holds(&bytes[at + RECORD_HEADER..][..3]));
        let first = RecordHead::parse(&bytes[GROUP_HEADER..], 1).unwrap();
        assert!(!first.last && first.body_holds(&big) && first.next() == 10);
    }

    #[test]
    fn another_generation_or_a_flipped_bit_is_not_a_group() {
        let mut bytes = flat(&encode(&[append(Bytes::from_static(b"abc"))], 1, 2, 3));
        assert!(GroupHead::parse(&bytes, 2).is_none());
        assert!(RecordHead::parse(&bytes[GROUP_HEADER..], 2).is_none());
        bytes[9] ^= 1;
        bytes[GROUP_HEADER + 20] ^= 1;
        assert!(GroupHead::parse(&bytes, 1).is_none());
        assert!(RecordHead::parse(&bytes[GROUP_HEADER..], 1).is_none());
    }
}
