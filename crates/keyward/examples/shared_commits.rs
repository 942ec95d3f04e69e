//! Measures what it brings that concurrent refreshes share a commit on PostgreSQL, at the store:
//! the same exchanges with and without it, round by round.
//!
//! ```console
//! $ cargo run --release -p keyward --features postgres --example shared_commits -- \
//!     postgres://keyward@127.0.0.1/empty --server 4711
//! ```
//!
//! The database must be empty and on this machine, and `--server` is the process id of its server,
//! whose CPU time is counted with that of all its children.

use std::cmp::Ordering;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicUsize};
use std::time::Duration;
use std::{fmt, fs};

use keyward::store::{
    InsertUserOutcome, NewSession, NewUser, PasswordHash, PostgresSettings, PostgresStore,
    RotateOutcome, Store, StoreError,
};
use keyward_core::audit::{AuditContext, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::{RefreshTokenHash, RetryProof, SealedSuccessor};
use keyward_core::rotation::RotationPolicy;
use keyward_core::session::{Device, Session, Swap, SwapRetry};
use keyward_core::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(plan) = Plan::parse(std::env::args().skip(1)) else {
        say("usage: shared_commits URL --server PID [--sessions N] [--seconds N] [--rounds N]");
        return ExitCode::from(2);
    };
    match run(&plan).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("It ended early: {error}."));
            ExitCode::FAILURE
        }
    }
}

/// What to run, from the command line.
struct Plan {
    settings: PostgresSettings,
    server: u32,
    sessions: usize,
    seconds: u64,
    rounds: usize,
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let settings = PostgresSettings::parse(&arguments.next()?, Path::new(".")).ok()?;
        let mut plan = Self { settings, server: 0, sessions: 100_000, seconds: 5, rounds: 3 };
        while let Some(argument) = arguments.next() {
            let value = arguments.next()?;
            match argument.as_str() {
                "--server" => plan.server = value.parse().ok()?,
                "--sessions" => plan.sessions = value.parse().ok()?,
                "--seconds" => plan.seconds = value.parse().ok()?,
                "--rounds" => plan.rounds = value.parse().ok()?,
                _ => return None,
            }
        }
        let enough = CALLERS.iter().all(|callers| plan.sessions >= *callers);
        (plan.server > 0 && enough).then_some(plan)
    }
}

async fn run(plan: &Plan) -> io::Result<()> {
    let mut stores = Vec::new();
    for shares_commits in [false, true] {
        let mut settings = plan.settings.clone();
        settings.shares_commits = shares_commits;
        let store = PostgresStore::open(&settings, NOW).await.map_err(io::Error::other)?;
        stores.push(Arc::new(store));
    }
    say(&format!("{} sessions are made, which takes a while.", plan.sessions));
    fill(&stores[0], plan.sessions).await.map_err(io::Error::other)?;
    say("callers  commits   exchanges/s   p50 ms   p99 ms   client µs   server µs   (CPU each)");
    let mut generations = vec![0; plan.sessions];
    for callers in CALLERS {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..plan.rounds {
            for (store, rounds) in stores.iter().zip(&mut rounds) {
                rounds.push(measure(plan, store, callers, &mut generations).await?);
            }
        }
        for (rounds, name) in rounds.iter().zip(["own", "shared"]) {
            say(&format!("{callers:>7}  {name:<7}   {}", Figures::median(rounds)));
        }
    }
    Ok(())
}

/// Has so many callers exchange tokens, each one after the other, of sessions of its own.
async fn measure(
    plan: &Plan,
    store: &Arc<PostgresStore>,
    callers: usize,
    generations: &mut Vec<u64>,
) -> io::Result<Figures> {
    let share = generations.len().div_ceil(callers);
    let before = [cpu(std::process::id())?, cpu_of_all(plan.server)?];
    let begun = Instant::now();
    let end = begun + Duration::from_secs(plan.seconds);
    let mut calls = JoinSet::new();
    for (caller, own) in generations.chunks(share).enumerate() {
        calls.spawn(call(Arc::clone(store), caller * share, own.to_vec(), end));
    }
    let mut called = calls.join_all().await.into_iter().collect::<Result<Vec<_>, _>>();
    let called = called.as_mut().map_err(|error| io::Error::other(error.to_string()))?;
    let passed = begun.elapsed();
    let after = [cpu(std::process::id())?, cpu_of_all(plan.server)?];
    called.sort_by_key(|(first, ..)| *first);
    *generations = called.iter().flat_map(|(_, own, _)| own).copied().collect();
    let times = called.iter().flat_map(|(.., times)| times).copied().collect();
    Ok(Figures::new(times, passed, before, after))
}

/// Exchanges the tokens of the sessions from `first` on, in turn; answers how long each took.
async fn call(
    store: Arc<PostgresStore>,
    first: usize,
    mut generations: Vec<u64>,
    end: Instant,
) -> Result<(usize, Vec<u64>, Vec<Duration>), StoreError> {
    let mut times = Vec::new();
    loop {
        for (number, generation) in (first..).zip(&mut generations) {
            let begun = Instant::now();
            if begun >= end {
                return Ok((first, generations, times));
            }
            let outcome = store.rotate(swap(number, *generation), &context()).await?;
            if !matches!(outcome, RotateOutcome::Swapped(_)) {
                return Err(StoreError::Inconsistent("session.refresh_token_hash"));
            }
            *generation += 1;
            times.push(begun.elapsed());
        }
    }
}

