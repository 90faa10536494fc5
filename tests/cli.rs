//! The binary from outside, as operators and newcomers use it: first start, commands, signals, backups, keys.
#![expect(clippy::disallowed_methods, reason = "a test that waits for another process needs the machine's clock")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "cli/administration.rs"]
mod administration;
#[path = "cli/certificates.rs"]
mod certificates;
#[path = "cli/queues.rs"]
mod queues;
#[path = "cli/service.rs"]
mod service;

use serde_json::Value;
use service::{PROGRAM, Service, angelia, shell};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The shell commands of the quickstart's text: each begins with `curl` and goes on over a backslash.
fn printed_commands(welcome: &str) -> Vec<String> {
    let blocks = welcome.split("\n\n").map(str::trim);
    blocks.filter(|block| block.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn the_quickstarts_commands_work_as_printed_on_the_first_start_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    let welcome = service.welcome();
    let token = std::fs::read_to_string(folder.path().join("data.token")).unwrap().trim().to_owned();
    assert!(welcome.contains(&token));
    check_printed_commands(folder.path(), &welcome, "", "0");
    assert!(service.stop().success());

    let service = Service::start(folder.path(), &[]);
    let welcome = service.welcome();
    assert!(!welcome.contains(&token), "a later start shows no secret");
    let export = welcome.lines().map(str::trim).find(|line| line.starts_with("export ANGELIA_TOKEN=")).unwrap();
    check_printed_commands(folder.path(), &welcome, export, "1");
}

fn check_printed_commands(folder: &Path, welcome: &str, before: &str, id: &str) {
    let commands = printed_commands(welcome);
    let [publish, pull, acknowledge] = commands.as_slice() else { panic!("three commands expected: {commands:?}") };
    let run = |command: &str| {
        let output = shell(folder, &format!("{before}\n{command}"));
        json(&String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(publish), serde_json::json!({ "messageIds": [id] }));
    let pulled = run(pull);
    assert_eq!(pulled.pointer("/receivedMessages/0/message/data").unwrap(), "aGVsbG8=");
    let ack_id = pulled.pointer("/receivedMessages/0/ackId").and_then(Value::as_str).unwrap();
    assert!(acknowledge.contains(ack_id), "{acknowledge}");
    assert_eq!(run(acknowledge), serde_json::json!({}));
    assert_eq!(run(pull), serde_json::json!({ "receivedMessages": [] }));
}

#[test]
fn messages_go_through_the_command_line_from_arguments_files_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    std::fs::write(folder.path().join("record.txt"), "SiteName: récord\n%%\n").unwrap();
    service.run(&["publish", "events", "one", "two", "--attribute", "site=A"]);
    service.run(&["publish", "events", "--file", "record.txt"]);
    let mut lines = service.command(&["publish", "events", "--batch", "7"]);
    let mut child = lines.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());

    let offsets = json(&service.run(&["subscription", "offsets", "reader", "--json"]));
    assert_eq!(offsets, serde_json::json!({ "max": 103, "min": 0, "current": 0 }));
    let shown = service.run(&["pull", "reader", "--max", "3", "--ack"]);
    assert!(shown.contains("site=A  one\n") && shown.contains("SiteName: récord"), "{shown}");
    let raw = service.run(&["pull", "reader", "--max", "100", "--ack", "--raw"]);
    assert_eq!(raw, text);
    assert_eq!(service.run(&["pull", "reader", "--json"]), "");
    service.run(&["subscription", "seek", "reader", "--to", "102"]);
    let again = json(&service.run(&["pull", "reader", "--json"]));
    assert_eq!(again.pointer("/message/messageId").unwrap(), "102");
}

