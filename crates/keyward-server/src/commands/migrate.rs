//! `keyward migrate`.

use clap::Args;
use keyward_core::time::Timestamp;
use serde_json::json;

use crate::config::{Overrides, StoreSettings};
use crate::failure::Failure;
use crate::{assembly, output};

/// What `migrate` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward migrate --status    what is applied and what is not
  keyward migrate             apply what is not; `keyward serve` does so too
  keyward migrate --store postgres://owner@db/keyward --grant-to keyward
                              as the owner of the schema; the service then runs as keyward")]
pub(crate) struct Arguments {
    /// List the migrations instead of applying them
    #[arg(long)]
    status: bool,
    /// Grant this role of PostgreSQL what `keyward serve` needs, and nothing beyond
    #[arg(long, value_name = "ROLE", conflicts_with = "status")]
    grant_to: Option<String>,
    /// List them as one JSON object a line
    #[arg(long, requires = "status")]
    json: bool,
}

/// Applies or lists the migrations.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    let settings = super::configuration(overrides)?.store;
    if !arguments.status {
        return apply(&settings, arguments.grant_to.as_deref()).await;
    }
    let migrations = assembly::migrations(&settings).await?;
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

async fn apply(settings: &StoreSettings, role: Option<&str>) -> Result<(), Failure> {
    if let Some(role) = role {
        assembly::grant(settings, role).await?;
        return Ok(output::line(&format!(
            "{settings} has every migration, and {role} its rights."
        ))?);
    }
    assembly::migrate(settings).await?;
    Ok(output::line(&format!("{settings} has every migration."))?)
}
