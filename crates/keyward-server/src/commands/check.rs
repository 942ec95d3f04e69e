//! `keyward check`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use keyward::breached::BreachedList;
use keyward::policy::Policy;
use keyward::service::clock_complaint;
use keyward::store::Store;
use keyward_core::keys::{KeyLives, KeyPurpose, KeyRecord, MasterKey};
use rustix::fs::{Access, access};
use serde_json::{Value, json};

use crate::config::{self, Configuration, Finding, MasterKeySource, Overrides};
use crate::failure::Failure;
use crate::{assembly, output, serve};

/// What `check` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward check                            exits with 1 where the service would not work
  keyward check --config new.toml --json   one JSON object a line")]
pub(crate) struct Arguments {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists what is wrong or weak.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    let reading = config::read(overrides, config::environment());
    let (mut errors, mut warnings) = (reading.problems, reading.warnings);
    if let Some(configuration) = &reading.configuration {
        try_parts(configuration, &mut errors, &mut warnings).await;
    }
    let findings: Vec<(&str, &Finding)> = errors
        .iter()
        .map(|finding| ("error", finding))
        .chain(warnings.iter().map(|finding| ("warning", finding)))
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
async fn try_parts(
    configuration: &Configuration,
    errors: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) {
    if let Some(tls) = &configuration.server.tls
        && let Err(why) = serve::tls_from(tls)
    {
        errors.push(finding("server.tls_cert", why));
    }
    if let Some(path) = &configuration.policy.breached_list {
        try_breached_list(path, errors, warnings);
    }
    let master_key = match configuration.master_key.find() {
        Ok(key) => key,
        Err(why) => return errors.push(finding("keys.master_key", why)),
    };
    if let (None, MasterKeySource::File(path)) = (&master_key, &configuration.master_key)
        && let Err(why) = try_folder_of(path)
    {
        errors.push(finding("keys.master_key", why));
    }
    if let Some(shared) = &configuration.shared
        && let Err(failure) = assembly::try_shared(shared).await
    {
        warnings.extend(failure.sentences().iter().map(|why| unshared(why)));
    }
    match &configuration.mail {
        None => warnings.push(no_mail()),
        Some(mail) => {
            if let Err(finding) = assembly::try_mail(mail, &configuration.policy).await {
                errors.push(finding);
            }
        }
    }
    if let Err(failure) = try_store(configuration, master_key, warnings).await {
        errors.extend(failure.sentences().iter().map(|why| finding("store.url", why.clone())));
    }
}

fn try_breached_list(path: &Path, errors: &mut Vec<Finding>, warnings: &mut Vec<Finding>) {
    const KEY: &str = "password.breached_list";
    match BreachedList::open(path).and_then(|list| list.modified()) {
        Err(error) => errors.push(finding(KEY, format!("{}: {error}", path.display()))),
        Ok(at) if at < assembly::now().minus(BREACHED_LIST_AGE_MAX) => {
            let complaint = format!(
                "names {}, which is more than a year old, and knows of no leak since; get a newer \
                 one",
                path.display()
            );
            warnings.push(Finding { key: KEY.to_owned(), place: None, complaint });
        }
        Ok(_) => {}
    }
}

/// Whether files can be made beside this one, and this one be written where it is there. The system
/// is asked, and nothing tried: that would change something.
fn try_folder_of(file: &Path) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Err(error) = access(folder.join("."), Access::EXISTS) {
        return Err(format!(
            "there is no folder {} ({error}); make it, for the user of the service alone, or name \
             another one with --data-dir",
            folder.display()
        ));
    }
    try_access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    if file.exists() { try_access(file, Access::READ_OK | Access::WRITE_OK) } else { Ok(()) }
}

fn try_access(path: &Path, wanted: Access) -> Result<(), String> {
    access(path, wanted).map_err(|error| {
        format!(
            "{} cannot be written ({error}); give it to the user of the service, and run this \
             command as that user",
            path.display()
        )
    })
}

