//! `keyward openapi`.

use serde_json::Value;

use crate::config::Overrides;
use crate::failure::Failure;
use crate::{output, serve};

/// Prints the description of the configured service's interface, as the service answers it. Asks no
/// store and no service.
pub(super) fn run(overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let description = serve::description(&configuration.policy)?;
    let description: Value = serde_json::from_str(&description)
        .map_err(|error| Failure::new(format!("The description is no JSON ({error}).")))?;
    Ok(output::line(&format!("{description:#}"))?)
}
