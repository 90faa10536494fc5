//! Log lines on standard error: text for people, or one JSON object a line. Tokens never come near: no request's address or header is
//! logged.

use tracing_subscriber::filter::EnvFilter;

/// Reads a filter: a level, or levels per module.
///
/// # Errors
/// When it is neither.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    let levels = ["error", "warn", "info", "debug", "trace"];
    if !levels.contains(&text) {
        return Err(format!("`{text}` is no level (error, warn, info, debug, trace)"));
    }
    // What the libraries trace could hold addresses and headers.
    EnvFilter::try_new(format!("off,republisher={text}")).map_err(|error| error.to_string())
}

/// Begins logging for the whole process.
///
/// # Errors
/// When the level is none, or logging has begun already.
pub(crate) fn start(level: &str, json: bool) -> Result<(), String> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    let begun = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_target(false).with_ansi(false).try_init()
    };
    begun.map_err(|error| error.to_string())
}
