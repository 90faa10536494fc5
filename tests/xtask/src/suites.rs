//! `cargo xtask test` and the long campaigns: builds once, runs every part, counts, and prints what each took.

use crate::process::{Ended, cargo, run_logged};
use crate::project::Project;
use crate::python::Python;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many Python suites run beside cargo's tests: they wait more than they compute.
const LANES: usize = 2;

/// The longest that any part may take before it is stopped and counts as failed.
const LIMIT: Duration = Duration::from_secs(1_200);
const LONG_LIMIT: Duration = Duration::from_secs(4 * 3_600);

/// The Python suites, the slowest first so that the lanes end together.
const SUITES: &[&str] = &[
    "tempest",
    "main_job",
    "crash",
    "republisher",
    "competing_consumers",
    "damage",
    "power_cut",
    "failing_disk",
    "full_disk",
    "hostile_clients",
    "openapi",
    "clock_jump",
    "push_crash",
    "push",
    "library",
    "schemas",
    "x509",
    "deploy",
    "checklist",
    "bad_input",
    "zaqar_keystone",
    "cross_dialect",
    "examples",
    "zaqar_socket",
    "zaqar_notifications",
    "zaqar_client",
    "zaqar_wire",
    "tools",
    "routes",
    "newman",
    "retries",
    "accounting",
    "harness",
];

/// Builds what the suites drive.
const BINARIES: &[&str] =
    &["build", "--package", "angelia", "--package", "republisher", "--bin", "angelia", "--bin", "republisher"];

/// How a suite begins a line about its run.
const TOLD: &str = "     ";

/// The suites with a longer form, and what `--rounds` multiplies.
const CAMPAIGNS: &[&str] = &["main_job", "competing_consumers", "damage"];

/// What is run.
#[derive(Debug)]
struct Part {
    name: String,
    command: Command,
    /// Reads the counts from what it printed; none for a part that holds no tests.
    count: Option<fn(&str) -> Counts>,
}

/// What came out.
#[derive(Debug)]
struct Report {
    name: String,
    counts: Counts,
    took: Duration,
    /// To print when something failed.
    log: Option<String>,
    skipped: Vec<String>,
    /// What it said of its run.
    told: Vec<String>,
}

/// Tests that passed and failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

/// Builds and runs everything, or the parts that are named.
pub(crate) fn test(project: &Project, names: &[String]) -> Result<(), String> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| name.contains(wanted.as_str()));
    let suites: Vec<&str> = SUITES.iter().copied().filter(|suite| wanted(suite)).collect();
    let rust = wanted("cargo test") || wanted("cassandra") || wanted("cluster");
    let mut reports = prepare(project, rust, &suites);
    if reports.iter().all(|report| report.counts.failed == 0) {
        let python = Python::ready(project);
        let mut parts: VecDeque<Part> = VecDeque::new();
        if let Ok(python) = &python {
            parts.extend(suites.iter().map(|suite| outside(project, python, suite, &[])));
        }
        let cargo_test = ("cargo test", cargo_test(project));
        let planted = ("planted bugs", crate::sim::planted(project));
        let cassandra = ("cassandra", crate::cassandra::tests()?);
        let cluster = ("cluster", crate::cluster::tests()?);
        let rust = [cargo_test, planted, cassandra, cluster].into_iter().filter(|(name, _)| wanted(name));
        let rust = rust.map(|(name, command)| Part { name: name.to_owned(), command, count: Some(count_all) });
        let rust = rust.collect();
        reports.extend(run_all(project, rust, parts, LIMIT));
    }
    finish(project, &reports)
}

/// Runs the campaigns with more rounds.
pub(crate) fn long(project: &Project, arguments: &[String]) -> Result<(), String> {
    let (passed_on, names) = campaign_arguments("10", arguments)?;
    let chosen = CAMPAIGNS.iter().copied();
    let chosen = chosen.filter(|suite| names.is_empty() || names.iter().any(|name| suite.contains(name.as_str())));
    run_campaigns(project, &chosen.collect::<Vec<_>>(), &passed_on)
}

/// Runs one campaign of its own command, and shows what it tells.
pub(crate) fn campaign(project: &Project, suite: &str, rounds: &str, arguments: &[String]) -> Result<(), String> {
    let (passed_on, names) = campaign_arguments(rounds, arguments)?;
    match names.first() {
        Some(word) => Err(format!("`{word}` is not understood; `cargo xtask` tells what is")),
        None => run_campaigns(project, &[suite], &passed_on),
    }
}

/// What is passed on to a suite, and the words that are none of it.
fn campaign_arguments(rounds: &str, arguments: &[String]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut rounds, mut seed, mut names) = (rounds.to_owned(), Vec::new(), Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--rounds" | "--cuts" => rounds = value()?,
            "--seed" => seed = vec![word.clone(), value()?],
            name => names.push(name.to_owned()),
        }
    }
    seed.extend(["--rounds".to_owned(), rounds]);
    Ok((seed, names))
}

