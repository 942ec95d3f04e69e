//! `keyward user import`: users of another system, with the hashes of their passwords.
//!
//! An account is who has its address, and where the line gives one, its id. Who is there already is
//! left as they are, so that an import that broke off is simply run again. Who was deleted since is
//! known by the id alone, so that bad lines are better mended in a file of their own. Accounts are
//! made in batches of one transaction each; in memory there is never more than one batch and one
//! line, beside a hash of each address of the file: two users of one address are told of in every
//! run.

pub(crate) mod line;
mod lines;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use keyward::hashing::{self, FirebaseParameters};
use keyward::policy::HashingPolicy;
use keyward::store::{ImportOutcome, ImportedUser, NewUser, Store};
use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use serde_json::json;

use self::line::ImportLine;
use self::lines::Lines;
use crate::config::Overrides;
use crate::config::secret_file::{self, Secret};
use crate::failure::Failure;
use crate::{assembly, output};

/// What `user import` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward user import users.ndjson
  zcat users.ndjson.gz | keyward user import --rejects bad.ndjson -

A line is one JSON object:
  {\"email\": \"ada@example.org\", \"passwordHash\": \"$2b$10$...\"}
and may have name, emailVerified, roles, claims, createdAt and id, too. docs/importing.md tells
which hashes are taken, and how other systems write out their users.")]
pub(crate) struct Arguments {
    /// The file, one JSON object a line; - for the standard input
    file: PathBuf,
    /// Firebase's hash parameters as a JSON file that nobody else can read
    #[arg(long, value_name = "FILE")]
    firebase_params: Option<PathBuf>,
    /// A new file for the bad lines, to be mended and imported; it holds hashes, too
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Bad lines and the outcome as JSON objects, one a line
    #[arg(long)]
    json: bool,
}

/// Imports what can be imported, and tells of every line that cannot.
pub(super) async fn run(arguments: &Arguments, overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let store = super::open_existing(&configuration.store).await?;
    let firebase = arguments.firebase_params.as_deref().map(read_parameters).transpose()?;
    let input = Input::open(&arguments.file)?;
    let rejects = arguments.rejects.as_deref().map(Rejects::create).transpose()?;
    let begun_at = assembly::now();
    let mut import = Import {
        store: &*store,
        hashing: &configuration.policy.hashing,
        firebase,
        addresses: Addresses::default(),
        deleted: None,
        batch: Vec::with_capacity(BATCH),
        report: Report::new(arguments.json, input.bytes, rejects, begun_at),
    };
    let mut lines = Lines::new(input.reader);
    while let Some((number, line)) = lines.next()? {
        import.take(number, line).await?;
        import.report.tell_progress(lines.bytes());
    }
    import.commit().await?;
    import.report.finish()
}

fn read_parameters(path: &Path) -> Result<FirebaseParameters, Failure> {
    let text = secret_file::read(path, Secret::Given("parameters"))
        .map_err(|why| Failure::new(format!("{why}.")))?;
    FirebaseParameters::from_json(&text).map_err(|why| {
        Failure::new(format!(
            "The parameters in {} {why}; copy them from the console of the project.",
            path.display()
        ))
    })
}

/// What is read, and how long it is where that is known.
struct Input {
    reader: Box<dyn BufRead>,
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { reader: Box::new(io::stdin().lock()), bytes: None });
        }
        let file = File::open(path).map_err(|error| {
            Failure::new(format!("{} cannot be read ({error}); mend that.", path.display()))
        })?;
        let bytes = file.metadata().ok().map(|metadata| metadata.len());
        Ok(Self { reader: Box::new(BufReader::new(file)), bytes })
    }
}

/// An import on its way.
struct Import<'a> {
    store: &'a dyn Store,
    hashing: &'a HashingPolicy,
    firebase: Option<FirebaseParameters>,
    addresses: Addresses,
    /// Whose accounts were deleted, once somebody asks.
    deleted: Option<HashSet<UserId>>,
    batch: Vec<Waiting>,
    report: Report,
}

/// A user who waits for the next commit.
struct Waiting {
    line: Line,
    has_own_id: bool,
    /// Whether an earlier line has the address.
    is_second: bool,
    user: ImportedUser,
}

