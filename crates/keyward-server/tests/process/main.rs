//! The whole service as a process, and several of them: killed, stopped, upgraded, short of disk,
//! with a server that fails, read over TLS and by verifiers, changed by the command line beside it,
//! drilled, moved to another store, searched for secrets, and as the README and the
//! guide for Express apps show it.

mod browser;
mod client;
#[cfg(feature = "postgres")]
mod database;
mod nodes;
mod over;
mod passwords;
mod place;
mod random;
mod unwatchful;

mod audit_chain;
#[cfg(feature = "postgres")]
mod cluster;
mod command_line;
mod crash;
mod disk_full;
mod drill;
#[cfg(feature = "postgres")]
mod faults;
mod feed;
mod import;
mod import_kills;
mod interop;
mod key_load;
mod keys;
mod lost_answers;
mod mail;
#[cfg(feature = "postgres")]
mod many_nodes;
mod metrics;
mod migrating;
#[cfg(feature = "postgres")]
mod postgres;
mod readme;
mod secrets;
mod shutdown;
mod slow_body;
#[cfg(feature = "postgres")]
mod store_copy;
mod threads;
mod tls;
#[cfg(feature = "postgres")]
mod upgrade;
#[cfg(feature = "valkey")]
mod valkey;
mod verify;
