//! Other makes on Node, measured by a process that takes turns with this one.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use keyward_bench_peers::Issuer;
use serde_json::Value;

/// A Node that runs `tests/interop/measure.mjs`.
pub(crate) struct Node {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// CPU time for one token, in nanoseconds.
pub(crate) struct Costs {
    pub(crate) jose: f64,
    pub(crate) fast_jwt: f64,
    /// The second time, from its cache.
    pub(crate) fast_jwt_seen: f64,
}

impl Node {
    /// Starts it where `cargo xtask interop` has installed it.
    pub(crate) fn start() -> io::Result<Self> {
        let folder = std::env::var_os("TEST_INTEROP").ok_or_else(|| {
            io::Error::other(
                "set TEST_INTEROP to the folder that `cargo xtask interop` names, or run \
                 `cargo xtask bench --only verify`, which does",
            )
        })?;
        let mut command = Command::new("node");
        command.arg(Path::new(&folder).join("measure.mjs"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (questions, answers) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, questions, answers: BufReader::new(answers) })
    }

    /// What these tokens of the issuer cost.
    pub(crate) fn measure(&mut self, issuer: &Issuer, tokens: &[String]) -> io::Result<Costs> {
        writeln!(self.questions, "{}", issuer.described(tokens))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        let cost = |name: &str| answer[name].as_f64().ok_or(io::ErrorKind::InvalidData);
        Ok(Costs {
            jose: cost("jose")?,
            fast_jwt: cost("fastJwt")?,
            fast_jwt_seen: cost("fastJwtSeen")?,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
