//! `cargo xtask prove`: explores every run of the rotation within bounds.

use crate::steps::{Failure, Steps, cargo};

/// Builds the model and explores it; what follows the command is the model's.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    let mut explore = cargo(&["run", "--quiet", "--profile", "bench", "-p", "keyward-prove", "--"]);
    explore.args(arguments);
    steps.run(
        "prove",
        &mut explore,
        "The steps above lead to the broken promise; prove/BOUNDS.md says what each one means.",
    )
}
