//! The store's keys: they find users by their tokens and keep the tokens readable for those who may read them.
//!
//! A key file has a line `{number} {64 hexadecimal characters}` for each key; lines that begin with `#` say nothing. The first
//! key is the current one: everything new is made with it; the others are for what was made before. A file is made on the
//! first start, for its owner alone (0600), and one that others may read is refused. Who loses it loses the tokens.
//!
//! From each key two are derived, one for the lookup of tokens (HMAC-SHA-256) and one for their encryption (AES-256-GCM with a
//! random nonce; the user's identity is bound to it). To change the key: [`KeyRing::add_key`], give the file to all nodes and
//! start them anew, [`Auth::rotate`](super::Auth::rotate), [`KeyRing::drop_old`].

use super::tokens::{Token, hex};
use crate::broker::codec::document::{Sealed, TokenHash};
use crate::broker::sealing::Wrap;
use crate::domain::{Error, Result};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of a key file: hundreds of keys.
const FILE_BYTES_MAX: u64 = 64 << 10;
const FILE_HEADER: &str =
    "# Angelia's keys, the current one first. Without them stored tokens cannot be used: keep a copy, show nobody.\n";

/// The keys of a store, the current one first. Never empty.
pub struct KeyRing {
    current: Key,
    older: Vec<Key>,
}

struct Key {
    number: u32,
    secret: [u8; 32],
    lookup: hmac::Key,
    sealing: LessSafeKey,
}

impl KeyRing {
    /// Reads a key file; makes one with a fresh key if there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the file and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        match Self::read(path)? {
            Some(ring) => Ok(ring),
            None => {
                Self::generate()?.write(path, Existing::Stays)?;
                // Whoever made it first: this is what stands there now.
                Self::read(path)?.ok_or_else(|| refused(path, "vanished while it was read"))
            }
        }
    }

    /// A ring of one fresh key that is kept nowhere.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn generate() -> Result<Self> {
        Ok(Self { current: Key::new(1, random()?)?, older: Vec::new() })
    }

    /// Adds a fresh key in front of a file's keys. Blocks.
    ///
    /// # Errors
    /// As [`KeyRing::open`]; when there is no such file.
    pub fn add_key(path: &Path) -> Result<Self> {
        let Self { current, mut older } = Self::read(path)?.ok_or_else(|| refused(path, "does not exist"))?;
        let number = older.iter().map(|key| key.number).fold(current.number, u32::max).saturating_add(1);
        older.insert(0, current);
        let ring = Self { current: Key::new(number, random()?)?, older };
        ring.write(path, Existing::IsReplaced)?;
        Ok(ring)
    }

    /// Drops all keys of a file but the current one: after everything was made anew with it. Blocks.
    ///
    /// # Errors
    /// As [`KeyRing::add_key`].
    pub fn drop_old(path: &Path) -> Result<Self> {
        let Self { current, .. } = Self::read(path)?.ok_or_else(|| refused(path, "does not exist"))?;
        let ring = Self { current, older: Vec::new() };
        ring.write(path, Existing::IsReplaced)?;
        Ok(ring)
    }

    /// The number of the current key.
    #[must_use]
    pub const fn current(&self) -> u32 {
        self.current.number
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.older)
    }

    /// The hash that finds a token made now.
    pub(super) fn hash(&self, token: &Token) -> TokenHash {
        self.current.hash(token)
    }

    /// The hashes that may find a token, the likeliest first.
    pub(super) fn hashes(&self, token: &Token) -> impl Iterator<Item = TokenHash> {
        self.keys().map(|key| key.hash(token))
    }

    /// Encrypts a secret under the current key, bound to a context.
    pub(super) fn seal(&self, secret: &[u8], context: &[u8]) -> Result<Sealed> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = secret.to_vec();
        self.current
            .sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .map_err(|_| Error::Unavailable("a secret cannot be encrypted".to_owned()))?;
        Ok(Sealed { key: self.current.number, bytes: [&nonce[..], &sealed].concat() })
    }

    /// Decrypts what [`KeyRing::seal`] made, with the same context.
    ///
    /// # Errors
    /// [`Error::Damaged`] when its key is not in the ring or is another, or the bytes were changed.
    pub(super) fn unseal(&self, sealed: &Sealed, context: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys().find(|key| key.number == sealed.key).ok_or_else(|| {
            Error::Damaged(format!("a secret was encrypted with key {}, which the key file does not have", sealed.key))
        })?;
        let wrong = || Error::Damaged(format!("a secret cannot be decrypted with key {}", sealed.key));
        let (nonce, bytes) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut bytes = bytes.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.sealing.open_in_place(nonce, Aad::from(context), &mut bytes).map_err(|_| wrong())?;
        Ok(plain.to_vec())
    }

    /// The keys of a file; none if there is no file.
    fn read(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(path, error)),
        };
        let metadata = file.metadata().map_err(|error| refused(path, error))?;
        if !metadata.is_file() {
            return Err(refused(path, "is no regular file"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let why = format!("may be used by others than its owner (mode {mode:03o}): chmod 600 it");
            return Err(refused(path, why));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| refused(path, error))?;
        Self::parse(&text).map(Some).map_err(|why| refused(path, why))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            // The line itself is a secret.
            let wrong = || format!("line {} is not a number and 64 hexadecimal characters", number + 1);
            let key = parse_key(line).ok_or_else(wrong)?.map_err(|error| error.to_string())?;
            if keys.iter().any(|known| known.number == key.number) {
                return Err(format!("line {}: key {} is there twice", number + 1, key.number));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current =
            keys.next().ok_or("has no key: put a copy of the store's key back, or remove the file for a new store")?;
        Ok(Self { current, older: keys.collect() })
    }

    /// Writes a file whole or not at all.
    fn write(&self, path: &Path, existing: Existing) -> Result<()> {
        let mut text = FILE_HEADER.to_owned();
        self.keys().for_each(|key| text.push_str(&format!("{} {}\n", key.number, hex(&key.secret))));
        write_whole(path, text.as_bytes(), existing).map_err(|error| refused(path, error))
    }
}

impl Wrap for KeyRing {
    fn current(&self) -> u32 {
        self.current()
    }

    fn wrap(&self, secret: &[u8], context: &[u8]) -> Result<Sealed> {
        self.seal(secret, context)
    }

    fn unwrap(&self, sealed: &Sealed, context: &[u8]) -> Result<Vec<u8>> {
        self.unseal(sealed, context)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<u32> = self.keys().map(|key| key.number).collect();
        write!(f, "KeyRing({numbers:?})")
    }
}

impl Key {
    fn new(number: u32, secret: [u8; 32]) -> Result<Self> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let derived = |purpose: &[u8]| hmac::sign(&master, purpose);
        let lookup = hmac::Key::new(hmac::HMAC_SHA256, derived(b"angelia token lookup 1").as_ref());
        let sealing = UnboundKey::new(&AES_256_GCM, derived(b"angelia token encryption 1").as_ref())
            .map_err(|_| Error::Unavailable("AES-256-GCM is not available".to_owned()))?;
        Ok(Self { number, secret, lookup, sealing: LessSafeKey::new(sealing) })
    }

    fn hash(&self, token: &Token) -> TokenHash {
        let tag = hmac::sign(&self.lookup, token.reveal().as_bytes());
        let mut hash = [0; 32];
        hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        TokenHash(hash)
    }
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Stays,
    IsReplaced,
}

