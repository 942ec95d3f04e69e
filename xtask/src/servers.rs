//! The servers that tests and measurements talk to: those that the environment names, or else
//! private ones that are started for this run and go with it.
//!
//! No test is left out where there is no server: it is installed, or the run fails and says what to
//! install.

mod folder;
mod pgbouncer;
mod postgres;
mod valkey;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::steps::{Failure, say};
use postgres::Durability;

/// Every server, and the variables that tell the tests where each is.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    variables: Vec<(&'static str, String)>,
    private: Vec<Server>,
}

impl Servers {
    /// Finds or starts every server.
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut servers = Self::default();
        match [POSTGRES_URL, PGBOUNCER_URL].map(named) {
            [Some(_), Some(_)] => {}
            [None, None] => servers.start_postgres()?,
            [Some(_), None] | [None, Some(_)] => {
                return Err(Failure(format!(
                    "Set both {POSTGRES_URL} and {PGBOUNCER_URL}, which is a PgBouncer in front of \
                     it in transaction mode; or neither, to have private ones started."
                )));
            }
        }
        servers.start_valkey()?;
        Ok(servers)
    }

    /// Tells a command where the private servers are.
    pub(crate) fn name_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, url)| (name, url)));
    }

    fn start_postgres(&mut self) -> Result<(), Failure> {
        let server = postgres::start(Durability::None)?;
        let port = server.port;
        self.private.push(server);
        self.variables.push((POSTGRES_URL, postgres::url(port)));
        let pooler = pgbouncer::start(port)?;
        self.variables.push((PGBOUNCER_URL, postgres::url(pooler.port)));
        // Servers are stopped in this order: the pooler before what is behind it.
        self.private.insert(0, pooler);
        Ok(())
    }

    fn start_valkey(&mut self) -> Result<(), Failure> {
        if named(REDIS_URL).is_none() {
            let server = valkey::start()?;
            self.variables.push((REDIS_URL, valkey::url(server.port)));
            self.private.push(server);
        }
        self.variables.push((REDIS_SERVER, valkey::program()?.display().to_string()));
        Ok(())
    }
}

/// A private PostgreSQL that is as durable as any: for measurements.
#[derive(Debug)]
pub(crate) struct DurablePostgres {
    server: Server,
}

impl DurablePostgres {
    /// Makes a cluster in the folder for temporary files, and starts its server.
    pub(crate) fn start() -> Result<Self, Failure> {
        Ok(Self { server: postgres::start(Durability::Full)? })
    }

    /// As whoever may do everything.
    pub(crate) fn url(&self) -> String {
        postgres::url(self.server.port)
    }

    /// Lets a command find `psql` and `pgbench` of the server's version before any others.
    pub(crate) fn lend_programs(command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = postgres::programs().into_iter().chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
    }
}

/// A private Valkey, for measurements.
#[derive(Debug)]
pub(crate) struct PrivateValkey {
    server: Server,
}

impl PrivateValkey {
    /// Starts one that writes nothing to the disk.
    pub(crate) fn start() -> Result<Self, Failure> {
        Ok(Self { server: valkey::start()? })
    }

    /// The server with its password.
    pub(crate) fn url(&self) -> String {
        valkey::url(self.server.port)
    }
}

/// A private server, stopped and removed with this value.
#[derive(Debug)]
struct Server {
    process: Child,
    /// The signal that ends it at once.
    end: &'static str,
    port: u16,
    folder: PathBuf,
}

