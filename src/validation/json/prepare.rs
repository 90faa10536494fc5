//! One walk over a JSON Schema before it is compiled: refuses what the original refuses, in its words, and what is not bounded; brings
//! draft 4 spellings to draft 7; and notes how the parts hang together, for `work`.
//!
//! Drafts 4, 6 and 7 are mixed as the original mixes them; `$schema` and `$id` decide nothing. A reference stays inside the schema:
//! nothing is ever fetched or read.

use super::work::{Part, Work};
use regex::RegexBuilder;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// How deep parts may stand in each other.
const DEPTH_MAX: usize = 64;
/// Most parts of a schema.
const PARTS_MAX: usize = 4_096;
/// Most regular expressions of a schema.
pub(super) const PATTERNS_MAX: usize = 128;
/// Most bytes that a compiled regular expression takes, and most that its automaton may take while it works.
pub(super) const PATTERN_BYTES: usize = 64 << 10;
pub(super) const PATTERN_CACHE_BYTES: usize = 256 << 10;

const TYPES: [&str; 7] = ["array", "boolean", "integer", "number", "null", "object", "string"];

type Checked<T = ()> = Result<T, String>;

/// A schema that may be compiled.
#[derive(Debug)]
pub(super) struct Prepared {
    /// As a schema of draft 7.
    pub(super) schema: Value,
    /// What checking by it may cost.
    pub(super) work: Work,
    /// How many regular expressions it has.
    pub(super) patterns: usize,
}

/// Walks over a schema.
///
/// # Errors
/// What is wrong with it. O(size).
pub(super) fn prepare(mut schema: Value) -> Checked<Prepared> {
    let mut walk = Walk::default();
    let base = schema.get("$id").or_else(|| schema.get("id")).and_then(Value::as_str).unwrap_or_default();
    walk.base = base.trim_end_matches('#').to_owned();
    walk.schema(&mut schema, "", 0)?;
    for (from, target) in &walk.references {
        let to = walk.places.get(target).ok_or_else(|| format!("Object has no key '{}'", last(target)))?;
        if let Some(part) = walk.parts.get_mut(*from) {
            part.same.push(*to);
        }
    }
    Ok(Prepared { schema, work: Work::of(&walk.parts)?, patterns: walk.patterns })
}

