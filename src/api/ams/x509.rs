//! The listener that gives a token for a client certificate, as ARGO AuthN does (`ams-v1.md` §10.3): one route, and nothing of
//! AMS's own. Which certificates are believed the TLS layer decides; here is whom they stand for.

use super::Ams;
use super::error::JSON;
use super::render::{self, Indent};
use crate::auth::x509::{Binding, CertificateNames};
use crate::domain::Error;
use crate::domain::user::User;
use crate::telemetry::logging::redact;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The only service type that is here.
const SERVICE_TYPE: &str = "ams";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether a certificate (the first) with what leads to its authority is still believed.
pub type Believed = Box<dyn Fn(&[CertificateDer<'static>], UnixTime) -> bool + Send + Sync>;

/// What the listener answers with.
pub struct X509Login {
    ams: Arc<Ams>,
    hosts: Vec<String>,
    believed: Believed,
}

/// The certificates that a connection's client showed, its own first.
#[derive(Debug)]
struct Shown(Vec<CertificateDer<'static>>);

/// A refusal in AuthN's words.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refusal {
    code: u16,
    message: String,
    status: &'static str,
}

impl X509Login {
    /// Logins for the users of `ams`. Hosts are those that a request may name, in any case; none at all for any. `believed` is
    /// asked for each request: a connection may outlive its certificate.
    #[must_use]
    pub fn new(ams: Arc<Ams>, hosts: Vec<String>, believed: Believed) -> Self {
        Self { ams, hosts, believed }
    }
}

impl fmt::Debug for X509Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Login").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Serves every path of an application: give it to `App::configure`, in each worker anew.
pub fn configure(login: Arc<X509Login>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |application| {
        application.default_service(web::to(move |request| {
            let login = Arc::clone(&login);
            async move { answer(&login, request).await }
        }));
    }
}

/// Remembers a new connection's certificates: give it to `HttpServer::on_connect`.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let stream = connection.downcast_ref::<TlsStream<TcpStream>>();
    if let Some(chain) = stream.and_then(|stream| stream.get_ref().1.peer_certificates()) {
        data.insert(Shown(chain.iter().map(|certificate| certificate.clone().into_owned()).collect()));
    }
}

/// Answers a request, and counts it.
async fn answer(login: &X509Login, request: HttpRequest) -> HttpResponse {
    let clock = login.ams.broker.clock();
    let (started, id) = (clock.monotonic(), login.ams.next_request_id());
    let answer = match path(request.path()) {
        None => HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("404 page not found\n"),
        Some(_) if *request.method() != Method::GET => HttpResponse::MethodNotAllowed().finish(),
        Some((service_type, host)) => {
            let shown = request.conn_data::<Shown>().map_or(&[][..], |shown| shown.0.as_slice());
            match token(login, id, shown, &service_type, &host).await {
                Ok(body) => HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(body),
                Err(refusal) => {
                    let reason = refusal.message.as_str();
                    tracing::info!(request_id = %id, operation = "authx509", status = refusal.code, ?reason, "refused");
                    refusal.answer()
                }
            }
        }
    };
    tracing::debug!(request_id = %id, target = %redact(request.path()), status = answer.status().as_u16(), "answered");
    login.ams.metrics.observe_login(answer.status().as_u16(), clock.monotonic().saturating_sub(started));
    let mut answer = answer;
    if let Ok(id) = id.hyphenated().to_string().parse() {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

/// Service type and host of the one path that is here, if it is that.
fn path(path: &str) -> Option<(String, String)> {
    let plain = percent_decode_str(path).decode_utf8().ok()?;
    let (service_type, rest) = plain.strip_prefix("/v1/service-types/")?.split_once('/')?;
    let host = rest.strip_prefix("hosts/")?.strip_suffix(":authx509")?;
    let segments = [service_type, host];
    let whole = segments.iter().all(|segment| !segment.is_empty() && !segment.contains('/'));
    whole.then(|| (service_type.to_owned(), host.to_owned()))
}

/// The token of the user that the certificate stands for, in AuthN's order of checks.
async fn token(
    login: &X509Login,
    id: Uuid,
    shown: &[CertificateDer<'static>],
    service_type: &str,
    host: &str,
) -> Result<Vec<u8>, Refusal> {
    let Some(own) = shown.first() else {
        return Err(Refusal::new(400, "No certificate provided", "BAD REQUEST"));
    };
    let now = UnixTime::since_unix_epoch(Duration::from_micros(login.ams.broker.clock().wall()));
    if !(login.believed)(shown, now) {
        return Err(Refusal::new(403, "Your certificate is not valid any more", "ACCESS_FORBIDDEN"));
    }
    if service_type != SERVICE_TYPE {
        return Err(Refusal::not_found("Service-type"));
    }
    if !login.hosts.is_empty() && !login.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return Err(Refusal::not_found("Host"));
    }
    let (user, binding) = bound(login, id, own).await?;
    let token = login.ams.auth.token_of(user.id).await.map_err(|error| failed(id, &error))?;
    let (user, binding) = (&user.name, &binding.name);
    tracing::info!(request_id = %id, operation = "authx509", %user, %binding, "a certificate was taken for a token");
    Ok(render::object(Indent::One, |json| json.field("token").string(token.reveal())))
}

async fn bound(login: &X509Login, id: Uuid, own: &CertificateDer<'static>) -> Result<(Arc<User>, Binding), Refusal> {
    let unbound = |why: &dyn fmt::Display| {
        tracing::info!(request_id = %id, %why, "a certificate stands for nobody");
        Refusal::not_found("Binding")
    };
    let names = CertificateNames::read(own).map_err(|error| unbound(&error))?;
    let found = login.ams.auth.user_by_certificate(&names).await.map_err(|error| failed(id, &error))?;
    found.ok_or_else(|| unbound(&format_args!("subject {}, issuer {}", names.subject, names.issuer)))
}

/// What failed is ours, and told to the log alone.
fn failed(id: Uuid, error: &Error) -> Refusal {
    tracing::error!(request_id = %id, operation = "authx509", cause = %error, "failed");
    Refusal::new(500, "Internal Error: the store cannot be read", "INTERNAL SERVER ERROR")
}

impl Refusal {
    fn new(code: u16, message: impl Into<String>, status: &'static str) -> Self {
        Self { code, message: message.into(), status }
    }

    fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} was not found"), "NOT FOUND")
    }

    fn answer(&self) -> HttpResponse {
        let body = render::object(Indent::One, |json| {
            json.field("error").object(|json| {
                json.field("message").string(&self.message);
                json.field("code").number(self.code);
                json.field("status").string(self.status);
            });
        });
        let code = StatusCode::from_u16(self.code).unwrap_or_default();
        HttpResponse::build(code).insert_header((CONTENT_TYPE, JSON)).body(body)
    }
}
