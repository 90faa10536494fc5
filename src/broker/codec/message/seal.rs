//! Payloads and attributes encrypted: the form in which they stand in a sealed message, and the keys that open it.
//!
//! ```text
//! sealed = salt (16 bytes) · number (4 bytes) · AES-256-GCM ciphertext with its tag (16 bytes)
//! ```
//! Each batch is encrypted with a key of its own, HMAC-SHA-256 of its random salt under the log's data key; the number, which never repeats in
//! a batch, is the nonce. So a data key serves any number of messages. What is sealed as the one kind of part does not open as the other.

use crate::domain::{Error, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use bytes::{BufMut, BytesMut};
use std::fmt;

const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = SALT_BYTES + 4;
/// What sealing adds to a part.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + 16;
/// What a batch's key is derived for.
const PURPOSE: &[u8] = b"angelia message encryption 1";

/// A part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Part {
    Payload = 1,
    Attributes = 2,
}

/// The key of a log's messages. Never printed.
pub(crate) struct DataKey(hmac::Key);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn of_batch(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(PURPOSE);
        context.update(salt);
        UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok().map(LessSafeKey::new)
    }

    /// What was sealed; none when the bytes were changed, or are another log's.
    pub(super) fn open(&self, part: Part, sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>()?;
        let (number, rest) = rest.split_first_chunk::<4>()?;
        let mut bytes = rest.to_vec();
        let opened =
            self.of_batch(salt)?.open_in_place(nonce(*number), Aad::from([part as u8]), &mut bytes).ok()?.len();
        bytes.truncate(opened);
        Some(bytes)
    }
}

/// Seals the parts of one batch.
pub(super) struct Sealer {
    salt: [u8; SALT_BYTES],
    key: LessSafeKey,
    number: u32,
}

impl Sealer {
    pub(super) fn new(key: &DataKey) -> Result<Self> {
        let unavailable = || Error::Unavailable("messages cannot be encrypted".to_owned());
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| unavailable())?;
        Ok(Self { salt, key: key.of_batch(&salt).ok_or_else(unavailable)?, number: 0 })
    }

    /// Appends a part's sealed form, and answers its length.
    pub(super) fn seal(&mut self, part: Part, plain: &[u8], out: &mut BytesMut) -> Result<usize> {
        let number = self.number.to_le_bytes();
        self.number = self.number.saturating_add(1);
        let begin = out.len();
        out.put_slice(&self.salt);
        out.put_slice(&number);
        let mut bytes = plain.to_vec();
        self.key
            .seal_in_place_append_tag(nonce(number), Aad::from([part as u8]), &mut bytes)
            .map_err(|_| Error::Unavailable("messages cannot be encrypted".to_owned()))?;
        out.put_slice(&bytes);
        Ok(out.len() - begin)
    }
}

fn nonce(number: [u8; 4]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().zip(number).for_each(|(place, byte)| *place = byte);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_as_its_part_and_unchanged_alone() {
        let (key, other) = (DataKey::new(&[1; 32]), DataKey::new(&[2; 32]));
        let mut out = BytesMut::new();
        let mut sealer = Sealer::new(&key).unwrap();
        let length = sealer.seal(Part::Payload, b"secret", &mut out).unwrap();
        sealer.seal(Part::Payload, b"secret", &mut out).unwrap();
        assert_eq!((length, out.len()), (6 + SEAL_BYTES, 2 * (6 + SEAL_BYTES)));
        let (one, two) = out.split_at(length);
        assert_ne!(one, two);
        assert!(!out.windows(6).any(|window| window == b"secret"));
        for sealed in [one, two] {
            assert_eq!(key.open(Part::Payload, sealed).as_deref(), Some(&b"secret"[..]));
        }
        assert_eq!(other.open(Part::Payload, one), None);
        assert_eq!(key.open(Part::Attributes, one), None);
        for place in 0..length {
            let mut changed = one.to_vec();
            changed[place] ^= 1;
            assert_eq!(key.open(Part::Payload, &changed), None, "{place}");
            assert_eq!(key.open(Part::Payload, &one[..place]), None, "{place}");
        }
    }
}
