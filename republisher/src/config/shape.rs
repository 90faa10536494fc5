//! The configuration file as it is written. Every key with its default; unknown keys are refused. What the values must be is
//! checked by the module above.

use crate::template::Naming;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) ops: Ops,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) retry: Retry,
    pub(super) service: BTreeMap<String, ServiceShape>,
    #[serde(default)]
    pub(super) pair: Vec<PairShape>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ops {
    pub(super) listen: String,
}

impl Default for Ops {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8082".to_owned() }
    }
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: LogForm,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogForm::Text }
    }
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogForm {
    Text,
    Json,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retry {
    pub(super) longest_seconds: u64,
    pub(super) problem_seconds: u64,
    pub(super) stop_seconds: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { longest_seconds: 30, problem_seconds: 60, stop_seconds: 20 }
    }
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceShape {
    pub(super) url: String,
    pub(super) token_file: Option<PathBuf>,
    pub(super) token_env: Option<String>,
    #[serde(default)]
    pub(super) token_in: TokenPlace,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default = "timeout_seconds")]
    pub(super) timeout_seconds: u64,
}

/// Where a service looks for the token.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenPlace {
    /// The header `x-api-key`.
    #[default]
    Header,
    /// The query parameter `key`.
    Query,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceShape {
    pub(super) service: String,
    pub(super) project: String,
    pub(super) subscription: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetShape {
    pub(super) service: String,
    pub(super) project: String,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct PairShape {
    pub(super) name: String,
    pub(super) source: SourceShape,
    pub(super) target: TargetShape,
    #[serde(default = "thousand")]
    pub(super) pull_messages: usize,
    #[serde(default = "poll_millis")]
    pub(super) poll_millis: u64,
    #[serde(default = "thousand")]
    pub(super) publish_messages: usize,
    #[serde(default = "publish_bytes")]
    pub(super) publish_bytes: usize,
    #[serde(default = "parallel_topics")]
    pub(super) parallel_topics: usize,
    #[serde(default)]
    pub(super) rate: u32,
    #[serde(default = "id_attribute")]
    pub(super) id_attribute: String,
    #[serde(default)]
    pub(super) create_topics: bool,
    pub(super) avro_schema_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) names: Naming,
    #[serde(default)]
    pub(super) unmatched: UnmatchedShape,
    pub(super) unmatched_topic: Option<String>,
    #[serde(default)]
    pub(super) rule: Vec<RuleShape>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnmatchedShape {
    #[default]
    Stop,
    Drop,
    Topic,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleShape {
    #[serde(rename = "match", default)]
    pub(super) conditions: Vec<ConditionShape>,
    pub(super) topic: String,
    #[serde(default)]
    pub(super) rename: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) remove: Vec<String>,
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionShape {
    pub(super) field: String,
    pub(super) equals: Option<String>,
    pub(super) one_of: Option<Vec<String>>,
    pub(super) prefix: Option<String>,
    pub(super) regex: Option<String>,
    pub(super) exists: Option<bool>,
}

fn timeout_seconds() -> u64 {
    60
}

fn thousand() -> usize {
    1_000
}

fn poll_millis() -> u64 {
    500
}

fn publish_bytes() -> usize {
    1 << 20
}

fn parallel_topics() -> usize {
    8
}

fn id_attribute() -> String {
    "republisher_id".to_owned()
}
