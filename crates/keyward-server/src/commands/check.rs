//! `keyward check`.

use clap::Args;
use keyward::policy::AccessTokenPolicy;
use keyward::store::{KeyPurpose, KeyRecord};
use keyward_core::access_token::Algorithm;
use keyward_core::keys::MasterKey;
use serde_json::{Value, json};

use crate::config::{self, Configuration, Finding, Overrides};
use crate::failure::Failure;
use crate::{assembly, output, serve};

/// What `check` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward check                            exits with 1 where the service would not start
  keyward check --config new.toml --json   one JSON object a line")]
pub(crate) struct Arguments {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists what is wrong or weak.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    let reading = config::read(overrides, config::environment());
    let mut errors = reading.problems;
    if let Some(configuration) = &reading.configuration {
        try_parts(configuration, &mut errors).await;
    }
    let findings: Vec<(&str, &Finding)> = errors
        .iter()
        .map(|finding| ("error", finding))
        .chain(reading.warnings.iter().map(|finding| ("warning", finding)))
        .collect();
    if arguments.json {
        output::json_lines(findings.iter().map(|(severity, finding)| object(severity, finding)))?;
    } else if findings.is_empty() {
        output::line("Nothing is weak or wrong.")?;
    } else {
        let rows: Vec<[String; 2]> = findings
            .iter()
            .map(|(severity, finding)| [(*severity).to_owned(), finding.to_string()])
            .collect();
        output::table(["SEVERITY", "FINDING"], &rows)?;
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::Failed(Vec::new())) }
}

/// Tries what the configuration names. What the first start makes may still be missing.
async fn try_parts(configuration: &Configuration, errors: &mut Vec<Finding>) {
    if let Some(tls) = &configuration.server.tls
        && let Err(why) = serve::tls_from(tls)
    {
        errors.push(finding("server.tls_cert", why));
    }
    let master_key = match configuration.master_key.find() {
        Ok(key) => key,
        Err(why) => return errors.push(finding("keys.master_key", why)),
    };
    if let Err(failure) = try_store(configuration, master_key).await {
        errors.extend(failure.sentences().iter().map(|why| finding("store.url", why.clone())));
    }
}

/// Changes nothing: a store with migrations to come is not opened, since opening applies them.
async fn try_store(
    configuration: &Configuration,
    master_key: Option<MasterKey>,
) -> Result<(), Failure> {
    let migrations = assembly::migrations(&configuration.store).await?;
    if migrations.iter().any(|migration| migration.applied_at.is_none()) {
        return Ok(());
    }
    let store = assembly::open_store(&configuration.store).await?;
    store.ping().await?;
    let keys = store.list_keys().await?;
    match master_key {
        None if !keys.is_empty() => Err(Failure::new(
            "it holds keys, but the master key that opens them is not there; put it back",
        )),
        Some(key) if is_complete(&keys, &configuration.policy.access_token) => {
            assembly::try_keys(configuration, store, key).await
        }
        None | Some(_) => Ok(()),
    }
}

/// Whether a start would find every key; it makes those that are missing.
fn is_complete(keys: &[KeyRecord], access_token: &AccessTokenPolicy) -> bool {
    let serves = |purpose| keys.iter().any(|key| key.purpose == purpose);
    let algorithm = access_token.algorithm;
    let is_configured = algorithm == Algorithm::Hs256 && access_token.hmac_secret.is_some();
    let signs =
        is_configured || keys.iter().any(|key| key.is(KeyPurpose::AccessToken, algorithm.as_str()));
    signs && serves(KeyPurpose::Csrf) && serves(KeyPurpose::RefreshToken)
}

fn finding(key: &str, why: impl Into<String>) -> Finding {
    let complaint = format!("does not work: {}", why.into().trim_end_matches('.'));
    Finding { key: key.to_owned(), place: None, complaint }
}

fn object(severity: &str, finding: &Finding) -> Value {
    json!({
        "severity": severity,
        "key": finding.key,
        "place": finding.place,
        "finding": finding.to_string(),
    })
}
