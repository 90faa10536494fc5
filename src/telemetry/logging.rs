//! Log lines: their form, their filter, and what must never be in them.
//!
//! Owns [`redact`], which every request target passes before it is logged: no token reaches a log through a path or a query.

use std::borrow::Cow;
use std::io::IsTerminal;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// What stands in a log instead of a secret.
const HIDDEN: &str = "…";
/// Query parameters whose values are secrets.
const SECRET_PARAMETERS: [&str; 3] = ["key", "activation_token", "token"];
/// Path segments after which the next segment is a secret.
const SECRET_AFTER: [&str; 1] = ["users:byToken"];

/// Reads a filter: a level, or levels per module.
///
/// # Errors
/// When it is neither.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    let words = ["error", "warn", "info", "debug", "trace", "off"];
    // A bare word that is no level would count as a module's name and silence everything else.
    if let Some(wrong) = text.split(',').find(|part| !part.contains('=') && !words.contains(&part.trim())) {
        return Err(format!("`{}` is no level (error, warn, info, debug, trace)", wrong.trim()));
    }
    // The HTTP server tells of its threads, and counts every client's bad bytes as an error; the cluster's driver of each connection;
    // nobody asked. A directive of the text itself wins.
    EnvFilter::try_new(format!("actix_server=warn,actix_http=off,scylla=warn,{text}"))
        .map_err(|error: ParseError| error.to_string())
}

/// Changes the filter of the running process.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Puts another filter in force.
    ///
    /// # Errors
    /// When it is none; the present one stays.
    pub fn set(&self, text: &str) -> Result<(), String> {
        self.0.reload(filter(text)?).map_err(|error| error.to_string())
    }
}

/// Begins logging to standard error for the whole process: a line of text, or a line of JSON when `json`.
///
/// # Errors
/// When the filter is none, or logging has begun already.
pub fn start(level: &str, json: bool) -> Result<Level, String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<_> + Send + Sync> = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|error| error.to_string())?;
    Ok(Level(handle))
}

/// A request's path and query with every secret in it replaced.
#[must_use]
pub fn redact(target: &str) -> Cow<'_, str> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path_hides = path.split('/').any(is_before_secret);
    let query_hides = query.is_some_and(|query| query.split('&').any(is_secret));
    if !path_hides && !query_hides {
        return Cow::Borrowed(target);
    }
    let mut text = String::with_capacity(target.len());
    let mut hide_next = false;
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        text.push_str(if hide_next && !segment.is_empty() { HIDDEN } else { segment });
        hide_next = is_before_secret(segment) || (hide_next && segment.is_empty());
    }
    for (index, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        if is_secret(parameter) {
            text.push_str(parameter.split('=').next().unwrap_or_default());
            text.push('=');
            text.push_str(HIDDEN);
        } else {
            text.push_str(parameter);
        }
    }
    Cow::Owned(text)
}

/// Whether the next path segment is a secret. Compared as a router would: percent signs undone, letters of either case.
fn is_before_secret(segment: &str) -> bool {
    let plain = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
    SECRET_AFTER.iter().any(|name| plain.eq_ignore_ascii_case(name))
}

fn is_secret(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let plain = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    SECRET_PARAMETERS.iter().any(|secret| plain.eq_ignore_ascii_case(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_of_a_path_or_query_is_left() {
        for (target, expected) in [
            ("/v1/projects/P/topics", "/v1/projects/P/topics"),
            ("/v1/projects/P/topics?pageSize=3", "/v1/projects/P/topics?pageSize=3"),
            ("/v1/projects/P/topics?key=s3cret&pageSize=3", "/v1/projects/P/topics?key=…&pageSize=3"),
            ("/v1/projects?a=1&KEY=s3cret", "/v1/projects?a=1&KEY=…"),
            ("/v1/projects?k%65y=s3cret", "/v1/projects?k%65y=…"),
            ("/v1/registrations?activation_token=s3cret", "/v1/registrations?activation_token=…"),
            ("/v1/users:byToken/s3cret", "/v1/users:byToken/…"),
            ("/v1/users%3AbyToken/s3cret?x=1", "/v1/users%3AbyToken/…?x=1"),
            ("/v1/users:bytoken//s3cret/y", "/v1/users:bytoken//…/y"),
            ("/v1/a?key=s3cret=s3cret", "/v1/a?key=…"),
            ("/v1/a?key=a?key=s3cret", "/v1/a?key=…"),
            ("/v1/a?key", "/v1/a?key=…"),
        ] {
            let redacted = redact(target);
            assert_eq!(redacted, expected, "{target}");
            assert!(!redacted.contains("s3cret"), "{target}");
        }
    }

    #[test]
    fn a_filter_is_a_level_or_levels_per_module() {
        assert!(filter("info").is_ok());
        assert!(filter("warn,angelia::storage=debug").is_ok());
        for wrong in ["loud", "info,angelia::storage=loud", ""] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
