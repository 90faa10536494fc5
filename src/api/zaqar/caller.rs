//! Who asks, and whether his request's head is in order: the checks before every handler, in the contract's order (`zaqar-v2.md` §1.3).

use super::collection::Collection;
use super::error::Failure;
use super::routes::Match;
use super::{Zaqar, ZaqarOptions, times};
use crate::auth::Token;
use crate::auth::keystone::{Identity, Unknown};
use crate::auth::policy::Bearer;
use crate::auth::signed_url::Grant;
use crate::domain::{Name, ProducerId};
use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap};
use aws_lc_rs::digest;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// The header whose presence says that a signature opens the request.
pub(crate) const SIGNATURE: &str = "url-signature";
/// Longest name of a queue.
const QUEUE_NAME_MAX: usize = 64;
/// Most characters of a project's id, where a path names a queue.
const PROJECT_MAX: usize = 256;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// His Client-ID.
    pub(crate) client: ProducerId,
    /// His project's id: as his token has it, or else as he gives it.
    pub(crate) project: String,
    /// His roles.
    pub(crate) roles: Vec<String>,
    /// Who Keystone says he is; none where it was not asked.
    pub(crate) known: Option<Known>,
    /// Whether he comes with a signature, which stands for him.
    pub(crate) signed: bool,
}

/// Somebody whom Keystone knows by the token that he came with.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Arc<Identity>,
    pub(crate) token: Token,
}

impl Caller {
    /// He, as policies judge him.
    pub(crate) fn bearer(&self) -> Bearer<'_> {
        let identity = self.known.as_ref().map(|known| &*known.identity);
        Bearer {
            user: identity.map_or("", |identity| &identity.user),
            project: &self.project,
            user_domain: identity.map_or("", |identity| &identity.user_domain),
            project_domain: identity.map_or("", |identity| &identity.project_domain),
            roles: &self.roles,
        }
    }
}

/// Whose a token is: the one step for every transport. None when there is no Keystone to ask, and everybody is believed.
pub(crate) async fn authenticate(zaqar: &Zaqar, token: Option<&str>) -> Result<Option<Known>, Unknown> {
    let Some(keystone) = &zaqar.keystone else { return Ok(None) };
    let token = Token::new(token.unwrap_or_default());
    match keystone.identify(&token).await {
        Ok(identity) => Ok(Some(Known { identity, token })),
        Err(unknown) => {
            if let Unknown::Unavailable(cause) = &unknown {
                tracing::error!(url = keystone.url(), cause, "Keystone cannot say whose a token is");
            }
            Err(unknown)
        }
    }
}

/// Whose the request's token is. A request that is signed, or asks which versions there are, needs none.
pub(crate) async fn identify(zaqar: &Zaqar, request: &HttpRequest) -> Result<Option<Known>, Unknown> {
    let headers = request.headers();
    if request.path() == "/" || headers.contains_key(SIGNATURE) {
        return Ok(None);
    }
    authenticate(zaqar, text(headers, "x-auth-token").as_deref()).await
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
    known: Option<Known>,
) -> Result<Caller, Failure> {
    let headers = request.headers();
    let signed = headers.contains_key(SIGNATURE);
    if signed && !is_signed(zaqar, options, request) {
        return Err(Failure::NO_ROUTE);
    }
    check_form(headers)?;
    check_accept(headers)?;
    let client = client(options, &text(headers, "client-id").ok_or(Failure::NO_CLIENT)?)?;
    let project = match &known {
        Some(known) => known.identity.project.clone(),
        None => text(headers, "x-project-id").map(Cow::into_owned),
    };
    let project = project.ok_or(Failure::NO_PROJECT)?;
    if project.is_empty() {
        return Err(Failure::EMPTY_PROJECT);
    }
    if let Some(queue) = &found.queue {
        check_names(found.collection(), queue, &project)?;
    }
    let roles = || text(headers, "x-roles").or_else(|| text(headers, "x-role")).unwrap_or_default().into_owned();
    let roles = roles_of(zaqar, options, known.as_ref(), signed, roles);
    Ok(Caller { client, project, roles, known, signed })
}

/// The roles of who is known, or else those that he claims, where they are believed.
pub(crate) fn roles_of(
    zaqar: &Zaqar,
    options: &ZaqarOptions,
    known: Option<&Known>,
    signed: bool,
    claimed: impl FnOnce() -> String,
) -> Vec<String> {
    match known {
        Some(known) => known.identity.roles.clone(),
        // Who comes with a signature is nobody but its bearer.
        None if signed || zaqar.keystone.is_some() || !options.trust_roles => Vec::new(),
        None => claimed().split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect(),
    }
}

/// Refuses what is no name of a queue or topic, and a project's id that none can have who names one.
pub(crate) fn check_names(collection: Collection, name: &str, project: &str) -> Result<(), Failure> {
    let fits = is_queue_name(name) && project.chars().count() <= PROJECT_MAX;
    match collection {
        _ if fits => Ok(()),
        Collection::Queues => Err(Failure::WRONG_QUEUE),
        Collection::Topics => Err(Failure::WRONG_TOPIC),
    }
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

/// A Client-ID, however it is written.
pub(crate) fn client(options: &ZaqarOptions, given: &str) -> Result<ProducerId, Failure> {
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

/// Whether a signature opens this request.
fn is_signed(zaqar: &Zaqar, options: &ZaqarOptions, request: &HttpRequest) -> bool {
    let headers = request.headers();
    let header = |name| text(headers, name).unwrap_or_default();
    let (paths, methods) = (header("url-paths"), header("url-methods"));
    let signed = Signed {
        paths: paths.split(',').collect(),
        methods: methods.split(',').collect(),
        project: &text(headers, "x-project-id").unwrap_or(Cow::Borrowed("None")),
        expires: &header("url-expires"),
        signature: &header(SIGNATURE),
    };
    signed.opens(zaqar, options, request.method().as_str(), request.path())
}

/// What the bearer of a signature shows (`zaqar-v2.md` §18.2).
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) paths: Vec<&'a str>,
    pub(crate) methods: Vec<&'a str>,
    pub(crate) project: &'a str,
    pub(crate) expires: &'a str,
    pub(crate) signature: &'a str,
}

impl Signed<'_> {
    /// Whether it opens this path to this method now.
    pub(crate) fn opens(&self, zaqar: &Zaqar, options: &ZaqarOptions, method: &str, path: &str) -> bool {
        let (Some(key), Some(expires)) = (&options.url_key, times::read(self.expires)) else { return false };
        let covers = |granted: &str| {
            path.strip_prefix(granted)
                .is_some_and(|rest| !granted.is_empty() && (rest.is_empty() || rest.starts_with('/')))
        };
        let written = times::write(expires);
        let grant = Grant {
            paths: self.paths.clone(),
            methods: self.methods.clone(),
            project: self.project,
            expires: &written,
        };
        grant.methods.contains(&method)
            && grant.paths.iter().any(|granted| covers(granted))
            && expires.0 > zaqar.broker.clock().wall()
            && key.verifies(&grant, self.signature)
    }
}
