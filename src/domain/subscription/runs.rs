//! Runs of offsets as sorted vectors: building lists of them, and a map from runs to values that splits and merges them.
//! Knows nothing of what the values mean.

use super::event::Run;
use crate::domain::id::Offset;
use std::borrow::Cow;

/// Adds a run to a sorted list, merging it with the last when they touch. The run must not begin before the last one ends.
pub(crate) fn push(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.next >= run.first => last.next = last.next.max(run.next),
        _ => runs.push(run),
    }
}

/// Groups sorted offsets into runs.
pub(crate) fn from_offsets(offsets: impl IntoIterator<Item = Offset>) -> Vec<Run> {
    let mut runs = Vec::new();
    for offset in offsets {
        push(&mut runs, Run::one(offset));
    }
    runs
}

/// The same offsets as sorted, non-empty runs that do not overlap or touch. Borrows when they are so already.
pub(crate) fn tidy(runs: &[Run]) -> Cow<'_, [Run]> {
    let sound = runs.iter().all(|run| run.first < run.next)
        && runs.iter().zip(runs.iter().skip(1)).all(|(run, following)| run.next < following.first);
    if sound {
        return Cow::Borrowed(runs);
    }
    let mut sorted: Vec<Run> = runs.iter().copied().filter(|run| run.first < run.next).collect();
    sorted.sort_unstable();
    let mut tidy = Vec::with_capacity(sorted.len());
    for run in sorted {
        push(&mut tidy, run);
    }
    Cow::Owned(tidy)
}

/// Whether sorted runs hold an offset. O(log n).
pub(crate) fn contains(runs: &[Run], offset: Offset) -> bool {
    let place = runs.partition_point(|run| run.next <= offset);
    runs.get(place).is_some_and(|run| run.contains(offset))
}

/// Values of offsets, kept by runs: sorted, not empty, not overlapping; neighbours of equal value are one run, so that equal
/// contents have one form. Finding is O(log n); a change costs its stretch of the map and one move of what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RunMap<V> {
    entries: Vec<(Run, V)>,
    covered: u64,
}

impl<V> Default for RunMap<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), covered: 0 }
    }
}

impl<V: Copy + PartialEq> RunMap<V> {
    /// Takes entries as they are; `None` when they are not in the map's one form.
    pub(crate) fn restore(entries: Vec<(Run, V)>) -> Option<Self> {
        let apart = |(run, value): &(Run, V), (following, other): &(Run, V)| {
            run.next < following.first || (run.next == following.first && value != other)
        };
        let sound = entries.iter().all(|(run, _)| run.first < run.next)
            && entries.iter().zip(entries.iter().skip(1)).all(|(entry, following)| apart(entry, following));
        let covered = entries.iter().map(|(run, _)| run.count()).sum();
        sound.then_some(Self { entries, covered })
    }

    /// The runs with their values, in order.
    pub(crate) fn entries(&self) -> &[(Run, V)] {
        &self.entries
    }

    /// How many offsets have a value.
    pub(crate) const fn covered(&self) -> u64 {
        self.covered
    }

    /// The run that holds an offset, with its value.
    pub(crate) fn get(&self, offset: Offset) -> Option<(Run, V)> {
        self.from(offset).next().filter(|(run, _)| run.contains(offset)).copied()
    }

    /// The runs that end behind an offset, with their values, in order.
    pub(crate) fn from(&self, offset: Offset) -> impl Iterator<Item = &(Run, V)> {
        let place = self.entries.partition_point(|(run, _)| run.next <= offset);
        self.entries.iter().skip(place)
    }

    /// What lies within a run, cut to it, in order.
    pub(crate) fn within(&self, within: Run) -> impl Iterator<Item = (Run, V)> {
        self.from(within.first).take_while(move |(run, _)| run.first < within.next).map(move |(run, value)| {
            (Run { first: run.first.max(within.first), next: run.next.min(within.next) }, *value)
        })
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.covered = 0;
    }