impl Server {
    /// Runs a command that serves on a port of loopback, in a folder of its own, until it answers.
    fn run(
        name: &str,
        (command, end): (&mut Command, &'static str),
        port: u16,
        folder: PathBuf,
    ) -> Result<Self, Failure> {
        say(&format!("==> {name}: a private one on port {port}"));
        let log = folder.join("log");
        let output = fs::File::create(&log)
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| Failure(format!("{} cannot be written: {error}.", log.display())))?;
        let process = command.stdin(Stdio::null()).stdout(output.0).stderr(output.1).spawn();
        let process =
            process.map_err(|error| Failure(format!("{name} cannot be started: {error}.")))?;
        let mut server = Self { process, end, port, folder };
        for _ in 0..POLLS_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.process.try_wait() {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(Failure(format!("{name} stopped at once ({status}):\n{log}")));
            }
            thread::sleep(POLL);
        }
        Err(Failure(format!("{name} does not answer; it may work when the machine is less busy.")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, without saving anything: the folder goes too.
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args([&format!("-{}", self.end), &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ended = self.process.kill();
        }
        let _status = self.process.wait();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

/// A command that is sent a signal when this process ends, however that ends, and does not run as
/// root, which servers refuse to. Where there is no `setpriv`, nobody is root, and it is ended only
/// where this process ends in good order.
fn as_servant(program: &Path, end: &str) -> Command {
    if !is_root() && find("setpriv").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", end]);
    if is_root() {
        let user = servant();
        // Not everywhere is there a group of the user's name.
        let group = id_of("-g", Some(user)).map_or_else(|| user.to_owned(), |id| id.to_string());
        command.args(["--reuid", user, "--regid", &group, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// Runs a command to its end, and shows what it said only where it failed.
fn run(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure(format!("`{program}` cannot be run: {error}.")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure(format!("`{program}` failed ({}):\n{said}", output.status)))
}

/// Installs packages where that is possible. Each may name others that would do: `this | that`.
pub(crate) fn install(packages: &[&str]) -> Result<(), Failure> {
    let wanted = packages.join(" and ").replace(" | ", " or ");
    if !is_root() || find("apt-get").is_none() {
        return Err(Failure(format!(
            "The tests need {wanted}: install the packages of these names, or, where these are \
             servers, set the variables of CONTRIBUTING.md to some that are for tests alone."
        )));
    }
    say(&format!("==> install: {wanted}"));
    run(apt_get().arg("update"))?;
    run(apt_get().args(["satisfy", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Where a program is, by the search path and where Debian keeps what only root runs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A port that nobody listens on just now.
fn free_port() -> Result<u16, Failure> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| Failure(format!("There is no free port on loopback: {error}.")))
}

fn is_root() -> bool {
    user_id(None) == Some(0)
}

/// See [`SERVANTS`].
fn servant() -> &'static str {
    let [dedicated, any] = SERVANTS;
    if user_id(Some(dedicated)).is_some() { dedicated } else { any }
}

/// The number of a user, or of whoever this process runs as.
fn user_id(user: Option<&str>) -> Option<u32> {
    id_of("-u", user)
}

/// Of the user, or of their group.
fn id_of(which: &str, user: Option<&str>) -> Option<u32> {
    let id = Command::new("id").arg(which).args(user).output().ok()?;
    String::from_utf8(id.stdout).ok()?.trim_end().parse().ok()
}

/// What the environment says, if it says anything.
fn named(variable: &str) -> Option<String> {
    let url = std::env::var_os(variable)?.into_string().ok()?;
    (!url.is_empty()).then_some(url)
}

/// A PostgreSQL server whose role may make databases and roles.
const POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// A PgBouncer in front of it, in transaction mode.
const PGBOUNCER_URL: &str = "TEST_PGBOUNCER_URL";

/// A Valkey or Redis.
const REDIS_URL: &str = "TEST_REDIS_URL";

/// Its program, for tests that start their own.
const REDIS_SERVER: &str = "TEST_REDIS_SERVER";

/// Whom root has servers run as: the first of them that is there. The second always is.
const SERVANTS: [&str; 2] = ["postgres", "nobody"];

/// How long a server may take to answer: a minute.
const POLLS_MAX: u32 = 600;
const POLL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_at_once_says_why() {
        let name = format!("keyward-nothing-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing >&2; exit 3"]);
        let port = free_port().expect("a port");
        let failure = Server::run("nothing", (&mut command, "KILL"), port, folder.clone());
        let failure = failure.expect_err("it serves nothing").to_string();
        assert!(failure.contains("no such thing"), "{failure}");
        assert!(!folder.exists());
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let failure = run(Command::new("sh").args(["-c", "echo this is why >&2; exit 1"]));
        assert!(failure.expect_err("it fails").to_string().ends_with("this is why\n"));
    }
}
