//! `cargo xtask upgrade`: the program from before the newest migration, and the present one, side
//! by side on the present schema. While nodes are replaced one by one, that is how they run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::servers::Servers;
use crate::steps::{Failure, Steps, cargo, root, say};
use crate::test::run_named;

/// Builds the program from before and runs the test of two versions with it.
pub(crate) fn run() -> Result<(), Failure> {
    let before = before()?;
    let (tree, target) = (folder().join("tree"), folder().join("target"));
    say(&format!("==> before: {}", git(&["log", "-1", "--format=%h %s", &before])?));
    check_out(&tree, &before)?;
    let built = root().join("target/debug");
    if built.is_dir() && !target.exists() {
        share(&built, &target.join("debug"))
            .map_err(|error| Failure(format!("{} cannot be filled: {error}.", target.display())))?;
    }
    let mut steps = Steps::default();
    steps.run(
        "before",
        cargo(&["build", "--locked", "-p", "keyward-server"])
            .current_dir(&tree)
            .env("CARGO_TARGET_DIR", &target),
        "The program from before the newest migration does not build any more: mend the toolchain.",
    )?;
    steps.run(
        "build",
        &mut cargo(&["test", "-p", "keyward-server", "--test", "process", "--no-run"]),
        "Mend what the compiler names first.",
    )?;
    let servers = Servers::start()?;
    let mut test = cargo(&["test", "-p", "keyward-server", "--test", "process", "--", TEST]);
    servers.name_to(&mut test);
    run_named(
        &mut steps,
        "upgrade",
        test.env("TEST_OLD_BINARY", target.join("debug/keyward")),
        "Nodes of the version before must run on the present schema: expand it first, and contract \
         it a version later (CONTRIBUTING.md, \"A migration\").",
    )?;
    drop(servers);
    steps.summarise();
    Ok(())
}

/// The last commit that does not have the newest migration. Where there is none but the first, the
/// last commit of all.
fn before() -> Result<String, Failure> {
    let newest = git(&["ls-files", MIGRATIONS])?.lines().max().map(str::to_owned);
    let newest = newest.ok_or_else(|| Failure(format!("{MIGRATIONS} holds no migration.")))?;
    if newest.contains(FIRST) {
        say("==> The schema has one migration: the last commit plays the version before.");
        return git(&["rev-parse", "HEAD"]);
    }
    let added = ["log", "--first-parent", "-m", "--diff-filter=A", "-1", "--format=%H"];
    let added = git(&[&added[..], &["--", &newest]].concat())?;
    if added.is_empty() {
        return Err(Failure(format!("{newest} is not committed: commit it first.")));
    }
    git(&["rev-parse", "--verify", "--quiet", &format!("{added}^")]).map_err(|_| {
        Failure(format!(
            "The history here begins with {newest}, so that there is no version before: run \
             `git fetch --unshallow`."
        ))
    })
}

/// Puts the files of this commit into a working tree of their own.
fn check_out(tree: &Path, commit: &str) -> Result<(), Failure> {
    let path = tree.to_string_lossy();
    git(&["worktree", "prune"])?;
    if tree.join(".git").exists() {
        return git(&["-C", &path, "checkout", "--quiet", "--force", "--detach", commit]).map(drop);
    }
    git(&["worktree", "add", "--quiet", "--force", "--detach", &path, commit]).map(drop)
}

/// Begins a target folder with what another one holds: most dependencies are those of before. What
/// the compiler made is linked, since it replaces files as a whole; cargo's own notes are copied,
/// since it writes those in their place.
fn share(from: &Path, to: &Path) -> io::Result<()> {
    for (part, place) in PARTS {
        if from.join(part).is_dir() {
            place_all(&from.join(part), &to.join(part), place)?;
        }
    }
    Ok(())
}

/// Puts every file of a folder into another one.
fn place_all(from: &Path, to: &Path, place: Place) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            place_all(&entry.path(), &target, place)?;
        } else {
            place(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// How a file gets to its other place.
type Place = fn(&Path, &Path) -> io::Result<()>;

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    // By these times cargo tells what is older than its sources.
    let modified = fs::metadata(from)?.modified()?;
    fs::File::options().write(true).open(to)?.set_modified(modified)
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// What git prints; where it fails, what it says about that.
fn git(arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("git");
    command.current_dir(root()).args(arguments).stdin(Stdio::null());
    let output = command.output();
    let output = output.map_err(|error| Failure(format!("`git` cannot be run: {error}.")))?;
    let [printed, said] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    if output.status.success() {
        return Ok(printed);
    }
    Err(Failure(format!("`git {}` failed, which `upgrade` needs: {said}", arguments.join(" "))))
}

/// Kept between runs, so that what did not change is not built again.
fn folder() -> PathBuf {
    root().join("target/upgrade")
}

/// The parts of cargo's target folder that a build needs of the last one.
const PARTS: [(&str, Place); 3] = [("deps", link), ("build", copy), (".fingerprint", copy)];

const TEST: &str = "upgrade::nodes_of_two_versions_are_one_service";
const MIGRATIONS: &str = "crates/keyward/migrations/postgres";
const FIRST: &str = "/0001_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_passed_on() {
        assert_eq!(git(&["rev-parse", "--is-inside-work-tree"]).expect("it is"), "true");
        let failure = git(&["rev-parse", "--verify", "no-such-commit"]).expect_err("none");
        assert!(failure.to_string().contains("no-such-commit"), "{failure}");
    }
}
