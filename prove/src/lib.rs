//! Checks what the rotation promises over every run of the real code within stated bounds.
//!
//! Tests try runs that somebody thought of, or that chance brought up. Here all of them are tried:
//! from one sign-in on, whatever an honest client, a network, a crashing server, a thief, a
//! stranger and an operator can do in any order. Where a token is issued, sealed, swapped or
//! decided about, the code of `keyward-core` runs, not a copy of its rules.
//!
//! - [`scenario`]: who acts, and within which bounds.
//! - [`mutation`]: what must hold, and the rules that are taken away to see it fail.
//! - [`rules`]: the real code, asked each question once.
//! - [`state`]: what a moment is made of.
//! - [`world`]: the model, with its `server`, its `browser` and its `intruders`.
//! - [`checker`]: the search through all states.
//! - [`run`]: explores, and says what came of it.
//!
//! `BOUNDS.md` says how far it goes, and what it does not show.

pub mod scenario;

pub mod mutation;

pub mod rules;
pub mod state;
pub mod world;

mod browser;
mod intruders;
mod server;

pub mod checker;
pub mod mix;
pub mod set;

pub mod run;
