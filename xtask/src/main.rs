//! The habits of the house, one file per command.

mod bench;
mod clients;
mod common_passwords;
mod fuzz;
mod gates;
mod interop;
mod peers;
mod prove;
mod simulate;
mod test;
mod upgrade;

mod deny;
mod servers;
mod steps;

use std::process::ExitCode;

use steps::{Failure, say, warn};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(help) = help_for(&arguments) {
        say(&help);
        return ExitCode::SUCCESS;
    }
    let Some(command) = Command::find(&arguments) else {
        warn(&usage());
        return ExitCode::from(EXIT_USAGE);
    };
    match (command.run)(&arguments[1..]) {
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
    /// What its own arguments are; none where it takes none.
    arguments: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

impl Command {
    /// The command that the arguments name, if it takes those that follow.
    fn find(arguments: &[String]) -> Option<&'static Self> {
        let (name, rest) = arguments.split_first()?;
        let command = COMMANDS.iter().find(|command| command.name == name)?;
        (rest.is_empty() || !command.arguments.is_empty()).then_some(command)
    }

    /// How it is called, and what for.
    fn entry(&self) -> String {
        let Self { name, arguments, summary, .. } = self;
        let call = format!("{name} {arguments}");
        format!("{}\n      {summary}", call.trim_end())
    }
}

/// What is shown where help is asked for: about the command that is named, or about all.
fn help_for(arguments: &[String]) -> Option<String> {
    let name = arguments.first()?;
    if HELP.contains(&name.as_str()) {
        return Some(usage());
    }
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    let is_asked = arguments.iter().any(|argument| HELP.contains(&argument.as_str()));
    is_asked.then(|| format!("Usage: cargo xtask {}", command.entry()))
}

fn usage() -> String {
    let mut text = "Usage: cargo xtask COMMAND\n".to_owned();
    for command in COMMANDS {
        text.push_str(&format!("\n  {}", command.entry()));
    }
    text
}

fn help(_: &[String]) -> Result<(), Failure> {
    say(&usage());
    Ok(())
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        arguments: "",
        summary: "builds and runs every test",
        run: |_| test::run(),
    },
    Command {
        name: "gates",
        arguments: "",
        summary: "checks formatting, lints, documentation and dependencies",
        run: |_| gates::run(),
    },
    Command {
        name: "bench",
        arguments: "[--store postgres [--only PART]] [--sessions N] [--rounds N] [--seconds N] \
                    [--json] | --only timing [--samples N] [--json] | --only verify",
        summary: "measures the service, or verification, beside what bounds it",
        run: bench::run,
    },
    Command {
        name: "fuzz",
        arguments: "[TARGET]... [--seconds N] [--keep] [--json]",
        summary: "looks for inputs that break a promise, each target for a minute",
        run: fuzz::run,
    },
    Command {
        name: "common-passwords",
        arguments: "",
        summary: "writes the list of most used passwords as the core embeds it",
        run: |_| common_passwords::run(),
    },
    Command {
        name: "interop",
        arguments: "",
        summary: "installs the verifiers of other makes, for the tests that talk to them",
        run: |_| interop::run(),
    },
    Command {
        name: "prove",
        arguments: "[--only SCENARIO] [--small] [--json]",
        summary: "explores every run of the rotation within bounds",
        run: prove::run,
    },
    Command {
        name: "simulate",
        arguments: "[--seed N | --histories N]",
        summary: "plays one history step by step, or more than the test does",
        run: simulate::run,
    },
    Command {
        name: "storm",
        arguments: "[--rounds N] [--seed S] [--json]",
        summary: "plays ten tabs of Chromium through bad weather: not one is signed out",
        run: clients::storm,
    },
    Command {
        name: "upgrade",
        arguments: "",
        summary: "runs the version before beside the present one on the present schema",
        run: |_| upgrade::run(),
    },
    Command { name: "help", arguments: "", summary: "shows this list", run: help },
];

const HELP: [&str; 2] = ["--help", "-h"];

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
        check(&["bench", "--rounds", "3"], Some("bench"));
        check(&["prove", "--only", "theft"], Some("prove"));
    }

    #[test]
    fn every_command_explains_itself_and_does_nothing() {
        let help = |words: &[&str]| {
            help_for(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        for Command { name, summary, .. } in COMMANDS {
            let text = help(&[name, "--help"]).expect("help was asked for");
            assert!(text.starts_with(&format!("Usage: cargo xtask {name}")), "{text}");
            assert!(text.contains(summary), "{text}");
            assert_eq!(help(&[name]), None);
        }
        assert_eq!(help(&["-h"]), Some(usage()));
        assert_eq!(help(&["bench", "--rounds", "3", "-h"]), help(&["bench", "--help"]));
        assert_eq!(help(&["benches", "--help"]), None);
        assert_eq!(help(&[]), None);
    }

    #[test]
    fn usage_lists_every_command() {
        let usage = usage();
        for command in COMMANDS {
            assert!(usage.contains(command.name) && usage.contains(command.summary));
        }
    }
}
