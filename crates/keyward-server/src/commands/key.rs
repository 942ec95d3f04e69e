//! `keyward key`.

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use keyward::service::{KEYS_READ_EVERY, KeyStanding, Succession, key_standings};
use keyward_core::keys::{KeyPurpose, MasterKey};
use serde_json::{Value, json};

use crate::config::secret_file::{self, Secret};
use crate::config::{Configuration, Overrides};
use crate::failure::Failure;
use crate::{assembly, output};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List the keys, oldest first
    #[command(after_help = "Example:\n  keyward key list --json")]
    List(ListArguments),
    /// Make new keys; what the old ones have signed stays good
    #[command(after_help = "Examples:
  keyward key rotate              sign access tokens with a new key at once
  keyward key rotate --pending    publish it first: jose, PyJWT and others do not look for
                                  an unknown key within half a minute of their last look")]
    Rotate(RotateArguments),
    /// Make new keys, and trust nothing any more that only the old ones vouch for: they leaked
    #[command(after_help = "Examples:
  keyward key compromise --purpose access_token
  keyward key compromise --purpose all    after a leak of the database and its master key")]
    Compromise(CompromiseArguments),
    /// Seal all keys with another master key
    #[command(after_help = "Example:
  (umask 077; keyward secret > new.master-key)
  keyward key reseal --new-master-key-file new.master-key
Then set keys.master_key_file to the new file and start the service again.")]
    Reseal(ResealArguments),
}

/// What `key list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// What `key rotate` takes.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// What the new key is for
    #[arg(long, value_enum, default_value = "access_token")]
    purpose: Purpose,
    /// Publish the new key now, and sign with it after keys.overlap
    #[arg(long)]
    pending: bool,
}

/// What `key compromise` takes.
#[derive(Debug, Args)]
pub(crate) struct CompromiseArguments {
    /// Which keys leaked
    #[arg(long, value_enum)]
    purpose: Purpose,
}

/// What `key reseal` takes.
#[derive(Debug, Args)]
pub(crate) struct ResealArguments {
    /// The file with the new master key, as `keyward secret` prints it
    #[arg(long, value_name = "FILE")]
    new_master_key_file: PathBuf,
}

/// Which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Purpose {
    /// Signs access tokens
    AccessToken,
    /// Tags refresh tokens
    RefreshToken,
    /// Binds CSRF tokens to sessions
    Csrf,
    /// All of them
    All,
}

/// Lists, replaces or reseals keys.
pub(super) async fn run(action: Action, overrides: &Overrides) -> Result<(), Failure> {
    match action {
        Action::List(arguments) => list(&arguments, overrides).await,
        Action::Rotate(RotateArguments { purpose, pending }) => {
            let succession = if pending { Succession::AfterOverlap } else { Succession::AtOnce };
            rotate(purpose, succession, overrides).await
        }
        Action::Compromise(CompromiseArguments { purpose }) => {
            rotate(purpose, Succession::Compromise, overrides).await
        }
        Action::Reseal(arguments) => reseal(&arguments, overrides).await,
    }
}

async fn list(arguments: &ListArguments, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let rows = super::open_existing(&configuration.store).await?.list_keys().await?;
    let keys = key_standings(&rows, &configuration.policy, assembly::now());
    if arguments.json {
        return Ok(output::json_lines(keys.iter().map(object))?);
    }
    let rows: Vec<[String; 7]> = keys.iter().map(row).collect();
    let headings = ["PURPOSE", "ID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM", "GONE"];
    Ok(output::table(headings, &rows)?)
}

async fn rotate(
    purpose: Purpose,
    succession: Succession,
    overrides: &Overrides,
) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let store = super::open_existing(&configuration.store).await?;
    let master_key = present_master_key(&configuration)?;
    let mail = configuration.mail.as_ref();
    let keyward = assembly::start(configuration.policy, store, master_key, None, mail).await?;
    let (mut made, mut failures) = (Vec::new(), Vec::new());
    for purpose in purposes(purpose) {
        match keyward.rotate_key(purpose, succession, &super::audit_context()).await {
            Ok(key) => made.push(key),
            Err(error) => failures.push(format!("{} key: {error}.", purpose.as_str())),
        }
    }
    // An output that is closed must not keep the others from being made.
    made.iter().try_for_each(|key| tell(key, succession))?;
    if !failures.is_empty() {
        return Err(Failure::Failed(failures));
    }
    let secs = KEYS_READ_EVERY.as_secs();
    Ok(output::line(&format!(
        "Services that run take this up within {secs} seconds; those that still hold a replaced \
         master key never do, so start them again."
    ))?)
}

