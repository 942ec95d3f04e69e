//! Verification beside other makes: a workspace of its own, for they bring their own cryptography.

use std::path::PathBuf;
use std::process::Command;

use crate::interop;
use crate::steps::{Failure, Steps, cargo, root};

/// Checks formatting and lints, which the workspace's checks do not reach.
pub(crate) fn check(steps: &mut Steps) -> Result<(), Failure> {
    let mut fmt = cargo(&["fmt", "--check", "--manifest-path"]);
    steps.run(
        "formatting of peers",
        fmt.arg(manifest()),
        "Run `cargo fmt --manifest-path bench/peers/Cargo.toml` and look at what it changed.",
    )?;
    steps.run(
        "lints of peers",
        peers(&["clippy", "--locked", "--all-targets"]).args(["--", "-D", "warnings"]),
        "Mend what clippy names; where it is wrong, use `#[expect(lint, reason = \"...\")]`.",
    )
}

/// Compares verdicts.
pub(crate) fn test(steps: &mut Steps) -> Result<(), Failure> {
    steps.run(
        "other makes",
        &mut peers(&["test", "--locked"]),
        "A token that ours alone accepts is named above: find out who is right before all else.",
    )
}

/// Compares costs.
pub(crate) fn measure(steps: &mut Steps) -> Result<(), Failure> {
    let folder = interop::install(steps)?;
    let mut measure = peers(&["run", "--quiet", "--locked", "--release"]);
    interop::name_to(&mut measure, &folder);
    steps.run("verify", &mut measure, "The line above says why; a busy machine is no reason.")
}

fn peers(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.arg("--manifest-path").arg(manifest());
    // What both build alike is built once.
    command.arg("--target-dir").arg(root().join("target"));
    command
}

fn manifest() -> PathBuf {
    root().join("bench/peers/Cargo.toml")
}
