//! What can be typed about schemas, registrations, quotas and push. Parses only.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Schema {
    /// Make a schema.
    Create {
        /// Its name.
        schema: String,
        /// The language of the payload's schema.
        #[arg(long = "type", value_enum, value_name = "LANGUAGE")]
        language: Language,
        #[command(flatten)]
        rules: SchemaFiles,
    },
    /// Change a schema; topics that have it follow at once.
    Update {
        /// Its name.
        schema: String,
        /// The language of the payload's schema.
        #[arg(long = "type", value_enum, value_name = "LANGUAGE")]
        language: Option<Language>,
        #[command(flatten)]
        rules: SchemaFiles,
        /// Attributes need not follow anything any more.
        #[arg(long, conflicts_with = "attributes")]
        any_attributes: bool,
    },
    /// List the project's schemas.
    List,
    /// Show a schema.
    Show {
        /// Its name.
        schema: String,
    },
    /// Delete a schema.
    Delete {
        /// Its name.
        schema: String,
    },
    /// Check a file as the payload of a message against a schema.
    Validate {
        /// Its name.
        schema: String,
        /// The file; `-` for standard input.
        file: PathBuf,
    },
    /// Let a topic take only messages that follow a schema.
    Attach {
        /// The schema's name.
        schema: String,
        /// The topic.
        #[arg(long)]
        topic: String,
    },
    /// Let a topic take any message.
    Detach {
        /// The topic.
        #[arg(long)]
        topic: String,
    },
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SchemaFiles {
    /// A file with the payload's schema.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) payload: Option<PathBuf>,
    /// A file with a JSON Schema of the map of attributes.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) attributes: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum Language {
    Json,
    Avro,
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Registration {
    /// List registrations, the oldest first.
    List {
        /// Only those in this state.
        #[arg(long, value_enum)]
        status: Option<RegistrationStatus>,
    },
    /// Show a registration.
    Show {
        /// Its id.
        id: String,
    },
    /// Make the user that a registration asks for, and print the new token.
    Accept {
        /// Its id.
        id: String,
    },
    /// Decline a registration.
    Decline {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Delete a registration.
    Delete {
        /// Its id.
        id: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum RegistrationStatus {
    Pending,
    Accepted,
    Declined,
}

/// What a project may use; without an option it is only shown.
#[derive(Args, Debug)]
pub(in crate::cli) struct QuotaChange {
    /// Most messages published a second; 0 for no bound of its own.
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) messages_per_second: Option<u64>,
    /// Most bytes published a second.
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) bytes_per_second: Option<u64>,
    /// Most topics.
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) topics: Option<u64>,
    /// Most subscriptions.
    #[arg(long, value_name = "COUNT")]
    pub(in crate::cli) subscriptions: Option<u64>,
    /// Take the project's own bounds away: those of the configuration hold.
    #[arg(long, conflicts_with_all = ["messages_per_second", "bytes_per_second", "topics", "subscriptions"])]
    pub(in crate::cli) none: bool,
}

/// Where a subscription's messages are delivered to.
#[derive(Args, Debug)]
pub(in crate::cli) struct PushChange {
    /// Deliver to this https URL; it must then be verified.
    #[arg(long, value_name = "URL", required_unless_present = "none")]
    pub(in crate::cli) to: Option<String>,
    /// Deliver no more: messages are pulled.
    #[arg(long, conflicts_with = "to")]
    pub(in crate::cli) none: bool,
    /// Most messages of one delivery.
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with = "none")]
    pub(in crate::cli) max: u32,
    /// How long to wait between two tries, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3_000, conflicts_with_all = ["none", "slow_start"])]
    pub(in crate::cli) period: u64,
    /// Wait shorter while deliveries succeed, longer while they fail.
    #[arg(long, conflicts_with = "none")]
    pub(in crate::cli) slow_start: bool,
}