async fn reseal(arguments: &ResealArguments, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let store = super::open_existing(&configuration.store).await?;
    let from = present_master_key(&configuration)?;
    let file = &arguments.new_master_key_file;
    let text = secret_file::read(file, Secret::Made)
        .map_err(|why| Failure::new(format!("The new master key cannot be used: {why}.")))?;
    let to = MasterKey::parse(&text).map_err(|_| {
        let shown = file.display();
        Failure::new(format!("{shown} holds no master key; take what `keyward secret` prints."))
    })?;
    let done = assembly::reseal(store.as_ref(), &from, &to, &super::audit_context()).await?;
    let count = done.keys;
    output::line(&format!("Sealed {count} keys with the master key of {}.", file.display()))?;
    if !done.is_chain_handed_over {
        output::line(
            "The chain over the audit log was not handed over, since its last checkpoint is not \
             signed with the old master key: see `keyward audit verify`, and docs/audit.md for \
             how to begin another chain.",
        )?;
    }
    output::line(&format!(
        "Next: put it in the place of {}, and start every service again. Until then they go on \
         with the keys that they hold, and can neither read nor make newer ones.",
        configuration.master_key.place()
    ))?;
    Ok(output::line(
        "Keep the old master key as long as backups that it opens: a restored one needs it.",
    )?)
}

/// The configured master key. Here none is made: it would open nothing.
pub(super) fn present_master_key(configuration: &Configuration) -> Result<MasterKey, Failure> {
    let source = &configuration.master_key;
    source.find().map_err(Failure::new)?.ok_or_else(|| {
        Failure::new(format!("The master key is missing; put {} back.", source.place()))
    })
}

fn purposes(purpose: Purpose) -> Vec<KeyPurpose> {
    match purpose {
        Purpose::AccessToken => vec![KeyPurpose::AccessToken],
        Purpose::RefreshToken => vec![KeyPurpose::RefreshToken],
        Purpose::Csrf => vec![KeyPurpose::Csrf],
        Purpose::All => {
            KeyPurpose::ALL.iter().copied().filter(|purpose| !purpose.seals()).collect()
        }
    }
}

fn tell(key: &KeyStanding, succession: Succession) -> io::Result<()> {
    let since = match succession {
        Succession::AfterOverlap => format!("from {}", key.activates_at.to_rfc3339()),
        Succession::AtOnce | Succession::Compromise => "now".to_owned(),
    };
    let KeyStanding { id, algorithm, purpose, .. } = key;
    output::line(&format!("Made {} key {id} ({algorithm}), in use {since}.", purpose.as_str()))?;
    if succession == Succession::Compromise {
        output::line(consequence(*purpose))?;
    }
    Ok(())
}

/// What users notice when a key is no longer trusted.
fn consequence(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::AccessToken => {
            "Access tokens of the old keys are refused; clients refresh and go on. Services that \
             keep the published keys accept forged ones until they fetch the keys again."
        }
        KeyPurpose::Csrf => "CSRF tokens of the old keys are refused until pages fetch new ones.",
        KeyPurpose::SecondFactor => "What the old keys have sealed still opens.",
        KeyPurpose::RefreshToken => {
            "Nobody is signed out. A replaced refresh token that an old key tagged is refused, \
             but no longer ends its session; where the database leaked too, end every session: \
             `keyward session revoke --all`."
        }
    }
}

fn row(key: &KeyStanding) -> [String; 7] {
    [
        key.purpose.as_str().to_owned(),
        key.id.clone(),
        key.algorithm.clone(),
        key.state.as_str().to_owned(),
        key.created_at.to_rfc3339(),
        key.activates_at.to_rfc3339(),
        output::cell(key.gone_at.map(|at| at.to_rfc3339())),
    ]
}

fn object(key: &KeyStanding) -> Value {
    json!({
        "id": key.id,
        "purpose": key.purpose.as_str(),
        "algorithm": key.algorithm,
        "state": key.state.as_str(),
        "createdAt": key.created_at.to_rfc3339(),
        "activatesAt": key.activates_at.to_rfc3339(),
        "compromisedAt": key.compromised_at.map(|at| at.to_rfc3339()),
        "goneAt": key.gone_at.map(|at| at.to_rfc3339()),
    })
}
