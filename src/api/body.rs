//! Reading a request's body within bounds of size, time and shared room, and what is still coming of one that was refused.

use crate::api::{Share, hang_up};
use crate::telemetry::logging::redact;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use std::time::Duration;

/// Longest time to read on what a refused client still sends.
const DISCARD_TIME: Duration = Duration::from_secs(2);
/// How much room a body gets before it comes: what is announced costs the client nothing.
const ROOM_AT_ONCE: usize = 1 << 20;

/// Why a body could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// Too many large ones are being read already.
    NoRoom,
    /// It did not come in time.
    Late,
    /// It broke off, or is no body.
    Broken,
}

/// Reads the body, as one slice if it came as one. What has come of it counts in `share`, not what is announced: a client that
/// sends nothing takes no room from others.
pub(crate) async fn read_body(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
    time_max: Duration,
    share: &mut Share,
) -> Result<Bytes, Unread> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge);
    }
    let read = async {
        let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
        let first = first.map_err(|_| Unread::Broken)?;
        if first.len() > limit {
            return Err(Unread::TooLarge);
        }
        let Some(mut next) = payload.next().await else { return Ok(first) };
        let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2).min(ROOM_AT_ONCE));
        whole.extend_from_slice(&first);
        loop {
            let chunk = next.map_err(|_| Unread::Broken)?;
            if whole.len() + chunk.len() > limit {
                return Err(Unread::TooLarge);
            }
            if !share.grow_to(whole.len() + chunk.len()) {
                return Err(Unread::NoRoom);
            }
            whole.extend_from_slice(&chunk);
            match payload.next().await {
                Some(chunk) => next = chunk,
                None => return Ok(whole.freeze()),
            }
        }
    };
    tokio::time::timeout(time_max, read).await.map_err(|_| Unread::Late)?
}

/// What every answer goes through before it is sent: of a body that nobody read, so many bytes are read on (none from who sent too
/// slowly: he is not waited for again), or the connection is closed; and the request is logged.
pub(crate) async fn finish(
    request: &HttpRequest,
    payload: &mut Payload,
    mut answer: HttpResponse,
    bytes_max: usize,
) -> HttpResponse {
    let bytes_max = if answer.status() == StatusCode::REQUEST_TIMEOUT { 0 } else { bytes_max };
    if !discard(payload, bytes_max).await {
        answer.head_mut().set_connection_type(ConnectionType::Close);
        hang_up(request);
    }
    let target = || request.uri().path_and_query().map_or("", |target| target.as_str());
    tracing::debug!(method = %request.method(), target = %redact(target()), status = answer.status().as_u16(), "answered");
    answer
}

/// Reads on what a refused client still sends, within bounds: a connection closed before that may lose him the answer. Whether the body
/// came to its end.
async fn discard(payload: &mut Payload, bytes_max: usize) -> bool {
    let mut left = bytes_max;
    let read = async {
        while let Some(Ok(chunk)) = payload.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    let time = if bytes_max == 0 { Duration::ZERO } else { DISCARD_TIME };
    tokio::time::timeout(time, read).await.unwrap_or(false)
}
