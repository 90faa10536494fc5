//! Trusts: by which the service may speak in the name of who subscribes. They are Keystone's; a subscription's options hold the id.

use super::error::{Failure, Refusal};
use super::json::{self, Object};
use super::request::Call;
use crate::auth::keystone::Unknown;
use crate::domain::Error;
use crate::domain::push::{Notify, Shared};

/// What the schemes of subscribers begin with who are spoken to in somebody's name.
const SCHEME: &str = "trust+";
/// The option that holds the id.
const OPTION: &str = "trust_id";

impl From<Unknown> for Refusal {
    fn from(unknown: Unknown) -> Self {
        Self::Met(Error::Unavailable(match unknown {
            Unknown::Refused => "Keystone refuses the trust".to_owned(),
            Unknown::Unavailable(why) => format!("Keystone: {why}"),
        }))
    }
}

/// A subscription with a trust, if its subscriber wants one: the one that is given, which must be the caller's own, or a new one that lasts as
/// long as the subscription.
pub(crate) async fn entrusted(call: &Call<'_>, notify: Notify) -> Result<Notify, Refusal> {
    let wanted = notify.subscriber.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    if !wanted {
        return Ok(notify);
    }
    let options: Object<'_> = serde_json::from_str(&notify.options.0).unwrap_or_default();
    let nobody = || Error::Unavailable("nobody keeps trusts here".to_owned());
    let (keystone, known) = (call.zaqar.keystone.as_ref().ok_or_else(nobody)?, call.caller.known.as_ref());
    if let Some(id) = options.given(OPTION).and_then(json::text) {
        let trust = keystone.entrusted(&id).await;
        let own = known.is_some_and(|known| {
            trust.as_ref().is_ok_and(|trust| {
                (&trust.identity.user, &trust.identity.project) == (&known.identity.user, &known.identity.project)
            })
        });
        return match trust {
            Err(Unknown::Unavailable(why)) => Err(Unknown::Unavailable(why).into()),
            _ if own => Ok(notify),
            _ => Err(Failure::request("The trust in trust_id is not yours, or not for this service.").into()),
        };
    }
    let known = known.ok_or_else(|| Failure::request("A trust is made with a token; a signature has none."))?;
    let id = keystone.create_trust(&known.token, call.zaqar.now().plus(notify.ttl)).await?;
    let mut text = b"{\"trust_id\": ".to_vec();
    json::string(&id, &mut text);
    for (key, value) in options.members().filter(|(key, _)| *key != OPTION) {
        json::member(key, value.get(), false, &mut text);
    }
    text.push(b'}');
    let options = Shared(String::from_utf8(text).map_err(|_| Failure::UNPARSED)?);
    Ok(Notify { options, ..notify })
}
