//! Pre-signed URLs: who bears the signature may do what it speaks of, until it expires. Holds the key; knows no request.

use aws_lc_rs::{constant_time, hmac};

/// What a signature speaks of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant<'a> {
    /// The paths, in any order.
    pub paths: Vec<&'a str>,
    /// The methods, in any order.
    pub methods: Vec<&'a str>,
    /// The project.
    pub project: &'a str,
    /// Until when, in its one form: `YYYY-MM-DDTHH:MM:SS`, UTC.
    pub expires: &'a str,
}

/// The key that URLs are signed with.
pub struct UrlKey(hmac::Key);

impl std::fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UrlKey")
    }
}

impl UrlKey {
    /// From the configured secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Signs: the lower-case hexadecimal HMAC-SHA256 of sorted paths, sorted methods, project and expiry, with a backslash and an `n`
    /// between them, as Zaqar has it.
    #[must_use]
    pub fn sign(&self, grant: &Grant<'_>) -> String {
        let sorted = |list: &[&str]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list.join(",")
        };
        let message = [&sorted(&grant.paths), &sorted(&grant.methods), grant.project, grant.expires].join("\\n");
        hmac::sign(&self.0, message.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this is the grant's signature; takes as long for any signature of the right length.
    #[must_use]
    pub fn verifies(&self, grant: &Grant<'_>, signature: &str) -> bool {
        constant_time::verify_slices_are_equal(self.sign(grant).as_bytes(), signature.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant<'static> {
        Grant {
            paths: vec!["/v2/queues/sh/messages"],
            methods: vec!["POST", "GET"],
            project: "proj1",
            expires: "2026-11-22T01:43:29",
        }
    }

    #[test]
    fn a_signature_is_the_one_that_zaqar_makes() {
        let signature = "e39d1e7256ebacdbcb002e9773f253761fafaefcf3486cdab2e9024f32841d69";
        let key = UrlKey::new("topsecret");
        assert_eq!(key.sign(&grant()), signature);
        assert!(key.verifies(&grant(), signature));
        assert!(!key.verifies(&grant(), &signature.to_uppercase()) && !key.verifies(&grant(), ""));
    }

    #[test]
    fn a_signature_speaks_of_nothing_else_and_of_one_key() {
        let key = UrlKey::new("topsecret");
        let signature = key.sign(&grant());
        assert!(!UrlKey::new("other").verifies(&grant(), &signature));
        for other in [
            Grant { paths: vec!["/v2/queues/sh/claims"], ..grant() },
            Grant { methods: vec!["GET"], ..grant() },
            Grant { project: "proj2", ..grant() },
            Grant { expires: "2026-11-22T01:43:30", ..grant() },
        ] {
            assert!(!key.verifies(&other, &signature), "{other:?}");
        }
    }
}
