//! `keyward audit verify`, `export` and `head`: the chain over the audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use keyward::service::{ChainWalk, chain_key, verify_chain, walk_chain};
use keyward::store::StoreError;
use keyward_core::audit::chain::{Anchor, ChainPublicKey, Checkpoint};
use keyward_core::audit::{Verification, Verified};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

use super::line::{self, Line};
use crate::commands::key::present_master_key;
use crate::commands::{configuration, duration, existing_store, open_existing};
use crate::config::Overrides;
use crate::failure::Failure;
use crate::{assembly, output};

/// What is done with the chain.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Compare the log with its chain, and name the first place that is not as it was sealed
    #[command(after_help = "Examples:
  keyward audit verify
  keyward audit verify --anchor 812:Zk3r…
  keyward audit verify --file audit.ndjson --key 5mQx…")]
    Verify(VerifyArguments),
    /// Write events with the checkpoints that cover them to stdout, one JSON object a line
    #[command(after_help = "Examples:
  keyward audit export > audit.ndjson
  keyward audit export --since 31d > november.ndjson")]
    Export(ExportArguments),
    /// Show where the chain stands, to be written down elsewhere, and the key that signs it
    Head(HeadArguments),
}

/// What `verify` takes.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// A file that `keyward audit export` wrote, in place of the store
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key that must have signed the chain, as `keyward audit head` shows it; for a store that
    /// of its master key
    // One key of 64 begins with a hyphen.
    #[arg(long, value_name = "KEY", value_parser = public_key, allow_hyphen_values = true)]
    key: Option<ChainPublicKey>,
    /// A head that `keyward audit head` or the service's log has shown before
    #[arg(long, value_name = "NUMBER:HEAD", value_parser = anchor)]
    anchor: Option<Anchor>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Only what was sealed in the last so long, such as 90s, 15m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Only what was sealed longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    until: Option<Duration>,
}

