//! Shows that the simulation catches what it is there for: each planted bug, within a bounded number of seeds.

use crate::run::run;
use angelia::domain::planted::{Bug, choose};

/// The most seeds that a bug may go unnoticed.
const SEEDS_MAX: u64 = 60;

fn caught(bug: Bug) {
    choose(Some(bug));
    let found = (0..SEEDS_MAX).find_map(|seed| run(seed).violation.map(|violation| (seed, violation)));
    choose(None);
    let Some((seed, violation)) = found else { panic!("{bug:?} went unnoticed for {SEEDS_MAX} seeds") };
    println!("{bug:?} is caught by seed {seed}: {violation:.300}");
}

#[test]
fn an_answer_before_the_stores_own_is_caught() {
    caught(Bug::AcknowledgeEarly);
}

#[test]
fn a_fence_that_is_not_checked_is_caught() {
    caught(Bug::SkipFence);
}

#[test]
fn a_range_lost_in_a_merge_is_caught() {
    caught(Bug::LoseRange);
}

#[test]
fn events_applied_twice_after_an_unknown_outcome_are_caught() {
    caught(Bug::ApplyTwice);
}

#[test]
fn a_forgotten_floor_is_caught() {
    caught(Bug::ForgetTrimmedFloor);
}
