//! WebSockets (RFC 6455) for the dialects: the handshake here, what comes in `frames`, what goes out in `outbox`, a connection's life in
//! `line`. Bounds size, time and room; knows nothing of what is said.
//!
//! The frames are read by ourselves: the codec that comes with the HTTP server takes a frame in whole before it says that it is too large.

mod frames;
mod line;
mod outbox;
#[cfg(test)]
mod tests;

pub(crate) use frames::Kind;
pub(crate) use line::{Bounds, Heard, Line, Message};

use actix_web::http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the accepted key is made with, by the standard.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: &str = "13";

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_wanted(request: &HttpRequest) -> bool {
    has_word(request.headers(), UPGRADE, "websocket")
}

/// Makes a request's connection a WebSocket: the answer that says so, and its line. Or the answer that says why not.
#[expect(clippy::result_large_err, reason = "either is the answer, which is sent at once")]
pub(crate) fn open(
    request: &HttpRequest,
    payload: Payload,
    bounds: Bounds,
) -> Result<(HttpResponse, Line), HttpResponse> {
    let headers = request.headers();
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    if request.method() != Method::GET || !has_word(headers, CONNECTION, "upgrade") || !is_key {
        return Err(HttpResponse::BadRequest().body("This is no WebSocket handshake."));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let mut answer = HttpResponse::build(StatusCode::UPGRADE_REQUIRED);
        return Err(answer.insert_header((SEC_WEBSOCKET_VERSION, VERSION)).finish());
    }
    let (line, outgoing) = Line::new(request, payload, bounds);
    let mut answer = HttpResponse::SwitchingProtocols();
    answer.upgrade("websocket").insert_header((SEC_WEBSOCKET_ACCEPT, accepted(key)));
    Ok((answer.body(outgoing), line))
}

/// What proves to a client that its key was read.
fn accepted(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(MAGIC.as_bytes());
    STANDARD.encode(hash.finish())
}

/// Whether a header's list has a word, in any case.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}