/// What `head` takes.
#[derive(Debug, Args)]
pub(crate) struct HeadArguments {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Carries out one of them.
pub(super) async fn run(action: &Action, overrides: &Overrides) -> Result<(), Failure> {
    match action {
        Action::Verify(arguments) => verify(arguments, overrides).await,
        Action::Export(arguments) => export(arguments, overrides).await,
        Action::Head(arguments) => head(arguments, overrides).await,
    }
}

async fn verify(arguments: &VerifyArguments, overrides: &Overrides) -> Result<(), Failure> {
    let verified = match &arguments.file {
        Some(file) => verify_file(file, arguments.key, arguments.anchor)?,
        None => {
            let configuration = configuration(overrides)?;
            let store = open_existing(&configuration.store).await?;
            let key = match arguments.key {
                Some(key) => key,
                None => chain_key(&present_master_key(&configuration)?),
            };
            let verification = Verification::new(Some(key), arguments.anchor);
            let progress = |events| output::progress(&format!("{events} events verified …"));
            verify_chain(store.as_ref(), verification, progress).await?
        }
    };
    if arguments.json {
        output::json_lines([object(&verified)])?;
    } else {
        tell(&verified)?;
    }
    match verified.damage {
        Some(damage) => Err(Failure::new(format!("The audit log is damaged: {damage}."))),
        None => Ok(()),
    }
}

fn verify_file(
    file: &Path,
    key: Option<ChainPublicKey>,
    anchor: Option<Anchor>,
) -> Result<Verified, Failure> {
    let unread = |why: &dyn std::fmt::Display| Failure::new(format!("{}: {why}.", file.display()));
    let lines = BufReader::new(File::open(file).map_err(|why| unread(&why))?).lines();
    let mut verification = Verification::of_part(key, anchor);
    let mut by = None;
    for (number, text) in (1_u64..).zip(lines) {
        let text = text.map_err(|why| unread(&why))?;
        let line = line::parse(&text).ok_or_else(|| {
            unread(&format_args!("line {number} is none that `keyward audit export` writes"))
        })?;
        match line {
            Line::Event(event, salt, true) => verification.event(&event, salt),
            Line::Event(event, _, false) => verification.unsealed(&event),
            Line::Checkpoint(checkpoint) => {
                by = Some(checkpoint.key);
                verification.checkpoint(&checkpoint);
            }
        }
    }
    if let (None, Some(by)) = (key, by) {
        let by = by.text();
        output::progress(&format!("Signed by {by}: compare it with `keyward audit head`."));
    }
    Ok(verification.finish())
}

fn tell(verified: &Verified) -> io::Result<()> {
    let Verified { checkpoints, events, .. } = verified;
    output::line(&format!("Verified {events} events under {checkpoints} checkpoints."))?;
    if let Some(first) = verified.first.filter(|first| *first > 1) {
        output::line(&format!("The chain begins with checkpoint {first}."))?;
    }
    if verified.redacted > 0 {
        let redacted = verified.redacted;
        output::line(&format!(
            "{redacted} of them have lost address and browser with their user."
        ))?;
    }
    if verified.purged > 0 {
        output::line(&format!("{} sealed events have left the log.", verified.purged))?;
    }
    if let Some(since) = verified.unsealed_since {
        let (unsealed, since) = (verified.unsealed, since.to_rfc3339());
        output::line(&format!("{unsealed} events are not sealed yet, the first of {since}."))?;
    }
    if verified.by_earlier_keys > 0 {
        let count = verified.by_earlier_keys;
        output::line(&format!("{count} checkpoints were signed with keys before this one."))?;
    }
    match verified.head {
        Some(head) => output::line(&format!("Head: {head}")),
        None => output::line("There is no checkpoint yet; a running service makes them."),
    }
}

fn object(verified: &Verified) -> Value {
    let damage = verified.damage.map(|damage| {
        json!({
            "kind": damage.kind.as_str(),
            "checkpoint": damage.checkpoint,
            "eventId": damage.event_id,
            "at": damage.at.map(Timestamp::to_rfc3339),
        })
    });
    json!({
        "checkpoints": verified.checkpoints,
        "firstCheckpoint": verified.first,
        "head": verified.head.map(|head| head.to_string()),
        "byEarlierKeys": verified.by_earlier_keys,
        "events": verified.events,
        "redacted": verified.redacted,
        "purged": verified.purged,
        "unsealed": verified.unsealed,
        "unsealedSince": verified.unsealed_since.map(Timestamp::to_rfc3339),
        "anchored": verified.is_anchored,
        "damage": damage,
    })
}

/// Events leave with the checkpoint that covers them, which has been seen only after them.
async fn export(arguments: &ExportArguments, overrides: &Overrides) -> Result<(), Failure> {
    let store = existing_store(overrides).await?;
    let now = assembly::now();
    let since = arguments.since.map(|since| now.minus(since));
    let until = arguments.until.map(|until| now.minus(until));
    let is_wanted = |checkpoint: &Checkpoint| {
        since.is_none_or(|since| checkpoint.at >= since)
            && until.is_none_or(|until| checkpoint.at < until)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut waiting: BTreeMap<i64, String> = BTreeMap::new();
    walk_chain(store.as_ref(), |step| {
        match step {
            ChainWalk::Event(event, salt) => {
                waiting.insert(event.id, line::of_event(event, salt, true));
            }
            ChainWalk::Unsealed(event, salt) => {
                waiting.remove(&event.id);
                if until.is_none() {
                    writeln!(out, "{}", line::of_event(event, salt, false))?;
                }
            }
            ChainWalk::Checkpoint(checkpoint) => {
                let is_wanted = is_wanted(checkpoint);
                let covered = checkpoint.is_whole().then(|| checkpoint.events.iter());
                for event in covered.into_iter().flatten().filter_map(|id| waiting.remove(&id)) {
                    if is_wanted {
                        writeln!(out, "{event}")?;
                    }
                }
                if is_wanted {
                    writeln!(out, "{}", line::of_checkpoint(checkpoint))?;
                }
            }
        }
        Ok::<_, ExportError>(())
    })
    .await
    .map_err(|error| match error {
        ExportError::Store(error) => Failure::from(error),
        ExportError::Output(error) => Failure::from(error),
    })?;
    // What nothing covers is no less worth showing.
    for event in waiting.into_values() {
        writeln!(out, "{event}")?;
    }
    Ok(out.flush()?)
}

enum ExportError {
    Store(StoreError),
    Output(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

async fn head(arguments: &HeadArguments, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = configuration(overrides)?;
    let store = open_existing(&configuration.store).await?;
    let key = chain_key(&present_master_key(&configuration)?);
    let last = store.last_checkpoint().await?;
    if let Some(last) = last.as_ref().filter(|last| !last.is_sealed_by(&key)) {
        return Err(Failure::new(format!(
            "The last checkpoint, number {}, is not signed with the master key of {}; name the \
             configuration that the service runs with, and if this is it, find out with `keyward \
             audit verify` who else wrote to the database.",
            last.number,
            configuration.master_key.place()
        )));
    }
    let key = key.text();
    let anchor = last.as_ref().map(|last| last.anchor().to_string());
    let at = last.map(|last| last.at.to_rfc3339());
    if arguments.json {
        return Ok(output::json_lines([json!({ "head": anchor, "at": at, "key": key })])?);
    }
    output::line(&format!("Head: {}", output::cell(anchor)))?;
    output::line(&format!("Sealed: {}", output::cell(at)))?;
    Ok(output::line(&format!("Key: {key}"))?)
}

fn public_key(text: &str) -> Result<ChainPublicKey, String> {
    ChainPublicKey::parse(text)
        .ok_or_else(|| "give the key that `keyward audit head` shows".to_owned())
}

fn anchor(text: &str) -> Result<Anchor, String> {
    Anchor::parse(text).ok_or_else(|| "give a head that `keyward audit head` has shown".to_owned())
}
