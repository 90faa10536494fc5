//! Changes of a queue's metadata: the part of JSON-patch that Zaqar takes (`zaqar-v2.md` §4.5).

use super::error::Failure;
use super::json::{self, Object, Shape};
use super::metadata::SHOWN;
use serde_json::value::RawValue;

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change<'a> {
    key: String,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Add(&'a RawValue),
    Replace(&'a RawValue),
    Remove,
}

/// Reads a body.
///
/// # Errors
/// The contract's texts, in its order.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Change<'_>>, Failure> {
    if body.is_empty() {
        return Err(Failure::body("PATCH body could not be empty for update."));
    }
    match json::parse::<Shape<Object<'_>, Vec<Shape<Object<'_>, serde::de::IgnoredAny>>>>(body)? {
        Shape::Array(operations) => operations.iter().map(change).collect(),
        Shape::Object(_) => Err(Failure::WRONG_DOCUMENT),
        Shape::Other => Err(Failure::UNPARSED),
    }
}

fn change<'a>(operation: &Shape<Object<'a>, serde::de::IgnoredAny>) -> Result<Change<'a>, Failure> {
    let Shape::Object(operation) = operation else {
        return Err(Failure::body("Operations must be JSON objects."));
    };
    let op = operation.get("op").ok_or_else(|| {
        Failure::body(
            "Unable to find `op` in JSON Schema change. It must be one of the following: add, remove, replace.",
        )
    })?;
    let op = json::text(op).unwrap_or_else(|| op.get().into());
    if !["add", "remove", "replace"].contains(&op.as_ref()) {
        return Err(Failure::body(format!(
            "Invalid operation: `{op}`. It must be one of the following: add, remove, replace."
        )));
    }
    let path = operation.get("path").ok_or_else(|| Failure::body("Unable to find 'path' in JSON Schema change"))?;
    let segments = segments(&json::text(path).unwrap_or_else(|| path.get().into()))?;
    let [root, key] = segments.as_slice() else {
        let joined = segments.join("/");
        return Err(Failure::body(format!("Invalid JSON pointer for this resource: '/{joined}, e.g /metadata/key'")));
    };
    let what = if op == "remove" {
        What::Remove
    } else {
        let missing = || Failure::body(format!("Operation \"{op}\" requires a member named \"value\"."));
        let value = operation.get("value").ok_or_else(missing)?;
        if !root.eq_ignore_ascii_case("metadata") {
            return Err(Failure::body("The root of path must be metadata, e.g /metadata/key."));
        }
        if op == "add" { What::Add(value) } else { What::Replace(value) }
    };
    Ok(Change { key: key.clone(), what })
}

/// The segments of a JSON pointer.
fn segments(pointer: &str) -> Result<Vec<String>, Failure> {
    let wrong = |why: &str| Err(Failure::body(format!("Pointer `{pointer}` {why}.")));
    let Some(rest) = pointer.strip_prefix('/') else { return wrong("does not start with \"/\"") };
    let mut inner = rest.split('/');
    // What stands before the first slash and behind the last one is not between two.
    let (_, _) = (inner.next(), inner.next_back());
    if inner.any(|between| between.trim().is_empty()) {
        return wrong("contains adjacent \"/\"");
    }
    if rest.ends_with('/') {
        return wrong("end with \"/\"");
    }
    if rest.trim() == "/" {
        return wrong("does not contains valid token");
    }
    let mut tildes = pointer.split('~').skip(1);
    if tildes.any(|after| !after.starts_with(['0', '1'])) {
        return wrong("contains \"~\" not part of a recognized escape sequence");
    }
    let plain = |segment: &str| segment.replace("~1", "/").replace("~0", "~").trim().to_owned();
    Ok(rest.split('/').map(plain).collect())
}

/// Makes the changes, in order.
///
/// # Errors
/// 409 for what is not there.
pub(crate) fn apply<'a>(changes: &[Change<'a>], metadata: &mut Object<'a>) -> Result<(), Failure> {
    for Change { key, what } in changes {
        let reserved = SHOWN.contains(&key.as_str());
        match what {
            What::Add(value) => metadata.set(key, value),
            What::Replace(value) if reserved || metadata.get(key).is_some() => metadata.set(key, value),
            What::Replace(_) => return Err(Failure::conflict(format!("Can't replace non-existent object {key}."))),
            What::Remove => {
                if !metadata.remove(key) && !reserved {
                    return Err(Failure::conflict(format!("Can't remove non-existent object {key}.")));
                }
            }
        }
    }
    Ok(())
}
