//! The client against an identity service that is made of a table: what it asks, what it believes, and for how long.

use super::*;
use crate::broker;
use crate::clock::Clock;
use crate::storage::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use parking_lot::Mutex;
use std::net::TcpListener;

/// When all tests begin: 2024-05-01T10:00:00Z.
const START: u64 = 1_714_557_600_000_000;
const LATER: &str = "2024-05-01T11:00:00.000000Z";

/// What the service says, and was asked.
#[derive(Default)]
struct Table {
    /// Statuses of the questions to come; 200 where none is left.
    statuses: Vec<u16>,
    /// When the tokens end.
    expires: Option<&'static str>,
    /// Of logins.
    login: Option<u16>,
    /// `METHOD path own-token subject-token body`.
    asked: Vec<String>,
    logins: usize,
}

struct World {
    keystone: Keystone,
    clock: Clock,
    table: Arc<Mutex<Table>>,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn broker_at(start: u64) -> (Broker, Clock) {
    let (clock, metrics) = (Clock::manual(start), Arc::new(Metrics::new().unwrap()));
    let store = Arc::new(MemoryStore::new());
    (Broker::start(store, clock.clone(), broker::Options::default(), metrics).await.unwrap(), clock)
}

fn answer(request: &HttpRequest, body: &Bytes, table: &mut Table) -> HttpResponse {
    let header = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
    let body = String::from_utf8(body.to_vec()).unwrap();
    let (own, subject) = (header("x-auth-token"), header("x-subject-token"));
    table.asked.push(format!("{} {} {own} {subject} {body}", request.method(), request.uri()));
    let expires = table.expires.unwrap_or(LATER);
    let token = json!({ "token": {
        "user": { "id": "u1", "name": "ann", "domain": { "id": "default" } },
        "project": { "id": "p1", "name": "demo", "domain": { "id": "d2" } },
        "roles": [{ "id": "r1", "name": "member" }, { "id": "r2", "name": "Reader" }],
        "expires_at": expires,
        "methods": ["password"],
    }});
    let build = |status: u16| HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap());
    match (request.method().as_str(), request.path()) {
        ("POST", "/v3/auth/tokens") => {
            table.logins += 1;
            build(table.login.unwrap_or(201))
                .insert_header(("x-subject-token", format!("own{}", table.logins)))
                .json(token)
        }
        ("GET", "/v3/auth/tokens") => {
            let status = if table.statuses.is_empty() { 200 } else { table.statuses.remove(0) };
            if status == 200 { build(200).json(token) } else { build(status).finish() }
        }
        ("POST", "/v3/OS-TRUST/trusts") => build(201).json(json!({ "trust": { "id": "t1" } })),
        _ => build(500).finish(),
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let table: Arc<Mutex<Table>> = Arc::default();
        let kept = Arc::clone(&table);
        let server = HttpServer::new(move || {
            let kept = Arc::clone(&kept);
            App::new().default_service(web::to(move |request: HttpRequest, body: Bytes| {
                let answer = answer(&request, &body, &mut kept.lock());
                async move { answer }
            }))
        });
        let server = server.workers(1).shutdown_timeout(0).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        let mut options = Options {
            url,
            user: "zaqar".to_owned(),
            password: Token::new("secret"),
            project: "service".to_owned(),
            user_domain: "default".to_owned(),
            project_domain: "default".to_owned(),
            cache_age: Duration::from_secs(60),
            cache_entries: 100,
            timeout: Duration::from_secs(5),
            authorities: None,
        };
        change(&mut options);
        let (broker, clock) = broker_at(START).await;
        Self { keystone: Keystone::new(options, broker).unwrap(), clock, table, handle }
    }

    async fn identify(&self, token: &str) -> Result<Arc<Identity>> {
        self.keystone.identify(&Token::new(token)).await
    }

    /// How often it was asked whose a token is.
    fn questions(&self) -> usize {
        self.table.lock().asked.iter().filter(|asked| asked.starts_with("GET")).count()
    }
}

