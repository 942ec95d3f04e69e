//! `keyward service-key`.

use std::time::Duration;

use clap::{Args, Subcommand};
use keyward::store::Store;
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with service keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make a key and print it, this once
    #[command(after_help = "Example:
  (umask 077; keyward service-key create --name backup --scope audit:read \\
    --expires-in 90d > backup.key)

Scopes:
  introspect      ask whether an access token is good
  revocations     follow the sessions that end
  users:read      find and show accounts
  users:write     make, change, disable and delete accounts, but no administrator's
  sessions:read   list sessions
  sessions:write  end sessions, and open them for users whom an app signed in by itself
  audit:read      read the audit log
  keys:write      list and rotate the keys that sign and tag tokens
  stats:read      read statistics")]
    Create(CreateArguments),
    /// List keys in the order in which they were made
    #[command(after_help = "Example:\n  keyward service-key list --json")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key from now on
    #[command(after_help = "Example:
  keyward service-key revoke 0198c0de-7a8b-7c3d-8e4f-5a6b7c8d9e0f")]
    Revoke {
        /// Its id, as `keyward service-key list` shows it
        #[arg(value_name = "KEY")]
        id: String,
    },
}

/// What `service-key create` takes.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// What to recognise the key by
    #[arg(long, value_parser = super::name)]
    name: String,
    /// What it may be used for, from the list below; can be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope, required = true)]
    scopes: Vec<Scope>,
    /// For how long it is accepted, such as 12h or 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    expires_in: Option<Duration>,
}

/// Makes, lists or revokes keys.
pub(super) async fn run(action: Action, overrides: &Overrides) -> Result<(), Failure> {
    match action {
        Action::Create(arguments) => {
            create(&*super::existing_store(overrides).await?, arguments).await
        }
        Action::List { json } => list(&*super::existing_store(overrides).await?, json).await,
        Action::Revoke { id } => revoke(&*super::existing_store(overrides).await?, &id).await,
    }
}

async fn create(store: &dyn Store, arguments: CreateArguments) -> Result<(), Failure> {
    let context = super::audit_context();
    let key = ServiceKey::issue(&Zeroizing::new(assembly::random()));
    let record = ServiceKeyRecord {
        id: ServiceKeyId::new(context.at, assembly::random()),
        name: arguments.name,
        hash: key.hash(),
        scopes: arguments.scopes.into_iter().collect(),
        created_at: context.at,
        expires_at: arguments.expires_in.map(|life| context.at.plus(life)),
        revoked_at: None,
    };
    let id = record.id;
    store.insert_service_key(record, &context).await?;
    let note = format!("Keep it in a safe place: it is not shown again. Its id is {id}.");
    Ok(output::secret(key.expose(), &note)?)
}

async fn list(store: &dyn Store, json: bool) -> Result<(), Failure> {
    let keys = store.list_service_keys().await?;
    if json {
        return Ok(output::json_lines(keys.iter().map(object))?);
    }
    let rows: Vec<[String; 6]> = keys.iter().map(row).collect();
    Ok(output::table(["KEY", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"], &rows)?)
}

async fn revoke(store: &dyn Store, id: &str) -> Result<(), Failure> {
    let none =
        || Failure::new(format!("There is no key {id}; `keyward service-key list` shows all."));
    let id: ServiceKeyId = id.parse().map_err(|_| none())?;
    let key = store.revoke_service_key(id, &super::audit_context()).await?.ok_or_else(none)?;
    Ok(output::line(&format!("{} ({}) is revoked.", key.id, output::printable(&key.name)))?)
}

fn row(key: &ServiceKeyRecord) -> [String; 6] {
    [
        key.id.to_string(),
        key.name.clone(),
        scopes(key).join(", "),
        key.created_at.to_rfc3339(),
        output::cell(key.expires_at.map(Timestamp::to_rfc3339)),
        output::cell(key.revoked_at.map(Timestamp::to_rfc3339)),
    ]
}

fn object(key: &ServiceKeyRecord) -> Value {
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "scopes": scopes(key),
        "createdAt": key.created_at.to_rfc3339(),
        "expiresAt": key.expires_at.map(Timestamp::to_rfc3339),
        "revokedAt": key.revoked_at.map(Timestamp::to_rfc3339),
    })
}

fn scopes(key: &ServiceKeyRecord) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.as_str()).collect()
}

fn scope(text: &str) -> Result<Scope, String> {
    let names = || Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
    Scope::from_name(text).ok_or_else(|| format!("the scopes are {}", names()))
}

#[cfg(test)]
mod tests {
    use clap::Subcommand as _;

    use super::*;

    #[test]
    fn the_help_explains_every_scope() {
        let mut command = Action::augment_subcommands(clap::Command::new("service-key"));
        let create = command.find_subcommand_mut("create").expect("the command");
        let help = create.render_long_help().to_string();
        for scope in Scope::ALL {
            let explained = help.lines().any(|line| line.trim().starts_with(scope.as_str()));
            assert!(explained, "{}: {help}", scope.as_str());
        }
    }
}
