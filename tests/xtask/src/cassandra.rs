//! `cargo xtask cassandra`: a throw-away Apache Cassandra of one node or three, from its published jars, for the tests of the cluster.
//!
//! Owns the jars (fetched once, by Maven, into a cache folder), the nodes' settings and lives. Needs Java 17 or 11. Each start takes
//! loopback addresses that nobody uses, so several may run beside each other; the nodes end with the command that started them.

mod settings;

use crate::process::{cargo, on_path, run_logged, run_shown};
use crate::project::Project;
use crate::python::Python;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const VERSION: &str = "5.0.9";
const USAGE: &str = "cargo xtask cassandra test | cargo xtask cassandra run [1|3]";
/// Names a cluster that runs already: its nodes, with commas.
const GIVEN: &str = "ANGELIA_TEST_CQL";

/// For Maven, and for all nodes to answer.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the tests that need a cluster, or a cluster to try things with.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test(project),
        ["run"] => serve(project, 1),
        ["run", "1"] => serve(project, 1),
        ["run", "3"] => serve(project, 3),
        _ => Err(USAGE.to_owned()),
    }
}

fn test(project: &Project) -> Result<(), String> {
    if let Ok(given) = std::env::var(GIVEN) {
        return cluster_tests(project, &given);
    }
    if let Some(missing) = missing(project) {
        println!("SKIP cassandra: {missing}; or name a running cluster in {GIVEN}");
        return Ok(());
    }
    let cluster = Cluster::start(project, 1)?;
    cluster_tests(project, &cluster.hosts())
}

/// The tests that cargo leaves out unless asked for, and a client of the whole service, against this cluster.
fn cluster_tests(project: &Project, hosts: &str) -> Result<(), String> {
    let mut tests = cargo(&project.root);
    tests.args(["test", "--package", "angelia", "--lib", "--", "--ignored", "--test-threads=4", "cql", "cluster"]);
    let tests = run_shown(tests.env(GIVEN, hosts));
    let mut build = cargo(&project.root);
    run_shown(build.args(["build", "--package", "angelia", "--bin", "angelia"]))?;
    let mut client = Python::ready(project)?.command();
    client.current_dir(&project.root).args(["tests/ams/run.py", "library"]).env(GIVEN, hosts);
    client
        .env("ANGELIA_BINARY", project.binary("debug", "angelia"))
        .env("ANGELIA_WORK", project.target.join("cassandra-work"));
    tests.and(run_shown(&mut client))
}

fn serve(project: &Project, nodes: usize) -> Result<(), String> {
    java()?;
    let cluster = Cluster::start(project, nodes)?;
    println!("{GIVEN}={}\nend it with a line on standard input", cluster.hosts());
    std::io::stdin().read_line(&mut String::new()).map(drop).map_err(|error| error.to_string())
}

/// The part of all tests that needs a cluster: this command, asked for its tests.
pub(crate) fn tests() -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| format!("this command's file: {error}"))?);
    command.args(["cassandra", "test"]);
    Ok(command)
}

/// What Cassandra needs and this machine neither has nor can fetch.
pub(crate) fn missing(project: &Project) -> Option<String> {
    let found = java().and_then(|_| jars(project));
    found.err().map(|why| why.lines().next().unwrap_or_default().to_owned())
}

/// Java, if it is one that Cassandra runs on.
fn java() -> Result<PathBuf, String> {
    let missing = "Java 17 or 11 is not installed (Debian: apt-get install openjdk-17-jre-headless)";
    let java = on_path("java").ok_or(missing)?;
    let asked = Command::new(&java).arg("-version").output().map_err(|error| format!("java: {error}"))?;
    let text = String::from_utf8_lossy(&asked.stderr).into_owned();
    let version = text.split('"').nth(1).and_then(|version| version.split('.').next()).unwrap_or_default();
    if matches!(version, "11" | "17") { Ok(java) } else { Err(format!("{missing}; java is of version `{version}`")) }
}

/// The folder of the jars, which outlives builds: `ANGELIA_CACHE`, else the user's cache folder.
fn cache() -> Result<PathBuf, String> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let cache = named("ANGELIA_CACHE").or_else(|| Some(user()?.join("angelia")));
    cache.map(|cache| cache.join(format!("cassandra-{VERSION}"))).ok_or_else(|| "set ANGELIA_CACHE or HOME".to_owned())
}

