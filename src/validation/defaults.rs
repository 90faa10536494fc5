//! The defaults that a JSON Schema has for members, put into documents without them. Follows no reference and checks nothing.

use serde_json::Value;

/// Fills in the members that `properties` of a schema has defaults for and a document does not have, inside members too; whether it did
/// anything. O(schema), no deeper than that is.
pub fn fill_defaults(schema: &Value, document: &mut Value) -> bool {
    let (Some(properties), Some(members)) =
        (schema.get("properties").and_then(Value::as_object), document.as_object_mut())
    else {
        return false;
    };
    let mut filled = false;
    for (name, schema) in properties {
        match (members.get_mut(name), schema.get("default")) {
            (Some(member), _) => filled |= fill_defaults(schema, member),
            (None, Some(default)) => {
                members.insert(name.clone(), default.clone());
                filled = true;
            }
            (None, None) => {}
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_missing_is_filled_in() {
        let schema = json!({"properties": {
            "a": {"default": 1},
            "b": {"properties": {"c": {"default": [2]}}},
            "d": {}
        }});
        let filled = |mut document: Value| (fill_defaults(&schema, &mut document), document);
        assert_eq!(filled(json!({"b": {}})), (true, json!({"a": 1, "b": {"c": [2]}})));
        assert_eq!(filled(json!({"a": null, "x": 0})), (false, json!({"a": null, "x": 0})));
        assert_eq!(filled(json!([{}])), (false, json!([{}])));
    }
}
