//! What can be typed. Parses only; what it means is in the other files of this folder.

mod administration;
mod queues;

pub(super) use administration::{
    Language, PushChange, QuotaChange, Registration, RegistrationStatus, Schema, SchemaFiles,
};
pub(super) use queues::{Claim, Message, Queue};

use super::{Answer, Failure};
use crate::config::Sources;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Angelia: topics and subscriptions over one durable message log.
///
/// Without a command it starts with a demonstration: an administrator, a project, a topic and a subscription, and prints
/// commands to try.
#[derive(Parser, Debug)]
#[command(name = "angelia", version, propagate_version = false)]
pub struct Arguments {
    /// What to do; nothing for the demonstration.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Configuration.
    #[command(flatten)]
    pub(super) settings: Settings,
    /// How to reach a server.
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// Where settings come from.
#[derive(Args, Debug)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Settings {
    /// A configuration file (TOML); `angelia check-config --defaults` shows all settings.
    #[arg(long, global = true, value_name = "FILE", env = "ANGELIA_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, such as store.url=memory: (may be repeated; wins over file and environment).
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// How commands that talk to a server find it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server to talk to")]
pub(super) struct Remote {
    /// Its URL; by default that of the configured listener on this machine.
    #[arg(long, global = true, env = "ANGELIA_URL")]
    pub(super) url: Option<String>,
    /// The token, better given by file or environment than seen in a process list; by default the administrator's, kept
    /// beside the data folder.
    #[arg(long, global = true, env = "ANGELIA_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// A file that holds the token.
    #[arg(long, global = true, value_name = "FILE", env = "ANGELIA_TOKEN_FILE", conflicts_with = "token")]
    pub(super) token_file: Option<PathBuf>,
    /// A PEM file of certificates to trust besides the known authorities.
    #[arg(long, global = true, value_name = "FILE", env = "ANGELIA_CA_FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// The project.
    #[arg(long, short, global = true, env = "ANGELIA_PROJECT", default_value = "demo")]
    pub(super) project: String,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Remote {
    /// The token that was given, here or in a file; none when there was none.
    pub(super) fn given_token(&self) -> Answer<Option<String>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        let Some(path) = &self.token_file else { return Ok(None) };
        let read = std::fs::read_to_string(path).map(|text| Some(text.trim().to_owned()));
        read.map_err(|error| Failure::Usage(format!("--token-file: cannot read {}: {error}", path.display())))
    }
}

impl Arguments {
    /// The configuration's sources.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::with_environment(self.settings.config.clone(), self.settings.set.clone())
    }
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Run the service.
    Serve,
    /// Topics: create, list, show, delete, acl.
    #[command(subcommand)]
    Topic(Topic),
    /// Subscriptions: create, list, show, delete, offsets, seek, acl, push, verify.
    #[command(subcommand)]
    Subscription(Subscription),
    /// Publish messages: from arguments, files, or the lines of standard input.
    Publish(Publish),
    /// Pull messages.
    Pull(Pull),
    /// Zaqar's queues: create, list, show, stats, delete, purge.
    #[command(subcommand)]
    Queue(Queue),
    /// Messages of Zaqar's queues: post, list, claim, pop, delete.
    #[command(subcommand)]
    Message(Message),
    /// Claims of such messages: show, renew, release.
    #[command(subcommand)]
    Claim(Claim),
    /// Projects: create, list, show, quota, delete.
    #[command(subcommand)]
    Project(Project),
    /// Users: create, list, show, delete.
    #[command(subcommand)]
    User(User),
    /// Schemas that messages must follow: create, update, list, show, delete, validate, attach, detach.
    #[command(subcommand)]
    Schema(Schema),
    /// Users who ask to be let in: list, show, accept, decline, delete.
    #[command(subcommand)]
    Registration(Registration),
    /// Users' tokens: show, refresh.
    #[command(subcommand)]
    Token(Token),
    /// Client certificates that stand for users: create, update, list, show, delete.
    #[command(subcommand)]
    Binding(Binding),
    /// Configuration files of other services.
    #[command(subcommand)]
    Config(Configuration),
    /// Check the configuration and say what it means, without starting.
    CheckConfig {
        /// Print the JSON Schema of configuration files instead.
        #[arg(long)]
        schema: bool,
        /// Print all settings with their defaults and explanations instead.
        #[arg(long, conflicts_with = "schema")]
        defaults: bool,
    },
    /// Copy the store, running or not, into a new folder that opens as a store.
    Backup {
        /// The folder to make.
        folder: PathBuf,
    },
    /// Write the store of a stopped service into a file that any engine can take in; begun before, it goes on where it was.
    Export {
        #[command(flatten)]
        transfer: Transfer,
        /// Take the role `_admin_` along, too: who has it may do everything.
        #[arg(long)]
        keep_admin_role: bool,
    },
    /// Take such a file into the store of a stopped service, which must be empty; begun before, it goes on where it was.
    Import {
        #[command(flatten)]
        transfer: Transfer,
    },
    /// Take the data of an ARGO Messaging Service over into the store of a stopped service: a folder of its exported collections and
    /// topics. Begun before, it goes on where it was.
    ImportAms {
        /// The folder: projects.json, users.json, schemas.json, topics.json, subscriptions.json and *.topic.data.
        folder: PathBuf,
        /// Take the role `_admin_` along, too: who has it may do everything.
        #[arg(long)]
        keep_admin_role: bool,
    },
    /// Make or renew the tables of a store in a cluster: once for all nodes, before they start.
    Migrate,
    /// Look into a store's folder while nothing runs on it.
    #[command(subcommand)]
    Store(Store),
    /// The key that users' tokens are encrypted with.
    #[command(subcommand)]
    Key(Key),
}

