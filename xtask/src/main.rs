//! The habits of the house, one file per command: `cargo xtask test`, `cargo xtask gates`.

mod gates;
mod test;

mod deny;
mod steps;

use std::process::ExitCode;

use steps::{Failure, say, warn};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(command) = Command::find(&arguments) else {
        warn(&usage());
        return ExitCode::from(EXIT_USAGE);
    };
    match (command.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            warn(&format!("\n{failure}"));
            ExitCode::FAILURE
        }
    }
}

/// One thing that `cargo xtask` can be asked for.
struct Command {
    name: &'static str,
    summary: &'static str,
    run: fn() -> Result<(), Failure>,
}

impl Command {
    /// The command that the arguments name. None of them takes arguments of its own.
    fn find(arguments: &[String]) -> Option<&'static Self> {
        let [name] = arguments else { return None };
        COMMANDS.iter().find(|command| command.name == name)
    }
}

fn usage() -> String {
    let mut text = "Usage: cargo xtask COMMAND\n".to_owned();
    for command in COMMANDS {
        text.push_str(&format!("\n  {:<8}{}", command.name, command.summary));
    }
    text
}

fn help() -> Result<(), Failure> {
    say(&usage());
    Ok(())
}

const COMMANDS: &[Command] = &[
    Command { name: "test", summary: "builds and runs every test", run: test::run },
    Command {
        name: "gates",
        summary: "checks formatting, lints, documentation and dependencies",
        run: gates::run,
    },
    Command { name: "help", summary: "shows this list", run: help },
];

const EXIT_USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Option<&str>) {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(Command::find(&arguments).map(|command| command.name), expected);
    }

    #[test]
    fn a_command_is_one_known_word() {
        check(&["test"], Some("test"));
        check(&["gates"], Some("gates"));
        check(&[], None);
        check(&["tests"], None);
        check(&["test", "--fast"], None);
    }

    #[test]
    fn usage_lists_every_command() {
        let usage = usage();
        for command in COMMANDS {
            assert!(usage.contains(command.name) && usage.contains(command.summary));
        }
    }
}
