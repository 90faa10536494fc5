//! Zaqar's queues from the command line: made, filled, worked off, and what is said when something is wrong.

use super::json;
use super::service::{Service, angelia};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A service with queues, and commands for it.
struct Queues<'a> {
    service: Service,
    folder: &'a Path,
}

impl<'a> Queues<'a> {
    fn start(folder: &'a Path) -> Self {
        let service = Service::start(folder, &["--set", "listen.zaqar=127.0.0.1:0"]);
        Self { service, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = angelia(self.folder);
        command.args(arguments).args(["--url", &self.service.url("zaqar")]);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn a_queue_is_made_filled_worked_off_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let queues = Queues::start(folder.path());
    assert_eq!(queues.run(&["queue", "create", "work", "--metadata", r#"{"note": "mine"}"#]), "made queue work\n");
    assert_eq!(queues.run(&["queue", "create", "work"]), "queue work is there already\n");
    assert!(queues.run(&["queue", "show", "work"]).contains("note  \"mine\"\n"));
    let posted = json(&queues.run(&["message", "post", "work", r#"{"n": 1}"#, "plain", "7", "--ttl", "300", "--json"]));
    let ids: Vec<&str> = posted["ids"].as_array().unwrap().iter().filter_map(|id| id.as_str()).collect();
    assert_eq!(ids.len(), 3);
    let listed = json(&queues.run(&["message", "list", "work", "--json"]));
    let bodies: Vec<_> = listed["messages"].as_array().unwrap().iter().map(|message| message["body"].clone()).collect();
    assert_eq!(bodies, [json!({ "n": 1 }), json!("plain"), json!(7)]);
    assert_eq!(json(&queues.run(&["message", "list", "work", "--after", ids[1], "--json"]))["messages"][0]["body"], 7);

    let claimed = queues.run(&["message", "claim", "work", "--max", "1", "--ttl", "100", "--grace", "60"]);
    let claim = claimed.lines().next().unwrap().strip_prefix("claim ").unwrap();
    assert!(claimed.contains(ids[0]) && claimed.contains(r#"{"n":1}"#), "{claimed}");
    assert!(queues.run(&["claim", "show", "work", claim]).starts_with("age 0 of 100 seconds\n"));
    assert_eq!(queues.run(&["queue", "stats", "work"]), "free     2\nclaimed  1\ntotal    3\n");
    let (code, said) = queues.refused(&["message", "delete", "work", ids[0]]);
    assert!(code == 1 && said.contains("it cannot be deleted without a valid claim ID. (403)"), "{said}");
    assert_eq!(queues.run(&["claim", "renew", "work", claim, "--ttl", "200"]), format!("renewed claim {claim}\n"));
    queues.run(&["message", "delete", "work", ids[0], "--claim", claim]);
    assert_eq!(queues.run(&["claim", "release", "work", claim]), format!("released claim {claim}\n"));
    assert!(queues.run(&["message", "pop", "work", "--max", "2"]).contains("\"plain\""));
    assert_eq!(queues.run(&["message", "claim", "work"]), "no messages\n");
    assert_eq!(queues.run(&["queue", "purge", "work"]), "purged queue work\n");
    assert_eq!(queues.run(&["queue", "delete", "work"]), "deleted queue work\n");
    assert_eq!(json(&queues.run(&["queue", "list", "--json"])), json!({ "queues": [] }));
}

#[test]
fn lines_are_posted_and_long_lists_walked() {
    let folder = tempfile::tempdir().unwrap();
    let queues = Queues::start(folder.path());
    let mut post = queues.command(&["message", "post", "lines", "--text"]);
    let mut child = post.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let text: String = (0..250).map(|number| format!("{number}\n")).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let listed = json(&queues.run(&["message", "list", "lines", "--max", "123", "--json"]));
    let bodies: Vec<_> = listed["messages"].as_array().unwrap().iter().map(|message| message["body"].clone()).collect();
    assert_eq!(bodies, (0..123).map(|number| json!(number.to_string())).collect::<Vec<_>>());
    for number in 0..25 {
        queues.run(&["queue", "create", &format!("q{number:02}")]);
    }
    assert_eq!(json(&queues.run(&["queue", "list", "--json"]))["queues"].as_array().unwrap().len(), 26);
    assert_eq!(queues.run(&["queue", "list", "--project", "other"]), "QUEUE\n");
}

#[test]
fn what_is_wrong_with_a_queue_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let queues = Queues::start(folder.path());
    for (arguments, code, part) in [
        (
            &["queue", "create", "a b"][..],
            1,
            "The format of the submitted queue name or project id is not valid. (400)",
        ),
        (&["queue", "create", "a", "--metadata", "[]"], 2, "--metadata: write a JSON object"),
        (&["message", "post", "a", "x", "--ttl", "1"], 1, "must be at least 60 seconds long. (400)"),
        (&["claim", "show", "a", "nothing"], 1, "Claim nothing does not exist in queue a for project demo (404)"),
    ] {
        let (got, said) = queues.refused(arguments);
        assert!(got == code && said.contains(part) && said.lines().count() == 1, "{arguments:?}: {got} {said}");
    }
    let output = angelia(folder.path()).args(["queue", "list"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("listen.zaqar is off"), "{said}");
}
