//! Thousands of histories of the running service, each drawn from a seed.
//!
//! The real router over the real store is driven through everything that browsers, networks, disks
//! and thieves do to it, in virtual time and one step after the other, so that a seed always gives
//! the same history. `cargo xtask simulate --seed N` plays one and prints it line by line.
//!
//! - [`history`]: who does what, move by move; [`trouble`]: what befalls them; [`settlement`]: what
//!   must show at the end.
//! - [`oracle`]: what must hold at every answer and every commit; [`promise`]: its name.
//! - [`browser`], [`message`], [`network`]: clients that keep their part, thieves, and the way.
//! - [`machine`], [`stepped_store`], [`host`]: the service, its store and what they run on.
//! - [`planted`]: bugs that the histories must find; [`plan`], [`random`], [`figures`], [`log`].

#[path = "../common/mod.rs"]
mod common;

mod history;
mod settlement;
mod trouble;

mod oracle;
mod promise;

mod browser;
mod message;
mod network;

mod host;
mod machine;
mod stepped_store;

mod figures;
mod log;
mod plan;
mod planted;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use figures::Figures;
use history::History;
use host::{Disk, Host, StoreKind};
use log::Log;
use planted::Bug;
use promise::{Breach, Promise};

#[test]
fn histories_on_sqlite_keep_every_promise() {
    let histories = asked("KEYWARD_SIMULATION_HISTORIES").unwrap_or(HISTORIES_SQLITE);
    let figures = expect_no_breach(StoreKind::Sqlite, histories);
    say(&format!("{figures}"));
    assert_eq!(figures.too_rare(RARE), [], "too rare to prove anything:\n{figures}");
}

#[test]
fn histories_in_memory_keep_every_promise() {
    let figures = expect_no_breach(StoreKind::Memory, HISTORIES_MEMORY);
    assert!(figures.of(figures::Figure::Crashes) > 0);
}

/// The asked-for seed is printed, too.
#[test]
fn a_seed_is_one_history() {
    let host = Host::new();
    let asked = asked("KEYWARD_SIMULATION_SEED");
    for kind in [StoreKind::Sqlite, StoreKind::Memory] {
        for seed in asked.map_or(0..20, |seed| seed..seed + 1) {
            let played = Played::of(&host, kind, None, seed, Log::kept());
            if asked.is_some() {
                say(&format!("\nSeed {seed} on {kind:?}\n{}", played.log.lines().join("\n")));
            }
            assert_eq!(played.outcome, Ok(()), "seed {seed} on {kind:?}");
            let again = Played::of(&host, kind, None, seed, Log::kept());
            assert!(again.log == played.log, "seed {seed} on {kind:?} gave two histories");
            assert!(played.log.lines().len() > 20);
        }
    }
}

/// What a test of a planted bug expects: one of these promises is found broken.
#[track_caller]
fn expect_found(bug: Bug, promises: &[Promise]) {
    let found = play_all(StoreKind::Sqlite, Some(bug), HISTORIES_PLANTED).breach;
    let (seed, breach) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    assert!(promises.contains(&breach.promise), "seed {seed}: {breach}");
}

#[test]
fn a_swap_without_its_guard_is_found() {
    expect_found(Bug::UnguardedSwap, &[Promise::OneLine, Promise::Monotone]);
}

#[test]
fn a_commit_that_a_crash_undoes_is_found() {
    expect_found(Bug::LostCommit, &[Promise::Durable]);
}

#[test]
fn a_revocation_that_is_lost_is_found() {
    expect_found(Bug::LostRevocation, &[Promise::Durable]);
}

#[test]
fn reuse_that_is_not_acted_upon_is_found() {
    expect_found(Bug::HarmlessReuse, &[Promise::TheftIsSeen]);
}

#[test]
fn a_retry_without_its_successor_is_found() {
    expect_found(Bug::UnsealedSuccessor, &[Promise::NoHonestLogout]);
}

#[test]
fn a_loser_who_is_told_to_drop_its_cookies_is_found() {
    expect_found(Bug::ClearingLoser, &[Promise::LosersDoNoHarm]);
}

