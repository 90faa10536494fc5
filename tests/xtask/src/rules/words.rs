//! Words that must not be in the source: unfinished work, stray clocks, unsafe code, paths and hosts of one machine.

use super::lexer::{Kind, product, tokens};
use super::{Finding, SourceFile};

/// Test crates that may hold unsafe code, by the folder they are in.
const UNSAFE_CRATES: &[&str] = &["tests/cost/"];

/// The one file of each crate that reads the time.
const CLOCKS: &[&str] = &["src/clock.rs", "republisher/src/clock.rs"];

/// Folders that only one machine has.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "home", "Users", "opt/wheels", "mnt", "tmp/bash_jobs"];

/// Settings that point a package client somewhere else than the public registries.
const REGISTRY_SETTINGS: &[&str] =
    &["index-url", "extra-index-url", "find-links", "replace-with", "GOPROXY", "npm_config_registry", "trusted-host"];

/// Checks all files.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.is_rust() {
            findings.extend(code_words(file));
        }
        // The rules themselves must name what they forbid.
        if !file.path.starts_with("tests/xtask/src/rules") {
            findings.extend(unfinished(file));
            findings.extend(machine_words(file));
        }
    }
    findings
}

fn code_words(file: &SourceFile) -> Vec<Finding> {
    let all = tokens(&file.text);
    let mut findings = Vec::new();
    let may_be_unsafe = UNSAFE_CRATES.iter().any(|folder| file.path.starts_with(folder));
    for token in all.iter().filter(|token| token.is("unsafe") && !may_be_unsafe) {
        findings.push(Finding::new(
            file,
            token.line,
            "unsafe",
            "write it without `unsafe`, or in a test crate named in the house rules",
        ));
    }
    let code = product(&all);
    for (at, token) in code.iter().enumerate().filter(|(_, token)| token.kind == Kind::Ident) {
        let next = |step: usize, text: &str| code.get(at + step).is_some_and(|token| token.is(text));
        if ["todo", "unimplemented"].contains(&token.text) && next(1, "!") {
            findings.push(Finding::new(file, token.line, "unfinished", "finish it, or give a clear error"));
        }
        let clocks = ["SystemTime", "Instant", "Utc", "Local"];
        let timeless = file.is_product() && !CLOCKS.contains(&file.path.as_str());
        if timeless && clocks.contains(&token.text) && next(1, "::") && next(2, "now") {
            findings.push(Finding::new(file, token.line, "time", "take the time from `clock::Clock`"));
        }
    }
    findings
}

/// Marks of work that is not done, as whole words.
fn unfinished(file: &SourceFile) -> Vec<Finding> {
    let marks = ["FIXME", "XXX", "TODO"];
    let is_mark = |word: &str| marks.contains(&word);
    let hit = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_mark);
    let numbered = file.text.lines().enumerate().filter(|(_, line)| hit(line));
    numbered.map(|(at, _)| Finding::new(file, at + 1, "unfinished", "do it now, or take the mark out")).collect()
}

fn machine_words(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lock = file.path.ends_with("Cargo.lock");
    for (at, line) in file.text.lines().enumerate() {
        if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| names_folder(line, folder)) {
            let told = format!("`/{folder}/` is of one machine; use a path relative to the project, or a setting");
            findings.push(Finding::new(file, at + 1, "machine path", told));
        }
        if let Some(setting) = REGISTRY_SETTINGS.iter().find(|setting| line.contains(*setting)) {
            let told =
                format!("`{setting}` binds the project to one registry host; leave that to the machine's own settings");
            findings.push(Finding::new(file, at + 1, "registry host", told));
        }
        let foreign = lock && line.starts_with("source = ") && !line.contains("github.com/rust-lang/crates.io-index");
        if foreign {
            findings.push(Finding::new(file, at + 1, "registry host", "take the crate from crates.io"));
        }
    }
    findings
}

/// `/folder/x` at the beginning of a path: not after a letter, so routes like `…/projects/home/` do not count.
fn names_folder(line: &str, folder: &str) -> bool {
    let needle = format!("/{folder}/");
    line.match_indices(&needle).any(|(at, _)| {
        let before = line.split_at_checked(at).and_then(|(head, _)| head.chars().next_back());
        let after = line.split_at_checked(at + needle.len()).and_then(|(_, tail)| tail.chars().next());
        !before.is_some_and(|c| c.is_alphanumeric() || "}_-.$*/)".contains(c))
            && after.is_some_and(char::is_alphanumeric)
    })
}
