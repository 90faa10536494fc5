//! The operators' listener: `/metrics`, `/healthz`, `/readyz`, nothing else. Without authentication: it belongs on a private address.

use crate::metrics::{Metrics, PairMetrics};
use actix_web::{App, HttpResponse, HttpServer, web};
use std::net::SocketAddr;

/// What is told.
struct Told {
    metrics: Metrics,
    pairs: Vec<PairMetrics>,
}

/// Begins to serve; the address is the one that was taken.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn serve(
    address: SocketAddr,
    metrics: Metrics,
    pairs: Vec<PairMetrics>,
) -> std::io::Result<(actix_web::dev::Server, SocketAddr)> {
    let told = web::Data::new(Told { metrics, pairs });
    let application = move || {
        App::new()
            .app_data(told.clone())
            .route("/metrics", web::get().to(metrics_text))
            .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("alive\n") }))
            .route("/readyz", web::get().to(ready))
    };
    let server = HttpServer::new(application).workers(1).disable_signals().shutdown_timeout(1).bind(address)?;
    let taken = server.addrs().first().copied().unwrap_or(address);
    Ok((server.run(), taken))
}

async fn metrics_text(told: web::Data<Told>) -> HttpResponse {
    match told.metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}

/// Ready while no pair needs somebody.
async fn ready(told: web::Data<Told>) -> HttpResponse {
    let troubles: Vec<String> = told.pairs.iter().filter_map(PairMetrics::trouble).collect();
    if troubles.is_empty() {
        HttpResponse::Ok().body("ready\n")
    } else {
        HttpResponse::ServiceUnavailable().body(troubles.join("\n") + "\n")
    }
}