fn run_campaigns(project: &Project, suites: &[&str], arguments: &[String]) -> Result<(), String> {
    let mut reports = prepare(project, false, suites);
    if reports.iter().all(|report| report.counts.failed == 0) {
        let python = Python::ready(project)?;
        let parts = suites.iter().map(|suite| outside(project, &python, suite, arguments)).collect();
        let done = run_all(project, Vec::new(), parts, LONG_LIMIT);
        for line in done.iter().flat_map(|report| &report.told) {
            println!("{line}");
        }
        reports.extend(done);
    }
    finish(project, &reports)
}

/// The builds, and the environment of these suites beside them; a failure is a report of its own.
fn prepare(project: &Project, rust: bool, suites: &[&str]) -> Vec<Report> {
    let outside = !suites.is_empty();
    drop(std::fs::remove_dir_all(work_folder(project)));
    let mut build = cargo(&project.root);
    if rust {
        build.args(["test", "--workspace", "--no-run"]);
    } else {
        build.args(BINARIES);
    }
    std::thread::scope(|scope| {
        let python = outside.then(|| {
            scope.spawn(|| {
                let begun = std::time::Instant::now();
                let python = Python::ready(project).map(drop);
                let newman = || if suites.contains(&"newman") { crate::newman::ready(project) } else { Ok(()) };
                let log = python.and_then(|()| newman()).err();
                let counts = Counts { passed: 0, failed: usize::from(log.is_some()) };
                Report {
                    name: "environment".to_owned(),
                    counts,
                    took: begun.elapsed(),
                    log,
                    skipped: Vec::new(),
                    told: Vec::new(),
                }
            })
        });
        let mut reports = vec![run_one(project, Part { name: "build".to_owned(), command: build, count: None }, LIMIT)];
        if rust && outside {
            let mut binary = cargo(&project.root);
            binary.args(BINARIES);
            reports.push(run_one(
                project,
                Part { name: "build binary".to_owned(), command: binary, count: None },
                LIMIT,
            ));
        }
        reports.extend(python.and_then(|thread| thread.join().ok()));
        reports
    })
}

fn cargo_test(project: &Project) -> Command {
    let mut command = cargo(&project.root);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command
}

fn outside(project: &Project, python: &Python, suite: &str, arguments: &[String]) -> Part {
    let mut command = python.command();
    command.current_dir(&project.root).arg("tests/ams/run.py").arg(suite).args(arguments);
    command.env("ANGELIA_BINARY", project.binary("debug", "angelia")).env("ANGELIA_WORK", work_folder(project));
    command.env("ANGELIA_NEWMAN", crate::newman::program(project));
    command.env("REPUBLISHER_BINARY", project.binary("debug", "republisher"));
    Part { name: suite.to_owned(), command, count: Some(count_suite) }
}

/// Where the suites keep data folders and logs; emptied at the beginning and at a good end.
fn work_folder(project: &Project) -> PathBuf {
    project.target.join("outside")
}

