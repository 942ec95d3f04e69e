//! Keyward: sign-in, short-lived access tokens, rotating refresh tokens, sessions and their
//! revocation.
//!
//! A request comes in through [`http`], [`service`] sees it whole, [`store`] carries it out, and
//! the rules are all in [`keyward_core`]. [`policy`] holds every value that steers it.

pub mod service;

pub mod policy;

pub mod http;

pub mod store;

pub mod feed;
pub mod hashing;
pub mod limits;
pub mod mail;
mod metrics;
pub mod rejections;

pub mod shared;

pub mod breached;
pub mod clock;
mod device_label;
pub mod entropy;
mod said_once;

pub use keyward_core;