    /// Gives all offsets of `runs` (in any order) new values: `change` is called once for each stretch that has one value or
    /// none until now, in order, and says which it has from now on.
    pub(crate) fn change(&mut self, runs: &[Run], mut change: impl FnMut(Run, Option<V>) -> Option<V>) {
        let runs = tidy(runs);
        let (Some(head), Some(tail)) = (runs.first(), runs.last()) else { return };
        let low = self.entries.partition_point(|(run, _)| run.next < head.first);
        let high = self.entries.partition_point(|(run, _)| run.first <= tail.next);
        let touched = self.entries.get(low..high).unwrap_or_default();
        let before: u64 = touched.iter().map(|(run, _)| run.count()).sum();
        let mut pieces = Pieces { rest: touched, current: None };
        let mut changed = Vec::with_capacity(touched.len() + 2);
        for run in runs.iter() {
            while let Some((piece, value)) = pieces.next_below(run.first) {
                put(&mut changed, piece, Some(value));
            }
            let mut at = run.first;
            while let Some((piece, value)) = pieces.next_below(run.next) {
                let gap = Run { first: at, next: piece.first };
                if gap.count() > 0 {
                    put(&mut changed, gap, change(gap, None));
                }
                put(&mut changed, piece, change(piece, Some(value)));
                at = piece.next;
            }
            let gap = Run { first: at, next: run.next };
            if gap.count() > 0 {
                put(&mut changed, gap, change(gap, None));
            }
        }
        while let Some((piece, value)) = pieces.next_below(Offset(u64::MAX)) {
            put(&mut changed, piece, Some(value));
        }
        let after: u64 = changed.iter().map(|(run, _)| run.count()).sum();
        self.covered = self.covered.saturating_sub(before).saturating_add(after);
        self.entries.splice(low..high, changed);
    }

    /// Takes the values of all offsets of `runs`.
    pub(crate) fn remove(&mut self, runs: &[Run]) {
        self.change(runs, |_, _| None);
    }
}

fn put<V: PartialEq>(entries: &mut Vec<(Run, V)>, run: Run, value: Option<V>) {
    let Some(value) = value else { return };
    match entries.last_mut() {
        Some((last, same)) if last.next == run.first && *same == value => last.next = run.next,
        _ => entries.push((run, value)),
    }
}

/// Entries handed out in pieces.
struct Pieces<'a, V> {
    rest: &'a [(Run, V)],
    current: Option<(Run, V)>,
}

impl<V: Copy> Pieces<'_, V> {
    /// The next piece that begins below a limit, cut there; what is cut off comes later.
    fn next_below(&mut self, limit: Offset) -> Option<(Run, V)> {
        if self.current.is_none()
            && let Some((entry, rest)) = self.rest.split_first()
        {
            self.current = Some(*entry);
            self.rest = rest;
        }
        let (run, value) = self.current.filter(|(run, _)| run.first < limit)?;
        let next = run.next.min(limit);
        self.current = (next < run.next).then_some((Run { first: next, next: run.next }, value));
        Some((Run { first: run.first, next }, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn run(first: u64, next: u64) -> Run {
        Run { first: Offset(first), next: Offset(next) }
    }

    #[test]
    fn runs_in_any_order_are_tidied() {
        let messy = [run(5, 7), run(1, 3), run(3, 4), run(9, 9), run(6, 8), run(20, 10)];
        assert_eq!(*tidy(&messy), [run(1, 4), run(5, 8)]);
        assert!(matches!(tidy(&[run(1, 4), run(5, 8)]), Cow::Borrowed(_)));
    }

    #[test]
    fn only_the_one_form_is_restored() {
        assert!(RunMap::restore(vec![(run(1, 2), 1), (run(2, 3), 2)]).is_some());
        for wrong in [vec![(run(1, 1), 1)], vec![(run(1, 2), 1), (run(2, 3), 1)], vec![(run(1, 3), 1), (run(2, 4), 2)]]
        {
            assert_eq!(RunMap::restore(wrong), None);
        }
    }

    proptest! {
        #![proptest_config(crate::domain::subscription::testing::cases(300))]

        #[test]
        fn a_run_map_agrees_with_a_plain_map(
            changes in prop::collection::vec(
                (prop::collection::vec((0..40_u64, 0..9_u64), 0..4), prop::option::of(0..3_u8)), 0..30),
        ) {
            let mut map = RunMap::default();
            let mut plain: BTreeMap<u64, u8> = BTreeMap::new();
            for (spans, value) in changes {
                let runs: Vec<Run> = spans.iter().map(|(first, count)| run(*first, first + count)).collect();
                let mut seen = Vec::new();
                map.change(&runs, |piece, old| {
                    seen.extend((piece.first.0..piece.next.0).map(|offset| (offset, old)));
                    value
                });
                let touched: std::collections::BTreeSet<u64> = runs.iter().flat_map(|r| r.first.0..r.next.0).collect();
                prop_assert_eq!(seen, touched.iter().map(|o| (*o, plain.get(o).copied())).collect::<Vec<_>>());
                for offset in touched {
                    match value {
                        Some(value) => plain.insert(offset, value),
                        None => plain.remove(&offset),
                    };
                }
                for offset in 0..50 {
                    prop_assert_eq!(map.get(Offset(offset)).map(|(_, v)| v), plain.get(&offset).copied());
                }
                prop_assert_eq!(map.covered(), plain.len() as u64);
                prop_assert_eq!(RunMap::restore(map.entries().to_vec()), Some(map.clone()));
            }
        }
    }
}
