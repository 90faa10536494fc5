//! The binary of this workspace at work: started in a folder of its own on free ports, asked, and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_angelia");

/// A command in a folder, with no setting of the tester's own environment.
pub(crate) fn angelia(folder: &Path) -> Command {
    clean(Command::new(PROGRAM), folder)
}

/// A shell in a folder.
pub(crate) fn shell(folder: &Path, script: &str) -> Output {
    let mut command = clean(Command::new("sh"), folder);
    command.args(["-c", script]).stdin(Stdio::null()).output().expect("sh must be there")
}

fn clean(mut command: Command, folder: &Path) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANGELIA_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// A running service. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    folder: PathBuf,
    lines: Receiver<String>,
    listening: String,
}

impl Service {
    /// Starts the service with these arguments, on free ports and with small files, and waits until it is ready.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::try_start(folder, arguments).unwrap_or_else(|log| panic!("the service did not start:\n{log}"))
    }

    /// As [`Service::start`]; if it ends instead of becoming ready, its log.
    pub(crate) fn try_start(folder: &Path, arguments: &[&str]) -> Result<Self, String> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = angelia(folder);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        for setting in ["listen.ams=127.0.0.1:0", "listen.ams_tls=127.0.0.1:0", "listen.ops=127.0.0.1:0"] {
            command.args(["--set", setting]);
        }
        command.args(["--set", "store.segment_bytes=1048576"]);
        let mut child = command.spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        match lines.recv_timeout(PATIENCE) {
            Ok(listening) => Ok(Self { child, folder: folder.to_owned(), lines, listening }),
            Err(_) => {
                drop(child.kill());
                child.wait().unwrap();
                Err(std::fs::read_to_string(folder.join("log")).unwrap())
            }
        }
    }

    /// The URL of a listener: `ams`, `ams_tls` or `ops`.
    pub(crate) fn url(&self, listener: &str) -> String {
        let urls = self.listening.strip_prefix("listening ").expect("the first line says where");
        let mut pairs = urls.split(' ').filter_map(|pair| pair.split_once('='));
        let (_, url) = pairs.find(|(name, _)| *name == listener).unwrap_or_else(|| panic!("no {listener} in {urls}"));
        url.to_owned()
    }

    /// What the quickstart prints for people.
    pub(crate) fn welcome(&self) -> String {
        let mut text = String::new();
        while !text.contains("Ctrl-C stops.") {
            text.push_str(&self.lines.recv_timeout(PATIENCE).expect("the text must come to its end"));
            text.push('\n');
        }
        text
    }

    /// A command that talks to this service, done: its standard output. Panics when it fails.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that talks to this service and must fail: its exit code and complaint.
    pub(crate) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// A command that talks to this service.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = angelia(&self.folder);
        command.args(arguments).args(["--url", &self.url("ams")]);
        command
    }

    /// A `GET` of a listener's path: status and body.
    pub(crate) fn get(&self, listener: &str, path: &str) -> (u16, String) {
        let answer = self.exchange(listener, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap(), body.to_owned())
    }

    /// Sends bytes to a listener and reads all that comes back until the connection is closed.
    pub(crate) fn exchange(&self, listener: &str, request: &str) -> String {
        let mut stream = self.connect(listener);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset ends a connection as well as a close.
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection to a listener.
    pub(crate) fn connect(&self, listener: &str) -> TcpStream {
        let url = self.url(listener);
        let stream = TcpStream::connect(url.split("//").nth(1).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits until the log holds a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text} in the log"), || self.log().contains(text));
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Tells it to stop and waits for its end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("the service's end", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for a condition; panics when it does not come.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}