/// The jars, fetched if they are not there yet.
fn jars(project: &Project) -> Result<PathBuf, String> {
    let lib = cache()?;
    if lib.is_dir() {
        return Ok(lib);
    }
    let maven =
        on_path("mvn").ok_or("mvn is not installed, and the jars of Cassandra are to be fetched (Debian: maven)")?;
    println!("fetching Cassandra {VERSION} with mvn, once, into {}", lib.display());
    let part = lib.with_extension(format!("part{}", std::process::id()));
    let work = project.target.join("cassandra-jars");
    let failed = |error: std::io::Error| format!("{}: {error}", work.display());
    std::fs::create_dir_all(&work).map_err(failed)?;
    std::fs::write(work.join("pom.xml"), settings::pom(VERSION)).map_err(failed)?;
    let mut fetch = Command::new(maven);
    fetch.current_dir(&work).args(["-B", "-q"]);
    fetch.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
    fetch.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", part.display()));
    let ended = run_logged(&mut fetch, &work.join("log"), FETCH_LIMIT)?;
    if !ended.success {
        drop(std::fs::remove_dir_all(&part));
        return Err(format!("mvn {}:\n{}", ended.why, ended.output));
    }
    // Whole or not at all; another may have been quicker.
    if std::fs::rename(&part, &lib).is_err() {
        drop(std::fs::remove_dir_all(&part));
    }
    drop(std::fs::remove_dir_all(&work));
    if lib.is_dir() { Ok(lib) } else { Err(format!("{} could not be made", lib.display())) }
}

/// The folders of nodes that nobody has started: each holds `address` and the script `run`. Dropping this takes them away.
#[derive(Debug)]
pub(crate) struct Homes {
    folder: PathBuf,
    addresses: Vec<String>,
}

impl Homes {
    /// Prepares nodes on loopback addresses that nobody uses.
    pub(crate) fn prepare(project: &Project, count: usize) -> Result<Self, String> {
        let (java, lib) = (java()?, jars(project)?);
        let block = free_block(count)?;
        let folder = project.target.join(format!("cassandra-{block}"));
        drop(std::fs::remove_dir_all(&folder));
        let addresses: Vec<String> = (1..=count).map(|node| format!("127.0.{block}.{node}")).collect();
        let homes = Self { folder, addresses };
        for index in 0..count {
            homes.write(index, &java, &lib)?;
        }
        Ok(homes)
    }

