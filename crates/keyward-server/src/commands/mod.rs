//! One file per command, and what they share.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod drill;
pub(crate) mod import;
mod init;
pub(crate) mod key;
pub(crate) mod migrate;
mod openapi;
mod secret;
pub(crate) mod serve;
pub(crate) mod service_key;
pub(crate) mod session;
#[cfg(feature = "postgres")]
pub(crate) mod store;
pub(crate) mod user;

use std::sync::Arc;
use std::time::Duration;

use keyward::store::{Store, User};
use keyward_core::audit::AuditContext;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::session::Device;
use keyward_core::text::{NAME_CHARS_MAX, is_name};
use tokio::runtime::Builder;

use crate::assembly;
use crate::cli::{Cli, Command};
use crate::config::{self, Configuration, Finding, Overrides, Reading, StoreSettings, value};
use crate::failure::Failure;

/// Carries out a command.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let overrides = cli.place.into_overrides();
    match cli.command {
        Command::Audit(arguments) => finish(audit::run(&arguments, &overrides)),
        Command::Check(arguments) => finish(check::run(&arguments, &overrides)),
        Command::Drill(arguments) => finish(drill::run(&arguments, &overrides)),
        Command::Init => init::run(&overrides),
        Command::Key(action) => finish(key::run(action, &overrides)),
        Command::Migrate(arguments) => finish(migrate::run(&arguments, &overrides)),
        Command::Openapi => openapi::run(&overrides),
        Command::Secret => secret::run(),
        Command::Serve(arguments) => serve::run(arguments, overrides),
        Command::ServiceKey(action) => finish(service_key::run(action, &overrides)),
        Command::Session(action) => finish(session::run(action, &overrides)),
        #[cfg(feature = "postgres")]
        Command::Store(action) => finish(store::run(action, &overrides)),
        Command::User(action) => finish(user::run(action, &overrides)),
    }
}

/// Runs a command to its end, on as many threads as there are cores.
fn finish(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    finish_on(cores(), command)
}

/// Runs a command to its end, on so many threads.
fn finish_on(
    threads: usize,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build();
    let runtime =
        runtime.map_err(|why| Failure::new(format!("Threads cannot be started: {why}.")))?;
    let outcome = runtime.block_on(command);
    // Nobody waits any more for what still blocks, such as a name server that does not answer.
    runtime.shutdown_timeout(LEFT_BEHIND_FOR);
    outcome
}

/// How many threads run at once.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The configuration, or everything that is wrong with it.
fn configuration(overrides: &Overrides) -> Result<Configuration, Failure> {
    reading(overrides).map(|(configuration, _)| configuration)
}

/// The configuration and what is weak about it, or everything that is wrong with it.
fn reading(overrides: &Overrides) -> Result<(Configuration, Vec<Finding>), Failure> {
    let Reading { configuration, problems, warnings } =
        config::read(overrides, config::environment());
    let configuration = configuration.ok_or_else(|| Failure::of_configuration(&problems))?;
    Ok((configuration, warnings))
}

/// The store, which must be there: a wrong folder or database should not look like an empty
/// installation.
async fn existing_store(overrides: &Overrides) -> Result<Arc<dyn Store>, Failure> {
    open_existing(&configuration(overrides)?.store).await
}

async fn open_existing(settings: &StoreSettings) -> Result<Arc<dyn Store>, Failure> {
    if !is_there(settings).await? {
        return Err(Failure::new(format!(
            "There is no database of Keyward at {}; name its folder with --data-dir, the store \
             with --store or the configuration with --config. `keyward migrate` makes a new one \
             there.",
            settings.place()
        )));
    }
    assembly::open_store(settings).await
}

/// Whether the store has been made.
async fn is_there(settings: &StoreSettings) -> Result<bool, Failure> {
    let migrations = assembly::migrations(settings).await?;
    Ok(migrations.iter().any(|migration| migration.applied_at.is_some()))
}

/// The user with this id or address.
async fn find_user(store: &dyn Store, id_or_email: &str) -> Result<User, Failure> {
    let account = if let Ok(id) = id_or_email.parse::<UserId>() {
        store.find_user(id).await?
    } else if let Some(email) = Email::parse(id_or_email) {
        store.find_user_by_email(email.key()).await?
    } else {
        None
    };
    account.map(|account| account.user).ok_or_else(|| no_user(id_or_email))
}

fn no_user(id_or_email: &str) -> Failure {
    Failure::new(format!("There is no user {id_or_email}; `keyward user list` shows all."))
}

/// What an account or a key is called, as it was typed.
fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("write up to {NAME_CHARS_MAX} characters, none of them a control character"))
}

/// A length of time, as it was typed.
fn duration(text: &str) -> Result<Duration, String> {
    value::parse_duration(text).ok_or_else(|| "write it like 90s, 15m, 12h or 7d".to_owned())
}

/// What audit events say of a command: no address, no browser, no request.
fn audit_context() -> AuditContext {
    AuditContext { at: assembly::now(), device: Device::default(), request_id: None, actor: None }
}

/// How long a command that is over waits for threads that block.
const LEFT_BEHIND_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Handle;
    use tokio::task::spawn_blocking;

    use super::*;

    #[test]
    fn a_command_runs_on_so_many_threads() {
        for threads in [1, 5] {
            let command = async {
                assert_eq!(Handle::current().metrics().num_workers(), threads);
                Ok(())
            };
            finish_on(threads, command).expect("it runs");
        }
    }

    #[test]
    fn a_command_that_is_over_leaves_what_blocks_behind() {
        let (sender, receiver) = mpsc::channel::<()>();
        let command = async {
            drop(spawn_blocking(move || receiver.recv()));
            Ok(())
        };
        finish_on(1, command).expect("it runs");
        drop(sender);
    }
}
