//! A folder in which the binary runs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

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

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// What a command that succeeds prints.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command that fails says.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    pub(crate) fn create_user(&self, email: &str, password: &str, more: &[&str]) -> Output {
        let arguments = [&["user", "create", "--password-stdin", "--email", email], more].concat();
        let mut command = self.command(&arguments).stdin(Stdio::piped()).spawn().expect("runs");
        let mut input = command.stdin.take().expect("piped");
        // A command that refuses its arguments does not wait for the password.
        let _ = writeln!(input, "{password}");
        drop(input);
        command.wait_with_output().expect("ends")
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Running {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut process = self.command(&arguments).stderr(Stdio::null()).spawn().expect("runs");
        let output = process.stdout.take().expect("piped");
        let mut service = Running { process, address: String::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("one line");
        let (_, address) = line.trim_end().split_once(" listens on http://").expect("an address");
        service.address = address.to_owned();
        service
    }
}

/// A service that runs, until it is told to stop or the test ends.
pub(crate) struct Running {
    process: Child,
    address: String,
}

impl Running {
    /// Asks it to end, which it does in order.
    pub(crate) fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("sent").success());
        assert_eq!(self.process.wait().expect("ends").code(), Some(0));
    }

    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already, as it should have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub(crate) fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}
