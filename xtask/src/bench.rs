//! `cargo xtask bench`: builds the service as it is released and measures it.

use crate::peers;
use crate::steps::{Failure, Steps, cargo};

/// Builds both programs and runs the measurement; what follows the command is the measurement's.
/// `--only verify` measures the verification in other services instead.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    if arguments == ["--only", "verify"] {
        return peers::measure(&mut steps);
    }
    steps.run(
        "build",
        &mut cargo(&["build", "--release", "-p", "keyward-server", "-p", "keyward-bench"]),
        "Mend what the compiler names first.",
    )?;
    let mut measure = cargo(&["run", "--quiet", "--release", "-p", "keyward-bench", "--"]);
    measure.args(arguments);
    steps.run("bench", &mut measure, "The line above says why; a busy machine is no reason.")
}
