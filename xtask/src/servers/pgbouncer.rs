//! A private PgBouncer in front of the private PostgreSQL, in transaction mode.

use std::fs;

use super::postgres::PASSWORD;
use super::{Server, as_servant, find, folder, free_port, install};
use crate::steps::Failure;

/// Starts it in front of the server on this port.
pub(super) fn start(server_port: u16) -> Result<Server, Failure> {
    if find("pgbouncer").is_none() {
        install(&["pgbouncer"])?;
    }
    let program = find("pgbouncer").ok_or_else(|| {
        Failure("PgBouncer is installed, but `pgbouncer` is not found.".to_owned())
    })?;
    let (folder, port) = (folder::make("pgbouncer")?, free_port()?);
    let (settings, users) = (folder.join("pgbouncer.ini"), folder.join("users"));
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={server_port}\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         pool_mode = transaction\nauth_type = scram-sha-256\nauth_file = {}\n\
         max_client_conn = 500\n",
        users.display()
    );
    fs::write(&settings, text)
        .and_then(|()| fs::write(&users, format!("\"postgres\" \"{PASSWORD}\"\n")))
        .map_err(|error| Failure(format!("{} cannot be written: {error}.", folder.display())))?;
    folder::hand_over(&folder)?;
    let mut command = as_servant(&program, END);
    Server::run("pgbouncer", (command.arg("-q").arg(settings), END), port, folder)
}

/// It has nothing to save, and would wait for its clients at any other signal.
const END: &str = "KILL";
