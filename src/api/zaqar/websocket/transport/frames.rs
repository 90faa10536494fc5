//! Frames: bytes of a client become messages and signs, payloads become frames for it. Holds what has come of a message, and no more.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The bits of a frame's first two bytes.
const LAST: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Lengths that stand for longer fields.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Longest payload of a sign.
const SIGN_BYTES_MAX: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a message is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Text; not checked to be UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// What a client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A message, put together of its fragments.
    Message(Kind, Bytes),
    /// To be answered with the same.
    Ping(Bytes),
    Pong,
    /// It goes, with this code if it gave one.
    Close(Option<u16>),
}

/// Why a client is not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// A message is larger than any may be.
    TooLarge,
    /// Against the standard.
    Malformed,
}

/// A frame's head.
#[derive(Clone, Copy)]
struct Head {
    last: bool,
    opcode: u8,
    mask: [u8; 4],
    payload: usize,
    /// How many bytes the head itself has.
    bytes: usize,
}

/// Reads one client's frames.
#[derive(Debug)]
pub(super) struct Reader {
    bytes_max: usize,
    buffer: BytesMut,
    /// What has come of a message in fragments.
    begun: Option<(Kind, BytesMut)>,
}

impl Reader {
    /// For messages of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, buffer: BytesMut::new(), begun: None }
    }

    /// Takes in what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes are held of what has not come whole.
    pub(super) fn held(&self) -> usize {
        self.buffer.len() + self.begun.as_ref().map_or(0, |(_, parts)| parts.len())
    }

    /// The next event; none until more has come.
    ///
    /// # Errors
    /// When this client is not understood; nothing that it sends later is.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Wrong> {
        while let Some(head) = self.head()? {
            if self.buffer.len() < head.bytes + head.payload {
                return Ok(None);
            }
            self.buffer.advance(head.bytes);
            let mut payload = self.buffer.split_to(head.payload);
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            if let Some(event) = self.event(head, payload)? {
                return Ok(Some(event));
            }
        }
        if self.buffer.is_empty() {
            // Nothing of a large message stays behind.
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    /// The head of the frame that is coming, if it is there; checked before its payload is waited for.
    fn head(&self) -> Result<Option<Head>, Wrong> {
        let mut rest: &[u8] = &self.buffer;
        if rest.len() < 2 {
            return Ok(None);
        }
        let (first, second) = (rest.get_u8(), rest.get_u8());
        let (opcode, short) = (first & OPCODE, second & LENGTH);
        let is_sign = opcode >= CLOSE;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if first & RESERVED != 0 || second & MASKED == 0 || !known {
            return Err(Wrong::Malformed);
        }
        if is_sign && (first & LAST == 0 || usize::from(short) > SIGN_BYTES_MAX) {
            return Err(Wrong::Malformed);
        }
        let length = match short {
            LENGTH_16 => rest.try_get_u16().map(u64::from),
            LENGTH_64 => rest.try_get_u64(),
            short => Ok(u64::from(short)),
        };
        let Ok(length) = length else { return Ok(None) };
        let begun = self.begun.as_ref().map_or(0, |(_, parts)| parts.len());
        let room = if is_sign { SIGN_BYTES_MAX } else { self.bytes_max.saturating_sub(begun) };
        let payload = usize::try_from(length).ok().filter(|length| *length <= room).ok_or(Wrong::TooLarge)?;
        let Some((mask, after)) = rest.split_first_chunk() else { return Ok(None) };
        let bytes = self.buffer.len() - after.len();
        Ok(Some(Head { last: first & LAST != 0, opcode, mask: *mask, payload, bytes }))
    }

    fn event(&mut self, head: Head, payload: BytesMut) -> Result<Option<Event>, Wrong> {
        Ok(Some(match head.opcode {
            PING => Event::Ping(payload.freeze()),
            PONG => Event::Pong,
            CLOSE => Event::Close(close_code(&payload)?),
            CONTINUATION => {
                let (kind, mut parts) = self.begun.take().ok_or(Wrong::Malformed)?;
                parts.unsplit(payload);
                if !head.last {
                    self.begun = Some((kind, parts));
                    return Ok(None);
                }
                Event::Message(kind, parts.freeze())
            }
            opcode => {
                if self.begun.is_some() {
                    return Err(Wrong::Malformed);
                }
                let kind = if opcode == TEXT { Kind::Text } else { Kind::Binary };
                if !head.last {
                    self.begun = Some((kind, payload));
                    return Ok(None);
                }
                Event::Message(kind, payload.freeze())
            }
        }))
    }
}

/// The code that a client goes with.
fn close_code(mut payload: &[u8]) -> Result<Option<u16>, Wrong> {
    if payload.is_empty() {
        return Ok(None);
    }
    let code = payload.try_get_u16().map_err(|_| Wrong::Malformed)?;
    let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) && std::str::from_utf8(payload).is_ok();
    if known { Ok(Some(code)) } else { Err(Wrong::Malformed) }
}

/// The head of a message's only frame; its payload follows.
pub(super) fn message_head(kind: Kind, bytes: usize) -> Bytes {
    head(if kind == Kind::Text { TEXT } else { BINARY }, bytes)
}

/// A whole ping.
pub(super) fn ping() -> Bytes {
    head(PING, 0)
}

/// A whole pong that answers a ping.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    sign(PONG, payload)
}

/// A whole farewell. Of the reason as much as fits.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    let fitting = reason.floor_char_boundary(SIGN_BYTES_MAX - payload.len());
    payload.extend_from_slice(reason.as_bytes().get(..fitting).unwrap_or_default());
    sign(CLOSE, &payload)
}

fn sign(opcode: u8, payload: &[u8]) -> Bytes {
    [&head(opcode, payload.len()), payload].concat().into()
}

fn head(opcode: u8, bytes: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(10);
    head.put_u8(LAST | opcode);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(length), _) if length < LENGTH_16 => head.put_u8(length),
        (_, Ok(length)) => {
            head.put_u8(LENGTH_16);
            head.put_u16(length);
        }
        _ => {
            head.put_u8(LENGTH_64);
            head.put_u64(bytes as u64);
        }
    }
    head.freeze()
}
