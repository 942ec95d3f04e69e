//! Measures Keyward beside what bounds it, in one run on one machine: on SQLite a bare axum answer
//! and a bare Argon2id, on PostgreSQL the bare rotation of one row.
//!
//! Every figure that matters is a ratio between two things measured seconds apart, as a median over
//! rounds: shared machines are noisy, and requests per second of two different minutes say little.

mod bare;
mod client;
mod fill;
mod load;
mod pace;
mod postgres;
mod process;
mod report;
mod server;
mod sqlite;
mod timing;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use postgres::Part;
use report::Report;

/// What to run, from the command line.
#[derive(Debug, Clone)]
struct Plan {
    keyward: PathBuf,
    rounds: usize,
    seconds: u64,
    sessions: u64,
    json: bool,
    /// The URL of a PostgreSQL server; SQLite without one.
    store: Option<String>,
    /// The URL of a Valkey that nodes on PostgreSQL share.
    shared: Option<String>,
    /// The one measurement that is asked for, of those on PostgreSQL.
    only: Option<Part>,
    /// Whether times tell who has an account is asked for, and nothing else.
    timing: bool,
    /// Samples of each side, where times are compared.
    samples: usize,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("bare") {
        return finish(runtime(2).and_then(|runtime| runtime.block_on(bare::serve())));
    }
    let Some(plan) = Plan::parse(std::env::args().skip(1)) else {
        report::line(
            "usage: keyward-bench [--keyward FILE] [--rounds N] [--seconds N] [--sessions N] \
             [--only timing [--samples N]] \
             [--store URL [--shared URL] [--only refresh|commits|size|bloat|nodes|verifiers]] \
             [--json]",
        );
        return ExitCode::from(2);
    };
    finish(runtime(1).and_then(|runtime| runtime.block_on(run(&plan))))
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut plan = Self {
            // Built beside this program, wherever that is.
            keyward: std::env::current_exe().ok()?.with_file_name("keyward"),
            rounds: 5,
            seconds: 4,
            sessions: 1_000_000,
            json: false,
            store: None,
            shared: None,
            only: None,
            timing: false,
            samples: 2000,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--keyward" => plan.keyward = PathBuf::from(arguments.next()?),
                "--rounds" => plan.rounds = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--seconds" => plan.seconds = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--sessions" => plan.sessions = arguments.next()?.parse().ok()?,
                "--json" => plan.json = true,
                "--store" => plan.store = Some(arguments.next()?),
                "--shared" => plan.shared = Some(arguments.next()?),
                "--samples" => plan.samples = arguments.next()?.parse().ok().filter(|n| *n > 0)?,
                "--only" => match &*arguments.next()? {
                    "timing" => plan.timing = true,
                    part => plan.only = Some(Part::find(part)?),
                },
                _ => return None,
            }
        }
        let is_whole = match plan.store {
            Some(_) => !plan.timing,
            None => plan.only.is_none() && plan.shared.is_none(),
        };
        is_whole.then_some(plan)
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

async fn run(plan: &Plan) -> io::Result<()> {
    let mut report = Report::default();
    match &plan.store {
        Some(url) => postgres::measure(plan, url, &mut report).await?,
        None if plan.timing => timing::measure(plan, &mut report).await?,
        None => sqlite::measure(plan, &mut report).await?,
    }
    report.print(plan.json);
    Ok(())
}

fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

fn finish(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("keyward-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Option<Plan> {
        Plan::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn parts_can_be_asked_for_on_postgresql_alone() {
        assert!(plan("--rounds 3 --seconds 2 --json").is_some_and(|plan| plan.rounds == 3));
        let size = plan("--store postgres://a@b/c --only size").expect("a plan");
        assert_eq!(size.only, Some(Part::Size));
        let nodes = plan("--store postgres://a@b/c --shared redis://d --only nodes");
        assert_eq!(nodes.and_then(|plan| plan.shared).as_deref(), Some("redis://d"));
        assert!(plan("--only timing --samples 5").is_some_and(|plan| plan.timing));
        assert!(plan("--store postgres://a@b/c --only timing").is_none());
        assert!(plan("--only size").is_none());
        assert!(plan("--shared redis://d").is_none());
        assert!(plan("--store postgres://a@b/c --only speed").is_none());
        assert!(plan("--rounds 0").is_none());
    }
}
