//! What a passphrase hides: the parts of an export that let somebody in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{pbkdf2, rand};
use std::num::NonZeroU32;

/// How often the passphrase is hashed (OWASP's advice for PBKDF2 with HMAC-SHA-256), and the most that a file may ask for.
const ROUNDS: u32 = 600_000;
const ROUNDS_MAX: u32 = 10_000_000;
const SALT: usize = 16;
/// Bytes of what a file says of its wrap.
pub(super) const SAID: usize = SALT + 4;

/// A key made from a passphrase.
pub(super) struct Wrap {
    key: LessSafeKey,
    said: [u8; SAID],
}

impl Wrap {
    /// A key for a new file. Takes a good part of a second.
    pub(super) fn fresh(passphrase: &str) -> Result<Self, String> {
        let mut said = [0; SAID];
        let (salt, rounds) = said.split_at_mut(SALT);
        fill(salt)?;
        rounds.copy_from_slice(&ROUNDS.to_be_bytes());
        Self::of(passphrase, said)
    }

    /// The key of a file that says this.
    pub(super) fn of(passphrase: &str, said: [u8; SAID]) -> Result<Self, String> {
        let (salt, rounds) = said.split_at(SALT);
        let rounds = rounds.try_into().map(u32::from_be_bytes).unwrap_or_default();
        let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or("how its secrets are wrapped makes no sense")?;
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase.as_bytes(), &mut key);
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| "AES-256-GCM is not available")?;
        Ok(Self { key: LessSafeKey::new(key), said })
    }

    /// What a file must say so that its reader finds the key.
    pub(super) const fn said(&self) -> &[u8; SAID] {
        &self.said
    }

    /// Hides bytes, bound to a context.
    pub(super) fn hide(&self, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut hidden = plain.to_vec();
        let sealed = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_append_tag(sealed, Aad::from(context), &mut hidden);
        sealed.map_err(|_| "a secret cannot be wrapped")?;
        Ok([&nonce[..], &hidden].concat())
    }

    /// Shows what was hidden; none when the passphrase is another.
    pub(super) fn show(&self, hidden: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let (nonce, hidden) = hidden.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = hidden.to_vec();
        let plain =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut bytes).ok()?;
        Some(plain.to_vec())
    }
}

pub(super) fn fill(bytes: &mut [u8]) -> Result<(), String> {
    rand::fill(bytes).map_err(|_| "the machine gives no randomness".to_owned())
}