#[test]
fn the_readmes_tour_works_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    let tour = include_str!("../README.md").split("```sh").find(|block| block.contains("topic create")).unwrap();
    let tour = tour.split("```").next().unwrap().replace("target/release/angelia", PROGRAM);
    let output = shell(folder.path(), &format!("export ANGELIA_URL={}\nset -e\n{tour}", service.url("ams")));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("site=a  hello") && said.contains("published 1000 messages"), "{said}");
    let offsets = json(&service.run(&["subscription", "offsets", "site-a", "--json"]));
    assert_eq!(offsets, serde_json::json!({ "max": 1001, "min": 0, "current": 0 }));
}

#[test]
fn a_follower_gets_what_is_published_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    let mut follow = service.command(&["pull", "reader", "--follow", "--ack", "--raw"]);
    let mut follower = follow.stdout(Stdio::piped()).spawn().unwrap();
    service.run(&["publish", "events", "first"]);
    service.run(&["publish", "events", "second"]);
    let mut seen = [0; 13];
    follower.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    let begun = std::time::Instant::now();
    while !service.get("ops", "/metrics").1.contains("angelia_waiting_pulls 1\n") {
        assert!(begun.elapsed() < service::PATIENCE, "it waits at the server, it does not ask again and again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(&seen, b"first\nsecond\n");
}

#[test]
fn resources_are_made_shown_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    service.run(&["project", "create", "accounting", "--description", "records of sites"]);
    let in_project = |arguments: &[&str]| service.run(&[arguments, &["--project", "accounting"]].concat());
    in_project(&["topic", "create", "usage"]);
    in_project(&["subscription", "create", "archive", "--topic", "usage", "--ack-mode", "individual"]);
    in_project(&["user", "create", "site-1", "--role", "publisher"]);
    assert_eq!(in_project(&["topic", "acl", "usage", "--users", "site-1"]), "site-1\n");
    assert!(in_project(&["subscription", "show", "archive"]).contains("individual"));
    assert!(in_project(&["topic", "show", "usage"]).contains("archive"));

    let token = in_project(&["token", "show", "site-1"]);
    service.run(&as_site(token.trim(), &["publish", "usage", "record"]));
    let (code, why) = service.refused(&as_site(token.trim(), &["pull", "archive"]));
    assert_eq!(code, 1);
    assert!(why.contains("archive") && why.contains("403") && why.lines().count() == 1, "{why}");
    in_project(&["token", "refresh", "site-1"]);
    let (_, why) = service.refused(&as_site(token.trim(), &["publish", "usage", "record"]));
    assert!(why.contains("401") && why.contains("--token"), "{why}");

    in_project(&["subscription", "delete", "archive"]);
    in_project(&["topic", "delete", "usage"]);
    let (_, why) = service.refused(&["topic", "show", "usage", "--project", "accounting"]);
    assert!(why.contains("topic usage") && why.contains("404"), "{why}");
    service.run(&["user", "delete", "site-1"]);
    service.run(&["project", "delete", "accounting"]);
    assert_eq!(json(&service.run(&["project", "list", "--json"])), serde_json::json!({}));
}

fn as_site<'a>(token: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--project", "accounting", "--token", token]].concat()
}

#[test]
fn the_administrators_own_new_token_is_kept_for_later_commands() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    let before = service.run(&["token", "show", "admin"]);
    let after = service.run(&["token", "refresh", "admin"]);
    assert_ne!(before, after);
    assert_eq!(service.run(&["token", "show", "admin"]), after);
}

#[test]
fn a_stop_is_clean_and_everything_is_there_after_stop_and_kill() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    service.run(&["publish", "events", "before the stop"]);
    // An idle connection is no reason to wait.
    let mut idle = service.connect("ams");
    idle.write_all(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    assert!(service.stop().success());
    let report = angelia(folder.path()).args(["store", "inspect", "data", "--json"]).output().unwrap();
    let report = json(&String::from_utf8(report.stdout).unwrap());
    assert_eq!((report.get("clean"), report.get("damage")), (Some(&Value::from(true)), Some(&serde_json::json!([]))));

    let service = Service::start(folder.path(), &["serve"]);
    service.run(&["publish", "events", "before the kill"]);
    service.kill();
    let service = Service::start(folder.path(), &["serve"]);
    assert_eq!(service.run(&["pull", "reader", "--raw"]), "before the stop\nbefore the kill\n");
}

