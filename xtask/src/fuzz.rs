//! `cargo xtask fuzz`: runs the fuzz targets under libFuzzer, guided by the code that they reach.
//!
//! A stable compiler does, since the instrumentation is LLVM's own and needs no unstable flag.
//! There is no sanitizer: the workspace forbids unsafe code, and what is looked for is a broken
//! promise.

mod report;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::steps::{Failure, cargo, root, say, warn};
use report::Outcome;

/// Builds the targets and runs them one after the other. Progress goes to standard error, the
/// outcome to standard output.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let plan = Plan::parse(arguments, &names()?)?;
    let program = build()?;
    let mut outcomes = Vec::new();
    for target in &plan.targets {
        outcomes.push(
            fuzz(&program, target, plan.seconds).map_err(|error| {
                Failure(format!("{target}: {error}; mend that and run it again."))
            })?,
        );
        if plan.keep {
            keep(&program, target)?;
        }
    }
    say(&if plan.json { report::json(&outcomes) } else { report::table(&outcomes) });
    match outcomes.iter().find_map(|outcome| Some((&outcome.target, outcome.finding.as_ref()?))) {
        None => Ok(()),
        Some((target, finding)) => Err(Failure(format!(
            "{target} breaks a promise: target/fuzz/{target}.log says which. Copy {finding} to \
             fuzz/regressions/{target}/, where `cargo test -p keyward-fuzz {target}` runs it, and \
             mend what it shows."
        ))),
    }
}

/// What to run.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    targets: Vec<String>,
    seconds: u64,
    keep: bool,
    json: bool,
}

impl Plan {
    fn parse(arguments: &[String], names: &[String]) -> Result<Self, Failure> {
        let mut plan =
            Self { targets: Vec::new(), seconds: SECONDS_DEFAULT, keep: false, json: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--keep" => plan.keep = true,
                "--json" => plan.json = true,
                "--seconds" => {
                    let seconds = rest.next().and_then(|text| text.parse().ok());
                    let seconds = seconds.filter(|seconds| *seconds > 0);
                    plan.seconds = seconds.ok_or_else(|| {
                        Failure("--seconds takes a whole number, such as 60.".to_owned())
                    })?;
                }
                name if names.iter().any(|known| known == name) => {
                    plan.targets.push(name.to_owned());
                }
                other => {
                    let known = names.join(", ");
                    return Err(Failure(format!("`{other}` is no target; there are {known}.")));
                }
            }
        }
        if plan.targets.is_empty() {
            plan.targets = names.to_vec();
        }
        Ok(plan)
    }
}

