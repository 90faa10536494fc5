//! The command line: what is typed becomes calls of the public HTTP API, the server's start, or offline work on a store's folder.
//!
//! Owns arguments, output and exit codes: 0 done, 1 failed, 2 wrongly asked (arguments, configuration). Every failure is one line on
//! standard error that names the thing and says what to do. A closed pipe is no failure.

mod administration;
mod args;
mod bindings;
mod client;
mod from_ams;
mod local;
mod messages;
mod output;
mod queues;
mod resources;
mod transfer;
mod zaqar_client;

pub use args::Arguments;

use args::{Command, Configuration};
use client::Client;
use output::Output;
use std::process::ExitCode;
use zaqar_client::ZaqarClient;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed: the line to print. Exit code 1.
    Failed(String),
    /// It was wrongly asked: the line to print. Exit code 2.
    Usage(String),
    /// Whoever read our output has gone: nothing to say.
    Silent,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Silent
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }
}

impl From<crate::config::Invalid> for Failure {
    fn from(error: crate::config::Invalid) -> Self {
        Self::Usage(error.to_string())
    }
}

/// What a command answers.
type Answer<T = ()> = Result<T, Failure>;

/// Does what the arguments ask for.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    match dispatch(arguments) {
        Ok(()) | Err(Failure::Silent) => ExitCode::SUCCESS,
        Err(Failure::Failed(line)) => complain(&line, 1),
        Err(Failure::Usage(line)) => complain(&line, 2),
    }
}

#[expect(clippy::print_stderr, reason = "the command line's one place for its last words")]
fn complain(line: &str, code: u8) -> ExitCode {
    eprintln!("angelia: {line}");
    ExitCode::from(code)
}

fn dispatch(arguments: Arguments) -> Answer {
    let sources = arguments.sources();
    let out = Output::new(arguments.remote.json);
    match arguments.command {
        None => crate::server::run(sources, crate::server::Mode::Quickstart).map_err(Failure::from),
        Some(Command::Serve) => crate::server::run(sources, crate::server::Mode::Serve).map_err(Failure::from),
        Some(Command::CheckConfig { schema, defaults }) => local::check_config(&sources, schema, defaults, out),
        Some(Command::Store(command)) => local::store(command, out),
        Some(Command::Backup { folder }) => local::backup(&sources, &folder, out),
        Some(Command::Migrate) => local::migrate(&sources, out),
        Some(Command::Export { transfer, keep_admin_role }) => {
            transfer::export(&transfer, keep_admin_role, &sources, out)
        }
        Some(Command::ImportAms { folder, keep_admin_role }) => {
            transfer::import_ams(&folder, keep_admin_role, &sources, out)
        }
        Some(Command::Import { transfer }) => transfer::import(&transfer, &sources, out),
        Some(Command::Key(command)) => local::key(command, &sources, out),
        Some(Command::Topic(command)) => {
            remote(&arguments.remote, &sources, async |client| resources::topic(client, command, out).await)
        }
        Some(Command::Subscription(command)) => {
            remote(&arguments.remote, &sources, async |client| resources::subscription(client, command, out).await)
        }
        Some(Command::Queue(command)) => {
            queues_of(&arguments.remote, &sources, async |client| queues::queue(client, command, out).await)
        }
        Some(Command::Message(command)) => {
            queues_of(&arguments.remote, &sources, async |client| queues::message(client, command, out).await)
        }
        Some(Command::Claim(command)) => {
            queues_of(&arguments.remote, &sources, async |client| queues::claim(client, command, out).await)
        }
        Some(Command::User(command)) => {
            remote(&arguments.remote, &sources, async |client| resources::user(client, command, out).await)
        }
        Some(Command::Project(command)) => {
            remote(&arguments.remote, &sources, async |client| resources::project(client, command, out).await)
        }
        Some(Command::Binding(command)) => {
            remote(&arguments.remote, &sources, async |client| bindings::binding(client, command, out).await)
        }
        Some(Command::Schema(command)) => {
            remote(&arguments.remote, &sources, async |client| administration::schema(client, command, out).await)
        }
        Some(Command::Registration(command)) => {
            remote(&arguments.remote, &sources, async |client| administration::registration(client, command, out).await)
        }
        Some(Command::Config(Configuration::FromAms { file })) => from_ams::print(&file, out),
        Some(Command::Token(command)) => {
            remote(&arguments.remote, &sources, async |client| resources::token(client, command, out).await)
        }
        Some(Command::Publish(command)) => {
            remote(&arguments.remote, &sources, async |client| messages::publish(client, command, out).await)
        }
        Some(Command::Pull(command)) => {
            remote(&arguments.remote, &sources, async |client| messages::pull(client, command, out).await)
        }
    }
}

impl From<crate::server::Stopped> for Failure {
    fn from(stopped: crate::server::Stopped) -> Self {
        match stopped {
            crate::server::Stopped::Configuration(invalid) => invalid.into(),
            crate::server::Stopped::Failed(line) => Self::Failed(line),
        }
    }
}

/// Runs something that talks to a server.
fn remote(
    options: &args::Remote,
    sources: &crate::config::Sources,
    work: impl AsyncFnOnce(&Client) -> Answer,
) -> Answer {
    let client = Client::new(options, sources)?;
    run_to_end(work(&client))
}

/// Runs something that talks to a server's queues.
fn queues_of(
    options: &args::Remote,
    sources: &crate::config::Sources,
    work: impl AsyncFnOnce(&ZaqarClient) -> Answer,
) -> Answer {
    let client = ZaqarClient::new(options, sources)?;
    run_to_end(work(&client))
}

fn run_to_end(work: impl Future<Output = Answer>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}
