//! Queues and topics: two collections of one kind. What holds for a queue holds for a topic, under names of its own that no queue has.

use super::caller::is_queue_name;
use crate::broker::queue::{APART, label};
use crate::domain::Name;

/// Where a name belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Collection {
    Queues,
    Topics,
}

impl Collection {
    /// Of a name as it is stored.
    pub(crate) fn of(name: &Name) -> Self {
        if label(name).len() < name.as_str().len() { Self::Topics } else { Self::Queues }
    }

    /// As paths and lists say it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Topics => "topics",
        }
    }

    /// One of it, as texts say it.
    pub(crate) const fn one(self) -> &'static str {
        match self {
            Self::Queues => "Queue",
            Self::Topics => "Topic",
        }
    }

    /// A name as it is stored; none for a text that is no name.
    pub(crate) fn name(self, text: &str) -> Option<Name> {
        if is_queue_name(text) { Name::new(&self.stored(text)).ok() } else { None }
    }

    /// A text as it stands among stored names.
    pub(crate) fn stored(self, text: &str) -> String {
        match self {
            Self::Queues => text.to_owned(),
            Self::Topics => format!("{APART}{text}"),
        }
    }

    /// Whether a stored name is one of this collection.
    pub(crate) fn has(self, name: &Name) -> bool {
        Self::of(name) == self && is_queue_name(label(name))
    }
}

/// The path of a queue or topic.
pub(crate) fn path(name: &Name) -> String {
    format!("/v2/{}/{}", Collection::of(name).word(), label(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_a_name_that_no_queue_has() {
        let (queue, topic) = (Collection::Queues.name("q").unwrap(), Collection::Topics.name("q").unwrap());
        assert_eq!((path(&queue).as_str(), path(&topic).as_str()), ("/v2/queues/q", "/v2/topics/q"));
        assert!(Collection::Queues.has(&queue) && !Collection::Queues.has(&topic) && Collection::Topics.has(&topic));
        assert_eq!((Collection::Queues.name(topic.as_str()), Collection::Topics.name("a b")), (None, None));
    }
}
