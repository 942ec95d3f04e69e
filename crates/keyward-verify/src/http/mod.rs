//! Verification as a tower layer, and what axum handlers ask of a verified caller.

mod caller;
mod denial;
mod layer;

pub use caller::{Caller, RequireRole, RequireStepUp, Role, StepUp};
pub use denial::Denial;
pub use layer::{Verify, VerifyLayer};
