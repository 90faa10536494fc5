//! The configuration file: its form, and what it means once everything in it is known to be right.
//!
//! Owns every key with its range and default. A [`Plan`] holds only what can work; whatever cannot is told with the key's name.

mod shape;

#[cfg(test)]
mod tests;

use crate::field::Field;
use crate::rule::{Condition, Rewrite, Rule, Rules, Test, Unmatched};
use crate::template::{Naming, Template};
use apache_avro::Schema;
use apache_avro::schema::Name;
use regex::RegexBuilder;
use reqwest::Url;
use reqwest::header::HeaderValue;
use shape::{ConditionShape, File, LogForm, PairShape, RuleShape, ServiceShape, UnmatchedShape};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use shape::TokenPlace;

/// The most bytes that a compiled expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// Everything there is to do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where metrics and health are served; none for nowhere.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) log_level: String,
    pub(crate) log_json: bool,
    pub(crate) patience: Patience,
    pub(crate) pairs: Vec<PairPlan>,
}

/// How long waits may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The longest wait between tries of what passes by itself.
    pub(crate) longest: Duration,
    /// The wait between tries of what somebody must change.
    pub(crate) problem: Duration,
    /// How long the end may take.
    pub(crate) stop: Duration,
}

/// A service to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) secret: Arc<Secret>,
    pub(crate) token_in: TokenPlace,
    pub(crate) authorities: Vec<reqwest::Certificate>,
    pub(crate) timeout_seconds: u64,
}

/// Where a token is found. Never shown itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Secret {
    /// The content of a file, without blanks around it.
    File(PathBuf),
    /// The value of an environment variable.
    Environment(String),
}

impl Secret {
    /// The token, as a header that is never printed.
    ///
    /// # Errors
    /// A sentence that names the file or variable, never its content.
    pub(crate) fn read(&self) -> Result<HeaderValue, String> {
        let text = match self {
            Self::File(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| format!("the environment has no variable {name} with text"))?
            }
        };
        let text = text.trim();
        let mut header = HeaderValue::from_str(text).ok().filter(|_| !text.is_empty());
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        header.ok_or_else(|| format!("{self} holds no token: one line of printable characters"))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(to, "{}", path.display()),
            Self::Environment(name) => write!(to, "the variable {name}"),
        }
    }
}

/// One source and where its messages go.
#[derive(Debug)]
pub(crate) struct PairPlan {
    pub(crate) name: String,
    pub(crate) source: Service,
    pub(crate) source_project: String,
    pub(crate) subscription: String,
    pub(crate) target: Service,
    pub(crate) target_project: String,
    pub(crate) pull_messages: usize,
    pub(crate) poll: Duration,
    pub(crate) publish_messages: usize,
    pub(crate) publish_bytes: usize,
    pub(crate) parallel_topics: usize,
    /// Messages a second; 0 for no bound.
    pub(crate) rate: u32,
    pub(crate) id_attribute: String,
    pub(crate) create_topics: bool,
    pub(crate) avro: Option<Schema>,
    pub(crate) rules: Rules,
}

impl Plan {
    /// Reads and checks a file. Relative paths in it start at its own folder.
    ///
    /// # Errors
    /// All that is wrong, a line each, naming the key.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut wrong = Wrong::default();
        let listen = match file.ops.listen.as_str() {
            "off" => None,
            address => wrong.take("ops.listen", address.parse().map_err(|_| format!("`{address}` is no HOST:PORT"))),
        };
        if let Err(error) = crate::logging::filter(&file.log.level) {
            wrong.add("log.level", error);
        }
        for (key, value, most) in [
            ("retry.longest_seconds", file.retry.longest_seconds, 3_600),
            ("retry.problem_seconds", file.retry.problem_seconds, 86_400),
            ("retry.stop_seconds", file.retry.stop_seconds, 3_600),
        ] {
            wrong.range(key, value, 1, most);
        }
        let services = services(&file.service, folder, &mut wrong);
        if file.pair.is_empty() {
            wrong.add("pair", "write at least one [[pair]]".to_owned());
        }
        let mut names = BTreeSet::new();
        let mut pairs = Vec::new();
        for (at, shape) in file.pair.into_iter().enumerate() {
            if !names.insert(shape.name.clone()) {
                wrong.add(&format!("pair[{at}].name"), format!("`{}` is the name of another pair", shape.name));
            }
            pairs.extend(pair(shape, at, &services, folder, &mut wrong));
        }
        wrong.end()?;
        Ok(Self {
            listen,
            log_level: file.log.level,
            log_json: file.log.format == LogForm::Json,
            patience: Patience {
                longest: Duration::from_secs(file.retry.longest_seconds),
                problem: Duration::from_secs(file.retry.problem_seconds),
                stop: Duration::from_secs(file.retry.stop_seconds),
            },
            pairs,
        })
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, key: &str, what: impl fmt::Display) {
        self.0.push(format!("{key}: {what}"));
    }

    fn take<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|error| self.add(key, error)).ok()
    }

    fn range(&mut self, key: &str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.add(key, format!("{value} is not from {least} to {most}"));
        }
    }

    /// Names are a part of paths: what AMS v1 allows in them and nothing else.
    fn name(&mut self, key: &str, name: &str) {
        if Naming::Refuse.apply(name.into()).is_none() {
            self.add(key, format!("`{name}` is no name: letters, digits, `-` and `_`, at most 212"));
        }
    }

    fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("\n")) }
    }
}