/// What one round has shown.
#[derive(Clone)]
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    /// CPU time for each exchange: the client's, and the server's.
    cpu: [Duration; 2],
}

impl Figures {
    fn new(
        mut times: Vec<Duration>,
        passed: Duration,
        before: [Duration; 2],
        after: [Duration; 2],
    ) -> Self {
        times.sort_unstable();
        let count = u32::try_from(times.len().max(1)).unwrap_or(u32::MAX);
        let place = |percent: usize| times.get(times.len() * percent / 100).copied();
        Self {
            per_second: f64::from(count) / passed.as_secs_f64(),
            p50: place(50).unwrap_or_default(),
            p99: place(99).unwrap_or_default(),
            cpu: [0, 1].map(|of| after[of].saturating_sub(before[of]) / count),
        }
    }

    /// Each figure by itself.
    fn median(rounds: &[Self]) -> Self {
        fn middle<T: PartialOrd + Copy>(rounds: &[Figures], figure: impl Fn(&Figures) -> T) -> T {
            let mut figures: Vec<T> = rounds.iter().map(figure).collect();
            figures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
            figures[figures.len() / 2]
        }
        Self {
            per_second: middle(rounds, |figures| figures.per_second),
            p50: middle(rounds, |figures| figures.p50),
            p99: middle(rounds, |figures| figures.p99),
            cpu: [0, 1].map(|of| middle(rounds, |figures| figures.cpu[of])),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>11.0}   {:>6.2}   {:>6.2}   {:>9}   {:>9}",
            self.per_second,
            millis(self.p50),
            millis(self.p99),
            self.cpu[0].as_micros(),
            self.cpu[1].as_micros(),
        )
    }
}

/// CPU time of a process, its threads and the children that it has waited for.
fn cpu(process: u32) -> io::Result<Duration> {
    Ok(stat(process)?.1)
}

/// CPU time of a process and its children, whether they run or have ended.
fn cpu_of_all(process: u32) -> io::Result<Duration> {
    let mut sum = cpu(process)?;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile; then its time is its parent's.
        if let Ok((parent, cpu)) = stat(child)
            && parent == process
        {
            sum += cpu;
        }
    }
    Ok(sum)
}

/// The parent of a process, and its CPU time.
fn stat(process: u32) -> io::Result<(u32, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may hold spaces. After it come the state, the parent, and as the
    // 12th to 15th the times.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks: u64 = (11..15).filter_map(number).sum();
    let parent = number(1).and_then(|parent| u32::try_from(parent).ok()).unwrap_or_default();
    Ok((parent, Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())))
}

/// Makes the sessions, many at once.
async fn fill(store: &Arc<PostgresStore>, sessions: usize) -> Result<(), StoreError> {
    let numbers = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (store, numbers) = (Arc::clone(store), Arc::clone(&numbers));
        tasks.spawn(async move {
            loop {
                let number = numbers.fetch_add(1, atomic::Ordering::Relaxed);
                if number >= sessions {
                    return Ok(());
                }
                insert(&store, number).await?;
            }
        });
    }
    tasks.join_all().await.into_iter().collect()
}

async fn insert(store: &PostgresStore, number: usize) -> Result<(), StoreError> {
    let user_id = UserId::new(NOW, id(number));
    let email = Email::parse(&format!("filler{number}@example.org"));
    let user = NewUser {
        id: user_id,
        email: email.ok_or(StoreError::Inconsistent("user.email"))?,
        name: None,
        roles: Vec::new(),
        email_verified: false,
        password_hash: PasswordHash::from_phc("x".to_owned()),
        by: RegisteredBy::Operator,
    };
    let (id, hash, policy) = (session_id(number), hash(number, 0), RotationPolicy::default());
    let session = Session::open(id, user_id, hash, &policy, device(), NOW);
    let session = NewSession { session, supersedes: None, sessions_max: 9 };
    match store.insert_user(user, Some(session), &context()).await? {
        InsertUserOutcome::Inserted(_) => Ok(()),
        InsertUserOutcome::EmailTaken => {
            Err(StoreError::Unavailable("the database is not empty".to_owned()))
        }
    }
}

/// With an Idempotency-Key, as browsers send one.
fn swap(number: usize, generation: u64) -> Swap {
    Swap {
        session_id: session_id(number),
        presented_hash: hash(number, generation),
        successor_hash: hash(number, generation + 1),
        generation: generation + 1,
        retry: Some(SwapRetry {
            proof: RetryProof::from_bytes([1; 16]),
            sealed_successor: SealedSuccessor::from_bytes(vec![2; 140]),
        }),
        at: NOW,
        idle_expires_at: NOW.plus(RotationPolicy::default().idle_ttl),
        device: device(),
    }
}

fn session_id(number: usize) -> SessionId {
    SessionId::new(NOW, id(number))
}

fn id(number: usize) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn hash(number: usize, generation: u64) -> RefreshTokenHash {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..16].copy_from_slice(&generation.to_be_bytes());
    RefreshTokenHash::from_bytes(bytes)
}

fn context() -> AuditContext {
    let request_id = Some("01980b2e-3f4a-7cde-8b10-2a5c7d9e1f30".to_owned());
    AuditContext { at: NOW, device: device(), request_id, actor: None }
}

fn device() -> Device {
    Device {
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101".to_owned()),
    }
}

fn say(line: &str) {
    // Whoever closes the output ends the measurement with the next signal.
    let _written = writeln!(io::stdout(), "{line}");
}

const CALLERS: [usize; 5] = [1, 8, 32, 64, 256];

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
