//! Puts the layers of configuration together. Every setting of every layer must exist; a later layer wins, setting by setting.

use super::{Invalid, keys};
use config::{Config as Layers, File, FileFormat, FileSourceString, Source, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// Where settings come from besides the compiled-in defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// Environment variables by name; only `ANGELIA_SECTION__KEY` counts.
    pub environment: Vec<(String, String)>,
    /// `--set section.key=value`.
    pub set: Vec<String>,
}

impl Sources {
    /// The command line's sources and this process's environment.
    #[must_use]
    pub fn with_environment(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { file, environment: std::env::vars_os().filter_map(text).collect(), set }
    }
}

/// All layers as one typed value, not yet checked.
pub(super) fn merge<T: DeserializeOwned>(sources: &Sources) -> Result<T, Invalid> {
    let mut layers = Layers::builder().add_source(File::from_str(keys::DEFAULTS, FileFormat::Toml));
    if let Some(path) = &sources.file {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Invalid(format!("cannot read {name}: {error}")))?;
        layers = layers.add_source(file(&name, &text)?);
    }
    for (name, value) in &sources.environment {
        let Some(key) = environment_key(name) else { continue };
        known(&format!("environment variable {name}"), &key)?;
        layers = layers.set_override(&key, value.as_str()).map_err(|error| Invalid(one_line(&error)))?;
    }
    for setting in &sources.set {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Invalid(format!("--set {setting}: write it as section.key=value")));
        };
        known(&format!("--set {key}"), key)?;
        layers = layers.set_override(key, value).map_err(|error| Invalid(one_line(&error)))?;
    }
    let merged = layers.build().map_err(|error| Invalid(one_line(&error)))?;
    merged.try_deserialize().map_err(|error| Invalid(one_line(&error)))
}

/// A file's text as a layer, every setting in it known.
pub(super) fn file(name: &str, text: &str) -> Result<File<FileSourceString, FileFormat>, Invalid> {
    let file = File::from_str(text, FileFormat::Toml);
    let table = file.collect().map_err(|error| Invalid(format!("{name} is no TOML: {}", one_line(&error))))?;
    for key in flatten(&table) {
        known(name, &key)?;
    }
    Ok(file)
}

/// The setting that an environment variable names, if it names one: `ANGELIA_STORE__URL` is `store.url`.
fn environment_key(name: &str) -> Option<String> {
    let (section, key) = name.strip_prefix("ANGELIA_")?.split_once("__")?;
    Some(format!("{section}.{}", key.replace("__", ".")).to_lowercase())
}

/// Refuses a setting that does not exist.
fn known(source: &str, key: &str) -> Result<(), Invalid> {
    if keys::kind(key).is_some() {
        return Ok(());
    }
    let hint = keys::nearest(key).map_or_else(
        || "see config/default.toml for all settings".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Invalid(format!("{source}: there is no setting `{key}`; {hint}")))
}

/// The dotted names of all leaves.
fn flatten(table: &config::Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = table
        .iter()
        .flat_map(|(name, value)| match &value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                flatten(inner).into_iter().map(|rest| format!("{name}.{rest}")).collect()
            }
            ValueKind::Table(_) if keys::KEYS.iter().any(|(key, _)| key.starts_with(&format!("{name}."))) => Vec::new(),
            _ => vec![name.clone()],
        })
        .collect();
    names.sort();
    names
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "|").collect();
    lines.join(" ")
}