/// The services that are right; the others are told.
fn services(
    shapes: &BTreeMap<String, ServiceShape>,
    folder: &Path,
    wrong: &mut Wrong,
) -> BTreeMap<String, Option<Service>> {
    let made =
        shapes.iter().map(|(name, shape)| (name.clone(), service(shape, &format!("service.{name}"), folder, wrong)));
    made.collect()
}

fn service(shape: &ServiceShape, key: &str, folder: &Path, wrong: &mut Wrong) -> Option<Service> {
    let url = shape.url.trim_end_matches('/').to_owned();
    let good = Url::parse(&url).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.query().is_none()
    });
    if !good {
        wrong.add(&format!("{key}.url"), format!("`{url}`: write it as https://host:port, without token or user"));
    }
    wrong.range(&format!("{key}.timeout_seconds"), shape.timeout_seconds, 1, 3_600);
    let secret = match (&shape.token_file, &shape.token_env) {
        (Some(file), None) => Some(Secret::File(folder.join(file))),
        (None, Some(name)) => Some(Secret::Environment(name.clone())),
        _ => {
            wrong.add(key, "give either token_file or token_env");
            None
        }
    };
    if let Some(secret) = &secret {
        let from = if shape.token_file.is_some() { "token_file" } else { "token_env" };
        wrong.take(&format!("{key}.{from}"), secret.read());
    }
    let authorities = match &shape.ca_file {
        None => Some(Vec::new()),
        Some(file) => wrong.take(&format!("{key}.ca_file"), certificates(&folder.join(file))),
    };
    Some(Service {
        url,
        secret: Arc::new(secret?),
        token_in: shape.token_in,
        authorities: authorities?,
        timeout_seconds: shape.timeout_seconds,
    })
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM", path.display()));
    }
    Ok(found)
}

fn pair(
    shape: PairShape,
    at: usize,
    services: &BTreeMap<String, Option<Service>>,
    folder: &Path,
    wrong: &mut Wrong,
) -> Option<PairPlan> {
    let key = format!("pair[{at}]");
    for (name, text) in [
        ("name", &shape.name),
        ("source.project", &shape.source.project),
        ("source.subscription", &shape.source.subscription),
        ("target.project", &shape.target.project),
    ] {
        wrong.name(&format!("{key}.{name}"), text);
    }
    for (name, value, least, most) in [
        ("pull_messages", shape.pull_messages as u64, 1, 10_000),
        ("poll_millis", shape.poll_millis, 1, 600_000),
        ("publish_messages", shape.publish_messages as u64, 1, 10_000),
        ("publish_bytes", shape.publish_bytes as u64, 1_024, 8 << 20),
        ("parallel_topics", shape.parallel_topics as u64, 1, 256),
        ("rate", u64::from(shape.rate), 0, 10_000_000),
    ] {
        wrong.range(&format!("{key}.{name}"), value, least, most);
    }
    if shape.id_attribute.is_empty() {
        wrong.add(&format!("{key}.id_attribute"), "give it a name");
    }
    let mut known = |name: &str, from: &str| {
        let found = services.get(name);
        if found.is_none() {
            wrong.add(&format!("{key}.{from}.service"), format!("there is no [service.{name}]"));
        }
        found.cloned().flatten()
    };
    let (source, target) = (known(&shape.source.service, "source"), known(&shape.target.service, "target"));
    let avro = shape.avro_schema_file.as_ref().map(|file| schema(&folder.join(file)));
    let avro = avro.and_then(|read| wrong.take(&format!("{key}.avro_schema_file"), read));
    let rules = rules(&shape, &key, wrong);
    let wants_avro = rules.fields().any(|field| matches!(field, Field::Avro(_)));
    if wants_avro && shape.avro_schema_file.is_none() {
        wrong.add(&format!("{key}.avro_schema_file"), "rules look into Avro records: name the file of their schema");
    }
    Some(PairPlan {
        name: shape.name,
        source: source?,
        source_project: shape.source.project,
        subscription: shape.source.subscription,
        target: target?,
        target_project: shape.target.project,
        pull_messages: shape.pull_messages,
        poll: Duration::from_millis(shape.poll_millis),
        publish_messages: shape.publish_messages,
        publish_bytes: shape.publish_bytes,
        parallel_topics: shape.parallel_topics,
        rate: shape.rate,
        id_attribute: shape.id_attribute,
        create_topics: shape.create_topics,
        avro,
        rules,
    })
}