#[test]
fn a_client_with_a_fresh_key_for_each_send_is_found() {
    expect_found(Bug::FreshKeyOnResend, &[Promise::NoHonestLogout]);
}

#[test]
fn a_client_without_the_lock_is_found() {
    expect_found(Bug::NoLock, &[Promise::NoHonestLogout]);
}

#[track_caller]
fn expect_no_breach(kind: StoreKind, histories: u64) -> Figures {
    let run = play_all(kind, None, histories);
    if let Some((seed, breach)) = run.breach {
        let played = Played::of(&Host::new(), kind, None, seed, Log::kept());
        let lines = played.log.lines();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        panic!(
            "seed {seed} breaks a promise on {kind:?}. {breach}\n\n{last}\n\n\
             All of it: cargo xtask simulate --seed {seed}"
        );
    }
    run.figures
}

/// What many histories came to.
struct Run {
    figures: Figures,
    /// The first breach that was found, with its seed.
    breach: Option<(u64, Breach)>,
}

/// Plays the histories of the seeds from zero to below `count`, until one breaks a promise.
fn play_all(kind: StoreKind, bug: Option<Bug>, count: u64) -> Run {
    let (next, broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let run = Mutex::new(Run { figures: Figures::default(), breach: None });
    // Each of them waits for its store half of the time.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let host = Host::new();
                let prepared = Prepared::new(&host, kind);
                while !broken.load(Ordering::SeqCst) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= count {
                        break;
                    }
                    let played = or_say_seed(seed, || prepared.play(&host, bug, seed, Log::none()));
                    let mut run = run.lock().expect("no panic under the lock");
                    run.figures.add(&played.figures);
                    if let Err(breach) = played.outcome {
                        broken.store(true, Ordering::SeqCst);
                        if run.breach.as_ref().is_none_or(|(first, _)| seed < *first) {
                            run.breach = Some((seed, breach));
                        }
                    }
                    if seed % PROGRESS_EACH == PROGRESS_EACH - 1 {
                        say(&format!("{} of {count} histories on {kind:?}", seed + 1));
                    }
                }
            });
        }
    });
    run.into_inner().expect("no panic under the lock")
}

/// Names the seed of a history that panics.
fn or_say_seed<T>(seed: u64, play: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        say(&format!("Seed {seed} panicked: cargo xtask simulate --seed {seed}"));
        resume_unwind(panic)
    })
}

/// What histories on one kind of store start from.
struct Prepared {
    kind: StoreKind,
    disk: Disk,
}

impl Prepared {
    fn new(host: &Host, kind: StoreKind) -> Self {
        Self { kind, disk: machine::prepare(host, kind) }
    }

    fn play(&self, host: &Host, bug: Option<Bug>, seed: u64, log: Log) -> Played {
        let disk = match self.kind {
            StoreKind::Sqlite => self.disk.copy(),
            StoreKind::Memory => machine::prepare(host, StoreKind::Memory),
        };
        let mut history = History::new(host, disk, seed, bug, log);
        let outcome = history.play();
        let History { figures, mut log, machine, .. } = history;
        if let Err(breach) = &outcome {
            log.add(machine.now(), breach.to_string());
        }
        Played { outcome, figures, log }
    }
}

/// What one history came to.
struct Played {
    outcome: Result<(), Breach>,
    figures: Figures,
    log: Log,
}

impl Played {
    fn of(host: &Host, kind: StoreKind, bug: Option<Bug>, seed: u64, log: Log) -> Self {
        Prepared::new(host, kind).play(host, bug, seed, log)
    }
}

/// A number that `cargo xtask simulate` asks for.
#[expect(clippy::disallowed_methods, reason = "a test program has no other arguments of its own")]
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Prints a line for who runs the test with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the history is for the person who asked for it")]
fn say(line: &str) {
    println!("{line}");
}

const HISTORIES_SQLITE: u64 = 10_000;
const HISTORIES_MEMORY: u64 = 2_000;

/// Within so many histories each planted bug is found.
const HISTORIES_PLANTED: u64 = 300;

/// Each thing that can happen does so at least once in so many histories.
const RARE: u64 = 200;

const LINES_SHOWN: usize = 40;
const PROGRESS_EACH: u64 = 1_000;
