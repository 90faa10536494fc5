//! A queue's metadata: the members that mean something to us (`zaqar-v2.md` §15), and the view with their defaults.

use super::Limits;
use super::caller::queue_name;
use super::json::{self, Object};
use crate::broker::queue::DeadLetterPolicy;
use crate::domain::Name;
use crate::domain::topic::Topic;
use serde_json::value::RawValue;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(crate) const MAX_POST: &str = "_max_messages_post_size";
pub(crate) const TTL: &str = "_default_message_ttl";
pub(crate) const DELAY: &str = "_default_message_delay";
const DEAD_LETTER_QUEUE: &str = "_dead_letter_queue";
const DEAD_LETTER_TTL: &str = "_dead_letter_queue_messages_ttl";
const MAX_CLAIMS: &str = "_max_claim_count";
const ENCRYPT: &str = "_enable_encrypt_messages";
pub(crate) const RETRY: &str = "_retry_policy";

/// What is always shown, and may be replaced and removed even where it is not set.
pub(crate) const SHOWN: [&str; 7] = [MAX_POST, TTL, DELAY, DEAD_LETTER_QUEUE, DEAD_LETTER_TTL, MAX_CLAIMS, ENCRYPT];
/// The same of topics.
pub(crate) const SHOWN_OF_TOPICS: [&str; 3] = [MAX_POST, TTL, DELAY];
/// Least seconds that anything lives.
pub(crate) const TTL_MIN: u64 = 60;
/// One step of a retry's delays.
const RETRY_STEP: i64 = 5;

/// A queue's metadata as stored; empty for a topic that no Zaqar client made.
pub(crate) fn stored(topic: &Topic) -> Object<'_> {
    serde_json::from_slice(&topic.metadata).unwrap_or_default()
}

/// What posting to a queue goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Posting {
    /// Most bytes of a request, if the queue has its own bound.
    pub(crate) bytes_max: Option<u64>,
    /// The ttl of messages that come without.
    pub(crate) ttl: u64,
    /// The delay of messages that come without; none where nothing is delayed.
    pub(crate) delay: Option<u64>,
}

impl Posting {
    /// Of a queue, or of one that is to be made by the post.
    pub(crate) fn of(topic: Option<&Topic>, limits: &Limits) -> Self {
        // Most queues have none; then there is nothing to read.
        let metadata = topic.filter(|topic| topic.metadata.len() > 2).map(stored).unwrap_or_default();
        let positive = |key| metadata.get(key).and_then(json::integer).and_then(|value| u64::try_from(value).ok());
        let positive = |key| positive(key).filter(|value| *value > 0);
        Self {
            bytes_max: positive(MAX_POST),
            ttl: positive(TTL).unwrap_or(limits.default_message_ttl),
            delay: positive(DELAY),
        }
    }
}

/// When a queue's messages go to another one. A name that no queue can have, and the queue's own, is none.
pub(crate) fn dead_letter_policy(metadata: &Object<'_>, own: &Name) -> DeadLetterPolicy {
    let attempts = metadata.given(MAX_CLAIMS).and_then(json::integer);
    let target = metadata.given(DEAD_LETTER_QUEUE).and_then(json::text).and_then(|name| queue_name(&name));
    let (Some(attempts), Some(target)) = (attempts, target.filter(|target| target != own)) else {
        return DeadLetterPolicy::default();
    };
    let ttl = metadata.get(DEAD_LETTER_TTL).and_then(json::integer).and_then(|ttl| u64::try_from(ttl).ok());
    DeadLetterPolicy {
        max_attempts: Some(u32::try_from(attempts.max(0)).unwrap_or(u32::MAX)),
        topic: Some(target),
        ttl: ttl.filter(|ttl| *ttl > 0).map(Duration::from_secs),
    }
}

/// Whether a queue's messages are to be encrypted where they are stored.
pub(crate) fn is_sealed(metadata: &Object<'_>) -> bool {
    metadata.get(ENCRYPT).is_some_and(|value| value.get() == "true")
}

