//! `cargo xtask bench`: builds the service as it is released and measures it.

use crate::peers;
use crate::servers::DurablePostgres;
use crate::steps::{Failure, Steps, cargo};

/// Builds both programs and runs the measurement; what follows the command is the measurement's,
/// but that `--store postgres` becomes the URL of a private server. `--only verify` measures the
/// verification in other services instead.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    if arguments.windows(2).any(|pair| pair == ["--only", "verify"]) {
        return match arguments.len() {
            2 => peers::measure(&mut steps),
            _ => Err(Failure("`--only verify` takes nothing else with it.".to_owned())),
        };
    }
    steps.run(
        "build",
        &mut cargo(&["build", "--release", "-p", "keyward-server", "-p", "keyward-bench"]),
        "Mend what the compiler names first.",
    )?;
    let mut arguments = arguments.to_vec();
    let store = arguments.iter().position(|argument| argument == "--store").map(|at| at + 1);
    let private = match store.and_then(|at| arguments.get_mut(at)) {
        Some(store) if store == "postgres" => {
            let server = DurablePostgres::start()?;
            *store = server.url();
            Some(server)
        }
        _ => None,
    };
    let mut measure = cargo(&["run", "--quiet", "--release", "-p", "keyward-bench", "--"]);
    DurablePostgres::lend_programs(measure.args(arguments));
    let advice = "The line above says why; a busy machine is no reason.";
    let outcome = steps.run("bench", &mut measure, advice);
    drop(private);
    outcome
}