/// Changes nothing: a store with migrations to come is not opened, since opening applies them.
async fn try_store(
    configuration: &Configuration,
    master_key: Option<MasterKey>,
    warnings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    if let Some(file) = configuration.store.file() {
        try_folder_of(file).map_err(Failure::new)?;
        serve::Claim::probe(file)?;
    }
    let migrations = assembly::migrations(&configuration.store).await?;
    let to_come = migrations.iter().filter(|migration| migration.applied_at.is_none()).count();
    if to_come > 0 {
        if !assembly::may_migrate(&configuration.store).await? {
            return Err(Failure::new(
                "the database lacks tables of this version, and its role may not make them; run \
                 `keyward migrate --grant-to ROLE` for it, as the owner of the schema",
            ));
        }
        // A store that is not made yet is no reason to worry.
        warnings.extend((to_come < migrations.len()).then(|| outdated(to_come)));
        return Ok(());
    }
    let store = assembly::open_store(&configuration.store).await?;
    let asked = assembly::now();
    let server = store.ping().await?;
    let weak = |complaint| Finding { key: "store.url".to_owned(), place: None, complaint };
    let clock = server.and_then(|at| clock_complaint(asked, at, assembly::now()));
    warnings.extend(clock.map(|why| weak(format!("names another clock: {why}"))));
    warnings.extend(assembly::weaknesses(&configuration.store).await?.into_iter().map(weak));
    let lacking = assembly::lacking_rights(&configuration.store).await?;
    let idle = |why| weak(format!("does not let all of the upkeep be done: {why}"));
    warnings.extend(lacking.for_upkeep.map(idle));
    let tried = try_keys(configuration, store, master_key, warnings).await;
    match lacking.to_serve.map(Failure::new) {
        Some(lacking) => Err(match tried {
            Ok(()) => lacking,
            Err(failure) => lacking.with(failure),
        }),
        None => tried,
    }
}

/// Whether the master key opens the keys of the store.
async fn try_keys(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    master_key: Option<MasterKey>,
    warnings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    let keys = store.list_keys().await?;
    overdue(&keys, &configuration.policy, warnings);
    match master_key {
        None if !keys.is_empty() => Err(Failure::new(
            "it holds keys, but the master key that opens them is not there; put it back",
        )),
        Some(key) if is_complete(&keys, &configuration.policy) => {
            assembly::try_keys(configuration, store, key).await
        }
        None | Some(_) => Ok(()),
    }
}

/// Whether a start would find every key; it makes those that are missing.
fn is_complete(keys: &[KeyRecord], policy: &Policy) -> bool {
    let life = policy.key_life();
    KeyPurpose::ALL.iter().all(|purpose| !KeyLives::new(keys, &life).lacks_key(*purpose))
}

/// Says which purposes have a key that should have had a successor long ago: no service that runs
/// lets that happen.
fn overdue(keys: &[KeyRecord], policy: &Policy, warnings: &mut Vec<Finding>) {
    let life = policy.key_life();
    let is_overdue = |purpose: &&KeyPurpose| {
        let due = KeyLives::new(keys, &life).rotation_due_at(**purpose);
        due.is_some_and(|due| assembly::now() >= due.plus(OVERDUE_AFTER))
    };
    for purpose in KeyPurpose::ALL.iter().filter(is_overdue) {
        let name = purpose.as_str();
        let complaint = format!(
            "asks for a new {name} key since over a day, which a running service makes by itself; \
             start one, or run `keyward key rotate --purpose {name}`"
        );
        warnings.push(Finding { key: "keys.rotate_every".to_owned(), place: None, complaint });
    }
}

fn finding(key: &str, why: impl Into<String>) -> Finding {
    let complaint = format!("does not work: {}", why.into().trim_end_matches('.'));
    Finding { key: key.to_owned(), place: None, complaint }
}

fn outdated(to_come: usize) -> Finding {
    let complaint = format!(
        "names a store that lacks {to_come} migration(s) of this version, and was not looked at \
         further; run `keyward migrate`, or let the next start apply them"
    );
    Finding { key: "store.url".to_owned(), place: None, complaint }
}

fn no_mail() -> Finding {
    let complaint = "is not set, so that nobody who has forgotten a password can set a new one, \
         and no address is ever verified; set it, such as \"smtps://user@mail.example.org\"";
    Finding { key: "mail.url".to_owned(), place: None, complaint: complaint.to_owned() }
}

/// No reason not to start: the service goes on without.
fn unshared(why: &str) -> Finding {
    let complaint = format!(
        "does not work: {}; until it does, limits hold on each node alone, or hints come late",
        why.trim_end_matches('.')
    );
    Finding { key: "shared.url".to_owned(), place: None, complaint }
}

fn object(severity: &str, finding: &Finding) -> Value {
    json!({
        "severity": severity,
        "key": finding.key,
        "place": finding.place,
        "finding": finding.to_string(),
    })
}

const BREACHED_LIST_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A service that was stopped for the night is no reason to worry.
const OVERDUE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
