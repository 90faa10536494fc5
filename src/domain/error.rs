//! What can go wrong, in the words of the domain. Dialects translate each case to their own text and status in one table.

use super::id::Offset;
use super::schema::Fault;
use std::fmt;
use std::time::Duration;

/// What the domain and the broker answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of thing that a name can mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Resource {
    /// A project.
    Project,
    /// A topic.
    Topic,
    /// A subscription.
    Subscription,
    /// A user.
    User,
    /// A schema.
    Schema,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "project",
            Self::Topic => "topic",
            Self::Subscription => "subscription",
            Self::User => "user",
            Self::Schema => "schema",
        })
    }
}

/// A failure. All but [`Error::OutcomeUnknown`] promise that nothing was changed, except where a variant says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing.
    NotFound(Resource),
    /// The name is taken.
    AlreadyExists(Resource),
    /// An argument is outside its rule.
    Invalid {
        /// Which argument.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A message or request is larger than its limit.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its limit in bytes.
        limit: u64,
    },
    /// A message of a publish request breaks its topic's schema.
    Violation {
        /// Which one, counted from 0.
        message: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The topic's schema cannot be read or compiled: nothing can be checked by it.
    SchemaUnusable(String),
    /// The project has used up what it may.
    QuotaExceeded {
        /// Of what.
        what: &'static str,
        /// When there will be more of it; none when only removing something helps.
        after: Option<Duration>,
    },
    /// The thing is the service's own and not changed from outside.
    Protected(Resource),
    /// The subscription's topic does not exist (any more).
    TopicGone,
    /// The view that a command was judged with is of an earlier incarnation of the topic: read the catalogue again.
    StaleIncarnation,
    /// Cumulative mode: nothing was pulled since the last acknowledgement or seek.
    NoAckPending,
    /// Cumulative mode: the offset is not inside the pulled window.
    WrongAck,
    /// Cumulative mode: the ack deadline has passed.
    AckTimeout,
    /// Individual mode: these leases were granted again or revoked; the other targets of the command **were** applied.
    LeaseSuperseded {
        /// How many targets were refused.
        refused: usize,
    },
    /// A command of the other ack mode.
    WrongAckMode,
    /// A seek outside the log.
    OffsetOutOfBounds {
        /// The first offset kept.
        first: Offset,
        /// The next offset.
        next: Offset,
    },
    /// No message at or after the time asked for.
    NothingAtTime,
    /// Another worker holds the subscription, or this one's lease on it ended.
    NotTheWorker,
    /// Somebody changed the same document first; read it again and decide anew.
    Changed,
    /// A queue is full or a bound reached: try again later.
    Overloaded(&'static str),
    /// The store has no room for more.
    StoreFull,
    /// The store cannot be reached or has stopped; nothing was changed.
    Unavailable(String),
    /// The change may or may not have been made.
    OutcomeUnknown(String),
    /// Stored bytes are damaged.
    Damaged(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(resource) => write!(f, "{resource} does not exist"),
            Self::AlreadyExists(resource) => write!(f, "{resource} already exists"),
            Self::Invalid { what, why } => write!(f, "{what} {why}"),
            Self::TooLarge { what, limit } => write!(f, "{what} is larger than {limit} bytes"),
            Self::Violation { message, fault } => write!(f, "message {message}: {fault}"),
            Self::SchemaUnusable(why) => write!(f, "the topic's schema cannot be used: {why}"),
            Self::QuotaExceeded { what, .. } => write!(f, "the project's quota of {what} is used up"),
            Self::Protected(resource) => write!(f, "the {resource} is the service's own"),
            Self::TopicGone => f.write_str("the subscription's topic does not exist"),
            Self::StaleIncarnation => f.write_str("the topic was deleted and made again meanwhile"),
            Self::NoAckPending => f.write_str("nothing was pulled since the last acknowledgement"),
            Self::WrongAck => f.write_str("the offset is not inside the pulled window"),
            Self::AckTimeout => f.write_str("the ack deadline has passed"),
            Self::LeaseSuperseded { refused } => write!(f, "{refused} leases were granted again or revoked"),
            Self::WrongAckMode => f.write_str("the subscription's ack mode does not know this command"),
            Self::OffsetOutOfBounds { first, next } => write!(f, "the offset is not within {first} to {next}"),
            Self::NothingAtTime => f.write_str("there is no message at or after this time"),
            Self::NotTheWorker => f.write_str("another worker holds the subscription"),
            Self::Changed => f.write_str("it was changed by somebody else meanwhile"),
            Self::Overloaded(what) => write!(f, "too many {what} wait already; try again later"),
            Self::StoreFull => f.write_str("the store has no room for more"),
            Self::Unavailable(why) => write!(f, "the store is not available: {why}"),
            Self::OutcomeUnknown(why) => write!(f, "the change may or may not have been made: {why}"),
            Self::Damaged(what) => write!(f, "damaged data: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// A failure in one line: what failed, and each of the error's causes that says more. The error itself is left out: those of outbound
/// requests name their URL, which may hold secrets.
pub(crate) fn with_causes(what: &str, error: &dyn std::error::Error) -> String {
    let mut line = what.to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
