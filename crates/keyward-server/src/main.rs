//! The `keyward` binary: configuration, commands and the accept loop.
//!
//! Where to start reading:
//!
//! - [`cli`]: what can be asked on the command line.
//! - [`commands`]: one file per command.
//! - [`config`]: how the file and the environment become policies.
//! - [`serve`]: from a socket to the router: TLS, deadlines, bounds, shutdown.
//! - [`assembly`]: how the parts of the library become a running service.

mod cli;
mod commands;

mod config;

mod serve;

mod assembly;
mod telemetry;

mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use failure::Failure;

/// Threads that hash and sign allocate at once; this allocator keeps them out of each other's way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(cli).await {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Failed(sentences)) => {
            sentences.iter().for_each(|sentence| output::complain(sentence));
            ExitCode::FAILURE
        }
    }
}