#[test]
fn a_waiting_pull_does_not_hold_up_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    service.run(&["publish", "events", "one"]);
    let mut waiting = service.connect("ams");
    let body = r#"{"maxMessages":"5","returnImmediately":"false"}"#;
    let token = service.run(&["token", "show"]);
    let head = format!("Host: x\r\nx-api-key: {}\r\nContent-Length: {}", token.trim(), body.len());
    let path = "/v1/projects/demo/subscriptions/reader:pull";
    waiting.write_all(format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let gauge = || service.get("ops", "/metrics").1.contains("\nangelia_waiting_pulls 1\n");
    service::wait_until("the pull to wait", gauge);
    let begin = std::time::Instant::now();
    assert!(service.stop().success());
    assert!(begin.elapsed().as_secs() < 15, "it took {:?}", begin.elapsed());
}

#[test]
fn a_second_signal_ends_the_waiting_for_a_slow_client() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path(), &[]);
    let token = service.run(&["token", "show"]);
    let mut slow = service.connect("ams");
    let head = format!("Host: x\r\nx-api-key: {}\r\nContent-Length: 100", token.trim());
    slow.write_all(format!("POST /v1/projects/demo/topics/events:publish HTTP/1.1\r\n{head}\r\n\r\n{{").as_bytes())
        .unwrap();
    // Whether the request has begun shows nowhere; an answer to a later one says that its bytes were seen.
    assert_eq!(service.get("ams", "/v1/status").0, 200);
    service.signal(rustix::process::Signal::TERM);
    service.wait_for_log("stopping");
    service::wait_until("readiness to end", || service.get("ops", "/readyz").1 == "draining\n");
    service.signal(rustix::process::Signal::TERM);
    assert_eq!(service.wait().code(), Some(1));
    assert!(service.log().contains("stopped at once by a second signal"));
    drop(slow);
    Service::start(folder.path(), &["serve"]).run(&["topic", "show", "events"]);
}

