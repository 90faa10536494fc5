//! Developer commands: `cargo xtask ci`, `cargo xtask test`, `cargo xtask long`, `cargo xtask sim`,
//! `cargo xtask bench`, `cargo xtask figures`, `cargo xtask republisher`.
//!
//! Owns the order of the steps and what is printed. Never holds a test itself: rules are in [`rules`], tests are cargo's and the
//! Python suites beside this crate.
#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]
#![allow(
    clippy::disallowed_methods,
    reason = "a developer command measures real time; the product's clock is not its own"
)]

mod cassandra;
mod ci;
mod cluster;
mod figures;
mod fuzz;
mod newman;
mod process;
mod project;
mod python;
mod rules;
mod sim;
mod suites;

use project::Project;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  ci         format, clippy and docs without a warning, then the house rules; runs no tests
  rules      the house rules alone
  test       sets up what the tests need and runs all of them; the last line is `N passed, N failed`
             test NAME…   only the parts whose name contains one of NAME
  long       the campaigns that a change cannot wait for
             long [--rounds N] [--seed N] [NAME…]
  bench      builds release and measures every row in three interleaved rounds, beside what HTTP and the disk alone do
             bench [--peer nats] [--dialect ams|zaqar] [--json] [--quick] [--rounds N] [--seconds N] [ROW…]
             bench curves [--json] [--quick] [--rounds N] [--seconds N] [CURVE…]
             tests/bench/README.md has the figures
  crash      kills the service at any instant, a thousand times; checks everything that clients saw
             crash [--rounds N] [--seed N]
  powercut   cuts the power under the service (an ext4 in a loop device; needs root), a hundred times
             powercut [--cuts N] [--seed N]
  sim        campaigns of the simulation
             sim [--seeds N] [--seed N] [--planted]
  cassandra  a throw-away Cassandra (needs Java 17 or 11; its jars are fetched once): runs the cluster's tests, or waits to be used
             cassandra test | cassandra run [1|3]
  cluster    the proof of the cluster: three Cassandra processes, three nodes, haproxy; kills, freezes, clocks that differ
             cluster [--minutes N] [--seed N] [NAME…]
  figures    one round of it, and the size of the source
             figures [--json] [--quick] [ROW…]
  republisher  builds release and measures how fast the republisher moves messages
             republisher [--messages N] [--bytes N] [--rounds N] [ROW…]
  fuzz       runs the fuzz targets one after the other (needs cargo-fuzz); --keep takes what they found into tests/corpus
             fuzz [--seconds N] [--keep] [TARGET…]
";

/// What a command ends with: what to tell, if anything.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match Project::find().and_then(|project| run(&project, &command, &rest)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(project: &Project, command: &str, rest: &[String]) -> Outcome {
    match command {
        "ci" => ci::run(project),
        "rules" => rules::check(project),
        "test" => suites::test(project, rest),
        "long" => suites::long(project, rest),
        "bench" => figures::bench(project, rest),
        "crash" => suites::campaign(project, "crash", "1000", rest),
        "powercut" => suites::campaign(project, "power_cut", "100", rest),
        "sim" => sim::run(project, rest),
        "cassandra" => cassandra::run(project, rest),
        "cluster" => cluster::run(project, rest),
        "figures" => figures::run(project, rest),
        "republisher" => figures::republisher(project, rest),
        "fuzz" => fuzz::run(project, rest),
        _ => Err(HELP.to_owned()),
    }
}
