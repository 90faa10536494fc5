//! Avro schemas: from JSON to a list of nodes that name each other by their place. Accepts and refuses as goavro 2.1 does, in its
//! words; logical types are their underlying types. Decodes nothing.

use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// How deep a schema may be nested.
const DEPTH_MAX: usize = 64;
/// Most nodes of a schema.
const NODES_MAX: usize = 10_000;
/// Most bytes of a fixed.
const FIXED_MAX: u64 = 64 << 20;

type Read<T> = Result<T, String>;

/// A type. Others are named by their place in [`Nodes`].
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed { name: String, size: usize },
    Enum { name: String, symbols: usize },
    Union(Vec<usize>),
    Array(usize),
    Map(usize),
    Record { name: String, fields: Vec<(String, usize)> },
}

/// A schema's types; the first one is the schema's own.
#[derive(Debug)]
pub(super) struct Nodes {
    list: Vec<Node>,
}

impl Nodes {
    pub(super) fn of(schema: &Value) -> Read<Self> {
        let mut reader = Reader { nodes: Self { list: Vec::new() }, named: HashMap::new() };
        let root = reader.read(schema, "", 0)?;
        // Only a schema that is but a primitive's name is not the first one already.
        debug_assert_eq!(root, 0);
        Ok(reader.nodes)
    }

    pub(super) fn get(&self, place: usize) -> &Node {
        self.list.get(place).unwrap_or(&Node::Null)
    }
}

struct Reader {
    nodes: Nodes,
    /// Named types by their full names.
    named: HashMap<String, usize>,
}

impl Reader {
    fn read(&mut self, schema: &Value, space: &str, depth: usize) -> Read<usize> {
        if depth > DEPTH_MAX {
            return Err("schema is nested too deeply".to_owned());
        }
        match schema {
            Value::String(name) => self.by_name(name, space),
            Value::Array(members) => self.union(members, space, depth),
            Value::Object(map) => match map.get("type") {
                None => Err(format!("missing type: {}", go(schema))),
                Some(Value::String(name)) => self.of_type(name, map, space, depth),
                Some(inner) => self.read(inner, space, depth + 1),
            },
            other => Err(format!("unknown schema type: {}", go(other))),
        }
    }

    /// A place that is filled in later: what stands in it may refer to it.
    fn reserve(&mut self) -> Read<usize> {
        if self.nodes.list.len() >= NODES_MAX {
            return Err("schema has too many parts".to_owned());
        }
        self.nodes.list.push(Node::Null);
        Ok(self.nodes.list.len() - 1)
    }

    fn fill(&mut self, place: usize, node: Node) -> usize {
        if let Some(slot) = self.nodes.list.get_mut(place) {
            *slot = node;
        }
        place
    }

