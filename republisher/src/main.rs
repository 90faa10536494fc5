//! Republisher: moves messages from subscriptions of AMS v1 services to topics of the same or others, by rules.
//!
//! The map. [`config`] says what to do; a [`pair`] does it for one source. On the way of a message: [`message`] (the pull's answer as
//! it came), [`rule`] with [`field`] and [`template`] (where it goes), [`window`] (request bodies), [`ams`] (HTTP). Beside it [`retry`],
//! [`metrics`], [`ops`]. It speaks the public HTTP API only and knows nothing of the service's code.
//!
//! Exit codes: 0 done or stopped when asked, 1 failed, 2 wrongly asked (arguments, configuration).
#![forbid(unsafe_code)]

mod ams;
mod clock;
mod config;
mod dry_run;
mod field;
mod logging;
mod message;
mod metrics;
mod ops;
mod pair;
mod retry;
mod rule;
mod template;
mod window;

use clap::{Parser, Subcommand};
use config::Plan;
use pair::{Ending, Pair};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most bytes that one Avro value may ask for.
const AVRO_BYTES: usize = 16 << 20;

/// Moves messages between AMS v1 services by rules: at least once, in order per source.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Republishes until told to stop (SIGTERM or SIGINT).
    Run {
        /// The configuration file.
        #[arg(long, default_value = "republisher.toml")]
        config: PathBuf,
        /// Only print where the messages that wait would go; publish and acknowledge nothing.
        #[arg(long)]
        dry_run: bool,
        /// The most messages of each source that a dry run looks at.
        #[arg(long, default_value_t = 1_000, requires = "dry_run", value_parser = clap::value_parser!(u16).range(1..=10_000))]
        max: u16,
    },
    /// Checks the configuration, and the files and variables it names, without contacting anybody.
    Check {
        /// The configuration file.
        #[arg(long, default_value = "republisher.toml")]
        config: PathBuf,
    },
}

/// Why it ends badly: the line to print and the exit code.
struct Failed(String, u8);

fn main() -> ExitCode {
    // Whatever speaks TLS takes the process's provider. It can only be there already if this line ran before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    apache_avro::util::max_allocation_bytes(AVRO_BYTES);
    match command(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(line, code)) => {
            drop(writeln!(std::io::stderr(), "{line}"));
            ExitCode::from(code)
        }
    }
}

fn command(command: Command) -> Result<(), Failed> {
    let load = |path: PathBuf| Plan::load(&path).map_err(|error| Failed(error, 2));
    match command {
        Command::Check { config } => {
            let plan = load(config)?;
            let mut out = std::io::stdout();
            for pair in &plan.pairs {
                let (from, to) = (&pair.source, &pair.target);
                drop(writeln!(
                    out,
                    "{}: {}/v1/projects/{}/subscriptions/{} -> {}/v1/projects/{}, {} rules",
                    pair.name,
                    from.url,
                    pair.source_project,
                    pair.subscription,
                    to.url,
                    pair.target_project,
                    pair.rules.rules.len()
                ));
            }
            drop(writeln!(out, "the configuration is right"));
            Ok(())
        }
        Command::Run { config, dry_run, max } => {
            let plan = load(config)?;
            logging::start(&plan.log_level, plan.log_json).map_err(|error| Failed(error, 2))?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failed(format!("cannot start threads: {error}"), 1))?;
            let outcome =
                runtime.block_on(async { if dry_run { look(&plan, usize::from(max)).await } else { run(plan).await } });
            runtime.shutdown_background();
            outcome
        }
    }
}

/// The dry run of all pairs; one that fails does not hide the others.
async fn look(plan: &Plan, most: usize) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for pair in &plan.pairs {
        let shown = dry_run::show(pair, most, &mut std::io::stdout()).await;
        wrong.extend(shown.err().map(|error| format!("{}: {error}", pair.name)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failed(wrong.join("\n"), 1)) }
}

/// All pairs at work, until a signal or until none is left.
async fn run(plan: Plan) -> Result<(), Failed> {
    let failed = |what: &str, error: std::io::Error| Failed(format!("{what}: {error}"), 1);
    let mut end = signal(SignalKind::terminate()).map_err(|error| failed("signals", error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed("signals", error))?;
    let metrics = metrics::Metrics::new().map_err(|error| Failed(format!("metrics: {error}"), 1))?;
    let stop = CancellationToken::new();
    let (patience, mut pairs, mut handles) = (plan.patience, JoinSet::new(), Vec::new());
    for pair in plan.pairs {
        let handle = metrics.pair(&pair.name);
        let made = Pair::new(pair, patience, handle.clone(), stop.clone()).map_err(|error| Failed(error, 2))?;
        pairs.spawn(made.run());
        handles.push(handle);
    }
    if let Some(address) = plan.listen {
        let (server, taken) =
            ops::serve(address, metrics, handles).map_err(|error| failed(&format!("ops.listen {address}"), error))?;
        tokio::spawn(server);
        drop(writeln!(std::io::stdout(), "listening ops=http://{taken}"));
    }
    let mut halted = false;
    loop {
        tokio::select! {
            ended = pairs.join_next() => match ended {
                Some(ended) => halted |= ended.map_or(true, |ending| ending != Ending::Asked),
                None if halted => return Err(Failed("every pair has ended; see the log for the reasons".to_owned(), 1)),
                None => return Ok(()),
            },
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    stop.cancel();
    let rest = async { while pairs.join_next().await.is_some() {} };
    let late = |_| Failed("what was published could not all be acknowledged in time; it will come again".to_owned(), 1);
    tokio::time::timeout(patience.stop, rest).await.map_err(late)
}
