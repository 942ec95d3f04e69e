//! The `keyward` program: configuration, commands and the accept loop. The binary is a call of
//! [`run`]; that there is a library beside it lets tests read a configuration without a process.
//!
//! Where to start reading:
//!
//! - `cli`: what can be asked on the command line.
//! - `commands`: one file per command.
//! - `config`: how the file and the environment become policies.
//! - `serve`: from a socket to the router: TLS, deadlines, bounds, shutdown.
//! - `assembly`: how the parts of the library become a running service.

mod cli;
mod commands;

mod config;

mod serve;

mod assembly;
mod telemetry;

mod failure;
mod output;

#[doc(hidden)]
pub mod danger_for_tests;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;
use failure::Failure;

/// What the command line asks for, from beginning to end.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match commands::run(cli) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Failed(sentences)) => {
            sentences.iter().for_each(|sentence| output::complain(sentence));
            ExitCode::FAILURE
        }
    }
}
