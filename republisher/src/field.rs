//! How a rule names a part of a message: `attribute:NAME`, `json:/pointer/into/payload`, `avro:field/field`.

/// A part of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    /// An attribute by its name.
    Attribute(String),
    /// A place in a JSON payload, as an RFC 6901 pointer; empty for the whole.
    Json(String),
    /// A field of an Avro record, through records and maps.
    Avro(Vec<String>),
}

impl Field {
    /// Reads the written form.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("attribute", name)) if !name.is_empty() => Ok(Self::Attribute(name.to_owned())),
            Some(("json", pointer)) if pointer.is_empty() || pointer.starts_with('/') => {
                Ok(Self::Json(pointer.to_owned()))
            }
            Some(("json", _)) => Err(format!("`{text}`: a JSON pointer begins with `/`")),
            Some(("avro", path)) if !path.is_empty() && path.split('/').all(|part| !part.is_empty()) => {
                Ok(Self::Avro(path.split('/').map(str::to_owned).collect()))
            }
            _ => Err(format!("`{text}` is no field; write attribute:NAME, json:/POINTER or avro:FIELD/FIELD")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_are_written() {
        assert_eq!(Field::parse("attribute:a:b"), Ok(Field::Attribute("a:b".to_owned())));
        assert_eq!(Field::parse("json:/a/0"), Ok(Field::Json("/a/0".to_owned())));
        assert_eq!(Field::parse("avro:tags/site"), Ok(Field::Avro(vec!["tags".to_owned(), "site".to_owned()])));
        for wrong in ["", "site", "attribute:", "json:a", "avro:", "avro:a//b", "xml:/a"] {
            assert!(Field::parse(wrong).is_err(), "{wrong}");
        }
    }
}
