//! Explores scenarios and says what came of it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::checker::{End, Outcome, search};
use crate::mutation::{DEMONSTRATIONS, Demonstration, Property};
use crate::scenario::Scenario;
use crate::state::Event;
use crate::world::World;

/// What one scenario came to.
#[derive(Debug)]
pub struct Finding {
    /// The scenario, with the bounds that it was explored in.
    pub scenario: Scenario,
    /// What the search says.
    pub outcome: Outcome<Property>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    /// Explores a scenario in full.
    pub fn of(scenario: Scenario, threads: usize, progress: &dyn Fn(usize)) -> Self {
        let start = now();
        let world = World::new(scenario, None);
        let outcome = search(&world, threads, STATES_MAX, progress);
        Self { scenario, outcome, took: start.elapsed() }
    }

    /// What should have happened in some run, and did not.
    pub fn missing(&self) -> Vec<Event> {
        let happened = |event: &Event| self.outcome.events & event.bit() != 0;
        self.scenario.expects.iter().copied().filter(|event| !happened(event)).collect()
    }

    /// Whether every state was visited, every promise held and every occasion came.
    pub fn holds(&self) -> bool {
        matches!(self.outcome.end, End::Exhausted) && self.missing().is_empty()
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let Self { scenario, outcome, took } = self;
        format!(
            "{:<17}{:>12} states{:>4} steps deep{:>8.1} s  {}",
            scenario.name,
            grouped(outcome.states),
            outcome.depth,
            took.as_secs_f64(),
            self.verdict()
        )
    }

    /// The same for machines.
    pub fn json(&self) -> String {
        let Self { scenario, outcome, took } = self;
        let happened = Event::ALL.iter().filter(|event| outcome.events & event.bit() != 0);
        let (broken, run) = match &outcome.end {
            End::Broken { property, run } => (Some(property.to_string()), run.as_slice()),
            End::Exhausted | End::TooMany => (None, [].as_slice()),
        };
        json!({
            "scenario": scenario.name,
            "bounds": scenario.bounds(),
            "states": outcome.states,
            "depth": outcome.depth,
            "seconds": took.as_secs_f64(),
            "happened": happened.map(|event| format!("{event:?}")).collect::<Vec<_>>(),
            "holds": self.holds(),
            "broken": broken,
            "run": run,
        })
        .to_string()
    }

    fn verdict(&self) -> String {
        match &self.outcome.end {
            End::Broken { property, run } => format!("BROKEN: {property}{}", told(run)),
            End::TooMany => format!("NOT EXHAUSTED: more than {} states", grouped(STATES_MAX)),
            End::Exhausted if self.missing().is_empty() => "holds".to_owned(),
            End::Exhausted => format!("SHOWS NOTHING: {:?} never happened", self.missing()),
        }
    }
}

/// What taking a rule away came to.
#[derive(Debug)]
pub struct Shown {
    /// What was to be shown.
    pub demonstration: Demonstration,
    /// The promise that was broken first, and how.
    pub broken: Option<(Property, Vec<String>)>,
}

impl Shown {
    /// Takes each rule away in turn, within small bounds.
    pub fn all(threads: usize) -> impl Iterator<Item = Self> {
        DEMONSTRATIONS.iter().map(move |demonstration| Self::of(*demonstration, threads))
    }

    /// Takes a rule away within small bounds.
    ///
    /// # Panics
    ///
    /// Where there is no scenario of the name.
    pub fn of(demonstration: Demonstration, threads: usize) -> Self {
        let scenario = Scenario::find(demonstration.scenario).expect("a scenario of the table");
        let world = World::new(scenario.small(), Some(demonstration.mutation));
        let outcome = search(&world, threads, STATES_MAX, &|_| {});
        let broken = match outcome.end {
            End::Broken { property, run } => Some((property, run)),
            End::Exhausted | End::TooMany => None,
        };
        Self { demonstration, broken }
    }

    /// Whether the promise failed that the rule is there for.
    pub fn holds(&self) -> bool {
        self.broken.as_ref().is_some_and(|(property, _)| *property == self.demonstration.breaks)
    }

    /// One line of the table.
    pub fn line(&self) -> String {
        let Demonstration { mutation, breaks, .. } = self.demonstration;
        let mutation = format!("{mutation:?}");
        match &self.broken {
            Some((property, run)) if *property == breaks => {
                format!("{mutation:<24}breaks \"{breaks}\" in {} steps", run.len())
            }
            Some((property, run)) => {
                format!("{mutation:<24}BREAKS \"{property}\", NOT \"{breaks}\"{}", told(run))
            }
            None => format!("{mutation:<24}BREAKS NOTHING, not even \"{breaks}\""),
        }
    }

    /// The same for machines.
    pub fn json(&self) -> String {
        let Demonstration { mutation, scenario, breaks } = self.demonstration;
        json!({
            "mutation": format!("{mutation:?}"),
            "scenario": scenario,
            "breaks": breaks.to_string(),
            "holds": self.holds(),
            "run": self.broken.as_ref().map(|(_, run)| run),
        })
        .to_string()
    }
}

/// A number as people read it: `1,234,567`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Prints one line; a closed pipe is the reader's business.
pub fn say(line: &str) {
    let _shown = writeln!(std::io::stdout(), "{line}");
}

fn told(run: &[String]) -> String {
    let steps = run.iter().zip(1..).map(|(step, number)| format!("\n  {number:>2}. {step}"));
    steps.collect()
}

#[expect(clippy::disallowed_methods, reason = "the report says how long each scenario took")]
fn now() -> Instant {
    Instant::now()
}

/// What fits into six gigabytes, with those states that are not explored yet.
const STATES_MAX: usize = 30_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
