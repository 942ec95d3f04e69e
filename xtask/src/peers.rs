//! Verification beside other makes: a workspace of its own, for they bring their own cryptography.

use std::process::Command;

use crate::steps::{Failure, Steps, cargo, root};

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
    steps.run(
        "verify",
        &mut peers(&["run", "--quiet", "--locked", "--release"]),
        "The line above says why; a busy machine is no reason.",
    )
}

fn peers(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.arg("--manifest-path").arg(root().join("bench/peers/Cargo.toml"));
    // What both build alike is built once.
    command.arg("--target-dir").arg(root().join("target"));
    command
}
