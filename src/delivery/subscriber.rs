//! What a subscriber of a queue wants: where notifications go, what is around them, how often they are tried. Read from his URI and his
//! options (OpenStack Zaqar's), strictly enough that nothing he says reaches a header or an address that is not his to set. Sends nothing.

use super::mail::{Letter, letter};
use super::sender::parse_url;
use crate::domain::push::Notify;
use crate::domain::retry::{BackOff, Phases};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// Longest URI.
const URI_BYTES_MAX: usize = 8 << 10;
/// Most headers of his own, and their bytes.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 << 10;
/// What frames a request or belongs to the connection.
const FORBIDDEN: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-connection",
];

/// What a subscriber wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// How he is reached.
    pub(super) way: Way,
    /// His own text around each notification.
    pub(super) template: Option<String>,
    /// His policy, if he has one.
    pub(super) policy: Option<Value>,
}

/// How a subscriber is reached.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// By a POST.
    Post(Url, HeaderMap),
    /// By a POST with a token of the trust of this id.
    Trusted(Url, HeaderMap, Option<String>),
    /// By mail.
    Mail(Letter),
}

/// Reads what a subscriber wants.
///
/// # Errors
/// What of it cannot be, for whoever asked for it.
pub(super) fn read(notify: &Notify) -> Result<Wanted, String> {
    let subscriber = notify.subscriber.as_str();
    if subscriber.len() > URI_BYTES_MAX {
        return Err(format!("The subscriber is longer than {URI_BYTES_MAX} bytes."));
    }
    let options: Map<String, Value> = serde_json::from_str(&notify.options.0).map_err(|_| "Options must be a dict.")?;
    let given = |key: &str| options.get(key).filter(|value| !value.is_null());
    let text = |key: &str| match given(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{key} must be a string.")),
    };
    let template = text("post_data")?.map(str::to_owned);
    let policy = given("_retry_policy").filter(|policy| policy.as_object().is_some_and(|policy| !policy.is_empty()));
    let url = |text: &str| {
        let url = parse_url(text, &["http", "https"]);
        url.ok_or_else(|| "The subscriber must be a URL with a host.".to_owned())
    };
    let (scheme, rest) = subscriber.split_once(':').unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    let way = match scheme.strip_prefix("trust+") {
        Some(scheme) => {
            let url = url(&format!("{scheme}:{rest}"))?;
            Way::Trusted(url, headers(given("post_headers"))?, text("trust_id")?.map(str::to_owned))
        }
        None if scheme == "mailto" => Way::Mail(letter(rest, text("from")?, text("subject")?)?),
        None => Way::Post(url(subscriber)?, headers(given("post_headers"))?),
    };
    Ok(Wanted { way, template, policy: policy.cloned() })
}

/// The headers of a subscriber's POSTs.
fn headers(given: Option<&Value>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let Some(given) = given else { return Ok(headers) };
    let given = given.as_object().ok_or("post_headers must be a dict.")?;
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
    if given.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(format!("post_headers has more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes."));
    }
    for (name, value) in given {
        let name = HeaderName::try_from(name).map_err(|_| "post_headers has a name that HTTP does not carry.")?;
        if FORBIDDEN.contains(&name.as_str()) {
            return Err(format!("post_headers can not set {name}."));
        }
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(format!("The header {name} must be a string."));
            }
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("The header {name} has a value that HTTP does not carry."))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The retries of a message: by the queue's policy where either says that it alone counts, else by the subscriber's, else by the queue's.
/// A policy is taken whole.
pub(super) fn phases(own: Option<&Value>, queue: Option<&Value>) -> Phases {
    let queue = queue.filter(|policy| policy.as_object().is_some_and(|policy| !policy.is_empty()));
    let alone = |policy: Option<&Value>| {
        policy.and_then(|policy| policy.get("ignore_subscription_override")).and_then(Value::as_bool) == Some(true)
    };
    let chosen = if alone(own) || alone(queue) { queue } else { own.or(queue) };
    chosen.map_or_else(Phases::default, of_policy)
}

