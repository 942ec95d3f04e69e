//! Keyward: sign-in, short-lived access tokens, rotating refresh tokens, sessions and their
//! revocation.

pub mod policy;
pub mod store;

pub mod http;

pub mod hashing;
pub mod limits;
pub mod rejections;

pub mod clock;
pub mod entropy;

pub use keyward_core as core;
