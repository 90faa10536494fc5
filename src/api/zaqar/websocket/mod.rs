//! The dialect over WebSockets (`zaqar-v2.md` §17): frames of JSON or MessagePack on a lasting connection, requests answered in order.
//!
//! A frame goes: text → frame → action → schema → who asks → the call that HTTP would make → the reply. What an operation means is where
//! HTTP has it.

mod actions;
mod followed;
mod frame;
mod pack;
mod session;
#[cfg(test)]
mod tests;
mod transport;

use super::{Zaqar, ZaqarOptions, caller};
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use session::Session;
use std::sync::Arc;
use transport::Bounds;

/// What a frame may have beside the largest body: its headers, and its own words.
const ENVELOPE_BYTES: usize = 16 << 10;
const PAGE: &str = "<!DOCTYPE html><title>Zaqar over WebSocket</title><p>This port speaks Zaqar v2 over WebSocket.";

/// Makes every path of an application a WebSocket: give it to `App::configure`, in each worker anew.
pub fn configure(service: Arc<Zaqar>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |application| {
        application.default_service(web::to(move |request, payload| {
            let service = Arc::clone(&service);
            async move { answer(&service, &request, payload) }
        }));
    }
}

/// The largest frame that may come.
fn frame_bytes(options: &ZaqarOptions) -> usize {
    options.limits.body_bytes().saturating_add(ENVELOPE_BYTES)
}

fn answer(zaqar: &Arc<Zaqar>, request: &HttpRequest, payload: Payload) -> HttpResponse {
    let options = zaqar.options();
    let checked = || caller::check_host(&options, request).and_then(|()| check_origin(&options, request.headers()));
    // A page that knows no token gets nothing.
    if zaqar.keystone.is_none()
        && let Err(failure) = checked()
    {
        return failure.answer();
    }
    if !transport::is_wanted(request) {
        return HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(PAGE);
    }
    let bounds = Bounds {
        bytes_max: frame_bytes(&options),
        time_max: options.body_time_max,
        silence: options.silence,
        incoming: Arc::clone(&zaqar.bodies),
        outgoing: Arc::clone(&zaqar.answers),
    };
    match transport::open(request, payload, bounds) {
        Ok((answer, line)) => {
            actix_web::rt::spawn(Session::new(Arc::clone(zaqar)).serve(line));
            answer
        }
        Err(answer) => answer,
    }
}

/// Refuses a page of somebody else's: browsers let any page open a WebSocket here, and tell only where it comes from.
fn check_origin(options: &ZaqarOptions, headers: &HeaderMap) -> Result<(), super::error::Failure> {
    let text = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let Some(origin) = text(ORIGIN) else { return Ok(()) };
    let place = origin.split_once("://").map_or("", |(_, place)| place);
    let name = place.rsplit_once(':').map_or(place, |(name, _)| name);
    let own = text(HOST).is_some_and(|host| !place.is_empty() && host.eq_ignore_ascii_case(place));
    let known = own || options.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
    if known { Ok(()) } else { Err(super::error::Failure::STRANGE_HOST) }
}
