//! Keyward: sign-in, short-lived access tokens, rotating refresh tokens, sessions and their
//! revocation.

pub mod policy;
pub mod store;

pub use keyward_core as core;
