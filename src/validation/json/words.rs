//! What a document breaks, in the words and the order of the original's library (gojsonschema 1.2): `place: description`, for each
//! value first what its combinations say, then const, enum and format, then its own rules, then the values inside it.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;
use std::collections::HashMap;

/// Most broken rules that are told.
const TOLD_MAX: usize = 100;
/// Most bytes of one description; the rest is cut.
const TEXT_MAX: usize = 1_024;

/// What is wrong with a schema, by what is wrong with it as a document of the schema of schemas.
pub(super) fn of_schema(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Referencing(error) => error.to_string(),
        _ => line(&place(&steps(error.instance_path())), &describe(error, &Value::Null)),
    }
}

/// The lines of all errors about one document.
pub(super) fn of_errors(errors: Vec<ValidationError<'_>>, schema: &Value, document: &Value) -> Vec<String> {
    let entries = errors.into_iter().map(|error| Entry::of(&error, schema, document)).collect();
    let mut lines = arrange(without_mistyped(entries), 0);
    lines.truncate(TOLD_MAX);
    lines
}

/// A step on the way into a document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Item(usize),
    Field(String),
}

/// One broken rule.
struct Entry {
    /// The way through the schema, references followed.
    way: Vec<Step>,
    /// The way through the document.
    at: Vec<Step>,
    /// What comes first at one place.
    class: u8,
    mistyped: bool,
    lines: Vec<String>,
}

fn steps(location: &Location) -> Vec<Step> {
    let step = |segment| match segment {
        LocationSegment::Property(name) => Step::Field(name.into_owned()),
        LocationSegment::Index(at) => Step::Item(at),
    };
    location.segments().map(step).collect()
}

/// A place as it is told: dotted, without the root.
fn place(at: &[Step]) -> String {
    if at.is_empty() {
        return "(root)".to_owned();
    }
    let texts: Vec<String> = at
        .iter()
        .map(|step| match step {
            Step::Item(at) => at.to_string(),
            Step::Field(name) => name.clone(),
        })
        .collect();
    texts.join(".")
}

fn line(place: &str, description: &str) -> String {
    let mut text = format!("{place}: {description}");
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
        text.push('…');
    }
    text
}

impl Entry {
    fn of(error: &ValidationError<'_>, schema: &Value, document: &Value) -> Self {
        let (way, at) = (steps(error.evaluation_path()), steps(error.instance_path()));
        let here = place(&at);
        // `additionalProperties: false` where nothing else is allowed either.
        let nothing = matches!(error.kind(), Kind::FalseSchema)
            && way.last().is_some_and(|step| matches!(step, Step::Field(name) if name == "additionalProperties"));
        let told = if nothing {
            let object = document.pointer(error.instance_path().as_str()).and_then(Value::as_object);
            additional(object.into_iter().flat_map(serde_json::Map::keys))
        } else {
            descriptions(error, schema)
        };
        let mut lines: Vec<String> = told.iter().map(|text| line(&here, text)).collect();
        let branches = match error.kind() {
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => closest(context, &at),
            Kind::PropertyNames { error } => Some(std::slice::from_ref(&**error)),
            _ => None,
        };
        for inner in branches.into_iter().flatten() {
            let of_name = matches!(error.kind(), Kind::PropertyNames { .. });
            let inner = Self::of(inner, schema, document);
            // What is wrong with a name is told of the object.
            let told = inner.lines.into_iter().map(|text| match text.split_once(": ") {
                Some((_, description)) if of_name => line(&here, description),
                _ => text,
            });
            lines.extend(told);
        }
        let class = match error.kind() {
            Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } | Kind::Not { .. } => 0,
            Kind::Constant { .. } => 1,
            Kind::Enum { .. } => 2,
            Kind::Format { .. } => 3,
            Kind::Required { .. } if !is_dependency(&way) => 5,
            Kind::AdditionalProperties { .. } => 6,
            Kind::FalseSchema if nothing => 6,
            Kind::Required { .. } | Kind::PropertyNames { .. } => 7,
            _ => 4,
        };
        Self { way, at, class, mistyped: matches!(error.kind(), Kind::Type { .. }), lines }
    }
}