#[test]
fn a_missing_certificate_is_told_before_the_store_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["--set", "tls.cert_file=cert.pem", "--set", "tls.key_file=key.pem"];
    let log = Service::try_start(folder.path(), &[&["serve"][..], &files].concat()).unwrap_err();
    assert!(log.contains("cannot read cert.pem"), "{log}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        let output = angelia(folder.path()).arg("check-config").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, text) = check(&[]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = check(&["--set", "listen.asm=off"]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("did you mean `listen.ams`?"), "{text}");
    std::fs::write(folder.path().join("bad.toml"), "[store\nurl=").unwrap();
    let (code, text) = check(&["--config", "bad.toml"]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("bad.toml"), "{text}");
    let (code, text) = check(&["--config", "missing.toml"]);
    assert_eq!(code, 2);
    assert!(text.contains("missing.toml"), "{text}");
    let (code, text) = check(&["--set", "tls.cert_file=cert.pem", "--set", "tls.key_file=key.pem"]);
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(text.contains("tls.cert_file: cannot read cert.pem"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a check makes nothing");
    let (_, defaults) = check(&["--defaults"]);
    std::fs::write(folder.path().join("all.toml"), defaults).unwrap();
    assert_eq!(check(&["--config", "all.toml"]).0, 0, "what it prints, it takes");
}

#[test]
fn the_operators_listener_has_three_pages() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    service.run(&["publish", "events", "one", "two"]);
    assert_eq!(service.get("ops", "/healthz").0, 200);
    assert_eq!(service.get("ops", "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(service.get("ops", "/").0, 404);
    assert_eq!(service.get("ops", "/v1/status").0, 404);
    let (status, page) = service.get("ops", "/metrics");
    assert_eq!(status, 200);
    for line in page.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(name.starts_with("angelia_") && value.parse::<f64>().is_ok(), "{line}");
        let bare = name.split('{').next().unwrap_or_default();
        assert!(bare.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(bare);
        let typed =
            |name: &str| page.contains(&format!("\n# TYPE {name} ")) || page.starts_with(&format!("# TYPE {name} "));
        assert!(typed(bare) || typed(family), "no type for {line}");
    }
    for expected in [
        "angelia_published_messages_total 2",
        r#"angelia_backlog_messages{project="demo",subscription="reader"} 2"#,
        r#"angelia_store_health{condition="ready"} 1"#,
        r#"angelia_requests_total{dialect="ams",operation="topics:publish",status="200"} 1"#,
    ] {
        assert!(page.lines().any(|line| line == expected), "{expected} is missing in\n{page}");
    }
    for above_zero in ["angelia_store_bytes ", "angelia_process_resident_bytes ", "angelia_process_open_files "] {
        let value = page.lines().find_map(|line| line.strip_prefix(above_zero)).unwrap();
        assert!(value.parse::<f64>().unwrap() > 0.0, "{above_zero}{value}");
    }
}

#[test]
fn a_store_opens_with_its_own_key_only() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for place in [&folder, &other] {
        assert!(Service::start(place.path(), &["serve"]).stop().success());
    }
    let own = folder.path().join("data.key");
    let aside = folder.path().join("aside.key");
    std::fs::rename(&own, &aside).unwrap();
    let refused = || {
        let log = Service::try_start(folder.path(), &["serve"]).unwrap_err();
        assert!(log.contains("secrets.key_file (./data.key)") && log.contains("put a copy of that file back"), "{log}");
    };
    refused();
    assert!(!own.exists(), "no new key stays where the old one must come back");
    std::fs::copy(other.path().join("data.key"), &own).unwrap();
    refused();
    std::fs::rename(&aside, &own).unwrap();
    Service::start(folder.path(), &["serve"]).run(&["user", "list"]);
}

#[test]
fn a_new_key_leaves_every_token_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    service.run(&["user", "create", "robot", "--service-role", "service_admin"]);
    let token = service.run(&["token", "show", "robot"]);
    let rotate = || angelia(folder.path()).args(["key", "rotate"]).output().unwrap();
    let complaint = String::from_utf8(rotate().stderr).unwrap();
    assert!(complaint.contains("stop it, rotate the key, start it again; nothing was changed"), "{complaint}");
    assert!(service.stop().success());
    let before = std::fs::read_to_string(folder.path().join("data.key")).unwrap();
    let output = rotate();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(std::fs::read_to_string(folder.path().join("data.key")).unwrap(), before);
    let service = Service::start(folder.path(), &["serve"]);
    assert_eq!(service.run(&["token", "show", "robot", "--token", token.trim()]), token);
}

#[test]
fn a_backup_of_a_running_store_opens_and_holds_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &[]);
    service.run(&["publish", "events", "kept"]);
    let backup = |to: &str| angelia(folder.path()).args(["backup", to]).output().unwrap();
    assert!(backup("copy").status.success());
    let again = backup("copy");
    assert!(!again.status.success(), "never over another copy");
    assert!(service.stop().success());
    assert!(backup("offline").status.success());
    for copy in ["copy", "offline"] {
        let report = angelia(folder.path()).args(["store", "inspect", copy]).output().unwrap();
        let report = String::from_utf8(report.stdout).unwrap();
        assert!(report.contains("every checksum holds"), "{report}");
        let (store, key) = (format!("store.url=segment:./{copy}"), "secrets.key_file=./data.key");
        let service = Service::start(folder.path(), &["serve", "--set", &store, "--set", key]);
        assert_eq!(service.run(&["pull", "reader", "--raw", "--token-file", "data.token"]), "kept\n");
        assert!(service.stop().success());
    }
}

