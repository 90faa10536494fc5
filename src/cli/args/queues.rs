//! What can be typed of Zaqar's queues.

use clap::Subcommand;

/// What a range of seconds may be; servers have bounds of their own.
type Seconds = u64;

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Queue {
    /// Make a queue; one that is there stays as it is.
    Create {
        /// Its name.
        queue: String,
        /// Its metadata, a JSON object such as '{"_default_message_ttl": 120}'.
        #[arg(long, value_name = "JSON")]
        metadata: Option<String>,
    },
    /// List the project's queues by name.
    List,
    /// Show a queue's metadata.
    Show {
        /// Its name.
        queue: String,
    },
    /// Show how many messages a queue has.
    Stats {
        /// Its name.
        queue: String,
    },
    /// Delete a queue with its messages and claims.
    Delete {
        /// Its name.
        queue: String,
    },
    /// Delete all messages and subscriptions of a queue.
    Purge {
        /// Its name.
        queue: String,
    },
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Message {
    /// Post messages: from arguments, or the lines of standard input.
    Post {
        /// The queue; made if need be.
        queue: String,
        /// Bodies: JSON, or else texts.
        messages: Vec<String>,
        /// Take bodies for texts even where they are JSON.
        #[arg(long)]
        text: bool,
        /// Seconds that they live; by default what the queue says.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<Seconds>,
    },
    /// List messages, oldest first, without taking them.
    List {
        /// The queue.
        queue: String,
        /// Most messages.
        #[arg(long, short, default_value_t = 10)]
        max: u32,
        /// Only those behind the message of this id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// Claimed ones too.
        #[arg(long)]
        claimed: bool,
    },
    /// Take messages for a time, to delete each when it is done with; others get what is left when the time is over.
    Claim {
        /// The queue.
        queue: String,
        /// Most messages.
        #[arg(long, short)]
        max: Option<u32>,
        /// Seconds that the claim lasts.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<Seconds>,
        /// Seconds that the messages live beyond the claim.
        #[arg(long, value_name = "SECONDS")]
        grace: Option<Seconds>,
    },
    /// Take messages for good, oldest first.
    Pop {
        /// The queue.
        queue: String,
        /// Most messages.
        #[arg(long, short, default_value_t = 1)]
        max: u32,
    },
    /// Delete a message.
    Delete {
        /// The queue.
        queue: String,
        /// The message's id.
        id: String,
        /// The claim that holds it.
        #[arg(long, value_name = "ID")]
        claim: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Claim {
    /// Show a claim and what is left of its messages.
    Show {
        /// The queue.
        queue: String,
        /// The claim's id.
        id: String,
    },
    /// Make a claim last from now on.
    Renew {
        /// The queue.
        queue: String,
        /// The claim's id.
        id: String,
        /// Seconds that it lasts.
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<Seconds>,
    },
    /// End a claim: what is left of its messages is free at once.
    Release {
        /// The queue.
        queue: String,
        /// The claim's id.
        id: String,
    },
}
