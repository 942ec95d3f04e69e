//! A PostgreSQL server of a test's own, which may be stopped, frozen, starved and replaced.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A server with the database `keyward`, which the role of that name owns. It is stopped and
/// removed with this value.
pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) port: u16,
    settings: Vec<String>,
    /// There while it runs.
    process: Option<Child>,
}

impl Cluster {
    /// Starts one with these settings.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let mut cluster = Self::in_new_folder(settings);
        let password = cluster.folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("written");
        cluster.run(
            as_servant(&programs().join("initdb"))
                .args(["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8"])
                .args(["--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=1"])
                .arg("--pwfile")
                .arg(password)
                .arg("--pgdata")
                .arg(cluster.data()),
        );
        cluster.start();
        cluster.sql("postgres", &format!("CREATE ROLE keyward LOGIN PASSWORD '{PASSWORD}'"));
        cluster.sql("postgres", "CREATE DATABASE keyward OWNER keyward");
        cluster
    }

    /// A standby that follows this server, without whose word it confirms no commit from now on.
    pub(crate) fn synchronous_standby(&self) -> Self {
        let mut standby = Self::in_new_folder(&[]);
        self.follow(&standby);
        standby.start();
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let is_followed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        assert!((0..POLLS).any(|_| self.sql("postgres", is_followed) == "1"), "nobody follows");
        standby
    }

    /// Copies this server's data into the folder of another one, which will follow it.
    fn follow(&self, standby: &Self) {
        let mut copy = as_servant(&programs().join("pg_basebackup"));
        copy.args(["--host=127.0.0.1", "--username=postgres", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync", "--wal-method=stream"])
            .arg(format!("--port={}", self.port))
            .arg("--pgdata")
            .arg(standby.data())
            .env("PGPASSWORD", PASSWORD);
        standby.run(&mut copy);
    }

    /// The URL under which the service's role finds the database on any of these servers that can
    /// be written.
    pub(crate) fn url(clusters: &[&Self]) -> String {
        let places: Vec<_> =
            clusters.iter().map(|cluster| format!("127.0.0.1:{}", cluster.port)).collect();
        format!(
            "postgres://keyward:{PASSWORD}@{}/keyward?target_session_attrs=read-write",
            places.join(",")
        )
    }

    /// Starts the server, which is down, and waits until it serves.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(self.spawn());
        for _ in 0..POLLS {
            if self.is_ready() {
                return;
            }
            // While processes of a killed server are there, the next one refuses to start.
            if self.process().try_wait().expect("it is ours").is_some() {
                self.process = Some(self.spawn());
            }
        }
        panic!("it does not get ready: {}", self.log());
    }

    /// Sends the server a signal that ends it, and waits for that.
    pub(crate) fn end(&mut self, signal: &str) {
        let mut process = self.process.take().expect("it runs");
        crate::place::send(signal, process.id());
        process.wait().expect("it ends");
    }

    /// Stops all that the server runs in its tracks; whoever waits for it waits on.
    pub(crate) fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets it go on as if nothing had been.
    pub(crate) fn thaw(&self) {
        self.signal_all("-CONT");
    }

    /// Lets no file of the server grow beyond so many bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit_files(&self, bytes: &str) {
        // The second time for those that their parent made before it had the limit itself.
        for _ in 0..2 {
            for id in self.processes() {
                let mut command = as_servant(Path::new("prlimit"));
                command.args([format!("--pid={id}"), format!("--fsize={bytes}:")]);
                // It fails where the process has ended since they were listed.
                let _ = command.stderr(Stdio::null()).status().expect("it runs");
            }
        }
    }

    /// Makes a standby the server that is written.
    pub(crate) fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()"), "t");
    }

    /// The processes of the server.
    fn processes(&self) -> Vec<u32> {
        let Some(process) = &self.process else { return Vec::new() };
        let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("it runs");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let children = listed.lines().filter_map(|line| {
            let (id, parent) = line.trim().split_once(' ')?;
            (parent.trim().parse() == Ok(process.id())).then(|| id.parse().ok())?
        });
        std::iter::once(process.id()).chain(children).collect()
    }

    /// What a statement that succeeds answers, with everybody's rights.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.try_sql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// As [`Cluster::sql`], for a statement that may fail.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Output {
        self.psql("postgres", database, sql).output().expect("it runs")
    }

    /// A client that runs a statement as this role.
    pub(crate) fn psql(&self, role: &str, database: &str, sql: &str) -> Command {
        let mut command = Command::new(programs().join("psql"));
        command
            .args(["-XAtq", "-h", "127.0.0.1", "-U", role, "-d", database, "-c", sql])
            .args(["-p", &self.port.to_string()])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null());
        command
    }

    fn in_new_folder(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = SETTINGS.iter().chain(settings).map(|&setting| setting.to_owned());
        if is_root() {
            let chown = Command::new("chown").arg(servant()).arg(folder.path()).status();
            assert!(chown.expect("chown runs").success());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self { folder, port, settings: settings.collect(), process: None }
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().append(true).create(true).open(self.log_file());
        let mut command = as_servant(&programs().join("postgres"));
        command.arg("-D").arg(self.data()).args(["-h", "127.0.0.1"]);
        command.args(["-p", &self.port.to_string()]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        command.spawn().expect("it starts")
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(programs().join("pg_isready"));
        command.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.status().expect("it runs").success()
    }

    fn signal_all(&self, signal: &str) {
        // The second time for those that their parent made meanwhile.
        for _ in 0..2 {
            for id in self.processes() {
                let mut kill = Command::new("kill");
                // It fails where the process has ended since they were listed.
                let _ = kill.args([signal, &id.to_string()]).stderr(Stdio::null()).status();
            }
        }
    }

    fn run(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn process(&mut self) -> &mut Child {
        self.process.as_mut().expect("it runs")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The parent ends the others, but none of them while it is frozen.
        self.signal_all("-CONT");
        self.signal_all("-QUIT");
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
    }
}

/// A program that is sent SIGQUIT when its test ends, however that ends, and does not run as root,
/// which servers refuse to. Where there is no `setpriv`, nobody is root, and it is ended only where
/// its test ends in good order.
fn as_servant(program: &Path) -> Command {
    if !is_root() && !has_setpriv() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        let user = servant();
        command.args(["--reuid", user, "--regid", user, "--clear-groups"]).current_dir("/");
    }
    command.arg("--").arg(program);
    command
}

fn has_setpriv() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("setpriv").is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("it runs");
    id.stdout == b"0\n"
}

