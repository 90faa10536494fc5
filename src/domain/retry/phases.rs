//! When one message that was not taken is tried again: four phases, one after the other, until it is taken or none is left. The numbers
//! and the four functions are OpenStack Zaqar's.

use std::time::Duration;

/// The step of the back-off, in seconds.
const STEP: u64 = 5;
/// Longest pause that is meant, in seconds: about three years.
const SECONDS_MAX: u64 = 100_000_000;

/// The retries of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phases {
    /// First, so many at once.
    pub at_once: u64,
    /// Then so many, each after the least pause.
    pub least_retries: u64,
    /// The least pause, in seconds.
    pub least: u64,
    /// Then some whose pauses grow by this function, from the least to the longest.
    pub function: BackOff,
    /// The longest pause, in seconds.
    pub most: u64,
    /// At last so many, each after the longest pause.
    pub most_retries: u64,
}

/// How pauses grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BackOff {
    /// By the same step, up to below the longest.
    #[default]
    Linear,
    /// By steps that grow evenly.
    Arithmetic,
    /// By the same factor, from the least to the longest.
    Geometric,
    /// By the same factor, computed from one step before the least.
    Exponential,
}

impl Default for Phases {
    fn default() -> Self {
        Self { at_once: 3, least_retries: 3, least: 5, function: BackOff::Linear, most: 30, most_retries: 3 }
    }
}

impl Phases {
    /// The pause before a retry, counted from 1; none when there is none so late. O(1).
    #[must_use]
    pub fn pause(&self, retry: u64) -> Option<Duration> {
        let (least, most) = (self.least.min(SECONDS_MAX), self.most.min(SECONDS_MAX));
        let late = retry.checked_sub(1)?;
        let Some(late) = late.checked_sub(self.at_once) else { return Some(Duration::ZERO) };
        let seconds = match late.checked_sub(self.least_retries) {
            None => least,
            Some(late) => match late.checked_sub(self.function.count(least, most)) {
                None => self.function.pause(least, most, late + 1),
                Some(late) if late < self.most_retries => most,
                Some(_) => return None,
            },
        };
        Some(Duration::from_secs(seconds))
    }
}

impl BackOff {
    /// How many pauses there are between these two.
    fn count(self, least: u64, most: u64) -> u64 {
        let between = most.saturating_sub(least);
        match self {
            Self::Linear => between.div_ceil(STEP),
            Self::Arithmetic | Self::Geometric | Self::Exponential => between / STEP,
        }
    }

    /// The pause of this number, from 1 to the count.
    fn pause(self, least: u64, most: u64, number: u64) -> u64 {
        let count = self.count(least, most);
        let before = number.saturating_sub(1);
        match self {
            Self::Linear => least.saturating_add(STEP.saturating_mul(before)),
            Self::Arithmetic => {
                let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
                let part = u128::from(most.saturating_sub(least)) * product(number, before);
                let grown = part.checked_div(product(count, count.saturating_sub(1))).unwrap_or_default();
                least.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX))
            }
            // A factor from nothing is none.
            Self::Geometric => grown(least.max(1), most, count, |start, factor| start * factor.powf(float(before))),
            Self::Exponential => {
                grown(least.max(1), most, count, |start, factor| start / factor * factor.powf(float(number)))
            }
        }
    }
}

/// What a factor makes of the least pause, whose `count` powers lead to the longest; computed as the original does, so that it is cut to
/// the same whole second.
fn grown(least: u64, most: u64, count: u64, apply: impl Fn(f64, f64) -> f64) -> u64 {
    let (start, end) = (float(least), float(most));
    let factor = 10_f64.powf((end / start).log10() / float(count.saturating_sub(1).max(1)));
    whole(apply(start, factor).clamp(start, end))
}

#[expect(clippy::cast_precision_loss, reason = "seconds here are below a thousand million")]
const fn float(seconds: u64) -> f64 {
    seconds as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within two whole positive bounds")]
const fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(phases: Phases) -> Vec<u64> {
        (1..1_000).map_while(|retry| phases.pause(retry)).map(|pause| pause.as_secs()).collect()
    }

    fn only(function: BackOff, least: u64, most: u64) -> Vec<u64> {
        all(Phases { at_once: 0, least_retries: 0, least, function, most, most_retries: 0 })
    }

    #[test]
    fn the_default_is_fourteen_retries_in_four_phases() {
        assert_eq!(all(Phases::default()), [0, 0, 0, 5, 5, 5, 5, 10, 15, 20, 25, 30, 30, 30]);
        assert_eq!(Phases::default().pause(0), None);
    }

    #[test]
    fn the_functions_are_the_originals_to_the_second() {
        use BackOff::{Arithmetic, Exponential, Geometric, Linear};
        assert_eq!(only(Exponential, 10, 60), [10, 12, 14, 18, 22, 27, 33, 40, 49, 60]);
        assert_eq!(only(Geometric, 20, 80), [20, 22, 25, 29, 33, 37, 42, 48, 54, 62, 70, 80]);
        assert_eq!(only(Arithmetic, 30, 100), [30, 30, 32, 34, 37, 41, 46, 51, 57, 64, 72, 80, 90, 100]);
        assert_eq!(only(Linear, 5, 30), [5, 10, 15, 20, 25]);
        assert_eq!(only(Linear, 5, 31), [5, 10, 15, 20, 25, 30]);
        assert_eq!(only(Arithmetic, 5, 30), [5, 7, 12, 20, 30]);
        assert_eq!(only(Geometric, 5, 30), [5, 7, 12, 19, 30]);
    }

    #[test]
    fn a_least_pause_of_nothing_and_bounds_without_sense_divide_by_nothing() {
        for function in [BackOff::Linear, BackOff::Arithmetic, BackOff::Geometric, BackOff::Exponential] {
            for (least, most) in [(0, 30), (5, 5), (5, 9), (30, 5), (0, u64::MAX), (u64::MAX, u64::MAX)] {
                let phases = Phases { least, function, most, ..Phases::default() };
                for retry in [0, 1, 4, 7, 8, 12, 13, 1 << 20, u64::MAX] {
                    let pause = phases.pause(retry).unwrap_or_default().as_secs();
                    assert!(pause <= SECONDS_MAX, "{function:?} {least} {most} {retry}: {pause}");
                }
            }
        }
        assert_eq!(only(BackOff::Geometric, 0, 10), [1, 10]);
    }
}
