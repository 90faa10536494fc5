//! Asking subscribers whether they want to be told: what is sent to them, signed so that they can answer without an account.

use super::collection::path;
use super::json;
use super::notifier::Notice;
use super::request::Call;
use super::times;
use crate::auth::signed_url::Grant;
use crate::broker::queue::label;
use crate::domain::push::Push;
use crate::domain::subscription::Subscription;
use std::sync::Arc;
use std::time::Duration;

/// How subscribers are asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Confirmation {
    /// The page that mails ask to visit; no mails while it is empty.
    pub page: String,
    /// The service's own address, or empty.
    pub public_url: String,
    /// The address of its WebSocket listener, or empty.
    pub public_websocket_url: String,
    /// The mail that asks: subject, line end, text.
    pub mail: String,
    /// The mail to who is not told any more.
    pub goodbye: String,
}

/// What a subscriber is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// That he may confirm.
    Subscribe,
    /// That he is not told any more, and may change his mind.
    Unsubscribe,
}

/// The signed request that answers.
struct Answer<'a> {
    queue: &'a str,
    project: &'a str,
    path: &'a str,
    expires: &'a str,
    signature: &'a str,
}

/// Asks a subscriber of the path's queue, if subscribers are asked here.
pub(crate) fn send(call: &Call<'_>, subscription: &Arc<Subscription>, kind: Kind) {
    let (Some(asked), Some(key)) = (&call.options.confirmation, &call.options.url_key) else { return };
    let (Some(notifier), Some(queue)) = (&call.zaqar.notifier, &call.queue) else { return };
    let Some(notify) = subscription.push.as_ref().and_then(Push::notify) else { return };
    let life = match kind {
        Kind::Subscribe => notify.ttl,
        Kind::Unsubscribe => Duration::from_secs(call.options.limits.default_subscription_ttl),
    };
    let path = format!("{}/subscriptions/{}/confirm", path(queue), subscription.id);
    let (project, expires) = (call.caller.project.as_str(), times::write(call.zaqar.now().plus(life)));
    let grant = Grant { paths: vec![&path], methods: vec!["PUT"], project, expires: &expires };
    let signature = key.sign(&grant);
    let answer = Answer { queue: label(queue), project, path: &path, expires: &expires, signature: &signature };
    let notice = Notice { json: answer.json(asked, kind), mail: answer.mail(asked, kind) };
    notifier.notice(Arc::clone(subscription), notice);
}

impl Answer<'_> {
    /// What a subscriber gets by a POST.
    fn json(&self, asked: &Confirmation, kind: Kind) -> String {
        let queue = self.queue;
        let (name, message) = match kind {
            Kind::Subscribe => {
                ("SubscriptionConfirmation", format!("You have chosen to subscribe to the queue: {queue}"))
            }
            Kind::Unsubscribe => (
                "UnsubscribeConfirmation",
                format!(
                    "You have unsubscribed successfully to the queue: {queue}, you can resubscribe it by using confirmed=True."
                ),
            ),
        };
        let mut out = Vec::new();
        let mut member = |key: &str, value: &str| {
            out.extend_from_slice(if out.is_empty() { b"{" } else { b", " });
            json::string(key, &mut out);
            out.extend_from_slice(b": ");
            json::string(value, &mut out);
        };
        member("Message_Type", name);
        member("Message", &message);
        member("URL-Signature", self.signature);
        member("URL-Methods", "PUT");
        member("URL-Paths", self.path);
        member("X-Project-ID", self.project);
        member("URL-Expires", self.expires);
        for (key, address) in
            [("WSGISubscribeURL", &asked.public_url), ("WebSocketSubscribeURL", &asked.public_websocket_url)]
        {
            if !address.is_empty() {
                member(key, &under(address, self.path));
            }
        }
        member("queue_name", queue);
        out.extend_from_slice(
            b", \"SubscribeBody\": {\"confirmed\": true}, \"UnsubscribeBody\": {\"confirmed\": false}}",
        );
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What a subscriber gets by mail: subject and text; none without a page to visit.
    fn mail(&self, asked: &Confirmation, kind: Kind) -> Option<(String, String)> {
        if asked.page.is_empty() {
            return None;
        }
        let Self { queue, project, path, expires, signature } = self;
        let url = if asked.public_url.is_empty() { String::new() } else { under(&asked.public_url, path) };
        // As the original writes it: the page takes it apart by these names.
        let link = format!(
            "{}?Signature={signature}&Methods=PUT&Paths={path}&Project={project}&Expires={expires}&Url={url}&Queue={queue}",
            asked.page
        );
        let template = if kind == Kind::Subscribe { &asked.mail } else { &asked.goodbye };
        let (subject, text) = template.split_once('\n').unwrap_or((template, ""));
        Some((subject.trim().to_owned(), filled(text, &[queue, project, &link])))
    }
}

/// A path under an address, whose prefix stays (quirk 17).
fn under(address: &str, path: &str) -> String {
    format!("{}{path}", address.trim_end_matches('/'))
}

/// A template with its places filled, in one go: what is filled in is not looked at again.
fn filled(template: &str, values: &[&str]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let place =
            after.split_once('}').and_then(|(number, after)| Some((values.get(number.parse::<usize>().ok()?)?, after)));
        rest = match place {
            Some((value, after)) => {
                out.push_str(value);
                after
            }
            None => {
                out.push('{');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_once() {
        assert_eq!(filled("{0} in {1}: {2}{", &["q{1}", "p", "l"]), "q{1} in p: l{");
        assert_eq!(filled("{3} {} {x}", &["q"]), "{3} {} {x}");
    }

    #[test]
    fn a_prefix_stays_before_the_path() {
        assert_eq!(under("https://c/messaging/", "/v2/q"), "https://c/messaging/v2/q");
    }
}
