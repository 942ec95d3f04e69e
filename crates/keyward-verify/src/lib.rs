//! Verifies Keyward's access tokens in the services that receive them.
//!
//! A verdict is made from memory alone: the published keys, and which sessions and users were
//! revoked. So a token is refused moments after its session ended, and nobody is asked while a
//! request waits. What is not known is refused: before the first word of the issuing service, and
//! once it has been silent for too long ([`WhenStale`]).
//!
//! ```
//! # use keyward_core::keys::{SigningKey, generate_pkcs8};
//! # use keyward_verify::Algorithm;
//! use keyward_verify::{Refusal, Timestamp, Verifier, VerifyPolicy};
//!
//! # let key = SigningKey::parse(Algorithm::Es256, &generate_pkcs8(Algorithm::Es256)?)?;
//! # let key_set = format!(r#"{{"keys":[{}]}}"#, key.jwk().unwrap());
//! let verifier = Verifier::new(VerifyPolicy::new("https://auth.example.org", "https://api"));
//! let now = Timestamp::from_secs(1_800_000_000);
//! verifier.take_up_keys(key_set.as_bytes(), now)?;
//! verifier.revocations().hear(now);
//! assert_eq!(verifier.verify("none.of.ours", now), Err(Refusal::Invalid));
//! # Ok::<(), keyward_core::keys::UnfitKey>(())
//! ```
//!
//! Where to start reading:
//!
//! - [`Verifier`]: the verdict. [`VerifyPolicy`] steers it, [`Refusal`] is why not.
//! - [`Revocations`]: the live set, and how long ago its source was heard.
//! - Feature `http-client`: `Verifier::run` fetches keys and follows revocations from a `Source`;
//!   `Verifier::authenticate` waits for the key of a token, where it is new.
//! - Feature `axum`: `VerifyLayer` before routes; `Caller`, `RequireRole` and `RequireStepUp` in
//!   their signatures.

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

#[cfg(feature = "http-client")]
pub use self::feed::{Connected, Feed, Garbled};
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
pub use revocations::{Full, Revocation, Revocations, RevokedSubject};
pub use verifier::{Status, Verifier};
