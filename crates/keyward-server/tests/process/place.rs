//! A folder with a service in it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::client::{Client, Tokens};

/// A folder in which commands run, with no environment but their own.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// With a database.
    pub(crate) fn migrated() -> Self {
        let place = Self::new();
        place.prints(&["migrate"]);
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that nobody else may read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) {
        let file = self.file(name);
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    }

    /// The binary with these arguments.
    pub(crate) fn keyward(&self, arguments: &[&str]) -> Command {
        self.run(Path::new(BINARY), arguments)
    }

    /// Another version's binary with these arguments.
    pub(crate) fn run(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(arguments).env_clear();
        self.settle(&mut command);
        command
    }

    /// What a command that succeeds prints.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.keyward(arguments).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A service in development, without the limit that a storm of refreshes would meet. Its tokens
    /// are good after a restart too, when it listens at another port.
    pub(crate) fn serve(&self) -> Running {
        self.serve_with(&[])
    }

    /// As [`Place::serve`], with more environment.
    pub(crate) fn serve_with(&self, environment: &[(&str, &str)]) -> Running {
        self.serve_by(Path::new(BINARY), environment)
    }

    /// As [`Place::serve_with`], by another version's binary.
    pub(crate) fn serve_by(&self, binary: &Path, environment: &[(&str, &str)]) -> Running {
        let mut command = self.run(binary, &SERVE);
        command.envs(ENVIRONMENT);
        self.start(command.envs(environment.iter().copied()))
    }

    /// Starts a command that ends up being the service, and waits until it accepts connections. Its
    /// log is appended to [`LOG`].
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        self.settle(command);
        let log = File::options().append(true).create(true).open(self.file(LOG)).expect("a log");
        let mut process = command.stderr(log).spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("one line");
        let address = line.trim_end().rsplit("://").next().and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{line:?}, {}", self.log()));
        Running { process, stdout, printed: line, address }
    }

    /// What every service in this place has logged so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file(LOG)).unwrap_or_default()).into_owned()
    }

    /// Moves the keys of a purpose back to the year 1970, as if they had signed ever since.
    pub(crate) fn age_keys(&self, purpose: &str) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let sql = "UPDATE key SET activates_at = 0 WHERE purpose = ?1";
        assert_eq!(connection.execute(sql, [purpose]), Ok(1));
    }

    /// Has keys that were to sign later sign since they were made, as if that time had passed.
    pub(crate) fn hasten_keys(&self) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let sql = "UPDATE key SET activates_at = created_at WHERE activates_at > created_at";
        assert_eq!(connection.execute(sql, []), Ok(1));
    }

    /// Has the account with one address have another.
    pub(crate) fn change_address(&self, from: &str, to: &str) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let sql = "UPDATE user SET email = ?2, email_key = ?2 WHERE email_key = ?1";
        assert_eq!(connection.execute(sql, [from, to]), Ok(1));
    }

    /// Gives every user a second factor that nobody has the codes of.
    pub(crate) fn enable_second_factor(&self) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let sql = "INSERT INTO totp (user_id, sealed, begun_at, confirmed_at, last_step)
            SELECT id, x'00', 1, 1, 1 FROM user;
            UPDATE user SET mfa_enabled_at = 1;";
        connection.execute_batch(sql).expect("enabled");
    }

    /// Makes it a database of the version before, whose last migration is to come.
    pub(crate) fn forget_a_migration(&self) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let sql = "DELETE FROM migration WHERE version = (SELECT max(version) FROM migration)";
        assert_eq!(connection.execute(sql, []), Ok(1));
    }

    /// Looks at the database behind the store's back.
    pub(crate) fn assert_database_is_sound(&self) {
        let connection = Connection::open(self.file("keyward.db")).expect("a database");
        let verdict: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a verdict");
        assert_eq!(verdict, "ok");
    }

    fn settle(&self, command: &mut Command) {
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    }
}

/// A service that runs until it is stopped, killed or the test ends.
pub(crate) struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    printed: String,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address).expect("it accepts connections")
    }

    /// What it has printed so far, its first line at least.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let begin = self.printed.len();
        self.stdout.read_line(&mut self.printed).expect("one line");
        self.printed[begin..].trim_end().to_owned()
    }

    /// Makes an account and signs in.
    pub(crate) fn register(&self, email: &str) -> Tokens {
        let answer = self.connect().register(email, PASSWORD).expect("it answers");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.tokens()
    }

    pub(crate) fn login(&self, email: &str) -> Tokens {
        let answer = self.connect().login(email, PASSWORD).expect("it answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.tokens()
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        send("-TERM", self.id());
    }

    /// Waits for an end in order, and returns all that was printed.
    pub(crate) fn ended(mut self) -> String {
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
        self.stdout.read_to_string(&mut self.printed).expect("UTF-8");
        std::mem::take(&mut self.printed)
    }

    /// As [`Running::ended`], and not later than this.
    pub(crate) fn ended_within(self, limit: Duration) {
        let id = self.id();
        let (ended, end) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || ended.send(self.ended()));
            if end.recv_timeout(limit).is_err() {
                send("-KILL", id);
                panic!("it did not end in order within {limit:?}");
            }
        });
    }

    /// Asks it to end, which it does in order.
    pub(crate) fn stop(self) -> String {
        self.ask_to_stop();
        self.ended()
    }

    /// Sends SIGKILL: the process does nothing more, not even what it had begun.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already, as it should have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal to a process.
pub(crate) fn send(signal: &str, id: u32) {
    let status = Command::new("kill").args([signal, &id.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_keyward");

/// The arguments of a service in development at any port.
pub(crate) const SERVE: [&str; 4] = ["serve", "--dev", "--listen", "127.0.0.1:0"];

/// What makes [`Place::serve`] of [`SERVE`].
pub(crate) const ENVIRONMENT: [(&str, &str); 2] = [
    ("KEYWARD_LIMITS__REFRESH_SESSION", "off"),
    ("KEYWARD_SERVER__PUBLIC_URL", "http://localhost:8080"),
];

/// Where services log to.
pub(crate) const LOG: &str = "service.log";

pub(crate) const PASSWORD: &str = "zimtkringel im regen";
