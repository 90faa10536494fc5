//! The stored form of a push configuration: fields of its own inside a subscription's. Tags are frozen.

use super::fields::{FieldReader, Fields, Value, damaged};
use crate::domain::push::{Mattermost, Notify, Push, Shared, Target, Webhook};
use crate::domain::retry::RetryPolicy;
use crate::domain::{Result, Timestamp};
use std::time::Duration;

const WEBHOOK: u8 = 1;
const MATTERMOST: u8 = 2;
const NOTIFY: u8 = 3;
const DECODE: u8 = 1;
const VERIFIED: u8 = 2;

/// Writes a push configuration.
pub(super) fn bytes(push: &Push) -> Vec<u8> {
    let mut fields = Fields::default();
    match &push.target {
        Target::Webhook(Webhook { endpoint, messages_max, authorization, hash }) => {
            fields.u8(1, WEBHOOK).text(2, endpoint).u64(3, messages_max.cast_unsigned());
            if let Some(authorization) = authorization {
                fields.text(4, &authorization.0);
            }
            fields.text(5, &hash.0);
        }
        Target::Mattermost(Mattermost { url, username, channel }) => {
            fields.u8(1, MATTERMOST).text(2, url).text(6, username).text(7, channel);
        }
        Target::Notify(Notify { subscriber, options, .. }) => {
            fields.u8(1, NOTIFY).text(2, subscriber).text(5, &options.0);
        }
    }
    if let RetryPolicy::Linear { period } = push.retry {
        fields.duration(8, period);
    }
    fields.u8(9, if push.decode { DECODE } else { 0 } | if push.verified { VERIFIED } else { 0 });
    if let Some(notify) = push.notify() {
        fields.duration(10, notify.ttl).u64(11, notify.since.0);
    }
    fields.into_bytes()
}

/// Reads what [`bytes`] writes, and nothing else.
pub(super) fn read(value: Value<'_>) -> Result<Push> {
    let mut fields = FieldReader::new(value.all());
    let text = |value: Value<'_>| value.text().map(str::to_owned);
    let mut target = match fields.required(1)?.u8()? {
        WEBHOOK => Target::Webhook(Webhook {
            endpoint: text(fields.required(2)?)?,
            messages_max: fields.required(3)?.u64()?.cast_signed(),
            authorization: fields.optional(4)?.map(text).transpose()?.map(Shared),
            hash: Shared(text(fields.required(5)?)?),
        }),
        MATTERMOST => Target::Mattermost(Mattermost {
            url: text(fields.required(2)?)?,
            username: text(fields.required(6)?)?,
            channel: text(fields.required(7)?)?,
        }),
        NOTIFY => Target::Notify(Notify {
            subscriber: text(fields.required(2)?)?,
            options: Shared(text(fields.required(5)?)?),
            ttl: Duration::ZERO,
            since: Timestamp::EPOCH,
        }),
        other => return Err(damaged(format!("its push target {other} is not known"))),
    };
    let retry = match fields.optional(8)? {
        Some(period) => RetryPolicy::Linear { period: period.duration()? },
        None if matches!(target, Target::Notify(_)) => RetryPolicy::EachMessage,
        None => RetryPolicy::SlowStart,
    };
    let flags = fields.required(9)?.u8()?;
    if flags & !(DECODE | VERIFIED) != 0 {
        return Err(damaged(format!("its push flags {flags} are not known")));
    }
    if let Target::Notify(notify) = &mut target {
        (notify.ttl, notify.since) = (fields.required(10)?.duration()?, fields.required(11)?.timestamp()?);
    }
    fields.finish()?;
    Ok(Push { target, retry, decode: flags & DECODE != 0, verified: flags & VERIFIED != 0 })
}
