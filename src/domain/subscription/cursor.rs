//! What is acknowledged: a floor, everything below which is, and sorted runs above it. Knows neither leases nor why.

use super::event::Run;
use super::runs::{self, RunMap};
use crate::domain::id::Offset;

/// The acknowledged offsets. The offset at the floor is never acknowledged: the floor rises over runs that reach it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    floor: Offset,
    above: RunMap<()>,
}

impl Cursor {
    /// Takes a floor and runs as they are; `None` when the runs are not sorted, touch each other, or do not lie above the floor.
    pub(crate) fn restore(floor: Offset, above: Vec<Run>) -> Option<Self> {
        let above = RunMap::restore(above.into_iter().map(|run| (run, ())).collect())?;
        let sound = above.entries().first().is_none_or(|(run, ())| run.first > floor);
        sound.then_some(Self { floor, above })
    }

    /// Everything below is acknowledged; this offset is not.
    pub(crate) const fn floor(&self) -> Offset {
        self.floor
    }

    /// The acknowledged runs above the floor, in order.
    pub(crate) fn above(&self) -> impl ExactSizeIterator<Item = Run> + DoubleEndedIterator {
        self.above.entries().iter().map(|(run, ())| *run)
    }

    /// Those of them that end behind an offset.
    pub(crate) fn above_from(&self, offset: Offset) -> impl Iterator<Item = Run> {
        self.above.from(offset).map(|(run, ())| *run)
    }

    /// Whether an offset is acknowledged. O(log n).
    pub(crate) fn acknowledged(&self, offset: Offset) -> bool {
        offset < self.floor || self.above.get(offset).is_some()
    }

    /// How many offsets below `next` are not acknowledged. O(1) when nothing at or above it is acknowledged.
    pub(crate) fn unacknowledged(&self, next: Offset) -> u64 {
        let beyond = Run { first: next.max(self.floor), next: Offset(u64::MAX) };
        let counted_too_much: u64 = self.above.within(beyond).map(|(run, ())| run.count()).sum();
        next.since(self.floor).saturating_sub(self.above.covered().saturating_sub(counted_too_much))
    }

    /// Those of the offsets that are not acknowledged.
    pub(crate) fn open(&self, wanted: &[Run]) -> Vec<Run> {
        let mut open = Vec::with_capacity(wanted.len());
        for run in runs::tidy(wanted).iter() {
            let mut at = run.first.max(self.floor);
            for (done, ()) in self.above.within(Run { first: at, next: run.next.max(at) }) {
                if at < done.first {
                    runs::push(&mut open, Run { first: at, next: done.first });
                }
                at = done.next;
            }
            if at < run.next {
                runs::push(&mut open, Run { first: at, next: run.next });
            }
        }
        open
    }

    /// Acknowledges runs.
    pub(crate) fn acknowledge(&mut self, done: &[Run]) {
        #[cfg(feature = "planted")]
        let before = self.above.entries().len();
        self.above.change(done, |_, _| Some(()));
        self.advance(self.floor);
        #[cfg(feature = "planted")]
        if crate::domain::planted::is(crate::domain::planted::Bug::LoseRange)
            && self.above.entries().len() <= before
            && let Some((last, ())) = self.above.entries().last().copied()
        {
            self.above.remove(&[last]);
        }
    }

    /// Acknowledges everything below an offset; without effect when the floor is higher.
    pub(crate) fn advance(&mut self, floor: Offset) {
        self.floor = self.floor.max(floor);
        if let Some(reached) = self.above.get(self.floor) {
            self.floor = reached.0.next;
        }
        self.above.remove(&[Run { first: Offset(0), next: self.floor }]);
    }

    /// Forgets all acknowledgements but those below a new floor.
    pub(crate) fn reset(&mut self, floor: Offset) {
        self.floor = floor;
        self.above.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, next: u64) -> Run {
        Run { first: Offset(first), next: Offset(next) }
    }

    #[test]
    fn the_floor_rises_over_runs_that_reach_it() {
        let mut cursor = Cursor::default();
        cursor.acknowledge(&[run(2, 3), run(5, 7)]);
        assert_eq!((cursor.floor(), cursor.unacknowledged(Offset(10))), (Offset(0), 7));
        cursor.acknowledge(&[run(0, 2)]);
        assert_eq!((cursor.floor(), cursor.unacknowledged(Offset(10))), (Offset(3), 5));
        cursor.advance(Offset(5));
        assert_eq!((cursor.floor(), cursor.above().len()), (Offset(7), 0));
    }

    #[test]
    fn open_offsets_are_those_between_acknowledged_runs() {
        let mut cursor = Cursor::default();
        cursor.advance(Offset(2));
        cursor.acknowledge(&[run(4, 5), run(8, 10)]);
        assert_eq!(cursor.open(&[run(0, 9), run(10, 11)]), [run(2, 4), run(5, 8), run(10, 11)]);
        assert!(cursor.open(&[run(0, 2), run(8, 9)]).is_empty());
        assert!(cursor.above_from(Offset(5)).eq([run(8, 10)]));
    }

    #[test]
    fn a_run_that_touches_the_floor_is_not_restored() {
        assert!(Cursor::restore(Offset(3), vec![run(4, 5)]).is_some());
        assert_eq!(Cursor::restore(Offset(3), vec![run(3, 5)]), None);
    }
}
