//! What browsers ask before they ask (CORS), for every path alike, known or not (`ams-v1.md` §1.1). The admin page depends on it.

use actix_web::HttpResponse;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN,
};
use actix_web::http::{Method, StatusCode};

/// Methods that a page may use.
const METHODS: [&str; 6] = ["OPTIONS", "POST", "GET", "PUT", "DELETE", "HEAD"];
/// Methods that need no leave.
const SIMPLE_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// Headers that need no leave.
const SIMPLE_HEADERS: [&str; 4] = ["Accept", "Accept-Language", "Content-Language", "Origin"];
/// Headers that a page may send with leave.
const HEADERS: [&str; 3] = ["X-Requested-With", "Content-Type", "X-Api-Key"];

/// Whether the request comes from a page of another origin.
fn has_origin(headers: &HeaderMap) -> bool {
    headers.get(ORIGIN).is_some_and(|origin| !origin.is_empty())
}

/// Answers an `OPTIONS` request.
pub(crate) fn preflight(headers: &HeaderMap) -> HttpResponse {
    if !has_origin(headers) {
        return HttpResponse::Ok().finish();
    }
    let Some(method) = headers.get(ACCESS_CONTROL_REQUEST_METHOD) else {
        return HttpResponse::BadRequest().finish();
    };
    let Some(method) = METHODS.iter().find(|known| method.as_bytes() == known.as_bytes()) else {
        return HttpResponse::new(StatusCode::METHOD_NOT_ALLOWED);
    };
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).map_or(&b""[..], HeaderValue::as_bytes);
    let mut granted: Vec<&str> = Vec::new();
    for name in asked.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let same = |known: &&&str| name.eq_ignore_ascii_case(known.as_bytes());
        if name.is_empty() || SIMPLE_HEADERS.iter().any(|known| same(&known)) {
            continue;
        }
        match HEADERS.iter().find(same) {
            // A page may name each header once; more names than there are headers are not worth echoing.
            Some(known) if granted.len() < 16 => granted.push(known),
            _ => return HttpResponse::Forbidden().finish(),
        }
    }
    let mut answer = HttpResponse::Ok();
    if !granted.is_empty() {
        answer.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, granted.join(",")));
    }
    if !SIMPLE_METHODS.contains(method) {
        answer.insert_header((ACCESS_CONTROL_ALLOW_METHODS, *method));
    }
    answer.insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    answer.finish()
}

/// Whether this is a request that [`preflight`] answers.
pub(crate) fn is_preflight(method: &Method) -> bool {
    *method == Method::OPTIONS
}

/// Lets pages of any origin read the answer.
pub(crate) fn allow(headers: &HeaderMap, answer: &mut HttpResponse) {
    if has_origin(headers) {
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    fn ask(headers: &[(HeaderName, &str)]) -> (u16, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        let answer = preflight(&map);
        let mut shown: Vec<_> =
            answer.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        shown.sort();
        (answer.status().as_u16(), shown.join("; "))
    }

    #[test]
    fn preflights_are_answered_as_the_contract_says() {
        let (origin, method, names) = (ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS);
        assert_eq!(ask(&[]), (200, String::new()));
        assert_eq!(ask(&[(method.clone(), "GET")]), (200, String::new()));
        assert_eq!(ask(&[(origin.clone(), "https://a")]), (400, String::new()));
        assert_eq!(ask(&[(origin.clone(), "https://a"), (method.clone(), "PATCH")]), (405, String::new()));
        let put = [(origin.clone(), "https://a"), (method.clone(), "PUT")];
        assert_eq!(ask(&put).1, "access-control-allow-methods: PUT; access-control-allow-origin: *");
        let post = [
            (origin.clone(), "https://a"),
            (method.clone(), "POST"),
            (names.clone(), "x-api-key, content-type,accept,"),
        ];
        assert_eq!(
            ask(&post),
            (200, "access-control-allow-headers: X-Api-Key,Content-Type; access-control-allow-origin: *".to_owned())
        );
        assert_eq!(ask(&[(origin, "https://a"), (method, "POST"), (names, "x-other")]), (403, String::new()));
    }
}
