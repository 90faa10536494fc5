//! Schemas, registrations, quotas and push, by the command line.

use crate::json;
use crate::service::Service;
use std::path::Path;

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_schema_is_made_attached_and_holds_messages_to_its_rules() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    let rules = file(folder.path(), "rules.json", r#"{"type":"object","required":["cores"]}"#);
    let sites = file(folder.path(), "sites.json", r#"{"required":["site"]}"#);
    service.run(&["project", "create", "demo"]);
    service.run(&["topic", "create", "jobs"]);
    service.run(&["schema", "create", "job", "--type", "json", "--payload", &rules, "--attributes", &sites]);
    let list = service.run(&["schema", "list"]);
    assert_eq!(list, "SCHEMA  TYPE  ATTRIBUTES\njob     json  yes\n");
    let shown = service.run(&["schema", "show", "job"]);
    assert!(shown.contains("schema  projects/demo/schemas/job") && shown.contains("\"cores\""), "{shown}");

    service.run(&["schema", "attach", "job", "--topic", "jobs"]);
    let (code, complaint) = service.refused(&["publish", "jobs", "{}", "-a", "site=A"]);
    assert!(code == 1 && complaint.contains("cores"), "{complaint}");
    let (_, complaint) = service.refused(&["publish", "jobs", r#"{"cores":4}"#]);
    assert!(complaint.contains("site"), "{complaint}");
    service.run(&["publish", "jobs", r#"{"cores":4}"#, "-a", "site=A"]);

    service.run(&["schema", "update", "job", "--any-attributes"]);
    service.run(&["publish", "jobs", r#"{"cores":4}"#]);
    let good = file(folder.path(), "good.json", r#"{"cores":1}"#);
    assert_eq!(service.run(&["schema", "validate", "job", &good]), "follows schema job\n");
    let (code, complaint) = service.refused(&["schema", "validate", "job", &sites]);
    assert!(code == 1 && complaint.contains("cores"), "{complaint}");
    service.run(&["schema", "detach", "--topic", "jobs"]);
    service.run(&["publish", "jobs", "anything"]);
    service.run(&["schema", "delete", "job"]);
    let (code, complaint) = service.refused(&["schema", "show", "job"]);
    assert!(code == 1 && complaint.contains("schema job") && complaint.contains("schema list"), "{complaint}");
    let (code, _) = service.refused(&["schema", "update", "job"]);
    assert_eq!(code, 2);
}

#[test]
fn a_project_is_held_to_a_quota_until_it_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    service.run(&["project", "create", "demo"]);
    let quota = service.run(&["project", "quota", "demo", "--topics", "1"]);
    assert!(quota.contains("topics            1\n"), "{quota}");
    service.run(&["topic", "create", "one"]);
    let (code, complaint) = service.refused(&["topic", "create", "two"]);
    assert!(code == 1 && complaint.contains("quota of topics") && complaint.contains("429"), "{complaint}");
    // What is not named stays as it is.
    service.run(&["project", "quota", "demo", "--subscriptions", "9"]);
    assert_eq!(json(&service.run(&["project", "quota", "demo", "--json"]))["topics"], 1);
    service.run(&["project", "quota", "demo", "--none"]);
    service.run(&["topic", "create", "two"]);
}

/// What a portal sends for somebody.
fn register(service: &Service, body: &str) {
    let token = service.run(&["token", "show"]);
    let request = format!(
        "POST /v1/registrations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-api-key: {}\r\nContent-Length: {}\r\n\r\n{body}",
        token.trim(),
        body.len()
    );
    let answer = service.exchange("ams", &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn who_asks_to_be_let_in_is_accepted_or_declined() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    assert_eq!(service.run(&["registration", "list"]).lines().count(), 1);
    for name in ["ann", "bob"] {
        let body = format!(r#"{{"name":"{name}","email":"{name}@example.org"}}"#);
        register(&service, &body);
    }
    let all = json(&service.run(&["registration", "list", "--status", "pending", "--json"]));
    let ids: Vec<&str> =
        all["user_registrations"].as_array().unwrap().iter().map(|one| one["uuid"].as_str().unwrap()).collect();
    let [ann, bob] = ids[..] else { panic!("{all}") };
    assert!(service.run(&["registration", "show", ann]).contains("ann@example.org"));
    let accepted = service.run(&["registration", "accept", ann]);
    assert!(accepted.starts_with("accepted: user ann with token "), "{accepted}");
    service.run(&["user", "show", "ann"]);
    service.run(&["registration", "decline", bob, "--comment", "unknown here"]);
    assert!(service.run(&["registration", "show", bob]).contains("unknown here"));
    service.run(&["registration", "delete", bob]);
    let (code, complaint) = service.refused(&["registration", "show", bob]);
    assert!(code == 1 && complaint.contains("doesn't exist"), "{complaint}");
}

#[test]
fn a_subscription_is_pushed_to_an_endpoint_that_must_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    service.run(&["project", "create", "demo"]);
    service.run(&["topic", "create", "t1"]);
    service.run(&["subscription", "create", "s1", "--topic", "t1"]);
    let (_, complaint) = service.refused(&["subscription", "verify", "s1"]);
    assert!(complaint.contains("push.enabled=true"), "{complaint}");
    assert!(service.stop().success());
    let service = Service::start(folder.path(), &["serve", "--set", "push.enabled=true"]);
    let told = service.run(&["subscription", "push", "s1", "--to", "https://127.0.0.1:1/hook", "--max", "5"]);
    assert!(told.contains("subscription verify s1"), "{told}");
    let config = &json(&service.run(&["subscription", "show", "s1", "--json"]))["pushConfig"];
    assert_eq!((&config["maxMessages"], &config["verified"]), (&5.into(), &false.into()));
    let (code, complaint) = service.refused(&["subscription", "verify", "s1"]);
    assert!(code == 1 && complaint.contains("subscription s1"), "{complaint}");
    service.run(&["subscription", "push", "s1", "--none"]);
    let config = &json(&service.run(&["subscription", "show", "s1", "--json"]))["pushConfig"];
    assert_eq!(config["pushEndpoint"], "");
}
