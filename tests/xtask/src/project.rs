//! Where things are: the workspace's root, its files, the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace this command was started in.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder of the workspace's manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds; all that the tests leave behind is in here.
    pub(crate) target: PathBuf,
}

impl Project {
    /// The workspace that cargo ran this command in.
    pub(crate) fn find() -> Result<Self, String> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).ancestors().nth(2).ok_or("the manifest has no workspace above it")?.to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target })
    }

    /// All files that belong to the project, relative to the root, sorted: tracked ones and new ones that are not ignored.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, String> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(&self.root)
            .output()
            .map_err(|error| format!("git ls-files: {error}; the house rules look at what git tracks"))?;
        if !listed.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
        }
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut files: Vec<PathBuf> = text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        Ok(files)
    }

    /// The binary that cargo builds in this profile's folder.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(name)
    }
}
