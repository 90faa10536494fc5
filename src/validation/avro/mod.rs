//! Avro: a compiled schema, and the walk over the bare binary form of one datum that says whether it is one. Nothing is built from the
//! datum, so it takes no memory but for the keys of its maps; steps and depth are bounded. The words are goavro's.

mod schema;
#[cfg(test)]
mod tests;

use schema::{Node, Nodes};
use serde_json::Value;
use std::collections::HashSet;

/// How deep data may stand in each other.
const DEPTH_MAX: u32 = 128;
/// Steps that any datum may take, and how many more for each of its bytes: what takes no bytes may be counted in billions.
const STEPS: u64 = 100_000;
const STEPS_A_BYTE: u64 = 8;
/// Most items of one block, as goavro has it.
const BLOCK_MAX: i64 = i32::MAX as i64;

/// What decoding says: nothing, or what is wrong.
type Walked<T = ()> = Result<T, String>;

/// A compiled Avro schema.
#[derive(Debug)]
pub(super) struct AvroRules {
    nodes: Nodes,
}

impl AvroRules {
    /// Compiles a schema. O(size).
    ///
    /// # Errors
    /// What is wrong with it, as goavro says it.
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        Ok(Self { nodes: Nodes::of(schema)? })
    }

    /// Checks that bytes begin with a datum; what follows does not count. O(length).
    ///
    /// # Errors
    /// What is wrong, as goavro says it.
    pub(super) fn check(&self, datum: &[u8]) -> Walked {
        let steps = STEPS.saturating_add(STEPS_A_BYTE.saturating_mul(datum.len() as u64));
        let mut walk = Walk { nodes: &self.nodes, rest: datum, steps, depth: 0 };
        walk.datum(0)
    }
}

struct Walk<'a> {
    nodes: &'a Nodes,
    rest: &'a [u8],
    steps: u64,
    depth: u32,
}

const SHORT: &str = "short buffer";

impl<'a> Walk<'a> {
    fn datum(&mut self, node: usize) -> Walked {
        self.steps = self.steps.checked_sub(1).ok_or("datum takes too many steps")?;
        if self.depth >= DEPTH_MAX {
            return Err("datum is nested too deeply".to_owned());
        }
        self.depth += 1;
        let walked = match self.nodes.get(node) {
            Node::Null => Ok(()),
            Node::Boolean => self.boolean(),
            Node::Int => match i32::try_from(self.long()?) {
                Ok(_) => Ok(()),
                Err(_) => Err("int is out of range".to_owned()),
            },
            Node::Long => self.long().map(|_| ()),
            Node::Float => self.take(4).map(|_| ()).map_err(|why| format!("cannot decode binary float: {why}")),
            Node::Double => self.take(8).map(|_| ()).map_err(|why| format!("cannot decode binary double: {why}")),
            Node::Bytes => self.bytes().map(|_| ()),
            Node::String => self.string().map(|_| ()),
            Node::Fixed { name, size } => self.fixed(name, *size),
            Node::Enum { name, symbols } => {
                let of = format_args!("enum \"{name}\"").to_string();
                self.index(*symbols, &of).map(|_| ())
            }
            Node::Union(members) => self.union(members),
            Node::Array(items) => self.array(*items),
            Node::Map(values) => self.map(*values),
            Node::Record { name, fields } => fields.iter().try_for_each(|(field, node)| {
                self.datum(*node)
                    .map_err(|why| format!("cannot decode binary record \"{name}\" field \"{field}\": {why}"))
            }),
        };
        self.depth -= 1;
        // Told from within outwards, a deep datum's words would grow with the square of its depth.
        walked.map_err(|why| if why.len() > 4_096 { why.chars().take(1_024).collect() } else { why })
    }

    fn take(&mut self, count: usize) -> Walked<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn boolean(&mut self) -> Walked {
        match self.take(1).map_err(|why| format!("cannot decode binary boolean: {why}"))? {
            [0 | 1] => Ok(()),
            other => {
                let byte = other.first().copied().unwrap_or_default();
                Err(format!("cannot decode binary boolean: expected: Go byte(0) or byte(1); received: byte({byte})"))
            }
        }
    }

    /// A number of variable length, zigzag.
    fn long(&mut self) -> Walked<i64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err("number is longer than ten bytes".to_owned())
    }

    fn bytes(&mut self) -> Walked<&'a [u8]> {
        let told = |why: String| format!("cannot decode binary bytes: {why}");
        let size = self.long().map_err(told)?;
        let size = usize::try_from(size).map_err(|_| told(format!("negative size: {size}")))?;
        self.take(size).map_err(told)
    }

    fn string(&mut self) -> Walked<&'a str> {
        let told = |why: String| format!("cannot decode binary string: {why}");
        let bytes = self.bytes().map_err(told)?;
        std::str::from_utf8(bytes).map_err(|_| told("it is not UTF-8".to_owned()))
    }

    fn fixed(&mut self, name: &str, size: usize) -> Walked {
        let left = self.rest.len();
        self.take(size).map(|_| ()).map_err(|why| {
            format!(
                "cannot decode binary fixed \"{name}\": schema size exceeds remaining buffer size: {size} > {left} ({why})"
            )
        })
    }

    /// Which of so many.
    fn index(&mut self, count: usize, of: &str) -> Walked<usize> {
        let read = self.long().map_err(|why| format!("cannot decode binary {of}: {why}"))?;
        usize::try_from(read).ok().filter(|index| *index < count).ok_or_else(|| {
            let most = count.saturating_sub(1);
            format!("cannot decode binary {of}: index ought to be between 0 and {most}; read index: {read}")
        })
    }

    fn union(&mut self, members: &[usize]) -> Walked {
        let index = self.index(members.len(), "union")?;
        let member = members.get(index).copied().unwrap_or_default();
        self.datum(member).map_err(|why| format!("cannot decode binary union item {}: {why}", index + 1))
    }

    /// The number of items of the next block; none at the end.
    fn block(&mut self, of: &str) -> Walked<Option<i64>> {
        let count = self.long().map_err(|why| format!("cannot decode binary {of} block count: {why}"))?;
        if count < 0 {
            // The block's size in bytes follows: for who wants to pass over it.
            self.long().map_err(|why| format!("cannot decode binary {of} block size: {why}"))?;
        }
        let count = count.checked_abs().filter(|count| *count <= BLOCK_MAX);
        let count = count
            .ok_or_else(|| format!("cannot decode binary {of} when block count exceeds MaxBlockCount: {BLOCK_MAX}"))?;
        Ok(Some(count).filter(|count| *count > 0))
    }

    fn array(&mut self, items: usize) -> Walked {
        let mut item = 0_u64;
        while let Some(count) = self.block("array")? {
            for _ in 0..count {
                item += 1;
                self.datum(items).map_err(|why| format!("cannot decode binary array item {item}: {why}"))?;
            }
        }
        Ok(())
    }

    fn map(&mut self, values: usize) -> Walked {
        let mut keys = HashSet::new();
        while let Some(count) = self.block("map")? {
            for _ in 0..count {
                let key = self.string().map_err(|why| format!("cannot decode binary map key: {why}"))?;
                if !keys.insert(key) {
                    return Err(format!("cannot decode binary map: duplicate key: {key:?}"));
                }
                self.datum(values).map_err(|why| format!("cannot decode binary map value for key {key:?}: {why}"))?;
            }
        }
        Ok(())
    }
}
