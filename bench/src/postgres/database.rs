//! A PostgreSQL server on this machine, spoken to through its own client programs.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process;

/// A server whose role may make databases and read the server's files.
#[derive(Debug)]
pub(crate) struct Postgres {
    url: String,
    postmaster: u32,
}

impl Postgres {
    /// Finds the process of the server at this URL: its CPU time is half of every figure.
    pub(crate) fn at(url: &str) -> io::Result<Self> {
        let pid = run(url, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")?;
        let postmaster = pid.parse().map_err(io::Error::other)?;
        match process::name(postmaster) {
            Ok(name) if name.starts_with("postgres") => {
                Ok(Self { url: url.to_owned(), postmaster })
            }
            _ => Err(io::Error::other("the server has to run on this machine")),
        }
    }

    /// CPU time that all its processes have used so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        process::tree_cpu(self.postmaster)
    }

    /// Makes an empty database. What an earlier run may have left under this name goes.
    pub(crate) fn create(&self, name: &str) -> io::Result<Database> {
        let (server, _) = self.url.rsplit_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        let database = Database {
            url: format!("{server}/{name}"),
            drop_with: (self.url.clone(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")),
        };
        let (url, drop) = &database.drop_with;
        run(url, &format!("{drop};\nCREATE DATABASE {name};"))?;
        Ok(database)
    }
}

/// A database of one measurement, dropped with this value.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    /// Another database of the server, and the statement.
    drop_with: (String, String),
}

impl Database {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// As [`run`], on this database.
    pub(crate) fn run(&self, script: &str) -> io::Result<String> {
        run(&self.url, script)
    }

    /// Does at once what the server would do sooner or later, beside a measurement: vacuums what
    /// was filled, and writes it out.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.run("VACUUM (ANALYZE);\nCHECKPOINT;").map(drop)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that is gone took its databases along.
        let (url, drop) = &self.drop_with;
        let _dropped = run(url, drop);
    }
}

/// Runs one of the server's client programs on a database; answers what it printed.
pub(super) fn client(
    program: &str,
    arguments: &[&str],
    url: &str,
    input: &str,
) -> io::Result<String> {
    let missing = |error| io::Error::other(format!("`{program}` cannot be run: {error}"));
    let mut child = Command::new(program)
        .args(arguments)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("`{program}` failed: {said}")));
    }
    written?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a script of psql; answers what it selects, unaligned.
pub(super) fn run(url: &str, script: &str) -> io::Result<String> {
    client("psql", &["-qXAt", "-v", "ON_ERROR_STOP=1"], url, script)
}