fn last(pointer: &str) -> String {
    pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

#[derive(Default)]
struct Walk {
    /// What the schema calls itself.
    base: String,
    parts: Vec<Part>,
    /// Parts by their JSON pointer.
    places: HashMap<String, usize>,
    /// Which part refers to which pointer.
    references: Vec<(usize, String)>,
    patterns: usize,
}

impl Walk {
    /// A part of the schema that is a schema itself; its number.
    fn schema(&mut self, value: &mut Value, at: &str, depth: usize) -> Checked<usize> {
        if depth > DEPTH_MAX {
            return Err("schema is nested too deeply".to_owned());
        }
        if self.parts.len() >= PARTS_MAX {
            return Err("schema has too many parts".to_owned());
        }
        let own = self.parts.len();
        self.parts.push(Part { weight: 1, ..Part::default() });
        self.places.insert(at.to_owned(), own);
        let Value::Object(map) = value else {
            return if value.is_boolean() { Ok(own) } else { Err("schema is invalid".to_owned()) };
        };
        // They say nothing here, or something that takes unbounded work.
        for name in ["$schema", "contentEncoding", "contentMediaType", "contentSchema"] {
            map.remove(name);
        }
        for name in ["$id", "id"] {
            if map.get(name).is_some_and(Value::is_string) {
                map.remove(name);
            }
        }
        let mut part = Part { weight: 1, ..Part::default() };
        for name in ["definitions", "$defs"] {
            self.each(map, name, at, depth)?;
        }
        if let Some(reference) = map.get_mut("$ref") {
            let target = self.reference(reference)?;
            self.references.push((own, target));
        } else {
            modernise(map);
            check_types(map)?;
            check_values(map)?;
            self.check_patterns(map, &mut part)?;
            self.children(map, &mut part, at, depth)?;
        }
        if let Some(slot) = self.parts.get_mut(own) {
            *slot = part;
        }
        Ok(own)
    }

    /// The pointer that a reference means; it is written anew so.
    fn reference(&self, reference: &mut Value) -> Checked<String> {
        let Value::String(text) = reference else {
            return Err("Invalid type. Expected: string, given: $ref".to_owned());
        };
        let inside = if self.base.is_empty() { text.as_str() } else { text.strip_prefix(&self.base).unwrap_or(text) };
        let pointer = inside.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(pointer) = pointer else {
            return Err(format!("$ref must stay inside the schema, like #/definitions/name; given: {text}"));
        };
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy().into_owned();
        *text = format!("#{pointer}");
        Ok(decoded)
    }

    fn children(&mut self, map: &mut Map<String, Value>, part: &mut Part, at: &str, depth: usize) -> Checked {
        part.named = self.each(map, "properties", at, depth)?;
        part.every = self.each(map, "patternProperties", at, depth)?;
        for name in ["allOf", "anyOf", "oneOf"] {
            if map.get(name).is_some_and(|value| !value.is_array()) {
                return Err(format!("{name} must be of an array"));
            }
            part.same.extend(self.list(map, name, at, depth)?);
        }
        for name in ["not", "if", "then", "else"] {
            part.same.extend(self.single(map, name, at, depth)?);
        }
        for name in ["additionalProperties", "propertyNames", "contains", "additionalItems"] {
            part.every.extend(self.single(map, name, at, depth)?);
        }
        if map.get("items").is_some_and(Value::is_array) {
            part.named.extend(self.list(map, "items", at, depth)?);
        } else {
            part.every.extend(self.single(map, "items", at, depth)?);
        }
        if let Some(dependencies) = map.get_mut("dependencies") {
            let Value::Object(entries) = dependencies else {
                return Err("dependencies must be of type object".to_owned());
            };
            for (key, value) in entries {
                if !value.is_array() {
                    part.same.push(self.schema(value, &join(at, "dependencies", key), depth + 1)?);
                }
            }
        }
        Ok(())
    }

    /// The schemas of a map.
    fn each(&mut self, map: &mut Map<String, Value>, name: &str, at: &str, depth: usize) -> Checked<Vec<usize>> {
        match map.get_mut(name) {
            None => Ok(Vec::new()),
            Some(Value::Object(entries)) => {
                entries.iter_mut().map(|(key, value)| self.schema(value, &join(at, name, key), depth + 1)).collect()
            }
            Some(_) => Err(format!("{name} must be of type object")),
        }
    }

    fn list(&mut self, map: &mut Map<String, Value>, name: &str, at: &str, depth: usize) -> Checked<Vec<usize>> {
        let Some(Value::Array(items)) = map.get_mut(name) else { return Ok(Vec::new()) };
        let items = items.iter_mut().enumerate();
        items.map(|(place, value)| self.schema(value, &join(at, name, &place.to_string()), depth + 1)).collect()
    }

    fn single(&mut self, map: &mut Map<String, Value>, name: &str, at: &str, depth: usize) -> Checked<Option<usize>> {
        let value = map.get_mut(name);
        value.map(|value| self.schema(value, &format!("{at}/{name}"), depth + 1)).transpose()
    }

    fn check_patterns(&mut self, map: &Map<String, Value>, part: &mut Part) -> Checked {
        let own =
            map.get("pattern").map(|pattern| pattern.as_str().ok_or("pattern must be of a string")).transpose()?;
        let keys = map.get("patternProperties").and_then(Value::as_object);
        let keys = keys.into_iter().flat_map(Map::keys).map(|key| ("patternProperties", key.as_str()));
        for (name, pattern) in own.map(|pattern| ("pattern", pattern)).into_iter().chain(keys) {
            self.patterns += 1;
            part.weight += 8;
            if self.patterns > PATTERNS_MAX {
                return Err(format!("schema has more than {PATTERNS_MAX} regular expressions"));
            }
            if !is_pattern(pattern) {
                return Err(format!("{name} must be a valid regex"));
            }
        }
        Ok(())
    }
}

/// Whether a text is a regular expression of bounded size that can be matched in linear time.
pub(super) fn is_pattern(text: &str) -> bool {
    text.len() <= PATTERN_BYTES && RegexBuilder::new(text).size_limit(PATTERN_BYTES).build().is_ok()
}

fn join(at: &str, name: &str, key: &str) -> String {
    format!("{at}/{name}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Draft 4 says with a flag whether a bound itself is allowed.
fn modernise(map: &mut Map<String, Value>) {
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(exclusive) = map.get(flag).and_then(Value::as_bool) {
            map.remove(flag);
            if let (true, Some(limit)) = (exclusive, map.remove(bound)) {
                map.insert(flag.to_owned(), limit);
            }
        }
    }
}

fn check_types(map: &Map<String, Value>) -> Checked {
    let known = |name: &str| {
        if TYPES.contains(&name) {
            return Ok(());
        }
        let expected = "[array boolean integer number null object string]";
        Err(format!("has a primitive type that is NOT VALID -- given: /{name}/ Expected valid values are:{expected}"))
    };
    let wrong = || "Invalid type. Expected: string/array of strings, given: type".to_owned();
    match map.get("type") {
        None => Ok(()),
        Some(Value::String(name)) => known(name),
        Some(Value::Array(names)) => {
            let mut seen = HashSet::new();
            names.iter().try_for_each(|name| {
                let name = name.as_str().ok_or_else(wrong)?;
                known(name)?;
                if seen.insert(name) { Ok(()) } else { Err(format!("{name} type is duplicated")) }
            })
        }
        Some(_) => Err(wrong()),
    }
}

fn check_values(map: &Map<String, Value>) -> Checked {
    for name in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] {
        if map.get(name).is_some_and(|value| !value.is_number()) {
            return Err(format!("{name} must be of a number"));
        }
    }
    if map.get("multipleOf").and_then(Value::as_f64).is_some_and(|value| value <= 0.0) {
        return Err("multipleOf must be strictly greater than 0".to_owned());
    }
    for (least, most) in [("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties")] {
        let counts = [count(map, least)?, count(map, most)?];
        if let [Some(low), Some(high)] = counts
            && low > high
        {
            return Err(format!("{least} cannot be greater than {most}"));
        }
    }
    match map.get("required") {
        None => {}
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => {}
        Some(Value::Array(_)) => return Err("required items must be string".to_owned()),
        Some(_) => return Err("required must be of an array".to_owned()),
    }
    if map.get("enum").is_some_and(|value| !value.is_array()) {
        return Err("enum must be of an array".to_owned());
    }
    if map.get("uniqueItems").is_some_and(|value| !value.is_boolean()) {
        return Err("uniqueItems must be of a boolean".to_owned());
    }
    if map.get("format").is_some_and(|value| !value.is_string()) {
        return Err("format must be of type string".to_owned());
    }
    Ok(())
}

fn count(map: &Map<String, Value>, name: &str) -> Checked<Option<f64>> {
    match map.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|number| number.fract() == 0.0) {
            Some(number) if number < 0.0 => Err(format!("{name} must be greater than or equal to 0")),
            Some(number) => Ok(Some(number)),
            None => Err(format!("{name} must be of an integer")),
        },
    }
}
