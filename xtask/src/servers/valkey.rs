//! A private Valkey, or the Redis of a system that has no package of Valkey.

use std::fs;
use std::path::PathBuf;

use super::{Server, as_servant, find, folder, free_port, install};
use crate::steps::Failure;

/// Where its program is, installed where it was missing. Tests start servers of their own from it,
/// which they stop and stall as no shared one could be.
pub(super) fn program() -> Result<PathBuf, Failure> {
    if installed().is_none() {
        install(&["valkey-server | redis-server"])?;
    }
    installed().ok_or_else(|| {
        Failure(
            "Valkey is installed, but neither `valkey-server` nor `redis-server` is found."
                .to_owned(),
        )
    })
}

/// Starts one that asks for a password and writes nothing to the disk.
pub(super) fn start() -> Result<Server, Failure> {
    let program = program()?;
    let (folder, port) = (folder::make("valkey")?, free_port()?);
    let settings = folder.join("valkey.conf");
    // A file, since whoever may list processes sees their arguments.
    let text = format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave \"\"\nappendonly no\ndir {}\n",
        folder.display()
    );
    fs::write(&settings, text)
        .map_err(|error| Failure(format!("{} cannot be written: {error}.", settings.display())))?;
    folder::hand_over(&folder)?;
    let mut command = as_servant(&program, END);
    Server::run("valkey", (command.arg(settings), END), port, folder)
}

/// The server with its password.
pub(super) fn url(port: u16) -> String {
    format!("redis://:{PASSWORD}@127.0.0.1:{port}")
}

fn installed() -> Option<PathBuf> {
    ["valkey-server", "redis-server"].into_iter().find_map(find)
}

/// It has nothing to save.
const END: &str = "KILL";

/// It listens on loopback only, for as long as the tests run.
const PASSWORD: &str = "for-tests-alone";
