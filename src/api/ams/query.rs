//! The query string: its parameters as Go reads them, and the two that pages are asked for with.

use super::error::Failure;
use super::payload;
use crate::broker::{Page, PageRequest};
use std::borrow::Cow;

/// A request's query, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Takes what stands after the `?`.
    pub(crate) fn new(query: &'a str) -> Self {
        Self(query)
    }

    /// The first value of a parameter, decoded; none when it is not given. Pairs with a `;` or a broken escape do not count.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if decode(key)? == name { decode(value) } else { None }
        })
    }

    /// Whether a switch is on: `true`, or `True` as the Python library writes it.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name).as_deref(), Some("true" | "True"))
    }

    /// The page asked for. `also` is another name that the token may come under.
    pub(crate) fn page(&self, also: Option<&str>) -> Result<PageRequest, Failure> {
        let size = match self.get("pageSize").as_deref() {
            None | Some("") => 0,
            Some(text) => text.parse::<i64>().map_err(|_| Failure::argument("Invalid page size"))?,
        };
        let token = self.get("pageToken").or_else(|| self.get(also?)).unwrap_or_default();
        let from = if token.is_empty() {
            None
        } else {
            Some(read_token(&token).ok_or_else(|| Failure::argument("Invalid page token"))?)
        };
        Ok(PageRequest { size: usize::try_from(size).ok().filter(|size| *size > 0), from })
    }
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let broken =
        |place: usize| !bytes.get(place + 1..place + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(place, byte)| *byte == b'%' && broken(place)) {
        return None;
    }
    let blanks = text.replace('+', " ");
    Some(Cow::Owned(percent_encoding::percent_decode_str(&blanks).decode_utf8_lossy().into_owned()))
}

/// A token is the base64 form of an id's 32 hexadecimal digits; 24 digits, as older servers gave out, are an id too.
fn read_token(token: &str) -> Option<u128> {
    let mut scratch = Vec::new();
    let id = std::str::from_utf8(payload::decode(token, &mut scratch)?).ok()?;
    let hexadecimal = matches!(id.len(), 24 | 32) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal { u128::from_str_radix(id, 16).ok() } else { None }
}

/// The token of a page's successor; empty when there is none.
pub(crate) fn next_token<T>(page: &Page<T>) -> String {
    let mut token = Vec::new();
    if let Some(id) = page.next {
        payload::encode(format!("{id:032x}").as_bytes(), &mut token);
    }
    String::from_utf8(token).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_parameter_counts() {
        let query = Query::new("&a=1&a=2&b=x+y%2Bz&c&d=%zz&d=ok&e;=1&f=%c3%a9");
        assert_eq!(query.get("a").as_deref(), Some("1"));
        assert_eq!(query.get("b").as_deref(), Some("x y+z"));
        assert_eq!(query.get("c").as_deref(), Some(""));
        assert_eq!(query.get("d").as_deref(), Some("ok"));
        assert_eq!(query.get("e"), None);
        assert_eq!(query.get("f").as_deref(), Some("é"));
        assert_eq!(query.get("missing"), None);
    }

    #[test]
    fn page_sizes_are_read_as_the_contract_says() {
        let size = |query: &str| Query::new(query).page(None).map(|page| page.size).map_err(|failure| failure.message);
        for (query, expected) in [
            ("", None),
            ("pageSize=", None),
            ("pageSize=0", None),
            ("pageSize=-3", None),
            ("pageSize=5", Some(5)),
            ("pageSize=%2B5", Some(5)),
            ("pageSize=007", Some(7)),
            ("pageSize=2&pageSize=x", Some(2)),
        ] {
            assert_eq!(size(query), Ok(expected), "{query}");
        }
        for wrong in ["x", "+5", "1.0", "1e1", "9223372036854775808", "%205"] {
            assert_eq!(
                size(&format!("pageSize={wrong}&pageToken=invalid")),
                Err("Invalid page size".into()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn page_tokens_carry_an_id_there_and_back() {
        let page = Page { items: vec![()], next: Some(0x0192_0000_0000_7000_8000_0000_0000_0001), total: 2 };
        let token = next_token(&page);
        let from = |query: String| Query::new(&query).page(Some("nextPageToken")).map(|page| page.from);
        assert_eq!(from(format!("pageToken={}", token.replace('=', "%3D"))), Ok(page.next));
        assert_eq!(from(format!("nextPageToken={token}")), Ok(page.next));
        assert_eq!(from("pageToken=&pageSize=".to_owned()), Ok(None));
        assert_eq!(
            from("pageToken=NjYzMjFhZjhkMGY0YmIwMDFmN2MwMDAx".to_owned()),
            Ok(Some(0x6632_1af8_d0f4_bb00_1f7c_0001))
        );
        for wrong in ["invalid", "AAAA", "NjYzMjFhZjhkMGY0YmIwMDFmN2MwMDA=", "Kys="] {
            assert!(from(format!("pageToken={wrong}")).is_err(), "{wrong}");
        }
        assert_eq!(next_token(&Page::<()> { items: Vec::new(), next: None, total: 0 }), "");
    }
}
