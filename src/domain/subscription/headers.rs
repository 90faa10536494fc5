//! Message headers that were loaded for a decision: contiguous spans by offset. Loads nothing itself.

use crate::domain::id::{Offset, Timestamp};
use crate::domain::message::Header;

/// What is known of a span of offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    /// Each header, from the span's first offset on.
    Each(Vec<Header>),
    /// All of `count` messages have expired by this time at the latest: a summary that spares loading them.
    Expired {
        /// How many.
        count: u64,
        /// The latest end among them.
        by: Timestamp,
    },
    /// None of `count` messages is visible before this time: a summary that spares loading them.
    Delayed {
        /// How many.
        count: u64,
        /// The earliest start among them.
        until: Timestamp,
    },
}

impl Span {
    /// How many offsets it covers.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Each(headers) => headers.len() as u64,
            Self::Expired { count, .. } | Self::Delayed { count, .. } => *count,
        }
    }
}

/// Spans sorted by offset, not overlapping, gaps allowed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers {
    spans: Vec<(Offset, Span)>,
}

impl Headers {
    /// Adds a span at an offset; one that overlaps what is there replaces it whole.
    pub fn insert(&mut self, first: Offset, span: Span) {
        let next = first.plus(span.count());
        self.spans.retain(|(at, known)| at.plus(known.count()) <= first || next <= *at);
        let place = self.spans.partition_point(|(at, _)| *at < first);
        self.spans.insert(place, (first, span));
    }

    /// The span that holds an offset, with its first offset. O(log n).
    #[must_use]
    pub fn span(&self, offset: Offset) -> Option<(Offset, &Span)> {
        let place = self.spans.partition_point(|(at, _)| *at <= offset).checked_sub(1)?;
        let (first, span) = self.spans.get(place)?;
        (offset < first.plus(span.count())).then_some((*first, span))
    }

    /// Up to where nothing more is known from `offset` on: the next span, or, within a span, that span's end. O(log n).
    #[must_use]
    pub fn unknown_until(&self, offset: Offset) -> Offset {
        if let Some((first, span)) = self.span(offset) {
            return first.plus(span.count());
        }
        let place = self.spans.partition_point(|(at, _)| *at <= offset);
        self.spans.get(place).map_or(Offset(u64::MAX), |(first, _)| *first)
    }

    /// The header of a message, if it was loaded by itself.
    #[must_use]
    pub fn get(&self, offset: Offset) -> Option<&Header> {
        match self.span(offset)? {
            (first, Span::Each(headers)) => headers.get(usize::try_from(offset.since(first)).ok()?),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_in_its_span_and_nowhere_else() {
        let mut headers = Headers::default();
        headers.insert(Offset(10), Span::Each(vec![Header::plain(1, 1), Header::plain(2, 2)]));
        headers.insert(Offset(5), Span::Expired { count: 2, by: Timestamp(7) });
        assert_eq!(headers.get(Offset(11)).map(|header| header.bytes), Some(2));
        assert_eq!(headers.get(Offset(12)), None);
        assert_eq!(headers.get(Offset(5)), None);
        assert!(headers.span(Offset(6)).is_some());
        assert!(headers.span(Offset(7)).is_none());
        headers.insert(Offset(11), Span::Each(vec![Header::plain(9, 9)]));
        assert_eq!(headers.get(Offset(10)), None, "an overlapped span goes whole");
    }
}
