//! The server under test: a process on a fresh folder, killed when dropped.

use crate::Result;
use crate::http::Connection;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The token of all requests.
pub(crate) const TOKEN: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";
/// The word that makes this program the bare server.
pub(crate) const BARE: &str = "--bare-server";
/// How long a start may take.
const START: Duration = Duration::from_secs(120);
/// Clock ticks a second in `/proc`: fixed on Linux.
const TICKS: f64 = 100.0;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until it said that it listens.
    pub(crate) opened_in: Duration,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts the binary on a folder, fresh or not.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Result<Self> {
        let mut command = killed_with_this(binary);
        command.arg("serve").current_dir(folder).stdin(Stdio::null());
        let store = format!("store.url=segment:{}", folder.join("data").display());
        let token = format!("ams.service_token={TOKEN}");
        for setting in
            [&store, &token, "listen.ams=127.0.0.1:0", "listen.ams_tls=off", "listen.ops=off", "log.level=warn"]
        {
            command.args(["--set", setting]);
        }
        Self::run(command, folder)
    }

    /// Starts the bare server: what HTTP and parsing alone take.
    pub(crate) fn bare(folder: &Path) -> Result<Self> {
        let mut command = killed_with_this(&std::env::current_exe()?);
        command.arg(BARE);
        Self::run(command, folder)
    }

    /// Runs a command until it says where it listens.
    fn run(mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join("server.log");
        let begun = Instant::now();
        let child = command.stdout(File::create(&log)?).stderr(File::create(folder.join("server.err"))?).spawn()?;
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), opened_in: Duration::ZERO };
        loop {
            let said = std::fs::read_to_string(&log)?;
            if let Some(line) = said.lines().find(|line| line.starts_with("listening ")) {
                let url = line.split_whitespace().find_map(|word| word.strip_prefix("ams=http://"));
                server.address = url.ok_or("the server does not say where it listens")?.parse()?;
                server.opened_in = begun.elapsed();
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || begun.elapsed() > START {
                let why = std::fs::read_to_string(folder.join("server.err")).unwrap_or_default();
                return Err(format!("the server does not start: {said}{why}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, TOKEN).await
    }

    /// Processor seconds that it used so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum::<f64>();
        Ok(ticks / TICKS)
    }

    /// Resident memory in MiB: now, and at most so far.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1_024.0)
        };
        Ok((of("VmRSS:"), of("VmHWM:")))
    }
}

/// The binary, such that the kernel ends it with this process where a common tool for that is installed.
fn killed_with_this(binary: &Path) -> Command {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let tool: Option<PathBuf> =
        std::env::split_paths(&folders).map(|folder| folder.join("setpriv")).find(|tool| tool.is_file());
    match tool {
        Some(tool) => {
            let mut command = Command::new(tool);
            command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
            command
        }
        None => Command::new(binary),
    }
}
