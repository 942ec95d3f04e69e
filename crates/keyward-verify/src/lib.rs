//! Verification of Keyward's access tokens, in the service where they are used.
//!
//! Start with [`Verifier`].

mod verifier;

mod policy;
mod refusal;
mod revocations;

mod keys;

pub use keyward_core::access_token::{Algorithm, Claims};
pub use keyward_core::id::{SessionId, UserId};
pub use keyward_core::time::Timestamp;
pub use policy::{VerifyPolicy, WhenStale};
pub use refusal::Refusal;
pub use revocations::{Full, Revocation, Revocations, Revoked};
pub use verifier::{Status, Verifier};
