//! `cargo xtask simulate`: the simulated histories of the service, one by one or by the thousand.

use crate::steps::{Failure, Steps, cargo};
use crate::test::run_named;

/// Plays the history of one seed and prints its steps, or plays many and says how far it is.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let simulation = Simulation::parse(arguments).ok_or_else(|| {
        Failure("Usage: cargo xtask simulate [--seed N | --histories N]; N is a number.".to_owned())
    })?;
    let mut command = cargo(&["test", "-p", "keyward", "--test", "simulation", "--"]);
    command.args(["--nocapture", "--exact", simulation.test]);
    if let Some((variable, number)) = simulation.asked {
        command.env(variable, number.to_string());
    }
    let advice = "The promise that broke and the seed of the history are named above.";
    run_named(&mut Steps::default(), "simulate", &mut command, advice)
}

/// A test of the simulation, and what it is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Simulation {
    test: &'static str,
    asked: Option<(&'static str, u64)>,
}

impl Simulation {
    fn parse(arguments: &[String]) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words[..] {
            [] => Some(Self { test: MANY, asked: None }),
            ["--seed", number] => {
                Some(Self { test: ONE, asked: Some((SEED, number.parse().ok()?)) })
            }
            ["--histories", number] => {
                Some(Self { test: MANY, asked: Some((HISTORIES, number.parse().ok()?)) })
            }
            _ => None,
        }
    }
}

const ONE: &str = "a_seed_is_one_history";
const MANY: &str = "histories_on_sqlite_keep_every_promise";
const SEED: &str = "KEYWARD_SIMULATION_SEED";
const HISTORIES: &str = "KEYWARD_SIMULATION_HISTORIES";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Option<Simulation>) {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(Simulation::parse(&arguments), expected);
    }

    #[test]
    fn one_history_or_many_are_asked_for() {
        check(&[], Some(Simulation { test: MANY, asked: None }));
        check(&["--seed", "7"], Some(Simulation { test: ONE, asked: Some((SEED, 7)) }));
        let many = Simulation { test: MANY, asked: Some((HISTORIES, 9)) };
        check(&["--histories", "9"], Some(many));
        check(&["--seed"], None);
        check(&["--seed", "x"], None);
        check(&["--seed", "1", "--histories", "2"], None);
    }

    #[test]
    fn the_named_tests_are_there() {
        let path = crate::steps::root().join("crates/keyward/tests/simulation/main.rs");
        let source = std::fs::read_to_string(path).expect("the simulation");
        for name in [ONE, MANY, SEED, HISTORIES] {
            assert!(source.contains(name), "{name}");
        }
    }
}
