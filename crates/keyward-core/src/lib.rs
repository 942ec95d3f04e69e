//! The rules of Keyward.
//!
//! This crate decides and computes; it does no I/O, reads no clock, draws no randomness and looks
//! at no environment. Time and entropy come in as arguments, so that every rule can be called by a
//! test, a model checker or another store.
//!
//! Where to start reading:
//!
//! - [`rotation`]: what happens to a presented refresh token. One function, ten rows.
//! - [`session`]: the record that a decision speaks about.
//! - [`refresh_token`]: the opaque token, its tag, its hash and the sealed successor.
//! - [`opaque_token`], [`secret_hash`]: tokens that are found by their hash alone, and that hash.
//! - [`service_key`]: the key by which another service says who it is, and its scopes.
//! - [`one_time_token`]: what a mail carries, to be used once.
//! - [`device_token`]: by which a browser shows that an account has signed in with it before.
//! - [`second_factor`]: codes of an authenticator app, recovery codes, and the step between.
//! - [`access_token`]: the signed token that other services verify.
//! - [`keys`]: signing keys, JWKS, the life of a key, and how secrets are sealed at rest.
//! - [`audit`], [`csrf`], [`email`], [`limits`], `password`, [`text`]: one rule set each.
//! - [`id`], [`time`]: the types that all share. [`json`]: JSON, read strictly.

// A variant that is new must be thought about wherever it can appear.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod rotation;
pub mod session;

pub mod device_token;
pub mod one_time_token;
pub mod opaque_token;
pub mod refresh_token;
pub mod second_factor;
pub mod secret_hash;
pub mod service_key;

pub mod access_token;
pub mod keys;

pub mod audit;
pub mod csrf;
pub mod email;
pub mod limits;
#[cfg(feature = "password")]
pub mod password;

pub mod id;
pub mod json;
pub mod text;
pub mod time;

mod encoding;
mod named;