#[actix_web::test]
async fn a_token_is_asked_about_once_while_the_answer_is_believed() {
    let world = World::new().await;
    let known = world.identify("abc").await.unwrap();
    let expected = Identity {
        user: "u1".to_owned(),
        user_domain: "default".to_owned(),
        project: Some("p1".to_owned()),
        project_domain: "d2".to_owned(),
        roles: vec!["member".to_owned(), "Reader".to_owned()],
        expires: Timestamp(START).plus(Duration::from_secs(3_600)),
    };
    assert_eq!(*known, expected);
    world.clock.advance(Duration::from_secs(59));
    world.identify("abc").await.unwrap();
    let asked = world.table.lock().asked.clone();
    assert_eq!(asked.len(), 2, "a login and a question: {asked:?}");
    assert!(asked[0].starts_with("POST /v3/auth/tokens - - ") && asked[0].contains(r#""password":"secret""#));
    assert_eq!(asked[1], "GET /v3/auth/tokens?nocatalog own1 abc ");
}

#[actix_web::test]
async fn a_revoked_token_is_refused_once_the_answer_is_too_old() {
    let world = World::new().await;
    world.identify("abc").await.unwrap();
    world.table.lock().statuses = vec![404];
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.identify("abc").await, Err(Unknown::Refused));
    assert_eq!(world.questions(), 2);
}

#[actix_web::test]
async fn an_expired_token_is_refused_whatever_is_remembered() {
    let world = World::with(|options| options.cache_age = Duration::from_secs(86_400)).await;
    world.identify("abc").await.unwrap();
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(world.identify("abc").await, Err(Unknown::Refused));
}

#[actix_web::test]
async fn many_who_come_at_once_ask_once() {
    let world = World::new().await;
    let all = futures_util::future::join_all((0..50).map(|_| world.identify("abc"))).await;
    assert!(all.iter().all(std::result::Result::is_ok));
    assert_eq!(world.questions(), 1);
}

#[actix_web::test]
async fn what_no_token_can_be_is_not_asked_about() {
    let world = World::new().await;
    for token in ["", "a b", "a\nb", "é", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(world.identify(token).await, Err(Unknown::Refused), "{token}");
    }
    assert_eq!(world.table.lock().asked.len(), 0);
}

#[actix_web::test]
async fn our_own_token_is_renewed_once_when_it_is_refused_and_before_it_ends() {
    let world = World::new().await;
    world.table.lock().statuses = vec![401];
    world.identify("abc").await.unwrap();
    assert_eq!(world.table.lock().logins, 2);
    world.table.lock().statuses = vec![401, 401];
    let refused = world.identify("def").await;
    assert!(matches!(&refused, Err(Unknown::Unavailable(why)) if why.contains("role service")), "{refused:?}");
    world.clock.advance(Duration::from_secs(3_500));
    let before = world.table.lock().logins;
    world.identify("ghi").await.unwrap();
    assert_eq!(world.table.lock().logins, before + 1);
}

#[actix_web::test]
async fn a_service_that_fails_is_told_apart_from_a_refusal() {
    let world = World::new().await;
    world.table.lock().statuses = vec![500, 403];
    for _ in 0..2 {
        assert!(matches!(world.identify("abc").await, Err(Unknown::Unavailable(_))));
    }
    world.identify("abc").await.unwrap();
    let world = World::new().await;
    world.table.lock().login = Some(401);
    let refused = world.identify("abc").await;
    assert!(matches!(&refused, Err(Unknown::Unavailable(why)) if why.contains("cannot log in")), "{refused:?}");
    let nobody = World::with(|options| options.url = "http://127.0.0.1:1/v3/".to_owned()).await;
    assert!(matches!(nobody.identify("abc").await, Err(Unknown::Unavailable(_))));
}

#[actix_web::test]
async fn a_trust_is_made_for_our_service_user_and_gives_tokens() {
    let world = World::new().await;
    let until = Timestamp(START).plus(Duration::from_secs(60));
    assert_eq!(world.keystone.create_trust(&Token::new("abc"), until).await.as_deref(), Ok("t1"));
    let asked = world.table.lock().asked.last().cloned().unwrap();
    assert!(asked.starts_with("POST /v3/OS-TRUST/trusts abc - "), "{asked}");
    for part in [
        r#""expires_at":"2024-05-01T10:01:00.000000Z""#,
        r#""trustor_user_id":"u1""#,
        r#""impersonation":true"#,
        r#""roles":[{"name":"member"},{"name":"Reader"}]"#,
    ] {
        assert!(asked.contains(part), "{asked}");
    }
    world.keystone.create_trust(&Token::new("abc"), Timestamp::NEVER).await.unwrap();
    let asked = world.table.lock().asked.last().cloned().unwrap();
    assert!(asked.contains(r#""expires_at":"9999-12-31T23:59:59.000000Z""#), "{asked}");
    let trust = world.keystone.entrusted("t1").await.unwrap();
    let asked = world.table.lock().asked.last().cloned().unwrap();
    assert!(asked.contains(r#""scope":{"OS-TRUST:trust":{"id":"t1"}}"#), "{asked}");
    assert_eq!((trust.token.reveal(), trust.identity.user.as_str()), ("own2", "u1"));
    assert_eq!(world.keystone.entrusted("t1").await.unwrap().token.reveal(), "own2", "it is kept");
    world.table.lock().login = Some(404);
    assert!(matches!(world.keystone.entrusted("t2").await, Err(Unknown::Refused)));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let options = |url: &str| Options {
        url: url.to_owned(),
        user: String::new(),
        password: Token::new(""),
        project: String::new(),
        user_domain: String::new(),
        project_domain: String::new(),
        cache_age: Duration::ZERO,
        cache_entries: 1,
        timeout: Duration::from_secs(1),
        authorities: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (broker, _) = broker_at(START).await;
        for wrong in ["", "keystone", "ftp://host/v3", "http://"] {
            assert!(Keystone::new(options(wrong), broker.clone()).is_err(), "{wrong}");
        }
        assert!(format!("{:?}", Keystone::new(options("http://h"), broker)).contains("Token(…)"));
    });
}
