//! A small site of the original's moves, with its offsets.

use super::*;
use crate::auth::KeyRing;
use crate::broker::{Options, PullRequest};
use crate::clock::Clock;
use crate::domain::Name;
use crate::storage::memory::MemoryStore;
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;

const PROJECT: &str = "6f1c2f0e-6c5f-4a8e-9d4e-5f0a6f0e7a11";
const USER: &str = "7f9c1f0e-6c5f-4a8e-9d4e-5f0a6f0e7a12";
const SCHEMA: &str = "8f9c1f0e-6c5f-4a8e-9d4e-5f0a6f0e7a13";

struct World {
    folder: tempfile::TempDir,
    broker: Broker,
    auth: Auth,
}

impl World {
    async fn new() -> Self {
        let (store, metrics) = (Arc::new(MemoryStore::new()), Arc::new(Metrics::new().unwrap()));
        let broker = Broker::start(store, Clock::System, Options::default(), metrics).await.unwrap();
        let roles = super::super::default_roles();
        let auth = Auth::start(broker.clone(), KeyRing::generate().unwrap(), roles).await.unwrap();
        let world = Self { folder: tempfile::tempdir().unwrap(), broker, auth };
        world.fill();
        world
    }

    fn file(&self, name: &str, lines: &[String]) {
        std::fs::write(self.folder.path().join(name), lines.join("\n")).unwrap();
    }

