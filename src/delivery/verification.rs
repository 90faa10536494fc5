//! Whether an endpoint wants what would be pushed to it: its host must answer a hash that only the subscription's owner knows.

use super::sender::{Answered, Sender, Unanswered, parse_url};
use crate::domain::push::Webhook;

/// Where the hash is asked for.
const PATH: &str = "/ams_verification_hash";

/// Why an endpoint is not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unverified {
    /// It answered something else than 200; redirects are not followed.
    Status,
    /// It answered another hash.
    Hash,
    /// It did not answer.
    Unanswered(String),
}

/// Asks the endpoint's host for the hash; the answer must be the hash and nothing else.
///
/// # Errors
/// When it is not.
pub(super) async fn verify(sender: &Sender, webhook: &Webhook) -> Result<(), Unverified> {
    let Some(mut url) = parse_url(&webhook.endpoint, &["https"]) else {
        return Err(Unverified::Unanswered("the push endpoint is no https URL".to_owned()));
    };
    // An https URL with a host can have these taken away.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_path(PATH);
    url.set_query(None);
    url.set_fragment(None);
    match sender.get(&url).await {
        Err(Unanswered(why)) => Err(Unverified::Unanswered(why)),
        Ok(Answered { status, .. }) if status != 200 => Err(Unverified::Status),
        Ok(Answered { body, .. }) if body == webhook.hash.0.as_bytes() => Ok(()),
        Ok(_) => Err(Unverified::Hash),
    }
}