fn schema(path: &Path) -> Result<Schema, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let schema = Schema::parse_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    // A record within itself could be nested so deeply by a payload that reading it overflows the stack.
    if is_recursive(&schema, &mut Vec::new()) {
        return Err(format!("{}: a type that holds itself is not read; write a schema without it", path.display()));
    }
    Ok(schema)
}

/// Whether a type refers to one that it is a part of; `around` are the records it is in.
fn is_recursive<'s>(schema: &'s Schema, around: &mut Vec<&'s Name>) -> bool {
    match schema {
        Schema::Record(record) => {
            around.push(&record.name);
            let recursive = record.fields.iter().any(|field| is_recursive(&field.schema, around));
            around.pop();
            recursive
        }
        Schema::Array(array) => is_recursive(&array.items, around),
        Schema::Map(map) => is_recursive(&map.types, around),
        Schema::Union(union) => union.variants().iter().any(|variant| is_recursive(variant, around)),
        Schema::Ref { name } => around.contains(&name),
        _ => false,
    }
}

fn rules(shape: &PairShape, key: &str, wrong: &mut Wrong) -> Rules {
    if shape.rule.is_empty() {
        wrong.add(&format!("{key}.rule"), "write at least one [[pair.rule]]");
    }
    let unmatched = match (shape.unmatched, &shape.unmatched_topic) {
        (UnmatchedShape::Drop, None) => Unmatched::Drop,
        (UnmatchedShape::Stop, None) => Unmatched::Stop,
        (UnmatchedShape::Topic, Some(topic)) => {
            wrong.name(&format!("{key}.unmatched_topic"), topic);
            Unmatched::Topic(topic.clone())
        }
        _ => {
            wrong.add(&format!("{key}.unmatched_topic"), "belongs to `unmatched = \"topic\"`, and is needed there");
            Unmatched::Stop
        }
    };
    let rules = shape.rule.iter().enumerate().filter_map(|(at, one)| rule(one, &format!("{key}.rule[{at}]"), wrong));
    Rules { rules: rules.collect(), naming: shape.names, unmatched }
}

fn rule(shape: &RuleShape, key: &str, wrong: &mut Wrong) -> Option<Rule> {
    let topic = wrong.take(&format!("{key}.topic"), Template::parse(&shape.topic));
    if let Some(fixed) = topic.as_ref().and_then(Template::fixed) {
        wrong.name(&format!("{key}.topic"), fixed);
    }
    let mut conditions = Vec::new();
    for (at, one) in shape.conditions.iter().enumerate() {
        conditions.extend(wrong.take(&format!("{key}.match[{at}]"), condition(one)));
    }
    let mut set = Vec::new();
    for (name, text) in &shape.set {
        let template = wrong.take(&format!("{key}.set.{name}"), Template::parse(text));
        set.extend(template.map(|template| (name.clone(), template)));
    }
    let rename = shape.rename.iter().map(|(from, to)| (from.clone(), to.clone())).collect();
    let rewrite = Rewrite { rename, remove: shape.remove.clone(), set };
    Some(Rule { conditions, topic: topic?, rewrite })
}

fn condition(shape: &ConditionShape) -> Result<Condition, String> {
    let field = Field::parse(&shape.field)?;
    let mut tests = Vec::new();
    tests.extend(shape.equals.clone().map(|text| Test::OneOf(vec![text])));
    tests.extend(shape.one_of.clone().map(Test::OneOf));
    tests.extend(shape.prefix.clone().map(Test::Prefix));
    tests.extend(shape.exists.map(Test::Exists));
    if let Some(text) = &shape.regex {
        let regex = RegexBuilder::new(text).size_limit(REGEX_BYTES).build();
        tests.push(Test::Matches(regex.map_err(|error| error.to_string())?));
    }
    match (tests.pop(), tests.is_empty()) {
        (Some(test), true) => Ok(Condition { field, test }),
        _ => Err("give exactly one of equals, one_of, prefix, regex, exists".to_owned()),
    }
}
