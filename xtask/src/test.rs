//! `cargo xtask test`: builds and runs every test, with the servers that they need, and says how
//! many there were.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use crate::servers::{self, Servers};
use crate::steps::{Failure, Steps, cargo, say};
use crate::{clients, interop, peers};

/// Builds and runs unit tests, integration tests and the examples in doc comments.
pub(crate) fn run() -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.run(
        "build",
        &mut cargo(&["test", "--workspace", "--all-features", "--no-run"]),
        "Mend what the compiler names first.",
    )?;
    let verifiers = interop::install(&mut steps)?;
    let clients = clients::build(&mut steps)?;
    if servers::find("jq").is_none() {
        servers::install(&["jq"])?;
    }
    let servers = Servers::start()?;
    let mut tests = cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"]);
    servers.name_to(&mut tests);
    interop::name_to(&mut tests, &verifiers);
    let mut counts = Counts::default();
    let outcome = steps.run_with(
        "tests",
        &mut tests,
        "The failed ones are listed above; `cargo test NAME` runs one alone.",
        |command| count(command, &mut counts),
    );
    drop(servers);
    say(&format!("\n{counts}"));
    outcome?;
    counts.judge()?;
    peers::test(&mut steps)?;
    clients::test(&mut steps, &clients)?;
    steps.summarise();
    Ok(())
}

/// Runs tests by name as a step, which fails where none has that name.
pub(crate) fn run_named(
    steps: &mut Steps,
    title: &str,
    command: &mut Command,
    advice: &str,
) -> Result<(), Failure> {
    let mut counts = Counts::default();
    steps.run_with(title, command, advice, |command| count(command, &mut counts))?;
    counts.judge()
}

/// Runs the tests, shows what they print and adds up what they say about themselves.
fn count(command: &mut Command, counts: &mut Counts) -> io::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            counts.add(&line);
            say(&line);
        }
    }
    child.wait()
}

/// What all test programs together said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Takes in a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) =
            line.strip_prefix("test result: ").and_then(|line| line.split_once(". "))
        else {
            return;
        };
        for number in numbers.split("; ") {
            match number.split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                Some((count, "ignored")) => self.ignored += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// Refuses a run that proves less than it seems to.
    fn judge(&self) -> Result<(), Failure> {
        if self.passed == 0 {
            return Err(Failure(
                "No test ran: `cargo test` printed no result, or found none of that name."
                    .to_owned(),
            ));
        }
        if self.ignored > 0 {
            return Err(Failure(
                "A test is ignored: mend it or remove it, so that the count can be trusted."
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(lines: &[&str]) -> Counts {
        let mut counts = Counts::default();
        for line in lines {
            counts.add(line);
        }
        counts
    }

    #[test]
    fn results_add_up_and_other_lines_do_not_count() {
        let counts = counts(&[
            "running 12 tests",
            "test a::b ... ok",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out",
            "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(counts, Counts { passed: 15, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_name_that_no_test_has_is_refused() {
        let mut nothing = cargo(&["--version"]);
        let ran = run_named(&mut Steps::default(), "named", &mut nothing, "Never seen.");
        let failure = ran.expect_err("no test ran");
        assert!(failure.to_string().starts_with("No test ran"), "{failure}");
    }

    #[test]
    fn a_run_without_tests_or_with_ignored_ones_is_refused() {
        assert!(Counts { passed: 1, failed: 0, ignored: 0 }.judge().is_ok());
        assert!(Counts::default().judge().is_err());
        assert!(Counts { passed: 1, failed: 0, ignored: 1 }.judge().is_err());
    }
}
