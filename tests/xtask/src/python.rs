//! The Python that runs the outside suites: a virtual environment in the target folder with the pinned client library.

use crate::process::{on_path, run_logged};
use crate::project::Project;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is installed, one requirement a line.
const REQUIREMENTS: &str = "tests/ams/requirements.txt";

const LIMIT: Duration = Duration::from_secs(300);

/// An interpreter that finds the client library.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    interpreter: PathBuf,
    /// A folder to add to the module path, when the machine has no `venv`.
    packages: Option<PathBuf>,
}

impl Python {
    /// The environment of this project, made if it is not there or its requirements changed.
    pub(crate) fn ready(project: &Project) -> Result<Self, String> {
        let base = on_path("python3").ok_or("python3 is not installed; the outside suites need Python 3.9 or later")?;
        let file = project.root.join(REQUIREMENTS);
        let wanted = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let folder = project.target.join("venv");
        let stamp = folder.join("made-from.txt");
        let isolated = Self { interpreter: folder.join("bin/python"), packages: None };
        let plain = Self { interpreter: base.clone(), packages: Some(folder.join("packages")) };
        if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
            // An interpreter that was updated or taken away leaves links that lead nowhere.
            for ready in [&isolated, &plain] {
                if ready.works() {
                    return Ok(ready.clone());
                }
            }
        }
        drop(std::fs::remove_dir_all(&folder));
        let log = project.target.join("outside").join("python.log");
        let made = Self::make(&base, &folder, &file, &log, isolated, plain)?;
        std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
        Ok(made)
    }

    fn make(base: &Path, folder: &Path, file: &Path, log: &Path, isolated: Self, plain: Self) -> Result<Self, String> {
        let venv = run_logged(Command::new(base).args(["-m", "venv"]).arg(folder), log, LIMIT)?;
        let (interpreter, place, made) = if venv.success {
            (isolated.interpreter.as_path(), None, &isolated)
        } else {
            (base, plain.packages.as_deref(), &plain)
        };
        let mut pip = Command::new(interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(file);
        if let Some(place) = place {
            pip.arg("--target").arg(place);
        }
        let installed = run_logged(&mut pip, log, LIMIT)?;
        if installed.success && made.works() {
            return Ok(made.clone());
        }
        Err(format!(
            "the Python packages of {REQUIREMENTS} could not be installed (pip {}):\n{}\nOn Debian, `apt-get install python3-venv` \
             gives both venv and pip; behind a proxy, set pip's own settings.",
            installed.why, installed.output
        ))
    }

    fn works(&self) -> bool {
        self.command()
            .args(["-c", "import argo_ams_library, msgpack, requests, websocket, zaqarclient"])
            .output()
            .is_ok_and(|done| done.status.success())
    }

    /// The interpreter, ready to be given a script.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.interpreter);
        // Nothing is written beside the sources, and output comes line by line.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
    }
}
