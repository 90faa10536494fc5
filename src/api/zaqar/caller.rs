//! Who asks, and whether his request's head is in order: the checks before every handler, in the contract's order (`zaqar-v2.md` §1.3).

use super::collection::Collection;
use super::error::Failure;
use super::routes::Match;
use super::{Zaqar, ZaqarOptions, times};
use crate::auth::signed_url::Grant;
use crate::domain::{Name, ProducerId};
use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap};
use aws_lc_rs::digest;
use std::borrow::Cow;
use std::net::IpAddr;

/// Longest name of a queue.
const QUEUE_NAME_MAX: usize = 64;
/// Most characters of a project's id, where a path names a queue.
const PROJECT_MAX: usize = 256;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    /// His Client-ID.
    pub(crate) client: ProducerId,
    /// His project's id as he gives it.
    pub(crate) project: String,
    /// His roles.
    pub(crate) roles: Vec<String>,
}

/// Refuses a request that came under a name which somebody else may have pointed here: without authentication, a browser could be made
/// to send it.
pub(crate) fn check_host(options: &ZaqarOptions, request: &HttpRequest) -> Result<(), Failure> {
    let header = request.headers().get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let host = header.or_else(|| request.uri().authority().map(|authority| Cow::Borrowed(authority.as_str())));
    let Some(host) = host else { return Ok(()) };
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host.as_ref(), |(name, _)| name),
    };
    let known = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || options.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    if known { Ok(()) } else { Err(Failure::STRANGE_HOST) }
}

/// All checks that do not depend on the method.
pub(crate) fn admit(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    request: &HttpRequest,
    found: &Match,
) -> Result<Caller, Failure> {
    let headers = request.headers();
    let signed = headers.contains_key("url-signature");
    if signed && !is_signed(zaqar, options, request) {
        return Err(Failure::NO_ROUTE);
    }
    check_form(headers)?;
    check_accept(headers)?;
    let client = client(options, headers)?;
    let project = text(headers, "x-project-id").ok_or(Failure::NO_PROJECT)?.into_owned();
    if project.is_empty() {
        return Err(Failure::EMPTY_PROJECT);
    }
    if let Some(queue) = &found.queue
        && (!is_queue_name(queue) || project.chars().count() > PROJECT_MAX)
    {
        return Err(match found.collection() {
            Collection::Queues => Failure::WRONG_QUEUE,
            Collection::Topics => Failure::WRONG_TOPIC,
        });
    }
    // Who comes with a signature is nobody but its bearer.
    let roles = if options.trust_roles && !signed { roles(headers) } else { Vec::new() };
    Ok(Caller { client, project, roles })
}

/// Whether a text is a queue's name.
pub(crate) fn is_queue_name(text: &str) -> bool {
    (1..=QUEUE_NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A text as a queue's name; none for what is none.
pub(crate) fn queue_name(text: &str) -> Option<Name> {
    if is_queue_name(text) { Name::new(text).ok() } else { None }
}

/// A header's text: UTF-8 where it is that, and Latin-1 else, as Python servers read it.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let bytes = headers.get(name)?.as_bytes();
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.trim()),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    })
}

fn check_form(headers: &HeaderMap) -> Result<(), Failure> {
    let kind = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let form = kind.starts_with("application/x-www-form-urlencoded");
    if form && headers.contains_key(CONTENT_LENGTH) { Err(Failure::FORM) } else { Ok(()) }
}

/// Whether the client takes JSON.
fn check_accept(headers: &HeaderMap) -> Result<(), Failure> {
    let given: Vec<_> = headers.get_all(ACCEPT).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let accepted = given.join(",");
    let admits = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        });
        !refused && ["*/*", "application/*", "application/json"].iter().any(|known| kind.eq_ignore_ascii_case(known))
    };
    if accepted.trim().is_empty() || accepted.split(',').any(admits) { Ok(()) } else { Err(Failure::NOT_ACCEPTABLE) }
}

/// Refuses a client that takes no JSON; for the one path that checks nothing else.
pub(crate) fn check_reader(request: &HttpRequest) -> Result<(), Failure> {
    check_accept(request.headers())
}

/// The Client-ID, however it is written.
fn client(options: &ZaqarOptions, headers: &HeaderMap) -> Result<ProducerId, Failure> {
    let given = text(headers, "client-id").ok_or(Failure::NO_CLIENT)?;
    let plain = given.replace("urn:", "").replace("uuid:", "");
    let plain = plain.trim_matches(['{', '}']).replace('-', "");
    let id = ProducerId::parse(&plain).filter(|_| plain.len() == 32);
    let limits = &options.limits;
    let id = match id {
        Some(id) => id,
        None if limits.client_id_strict => return Err(Failure::WRONG_CLIENT),
        None if !(limits.min_length_client_id..=limits.max_length_client_id)
            .contains(&(given.chars().count() as u64)) =>
        {
            return Err(Failure::WRONG_CLIENT);
        }
        None => {
            let hash = digest::digest(&digest::SHA256, given.as_bytes());
            let (head, _) = hash.as_ref().split_first_chunk::<16>().ok_or(Failure::WRONG_CLIENT)?;
            ProducerId(u128::from_be_bytes(*head))
        }
    };
    // Zero is nobody.
    Ok(ProducerId(id.0.max(1)))
}

fn roles(headers: &HeaderMap) -> Vec<String> {
    let given = text(headers, "x-roles").or_else(|| text(headers, "x-role")).unwrap_or_default();
    given.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect()
}

/// Whether a signature opens this request (`zaqar-v2.md` §18.2).
fn is_signed(zaqar: &Zaqar, options: &ZaqarOptions, request: &HttpRequest) -> bool {
    let headers = request.headers();
    let header = |name| text(headers, name).unwrap_or_default();
    let (paths, methods, signature) = (header("url-paths"), header("url-methods"), header("url-signature"));
    let project = text(headers, "x-project-id").unwrap_or(Cow::Borrowed("None"));
    let (Some(key), Some(expires)) = (&options.url_key, times::read(&header("url-expires"))) else { return false };
    let path = request.path();
    let covers = |granted: &str| {
        path.strip_prefix(granted).is_some_and(|rest| !granted.is_empty() && (rest.is_empty() || rest.starts_with('/')))
    };
    let written = times::write(expires);
    let grant = Grant {
        paths: paths.split(',').collect(),
        methods: methods.split(',').collect(),
        project: &project,
        expires: &written,
    };
    grant.methods.contains(&request.method().as_str())
        && grant.paths.iter().any(|granted| covers(granted))
        && expires.0 > zaqar.broker.clock().wall()
        && key.verifies(&grant, &signature)
}
