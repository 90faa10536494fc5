//! Distinguished names: who a certificate speaks of, as text that people write and as the attributes that are compared.
//!
//! Two names are equal when they have the same relative names in the same order, each with the same set of attributes, each
//! value letter by letter: no folding of case, blanks or Unicode forms, so nothing that only looks alike is taken for another.
//! Only the spelling of attribute types is free (`cn`, `CN`, `2.5.4.3`), and whether a text is stored as one ASN.1 string type
//! or another.
//!
//! Two written forms are read. RFC 2253 (with RFC 4514), most specific part first: `CN=robot,O=Site,C=GR`, with its escapes,
//! quotes and multi-valued parts (`CN=a+UID=b`). The slash form, most general part first: `/C=GR/O=Site/CN=robot`. That form
//! has no escapes, so whatever in it could be read in two ways is refused. Reads no certificate; `certificate` does.

use crate::domain::{Error, Result};
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// Most bytes of a written name.
const TEXT_BYTES_MAX: usize = 4_096;
/// Most attributes of a name.
const ATTRIBUTES_MAX: usize = 64;

/// The attribute types with a name, the one that is shown first.
const TYPES: [(&str, &[&str]); 21] = [
    ("2.5.4.3", &["CN", "commonName"]),
    ("2.5.4.4", &["SN", "surname"]),
    ("2.5.4.5", &["serialNumber"]),
    ("2.5.4.6", &["C", "countryName"]),
    ("2.5.4.7", &["L", "localityName"]),
    ("2.5.4.8", &["ST", "stateOrProvinceName"]),
    ("2.5.4.9", &["STREET", "streetAddress"]),
    ("2.5.4.10", &["O", "organizationName"]),
    ("2.5.4.11", &["OU", "organizationalUnitName"]),
    ("2.5.4.12", &["title"]),
    ("2.5.4.13", &["description"]),
    ("2.5.4.17", &["postalCode"]),
    ("2.5.4.41", &["name"]),
    ("2.5.4.42", &["GN", "givenName"]),
    ("2.5.4.43", &["initials"]),
    ("2.5.4.46", &["dnQualifier"]),
    ("2.5.4.65", &["pseudonym"]),
    ("2.5.4.97", &["organizationIdentifier"]),
    ("0.9.2342.19200300.100.1.1", &["UID", "userId"]),
    ("0.9.2342.19200300.100.1.25", &["DC", "domainComponent"]),
    ("1.2.840.113549.1.9.1", &["emailAddress", "E", "Email"]),
];

/// One type with its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Attribute {
    /// The type's object identifier, dotted.
    kind: String,
    value: String,
}

/// A relative name: attributes without order, one almost always.
type Relative = BTreeSet<Attribute>;

/// A distinguished name. Never empty. `Display` writes its one form after RFC 4514, which reads back as the same name and is
/// the same text for no other name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DistinguishedName {
    /// The most general one first, as in certificates.
    relatives: Vec<Relative>,
}

impl DistinguishedName {
    /// Reads a written name: the slash form if it begins with a slash, else RFC 2253. `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is neither, is ambiguous, or is larger than names may be.
    pub fn parse(what: &'static str, text: &str) -> Result<Self> {
        let invalid = |why: String| Error::Invalid { what, why };
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid(format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let relatives = match text.strip_prefix('/') {
            Some(rest) => read_slashes(rest),
            None => read_rfc2253(text).map(|specific_first| specific_first.into_iter().rev().collect()),
        };
        relatives.and_then(Self::new).map_err(invalid)
    }

    /// A name of relative names, the most general one first, each of types (dotted) and values.
    ///
    /// # Errors
    /// In words that follow the name of what is wrong.
    pub(super) fn of(relatives: Vec<Vec<(String, String)>>) -> Result<Self, String> {
        let relatives: Result<Vec<Relative>, String> = relatives.into_iter().map(relative).collect();
        Self::new(relatives?)
    }

    fn new(relatives: Vec<Relative>) -> Result<Self, String> {
        if relatives.is_empty() {
            return Err("is empty".to_owned());
        }
        if relatives.iter().map(BTreeSet::len).sum::<usize>() > ATTRIBUTES_MAX {
            return Err(format!("has more than {ATTRIBUTES_MAX} parts"));
        }
        Ok(Self { relatives })
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, relative) in self.relatives.iter().rev().enumerate() {
            for (inner, attribute) in relative.iter().enumerate() {
                f.write_str(match (place, inner) {
                    (0, 0) => "",
                    (_, 0) => ",",
                    _ => "+",
                })?;
                write!(f, "{}=", shown_type(&attribute.kind))?;
                write_value(f, &attribute.value)?;
            }
        }
        Ok(())
    }
}