/// Every target has a folder in the corpus.
fn names() -> Result<Vec<String>, Failure> {
    let folder = corpus();
    let entries = fs::read_dir(&folder)
        .map_err(|error| Failure(format!("{} cannot be listed: {error}.", folder.display())))?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Builds the program that holds all targets, with counters at every branch.
fn build() -> Result<PathBuf, Failure> {
    let compiler = cpp_compiler()?;
    let host = host()?;
    // Named, the flags are for the program alone and not for what runs while it is built.
    let arguments = ["build", "--release", "--target", &host];
    let mut build = cargo(&arguments);
    build.arg("--manifest-path").arg(root().join("fuzz/guided/Cargo.toml"));
    build.arg("--target-dir").arg(target_dir());
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    // What is built from C is built again where the variable changes.
    if compiler != "c++" {
        build.env("CXX", compiler);
    }
    warn("==> build: the first time takes some minutes");
    if !build.status().is_ok_and(|status| status.success()) {
        return Err(Failure("build failed. Mend what the compiler names first.".to_owned()));
    }
    Ok(target_dir().join(host).join("release").join("keyward-fuzz-guided"))
}

/// libFuzzer is C++.
fn cpp_compiler() -> Result<String, Failure> {
    let named = std::env::var_os("CXX").map(|name| name.to_string_lossy().into_owned());
    let mut candidates = named.into_iter().chain(["c++", "g++", "clang++"].map(str::to_owned));
    candidates.find(|name| answers(Command::new(name).arg("--version"))).ok_or_else(|| {
        Failure(
            "A C++ compiler is missing, which libFuzzer needs: install g++ or clang, or name \
             yours in the variable CXX."
                .to_owned(),
        )
    })
}

fn answers(command: &mut Command) -> bool {
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// The machine that the compiler builds for.
fn host() -> Result<String, Failure> {
    let output = Command::new("rustc").arg("-vV").output().map(|output| output.stdout);
    let text = String::from_utf8(output.unwrap_or_default()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure("`rustc -vV` names no host.".to_owned()))
}

/// Runs one target until its time is over or a promise is broken.
fn fuzz(program: &Path, target: &str, seconds: u64) -> io::Result<Outcome> {
    warn(&format!("==> {target}: {seconds} s"));
    let found = found(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(target_dir().join("findings"))?;
    let log_path = target_dir().join(format!("{target}.log"));
    let mut log = fs::File::create(&log_path)?;

    let mut command = libfuzzer(program, target);
    command.arg(found).arg(corpus().join(target)).args(BOUNDS);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{target}-", target_dir().join("findings").display()));
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut outcome = Outcome::new(target);
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            writeln!(log, "{line}")?;
            outcome.add(&line);
            if line.contains("pulse") {
                warn(&format!("    {line}"));
            }
        }
    }
    if !child.wait()?.success() && outcome.finding.is_none() {
        let log = log_path.display();
        return Err(io::Error::other(format!("libFuzzer stopped, and {log} says why")));
    }
    Ok(outcome)
}

/// Adds to the corpus the few inputs of all runs that reach code that it does not.
fn keep(program: &Path, target: &str) -> Result<(), Failure> {
    let mut merge = libfuzzer(program, target);
    // Without counters it is code alone that counts, and not how often it is passed.
    merge.args(["-set_cover_merge=1", "-use_counters=0"]).args(BOUNDS);
    if answers(merge.arg(corpus().join(target)).arg(found(target))) {
        return Ok(());
    }
    Err(Failure(format!("{target}: libFuzzer could not add to the corpus; run it again.")))
}

/// A call of the program for one target. It reads nothing from the terminal, even where an input
/// names that as a file.
fn libfuzzer(program: &Path, target: &str) -> Command {
    let mut command = Command::new(program);
    command.env("KEYWARD_FUZZ_TARGET", target).stdin(Stdio::null()).current_dir(target_dir());
    command
}

/// The inputs that are part of the repository.
fn corpus() -> PathBuf {
    root().join("fuzz").join("corpus")
}

/// The inputs that runs on this machine have found for a target. They are kept for the next run.
fn found(target: &str) -> PathBuf {
    target_dir().join("corpus").join(target)
}

fn target_dir() -> PathBuf {
    root().join("target").join("fuzz")
}

const SECONDS_DEFAULT: u64 = 60;

/// How much one input may take: far more than any needs, so that a slow machine finds nothing.
const BOUNDS: [&str; 4] =
    ["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1"];

/// Counters at every edge, and what comparisons compare.
const INSTRUMENTATION: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let owned =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Plan::parse(&owned(arguments), &owned(&["body", "email"])).map_err(|failure| failure.0)
    }

    #[test]
    fn without_a_name_every_target_runs() {
        let targets = vec!["body".to_owned(), "email".to_owned()];
        let expected = Plan { targets, seconds: SECONDS_DEFAULT, keep: false, json: false };
        assert_eq!(plan(&[]), Ok(expected));
        let targets = vec!["email".to_owned()];
        let expected = Plan { targets, seconds: 5, keep: true, json: true };
        assert_eq!(plan(&["--seconds", "5", "email", "--json", "--keep"]), Ok(expected));
    }

    #[test]
    fn what_is_no_target_is_told_the_targets() {
        let told = plan(&["mail"]).expect_err("no target");
        assert_eq!(told, "`mail` is no target; there are body, email.");
        for arguments in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "1m"]] {
            plan(arguments).expect_err("no number");
        }
    }

    #[test]
    fn the_corpus_names_the_targets() {
        let names = names().unwrap_or_else(|failure| panic!("{failure}"));
        assert!(names.iter().any(|name| name == "refresh_token"), "{names:?}");
    }
}
