//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::config::Overrides;

/// Sign-in, access tokens, rotating refresh tokens, sessions and their revocation.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which installation a command is about.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The configuration file [default: keyward.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What relative paths are relative to
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    data_dir: PathBuf,
    /// The store, such as sqlite:keyward.db, instead of the configured one
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
}

impl Place {
    /// What this says about the configuration.
    pub(crate) fn into_overrides(self) -> Overrides {
        Overrides {
            file: self.config,
            data_dir: self.data_dir,
            store: self.store,
            ..Overrides::default()
        }
    }
}

/// The commands, in the order in which an operator meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented keyward.toml and fresh secrets; overwrites nothing
    #[command(after_help = "Example:\n  keyward init --data-dir /var/lib/keyward")]
    Init,
    /// List all that is weak or wrong, each with its fix
    Check(commands::check::Arguments),
    /// Run the service
    Serve(commands::serve::Arguments),
    /// Apply or list migrations of the store
    Migrate(commands::migrate::Arguments),
    /// Move everything to another store
    #[cfg(feature = "postgres")]
    #[command(subcommand)]
    Store(commands::store::Action),
    /// Make, list and change accounts
    #[command(subcommand)]
    User(commands::user::Action),
    /// List and end sessions
    #[command(subcommand)]
    Session(commands::session::Action),
    /// List, rotate and seal anew the keys that sign and tag tokens
    #[command(subcommand)]
    Key(commands::key::Action),
    /// Make, list and revoke the keys of other services
    #[command(subcommand)]
    ServiceKey(commands::service_key::Action),
    /// Show what happened, oldest first
    Audit(commands::audit::Arguments),
    /// Rehearse an incident: steal the tokens of an account, and see what the service notices
    Drill(commands::drill::Arguments),
    /// Print the description of the HTTP interface (OpenAPI 3.1)
    #[command(after_help = "Example:\n  keyward openapi > openapi.json")]
    Openapi,
    /// Print a strong secret, fit for every secret of the configuration
    #[command(after_help = "Example:
  (umask 077; keyward secret > hmac.secret)    a file that only its owner can ever read")]
    Secret,
}

const EXAMPLES: &str = "Examples:
  keyward serve --dev                        try it on this machine
  keyward init && keyward check              set up an installation
  keyward serve --config /etc/keyward.toml   run it
  keyward user create --email ada@example.org --email-verified --role admin \
    --password-stdin < password";
