//! The file of an export: frames, each with a checksum that covers all before it, too, so that nothing can be missing, twice or elsewhere.
//!
//! `ANGELIA-EXPORT-1\n`, then frames: kind (1), length (4), content, CRC-32C (4) of the checksum before, the kind, the length and the
//! content. Numbers are big endian. Owns this form and where a file breaks off; knows no store.

use crate::storage::{Key, LogId, Nonce, Offset, StoredBatch, Time};
use bytes::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: &[u8] = b"ANGELIA-EXPORT-1\n";
/// Most bytes of one frame's content: a batch or a document, with what surrounds it.
const CONTENT_MAX: usize = 16 << 20;
const ID: usize = 16;

/// What a frame says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    /// First: which export this is, how its secrets are wrapped, and the store's keys so wrapped.
    Head(Bytes),
    /// A log begins; below `first` it is trimmed.
    Log { id: LogId, first: Offset },
    /// A batch of the log that began last.
    Batch(StoredBatch),
    /// A document, its value wrapped. All come after all logs.
    Document { key: Key, value: Bytes },
    /// Last: how many frames came before.
    End(u64),
}

impl Frame {
    const fn kind(&self) -> u8 {
        match self {
            Self::Head(_) => 1,
            Self::Log { .. } => 2,
            Self::Batch(_) => 3,
            Self::Document { .. } => 4,
            Self::End(_) => 5,
        }
    }

    fn content(&self) -> Vec<u8> {
        match self {
            Self::Head(bytes) => bytes.to_vec(),
            Self::Log { id, first } => [&id.0.to_be_bytes()[..], &first.0.to_be_bytes()].concat(),
            Self::Batch(batch) => [
                &batch.first.0.to_be_bytes()[..],
                &batch.count.to_be_bytes(),
                &batch.time.0.to_be_bytes(),
                &batch.nonce.writer.to_be_bytes(),
                &batch.nonce.sequence.to_be_bytes(),
                &batch.payload,
            ]
            .concat(),
            Self::Document { key, value } => {
                let length = u32::try_from(key.0.len()).unwrap_or(u32::MAX);
                [&length.to_be_bytes()[..], &key.0, value].concat()
            }
            Self::End(count) => count.to_be_bytes().to_vec(),
        }
    }

    fn read(kind: u8, mut content: Bytes) -> Option<Self> {
        let content = &mut content;
        let frame = match kind {
            1 => Self::Head(std::mem::take(content)),
            2 => Self::Log { id: LogId(u128::from_be_bytes(take::<ID>(content)?)), first: offset(content)? },
            3 => Self::Batch(StoredBatch {
                first: offset(content)?,
                count: u32::from_be_bytes(take(content)?),
                time: Time(u64::from_be_bytes(take(content)?)),
                nonce: Nonce {
                    writer: u128::from_be_bytes(take::<ID>(content)?),
                    sequence: u64::from_be_bytes(take(content)?),
                },
                payload: std::mem::take(content),
            }),
            4 => {
                let length = usize::try_from(u32::from_be_bytes(take(content)?)).ok()?;
                let key = (length <= content.len()).then(|| content.split_to(length))?;
                Self::Document { key: Key(key), value: std::mem::take(content) }
            }
            5 => Self::End(u64::from_be_bytes(take(content)?)),
            _ => return None,
        };
        content.is_empty().then_some(frame)
    }
}

fn take<const N: usize>(content: &mut Bytes) -> Option<[u8; N]> {
    (content.len() >= N).then(|| content.split_to(N))?.as_ref().try_into().ok()
}

fn offset(content: &mut Bytes) -> Option<Offset> {
    Some(Offset(u64::from_be_bytes(take(content)?)))
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ends here in the middle of a frame, or has no end: a file that was not finished.
    Off,
    /// It is not what was written: the place.
    Damaged(String),
}

/// Reads a file from its beginning.
pub(super) struct Reader {
    file: BufReader<File>,
    checksum: u32,
    /// Where the next frame begins.
    pub(super) at: u64,
    /// How many were read.
    pub(super) count: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let mut magic = [0; MAGIC.len()];
        if file.read_exact(&mut magic).is_err() || magic != MAGIC {
            return Err(format!("{} is no export that this version reads", path.display()));
        }
        Ok(Self { file, checksum: 0, at: MAGIC.len() as u64, count: 0 })
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Frame, Broken> {
        let at = self.at;
        let damaged = |why: &str| Broken::Damaged(format!("at byte {at}: {why}"));
        let off = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => Broken::Off,
            _ => Broken::Damaged(format!("at byte {at}: {error}")),
        };
        let mut head = [0; 5];
        self.file.read_exact(&mut head).map_err(off)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > CONTENT_MAX {
            return Err(damaged("a frame is longer than any"));
        }
        let (mut content, mut sum) = (vec![0; length], [0; 4]);
        self.file.read_exact(&mut content).map_err(off)?;
        self.file.read_exact(&mut sum).map_err(off)?;
        let checksum = checksum(self.checksum, &head, &content);
        if checksum.to_be_bytes() != sum {
            return Err(damaged("the checksum is another"));
        }
        let frame = Frame::read(kind, content.into()).ok_or_else(|| damaged("a frame makes no sense"))?;
        self.checksum = checksum;
        self.at += (head.len() + length + sum.len()) as u64;
        self.count += 1;
        Ok(frame)
    }
}

/// Writes a file, or on with one.
pub(super) struct Writer {
    file: BufWriter<File>,
    checksum: u32,
    /// How many frames were written.
    pub(super) count: u64,
}

impl Writer {
    /// A new file, for its owner alone. There must be none.
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(MAGIC)?;
        Ok(Self { file, checksum: 0, count: 0 })
    }

    /// Goes on behind what was read; whatever follows there is cut off.
    pub(super) fn behind(path: &Path, read: &Reader) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(read.at)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), checksum: read.checksum, count: read.count })
    }

    pub(super) fn write(&mut self, frame: &Frame) -> std::io::Result<()> {
        let content = frame.content();
        let too_long = || std::io::Error::other("a batch or document is longer than an export can hold");
        let length = u32::try_from(content.len()).ok().filter(|_| content.len() <= CONTENT_MAX).ok_or_else(too_long)?;
        let [a, b, c, d] = length.to_be_bytes();
        let head = [frame.kind(), a, b, c, d];
        self.checksum = checksum(self.checksum, &head, &content);
        self.file.write_all(&head)?;
        self.file.write_all(&content)?;
        self.file.write_all(&self.checksum.to_be_bytes())?;
        self.count += 1;
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

fn checksum(before: u32, head: &[u8], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c_append(0, &before.to_be_bytes()), head), content)
}
