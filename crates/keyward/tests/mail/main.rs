//! Mails, from the request that causes one to the link in it: verified addresses, forgotten
//! passwords, notices, and the way by a mail server.

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../common/mod.rs"]
mod common;

mod delivery;
mod forgot;
mod new_device;
mod notices;
mod post;
mod register;
mod registrants;
mod server;
mod squatters;
mod tls;
mod unverified;
mod verify;