/// A store's way into a file or out of it.
#[derive(Args, Debug)]
pub(super) struct Transfer {
    /// The file.
    pub(super) file: PathBuf,
    /// A file that holds the passphrase under which keys, tokens and other documents are wrapped.
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: PathBuf,
}

#[derive(Subcommand, Debug)]
pub(super) enum Topic {
    /// Make a topic.
    Create {
        /// Its name.
        topic: String,
    },
    /// List the project's topics, newest first.
    List,
    /// Show a topic.
    Show {
        /// Its name.
        topic: String,
    },
    /// Delete a topic and its messages.
    Delete {
        /// Its name.
        topic: String,
    },
    /// Show or set who may publish to a topic.
    Acl {
        /// Its name.
        topic: String,
        /// The change.
        #[command(flatten)]
        change: AclChange,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Subscription {
    /// Make a subscription that begins at its topic's present end.
    Create {
        /// Its name.
        subscription: String,
        /// The topic to read.
        #[arg(long)]
        topic: String,
        /// Seconds in which pulled messages must be acknowledged.
        #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=600))]
        ack_deadline: u32,
        /// cumulative: one consumer, acknowledges up to a message; individual: many consumers share, each message on its own.
        #[arg(long, value_enum, default_value_t = AckMode::Cumulative)]
        ack_mode: AckMode,
    },
    /// List the project's subscriptions, newest first.
    List,
    /// Show a subscription.
    Show {
        /// Its name.
        subscription: String,
    },
    /// Delete a subscription.
    Delete {
        /// Its name.
        subscription: String,
    },
    /// Show the first and next offset of the topic, and where the subscription stands.
    Offsets {
        /// Its name.
        subscription: String,
    },
    /// Move a subscription, to read again or to skip.
    Seek {
        /// Its name.
        subscription: String,
        /// An offset, or `start` or `end`.
        #[arg(long, value_name = "OFFSET", required_unless_present = "time")]
        to: Option<String>,
        /// The first message at or after this time, such as 2024-05-01T10:00:00.000Z.
        #[arg(long, conflicts_with = "to")]
        time: Option<String>,
    },
    /// Show or set who may pull from a subscription.
    Acl {
        /// Its name.
        subscription: String,
        /// The change.
        #[command(flatten)]
        change: AclChange,
    },
    /// Set where messages are delivered to.
    Push {
        /// Its name.
        subscription: String,
        /// The change.
        #[command(flatten)]
        change: PushChange,
    },
    /// Ask the endpoint that messages are delivered to for its hash; deliveries begin when it is right.
    Verify {
        /// Its name.
        subscription: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct AclChange {
    /// The whole new list: names of members of the project.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(super) users: Option<Vec<String>>,
    /// Empty the list.
    #[arg(long, conflicts_with = "users")]
    pub(super) none: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum AckMode {
    Cumulative,
    Individual,
}

#[derive(Args, Debug)]
pub(super) struct Publish {
    /// The topic.
    pub(super) topic: String,
    /// Messages; without any (and without --file) each line of standard input is one.
    pub(super) messages: Vec<String>,
    /// A file whose whole content is one message (may be repeated).
    #[arg(long, short, value_name = "FILE")]
    pub(super) file: Vec<PathBuf>,
    /// An attribute of every message (may be repeated).
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(super) attribute: Vec<String>,
    /// Most messages of one request; each request is stored whole or not at all.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) batch: u16,
}

#[derive(Args, Debug)]
pub(super) struct Pull {
    /// The subscription.
    pub(super) subscription: String,
    /// Most messages; with --follow, of one request.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) max: u32,
    /// Acknowledge what was printed.
    #[arg(long)]
    pub(super) ack: bool,
    /// Go on until interrupted, waiting at the server for what comes. Unacknowledged messages would come again and again, so
    /// it wants --ack.
    #[arg(long, requires = "ack")]
    pub(super) follow: bool,
    /// Print only the messages' data, each followed by a line end.
    #[arg(long, conflicts_with = "json")]
    pub(super) raw: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Project {
    /// Make a project.
    Create {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List all projects.
    List,
    /// Show a project.
    Show {
        /// Its name.
        name: String,
    },
    /// Show or set what a project may use.
    Quota {
        /// Its name.
        name: String,
        /// The change.
        #[command(flatten)]
        change: QuotaChange,
    },
    /// Delete a project with its topics and subscriptions.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum User {
    /// Make a user and print the new token.
    Create {
        /// The name.
        name: String,
        /// Where to reach the user.
        #[arg(long, default_value = "")]
        email: String,
        /// A role in the project, such as publisher, consumer or project_admin (may be repeated).
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        /// A role in the whole service, such as service_admin (may be repeated).
        #[arg(long, value_name = "ROLE")]
        service_role: Vec<String>,
    },
    /// List all users.
    List,
    /// Show a user.
    Show {
        /// The name.
        name: String,
    },
    /// Delete a user.
    Delete {
        /// The name.
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Token {
    /// Print a user's token.
    Show {
        /// The user's name.
        #[arg(default_value = "admin")]
        user: String,
    },
    /// Give a user a new token and print it; the old one is dead at once.
    Refresh {
        /// The user's name.
        user: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Binding {
    /// Let a certificate's subject stand for a user.
    Create {
        /// The binding's name.
        name: String,
        /// The subject, such as CN=robot,O=Site,C=GR (what `openssl x509 -noout -subject -nameopt RFC2253` prints) or
        /// /C=GR/O=Site/CN=robot.
        #[arg(long, value_name = "DN")]
        subject: String,
        /// The user's name.
        #[arg(long)]
        user: String,
        /// The authority that must have issued the certificate; any trusted one without it.
        #[arg(long, value_name = "DN")]
        issuer: Option<String>,
    },
    /// Change a binding's subject, user or issuer.
    Update {
        /// The binding's name.
        name: String,
        /// The new subject.
        #[arg(long, value_name = "DN")]
        subject: Option<String>,
        /// The new user's name.
        #[arg(long)]
        user: Option<String>,
        /// The authority that must have issued the certificate.
        #[arg(long, value_name = "DN")]
        issuer: Option<String>,
        /// Any trusted authority may have issued the certificate.
        #[arg(long, conflicts_with = "issuer")]
        any_issuer: bool,
    },
    /// List all bindings.
    List,
    /// Show a binding.
    Show {
        /// Its name.
        name: String,
    },
    /// Delete a binding.
    Delete {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Configuration {
    /// Print the config.json of an ARGO Messaging Service as a configuration file of Angelia.
    FromAms {
        /// The config.json.
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Store {
    /// Show logs, offsets and sizes, and check every checksum.
    Inspect {
        /// The store's folder.
        folder: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum Key {
    /// Make a new key and encrypt all tokens anew with it, while the service is stopped. Tokens stay as they are.
    Rotate,
}

#[cfg(test)]
mod tests;
