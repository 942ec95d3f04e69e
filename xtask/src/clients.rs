//! The TypeScript clients and their examples: npm's commands, as steps of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::servers;
use crate::steps::{Failure, Steps, cargo, root};

/// Checks formatting, lints and types.
pub(crate) fn check(steps: &mut Steps) -> Result<(), Failure> {
    let clients = installed(steps, root().join("clients"))?;
    steps.run(
        "lints of clients",
        &mut npm(&clients, &["run", "lint"]),
        "`npm run format` in `clients` mends most of it; look at what it changed.",
    )?;
    // Types of other packages are seen as they are published.
    for script in ["build", "types"] {
        steps.run(
            "types of clients",
            &mut npm(&clients, &["run", script]),
            "Mend what the compiler names; `npm run types` in `clients` shows it again.",
        )?;
    }
    Ok(())
}

/// Builds every package, for those that import others as they are published, and answers where
/// they are.
pub(crate) fn build(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let clients = installed(steps, root().join("clients"))?;
    steps.run(
        "build of clients",
        &mut npm(&clients, &["run", "build"]),
        "Mend what the compiler names first.",
    )?;
    Ok(clients)
}

/// Runs the tests of the clients, which are built, against the binary that cargo has built.
pub(crate) fn test(steps: &mut Steps, clients: &Path) -> Result<(), Failure> {
    steps.run(
        "clients",
        in_browsers(&mut npm(clients, &["test"]))?,
        "The failed ones are listed above; `npm test` in `clients` runs them alone.",
    )
}

/// Plays rounds of the storm of tabs, as many as are asked for.
pub(crate) fn storm(arguments: &[String]) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.run(
        "service",
        &mut cargo(&["build", "-p", "keyward-server"]),
        "Mend what the compiler names first.",
    )?;
    let clients = build(&mut steps)?;
    let mut storm = npm(&clients, &["run", "--silent", "storm", "-w", "keyward-e2e", "--"]);
    steps.run(
        "storm",
        in_browsers(storm.args(arguments))?,
        "Rounds that failed are named above, each with the seed that begins it again.",
    )
}

/// Tells a command where the service and the browser are; installs what is not there.
fn in_browsers(command: &mut Command) -> Result<&mut Command, Failure> {
    for (program, package) in BROWSER {
        if servers::find(program).is_none() {
            servers::install(&[package])?;
        }
    }
    if let Some(chromium) = servers::find("chromium") {
        command.env("CHROMIUM", chromium);
    }
    Ok(command.env("KEYWARD_BINARY", root().join("target/debug/keyward")))
}

/// Installs what the lock file of a folder names, where that is not there already.
fn installed(steps: &mut Steps, folder: PathBuf) -> Result<PathBuf, Failure> {
    require_npm()?;
    let (lock, stamp) = (folder.join("package-lock.json"), folder.join("node_modules").join(STAMP));
    let wanted = read(&lock)?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    steps.run(
        "npm packages",
        &mut npm(&folder, &["ci"]),
        "Installing them needs npm's registry, or a mirror of it, once per change of the lock.",
    )?;
    fs::write(&stamp, wanted)
        .map_err(|error| Failure(format!("{} cannot be written: {error}.", stamp.display())))?;
    Ok(folder)
}

/// Installs npm where that is possible.
fn require_npm() -> Result<(), Failure> {
    if servers::find("npm").is_none() {
        servers::install(&["nodejs", "npm"])?;
    }
    let output = Command::new("node").arg("--version").output();
    let output = output.map_err(|error| Failure(format!("`node` cannot be run: {error}.")))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if number(&version).is_some_and(|number| number >= NODE_MIN) {
        return Ok(());
    }
    let (major, minor) = NODE_MIN;
    Err(Failure(format!("Node is {version}: the clients need {major}.{minor} or later.")))
}

/// The first two numbers of a version such as `v20.20.2`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn npm(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(folder);
    command
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file)
        .map_err(|error| Failure(format!("{} cannot be read: {error}.", file.display())))
}

/// The lock file that was installed, beside what it names.
const STAMP: &str = ".installed-lock.json";

/// The browser and what makes its certificates, with the packages of Debian that they are in.
const BROWSER: [(&str, &str); 2] = [("chromium", "chromium"), ("openssl", "openssl")];

/// As `engines` of `clients/package.json` says.
const NODE_MIN: (u32, u32) = (20, 19);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_node_is_read_and_enough_where_the_packages_say_so() {
        assert_eq!(number("v20.20.2"), Some((20, 20)));
        assert_eq!(number("v9.0.0"), Some((9, 0)));
        assert_eq!(number("20.20.2"), None);
        assert_eq!(number("v20"), None);
        assert_eq!(number(""), None);
        assert!(number("v22.0.0") > Some(NODE_MIN) && number("v20.18.3") < Some(NODE_MIN));
        let manifest = read(&root().join("clients/package.json")).expect("a manifest");
        let (major, minor) = NODE_MIN;
        assert!(manifest.contains(&format!("\"node\": \">={major}.{minor}\"")), "{manifest}");
    }

    #[test]
    fn what_is_installed_already_is_not_installed_again() {
        let folder = std::env::temp_dir().join(format!("keyward-clients-{}", std::process::id()));
        fs::create_dir_all(folder.join("node_modules")).expect("a folder");
        fs::write(folder.join("package-lock.json"), "{}").expect("a file");
        fs::write(folder.join("node_modules").join(STAMP), "{}").expect("a file");
        let found = installed(&mut Steps::default(), folder.clone());
        fs::remove_dir_all(&folder).expect("a folder");
        assert_eq!(found.expect("nothing is left to do"), folder);
    }
}