fn servant() -> &'static str {
    let known = Command::new("id").arg("postgres").output().expect("it runs");
    if known.status.success() { "postgres" } else { "nobody" }
}

/// Where PostgreSQL's programs are: Debian has a folder for each version, the newest of which is
/// taken; elsewhere they are on the search path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .collect();
    folders.sort_unstable();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest_first = folders.into_iter().rev().map(|(_, folder)| folder);
    let has_all =
        |folder: &PathBuf| PROGRAMS.iter().all(|name| Path::new(folder).join(name).is_file());
    newest_first.chain(std::env::split_paths(&path)).find(has_all).unwrap_or_else(|| {
        panic!("This test starts servers of its own: install PostgreSQL ({PROGRAMS:?}).")
    })
}

const PROGRAMS: [&str; 5] = ["initdb", "postgres", "pg_basebackup", "pg_isready", "psql"];

/// A crash of the machine is no part of any test; one of the server is. No socket in a shared
/// folder, no cleaning up at its own times.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "unix_socket_directories=",
    "shared_buffers=16MB",
    "autovacuum=off",
    "hot_standby=on",
];

/// It listens on loopback only, for as long as the test runs.
const PASSWORD: &str = "for-tests-alone";

/// Some minutes, since each asks a process.
const POLLS: usize = 20_000;
