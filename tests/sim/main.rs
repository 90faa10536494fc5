//! The deterministic simulation: whole runs of several brokers over one failing store, from a seed alone, under an auditor that
//! judges every durable change and every answer.
//!
//! A failing seed prints the command that repeats it. `ANGELIA_SIM_SEED=N` runs one seed (and writes its whole trace to the file named
//! in `ANGELIA_SIM_TRACE`), `ANGELIA_SIM_SEEDS=N` so many; `ANGELIA_SIM_TWICE=N` compares so many with themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic, and tells what it found on standard output"
)]

mod actors;
mod audit;
mod dice;
mod histories;
#[cfg(feature = "planted")]
mod planted;
mod run;
mod shape;
mod store;
mod trace;
mod world;

use run::{Report, run};

/// Seeds of every test run, in so many tests that run side by side.
const SEEDS: u64 = 200;
const TESTS: u64 = 4;
/// Lines of a failing run's trace that are printed.
const TAIL: usize = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Fails with everything that is needed to go on from here.
fn judge(seed: u64, report: &Report) {
    assert!(report.judged > 50, "seed {seed} judged next to nothing: {}", report.judged);
    if let Some(violation) = &report.violation {
        let tail = report.trace.len().saturating_sub(TAIL);
        println!("{}", report.trace[tail..].join("\n"));
        panic!("seed {seed}: {violation}\nrepeat it: cargo xtask sim --seed {seed}");
    }
}

/// The seeds of one of the tests.
fn seeds(test: u64) {
    if let Some(seed) = number("ANGELIA_SIM_SEED") {
        if test == 0 {
            let report = run(seed);
            if let Ok(path) = std::env::var("ANGELIA_SIM_TRACE") {
                std::fs::write(path, report.trace.join("\n")).unwrap();
            }
            judge(seed, &report);
        }
        return;
    }
    for seed in (test..number("ANGELIA_SIM_SEEDS").unwrap_or(SEEDS)).step_by(TESTS as usize) {
        judge(seed, &run(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..number("ANGELIA_SIM_TWICE").unwrap_or(6) {
        let first = run(seed).trace;
        let second = std::thread::spawn(move || run(seed).trace).join().unwrap();
        let differ = first.iter().zip(&second).position(|(first, second)| first != second);
        let at = differ.unwrap_or(first.len().min(second.len()));
        assert!(
            first == second,
            "seed {seed} parts ways at line {at} of {}:\n{}\n{:?}\n{:?}",
            first.len(),
            first[at.saturating_sub(5)..at].join("\n"),
            first.get(at),
            second.get(at)
        );
    }
}

#[test]
fn every_promise_holds_for_the_first_seeds() {
    seeds(0);
}

#[test]
fn every_promise_holds_for_the_second_seeds() {
    seeds(1);
}

#[test]
fn every_promise_holds_for_the_third_seeds() {
    seeds(2);
}

#[test]
fn every_promise_holds_for_the_fourth_seeds() {
    seeds(3);
}
