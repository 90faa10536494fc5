//! Identities, names, offsets and instants: a newtype for each, so that none is taken for another.

use super::error::Error;
use super::limits;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A 128-bit identity, printed as a UUID.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), " "))?;
                write_uuid(self.0, f)
            }
        }

        impl $name {
            /// Reads the hyphenated or plain hexadecimal form; `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                parse_uuid(text).map(Self)
            }
        }
    };
}

id!(
    /// A project for ever, through renames.
    ProjectId
);
id!(
    /// A topic from its creation to its deletion; grows with creation time.
    TopicId
);
id!(
    /// A subscription from its creation to its deletion; grows with creation time.
    SubscriptionId
);
id!(
    /// A user for ever, through renames.
    UserId
);
id!(
    /// A registration: somebody's wish to become a user. Grows with the time at which it came.
    RegistrationId
);
id!(
    /// A schema through its revisions.
    SchemaId
);
id!(
    /// Who published a message, for producers that do not want to hear themselves; zero is nobody.
    ProducerId
);
id!(
    /// Which log a subscription's state speaks about: the identity of a topic's log.
    LogRef
);

fn write_uuid(id: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (a, b, c, d, e) = (id >> 96, id >> 80 & 0xffff, id >> 64 & 0xffff, id >> 48 & 0xffff, id & 0xffff_ffff_ffff);
    write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

fn parse_uuid(text: &str) -> Option<u128> {
    let plain: String = match text.len() {
        32 => text.to_owned(),
        36 if [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-')) => text.replace('-', ""),
        _ => return None,
    };
    let hexadecimal = plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal { u128::from_str_radix(&plain, 16).ok() } else { None }
}

/// The place of a message in its topic, from 0, dense.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `count` further on; saturates.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many offsets lie from `earlier` up to this one; 0 when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Wall time in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Never.
    pub const NEVER: Self = Self(u64::MAX);
    /// At once: the beginning of time.
    pub const EPOCH: Self = Self(0);

    /// The instant `by` later; saturates at [`Timestamp::NEVER`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The time since `earlier`; zero when that lies later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The UTC day that it lies in.
    #[must_use]
    pub const fn day(self) -> Day {
        Day(self.0 / DAY_MICROS)
    }
}

const DAY_MICROS: u64 = 86_400_000_000;

/// A day in UTC, counted from 1970-01-01, which is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Day(pub u64);

impl Day {
    /// Its first instant; saturates.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(DAY_MICROS))
    }

    /// The day after it; saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Marks one grant of leases. Grows with each grant of a subscription and never repeats; a lease of an earlier epoch (before a
/// seek or purge) has a smaller fence than every lease after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Fence(pub u64);

/// Counts the topics that have borne one name; a topic deleted and made again has the next one. Starts at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

/// A name of a project, topic, subscription, user or schema: 1 to [`limits::NAME_BYTES_MAX`] bytes, no `/`, no control
/// character. Dialects narrow this further. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes a text as a name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is empty, too long, or holds a `/` or a control character.
    pub fn new(text: &str) -> Result<Self, Error> {
        let why = if text.is_empty() {
            "is empty"
        } else if text.len() > limits::NAME_BYTES_MAX {
            "is too long"
        } else if text.chars().any(|c| c == '/' || c.is_control()) {
            "holds a slash or a control character"
        } else {
            return Ok(Self(Arc::from(text)));
        };
        Err(Error::Invalid { what: "name", why: why.to_owned() })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_secs(43_200);

    #[test]
    fn an_id_prints_as_a_uuid_and_reads_back() {
        let id = UserId(0x0b3b_9f3e_6f0c_4c55_9d0f_3d3e_0c0c_8f11);
        assert_eq!(id.to_string(), "0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f11");
        assert_eq!(UserId::parse(&id.to_string()), Some(id));
        assert_eq!(UserId::parse("0b3b9f3e6f0c4c559d0f3d3e0c0c8f11"), Some(id));
        for wrong in ["", "0b3b9f3e", "0b3b9f3e-6f0c-4c55-9d0f-3d3e0c0c8f1g", "+b3b9f3e6f0c4c559d0f3d3e0c0c8f11"] {
            assert_eq!(UserId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let noon = Timestamp(1_700_049_600_000_000);
        assert_eq!(noon.day(), Day(19_676));
        assert_eq!(
            (noon.day().start(), noon.day().next().start()),
            (Timestamp(1_700_006_400_000_000), noon.plus(HALF))
        );
        assert_eq!(Timestamp(noon.day().start().0 - 1).day(), Day(19_675));
        assert_eq!(Timestamp::NEVER.day().next().start(), Timestamp::NEVER);
    }

    #[test]
    fn a_name_is_bounded_and_has_no_slash() {
        assert!(Name::new("récords_1-a").is_ok());
        for wrong in ["", "a/b", "a\nb", &"x".repeat(limits::NAME_BYTES_MAX + 1)] {
            assert!(Name::new(wrong).is_err(), "{wrong}");
        }
    }
}
