//! The operators' listener: `/metrics`, `/healthz`, `/readyz`, nothing else. Without authentication: it belongs on a private
//! address. Knows no dialect.

use crate::telemetry::metrics::Metrics;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

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

/// What the listener asks of the service behind it.
pub trait Service: Send + Sync {
    /// Brings the gauges up to date before they are read.
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Why nobody can be served just now: a line to tell; none when somebody can.
    fn trouble(&self) -> Option<&'static str>;
}

/// What the listener tells.
pub struct Ops {
    metrics: Arc<Metrics>,
    phase: AtomicU8,
    service: OnceLock<Arc<dyn Service>>,
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
        Self { metrics, phase: AtomicU8::new(Phase::Starting as u8), service: OnceLock::new() }
    }

    /// Whom to ask, once he is there. Counts the first time only.
    pub fn attach(&self, service: Arc<dyn Service>) {
        drop(self.service.set(service));
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
        if let Some(service) = self.service.get() {
            service.refresh().await;
        }
        match self.metrics.render() {
            Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
            Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
        }
    }

    fn ready(&self) -> HttpResponse {
        let trouble = self.service.get().and_then(|service| service.trouble());
        match self.phase() {
            Phase::Ready => match trouble {
                Some(trouble) => plain(HttpResponse::ServiceUnavailable(), trouble),
                None => plain(HttpResponse::Ok(), "ready\n"),
            },
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

    struct Fake {
        metrics: Arc<Metrics>,
        trouble: Option<&'static str>,
    }

    impl Service for Fake {
        fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
            Box::pin(async { self.metrics.uptime_seconds.set(42.0) })
        }

        fn trouble(&self) -> Option<&'static str> {
            self.trouble
        }
    }

    #[actix_web::test]
    async fn the_gauges_are_refreshed_before_they_are_read() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        ops.attach(Arc::new(Fake { metrics, trouble: None }));
        let app = init_service(App::new().configure(configure(ops))).await;
        let answer = call_service(&app, TestRequest::get().uri("/metrics").to_request()).await;
        let text = String::from_utf8(read_body(answer).await.to_vec()).unwrap();
        assert!(text.contains("angelia_uptime_seconds 42"), "{text}");
    }

    #[actix_web::test]
    async fn who_cannot_use_his_store_is_not_ready() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let ops = Arc::new(Ops::new(Arc::clone(&metrics)));
        ops.attach(Arc::new(Fake { metrics, trouble: Some("out of order\n") }));
        ops.set_phase(Phase::Ready);
        let app = init_service(App::new().configure(configure(ops))).await;
        let answer = call_service(&app, TestRequest::get().uri("/readyz").to_request()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
