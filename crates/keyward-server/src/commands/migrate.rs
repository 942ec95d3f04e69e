//! `keyward migrate`.

use clap::Args;
use keyward_core::time::Timestamp;
use serde_json::json;

use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What `migrate` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward migrate --status    what is applied and what is not
  keyward migrate             apply what is not; `keyward serve` does so too")]
pub(crate) struct Arguments {
    /// List the migrations instead of applying them
    #[arg(long)]
    status: bool,
    /// List them as one JSON object a line
    #[arg(long, requires = "status")]
    json: bool,
}

/// Applies or lists the migrations.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    let path = super::configuration(overrides)?.store;
    if !arguments.status {
        assembly::open_store(&path).await?;
        return Ok(output::line(&format!("{} has every migration.", path.display()))?);
    }
    let migrations = assembly::migrations(&path)?;
    let applied_at = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
    if arguments.json {
        let objects = migrations.iter().map(|migration| {
            json!({
                "version": migration.version,
                "name": migration.name,
                "appliedAt": applied_at(migration.applied_at),
            })
        });
        return Ok(output::json_lines(objects)?);
    }
    let rows: Vec<[String; 3]> = migrations
        .iter()
        .map(|migration| {
            let applied = output::cell(applied_at(migration.applied_at));
            [migration.version.to_string(), migration.name.to_string(), applied]
        })
        .collect();
    Ok(output::table(["VERSION", "NAME", "APPLIED"], &rows)?)
}
