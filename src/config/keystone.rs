//! The settings of Keystone, and of projects that are bound together.

use super::{Invalid, Secret, names, places};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a bound project's roles may count for.
const ROLES: [&str; 3] = ["project_admin", "publisher", "consumer"];

/// `[keystone]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keystone {
    /// Its address, or empty.
    pub url: String,
    /// The service user's name.
    pub user: String,
    /// His password's file, or empty.
    pub password_file: String,
    /// His project's name.
    pub project: String,
    /// His domain's id.
    pub user_domain: String,
    /// His project's domain's id.
    pub project_domain: String,
    /// How long an answer is believed.
    pub cache_seconds: u64,
    /// Of how many tokens.
    pub cache_tokens: usize,
    /// For an answer.
    pub timeout_seconds: u64,
    /// More certificate authorities, PEM, or empty.
    pub ca_file: String,
}

impl Keystone {
    /// The service user's password.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn password(&self) -> Result<Secret, Invalid> {
        places::read_secret("keystone.password_file", &self.password_file).map(Secret)
    }
}

/// `[projects]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projects {
    /// `KEYSTONE_PROJECT_ID=AMS_PROJECT`, with commas between them.
    pub bind: String,
    /// `KEYSTONE_ROLE=AMS_ROLE`, with commas between them.
    pub roles: String,
}

impl Projects {
    /// AMS projects by the ids of projects in Keystone.
    ///
    /// # Errors
    /// What is no pair, no project's name, or there twice.
    pub fn bound(&self) -> Result<BTreeMap<String, String>, Invalid> {
        let mut bound = BTreeMap::new();
        for (id, project) in pairs("projects.bind", &self.bind)? {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if !project.bytes().all(letters) {
                return Err(Invalid(format!(
                    "projects.bind: `{project}` is no AMS project's name: letters, digits, _ and -"
                )));
            }
            if bound.insert(id.clone(), project).is_some() {
                return Err(Invalid(format!("projects.bind: {id} is bound twice; a project is bound to one")));
            }
        }
        Ok(bound)
    }

    /// AMS roles by Keystone's roles, in lower case.
    ///
    /// # Errors
    /// What is no pair, or no role.
    pub fn mapped(&self) -> Result<BTreeMap<String, Vec<String>>, Invalid> {
        let mut mapped: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (role, counts_for) in pairs("projects.roles", &self.roles)? {
            if !ROLES.contains(&counts_for.as_str()) {
                return Err(Invalid(format!("projects.roles: `{counts_for}` is none of {}", ROLES.join(", "))));
            }
            mapped.entry(role.to_lowercase()).or_default().push(counts_for);
        }
        Ok(mapped)
    }
}

fn pairs(key: &str, text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let pair = |pair: String| {
        let parts = pair.split_once('=').map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()));
        let parts = parts.filter(|(from, to)| !from.is_empty() && !to.is_empty());
        parts.ok_or_else(|| Invalid(format!("{key}: `{pair}` is no pair; write A=B, and commas between pairs")))
    };
    names(text).into_iter().map(pair).collect()
}
