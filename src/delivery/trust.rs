//! Tokens for subscribers who are spoken to in somebody's name: whoever keeps the trusts gives them out. Holds none itself.

use async_trait::async_trait;
use std::fmt;

/// A token. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustToken(String);

impl TrustToken {
    /// From its text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Its text, to be sent and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TrustToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustToken(…)")
    }
}

/// Gives out tokens that act by a trust: somebody has entrusted the service with acting for him.
#[async_trait]
pub trait TrustTokens: fmt::Debug + Send + Sync {
    /// A token that acts by the trust of this id, good for one request from now on.
    ///
    /// # Errors
    /// Why there is none, in a line without secrets.
    async fn token(&self, trust_id: &str) -> Result<TrustToken, String>;
}