fn of_policy(policy: &Value) -> Phases {
    let default = Phases::default();
    let number = |key: &str, otherwise: u64| match policy.get(key) {
        None | Some(Value::Null) => otherwise,
        Some(Value::Bool(one)) => u64::from(*one),
        // Below nothing is nothing.
        Some(value) => value.as_u64().unwrap_or(0),
    };
    Phases {
        at_once: number("retries_with_no_delay", default.at_once),
        least_retries: number("minimum_delay_retries", default.least_retries),
        least: number("minimum_delay", default.least),
        function: match policy.get("retry_backoff_function").and_then(Value::as_str) {
            Some("arithmetic") => BackOff::Arithmetic,
            Some("geometric") => BackOff::Geometric,
            Some("exponential") => BackOff::Exponential,
            _ => BackOff::Linear,
        },
        most: number("maximum_delay", default.most),
        most_retries: number("maximum_delay_retries", default.most_retries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::push::Shared;
    use serde_json::json;
    use std::time::Duration;

    fn wanted(subscriber: &str, options: &Value) -> Result<Wanted, String> {
        let options = Shared(options.to_string());
        read(&Notify {
            subscriber: subscriber.to_owned(),
            options,
            ttl: Duration::from_secs(60),
            since: Timestamp::EPOCH,
        })
    }

    fn refused(subscriber: &str, options: &Value) -> String {
        wanted(subscriber, options).unwrap_err()
    }

    #[test]
    fn a_webhook_has_its_own_headers_over_the_default() {
        let options = json!({"post_headers": {"X-Auth": "s", "content-type": "text/x", "n": 1}, "post_data": "p"});
        let Wanted { way, template, policy } = wanted("http://h:8080/p?q", &options).unwrap();
        let Way::Post(url, headers) = way else { panic!("{way:?}") };
        assert_eq!((url.as_str(), template.as_deref(), policy), ("http://h:8080/p?q", Some("p"), None));
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!((header("x-auth"), header("content-type"), header("n")), ("s", "text/x", "1"));
        assert!(!format!("{headers:?}").contains("\"s\""), "what he sets may be secret");
    }

    #[test]
    fn a_trust_is_told_apart_from_the_url_behind_it() {
        let Way::Trusted(url, _, trust) = wanted("trust+https://h/p", &json!({"trust_id": "t"})).unwrap().way else {
            panic!()
        };
        assert_eq!((url.as_str(), trust.as_deref()), ("https://h/p", Some("t")));
    }

    #[test]
    fn headers_that_frame_a_request_cannot_be_set() {
        for name in ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "Upgrade", "te"] {
            let told = refused("http://h/", &json!({"post_headers": {name: "x"}}));
            assert_eq!(told, format!("post_headers can not set {}.", name.to_lowercase()));
        }
        for (headers, told) in [
            (json!([]), "post_headers must be a dict."),
            (json!({"a b": "x"}), "post_headers has a name that HTTP does not carry."),
            (json!({"a": "x\r\nHost: y"}), "The header a has a value that HTTP does not carry."),
            (json!({"a": {}}), "The header a must be a string."),
            (json!({"a": "x".repeat(9_000)}), "post_headers has more than 64 headers or 8192 bytes."),
        ] {
            assert_eq!(refused("http://h/", &json!({"post_headers": headers})), told);
        }
    }

    #[test]
    fn what_is_no_url_or_no_text_is_refused() {
        for subscriber in ["http:", "http://", "https:///", "trust+http:", "http://[::1"] {
            assert_eq!(refused(subscriber, &json!({})), "The subscriber must be a URL with a host.", "{subscriber}");
        }
        assert_eq!(refused("http://h/", &json!({"post_data": {}})), "post_data must be a string.");
        assert_eq!(
            refused(&format!("http://h/{}", "x".repeat(9_000)), &json!({})),
            "The subscriber is longer than 8192 bytes."
        );
    }

    #[test]
    fn a_policy_is_chosen_whole() {
        let (own, queue) = (json!({"minimum_delay": 7, "maximum_delay": 70}), json!({"retries_with_no_delay": 9}));
        let (empty, default) = (json!({}), Phases::default());
        assert_eq!(phases(None, None), default);
        assert_eq!(phases(None, Some(&empty)), default);
        assert_eq!(phases(Some(&own), Some(&queue)), Phases { least: 7, most: 70, ..default });
        assert_eq!(phases(None, Some(&queue)), Phases { at_once: 9, ..default });
        let alone = json!({"retries_with_no_delay": 8, "ignore_subscription_override": true});
        assert_eq!(phases(Some(&own), Some(&alone)), Phases { at_once: 8, ..default });
        assert_eq!(phases(Some(&alone), Some(&queue)), Phases { at_once: 9, ..default });
        assert_eq!(phases(Some(&alone), None), default);
    }

    #[test]
    fn every_member_of_a_policy_counts() {
        let policy = |function: &str| {
            json!({
                "retries_with_no_delay": 0, "minimum_delay_retries": 1, "minimum_delay": 2, "maximum_delay": 62,
                "maximum_delay_retries": -4, "retry_backoff_function": function
            })
        };
        let all =
            Phases { at_once: 0, least_retries: 1, least: 2, function: BackOff::Arithmetic, most: 62, most_retries: 0 };
        assert_eq!(phases(Some(&policy("arithmetic")), None), all);
        assert_eq!(phases(Some(&policy("geometric")), None), Phases { function: BackOff::Geometric, ..all });
        assert_eq!(phases(Some(&policy("exponential")), None), Phases { function: BackOff::Exponential, ..all });
        assert_eq!(phases(Some(&policy("linear")), None), Phases { function: BackOff::Linear, ..all });
    }
}
