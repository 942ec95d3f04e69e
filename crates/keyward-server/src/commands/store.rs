//! `keyward store`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use keyward::store::SqliteStore;
use keyward::store::copy::{CopiedTable, Progress, StoreCopy, Walk};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

use crate::config::{Overrides, StoreSettings, sqlite_file};
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with a store as a whole.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Move everything from SQLite to PostgreSQL, while the service runs
    #[command(after_help = "Examples:
  keyward store copy --from sqlite:keyward.db      into the configured store
  KEYWARD_STORE__PASSWORD_FILE=owner.password keyward store copy \\
    --from sqlite:keyward.db --to postgres://keyward_owner@db.example.org/keyward

The service answers on until the last part, and then 503 with Retry-After until it is started
with the new store. Whatever goes wrong, run the same command again: it goes on where it was.")]
    Copy(CopyArguments),
    /// Take back a SQLite file whose data were moved; ends every session
    #[command(after_help = "Examples:
  keyward store reopen --store sqlite:keyward.db
  keyward store reopen --store sqlite:keyward.db --keep-sessions

What the other store has done since the move is not in the file. See to it that no service runs on
the other store any more.")]
    Reopen(ReopenArguments),
}

/// What `store copy` takes.
#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// The store to move from, such as sqlite:keyward.db [default: the configured one]
    #[arg(long, value_name = "URL", required_unless_present = "to")]
    from: Option<String>,
    /// The store to move to, whose password comes as that of the configured one
    /// [default: the configured one]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// One JSON object for each table
    #[arg(long)]
    json: bool,
}

/// What `store reopen` takes.
#[derive(Debug, Args)]
pub(crate) struct ReopenArguments {
    /// End no session: the other store has never served anybody
    #[arg(long)]
    keep_sessions: bool,
}

/// Moves a store, or takes it back.
pub(super) async fn run(action: Action, overrides: &Overrides) -> Result<(), Failure> {
    match action {
        Action::Copy(arguments) => copy(&arguments, overrides).await,
        Action::Reopen(arguments) => reopen(&arguments, overrides),
    }
}

async fn copy(arguments: &CopyArguments, overrides: &Overrides) -> Result<(), Failure> {
    let source = source(arguments, overrides)?;
    let overrides = Overrides {
        store: arguments.to.clone().or_else(|| overrides.store.clone()),
        is_target: arguments.to.is_some(),
        ..overrides.clone()
    };
    if arguments.to.as_deref().is_some_and(has_password) {
        return Err(Failure::new(PASSWORD_SHOWN));
    }
    let target = super::configuration(&overrides)?.store;
    let StoreSettings::Postgres(settings) = &target else {
        return Err(Failure::new(format!(
            "{target} is no PostgreSQL database; name one with --to or in store.url."
        )));
    };
    let mut pace = Pace::new();
    let mut copy = StoreCopy::begin(&source, settings, assembly::now()).await?;
    copy.copy_ahead(|progress| pace.tell(progress)).await?;
    let tables = copy.finish(assembly::now, |progress| pace.tell(progress)).await?;
    if arguments.json {
        return Ok(output::json_lines(tables.iter().map(object))?);
    }
    let rows: Vec<[String; 4]> = tables.iter().map(row).collect();
    output::table(["TABLE", "ROWS", "WRITTEN", "SHA-256 ON BOTH SIDES"], &rows)?;
    Ok(output::line(&format!(
        "Everything is in {target}, and {} is closed. Name that database in store.url, with the \
         role of the service, to which `keyward migrate --grant-to ROLE` gives its rights; then \
         restart.",
        source.display()
    ))?)
}

/// The file to move from.
fn source(arguments: &CopyArguments, overrides: &Overrides) -> Result<PathBuf, Failure> {
    let Some(url) = &arguments.from else {
        return configured_file(&Overrides { is_copied: true, ..overrides.clone() });
    };
    sqlite_file(url, &overrides.data_dir).ok_or_else(|| {
        Failure::new("--from names no SQLite file; write it like sqlite:keyward.db.")
    })
}

fn configured_file(overrides: &Overrides) -> Result<PathBuf, Failure> {
    match super::configuration(overrides)?.store {
        StoreSettings::Sqlite(path) => Ok(path),
        settings @ StoreSettings::Postgres(_) => Err(Failure::new(format!(
            "{settings} is no SQLite file; name the file, as in sqlite:keyward.db."
        ))),
    }
}

/// Whether a URL has a password in it, which every process of the machine could read.
fn has_password(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let authority = place.split(['/', '?']).next().unwrap_or_default();
    let asked = place.split_once('?').is_some_and(|(_, query)| {
        query.split('&').any(|parameter| parameter.starts_with("password="))
    });
    asked || authority.rsplit_once('@').is_some_and(|(role, _)| role.contains(':'))
}

fn reopen(arguments: &ReopenArguments, overrides: &Overrides) -> Result<(), Failure> {
    let path: &Path = &configured_file(overrides)?;
    let context = super::audit_context();
    let reopened = SqliteStore::reopen(path, !arguments.keep_sessions, &context)?;
    Ok(output::line(&format!(
        "{} serves again, as of {}: what came later is not in it. Ended {} sessions.",
        path.display(),
        reopened.moved_at.to_rfc3339(),
        reopened.sessions_ended
    ))?)
}

fn row(table: &CopiedTable) -> [String; 4] {
    let CopiedTable { name, rows, written, sha256 } = table;
    [(*name).to_owned(), rows.to_string(), written.to_string(), hex(&sha256[..8])]
}

fn object(table: &CopiedTable) -> Value {
    json!({
        "table": table.name,
        "rows": table.rows,
        "written": table.written,
        "sha256": hex(&table.sha256),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says how far the copy has come: at the end of each table, and now and then in a long one.
struct Pace {
    table_begun_at: Timestamp,
    told_at: Timestamp,
}

impl Pace {
    fn new() -> Self {
        let now = assembly::now();
        Self { table_begun_at: now, told_at: now }
    }

    fn tell(&mut self, progress: Progress) {
        let Progress { walk, table, done, total } = progress;
        let now = assembly::now();
        let is_done = done >= total;
        if !is_done && millis(self.told_at, now) < TELL_EVERY_MILLIS {
            return;
        }
        let what = match walk {
            Walk::Ahead => "copied",
            Walk::Locked => "verified",
        };
        let pace = done * 1000 / millis(self.table_begun_at, now).max(1);
        output::progress(&format!("{what} {done} of {total} in {table}, {pace} a second"));
        self.told_at = now;
        if is_done {
            self.table_begun_at = now;
        }
    }
}

fn millis(since: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.millis() - since.millis()).unwrap_or_default()
}

const TELL_EVERY_MILLIS: u64 = 1000;

const PASSWORD_SHOWN: &str = "--to has a password in it, which everyone on this machine can read \
     while the command runs; put it into a file and name that in KEYWARD_STORE__PASSWORD_FILE.";
