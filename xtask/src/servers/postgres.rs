//! A private PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::{POLL, POLLS_MAX, Server, as_servant, find, folder, free_port, install, run};
use crate::steps::Failure;

/// Makes a cluster and starts its server.
pub(super) fn start(durability: Durability) -> Result<Server, Failure> {
    if programs().is_none() {
        install(&["postgresql"])?;
    }
    let programs = programs().ok_or_else(|| {
        Failure("PostgreSQL is installed, but `initdb` and `postgres` are not found.".to_owned())
    })?;
    let folder = folder::make("postgres")?;
    let (data, password) = (folder.join("data"), folder.join("password"));
    fs::write(&password, PASSWORD)
        .map_err(|error| Failure(format!("{} cannot be written: {error}.", password.display())))?;
    folder::hand_over(&folder)?;
    run(as_servant(&programs.join("initdb"), END)
        .args(["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--locale=C"])
        .args(["--no-sync", "--no-instructions"])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(&data))?;
    let port = free_port()?;
    let mut command = serve(&programs, &data, port, durability);
    let server = Server::run("postgres", (&mut command, END), port, folder)?;
    wait_until_ready(&programs, port)?;
    Ok(server)
}

/// The server as whoever may do everything.
pub(super) fn url(port: u16) -> String {
    format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres")
}

fn serve(programs: &Path, data: &Path, port: u16, durability: Durability) -> Command {
    let mut command = as_servant(&programs.join("postgres"), END);
    command.arg("-D").arg(data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
    let relaxed = match durability {
        Durability::None => FORGETFUL_SETTINGS,
        Durability::Full => &[],
    };
    for setting in SETTINGS.iter().chain(relaxed) {
        command.args(["-c", setting]);
    }
    command
}

/// It listens before it has started up.
fn wait_until_ready(programs: &Path, port: u16) -> Result<(), Failure> {
    for _ in 0..POLLS_MAX {
        let ready = Command::new(programs.join("pg_isready"))
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .status();
        if ready.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    Err(Failure("PostgreSQL does not get ready; is the machine very busy?".to_owned()))
}

/// The folder of the server's programs and its clients': Debian has one for each version, the
/// newest of which is taken.
pub(super) fn programs() -> Option<PathBuf> {
    let on_path = find("initdb").and_then(|program| Some(program.parent()?.to_owned()));
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .collect();
    versions.sort_unstable();
    let newest_first = versions.into_iter().rev().map(|(_, programs)| programs);
    newest_first
        .chain(on_path)
        .find(|programs| ["initdb", "postgres"].iter().all(|name| programs.join(name).is_file()))
}

/// Whether a crash of the machine may take along what was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It may: nothing of a test has to be there afterwards.
    None,
    /// The server's own defaults.
    Full,
}

/// No socket in a shared folder.
const SETTINGS: &[&str] = &["unix_socket_directories=", "max_connections=500"];

const FORGETFUL_SETTINGS: &[&str] =
    &["fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB"];

/// It ends its own processes then, and writes nothing.
const END: &str = "QUIT";

/// It listens on loopback only, for as long as the tests run.
pub(super) const PASSWORD: &str = "for-tests-alone";
