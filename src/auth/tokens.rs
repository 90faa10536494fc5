//! Tokens: what a user shows to be let in.

use super::keys::random;
use crate::domain::Result;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;

/// Most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 1_024;

/// A token as its bearer has it. Never printed by `Debug`; opaque; compared only through the keyed hash or in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a text as a token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A token that nobody has: 32 random bytes through SHA-256, in 64 hexadecimal characters (as ARGO AMS makes them).
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn fresh() -> Result<Self> {
        let digest = digest(&SHA256, &random::<32>()?);
        Ok(Self(hex(digest.as_ref())))
    }

    /// The secret itself: for the answer to somebody who may see it, nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_token_is_64_hexadecimal_characters_and_another_each_time() {
        let (first, second) = (Token::fresh().unwrap(), Token::fresh().unwrap());
        assert_eq!(first.reveal().len(), 64);
        assert!(first.reveal().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert_ne!(first.reveal(), second.reveal());
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(…)");
        assert_eq!(hex(&[0x00, 0xaf, 0x5]), "00af05");
    }
}