/// A line as it was read.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// The addresses of the lines so far, each by a hash that is keyed for this run.
#[derive(Default)]
struct Addresses {
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Addresses {
    /// Whether this one is new.
    fn insert(&mut self, email: &Email) -> bool {
        self.seen.insert(self.hasher.hash_one(email.key()))
    }
}

impl Import<'_> {
    /// Takes one line; commits where that fills a batch.
    async fn take(&mut self, number: u64, line: Result<Vec<u8>, String>) -> Result<(), Failure> {
        let (line, too_long) = match line {
            Ok(bytes) => (Line { number, bytes }, None),
            Err(why) => (Line { number, bytes: Vec::new() }, Some(why)),
        };
        if let Some(why) = too_long {
            return self.report.refuse(&line, &why);
        }
        let parsed = match ImportLine::parse(&line.bytes, self.firebase.as_ref()) {
            Ok(parsed) => parsed,
            Err(why) => return self.report.refuse(&line, &why),
        };
        if parsed.created_at > Some(self.report.begun_at) {
            return self.report.refuse(&line, "`createdAt` is in the future");
        }
        if let Some(id) = parsed.id
            && let Some(why) = self.unfit(id).await?
        {
            return self.report.refuse(&line, why);
        }
        let waiting = self.waiting(line, parsed);
        self.batch.push(waiting);
        if self.batch.len() < BATCH { Ok(()) } else { self.commit().await }
    }

    /// Why an id cannot be taken. An account that has been deleted has a history, which would be
    /// that of the new one.
    async fn unfit(&mut self, id: UserId) -> Result<Option<&'static str>, Failure> {
        if id.made_at() > Some(self.report.begun_at) {
            return Ok(Some("`id` tells a time in the future"));
        }
        let deleted = match self.deleted.take() {
            Some(deleted) => deleted,
            None => super::audit::deleted_users(self.store).await?,
        };
        let is_deleted = self.deleted.insert(deleted).contains(&id);
        Ok(is_deleted.then_some("the account of this `id` has been deleted"))
    }

    fn waiting(&mut self, read: Line, line: ImportLine) -> Waiting {
        let now = assembly::now();
        let is_second = !self.addresses.insert(&line.email);
        let user = NewUser {
            id: line.id.unwrap_or_else(|| UserId::new(now, assembly::random())),
            email: line.email,
            name: line.name,
            roles: line.roles,
            password_hash: line.password_hash.unwrap_or_else(|| hashing::no_password(self.hashing)),
            email_verified: line.email_verified,
            by: RegisteredBy::Operator,
            verification: None,
        };
        let created_at = line.created_at.unwrap_or(self.report.begun_at);
        let user = ImportedUser { user, claims: line.claims, created_at };
        Waiting { line: read, has_own_id: line.id.is_some(), is_second, user }
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let users = self.batch.iter().map(|waiting| waiting.user.clone()).collect();
        let outcomes = self.store.insert_users(users, &super::audit_context()).await;
        let outcomes = outcomes.map_err(|error| {
            let rest = "Who is imported is there; run this again to go on.";
            Failure::from(error).with(Failure::new(rest))
        })?;
        for (waiting, outcome) in std::mem::take(&mut self.batch).iter().zip(outcomes) {
            self.settle(waiting, outcome)?;
        }
        Ok(())
    }

    fn settle(&mut self, waiting: &Waiting, outcome: ImportOutcome) -> Result<(), Failure> {
        match outcome {
            ImportOutcome::Inserted => {
                self.report.imported += 1;
                Ok(())
            }
            ImportOutcome::EmailTaken(id) if waiting.has_own_id && id != waiting.user.user.id => {
                let why = format!("the account of this address has another id, {id}");
                self.report.refuse(&waiting.line, &why)
            }
            // Two users of the other system, of whom the second would be lost without a word.
            ImportOutcome::EmailTaken(_) if !waiting.has_own_id && waiting.is_second => {
                self.report.refuse(&waiting.line, "an earlier line has this address")
            }
            ImportOutcome::EmailTaken(_) => {
                self.report.present += 1;
                Ok(())
            }
            ImportOutcome::IdTaken => {
                self.report.refuse(&waiting.line, "another account has this `id`")
            }
        }
    }
}