/// Cargo's tests on this thread, the suites on their lanes.
fn run_all(project: &Project, rust: Vec<Part>, parts: VecDeque<Part>, limit: Duration) -> Vec<Report> {
    let waiting = Mutex::new(parts);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some(part) = take(&waiting) {
            let report = run_one(project, part, limit);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(work);
        }
        for part in rust {
            let report = run_one(project, part, limit);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn take(waiting: &Mutex<VecDeque<Part>>) -> Option<Part> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn run_one(project: &Project, mut part: Part, limit: Duration) -> Report {
    println!("… {}", part.name);
    let log = work_folder(project).join(format!("{}.log", part.name.replace(' ', "-")));
    match run_logged(&mut part.command, &log, limit) {
        Ok(ended) => report(part.name, part.count, &ended),
        Err(message) => {
            let counts = Counts { passed: 0, failed: 1 };
            Report {
                name: part.name,
                counts,
                took: Duration::ZERO,
                log: Some(message),
                skipped: Vec::new(),
                told: Vec::new(),
            }
        }
    }
}

fn report(name: String, count: Option<fn(&str) -> Counts>, ended: &Ended) -> Report {
    let mut counts = count.map_or_else(Counts::default, |count| count(&ended.output));
    let lines = |start| ended.output.lines().filter(move |line| line.starts_with(start)).map(str::to_owned);
    let skipped: Vec<String> = lines("SKIP ").collect();
    let told = lines(TOLD).collect();
    // A part that ended badly, or should have counted and did not, has failed whatever it printed.
    let silent = count.is_some() && counts == Counts::default() && skipped.is_empty();
    if counts.failed == 0 && (!ended.success || silent) {
        counts.failed = 1;
    }
    println!(
        "{} {name}: {} passed, {} failed",
        if counts.failed == 0 { "ok" } else { "FAIL" },
        counts.passed,
        counts.failed
    );
    let log = (counts.failed > 0).then(|| format!("{}\n{}", excerpt(&ended.output), ended.why));
    Report { name, counts, took: ended.took, log, skipped, told }
}

/// What to show of a failed part: its end, from the first failure on where that can be told.
fn excerpt(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let quiet = |line: &&&str| {
        !line.ends_with("... ok") && !line.trim_start().starts_with("Compiling") && !line.starts_with("ok   ")
    };
    let shown: Vec<&str> = lines.iter().filter(quiet).copied().collect();
    let from = shown.len().saturating_sub(150);
    shown.get(from..).unwrap_or_default().join("\n")
}

/// Prints failures, skips, the table, and the counts on the last line.
fn finish(project: &Project, reports: &[Report]) -> Result<(), String> {
    for report in reports {
        if let Some(log) = &report.log {
            println!("\n──── {} ────\n{}", report.name, log.trim_end());
        }
    }
    for line in reports.iter().flat_map(|report| &report.skipped) {
        println!("{line}");
    }
    println!("\n{:<24}{:>9}{:>9}{:>9}", "part", "seconds", "passed", "failed");
    for report in reports {
        let Report { name, counts, took, .. } = report;
        println!("{name:<24}{:>9.1}{:>9}{:>9}", took.as_secs_f64(), counts.passed, counts.failed);
    }
    println!();
    let passed: usize = reports.iter().map(|report| report.counts.passed).sum();
    let failed: usize = reports.iter().map(|report| report.counts.failed).sum();
    let last = format!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        return Err(last);
    }
    drop(std::fs::remove_dir_all(work_folder(project)));
    println!("{last}");
    Ok(())
}

/// Sums cargo's `test result: … N passed; N failed; …` lines.
fn count_cargo(output: &str) -> Counts {
    let results = output.lines().filter(|line| line.starts_with("test result:"));
    results.fold(Counts::default(), |sum, line| Counts {
        passed: sum.passed + number_before(line, " passed"),
        failed: sum.failed + number_before(line, " failed"),
    })
}

/// Reads a suite's last line, `N passed, N failed`.
fn count_suite(output: &str) -> Counts {
    let last = output.lines().rev().find(|line| line.contains(" passed, ")).unwrap_or_default();
    Counts { passed: number_before(last, " passed"), failed: number_before(last, " failed") }
}

/// What cargo and a suite that ran after it counted together.
fn count_all(output: &str) -> Counts {
    let (cargo, suite) = (count_cargo(output), count_suite(output));
    Counts { passed: cargo.passed + suite.passed, failed: cargo.failed + suite.failed }
}

fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().filter(|before| before.len() < line.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(output: &str, success: bool) -> Ended {
        Ended { success, why: String::new(), output: output.to_owned(), took: Duration::ZERO }
    }

    #[test]
    fn cargo_results_are_summed() {
        let output = "test a ... ok\ntest result: ok. 12 passed; 0 failed; 1 ignored\n\ntest result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        assert_eq!(count_cargo(output), Counts { passed: 15, failed: 2 });
    }

    #[test]
    fn a_suite_tells_its_counts_on_its_last_line() {
        assert_eq!(count_suite("1 passed, 9 failed\nok   a\n7 passed, 1 failed\n"), Counts { passed: 7, failed: 1 });
        assert_eq!(count_suite("Traceback"), Counts::default());
    }

    #[test]
    fn a_part_that_dies_without_counting_has_failed() {
        let failed = |output, success, count: Option<fn(&str) -> Counts>| {
            report("x".to_owned(), count, &ended(output, success)).counts.failed
        };
        assert_eq!(failed("test result: ok. 3 passed; 0 failed", false, Some(count_cargo)), 1);
        assert_eq!(failed("Traceback", false, Some(count_suite)), 1);
        assert_eq!(failed("", true, Some(count_suite)), 1);
        assert_eq!(failed("2 passed, 0 failed", true, Some(count_suite)), 0);
        assert_eq!(failed("", true, None), 0);
        assert_eq!(failed("error", false, None), 1);
    }

    #[test]
    fn a_campaign_gets_its_rounds_and_seed() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (passed_on, names) = campaign_arguments("1000", &words("main --seed 7 --cuts 5")).unwrap();
        assert_eq!((passed_on, names), (words("--seed 7 --rounds 5"), words("main")));
        assert_eq!(campaign_arguments("1000", &[]).unwrap(), (words("--rounds 1000"), Vec::new()));
        assert!(campaign_arguments("1", &words("--rounds")).is_err());
    }

    #[test]
    fn a_failed_part_shows_its_end_without_what_passed() {
        let output = "test a ... ok\nok   b\n   Compiling c\nFAIL d: expected 1\n";
        assert_eq!(excerpt(output), "FAIL d: expected 1");
    }
}
