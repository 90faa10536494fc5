//! `cargo xtask sim`: campaigns of the simulation, the replay of one seed, and the proof that it catches planted bugs.

use crate::process::{cargo, run_shown};
use crate::project::Project;
use std::process::Command;

const USAGE: &str = "cargo xtask sim [--seeds N] [--seed N] [--planted]";
/// Seeds of a campaign that names no number.
const SEEDS: &str = "1000";

/// Runs so many seeds; or one, whose trace ends up beside the build; or the planted bugs.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => campaign(project, SEEDS),
        ["--seeds", seeds] => campaign(project, number(seeds)?),
        ["--seed", seed] => replay(project, number(seed)?),
        ["--planted"] => run_shown(planted(project).arg("--nocapture")),
        _ => Err(USAGE.to_owned()),
    }
}

fn number(word: &str) -> Result<&str, String> {
    word.parse::<u64>().map(|_| word).map_err(|_| format!("`{word}` is no number of seeds\n{USAGE}"))
}

fn campaign(project: &Project, seeds: &str) -> Result<(), String> {
    let mut command = tests(project);
    command.args(["--", "promise"]).env("ANGELIA_SIM_SEEDS", seeds);
    run_shown(&mut command)
}

fn replay(project: &Project, seed: &str) -> Result<(), String> {
    let trace = project.target.join(format!("sim-{seed}.trace"));
    let mut command = tests(project);
    command.args(["--", "every_promise_holds_for_the_first_seeds", "--nocapture"]);
    command.env("ANGELIA_SIM_SEED", seed).env("ANGELIA_SIM_TRACE", &trace);
    let ended = run_shown(&mut command);
    println!("the whole trace is in {}", trace.display());
    ended
}

/// The tests that each planted bug is caught.
pub(crate) fn planted(project: &Project) -> Command {
    let mut command = tests(project);
    command.args(["--features", "planted", "--", "planted"]);
    command
}

fn tests(project: &Project) -> Command {
    let mut command = cargo(&project.root);
    command.args(["test", "--package", "sim"]);
    command
}
