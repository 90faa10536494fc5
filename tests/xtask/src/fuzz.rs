//! `cargo xtask fuzz`: runs the fuzz targets of `tests/fuzz` one after the other, beginning with the corpus of the repository.
//!
//! Owns how inputs are kept: `tests/corpus/TARGET.txt` has one a line, escaped, so that a text stays readable. What the fuzzers find
//! on the way is in `target/fuzz`. Never judges an input: the targets do.

use crate::Outcome;
use crate::process::{cargo, run_logged, run_shown};
use crate::project::Project;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Most bytes of an input, and of a target's inputs, that are kept in the repository.
const INPUT_BYTES_MAX: usize = 1_500;
const CORPUS_BYTES_MAX: usize = 14_000;
/// What a target may take beyond its time: it is built, and reads its corpus.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What to do.
struct Campaign<'a> {
    project: &'a Project,
    seconds: u64,
    keep: bool,
    /// Where builds, inputs and findings stay between runs.
    work: PathBuf,
}

/// Runs the named targets, or all.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let work = project.target.join("fuzz");
    let mut campaign = Campaign { project, seconds: 60, keep: false, work };
    let mut names = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => {
                let value = words.next().and_then(|value| value.parse().ok());
                campaign.seconds = value.ok_or("`--seconds` needs a whole number")?;
            }
            "--keep" => campaign.keep = true,
            name => names.push(name),
        }
    }
    let found = cargo(&project.root).args(["fuzz", "--version"]).output();
    if !found.is_ok_and(|done| done.status.success()) {
        return Err("cargo-fuzz is not installed; `cargo install --locked cargo-fuzz` gives it".to_owned());
    }
    // The product's versions, not newer ones.
    copy(&project.root.join("Cargo.lock"), &project.root.join("tests/fuzz/Cargo.lock"))?;
    let mut total = 0;
    for target in targets(project)? {
        if names.is_empty() || names.iter().any(|name| target.contains(name)) {
            total += campaign.target(&target)?;
        }
    }
    println!("{total} executions, no failure");
    Ok(())
}

/// The names of all targets: each has a corpus.
fn targets(project: &Project) -> Result<BTreeSet<String>, String> {
    let folder = project.root.join("tests/corpus");
    let listed = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(listed.filter_map(|entry| stem(entry.ok()?.path())).collect())
}

impl Campaign<'_> {
    /// Runs one target; how many inputs it ran.
    fn target(&self, target: &str) -> Result<u64, String> {
        let corpus = self.work.join("corpus").join(target);
        let artifacts = self.work.join("artifacts").join(target);
        self.unpack(target, &corpus)?;
        make(&artifacts)?;
        let mut command = self.fuzzer("run", target, &corpus);
        command.args(["--", "-use_value_profile=1", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        command.arg(format!("-max_total_time={}", self.seconds));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let log = self.work.join(format!("{target}.log"));
        let ended = run_logged(&mut command, &log, PATIENCE + Duration::from_secs(self.seconds))?;
        if !ended.success {
            let lines: Vec<&str> = ended.output.lines().collect();
            let end = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
            return Err(format!("{end}\n{target} failed; the input is in {}", artifacts.display()));
        }
        let executed = figure(&ended.output, "stat::number_of_executed_units:");
        let rate = figure(&ended.output, "stat::average_exec_per_sec:");
        println!("{target:<18}{executed:>12} executions{rate:>10} a second");
        if self.keep {
            self.pack(target, &corpus)?;
        }
        Ok(executed)
    }

    fn fuzzer(&self, verb: &str, target: &str, corpus: &Path) -> Command {
        let mut command = cargo(&self.project.root);
        // No sanitizer: the product has no unsafe code, and this way the stable compiler will do.
        command.args(["fuzz", verb, "--sanitizer", "none", "--fuzz-dir", "tests/fuzz", "--target-dir"]);
        command.arg(&self.work).arg(target).arg(corpus);
        command
    }

    /// Puts the repository's inputs beside those that were found before.
    fn unpack(&self, target: &str, corpus: &Path) -> Outcome {
        make(corpus)?;
        let text = read(&self.kept(target))?;
        for (number, line) in text.lines().enumerate() {
            let input =
                unescape(line).ok_or_else(|| format!("{target}.txt line {} is not escaped well", number + 1))?;
            let file = corpus.join(format!("kept-{number}"));
            std::fs::write(&file, input).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }

    /// Makes the corpus small and puts it into the repository. Inputs added by hand stay as long as they lead somewhere.
    fn pack(&self, target: &str, corpus: &Path) -> Outcome {
        run_shown(&mut self.fuzzer("cmin", target, corpus))?;
        let listed = std::fs::read_dir(corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        let mut inputs: Vec<Vec<u8>> = listed
            .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
            .filter(|input| input.len() <= INPUT_BYTES_MAX)
            .collect();
        inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        inputs.dedup();
        let mut text = String::new();
        for line in inputs.iter().map(|input| input.escape_ascii().to_string()) {
            if text.len() + line.len() < CORPUS_BYTES_MAX {
                text.push_str(&line);
                text.push('\n');
            }
        }
        let file = self.kept(target);
        std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn kept(&self, target: &str) -> PathBuf {
        self.project.root.join("tests/corpus").join(format!("{target}.txt"))
    }
}

/// Reads a line as `u8::escape_ascii` writes it.
fn unescape(line: &str) -> Option<Vec<u8>> {
    let mut bytes = line.bytes();
    let mut read = Vec::new();
    while let Some(byte) = bytes.next() {
        read.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                quoted => quoted,
            },
            plain => plain,
        });
    }
    Some(read)
}

/// The number behind a word of libFuzzer's report; zero if it is not there.
fn figure(output: &str, word: &str) -> u64 {
    let line = output.lines().rev().find_map(|line| line.strip_prefix(word));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

fn make(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::copy(from, to).map(drop).map_err(|error| format!("{}: {error}", to.display()))
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_reads_back_as_it_is_kept() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&all.escape_ascii().to_string()), Some(all));
        assert_eq!(unescape("\\x0"), None);
    }

    #[test]
    fn figures_are_read_from_the_report() {
        let report = "INFO: x\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec:     56\n";
        assert_eq!(figure(report, "stat::number_of_executed_units:"), 1234);
        assert_eq!(figure(report, "stat::peak_rss_mb:"), 0);
    }
}