    fn by_name(&mut self, name: &str, space: &str) -> Read<usize> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes,
            "string" => Node::String,
            _ => {
                let known = self.named.get(&full(name, space)).or_else(|| self.named.get(name));
                return known.copied().ok_or_else(|| format!("unknown type name: \"{name}\""));
            }
        };
        let place = self.reserve()?;
        Ok(self.fill(place, node))
    }

    fn of_type(&mut self, name: &str, map: &Map<String, Value>, space: &str, depth: usize) -> Read<usize> {
        match name {
            "array" => {
                let items = map.get("items").ok_or("Array ought to have items key")?;
                let place = self.reserve()?;
                let items = self.read(items, space, depth + 1);
                let items = items.map_err(|why| format!("Array items ought to be valid Avro type: {why}"))?;
                Ok(self.fill(place, Node::Array(items)))
            }
            "map" => {
                let values = map.get("values").ok_or("Map ought to have values key")?;
                let place = self.reserve()?;
                let values = self.read(values, space, depth + 1);
                let values = values.map_err(|why| format!("Map values ought to be valid Avro type: {why}"))?;
                Ok(self.fill(place, Node::Map(values)))
            }
            "enum" => self.enumeration(map, space),
            "fixed" => self.fixed(map, space),
            "record" | "error" => self.record(map, space, depth),
            other => self.by_name(other, space),
        }
    }

    /// Makes the place of a named type known.
    fn name(&mut self, kind: &str, map: &Map<String, Value>, space: &str) -> Read<(usize, String, String)> {
        let wrong = |why: &str| format!("{kind} ought to have valid name: {why}");
        let name = map.get("name").ok_or_else(|| wrong("schema ought to have name key"))?;
        let name = name.as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong("schema name ought to be non-empty string"))?;
        let own = match map.get("namespace") {
            None => space,
            Some(own) => own.as_str().ok_or_else(|| wrong("schema namespace ought to be string"))?,
        };
        let full = full(name, own);
        let letters = |part: &str| {
            part.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !full.split('.').all(letters) {
            return Err(wrong(&format!(
                "schema name ought to start with letter or underscore, and hold but letters, digits and underscores: \"{full}\""
            )));
        }
        let place = self.reserve()?;
        // A union inside asks for its name before it is whole.
        self.fill(place, Node::Record { name: full.clone(), fields: Vec::new() });
        if self.named.insert(full.clone(), place).is_some() {
            return Err(wrong(&format!("schema ought to define a name once: \"{full}\"")));
        }
        let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        Ok((place, full, space))
    }

    fn enumeration(&mut self, map: &Map<String, Value>, space: &str) -> Read<usize> {
        let (place, name, _) = self.name("Enum", map, space)?;
        let symbols = map.get("symbols").ok_or_else(|| format!("Enum \"{name}\" ought to have symbols key"))?;
        let list = symbols.as_array().filter(|list| !list.is_empty() && list.iter().all(Value::is_string));
        let list = list.ok_or_else(|| {
            format!("Enum \"{name}\" symbols ought to be non-empty array of strings: {}", go(symbols))
        })?;
        let symbols = list.len();
        Ok(self.fill(place, Node::Enum { name, symbols }))
    }

    fn fixed(&mut self, map: &Map<String, Value>, space: &str) -> Read<usize> {
        let (place, name, _) = self.name("Fixed", map, space)?;
        let size = map.get("size").ok_or_else(|| format!("Fixed \"{name}\" ought to have size key"))?;
        let bytes = size.as_u64().filter(|bytes| (1..=FIXED_MAX).contains(bytes));
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let bytes =
            bytes.ok_or_else(|| format!("Fixed \"{name}\" size ought to be number greater than zero: {}", go(size)))?;
        Ok(self.fill(place, Node::Fixed { name, size: bytes }))
    }

    fn record(&mut self, map: &Map<String, Value>, space: &str, depth: usize) -> Read<usize> {
        let (place, name, space) = self.name("Record", map, space)?;
        let fields = map.get("fields").ok_or_else(|| format!("Record \"{name}\" ought to have fields key"))?;
        let list = fields.as_array().filter(|list| !list.is_empty());
        let list =
            list.ok_or_else(|| format!("Record \"{name}\" fields ought to be non-empty array: {}", go(fields)))?;
        let mut seen = HashSet::new();
        let mut read = Vec::with_capacity(list.len());
        for (at, field) in list.iter().enumerate() {
            let wrong =
                |why: &str| format!("Record \"{name}\" field {} ought to be valid Avro named type: {why}", at + 1);
            let parts = field.as_object().ok_or_else(|| wrong(&format!("ought to be object: {}", go(field))))?;
            let own = parts.get("name").and_then(Value::as_str).filter(|own| !own.is_empty());
            let own = own.ok_or_else(|| wrong("schema ought to have name key"))?;
            if !seen.insert(own) {
                return Err(wrong(&format!("field name ought to be unique: \"{own}\"")));
            }
            // The type of a field is read like a schema of its own.
            let kind = self.read(field, &space, depth + 1).map_err(|why| wrong(&why))?;
            read.push((own.to_owned(), kind));
        }
        Ok(self.fill(place, Node::Record { name, fields: read }))
    }

    fn union(&mut self, members: &[Value], space: &str, depth: usize) -> Read<usize> {
        if members.is_empty() {
            return Err("Union ought to have one or more members".to_owned());
        }
        let place = self.reserve()?;
        let mut seen = HashSet::new();
        let mut read = Vec::with_capacity(members.len());
        for (at, member) in members.iter().enumerate() {
            let node = self.read(member, space, depth + 1);
            let node = node.map_err(|why| format!("Union item {} ought to be valid Avro type: {why}", at + 1))?;
            let name = self.nodes.get(node).name();
            if !seen.insert(name.to_owned()) {
                return Err(format!("Union item {} ought to be unique type: {name}", at + 1));
            }
            read.push(node);
        }
        Ok(self.fill(place, Node::Union(read)))
    }
}

impl Node {
    /// What distinguishes it in a union.
    fn name(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Fixed { name, .. } | Self::Enum { name, .. } | Self::Record { name, .. } => name,
        }
    }
}

fn full(name: &str, space: &str) -> String {
    if space.is_empty() || name.contains('.') { name.to_owned() } else { format!("{space}.{name}") }
}

/// A JSON value as Go prints one that it has read.
fn go(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    if text.len() > 1_024 {
        text.truncate(text.floor_char_boundary(1_024));
    }
    text
}

fn print(value: &Value, to: &mut String) {
    // Writing to a text cannot fail.
    match value {
        Value::Null => to.push_str("<nil>"),
        Value::Bool(flag) => drop(write!(to, "{flag}")),
        Value::Number(number) => drop(write!(to, "{number}")),
        Value::String(text) => to.push_str(text),
        Value::Array(items) => {
            to.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    to.push(' ');
                }
                print(item, to);
            }
            to.push(']');
        }
        Value::Object(fields) => {
            to.push_str("map[");
            for (at, (name, field)) in fields.iter().enumerate() {
                if at > 0 {
                    to.push(' ');
                }
                to.push_str(name);
                to.push(':');
                print(field, to);
            }
            to.push(']');
        }
    }
}