    /// The folder that holds them all.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn home(&self, index: usize) -> PathBuf {
        self.folder.join(format!("node{}", index + 1))
    }

    fn write(&self, index: usize, java: &Path, lib: &Path) -> Result<(), String> {
        let home = self.home(index);
        let failed = |error: std::io::Error| format!("{}: {error}", home.display());
        std::fs::create_dir_all(&home).map_err(failed)?;
        let flags: Vec<String> = settings::flags(&home, lib)?.iter().map(|flag| format!("'{flag}'")).collect();
        let run =
            format!("exec '{}' {} org.apache.cassandra.service.CassandraDaemon\n", java.display(), flags.join(" "));
        for (name, text) in [
            ("cassandra.yaml", settings::node(&home, index, &self.addresses)),
            ("logback.xml", settings::LOGBACK.to_owned()),
            ("address", self.addresses.get(index).cloned().unwrap_or_default()),
            ("run", run),
        ] {
            std::fs::write(home.join(name), text).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Running nodes; dropping this ends them.
#[derive(Debug)]
struct Cluster {
    nodes: Vec<Node>,
    /// Their folders, which go after them.
    homes: Homes,
}

#[derive(Debug)]
struct Node {
    address: SocketAddr,
    home: PathBuf,
    process: Child,
}

impl Cluster {
    fn start(project: &Project, count: usize) -> Result<Self, String> {
        let homes = Homes::prepare(project, count)?;
        // Owned from here on, so that those before one that fails end, too.
        let mut cluster = Self { nodes: Vec::new(), homes };
        for index in 0..count {
            let (home, address) =
                (cluster.homes.home(index), cluster.homes.addresses.get(index).map_or("", String::as_str));
            let address = format!("{address}:{}", settings::CQL_PORT).parse().map_err(|_| "an address".to_owned())?;
            let process = launch(&home)?;
            cluster.nodes.push(Node { address, home, process });
        }
        let begun = Instant::now();
        for node in &mut cluster.nodes {
            node.wait(count, begun)?;
        }
        println!("Cassandra {VERSION}: {count} on {} after {:.1} s", cluster.hosts(), begun.elapsed().as_secs_f64());
        Ok(cluster)
    }

    /// The nodes' addresses, as the tests want them.
    fn hosts(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        hosts.join(",")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            let id = node.process.id().to_string();
            drop(Command::new("kill").arg(id).status());
        }
        for node in &mut self.nodes {
            let begun = Instant::now();
            while matches!(node.process.try_wait(), Ok(None)) && begun.elapsed() < STOP_LIMIT {
                std::thread::sleep(LOOK_EVERY);
            }
            drop(node.process.kill());
            drop(node.process.wait());
        }
    }
}

impl Node {
    /// Waits until the node answers a read, of all replicas if there are several.
    fn wait(&mut self, count: usize, begun: Instant) -> Result<(), String> {
        let log = self.home.join("log");
        loop {
            if answers(self.address, count > 1) {
                return Ok(());
            }
            let ended = self.process.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || begun.elapsed() > START_LIMIT {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(20).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(format!("Cassandra on {} did not start:\n{}", self.address, last.join("\n")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The third number of loopback addresses that nobody listens on.
fn free_block(count: usize) -> Result<u8, String> {
    let free = |block: &u8| {
        (1..=count).all(|node| {
            let at = |port: u16| TcpListener::bind(format!("127.0.{block}.{node}:{port}"));
            at(settings::CQL_PORT).is_ok() && at(settings::GOSSIP_PORT).is_ok()
        })
    };
    (7..=250).find(free).ok_or_else(|| "all loopback addresses are in use".to_owned())
}

fn launch(home: &Path) -> Result<Child, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    let log = std::fs::File::create(home.join("log")).map_err(failed)?;
    let twin = log.try_clone().map_err(failed)?;
    // A node must not outlive this command, however it ends.
    let mut command = match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    command.arg(home.join("run")).current_dir(home).stdin(Stdio::null()).stdout(log).stderr(twin);
    command.spawn().map_err(|error| format!("{}: {error}", home.join("run").display()))
}

/// Whether a node answers a small read: a CQL client in a few bytes.
fn answers(address: SocketAddr, all: bool) -> bool {
    ask(address, all).unwrap_or(false)
}

fn ask(address: SocketAddr, all: bool) -> std::io::Result<bool> {
    let limit = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    let startup: &[u8] = b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0";
    if exchange(&mut stream, 1, startup)?.first() != Some(&2) {
        return Ok(false);
    }
    // A table of the whole cluster, at consistency ALL; or the node's own, at ONE.
    let (text, consistency) = if all {
        ("SELECT keyspace_name FROM system_distributed.repair_history LIMIT 1", 5_u8)
    } else {
        ("SELECT key FROM system.local", 1)
    };
    let length = u8::try_from(text.len()).unwrap_or_default();
    let body = [&[0, 0, 0, length], text.as_bytes(), &[0, consistency, 0]].concat();
    // A result (8) of the kind rows (2).
    let answer = exchange(&mut stream, 7, &body)?;
    Ok(answer.split_first().is_some_and(|(kind, body)| *kind == 8 && body.starts_with(&[0, 0, 0, 2])))
}

/// Sends a frame; the answer's kind, followed by its body.
fn exchange(stream: &mut TcpStream, kind: u8, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    stream.write_all(&[&[4, 0, 0, 0, kind], &length[..], body].concat())?;
    let mut header = [0_u8; 9];
    stream.read_exact(&mut header)?;
    let [.., kind, a, b, c, d] = header;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default().min(1 << 20)];
    stream.read_exact(&mut answer)?;
    answer.insert(0, kind);
    Ok(answer)
}
