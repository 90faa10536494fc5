//! Every bound of the domain in one place, with its unit in its name. Dialects and configuration may be stricter, never wider.

use std::time::Duration;

/// Most bytes of a name.
pub const NAME_BYTES_MAX: usize = 768;
/// Most messages of one publish request.
pub const PUBLISH_MESSAGES_MAX: usize = 100_000;
/// Most stored bytes of one publish request, the default of `limits.publish_bytes`.
pub const PUBLISH_BYTES_MAX: usize = 8 << 20;
/// Most attributes of a message.
pub const ATTRIBUTES_MAX: usize = 1_024;
/// Most messages that one lease command grants.
pub const LEASE_MESSAGES_MAX: u32 = 100_000;
/// Most payload bytes that one lease command grants, unless the first message alone is larger.
pub const LEASE_BYTES_MAX: u64 = 32 << 20;
/// Most messages leased at a time on one subscription in individual mode.
pub const OUTSTANDING_MAX: u64 = 100_000;
/// Most offsets of one acknowledge, extend or release command.
pub const TARGETS_MAX: usize = 100_000;
/// Longest lease.
pub const LEASE_MAX: Duration = Duration::from_secs(43_200);
/// The ack deadline when none is given.
pub const ACK_DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// The retention of a topic when none is given.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// Most bytes of what a dialect keeps with a topic.
pub const METADATA_BYTES_MAX: usize = 256 << 10;
/// Most users in an access list.
pub const ACL_USERS_MAX: usize = 10_000;
/// Most messages reported as exhausted by one command; the next command reports the rest.
pub const EXHAUSTED_MAX: usize = 1_000;
/// Most offsets that one `Need` asks headers for.
pub const NEED_MAX: u64 = 10_000;
/// Longest wait of a pull for messages.
pub const PULL_WAIT_MAX: Duration = Duration::from_secs(300);

const _: () = assert!(LEASE_MESSAGES_MAX as u64 <= OUTSTANDING_MAX);
const _: () = assert!(PUBLISH_BYTES_MAX as u64 <= LEASE_BYTES_MAX);
