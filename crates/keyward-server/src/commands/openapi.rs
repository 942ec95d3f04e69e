//! `keyward openapi`.

use keyward::http;
use serde_json::Value;

use crate::config::Overrides;
use crate::failure::Failure;
use crate::output;

/// Prints the description of the configured service's interface, as the service answers it. Asks no
/// store and no service.
pub(super) fn run(overrides: &Overrides) -> Result<(), Failure> {
    let configuration = super::configuration(overrides)?;
    let description = http::openapi(&configuration.policy).map_err(|_| {
        Failure::new("No browser would keep cookies of these names; mend the section [cookies].")
    })?;
    let description: Value = serde_json::from_str(&description)
        .map_err(|error| Failure::new(format!("The description is no JSON ({error}).")))?;
    Ok(output::line(&format!("{description:#}"))?)
}
