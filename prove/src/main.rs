//! `keyward-prove`: explores every scenario within its bounds, and takes each rule away in turn.

use std::io::Write as _;
use std::process::ExitCode;

use keyward_prove::mutation::Property;
use keyward_prove::run::{Finding, Shown, grouped, say};
use keyward_prove::scenario::{SCENARIOS, Scenario};

/// What to explore, from the command line.
#[derive(Debug, Default)]
struct Plan {
    only: Option<Scenario>,
    small: bool,
    json: bool,
}

fn main() -> ExitCode {
    let Some(plan) = Plan::parse(std::env::args().skip(1)) else {
        say("usage: keyward-prove [--only SCENARIO] [--small] [--json]");
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        say(&format!("scenarios: {}", names.join(", ")));
        return ExitCode::from(EXIT_USAGE);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let holds = plan.explore(threads) & (plan.only.is_some() || plan.demonstrate(threads));
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut plan = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--only" => plan.only = Some(Scenario::find(&arguments.next()?)?),
                "--small" => plan.small = true,
                "--json" => plan.json = true,
                _ => return None,
            }
        }
        Some(plan)
    }

    /// Whether every promise holds in every state of every scenario.
    fn explore(&self, threads: usize) -> bool {
        let scenarios = SCENARIOS
            .iter()
            .filter(|scenario| self.only.is_none_or(|only| only.name == scenario.name));
        let (mut states, mut holds) = (0, true);
        for scenario in scenarios {
            let scenario = if self.small { scenario.small() } else { *scenario };
            let finding = Finding::of(scenario, threads, &|found| progress(scenario.name, found));
            states += finding.outcome.states;
            holds &= finding.holds();
            if self.json {
                say(&finding.json());
            } else {
                say(&finding.line());
                say(&format!("{:17}{}: {}", "", scenario.about, scenario.bounds()));
            }
        }
        if !self.json {
            say(&format!("\n{:<17}{:>12} states", "together", grouped(states)));
            for property in Property::ALL {
                let verdict = if holds { "holds" } else { "see above" };
                say(&format!("{:<24}{verdict}", property.to_string()));
            }
        }
        holds
    }

    /// Whether each rule that is taken away breaks the promise that it is there for.
    fn demonstrate(&self, threads: usize) -> bool {
        if !self.json {
            say("\nWith one rule taken away, within small bounds:");
        }
        let mut holds = true;
        for shown in Shown::all(threads) {
            holds &= shown.holds();
            say(&if self.json { shown.json() } else { shown.line() });
        }
        holds
    }
}

/// Says on standard error how far the search is, now and then.
fn progress(scenario: &str, states: usize) {
    if states > PROGRESS_STATES {
        // Progress that cannot be shown is no reason to stop.
        let _shown = write!(std::io::stderr(), "\r… {scenario}: {} states ", grouped(states));
    }
}

const PROGRESS_STATES: usize = 100_000;
const EXIT_USAGE: u8 = 2;
