//! Query parameters: the last of a name counts, blank ones are absent, lists come repeated or with commas.

use super::error::Failure;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is in a link.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request's parameters, decoded, without the blank ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the `?`.
    pub(crate) fn new(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self::of(pairs.map(|(name, value)| (decoded(name), decoded(value))))
    }

    /// Parameters that came otherwise than behind a `?`.
    pub(crate) fn of(pairs: impl Iterator<Item = (String, String)>) -> Self {
        Self(pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect())
    }

    /// A parameter as it is.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A parameter's last element, where commas part elements.
    fn last(&self, name: &str) -> Option<&str> {
        self.text(name).and_then(|text| text.rsplit(',').find(|element| !element.is_empty()))
    }

    /// An integer; what is too large for 64 bits is the largest.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.last(name) else { return Ok(None) };
        integer(text).map(Some).ok_or_else(|| {
            Failure::parameter(format!("The \"{name}\" parameter is invalid. The value must be an integer."))
        })
    }

    /// A truth value.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.last(name) {
            None => Ok(None),
            Some("true" | "True" | "t" | "yes" | "y" | "1" | "on") => Ok(Some(true)),
            Some("false" | "False" | "f" | "no" | "n" | "0" | "off") => Ok(Some(false)),
            Some(_) => Err(Failure::parameter(format!(
                "The \"{name}\" parameter is invalid. The value of the parameter must be \"true\" or \"false\"."
            ))),
        }
    }

    /// A list; none when there is nothing in it.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let given = self.0.iter().filter(|(given, _)| given == name);
        let list: Vec<_> =
            given.flat_map(|(_, value)| value.split(',')).filter(|element| !element.is_empty()).collect();
        Some(list).filter(|list| !list.is_empty())
    }

    /// All parameters but these.
    pub(crate) fn others<'a>(&'a self, known: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| !known.contains(name))
    }
}

/// An integer as Python reads it; what is too large for 64 bits is the largest.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// A link with these parameters; nothing in it needs care, not even from Python's `str.format`.
pub(crate) fn link(path: &str, parameters: &[(&str, String)]) -> String {
    let mut link = path.to_owned();
    for (place, (name, value)) in parameters.iter().enumerate() {
        link.push(if place == 0 { '?' } else { '&' });
        link.extend(utf8_percent_encode(name, KEPT));
        link.push('=');
        link.extend(utf8_percent_encode(value, KEPT));
    }
    link
}

/// How many things a page may have: what was asked for, or ten.
///
/// # Errors
/// The text that `wrong` makes when it is not within 1 and `most`.
pub(crate) fn limit(given: Option<i64>, most: u64, wrong: impl Fn(u64) -> String) -> Result<usize, Failure> {
    let asked = given.map_or(Some(10), |given| usize::try_from(given).ok());
    let within = |asked: &usize| given.is_none() || (1..=most).contains(&(*asked as u64));
    asked.filter(within).ok_or_else(|| Failure::request(wrong(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts_and_blanks_are_absent() {
        let query = Query::new("limit=1,2&limit=&echo=True&ids=a,b&ids=c&ids=&name=x%20y+z&flag");
        assert_eq!(query.integer("limit"), Ok(Some(2)));
        assert_eq!(query.boolean("echo"), Ok(Some(true)));
        assert_eq!(query.list("ids"), Some(vec!["a", "b", "c"]));
        assert_eq!(query.text("name"), Some("x y z"));
        assert_eq!((query.text("flag"), query.list("none"), query.integer("none")), (None, None, Ok(None)));
        assert_eq!(query.others(&["limit", "echo", "ids"]).collect::<Vec<_>>(), [("name", "x y z")]);
    }

    #[test]
    fn what_is_no_integer_or_truth_value_is_refused() {
        for (text, read) in [
            ("1", Some(1)),
            ("-1", Some(-1)),
            ("+3", Some(3)),
            (" 4 ", Some(4)),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(integer(text), read);
        }
        for wrong in ["", " ", "a", "1.0", "--1", "0x1"] {
            assert_eq!(integer(wrong), None, "{wrong}");
        }
        for wrong in ["TRUE", "None", "2"] {
            assert!(Query::new(&format!("echo={wrong}")).boolean("echo").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_link_survives_pythons_format() {
        assert_eq!(link("/v2/queues", &[("name", "{a} &ü".to_owned())]), "/v2/queues?name=%7Ba%7D%20%26%C3%BC");
    }
}