fn write_whole(path: &Path, text: &[u8], existing: Existing) -> std::io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let aside = PathBuf::from(aside);
    let placed = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(text)?;
        file.sync_all()?;
        match existing {
            Existing::IsReplaced => fs::rename(&aside, path),
            Existing::Stays => match fs::hard_link(&aside, path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            },
        }
    })();
    // A rename took it away already.
    let _ = fs::remove_file(&aside);
    placed?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn parse_key(line: &str) -> Option<Result<Key>> {
    let (number, secret) = line.trim_end().split_once(' ')?;
    let number = number.parse().ok()?;
    let (first, second) = secret.split_at_checked(32)?;
    let hexadecimal = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    let half = |text: &str| u128::from_str_radix(text, 16).ok().filter(|_| hexadecimal).map(u128::to_be_bytes);
    let secret: [u8; 32] = [half(first)?, half(second)?].concat().try_into().ok()?;
    Some(Key::new(number, secret))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::Unavailable("the machine gives no randomness".to_owned()))?;
    Ok(bytes)
}

fn refused(path: &Path, why: impl fmt::Display) -> Error {
    Error::Invalid { what: "key file", why: format!("{}: {why}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("angelia.key");
        let first = KeyRing::open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let second = KeyRing::open(&path).unwrap();
        let token = Token::new("a token");
        assert_eq!(first.hash(&token), second.hash(&token));
        assert_ne!(first.hash(&token), KeyRing::generate().unwrap().hash(&token));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("angelia.key");
        KeyRing::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = KeyRing::open(&path).unwrap_err().to_string();
        assert!(error.contains("angelia.key") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "ab".repeat(32);
        let texts = ["", "# nothing\n", "1\n", "1 abcd\n", &format!("x {secret}"), &format!("1 {secret}0"), "1 é"];
        let twice = format!("1 {secret}\n1 {secret}\n");
        for (number, text) in texts.into_iter().chain([twice.as_str()]).enumerate() {
            let path = folder.path().join(format!("{number}.key"));
            write_whole(&path, text.as_bytes(), Existing::Stays).unwrap();
            let error = KeyRing::open(&path).unwrap_err().to_string();
            assert!(error.contains(".key") && !error.contains(&secret), "{error}");
        }
    }

    #[test]
    fn a_ring_opens_what_its_older_keys_sealed_until_they_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("angelia.key");
        let old = KeyRing::open(&path).unwrap();
        let sealed = old.seal(b"secret", b"user 1").unwrap();
        let both = KeyRing::add_key(&path).unwrap();
        assert_eq!((both.current(), mode(&path)), (2, 0o600));
        assert_eq!(KeyRing::open(&path).unwrap().unseal(&sealed, b"user 1").unwrap(), b"secret");
        assert_eq!(both.hashes(&Token::new("t")).nth(1), Some(old.hash(&Token::new("t"))));
        let new = KeyRing::drop_old(&path).unwrap();
        let error = new.unseal(&sealed, b"user 1").unwrap_err().to_string();
        assert!(error.contains("key 1"), "{error}");
    }

    #[test]
    fn what_was_sealed_opens_only_unchanged_and_in_its_context() {
        let ring = KeyRing::generate().unwrap();
        let sealed = ring.seal(b"secret", b"user 1").unwrap();
        assert_eq!(ring.unseal(&sealed, b"user 1").unwrap(), b"secret");
        assert!(ring.unseal(&sealed, b"user 2").is_err());
        for place in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[place] ^= 1;
            assert!(ring.unseal(&changed, b"user 1").is_err(), "{place}");
        }
        assert!(ring.unseal(&Sealed { key: 1, bytes: vec![1; 5] }, b"user 1").is_err());
        assert!(KeyRing::generate().unwrap().unseal(&sealed, b"user 1").is_err(), "another key of the same number");
        assert_ne!(ring.seal(b"secret", b"user 1").unwrap(), sealed);
        assert!(!sealed.bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_ring_is_not_printed() {
        assert_eq!(format!("{:?}", KeyRing::generate().unwrap()), "KeyRing([1])");
    }
}