    fn fill(&self) {
        let date = r#"{"$date": "2020-11-19T10:00:00Z"}"#;
        self.file("projects.json", &[format!(
            r#"{{"_id": {{"$oid": "5"}}, "uuid": "{PROJECT}", "name": "FARM", "created_on": {date}, "created_by": "{USER}", "description": "d"}}"#
        )]);
        self.file("users.json", &[format!(
            r#"{{"uuid": "{USER}", "name": "smith", "token": "S3CR3T", "email": "s@example.org", "service_roles": ["service_admin", "_admin_"], "created_on": {date},
               "projects": [{{"project_uuid": "{PROJECT}", "roles": ["project_admin", "_admin_"]}}]}}"#
        ).replace('\n', "")]);
        let raw = STANDARD.encode(r#"{"type":"object"}"#);
        self.file("schemas.json", &[format!(
            r#"{{"project_uuid": "{PROJECT}", "uuid": "{SCHEMA}", "name": "any", "type": "json", "raw_schema": "{raw}"}}"#
        )]);
        self.file("topics.json", &[
            format!(r#"{{"project_uuid": "{PROJECT}", "name": "jobs", "schema_uuid": "{SCHEMA}", "acl": ["{USER}"], "created_on": {date}}}"#),
            format!(r#"{{"project_uuid": "{PROJECT}", "name": "silent", "acl": [], "created_on": {date}}}"#),
        ]);
        let subscription = |name: &str, topic: &str, offset: u64, more: &str| {
            format!(
                r#"{{"project_uuid": "{PROJECT}", "name": "{name}", "topic": "{topic}", "offset": {{"$numberLong": "{offset}"}}, "ack": 15, "push_type": "", "created_on": {date}{more}}}"#
            )
        };
        let pushed = r#", "push_endpoint": "https://e.example.org/x", "max_messages": 3, "authorization_type": "autogen", "authorization_header": "h", "retry_policy": "linear", "retry_period": 300, "verification_hash": "v", "verified": true"#;
        self.file(
            "subscriptions.json",
            &[
                subscription("reader", "jobs", 41, ""),
                subscription("late", "jobs", 3, ""),
                subscription("quiet", "silent", 99, ""),
                subscription("orphan", "gone", 5, ""),
                subscription("pushed", "jobs", 43, pushed),
            ],
        );
        let message = |text: &str, second: u32| {
            let data = STANDARD.encode(text);
            let stored = format!(
                "{{\n   \"messageId\": \"0\",\n   \"attributes\": {{\n      \"k\": \"{text}\"\n   }},\n   \"data\": \"{data}\",\n   \"publishTime\": \"2020-11-19T10:00:0{second}.123456789Z\"\n}}"
            );
            serde_json::to_string(&format!("b'{}'", stored.replace('\n', "\\n"))).unwrap()
        };
        self.file(
            &format!("{PROJECT}.jobs.topic.data"),
            &[format!("{PROJECT}.jobs,40,43"), message("a", 1), message("b", 1), message("c", 2)],
        );
        self.file(&format!("{PROJECT}.silent.topic.data"), &[]);
    }

    async fn run(&self) -> Result<Taken, String> {
        let (folder, retention) = (self.folder.path(), Retention { age: Duration::from_secs(1 << 31), bytes: None });
        Takeover { broker: &self.broker, auth: &self.auth, folder, keep_admin: false, retention }.run().await
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[tokio::test]
async fn a_site_moves_with_its_offsets_users_and_cursors() {
    let world = World::new().await;
    let taken = world.run().await.unwrap();
    assert_eq!(taken, Taken { projects: 1, users: 1, schemas: 1, topics: 2, subscriptions: 5 });
    let project = world.broker.project(&name("FARM")).await.unwrap();
    assert_eq!(project.id.to_string(), PROJECT);
    let user = world.auth.user_by_token(&Token::new("S3CR3T")).await.unwrap().unwrap();
    assert_eq!((user.id.to_string().as_str(), user.service_roles.len()), (USER, 1));
    assert_eq!(user.membership(project.id).unwrap().roles, [RoleName::new("project_admin")]);
    let topic = world.broker.topic(project.id, &name("jobs")).await.unwrap();
    assert_eq!(world.broker.schema_of(&topic).await.unwrap().unwrap().name, name("any"));
    let bounds = world.broker.topic_bounds(&topic).await.unwrap();
    assert_eq!((bounds.first, bounds.next, bounds.messages), (Offset(40), Offset(43), 3));
    let silent = world.broker.topic(project.id, &name("silent")).await.unwrap();
    assert_eq!(world.broker.topic_bounds(&silent).await.unwrap().next, Offset(99));
    let stands = async |called: &str| {
        let subscription = world.broker.subscription(project.id, &name(called)).await.unwrap();
        world.broker.progress(&subscription).await.map(|progress| progress.floor)
    };
    assert_eq!(stands("reader").await, Ok(Offset(41)));
    assert_eq!(stands("late").await, Ok(Offset(40)), "what is not kept any more cannot be read");
    assert_eq!(stands("quiet").await, Ok(Offset(99)));
    assert_eq!(stands("pushed").await, Ok(Offset(43)));
    let orphan = world.broker.subscription(project.id, &name("orphan")).await.unwrap();
    assert_eq!(orphan.topic, name("gone"));
    let pushed = world.broker.subscription(project.id, &name("pushed")).await.unwrap();
    assert!(pushed.push.as_ref().is_some_and(|push| push.verified && push.messages_max() == 3));
    let reader = world.broker.subscription(project.id, &name("reader")).await.unwrap();
    let request = PullRequest { messages_max: 9, ..PullRequest::default() };
    let given = world.broker.pull(&reader, request).await.unwrap();
    let seen: Vec<_> =
        given.iter().map(|one| (one.published.offset.0, &one.published.message.payload.bytes[..])).collect();
    assert_eq!(seen, [(41, &b"b"[..]), (42, b"c")]);
    assert_eq!(given[0].published.at, records::instant("2020-11-19T10:00:01.123456789Z").unwrap());
}

#[tokio::test]
async fn done_again_nothing_is_taken_twice() {
    let world = World::new().await;
    world.run().await.unwrap();
    assert_eq!(world.run().await.unwrap(), Taken::default());
}

#[tokio::test]
async fn a_file_with_a_message_too_few_or_a_strange_line_is_refused_with_its_place() {
    let world = World::new().await;
    let path = world.folder.path().join(format!("{PROJECT}.jobs.topic.data"));
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replace(",40,43", ",40,44")).unwrap();
    let told = world.run().await.unwrap_err();
    assert!(told.contains("holds 3 messages, its first line says 4"), "{told}");
    std::fs::write(&path, format!("{whole}\nnonsense")).unwrap();
    let told = world.run().await.unwrap_err();
    assert!(told.contains("jobs.topic.data, line 5"), "{told}");
    std::fs::write(&path, whole).unwrap();
    let taken = world.run().await.unwrap();
    assert_eq!((taken.topics, taken.subscriptions), (2, 5), "what was refused is made now");
}
