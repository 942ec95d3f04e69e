//! The whole service as a process: killed, stopped, short of disk, read over TLS, changed by the
//! command line beside it, drilled, searched for secrets, and as the README shows it.

mod browser;
mod client;
#[cfg(feature = "postgres")]
mod database;
mod nodes;
mod over;
mod place;
mod random;
mod unwatchful;

mod command_line;
mod crash;
mod disk_full;
mod drill;
mod feed;
mod keys;
mod lost_answers;
#[cfg(feature = "postgres")]
mod many_nodes;
#[cfg(feature = "postgres")]
mod postgres;
mod readme;
mod secrets;
mod shutdown;
mod tls;
mod verify;