/// The branch whose errors are told: not one that wants another type, if there is a choice, and the fewest.
fn closest<'e>(context: &'e [Vec<ValidationError<'static>>], at: &[Step]) -> Option<&'e [ValidationError<'static>]> {
    let mistyped = |branch: &&Vec<ValidationError<'_>>| {
        branch.iter().any(|error| matches!(error.kind(), Kind::Type { .. }) && steps(error.instance_path()) == at)
    };
    context.iter().min_by_key(|branch| (mistyped(branch), branch.len())).map(Vec::as_slice)
}

/// A value of a wrong type is told of as that alone.
fn without_mistyped(mut entries: Vec<Entry>) -> Vec<Entry> {
    let parent = |entry: &Entry| entry.way.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default();
    let mistyped: Vec<(Vec<Step>, Vec<Step>)> = entries
        .iter()
        .filter(|entry| entry.mistyped)
        .map(|entry| (parent(entry), entry.at.clone()))
        .take(TOLD_MAX)
        .collect();
    entries.retain(|entry| {
        let covered = |(way, at): &(Vec<Step>, Vec<Step>)| {
            entry.way.starts_with(way) && entry.at.starts_with(at) && !(entry.mistyped && parent(entry) == *way)
        };
        !mistyped.iter().any(covered)
    });
    entries
}

/// A combination whose branch reports by itself.
struct Frame {
    /// Up to and with its keyword on the way through the schema.
    length: usize,
    /// How far into the document it stands.
    depth: usize,
    keyword: String,
}

/// The first such combination on a way, beginning `from` steps in.
fn frame(way: &[Step], from: usize) -> Option<Frame> {
    let (mut index, mut depth) = (0, 0);
    while let Some(step) = way.get(index) {
        let numbered = matches!(way.get(index + 1), Some(Step::Item(_)));
        let Step::Field(keyword) = step else {
            index += 1;
            continue;
        };
        if index >= from && matches!(keyword.as_str(), "allOf" | "then" | "else") && index + 1 < way.len() {
            return Some(Frame { length: index + 1, depth, keyword: keyword.clone() });
        }
        let (taken, deeper) = match keyword.as_str() {
            "properties" | "patternProperties" => (2, 1),
            "items" if numbered => (2, 1),
            "items" | "additionalItems" | "contains" | "additionalProperties" => (1, 1),
            "allOf" | "anyOf" | "oneOf" | "dependencies" => (2, 0),
            _ => (1, 0),
        };
        (index, depth) = (index + taken, depth + deeper);
    }
    None
}

/// Puts the lines of errors in order. Each level of nested combinations is one call.
fn arrange(entries: Vec<Entry>, from: usize) -> Vec<String> {
    /// What is told together.
    struct Group {
        at: Vec<Step>,
        class: u8,
        frame: Option<Frame>,
        entries: Vec<Entry>,
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let Some(found) = frame(&entry.way, from) else {
            groups.push(Group { at: entry.at.clone(), class: entry.class, frame: None, entries: vec![entry] });
            continue;
        };
        let at: Vec<Step> = entry.at.iter().take(found.depth).cloned().collect();
        let way = entry.way.get(..found.length).map(place).unwrap_or_default();
        match known.get(&format!("{way} {}", place(&at))).and_then(|index| groups.get_mut(*index)) {
            Some(group) => group.entries.push(entry),
            None => {
                known.insert(format!("{way} {}", place(&at)), groups.len());
                groups.push(Group { at, class: 0, frame: Some(found), entries: vec![entry] });
            }
        }
    }
    // A value comes before what is inside it. Stable: what the validator told in its order stays so.
    groups.sort_by(|one, other| one.at.cmp(&other.at).then(one.class.cmp(&other.class)));
    let mut lines = Vec::new();
    for Group { at, frame, entries, .. } in groups {
        let Some(Frame { length, keyword, .. }) = frame else {
            lines.extend(entries.into_iter().flat_map(|entry| entry.lines));
            continue;
        };
        let inner = arrange(entries, length);
        let here = place(&at);
        match keyword.as_str() {
            "allOf" => {
                lines.extend(inner);
                lines.push(line(&here, "Must validate all the schemas (allOf)"));
            }
            other => {
                let was = if other == "then" { "was" } else { "was not" };
                lines.push(line(&here, &format!("Must validate \"{other}\" as \"if\" {was} valid")));
                lines.extend(inner);
            }
        }
    }
    lines
}