#[test]
fn a_taken_port_is_told_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("listen.ams={}", taken.local_addr().unwrap());
    let output = angelia(folder.path()).args(["--set", &setting]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("listen.ams: port") && told.contains("is taken"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_tls_listener_serves_a_certificate_that_its_file_vouches_for_and_closes_on_plain_http() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    let url = service.url("ams_tls");
    let list = |url: &str| angelia(folder.path()).args(["topic", "list", "-p", "x", "--url", url]).output().unwrap();
    let answer = String::from_utf8(list(&url).stderr).unwrap();
    assert!(answer.contains("project doesn't exist"), "{answer}");
    assert_eq!(
        service.exchange("ams_tls", "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n").matches("HTTP/1.1 200").count(),
        0
    );
    std::fs::rename(folder.path().join("data.tls-cert.pem"), folder.path().join("gone")).unwrap();
    let answer = String::from_utf8(list(&url).stderr).unwrap();
    assert!(answer.contains("certificate"), "without the file it is not trusted: {answer}");
}

#[test]
fn requests_are_logged_with_their_id_and_without_their_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve", "--set", "log.format=json", "--set", "log.level=trace"]);
    let token = service.run(&["token", "show"]).trim().to_owned();
    assert_eq!(service.get("ams", &format!("/v1/projects?key={token}")).0, 200);
    assert_eq!(service.get("ams", &format!("/v1/users:byToken/{token}?key={token}")).0, 200);
    let request =
        format!("GET /v1/nothing?KEY={token} HTTP/1.1\r\nHost: x\r\nx-api-key: {token}\r\nConnection: close\r\n\r\n");
    let answer = service.exchange("ams", &request);
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();
    service.wait_for_log(&id);
    let log = service.log();
    assert!(!log.contains(&token), "a token was logged");
    for line in log.lines() {
        let line = json(line);
        assert!(line.get("timestamp").is_some() && line.get("level").is_some(), "{line}");
    }
    assert!(log.contains("byToken/…"), "the redacted path is there");
}

#[test]
fn a_hang_up_reads_certificate_limits_and_log_level_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("angelia.toml");
    std::fs::write(&file, "[limits]\nmessage_bytes = 100000\n").unwrap();
    let service = Service::start(folder.path(), &["--config", "angelia.toml"]);
    let long = "x".repeat(5_000);
    service.run(&["publish", "events", &long]);
    std::fs::write(&file, "[limits]\nmessage_bytes = 2000\n").unwrap();
    service.signal(rustix::process::Signal::HUP);
    service.wait_for_log("are read anew");
    let (_, why) = service.refused(&["publish", "events", &long]);
    assert!(why.contains("413"), "{why}");
    std::fs::write(&file, "[limits]\nmessage_bytes = 1\n").unwrap();
    service.signal(rustix::process::Signal::HUP);
    service.wait_for_log("limits.message_bytes: 1 is outside");
    service.run(&["publish", "events", "short"]);
}

#[test]
fn nobody_elses_file_is_readable_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["serve"]);
    let modes = shell(folder.path(), "stat -c '%a %n' data data/control.sock data.key data.token data.tls-key.pem");
    let modes = String::from_utf8(modes.stdout).unwrap();
    assert_eq!(modes, "700 data\n600 data/control.sock\n600 data.key\n600 data.token\n600 data.tls-key.pem\n");
    assert!(service.stop().success());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("({PROGRAM} check-config --defaults; echo code $? >&2) | true");
    let output = shell(folder.path(), &script);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "code 0\n");
}

#[test]
fn a_command_without_a_service_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let output = angelia(folder.path()).args(["topic", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("no token") && told.contains("./data.token"), "{told}");
    let output =
        angelia(folder.path()).args(["topic", "list", "--token", "x", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("nothing answers at http://127.0.0.1:1"), "{told}");
}

#[test]
fn a_store_in_memory_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path(), &["--set", "store.url=memory:"]);
    check_printed_commands(folder.path(), &service.welcome(), "", "0");
    assert!(service.stop().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only this test's log");
}
