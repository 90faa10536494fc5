//! An endpoint of the tests: an HTTPS server with a certificate of its own that keeps what it gets and answers as it is told.

use crate::delivery::guard::Guard;
use crate::delivery::sender::Sender;
use crate::domain::network::Network;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use parking_lot::Mutex;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Got {
    pub(in crate::delivery) path: String,
    pub(in crate::delivery) body: String,
    pub(in crate::delivery) peer: Option<SocketAddr>,
    headers: Vec<(String, String)>,
}

impl Got {
    pub(in crate::delivery) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// Answers a request: status and body. Those of 1000 and more come that many milliseconds later, as 200.
type Answers = dyn Fn(&Got) -> (u16, String) + Send + Sync;

/// The running endpoint.
pub(in crate::delivery) struct Receiver {
    address: SocketAddr,
    authority: String,
    got: Arc<Mutex<Vec<Got>>>,
    handle: actix_web::dev::ServerHandle,
}

/// Loopback addresses are allowed.
pub(in crate::delivery) fn loopback() -> Guard {
    Guard::new(vec![Network::parse("127.0.0.0/8").unwrap()])
}

impl Receiver {
    pub(in crate::delivery) async fn start(answers: impl Fn(&Got) -> (u16, String) + Send + Sync + 'static) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let tls =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, answers): (Arc<Mutex<Vec<Got>>>, Arc<Answers>) = (Arc::default(), Arc::new(answers));
        let kept = Arc::clone(&got);
        let server = HttpServer::new(move || {
            let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
            App::new().default_service(web::to(move |request: HttpRequest, body: Bytes| {
                answer(request, body, Arc::clone(&kept), Arc::clone(&answers))
            }))
        });
        let server =
            server.workers(1).shutdown_timeout(0).disable_signals().listen_rustls_0_23(listener, tls).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { address, authority: cert.pem(), got, handle }
    }

    pub(in crate::delivery) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// A sender that trusts this endpoint, and waits for answers 2 s.
    pub(in crate::delivery) fn sender(&self, guard: Guard) -> Sender {
        Sender::new(guard, Some(self.authority.as_bytes()), Duration::from_secs(2)).unwrap()
    }

    pub(in crate::delivery) fn got(&self) -> Vec<Got> {
        self.got.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Not waited for: the test is over.
        drop(self.handle.stop(false));
    }
}

async fn answer(request: HttpRequest, body: Bytes, kept: Arc<Mutex<Vec<Got>>>, answers: Arc<Answers>) -> HttpResponse {
    let headers = request.headers().iter();
    let got = Got {
        path: request.uri().to_string(),
        body: String::from_utf8(body.to_vec()).unwrap(),
        peer: request.peer_addr(),
        headers: headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
    };
    kept.lock().push(got.clone());
    let (mut status, text) = answers(&got);
    if status >= 1_000 {
        actix_web::rt::time::sleep(Duration::from_millis(status.into())).await;
        status = 200;
    }
    HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text)
}
