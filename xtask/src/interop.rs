//! Programs of other makes, for other languages: installed as they are pinned in `tests/interop`,
//! into the target folder.
//!
//! No test is left out where they cannot be installed: the run fails and says what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::servers;
use crate::steps::{Failure, Steps, root, say};

/// Installs them where that was not done yet, and says how to run their tests.
pub(crate) fn run() -> Result<(), Failure> {
    let folder = install(&mut Steps::default())?;
    say(&format!("Installed. For a test alone: {FOLDER}={}", folder.display()));
    Ok(())
}

/// Tells a command where they are.
pub(crate) fn name_to(command: &mut Command, folder: &Path) {
    command.env(FOLDER, folder);
}

/// Brings the folder up to what `tests/interop` says, and answers where it is.
pub(crate) fn install(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let (from, to) = (root().join("tests/interop"), root().join("target/interop"));
    fs::create_dir_all(&to).map_err(|error| unwritable(&to, &error))?;
    for (name, install) in PINS {
        if is_done(&from, &to, name) {
            continue;
        }
        // A row that breaks off is begun again, since the pins are noted at its end.
        install(steps, &from, &to)?;
        copy(&from.join(name), &done(&to, name))?;
    }
    for entry in fs::read_dir(&from).map_err(|error| unwritable(&from, &error))? {
        let path = entry.map_err(|error| unwritable(&from, &error))?.path();
        copy(&path, &to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(to)
}

fn install_node(steps: &mut Steps, from: &Path, to: &Path) -> Result<(), Failure> {
    if !runs("node", &["--version"]) || !runs("npm", &["--version"]) {
        servers::install(&["nodejs", "npm"])?;
    }
    let judge = format!("process.exit(parseInt(process.versions.node) >= {NODE_MIN} ? 0 : 1)");
    if !runs("node", &["--eval", &judge]) {
        return Err(Failure(format!(
            "The programs of other makes need Node {NODE_MIN} or later: install it, and see that \
             `node` is that one."
        )));
    }
    for name in ["package.json", NODE_PINS] {
        copy(&from.join(name), &to.join(name))?;
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(to);
    steps.run("npm", &mut command, "Installing them needs npm's registry once.")
}

fn install_python(steps: &mut Steps, from: &Path, to: &Path) -> Result<(), Failure> {
    // Debian has the module in a package of its own; without it the environment gets no pip.
    if !runs("python3", &["-c", "import ensurepip, venv"]) {
        servers::install(&["python3", "python3-venv"])?;
    }
    let python = to.join("python");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&python);
    steps.run("venv", &mut venv, "Python 3 with its module venv is needed.")?;
    let mut pip = Command::new(python.join("bin/pip"));
    pip.args(["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement"]);
    pip.arg(from.join(PYTHON_PINS));
    steps.run("pip", &mut pip, "Installing PyJWT needs its registry once.")
}

/// Whether these pins are what was installed.
fn is_done(from: &Path, to: &Path, name: &str) -> bool {
    let read = |path: PathBuf| fs::read(path).ok();
    read(from.join(name)).is_some_and(|pins| read(done(to, name)) == Some(pins))
}

fn done(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.installed"))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(|error| unwritable(to, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{} cannot be written: {error}.", path.display()))
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The folder that they are installed in, for tests.
const FOLDER: &str = "TEST_INTEROP";

const NODE_PINS: &str = "package-lock.json";
const PYTHON_PINS: &str = "requirements.txt";

/// What is pinned where, and installed how.
const PINS: &[(&str, Install)] = &[(NODE_PINS, install_node), (PYTHON_PINS, install_python)];

type Install = fn(&mut Steps, &Path, &Path) -> Result<(), Failure>;

/// What they ask for.
const NODE_MIN: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_installed_counts_only_for_the_same_pins() {
        let folder = std::env::temp_dir().join(format!("keyward-interop-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        for path in [&from, &to] {
            fs::create_dir_all(path).expect("made");
        }
        assert!(!is_done(&from, &to, "pins"));
        fs::write(from.join("pins"), "a==1").expect("written");
        assert!(!is_done(&from, &to, "pins"));
        copy(&from.join("pins"), &done(&to, "pins")).expect("copied");
        assert!(is_done(&from, &to, "pins"));
        fs::write(from.join("pins"), "a==2").expect("written");
        assert!(!is_done(&from, &to, "pins"));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_program_that_is_missing_does_not_run() {
        assert!(runs("cargo", &["--version"]));
        assert!(!runs("cargo", &["--no-such-option"]));
        assert!(!runs("keyward-no-such-program", &[]));
    }
}
