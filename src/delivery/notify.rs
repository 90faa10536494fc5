//! Telling subscribers: one notification at a time, by whatever way the subscriber is reached. What is told of messages comes from the
//! worker; beside that a subscriber gets notices, which are tried as long as his policy says or until the service stops.

use super::Inner;
use super::mail::Mailer;
use super::notification::within;
use super::sender::Answered;
use super::subscriber::{self, Wanted, Way};
use super::trust::TrustTokens;
use crate::domain::push::{Notify, Push};
use crate::domain::retry::Phases;
use crate::domain::subscription::Subscription;
use crate::domain::{Error, ProjectId, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// What a token is sent as.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// Where a queue's metadata has its retry policy.
const POLICY: &str = "_retry_policy";

/// How subscribers of queues are told.
#[derive(Clone, Debug, Default)]
pub struct Notifications {
    /// Whether only those are told who have said that they want it.
    pub require_confirmation: bool,
    /// Who sends mail; nobody where none is sent.
    pub mailer: Option<Arc<Mailer>>,
    /// Who keeps trusts; nobody where there are none.
    pub trusts: Option<Arc<dyn TrustTokens>>,
}

/// Something that a subscriber is told beside the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// For who is reached by a POST: a JSON text.
    pub json: String,
    /// For who is reached by mail: subject and text; nothing is mailed without.
    pub mail: Option<(String, String)>,
}

/// How telling one thing ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// It was taken.
    Taken,
    /// It was not, and never will be.
    Refused(String),
    /// It was not, this time.
    Failed(String),
    /// It was not even tried: it may be after this.
    Later(Duration),
}

/// What is told.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    /// A message's notification.
    Notification(String),
    /// Something beside.
    Notice(&'a Notice),
}

/// Whether a subscriber can be told anything, as far as he himself says.
///
/// # Errors
/// Why not, for whoever asks for it.
pub fn check(notify: &Notify) -> std::result::Result<(), String> {
    subscriber::read(notify).map(drop)
}

impl Inner {
    /// Whether a subscription is to be pushed at all.
    pub(super) fn wants(&self, push: &Push) -> bool {
        match push.notify() {
            None => self.scope.endpoints && push.verified,
            Some(notify) => {
                let told = self.scope.notifications.as_ref();
                told.is_some_and(|told| push.verified || !told.require_confirmation)
                    && notify.until() > self.broker.now()
            }
        }
    }

    /// Tells a subscriber something, once. Beside how it ended, the HTTP status of the answer, if that is what there was.
    pub(super) async fn tell(&self, wanted: &Wanted, project: ProjectId, text: Text<'_>) -> (u16, Told) {
        match &wanted.way {
            Way::Post(url, headers) => self.post(url, headers.clone(), wanted, text).await,
            Way::Trusted(url, headers, trust) => match self.token(trust.as_deref()).await {
                Ok(token) => {
                    let mut headers = headers.clone();
                    headers.insert(TOKEN, token);
                    self.post(url, headers, wanted, text).await
                }
                Err(told) => (0, told),
            },
            Way::Mail(letter) => {
                let mailer = self.scope.notifications.as_ref().and_then(|told| told.mailer.as_ref());
                let Some(mailer) = mailer else {
                    let why = "mail is not sent here: set zaqar.smtp_host or zaqar.smtp_command".to_owned();
                    return (0, Told::Refused(why));
                };
                if let Err(wait) = mailer.admit(project, self.broker.clock().monotonic()) {
                    return (0, Told::Later(wait));
                }
                let (subject, text) = match text {
                    Text::Notification(text) => (None, text),
                    Text::Notice(Notice { mail: Some((subject, text)), .. }) => (Some(subject.as_str()), text.clone()),
                    Text::Notice(Notice { mail: None, .. }) => return (0, Told::Taken),
                };
                // A mail may have gone out although its end was not heard: it is not sent twice (`zaqar-v2.md` §16.8).
                let sent = mailer.send(letter, subject, text).await;
                (0, sent.map_or_else(Told::Refused, |()| Told::Taken))
            }
        }
    }

