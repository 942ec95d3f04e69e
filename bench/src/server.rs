//! A server under measurement: a process of its own, on a free port, with its CPU time and memory.

use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process;

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) started_in: Duration,
}

impl Server {
    /// This program's own bare axum server.
    pub(crate) fn bare() -> io::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg("bare"))
    }

    /// `keyward serve --dev` in `folder`, with the limits off that would refuse a load test, and
    /// with these variables of its configuration.
    pub(crate) fn keyward(
        binary: &Path,
        folder: &Path,
        configuration: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
        for limit in LIMITS_OFF {
            command.env(format!("KEYWARD_LIMITS__{limit}"), "off");
        }
        command.env("KEYWARD_LOG", "error").envs(configuration.iter().copied());
        Self::start(&mut command)
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn start(command: &mut Command) -> io::Result<Self> {
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let started_in = begun.elapsed();
        let address = line
            .trim()
            .rsplit_once("http://")
            .and_then(|(_, address)| address.parse().ok())
            .ok_or_else(|| io::Error::other(format!("the server did not start: {line:?}")))?;
        Ok(Self { child, address, started_in })
    }

    /// CPU time that it has used so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        process::tree_cpu(self.child.id())
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        process::resident_bytes(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that has ended by itself is gone already; there is nothing else to do here.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Those that requests of one address, in however great number, would use up.
const LIMITS_OFF: &[&str] = &[
    "LOGIN_ACCOUNT",
    "LOGIN_ACCOUNT_TOTAL",
    "LOGIN_ADDRESS",
    "LOGIN_DEVICE",
    "LOGIN_RANGE",
    "REGISTER_ADDRESS",
    "REFRESH_SESSION",
];
