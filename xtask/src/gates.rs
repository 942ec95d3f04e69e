//! `cargo xtask gates`: what a change must pass besides its tests.

use std::process::Stdio;

use crate::clients;
use crate::deny;
use crate::peers;
use crate::steps::{Failure, Steps, cargo};

/// Checks formatting, lints, documentation and dependencies, in the order of how fast they answer.
pub(crate) fn run() -> Result<(), Failure> {
    require("fmt", "rustfmt")?;
    require("clippy", "clippy")?;

    let mut steps = Steps::default();
    steps.run(
        "formatting",
        &mut cargo(&["fmt", "--all", "--check"]),
        "Run `cargo fmt --all` and look at what it changed.",
    )?;
    deny::check(&mut steps)?;
    steps.run(
        "lints",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]),
        "Mend what clippy names; where it is wrong, use `#[expect(lint, reason = \"...\")]`.",
    )?;
    peers::check(&mut steps)?;
    clients::check(&mut steps)?;
    steps.run(
        "features",
        &mut cargo(&["check", "-p", "keyward-core", "--no-default-features"]),
        "The core must build without its features, as verifiers use it: gate what needs one.",
    )?;
    steps.run(
        "without servers",
        &mut cargo(&["check", "-p", "keyward-server", "--no-default-features"]),
        "The binary must build without its features, with SQLite alone: gate what needs one.",
    )?;
    for features in ["", "http-client", "axum"] {
        steps.run(
            "verifiers",
            &mut cargo(&["check", "-p", "keyward-verify", "--features", features]),
            "Each feature of keyward-verify must build by itself: gate what needs another.",
        )?;
    }
    steps.run(
        "documentation",
        cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
        "Mend the doc comments that rustdoc names; links to private items are among its reasons.",
    )?;
    steps.summarise();
    Ok(())
}

/// Refuses before the first step where a part of the toolchain is not installed.
fn require(subcommand: &str, component: &str) -> Result<(), Failure> {
    let found = cargo(&[subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found {
        return Ok(());
    }
    Err(Failure(format!(
        "`cargo {subcommand}` is not installed: run `rustup component add {component}`."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_component_is_named_with_the_command_that_adds_it() {
        let failure = require("no-such-subcommand", "clippy").expect_err("it does not exist");
        assert_eq!(
            failure.to_string(),
            "`cargo no-such-subcommand` is not installed: run `rustup component add clippy`."
        );
    }
}
