//! Texts with places for fields of a message, such as `site-{avro:tags/endpoint_group}`, and what makes a text a topic's name.

use crate::field::Field;
use crate::message::View;
use std::borrow::Cow;

/// The longest name of a topic that every AMS v1 takes.
const NAME_MAX: usize = 212;

/// A text with places; `{{` and `}}` stand for braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Place(Field),
}

impl Template {
    /// Reads the written form.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.extend(from.chars().next());
                rest = after;
            } else if let Some((place, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Place(Field::parse(place)?));
                rest = after;
            } else {
                return Err(format!("`{text}` has a brace without its other; write {{{{ or }}}} for a brace itself"));
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The fields it has places for.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(field) => Some(field),
            Part::Text(_) => None,
        })
    }

    /// The text, if it has no places.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for this message; none if a field is absent.
    pub(crate) fn fill<'t>(&'t self, view: &View<'_>) -> Option<Cow<'t, str>> {
        if let Some(text) = self.fixed() {
            return Some(Cow::Borrowed(text));
        }
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place(field) => filled.push_str(&view.text(field)?),
            }
        }
        Some(Cow::Owned(filled))
    }
}

/// What is done with characters that no topic's name may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Naming {
    /// Each becomes `_`.
    #[default]
    Replace,
    /// The message counts as unmatched.
    Refuse,
}

impl Naming {
    /// A name that every service takes: letters, digits, `-` and `_`, at most 212. None if this text cannot be made one.
    pub(crate) fn apply(self, text: Cow<'_, str>) -> Option<Cow<'_, str>> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.chars().nth(NAME_MAX).is_some() {
            return None;
        }
        match self {
            _ if text.chars().all(good) => Some(text),
            Self::Refuse => None,
            Self::Replace => Some(text.chars().map(|c| if good(c) { c } else { '_' }).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, message: &str) -> Option<String> {
        let message: crate::message::Message<'_> = serde_json::from_str(message).unwrap();
        let template = Template::parse(template).unwrap();
        template.fill(&View::new(&message, None)).map(Cow::into_owned)
    }

    #[test]
    fn places_are_filled_from_attributes_and_payload() {
        // {"a":{"b":7}}
        let message = r#"{"messageId":"1","attributes":{"site":"GR-1"},"data":"eyJhIjp7ImIiOjd9fQ=="}"#;
        assert_eq!(filled("fixed", message).as_deref(), Some("fixed"));
        assert_eq!(filled("s-{attribute:site}-{json:/a/b}", message).as_deref(), Some("s-GR-1-7"));
        assert_eq!(filled("{{{attribute:site}}}", message).as_deref(), Some("{GR-1}"));
        assert_eq!(filled("{attribute:none}", message), None);
        assert_eq!(filled("{json:/a}", message), None, "an object is no text");
    }

    #[test]
    fn a_lonely_brace_or_an_unknown_field_is_refused() {
        for wrong in ["a{b", "a}b", "{}", "{site}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_made_safe_or_refused() {
        let named = |naming: Naming, text: &str| naming.apply(Cow::Borrowed(text)).map(Cow::into_owned);
        assert_eq!(named(Naming::Replace, "GR 1/ö.x").as_deref(), Some("GR_1___x"));
        assert_eq!(named(Naming::Refuse, "GR-1_x").as_deref(), Some("GR-1_x"));
        assert_eq!(named(Naming::Refuse, "GR.1"), None);
        assert_eq!(named(Naming::Replace, ""), None);
        assert_eq!(named(Naming::Replace, &"a".repeat(212)).map(|name| name.len()), Some(212));
        assert_eq!(named(Naming::Replace, &"a".repeat(213)), None);
    }
}