fn is_dependency(way: &[Step]) -> bool {
    way.iter().rev().take(2).any(|step| matches!(step, Step::Field(name) if name == "dependencies"))
}

/// The descriptions of one error; most have one.
fn descriptions(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => additional(unexpected.iter()),
        Kind::UniqueItems => twins(error.instance().as_ref()),
        _ => vec![describe(error, schema)],
    }
}

fn additional<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    names.take(TOLD_MAX).map(|name| format!("Additional property {name} is not allowed")).collect()
}

/// Each item that stands in an array before already.
fn twins(array: &Value) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let items = array.as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate();
    let twin = |(at, item): (usize, &Value)| {
        let first = *seen.entry(item.to_string()).or_insert(at);
        (first != at).then(|| format!("array items[{first},{at}] must be unique"))
    };
    items.filter_map(twin).take(TOLD_MAX).collect()
}

fn describe(error: &ValidationError<'_>, schema: &Value) -> String {
    let field = || place(&steps(error.instance_path()));
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            if is_dependency(&steps(error.evaluation_path())) {
                format!("Has a dependency on {name}")
            } else {
                format!("{name} is required")
            }
        }
        Kind::Type { kind } => {
            format!("Invalid type. Expected: {}, given: {}", expected(kind, error, schema), given(error.instance()))
        }
        Kind::MinLength { limit } => format!("String length must be greater than or equal to {limit}"),
        Kind::MaxLength { limit } => format!("String length must be less than or equal to {limit}"),
        Kind::Pattern { pattern } => format!("Does not match pattern '{pattern}'"),
        Kind::Format { format } => format!("Does not match format '{format}'"),
        Kind::Minimum { limit } => format!("Must be greater than or equal to {}", number(limit)),
        Kind::ExclusiveMinimum { limit } => format!("Must be greater than {}", number(limit)),
        Kind::Maximum { limit } => format!("Must be less than or equal to {}", number(limit)),
        Kind::ExclusiveMaximum { limit } => format!("Must be less than {}", number(limit)),
        Kind::MultipleOf { multiple_of } => format!("Must be a multiple of {multiple_of}"),
        Kind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
            format!("{} must be one of the following: {}", field(), options.join(", "))
        }
        Kind::Constant { expected_value } => format!("{} does not match: {expected_value}", field()),
        Kind::MinItems { limit } => format!("Array must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("Array must have at most {limit} items"),
        Kind::Contains => "At least one of the items must match".to_owned(),
        Kind::AdditionalItems { .. } => "No additional items allowed on array".to_owned(),
        Kind::MinProperties { limit } => format!("Must have at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("Must have at most {limit} properties"),
        Kind::PropertyNames { error } => {
            let name = error.instance();
            format!("Property name of \"{}\" does not match", name.as_str().unwrap_or_default())
        }
        Kind::AnyOf { .. } => "Must validate at least one schema (anyOf)".to_owned(),
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            "Must validate one and only one schema (oneOf)".to_owned()
        }
        Kind::Not { .. } => "Must not validate the schema (not)".to_owned(),
        Kind::FalseSchema => "False always fails validation".to_owned(),
        _ => error.masked().to_string(),
    }
}

/// The types asked for, in the schema's order.
fn expected(kind: &TypeKind, error: &ValidationError<'_>, schema: &Value) -> String {
    let written = schema.pointer(error.schema_path().as_str()).and_then(Value::as_array);
    let names: Vec<String> = match (kind, written) {
        (TypeKind::Single(one), _) => vec![one.to_string()],
        (TypeKind::Multiple(_), Some(names)) => {
            names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
        }
        (TypeKind::Multiple(set), None) => set.iter().map(|one: JsonType| one.to_string()).collect(),
    };
    match names.as_slice() {
        [one] => one.clone(),
        names => format!("[{}]", names.join(",")),
    }
}

fn given(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A number without a fraction that is zero.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => number.to_string(),
        _ => value.to_string(),
    }
}
