//! `cargo xtask bench`: builds the service as it is released and measures it.

use crate::peers;
use crate::servers::{DurablePostgres, PrivateValkey};
use crate::steps::{Failure, Steps, cargo};

/// Builds both programs and runs the measurement; what follows the command is the measurement's,
/// but that `--store postgres` becomes the URL of a private server, and is given a private Valkey
/// beside it where the nodes are measured. `--only verify` measures the
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
            let valkey = uses_valkey(&arguments).then(PrivateValkey::start).transpose()?;
            if let Some(valkey) = &valkey {
                arguments.extend(["--shared".to_owned(), valkey.url()]);
            }
            Some((server, valkey))
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

/// Whether two nodes are measured, and no Valkey is named that they should share.
fn uses_valkey(arguments: &[String]) -> bool {
    let only = arguments.iter().position(|argument| argument == "--only");
    let part = only.and_then(|at| arguments.get(at + 1));
    part.is_none_or(|part| part == "nodes")
        && !arguments.iter().any(|argument| argument == "--shared")
}
