//! The second factor: codes of an authenticator app, recovery codes, and the token that a sign-in
//! goes on with between password and code.
//!
//! - [`TotpSecret`]: what the app and the service share, and which codes are right (RFC 6238).
//! - [`RecoveryCode`]: for when the app is gone; each is good once.
//! - [`MfaToken`]: names a challenge, which is a sign-in whose password was right.
//!
//! A code of six digits is guessed with one try in some hundred thousand. It is the limits on
//! trying, which the service keeps in its store, that make it worth anything.

mod mfa_token;
mod recovery_code;
mod totp;

pub use mfa_token::{ForChallenge, MfaToken, MfaTokenHash};
pub use recovery_code::{RECOVERY_CODES, RecoveryCode, RecoveryCodeHash};
pub use totp::{TotpCode, TotpSecret};
