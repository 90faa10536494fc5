//! What the README promises names the test that shows it, and that test exists.
//!
//! Under every heading that speaks of promises, or of what misbehaves, each row of a table ends with a cell that names at least one test: the name of
//! a test function, a path of modules that ends with one, or a file.

use super::{Finding, SourceFile};
use std::collections::BTreeSet;

const README: &str = "README.md";

/// Headings with one of these have tables of what tests show.
const HEADINGS: &[&str] = &["promise", "misbehaves"];

/// Checks the README against all other files.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(readme) = files.iter().find(|file| file.path == README) else {
        let nothing = SourceFile::new(README, "");
        return vec![Finding::new(
            &nothing,
            1,
            "promise",
            "write a README; a table under `What is promised` names each promise's test",
        )];
    };
    let rows = promise_rows(&readme.text);
    if rows.is_empty() {
        let told = "write a table under a heading with `promised`: each row a promise and, in the last cell, its test";
        return vec![Finding::new(readme, 1, "promise", told)];
    }
    let names = functions(files);
    let mut findings = Vec::new();
    for (line, row) in rows {
        let last = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default().to_owned();
        let claims: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if claims.is_empty() {
            findings.push(Finding::new(
                readme,
                line,
                "promise",
                "name the test that shows it, in `code`, in the last cell",
            ));
        }
        for claim in claims.into_iter().filter(|claim| !exists(claim, &names, files)) {
            let told = format!("there is no test function or file `{claim}`; write the test or take the promise back");
            findings.push(Finding::new(readme, line, "promise", told));
        }
    }
    findings
}

fn exists(claim: &str, names: &BTreeSet<&str>, files: &[SourceFile]) -> bool {
    if claim.starts_with("cargo ") {
        return true;
    }
    let (file, function) = match claim.split_once("::") {
        Some((path, _)) if path.contains('/') => (Some(path), claim.rsplit("::").next()),
        _ if claim.contains('/') => (Some(claim), None),
        _ => (None, claim.rsplit("::").next()),
    };
    let is_file = |path: &str| files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")));
    file.is_none_or(is_file) && function.is_none_or(|name| names.contains(name))
}

/// Table rows under a heading that speaks of promises, with their lines; header and rule are left out.
fn promise_rows(readme: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut table = 0;
    let mut rows = Vec::new();
    for (at, line) in readme.lines().enumerate() {
        if line.starts_with('#') {
            inside = HEADINGS.iter().any(|word| line.to_lowercase().contains(word));
        }
        table = if line.trim_start().starts_with('|') { table + 1 } else { 0 };
        if inside && table > 2 {
            rows.push((at + 1, line));
        }
    }
    rows
}

/// The names of all functions, of Rust and Python.
fn functions(files: &[SourceFile]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for file in files {
        let keyword = match file.path.rsplit('.').next() {
            Some("rs") => "fn ",
            Some("py") => "def ",
            _ => continue,
        };
        for (at, _) in file.text.match_indices(keyword) {
            let after = file.text.split_at_checked(at + keyword.len()).map_or("", |(_, after)| after);
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
            names.extend(after.split_at_checked(end).map(|(name, _)| name));
        }
    }
    names
}
