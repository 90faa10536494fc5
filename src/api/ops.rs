//! The operators' listener: `/metrics`, `/healthz`, `/readyz`, nothing else. Without authentication: it belongs on a private
//! address. Knows no dialect.

use crate::telemetry::metrics::Metrics;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How far the service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what is in work; nothing new, please.
    Draining,
}

/// Brings the gauges up to date before they are read.
pub type Refresh = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// What the listener tells.
pub struct Ops {
    metrics: Arc<Metrics>,
    phase: AtomicU8,
    refresh: std::sync::OnceLock<Refresh>,
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ops").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Ops {
    /// A listener that says it is starting.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, phase: AtomicU8::new(Phase::Starting as u8), refresh: std::sync::OnceLock::new() }
    }

    /// What to do before each reading of the gauges, once there is something to read. Counts the first time only.
    pub fn refresh_with(&self, refresh: Refresh) {
        drop(self.refresh.set(refresh));
    }

    /// Says how far the service is.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    async fn metrics(&self) -> HttpResponse {
        if let Some(refresh) = self.refresh.get() {
            refresh().await;
        }
        match self.metrics.render() {
            Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
            Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
        }
    }

    fn ready(&self) -> HttpResponse {
        match self.phase() {
            Phase::Ready => plain(HttpResponse::Ok(), "ready\n"),
            Phase::Starting => plain(HttpResponse::ServiceUnavailable(), "starting\n"),
            Phase::Draining => plain(HttpResponse::ServiceUnavailable(), "draining\n"),
        }
    }
}

fn plain(mut answer: actix_web::HttpResponseBuilder, text: &'static str) -> HttpResponse {
    answer.content_type(ContentType::plaintext()).body(text)
}

/// Serves the three paths of an application: give it to `App::configure`, in each worker anew.
pub fn configure(ops: Arc<Ops>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |application| {
        application
            .app_data(web::Data::from(ops))
            .route("/metrics", web::get().to(|ops: web::Data<Ops>| async move { ops.metrics().await }))
            .route("/healthz", web::get().to(|| async { plain(HttpResponse::Ok(), "alive\n") }))
            .route("/readyz", web::get().to(|ops: web::Data<Ops>| async move { ops.ready() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, http::StatusCode};

    #[actix_web::test]
    async fn readiness_follows_the_phase_and_health_does_not() {
        let ops = Arc::new(Ops::new(Arc::new(Metrics::new().unwrap())));
        let app = init_service(App::new().configure(configure(Arc::clone(&ops)))).await;
        for (phase, ready) in [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503)] {
            ops.set_phase(phase);
            let answer = call_service(&app, TestRequest::get().uri("/readyz").to_request()).await;
            assert_eq!(answer.status().as_u16(), ready, "{phase:?}");
            let answer = call_service(&app, TestRequest::get().uri("/healthz").to_request()).await;
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let answer = call_service(&app, TestRequest::get().uri("/v1/status").to_request()).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }

    #[actix_web::test]
    async fn the_gauges_are_refreshed_before_they_are_read() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        ops.refresh_with(Box::new(move || {
            let metrics = Arc::clone(&metrics);
            Box::pin(async move { metrics.uptime_seconds.set(42.0) })
        }));
        let app = init_service(App::new().configure(configure(ops))).await;
        let answer = call_service(&app, TestRequest::get().uri("/metrics").to_request()).await;
        let text = String::from_utf8(read_body(answer).await.to_vec()).unwrap();
        assert!(text.contains("angelia_uptime_seconds 42"), "{text}");
    }
}
