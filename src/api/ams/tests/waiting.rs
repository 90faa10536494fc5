//! Over real sockets: pulls that wait wake, end with their client and block nobody; a refused client gets his answer.

use super::*;
use crate::api::connection::on_connect;
use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The dialect on a port of its own, plain or over TLS, until it is dropped.
struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    client: reqwest::Client,
    scheme: &'static str,
}

impl Server {
    fn start(world: &World, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ams = world.ams.clone();
        let server = HttpServer::new(move || App::new().configure(configure(ams.clone())))
            .on_connect(on_connect)
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1);
        let server = if tls { server.listen_rustls_0_23(listener, certificate()) } else { server.listen(listener) };
        let server = server.unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        // Finding a provider that is installed already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).http1_only().build().unwrap();
        Self { address, handle, client, scheme: if tls { "https" } else { "http" } }
    }

    async fn post(&self, path: &str, body: &str) -> Value {
        let url = format!("{}://{}/v1/projects/DEMO/{path}", self.scheme, self.address);
        let answer = self.client.post(url).header("x-api-key", SERVICE).body(body.to_owned()).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn publish(&self, data: &str) {
        let body = format!(r#"{{"messages":[{{"data":"{data}"}}]}}"#);
        assert!(self.post("topics/t1:publish", &body).await["messageIds"].is_array());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        actix_web::rt::spawn(self.handle.stop(false));
    }
}

fn certificate() -> rustls::ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    versions.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap()
}

/// Waits until so many pulls wait.
async fn until_waiting(world: &World, count: i64) {
    for _ in 0..2_000 {
        if world.metrics.waiting_pulls.get() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} pulls wait, not {count}", world.metrics.waiting_pulls.get());
}

const WAIT_FOR_TWO: &str = r#"{"maxMessages":"2","returnImmediately":"false"}"#;

#[actix_web::test]
async fn a_cumulative_pull_waits_for_the_full_count_and_blocks_nobody() {
    let world = World::demo().await;
    world.subscription("s1", "").await;
    world.subscription("s2", "").await;
    let server = Server::start(&world, false);
    let empty = server.post("subscriptions/s1:pull", WAIT_FOR_TWO).await;
    assert_eq!(empty["receivedMessages"], serde_json::json!([]), "an empty subscription answers at once");
    server.publish("a").await;
    let waiting = server.post("subscriptions/s1:pull", WAIT_FOR_TWO);
    let meanwhile = async {
        until_waiting(&world, 1).await;
        let other = server.post("subscriptions/s2:pull", "{}").await;
        assert_eq!(other["receivedMessages"].as_array().unwrap().len(), 1);
        server.publish("b").await;
    };
    let (pulled, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(pulled["receivedMessages"].as_array().unwrap().len(), 2);
    until_waiting(&world, 0).await;
}

#[actix_web::test]
async fn an_individual_pull_waits_for_the_first_message() {
    let world = World::demo().await;
    world.subscription("s1", r#","ackMode":"individual""#).await;
    let server = Server::start(&world, false);
    let waiting = server.post("subscriptions/s1:pull", WAIT_FOR_TWO);
    let meanwhile = async {
        until_waiting(&world, 1).await;
        server.publish("a").await;
    };
    let (pulled, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(pulled["receivedMessages"].as_array().unwrap().len(), 1);
}

/// A client that goes takes his waiting pull with him, and leaves no lease behind.
async fn leaves(tls: bool) {
    let world = World::demo().await;
    world.subscription("s1", r#","ackMode":"individual""#).await;
    let server = Server::start(&world, tls);
    {
        let waiting = server.post("subscriptions/s1:pull", WAIT_FOR_TWO);
        let seen = async { until_waiting(&world, 1).await };
        tokio::select! {
            answer = waiting => panic!("answered: {answer}"),
            () = seen => {}
        }
        // Dropping the request closes its connection.
    }
    until_waiting(&world, 0).await;
    server.publish("a").await;
    let pulled = server.post("subscriptions/s1:pull", r#"{"returnImmediately":"true"}"#).await;
    assert_eq!(pulled["receivedMessages"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_waiting_pull_ends_when_its_client_leaves() {
    leaves(false).await;
}

#[actix_web::test]
async fn a_waiting_pull_ends_when_its_tls_client_leaves() {
    leaves(true).await;
}

/// Sends a head and a body on a connection, then reads an answer's head and body.
fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) -> String {
    let head = format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[actix_web::test]
async fn a_refused_client_with_a_large_body_gets_his_answer_and_keeps_his_connection() {
    let world = World::with(|options| options.body_bytes_max = 4 << 20).await;
    let server = Server::start(&world, false);
    let address = server.address;
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let refused = exchange(&mut stream, "POST /v1/projects/NONE/topics/t:publish HTTP/1.1", &vec![b'x'; 3 << 20]);
        assert!(refused.starts_with("http/1.1 401"), "{refused}");
        let key = format!("POST /v1/projects/DEMO?key={SERVICE} HTTP/1.1");
        let large = exchange(&mut stream, &key, &vec![b' '; (4 << 20) - 1]);
        assert!(large.starts_with("http/1.1 400"), "{large}");
        let next = exchange(&mut stream, "GET /v1/status HTTP/1.1", b"");
        assert!(next.starts_with("http/1.1 200"), "{next}");
        let mut stream = TcpStream::connect(address).unwrap();
        let too_large = exchange(&mut stream, &key, &vec![b' '; (4 << 20) + 1]);
        assert!(too_large.starts_with("http/1.1 413"), "{too_large}");
    };
    actix_web::rt::task::spawn_blocking(talk).await.unwrap();
}

#[actix_web::test]
async fn a_body_without_end_is_cut_off() {
    let world = World::with(|options| options.body_bytes_max = 1 << 20).await;
    let server = Server::start(&world, false);
    let address = server.address;
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let head =
            format!("POST /v1/projects/DEMO?key={SERVICE} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = [b"10000\r\n", &vec![b' '; 1 << 16][..], b"\r\n"].concat();
        let sent = (0..64 << 10).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 64 << 10, "all of 4 GiB was read");
    };
    actix_web::rt::task::spawn_blocking(talk).await.unwrap();
}

#[actix_web::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let world = World::with(|options| options.body_time_max = Duration::from_millis(50)).await;
    let server = Server::start(&world, false);
    let address = server.address;
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /v1/projects/DEMO HTTP/1.1\r\nhost: x\r\nx-api-key: {SERVICE}\r\ncontent-length: 2\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    };
    actix_web::rt::task::spawn_blocking(talk).await.unwrap();
    world.get("/v1/projects/DEMO").await.is(404, "project doesn't exist");
}
