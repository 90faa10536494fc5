//! Instructions of decoding a publish and of encoding a pull's answer, as callgrind counts them: the same count on every machine,
//! whatever else it does.
//!
//! A part of the service is counted while it is on the stack, in a debug build. Without valgrind there is nothing to count with, and
//! in a release build nothing to hold it to: the test says so.

use crate::{ALONE, PUBLISH, World, application, messages, pull};
use std::io::Write as _;
use std::process::Command;

/// What a counted run is told to do.
const WORK: &str = "ANGELIA_COST_WORK";
/// Messages a request, and requests.
const MESSAGES: usize = 100;
const REQUESTS: usize = 5;

/// The work, the function that is counted, and the instructions that it takes at most for each message of 1 KiB: a tenth above what is
/// reached.
const BOUNDS: [(&str, &str, u64); 2] =
    [("publish", "angelia::api::ams::publish::batch", 101_500), ("pull", "angelia::api::ams::pull::shown", 127_000)];

/// What is counted: publishing or pulling so many requests.
#[actix_web::test]
#[ignore = "run by the test beside it under callgrind"]
async fn work() {
    let _alone = ALONE.lock().await;
    let Ok(work) = std::env::var(WORK) else { return };
    let world = World::of_segments(2 << 20).await;
    let call = application(&world).await;
    if work == "pull" {
        call("POST", PUBLISH, messages(MESSAGES, 0)).await;
    }
    for _ in 0..REQUESTS {
        match work.as_str() {
            "publish" => call("POST", PUBLISH, messages(MESSAGES, 0)).await,
            _ => call("POST", "/v1/projects/p/subscriptions/c:pull", pull(MESSAGES)).await,
        };
    }
    world.store.close().await.unwrap();
}

/// The instructions that a function takes while this test program does some work; none without valgrind.
fn counted(work: &str, function: &str) -> Option<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    valgrind.arg(format!("--toggle-collect={function}*"));
    valgrind.arg(std::env::current_exe().unwrap()).args(["instructions::work", "--exact", "--ignored"]);
    let done = valgrind.env(WORK, work).output().ok()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{work}: {said}{}", String::from_utf8_lossy(&done.stdout));
    let (_, count) = said.split_once("Collected : ").unwrap();
    Some(count.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn decoding_and_encoding_take_a_bounded_number_of_instructions() {
    // Past the harness, which keeps what a passing test prints.
    let skip = |why| drop(writeln!(std::io::stderr(), "SKIP instruction counts: {why}"));
    if !cfg!(debug_assertions) {
        return skip("the bounds are of debug builds");
    }
    for (work, function, bound) in BOUNDS {
        let Some(count) = counted(work, function) else { return skip("valgrind is not installed") };
        let each = count / (REQUESTS * MESSAGES) as u64;
        println!("instructions of {function} for each message: {each}");
        assert!(each > 0, "{function} was not met: name what decodes or encodes now");
        assert!(each <= bound, "{each} instructions of {function} for each message; the bound is {bound}");
    }
}