/// What has become of the lines.
struct Report {
    json: bool,
    input_bytes: Option<u64>,
    rejects: Option<Rejects>,
    begun_at: Timestamp,
    told_at: Timestamp,
    imported: u64,
    present: u64,
    bad: u64,
}

impl Report {
    fn new(
        json: bool,
        input_bytes: Option<u64>,
        rejects: Option<Rejects>,
        begun_at: Timestamp,
    ) -> Self {
        let (imported, present, bad) = (0, 0, 0);
        Self { json, input_bytes, rejects, begun_at, told_at: begun_at, imported, present, bad }
    }

    /// Tells of a bad line at once. `why` says nothing of its values.
    fn refuse(&mut self, line: &Line, why: &str) -> Result<(), Failure> {
        self.bad += 1;
        if let Some(rejects) = &mut self.rejects {
            rejects.write(&line.bytes)?;
        }
        let number = line.number;
        if self.json {
            return Ok(output::json_lines([json!({ "line": number, "error": why })])?);
        }
        output::complain(&format!("line {number}: {why}."));
        Ok(())
    }

    /// Once a second, where a person reads along.
    fn tell_progress(&mut self, bytes: u64) {
        let now = assembly::now();
        if now.since(self.told_at) < TELL_EVERY || !io::stderr().is_terminal() {
            return;
        }
        self.told_at = now;
        let share = self.input_bytes.filter(|all| *all > 0);
        let share = share.map_or_else(String::new, |all| format!("{} %: ", bytes * 100 / all));
        let Self { imported, present, bad, .. } = self;
        output::progress(&format!(
            "{share}{imported} imported, {present} there already, {bad} bad lines"
        ));
    }

    fn finish(&self) -> Result<(), Failure> {
        let Self { imported, present, bad, .. } = self;
        if self.json {
            let outcome = json!({ "imported": imported, "present": present, "bad": bad });
            output::json_lines([outcome])?;
        } else {
            output::line(&format!(
                "Imported {imported} users; {present} were there already; {bad} lines are bad."
            ))?;
        }
        if *bad == 0 {
            return Ok(());
        }
        Err(Failure::new(match &self.rejects {
            Some(rejects) => rejects.advice(*bad),
            None => "Bad lines were left out; mend them and import them alone (--rejects FILE \
                     writes them into a file). All lines again would bring back who has been \
                     deleted or has changed the address since."
                .to_owned(),
        }))
    }
}

/// Where bad lines are written.
struct Rejects {
    path: PathBuf,
    file: File,
    written: u64,
}

impl Rejects {
    /// A file that nobody else can read, and that was not there.
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| Self::failure(path, &error))?;
        Ok(Self { path: path.to_owned(), file, written: 0 })
    }

    /// A line that was too long is not there, and leaves none.
    fn write(&mut self, line: &[u8]) -> Result<(), Failure> {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return Ok(());
        }
        self.written += 1;
        let written = self.file.write_all(&[line, b"\n"].concat());
        written.map_err(|error| Self::failure(&self.path, &error))
    }

    /// What to do with the bad lines, of which there are so many.
    fn advice(&self, bad: u64) -> String {
        let (path, too_long) = (self.path.display(), bad - self.written);
        match (self.written, too_long) {
            (_, 0) => format!(
                "Bad lines were left out and are in {path}; mend them there and import that file."
            ),
            (0, _) => format!(
                "Bad lines were left out. All are longer than a line may be, and {path} was not \
                 written; mend them and import them alone."
            ),
            (written, _) => format!(
                "Bad lines were left out. {written} are in {path}; mend them there and import that \
                 file. {too_long} are longer than a line may be, and stand in the original alone."
            ),
        }
    }

    fn failure(path: &Path, error: &io::Error) -> Failure {
        let path = path.display();
        Failure::new(format!("{path} cannot be written ({error}); name another file."))
    }
}

impl Drop for Rejects {
    /// A file in which nothing was written goes, however the import ended: the same command finds
    /// the name free again.
    fn drop(&mut self) {
        if self.written == 0 {
            let _removed = fs::remove_file(&self.path);
        }
    }
}

/// Users per transaction: few enough that a running service waits for milliseconds.
const BATCH: usize = 500;

const TELL_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
