//! The newman that runs the Postman collection: an npm package of a pinned version, in the target folder.

use crate::process::{on_path, run_logged};
use crate::project::Project;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Names the version.
const PACKAGE: &str = "tests/ams/postman/package.json";

const LIMIT: Duration = Duration::from_secs(300);

/// Where the program is, if it is installed.
pub(crate) fn program(project: &Project) -> PathBuf {
    folder(project).join("node_modules/.bin/newman")
}

fn folder(project: &Project) -> PathBuf {
    project.target.join("newman")
}

/// Installs it unless it is there in the wanted version. Does nothing where npm is missing: the suite says that it is skipped.
pub(crate) fn ready(project: &Project) -> Result<(), String> {
    let Some(npm) = on_path("npm") else { return Ok(()) };
    let (folder, file) = (folder(project), project.root.join(PACKAGE));
    let wanted = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let made = folder.join("made-from.json");
    if program(project).exists() && std::fs::read(&made).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    drop(std::fs::remove_dir_all(&folder));
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::write(folder.join("package.json"), &wanted).map_err(failed)?;
    let mut install = Command::new(npm);
    install.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    let installed = run_logged(&mut install, &project.target.join("outside").join("newman-install.log"), LIMIT)?;
    if !installed.success {
        return Err(format!(
            "the npm packages of {PACKAGE} could not be installed (npm {}):\n{}\nBehind a proxy, set npm's own settings.",
            installed.why, installed.output
        ));
    }
    std::fs::write(&made, wanted).map_err(failed)
}