/// Checks the members that mean something; null counts as not set, and so does 0 where a bound is meant.
///
/// # Errors
/// The contract's text.
pub(crate) fn check(metadata: &Object<'_>, limits: &Limits) -> Result<(), String> {
    check_retry_policy(metadata.given(RETRY))?;
    let (size, ttl, delay) = (limits.max_messages_post_size, limits.max_message_ttl, limits.max_message_delay);
    within(metadata, MAX_POST, 1..=size, || {
        format!("{MAX_POST} can not exceed {size},  and must be at least greater than 0.")
    })?;
    within(metadata, TTL, TTL_MIN..=ttl, || {
        format!("{TTL} can not exceed {ttl} seconds, and must be at least {TTL_MIN} seconds long.")
    })?;
    within(metadata, DELAY, 0..=delay, || {
        format!("The TTL can not exceed {delay} seconds, and must be at least 0 seconds long.")
    })?;
    within(metadata, DEAD_LETTER_TTL, TTL_MIN..=ttl, || ttl_text(ttl))?;
    if metadata.given(MAX_CLAIMS).is_some_and(|value| json::integer(value).is_none()) {
        return Err(format!("{MAX_CLAIMS} must be integer."));
    }
    if metadata.given(DEAD_LETTER_QUEUE).is_some_and(|value| json::text(value).is_none()) {
        return Err(format!("{DEAD_LETTER_QUEUE} must be string."));
    }
    match metadata.given(ENCRYPT).map(|value| value.get()) {
        None | Some("false" | "true") => Ok(()),
        Some(_) => Err(format!("{ENCRYPT} must be boolean.")),
    }
}

/// What is said of a message's ttl out of range.
pub(crate) fn ttl_text(most: u64) -> String {
    format!("The TTL for a message may not exceed {most} seconds, and must be at least {TTL_MIN} seconds long.")
}

fn within(
    metadata: &Object<'_>,
    key: &str,
    range: RangeInclusive<u64>,
    wrong: impl Fn() -> String,
) -> Result<(), String> {
    let Some(value) = metadata.given(key) else { return Ok(()) };
    let value = json::integer(value).ok_or_else(|| format!("{key} must be integer."))?;
    let fits = value == 0 || u64::try_from(value).is_ok_and(|value| range.contains(&value));
    if fits { Ok(()) } else { Err(wrong()) }
}

/// Checks a retry policy, of a queue or a subscription.
///
/// # Errors
/// The contract's text.
pub(crate) fn check_retry_policy(given: Option<&RawValue>) -> Result<(), String> {
    let Some(value) = given else { return Ok(()) };
    let policy: Object<'_> =
        serde_json::from_str(value.get()).map_err(|_| "retry_policy must be a dict.".to_owned())?;
    for key in
        ["retries_with_no_delay", "minimum_delay_retries", "minimum_delay", "maximum_delay", "maximum_delay_retries"]
    {
        if policy.given(key).is_some_and(|value| json::integer(value).is_none()) {
            return Err(format!("Retry policy: {key} must be a integer."));
        }
    }
    if let Some(value) = policy.given("retry_backoff_function") {
        let function = json::text(value).ok_or("retry_backoff_function must be a string.")?;
        if !["linear", "arithmetic", "geometric", "exponential"].contains(&function.as_ref()) {
            return Err("invalid retry_backoff_function.".to_owned());
        }
    }
    if policy.given("ignore_subscription_override").is_some_and(|value| !matches!(value.get(), "true" | "false")) {
        return Err("ignore_subscription_override must be a boolean.".to_owned());
    }
    let delay = |key, otherwise| policy.given(key).and_then(json::integer).unwrap_or(otherwise);
    let (least, most) = (delay("minimum_delay", 5), delay("maximum_delay", 30));
    if least >= most {
        return Err("minimum_delay must less than maximum_delay.".to_owned());
    }
    if most.saturating_sub(least) < 2 * RETRY_STEP {
        return Err("invalid minimum_delay and maximum_delay.".to_owned());
    }
    Ok(())
}

/// Writes metadata as clients see it: with the defaults of what is not set but always shown.
pub(crate) fn write(metadata: &Object<'_>, always: &[&str], limits: &Limits, out: &mut Vec<u8>) {
    let default = |key: &str| match key {
        MAX_POST => Some(limits.max_messages_post_size.to_string()),
        TTL => Some(limits.default_message_ttl.to_string()),
        DELAY => Some(limits.default_message_delay.to_string()),
        ENCRYPT => Some("false".to_owned()),
        _ => always.contains(&key).then(|| "null".to_owned()),
    };
    out.push(b'{');
    let mut first = true;
    for (key, value) in metadata.members() {
        let shown = default(key).filter(|_| json::is_falsy(value));
        json::member(key, shown.as_deref().unwrap_or(value.get()), first, out);
        first = false;
    }
    for key in always.iter().filter(|key| metadata.get(key).is_none()) {
        json::member(key, &default(key).unwrap_or_default(), first, out);
        first = false;
    }
    out.push(b'}');
}
