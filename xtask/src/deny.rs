//! cargo-deny: which crates, licences and sources may enter the dependency graph (`deny.toml`).

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::steps::{Failure, Steps, cargo, root, say};

/// Installs cargo-deny where it is missing and runs its checks.
///
/// Advisories need a database from the network. Where that cannot be fetched the other checks
/// count alone: a machine without network must be able to pass the gates.
pub(crate) fn check(steps: &mut Steps) -> Result<(), Failure> {
    if !is_installed() {
        install(steps)?;
    }
    steps.run(
        "dependencies",
        &mut deny(&["check", "bans", "licenses", "sources"]),
        "`deny.toml` says what may enter the dependency graph, and why.",
    )?;
    if !fetch_advisories().is_ok_and(|status| status.success()) {
        say("==> advisories: left out, since their database could not be fetched");
        return Ok(());
    }
    steps.run(
        "advisories",
        &mut deny(&["check", "--disable-fetch", "advisories"]),
        "Update the crate, or list the advisory in `deny.toml` with the reason it cannot hurt.",
    )
}

fn is_installed() -> bool {
    let expected = format!("cargo-deny {VERSION}");
    deny(&["--version"])
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == expected)
}

fn install(steps: &mut Steps) -> Result<(), Failure> {
    // Without optimisation: it is built once and run for a second.
    let mut command =
        cargo(&["install", "cargo-deny", "--locked", "--debug", "--version", VERSION]);
    steps.run(
        "cargo-deny",
        command.arg("--root").arg(tools()),
        "Installing it needs the network once, and a C compiler.",
    )
}

/// Tries once to bring the advisories up to date, for twenty seconds at most.
fn fetch_advisories() -> io::Result<ExitStatus> {
    let child = deny(&["fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait_or_kill(child, 200, Duration::from_millis(100))
}

/// Looks `polls_max` times whether the child has ended, `poll` apart, then ends it.
fn wait_or_kill(mut child: Child, polls_max: u32, poll: Duration) -> io::Result<ExitStatus> {
    for _ in 0..polls_max {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(poll);
    }
    child.kill()?;
    child.wait()
}

fn deny(arguments: &[&str]) -> Command {
    let mut command = Command::new(tools().join("bin").join("cargo-deny"));
    command.args(arguments).current_dir(root());
    command
}

/// Where the workspace keeps its own tools: not in the home folder of whoever builds it.
fn tools() -> PathBuf {
    root().join("target").join("tools")
}

const VERSION: &str = "0.20.2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        // Waits for input for as long as this side of the pipe is open.
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat is there");
        let status = wait_or_kill(child, 3, Duration::ZERO).expect("it can be ended");
        assert!(!status.success());
    }

    #[test]
    fn a_child_that_ends_in_time_tells_how() {
        let child = cargo(&["--version"]).stdout(Stdio::null()).spawn().expect("cargo is there");
        let status = wait_or_kill(child, u32::MAX, Duration::ZERO).expect("it can be waited for");
        assert!(status.success());
    }
}
