//! The stored form of documents: what the broker and auth keep under keys.
//!
//! A document is `format: u8, kind: u8, nonce: 16 + 8 bytes`, then [`fields`]. The nonce is drawn anew for each write and
//! answers after an unknown outcome whether the document that stands is the one written. Kinds and tags are frozen: one may fall
//! out of use, it is never used for anything else. Reads and writes no store.

pub(crate) mod fields;
mod kinds;
mod node;
mod push;
mod records;
#[cfg(test)]
mod tests;

use crate::domain::acl::RoleTable;
use crate::domain::user::User;
use crate::domain::{Incarnation, Name, Result, Timestamp, UserId};
use crate::storage::{Nonce, VALUE_BYTES_MAX};
use bytes::Bytes;
use fields::{FieldReader, Fields, Value, damaged};
pub(crate) use kinds::Thing;
use std::fmt;
use std::sync::Arc;

/// The only format there is so far.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 2 + 16 + 8;

/// Something that a document holds.
pub(crate) trait Record: Sized + Send + Sync + fmt::Debug + 'static {
    /// Frozen.
    const KIND: u8;
    /// For messages.
    const WHAT: &'static str;
    /// Writes the fields.
    fn write(&self, fields: &mut Fields);
    /// Reads the fields, all of them.
    fn read(fields: &mut FieldReader<'_>) -> Result<Self>;
}

/// How far a thing has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Standing {
    /// It is being made and does not exist yet: whoever wants its name may end it.
    Claiming = 1,
    /// It exists.
    Live = 2,
    /// It is gone for everybody; what is left of it is being removed.
    Deleting = 3,
}

/// A name that is about to be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    /// The name.
    pub(crate) name: Name,
    /// Random for each attempt: nobody may finish another's.
    pub(crate) ticket: u128,
}

/// The document under an identity: what is true about the thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Truth<T> {
    /// How far it has come.
    pub(crate) standing: Standing,
    /// What it is about to be called.
    pub(crate) claim: Option<Claim>,
    /// The thing.
    pub(crate) thing: Arc<T>,
}

impl<T> Truth<T> {
    /// Whether it is about to be called so.
    pub(crate) fn claims(&self, name: &Name) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.name == *name)
    }
}

/// The document under a name: where the thing of this name is to be looked for. Counts only if that thing names itself so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hint {
    /// The thing's identity.
    pub(crate) holder: Option<u128>,
    /// Who gave the name up, and when; only while nobody holds it.
    pub(crate) given_up: Option<(u128, Timestamp)>,
    /// How many things have borne the name, for topics; zero otherwise.
    pub(crate) incarnation: Incarnation,
}

/// The keyed hash of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash(pub(crate) [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A secret encrypted under one of the store's keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Which key.
    pub(crate) key: u32,
    /// The nonce and the ciphertext with its tag.
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {}, {} bytes)", self.key, self.bytes.len())
    }
}

/// A user with what lets him in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    /// The user.
    pub(crate) user: Arc<User>,
    /// Finds him by his token; made with the key that `token` names.
    pub(crate) token_hash: TokenHash,
    /// His token, for those who may see it.
    pub(crate) token: Sealed,
}

/// The document under a token's hash: whose it is, if that user says so too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TokenHint {
    /// The user.
    pub(crate) holder: UserId,
}

/// A certificate's subject that stands for a user, under the binding's name. Names are in the one form that `auth` writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BoundSubject {
    /// The binding's identity.
    pub(crate) id: u128,
    /// Whom the certificate must speak of.
    pub(crate) subject: String,
    /// Who must have issued it, if that matters.
    pub(crate) issuer: Option<String>,
    /// The user.
    pub(crate) user: UserId,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it was changed last.
    pub(crate) modified_at: Timestamp,
}

/// The document under a subject's hash: which binding to look at, if that binding says so too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubjectHint {
    /// The binding's name.
    pub(crate) name: Name,
    /// Its identity.
    pub(crate) id: u128,
}

/// A known text encrypted under the store's key: tells a wrong key from the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct KeyCheck {
    /// The text.
    pub(crate) sealed: Sealed,
}

/// The key of a log's messages, encrypted under the store's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SealedKey(pub(crate) Sealed);

/// The role table as it was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredRoles(pub(crate) RoleTable);

/// What a topic's log had taken up to the end of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DayEnd {
    /// Messages.
    pub(crate) messages: u64,
    /// Their text bytes.
    pub(crate) bytes: u64,
}

/// The stored form of a record.
pub(crate) fn encode<R: Record>(record: &R, nonce: Nonce) -> Bytes {
    let mut header = Vec::with_capacity(256);
    header.extend_from_slice(&[FORMAT, R::KIND]);
    header.extend_from_slice(&nonce.writer.to_le_bytes());
    header.extend_from_slice(&nonce.sequence.to_le_bytes());
    let mut fields = Fields::after(header);
    record.write(&mut fields);
    Bytes::from(fields.into_bytes())
}

/// Reads a record and the nonce it was written with.
///
/// # Errors
/// [`Error::Damaged`](crate::domain::Error::Damaged) for anything that [`encode`] of this version does not write.
pub(crate) fn decode<R: Record>(value: &[u8]) -> Result<(Nonce, R)> {
    let in_document = |error| damaged(format!("a document that should hold {}: {error}", R::WHAT));
    if value.len() > VALUE_BYTES_MAX {
        return Err(in_document(damaged("it is too large")));
    }
    let (header, body) = value.split_at_checked(HEADER_BYTES).ok_or_else(|| in_document(damaged("it is cut short")))?;
    let nonce = read_header::<R>(header).map_err(in_document)?;
    let mut fields = FieldReader::new(body);
    let record = R::read(&mut fields).and_then(|record| fields.finish().map(|()| record)).map_err(in_document)?;
    Ok((nonce, record))
}

fn read_header<R: Record>(header: &[u8]) -> Result<Nonce> {
    let mut header = Value::new(header);
    let format = header.take(1)?.u8()?;
    if format != FORMAT {
        return Err(damaged(format!(
            "format {format} is not known: a newer version wrote it, use that or a later one"
        )));
    }
    let kind = header.take(1)?.u8()?;
    if kind != R::KIND {
        return Err(damaged(format!("its kind is {kind}, not {}", R::KIND)));
    }
    Ok(Nonce { writer: header.take(16)?.u128()?, sequence: header.take(8)?.u64()? })
}
