//! `keyward drill`: an incident rehearsed against a running service.
//!
//! The drill makes an account, signs in, steals the tokens from itself and replays them in each way
//! of the threat model. [`rehearsals`] is the table of these ways: what is stolen, what has to be
//! answered, which audit events have to tell it. Whatever is otherwise is said, and ends the
//! command with status 1.
//!
//! - [`rehearsals`]: the table, and one short function for each of its rows.
//! - [`stage`]: what a row is played with; it keeps what was answered, and how soon.
//! - [`browser`]: what one party holds. Whoever clones it is the thief.
//! - [`target`]: the service, its requests and answers.
//! - [`access`]: the key to the admin API, brought along or made in the store and revoked again.
//! - [`account`]: the account, made before and deleted after, whatever happens in between.
//! - [`evidence`]: the search for the audit events.
//! - [`report`]: verdicts, the table and the document.
//!
//! Everything goes over HTTP, so that a service on this machine and one far away are drilled alike.

mod access;
mod account;
mod browser;
mod evidence;
mod rehearsals;
mod report;
mod stage;
mod target;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::access::Access;
use self::account::Account;
use self::evidence::AuditLog;
use self::rehearsals::REHEARSALS;
use self::report::Performance;
use self::stage::Stage;
use self::target::Target;
use crate::config::Overrides;
use crate::failure::Failure;
use crate::output;

/// What `drill` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward drill                              beside `keyward serve --dev`, in its folder
  keyward drill --url https://auth.example.org --service-key-file drill.key
  keyward drill --json | jq '.rehearsals[] | {name, verdict, refusedAfterMs}'

Without a key the drill makes one of its own in the store that is at hand, shows it to the service
over that store only, and revokes it again. The key can also come from KEYWARD_SERVICE_KEY. It needs
the scopes users:write and audit:read:
  (umask 077; keyward service-key create --name drill --scope users:write --scope audit:read \\
    --expires-in 1h > drill.key)

REFUSED is how long it took until the token was refused, ACCESS ENDS until the access token was. The
audit events that tell of it stand below, with their ids; --json adds the answers.

Each run uses up some of what one address may do: 5 of 100 failed sign-ins and 3 of 100 failed
refreshes in 15 minutes, by default. The account is deleted at the end; its audit events stay.
The exit status is 1 where a rehearsal went unnoticed or otherwise than it has to.")]
pub(crate) struct Arguments {
    /// The service [default: server.public_url of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The path of its API [default: server.base_path of the configuration]
    #[arg(long, value_name = "PATH")]
    base_path: Option<String>,
    /// A service key, on the first line of a file that nobody else can read
    #[arg(long, value_name = "FILE")]
    service_key_file: Option<PathBuf>,
    /// Certificates in PEM that vouch for the service, instead of those that the system trusts
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Rehearses, reports and cleans up.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    // Signals count from here on: one that comes while the account is made must not lose it.
    let mut interruption = Interruption::listen()?;
    let access = Access::find(arguments, overrides).await?;
    let drilled = drill(&access, arguments, &mut interruption).await;
    let released = access.release().await;
    both(drilled, released)
}

async fn drill(
    access: &Access,
    arguments: &Arguments,
    interruption: &mut Interruption,
) -> Result<(), Failure> {
    let administration = access.administration();
    // Before anything is made: a drill that cannot read the audit log has nothing to say.
    let log = AuditLog::open(administration).await?;
    let mut account = Account::create(&administration).await?;
    let email = account.email.clone();
    let rehearsed = tokio::select! {
        rehearsed = rehearse(&access.target, &log, &mut account) => rehearsed,
        () = interruption.comes() => Err(Failure::new("Interrupted; drill again to see the rest.")),
    };
    let deleted = account.delete(&administration).await;
    let performances = both(rehearsed, deleted)?;
    let reported = if arguments.json {
        report::json(access.target.origin(), &email, &performances)
    } else {
        report::table(&performances)
    };
    // What went unnoticed counts where nobody reads to the end, too.
    both(judge(&performances), reported.map_err(Failure::from))
}

/// Plays every rehearsal, then looks for what the audit log says of them.
async fn rehearse(
    target: &Target,
    log: &AuditLog<'_>,
    account: &mut Account,
) -> Result<Vec<Performance>, Failure> {
    let mut performances = Vec::with_capacity(REHEARSALS.len());
    for (index, rehearsal) in REHEARSALS.iter().enumerate() {
        let (number, all) = (index + 1, REHEARSALS.len());
        output::progress(&format!("rehearsing {number}/{all}: {}", rehearsal.name));
        let mut stage = Stage::new(target, account);
        (rehearsal.play)(&mut stage).await?;
        let trace = stage.into_trace();
        performances.push(Performance { rehearsal, trace, evidence: Vec::new() });
    }
    log.tell_of(&mut performances).await?;
    Ok(performances)
}

fn judge(performances: &[Performance]) -> Result<(), Failure> {
    let bad = performances.iter().filter(|performance| !performance.verdict().is_good());
    let complaints: Vec<String> = bad.map(Performance::complaint).collect();
    if complaints.is_empty() { Ok(()) } else { Err(Failure::Failed(complaints)) }
}

/// What was done, where what came after it went well too.
fn both<T>(done: Result<T, Failure>, after: Result<(), Failure>) -> Result<T, Failure> {
    match (done, after) {
        (done, Ok(())) => done,
        (Ok(_), Err(failure)) => Err(failure),
        (Err(first), Err(second)) => Err(first.with(second)),
    }
}

/// The wish of the operator that it ends early.
struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    fn listen() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
