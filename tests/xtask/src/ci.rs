//! `cargo xtask ci`: what must hold of the source without running it.

use crate::process::{cargo, run_shown, show};
use crate::project::Project;
use crate::rules;
use std::time::Instant;

/// Runs all checks; the first that fails ends it.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    let mut docs = cargo(&project.root);
    docs.args(["doc", "--no-deps", "--workspace", "--quiet"]).env("RUSTDOCFLAGS", "-Dwarnings");
    let mut format = cargo(&project.root);
    format.args(["fmt", "--all", "--check"]);
    let mut clippy = cargo(&project.root);
    clippy.args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
    for command in [&mut format, &mut clippy, &mut docs] {
        let begun = Instant::now();
        println!("{}", show(command));
        run_shown(command)?;
        println!("  ok, {:.1} s", begun.elapsed().as_secs_f64());
    }
    rules::check(project)
}
