//! The binary: allocator, TLS provider, command line. Everything else is the library's.

use angelia::cli::{self, Arguments};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: whatever speaks TLS takes the process's provider. It can only be there already if this line ran before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    cli::run(Arguments::parse())
}
