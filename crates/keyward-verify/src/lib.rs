//! Verification of Keyward's access tokens, in the service where they are used.
//!
//! Start with [`Verifier`].

mod verifier;

mod policy;
mod refusal;
mod revocations;

mod keys;

#[cfg(any(feature = "axum", feature = "http-client"))]
mod clock;
#[cfg(feature = "http-client")]
mod feed;
#[cfg(feature = "axum")]
mod http;
#[cfg(feature = "http-client")]
mod remote;
#[cfg(feature = "http-client")]
mod troubles;

#[cfg(feature = "axum")]
pub use self::http::{
    Caller, Denial, RequireRole, RequireStepUp, Role, StepUp, Verify, VerifyLayer,
};
pub use keyward_core::access_token::{Algorithm, Claims};
pub use keyward_core::id::{SessionId, UserId};
#[cfg(feature = "http-client")]
pub use keyward_core::service_key::ServiceKey;
pub use keyward_core::time::Timestamp;
pub use policy::{VerifyPolicy, WhenStale};
pub use refusal::Refusal;
#[cfg(feature = "http-client")]
pub use remote::{Source, UnfitSource};
pub use revocations::{Full, Revocation, Revocations, Revoked};
pub use verifier::{Status, Verifier};
