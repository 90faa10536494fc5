//! `cargo xtask cluster`: the proof of the cluster, on three real Cassandra processes, three nodes of the service and a real haproxy.
//!
//! Owns what the suite needs around it: the folders of Cassandra, the binary, the Python. The suite itself starts, kills and checks.

use crate::cassandra::{Homes, missing};
use crate::process::{cargo, run_shown};
use crate::project::Project;
use crate::python::Python;
use std::process::Command;

const USAGE: &str = "cargo xtask cluster [--minutes N] [--seed N] [NAME…]";
const NODES: usize = 3;

/// Runs the suite: the short round, or one of so many minutes.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let (mut passed_on, mut words) = (Vec::new(), arguments.iter());
    while let Some(word) = words.next() {
        match (word.as_str(), words.clone().next()) {
            ("--minutes", Some(value)) => passed_on.extend(["--rounds".to_owned(), value.clone()]),
            ("--seed", Some(value)) => passed_on.extend([word.clone(), value.clone()]),
            (name, _) if !name.starts_with('-') => {
                passed_on.push(name.to_owned());
                continue;
            }
            _ => return Err(USAGE.to_owned()),
        }
        words.next();
    }
    if let Some(missing) = missing(project) {
        println!("SKIP cluster: {missing}");
        return Ok(());
    }
    let mut build = cargo(&project.root);
    run_shown(build.args(["build", "--package", "angelia", "--bin", "angelia"]))?;
    let homes = Homes::prepare(project, NODES)?;
    let mut suite = Python::ready(project)?.command();
    suite.current_dir(&project.root).args(["tests/ams/run.py", "cluster"]).args(passed_on);
    suite
        .env("ANGELIA_CASSANDRA", homes.folder())
        .env("ANGELIA_BINARY", project.binary("debug", "angelia"))
        .env("ANGELIA_WORK", project.target.join("cluster-work"));
    run_shown(&mut suite)
}

/// The part of all tests that is this proof.
pub(crate) fn tests() -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| format!("this command's file: {error}"))?);
    command.arg("cluster");
    Ok(command)
}