    async fn token(&self, trust: Option<&str>) -> std::result::Result<HeaderValue, Told> {
        let trusts = self.scope.notifications.as_ref().and_then(|told| told.trusts.as_ref());
        let (Some(trusts), Some(trust)) = (trusts, trust) else {
            return Err(Told::Refused("there is no trust to act by".to_owned()));
        };
        let token = trusts.token(trust).await.map_err(Told::Failed)?;
        let value = HeaderValue::from_str(token.reveal());
        let mut value = value.map_err(|_| Told::Failed("the token is one that HTTP does not carry".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn post(&self, url: &Url, headers: HeaderMap, wanted: &Wanted, text: Text<'_>) -> (u16, Told) {
        let json = match text {
            Text::Notification(json) => json,
            Text::Notice(notice) => notice.json.clone(),
        };
        let body = within(wanted.template.as_deref(), json);
        match self.sender.post(url, headers, body).await {
            Err(unanswered) => (0, Told::Failed(unanswered.0)),
            Ok(Answered { status, body }) => (status, judge(status, &body)),
        }
    }

    /// The retries of what a subscriber is told.
    pub(super) async fn phases(&self, subscription: &Subscription, wanted: &Wanted) -> Result<Phases> {
        let topic = match self.broker.topic(subscription.project, &subscription.topic).await {
            Ok(topic) => Some(topic),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let metadata = topic.as_ref().map(|topic| serde_json::from_slice::<Map<String, Value>>(&topic.metadata));
        let metadata = metadata.and_then(std::result::Result::ok).unwrap_or_default();
        Ok(subscriber::phases(wanted.policy.as_ref(), metadata.get(POLICY)))
    }

    /// Tells a subscriber something beside the messages, as often as his policy says.
    pub(super) async fn notice(self: Arc<Self>, subscription: Arc<Subscription>, notice: Notice) {
        let Some(notify) = subscription.push.as_ref().and_then(Push::notify) else { return };
        let Ok(_place) = self.notices.try_acquire() else {
            tracing::warn!(subscription = %subscription.id, "a notice is not sent: too many are under way");
            return;
        };
        let telling = async {
            let Ok(wanted) = subscriber::read(notify) else { return };
            let phases = self.phases(&subscription, &wanted).await.unwrap_or_default();
            let mut retry = 0;
            while notify.until() > self.broker.now() {
                let pause = match self.tell(&wanted, subscription.project, Text::Notice(&notice)).await.1 {
                    Told::Taken => return,
                    Told::Later(wait) => wait,
                    Told::Failed(why) => {
                        retry += 1;
                        let Some(pause) = phases.pause(retry) else { return gave_up(&subscription, &why) };
                        pause
                    }
                    Told::Refused(why) => return gave_up(&subscription, &why),
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            () = telling => {}
        }
    }
}

/// Success, refusal for good, or a failure that may pass: 4xx is the subscriber's own word, 5xx may be over soon.
fn judge(status: u16, body: &[u8]) -> Told {
    match StatusCode::from_u16(status) {
        Ok(status) if status.is_success() || status.is_redirection() => Told::Taken,
        Ok(status) if status.is_client_error() => Told::Refused(said(status.as_u16(), body)),
        _ => Told::Failed(said(status, body)),
    }
}

fn said(status: u16, body: &[u8]) -> String {
    format!("it answered {status}: {}", String::from_utf8_lossy(body))
}

/// A final failure is only logged.
pub(super) fn gave_up(subscription: &Subscription, why: &str) {
    tracing::warn!(subscription = %subscription.id, project = %subscription.project, %why, "a subscriber did not take what he was told");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_and_three_hundreds_are_success_four_hundreds_final_and_the_rest_may_pass() {
        for status in [200, 201, 204, 301, 304] {
            assert_eq!(judge(status, b""), Told::Taken, "{status}");
        }
        for status in [400, 404, 429, 499] {
            assert_eq!(judge(status, b"no"), Told::Refused(format!("it answered {status}: no")), "{status}");
        }
        for status in [100, 500, 503, 599] {
            assert!(matches!(judge(status, b""), Told::Failed(_)), "{status}");
        }
    }
}
