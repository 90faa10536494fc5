//! The server under test: a process on a fresh folder, killed when dropped, and what the kernel counts of it.

use crate::Result;
use crate::dialect::Dialect;
use crate::http::{Connection, trust};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::ClientConfig;

/// The token of all requests.
pub(crate) const TOKEN: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";
/// The word that makes this program the bare server.
pub(crate) const BARE: &str = "--bare-server";
/// How long a start may take.
const START: Duration = Duration::from_secs(120);
/// Clock ticks a second in `/proc`: fixed on Linux.
const TICKS: f64 = 100.0;
/// Bytes of a sector in the kernel's counts, whatever the device's are.
const SECTOR: u64 = 512;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    dialect: Dialect,
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
        let listen = ["listen.ams=127.0.0.1:0", "listen.ams_tls=off"];
        Self::run(Self::command(binary, folder, &listen), folder, |log| after(log, " ams=http://"))
    }

    /// Starts it so that it speaks TLS alone, with the certificate that it makes itself.
    pub(crate) fn start_tls(binary: &Path, folder: &Path) -> Result<Self> {
        let listen = ["listen.ams=off", "listen.ams_tls=127.0.0.1:0"];
        let command = Self::command(binary, folder, &listen);
        let mut server = Self::run(command, folder, |log| after(log, " ams_tls=https://"))?;
        server.tls = Some(trust(&folder.join("data.tls-cert.pem"))?);
        Ok(server)
    }

    /// Starts it for the Zaqar dialect, with this bound on the messages of a page, a claim and a pop.
    pub(crate) fn start_zaqar(binary: &Path, folder: &Path, messages_max: u64) -> Result<Self> {
        let page = format!("zaqar.limits.max_messages_per_page={messages_max}");
        let claim = format!("zaqar.limits.max_messages_per_claim_or_pop={messages_max}");
        let listen = ["listen.ams=127.0.0.1:0", "listen.ams_tls=off", "listen.zaqar=127.0.0.1:0", &page, &claim];
        let mut server = Self::run(Self::command(binary, folder, &listen), folder, |log| after(log, " zaqar=http://"))?;
        server.dialect = Dialect::Zaqar;
        Ok(server)
    }

    fn command(binary: &Path, folder: &Path, listen: &[&str]) -> Command {
        let mut command = killed_with_this(binary);
        command.arg("serve").current_dir(folder);
        let store = format!("store.url=segment:{}", folder.join("data").display());
        let token = format!("ams.service_token={TOKEN}");
        for setting in [&store, &token, "listen.ops=off", "log.level=warn"].into_iter().chain(listen.iter().copied()) {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts the bare server: what HTTP and parsing alone take.
    pub(crate) fn bare(folder: &Path) -> Result<Self> {
        let mut command = killed_with_this(&std::env::current_exe()?);
        command.arg(BARE);
        Self::run(command, folder, |log| after(log, " ams=http://"))
    }

    /// Starts NATS with JetStream, which syncs every publish before it answers, or as it does by default.
    pub(crate) fn nats(binary: &Path, folder: &Path, synced: bool) -> Result<Self> {
        let sync = if synced { "sync_interval: always" } else { "" };
        let store = folder.join("jetstream");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\nmax_payload: 8MB\njetstream {{\n store_dir: \"{}\"\n {sync}\n}}\n",
            store.display()
        );
        let file = folder.join("nats.conf");
        std::fs::write(&file, config)?;
        let mut command = killed_with_this(binary);
        command.arg("-c").arg(file).current_dir(folder);
        Self::run(command, folder, |log| after(log, "Listening for client connections on "))
    }

    /// Runs a command until what it says tells where it listens.
    fn run(mut command: Command, folder: &Path, listens: fn(&str) -> Option<SocketAddr>) -> Result<Self> {
        let (out, err) = (folder.join("server.log"), folder.join("server.err"));
        let begun = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?).spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, address, tls: None, dialect: Dialect::Ams, opened_in: Duration::ZERO };
        loop {
            let said = format!("{}{}", std::fs::read_to_string(&out)?, std::fs::read_to_string(&err)?);
            if let Some(address) = listens(&said) {
                (server.address, server.opened_in) = (address, begun.elapsed());
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || begun.elapsed() > START {
                return Err(format!("the server does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, self.tls.as_ref(), self.dialect.head()).await
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
        let of = |name: &str| number_after(&status, name).map_or(0.0, |kib| kib as f64 / 1_024.0);
        Ok((of("VmRSS:"), of("VmHWM:")))
    }

    /// Bytes that it made the kernel write to storage so far.
    pub(crate) fn written(&self) -> Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let of = |name: &str| number_after(&io, name).unwrap_or_default();
        Ok(of("\nwrite_bytes:").saturating_sub(of("\ncancelled_write_bytes:")))
    }
}

/// Bytes that the block device under a folder has written so far, whoever wrote; none where no block device is told.
pub(crate) fn device_written(folder: &Path) -> Option<u64> {
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * SECTOR)
}

/// The address that follows these words.
fn after(text: &str, words: &str) -> Option<SocketAddr> {
    // Only a line that is complete.
    let (_, rest) = text.split_once(words)?;
    rest.split_once('\n')?.0.split_whitespace().next()?.parse().ok()
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.split_once(name)?.1.split_whitespace().next()?.parse().ok()
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
