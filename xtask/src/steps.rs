//! A command is a row of steps: each says what it runs, and the first that fails ends the row with
//! a sentence about what to do next.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// The steps done so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs a program to its end. `advice` is the sentence for whoever sees it fail.
    pub(crate) fn run(
        &mut self,
        title: &str,
        command: &mut Command,
        advice: &str,
    ) -> Result<(), Failure> {
        self.run_with(title, command, advice, Command::status)
    }

    /// As [`Steps::run`], for a program that `run` starts and listens to.
    pub(crate) fn run_with(
        &mut self,
        title: &str,
        command: &mut Command,
        advice: &str,
        run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
    ) -> Result<(), Failure> {
        say(&format!("==> {title}: {}", spell(command)));
        let start = now();
        let status = run(command).map_err(|error| {
            Failure(format!("{title}: `{}` could not be run: {error}.", spell(command)))
        })?;
        if !status.success() {
            return Err(Failure(format!("{title} failed. {advice}")));
        }
        self.done.push((title.to_owned(), start.elapsed()));
        Ok(())
    }

    /// Prints what was done and how long each step took.
    pub(crate) fn summarise(&self) {
        say("");
        for (title, duration) in &self.done {
            say(&format!("{title:<16}{:>7.1} s", duration.as_secs_f64()));
        }
        let total: Duration = self.done.iter().map(|(_, duration)| duration).sum();
        say(&format!("{:<16}{:>7.1} s", "all passed", total.as_secs_f64()));
    }
}

/// Why a command stopped, and what to do about it: for a person.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A call of cargo in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Prints a line for the person who runs the command.
#[expect(clippy::print_stdout, reason = "the commands speak to the person who runs them")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Prints a line about something that went wrong.
#[expect(clippy::print_stderr, reason = "the commands speak to the person who runs them")]
pub(crate) fn warn(line: &str) {
    eprintln!("{line}");
}

/// A command as it would be typed.
fn spell(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[expect(clippy::disallowed_methods, reason = "the summary says how long each step took")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_says_what_to_do_and_is_not_counted() {
        let mut steps = Steps::default();
        steps.run("version", &mut cargo(&["--version"]), "Never seen.").expect("cargo is there");
        let failure = steps
            .run("nonsense", &mut cargo(&["--no-such-option"]), "Do this next.")
            .expect_err("the option does not exist");
        assert_eq!(failure.to_string(), "nonsense failed. Do this next.");
        assert_eq!(steps.done.len(), 1);
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let mut missing = Command::new("keyward-no-such-program");
        let failure = Steps::default()
            .run("step", missing.arg("now"), "Never seen.")
            .expect_err("the program does not exist");
        assert!(failure.to_string().contains("`keyward-no-such-program now` could not be run"));
    }
}