/// Characters that RFC 4514 wants escaped wherever they stand.
fn is_special(c: char) -> bool {
    matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let last = value.chars().count().saturating_sub(1);
    for (place, c) in value.chars().enumerate() {
        let at_edge = (c == ' ' && (place == 0 || place == last)) || (c == '#' && place == 0);
        if is_special(c) || at_edge {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

fn shown_type(kind: &str) -> &str {
    let known = TYPES.iter().find(|(oid, _)| *oid == kind).and_then(|(_, names)| names.first());
    known.map_or(kind, |name| name)
}

/// The object identifier of a written type: a known name in any case, or dotted numbers with or without `OID.` before them.
fn type_of(text: &str) -> Option<String> {
    let named = |(_, names): &&(&str, &[&str])| names.iter().any(|name| name.eq_ignore_ascii_case(text));
    if let Some((oid, _)) = TYPES.iter().find(named) {
        return Some((*oid).to_owned());
    }
    let dotted = match text.split_at_checked(4) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("oid.") => rest,
        _ => text,
    };
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    (dotted.contains('.') && dotted.split('.').all(number)).then(|| dotted.to_owned())
}

/// The attributes of a relative name: no value empty or with control characters, none there twice.
fn relative(attributes: Vec<(String, String)>) -> Result<Relative, String> {
    let mut relative = Relative::new();
    for (kind, value) in attributes {
        let name = shown_type(&kind).to_owned();
        if value.is_empty() {
            return Err(format!("has no value for {name}"));
        }
        if value.chars().any(char::is_control) {
            return Err(format!("has a control character in {name}"));
        }
        if !relative.insert(Attribute { kind, value }) {
            return Err(format!("has {name} twice with the same value in one part"));
        }
    }
    if relative.is_empty() { Err("has an empty part".to_owned()) } else { Ok(relative) }
}

/// Reads what follows the first slash. What could be read otherwise is refused.
fn read_slashes(text: &str) -> Result<Vec<Relative>, String> {
    let ambiguous = |part: &str, why: &str| {
        Err(format!(
            "is ambiguous in the slash form at `{part}` ({why}): write it as CN=…,O=…, most specific part first"
        ))
    };
    if text.contains('\\') {
        return ambiguous("\\", "the slash form has no escapes");
    }
    let mut relatives = Vec::new();
    for part in text.split('/') {
        let Some((kind, value)) = part.split_once('=') else {
            return ambiguous(part, "a slash in a value, or a type without a value");
        };
        let Some(kind) = type_of(kind) else {
            return ambiguous(part, "a slash in a value, or a type that is not known");
        };
        if value.trim() != value {
            return ambiguous(part, "blanks around a value");
        }
        let begins_another = |(at, _): (usize, &str)| {
            let rest = value.get(at + 1..).unwrap_or_default();
            rest.split_once('=').is_some_and(|(kind, _)| type_of(kind.trim()).is_some())
        };
        if value.match_indices(['+', ',', ';']).any(begins_another) {
            return ambiguous(part, "two parts, or one with this value");
        }
        relatives.push(relative(vec![(kind, value.to_owned())])?);
    }
    Ok(relatives)
}

/// Reads the form of RFC 2253, the most specific relative name first.
fn read_rfc2253(text: &str) -> Result<Vec<Relative>, String> {
    let mut rest = text;
    let mut relatives = Vec::new();
    let mut present = Vec::new();
    loop {
        let (kind, after) = rest.split_once('=').ok_or_else(|| format!("has no `=` in `{}`", rest.trim()))?;
        let kind = kind.trim();
        let oid = type_of(kind).ok_or_else(|| format!("has the attribute type `{kind}`, which is not known"))?;
        let (value, after) = read_value(after.trim_start_matches(' '))?;
        present.push((oid, value));
        let separator = after.chars().next();
        if separator != Some('+') {
            relatives.push(relative(std::mem::take(&mut present))?);
        }
        let Some(separator) = separator else { return Ok(relatives) };
        // One of `,`, `;` and `+`.
        rest = after.get(separator.len_utf8()..).unwrap_or_default();
    }
}

/// Reads a value up to the end or a separator, which begins what is left.
fn read_value(text: &str) -> Result<(String, &str), String> {
    if text.starts_with('#') {
        return Err("has a value in hexadecimal (#…): only text can be compared".to_owned());
    }
    let quoted = text.starts_with('"');
    let mut bytes = Vec::new();
    // How much of it is more than blanks at the end.
    let mut kept = 0;
    let mut rest = text.get(usize::from(quoted)..).unwrap_or_default();
    loop {
        let Some(c) = rest.chars().next() else {
            if quoted {
                return Err("has a quote that is not closed".to_owned());
            }
            break;
        };
        match c {
            '\\' => {
                let (escaped, after) = read_escape(rest)?;
                bytes.extend_from_slice(&escaped);
                kept = bytes.len();
                rest = after;
                continue;
            }
            '"' if quoted => {
                kept = bytes.len();
                rest = rest.get(1..).unwrap_or_default().trim_start_matches(' ');
                if !(rest.is_empty() || rest.starts_with([',', ';', '+'])) {
                    return Err("has something behind a closing quote".to_owned());
                }
                break;
            }
            ',' | ';' | '+' if !quoted => break,
            '"' | '<' | '>' if !quoted => return Err(format!("has an unescaped {c}")),
            _ => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                if c != ' ' {
                    kept = bytes.len();
                }
            }
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    bytes.truncate(kept);
    let value = String::from_utf8(bytes).map_err(|_| "has escapes that are not UTF-8".to_owned())?;
    Ok((value, rest))
}

/// Reads a backslash and what it escapes: a special character, or a byte as two hexadecimal digits.
fn read_escape(text: &str) -> Result<(Vec<u8>, &str), String> {
    let after = text.get(1..).unwrap_or_default();
    let Some(c) = after.chars().next() else { return Err("ends with a backslash".to_owned()) };
    if is_special(c) || matches!(c, ' ' | '#' | '=' | '/') {
        return Ok((vec![u8::try_from(c).unwrap_or(b'?')], after.get(1..).unwrap_or_default()));
    }
    match after.split_at_checked(2) {
        Some((pair, rest)) if pair.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
            Ok((vec![byte], rest))
        }
        _ => Err(format!("has an escape that is not known: \\{c}")),
    }
}

#[cfg(test)]
#[path = "dn_tests.rs"]
mod tests;
