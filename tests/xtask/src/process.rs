//! Child processes that cannot outlive what started them, their output kept in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a running child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running child; dropping it kills it.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// It ended by itself and with success.
    pub(crate) success: bool,
    /// Why not, in words; empty on success.
    pub(crate) why: String,
    /// All it printed.
    pub(crate) output: String,
    /// From start to end.
    pub(crate) took: Duration,
}

/// Runs a command to its end, at most for `limit`, with both outputs in the file `log`.
pub(crate) fn run_logged(command: &mut Command, log: &Path, limit: Duration) -> Result<Ended, String> {
    let begun = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let twin = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
    let mut running = Running(child.map_err(|error| format!("{name}: {error}"))?);
    let status = loop {
        match running.0.try_wait().map_err(|error| format!("{name}: {error}"))? {
            Some(status) => break Some(status),
            None if begun.elapsed() > limit => break None,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    drop(running);
    let output = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let success = status.is_some_and(|status| status.success());
    let why = match status {
        _ if success => String::new(),
        Some(status) => describe(status),
        None => format!("stopped after {} s", limit.as_secs()),
    };
    Ok(Ended { success, why, output, took: begun.elapsed() })
}

/// Runs a command with its output on the terminal.
pub(crate) fn run_shown(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {}", describe(status))) }
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// `cargo`, the one that runs this command.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // What cargo set for this command must not leak into the builds it starts, or they would rebuild.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name == "CARGO_MANIFEST_DIR"
            || name == "CARGO_MANIFEST_PATH"
        {
            command.env_remove(name);
        }
    }
    command
}

/// An existing file of this name in the folders of `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn describe(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("ended by {status}"), |code| format!("ended with code {code}"))
}
