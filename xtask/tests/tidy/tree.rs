//! The tree as the rules see it: every text file, with its path.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Every text file of the repository.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the repository that this crate is part of.
    pub(crate) fn read() -> Self {
        let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.pop();
        let mut files = Vec::new();
        collect(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// A tree made up for the test of a rule: pairs of path and text.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files written in Rust.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at this path.
    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        self.files().find(|file| file.path == path)
    }
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root of the repository, with `/` between its parts.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

impl File {
    /// Its lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Whether it lies in one of these folders, or is one of these files.
    pub(crate) fn is_within(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// A breach at one of its lines.
    pub(crate) fn breach(&self, line: usize, advice: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, advice: advice.into() }
    }
}

/// A breach of a rule, and what to do about it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) advice: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// Runs one rule over a made-up tree and compares the places it names, as `path:line`.
#[track_caller]
pub(crate) fn check(rule: fn(&Tree) -> Vec<Violation>, files: &[(&str, &str)], expected: &[&str]) {
    let found: Vec<_> = rule(&Tree::of(files))
        .iter()
        .map(|violation| format!("{}:{}", violation.path, violation.line))
        .collect();
    assert_eq!(found, expected);
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree can be listed") {
        let path = entry.expect("a folder of the tree can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if SKIPPED.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let parts = path.strip_prefix(root).expect("the walk began at the root").iter();
            let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
            files.push(File { path: parts.join("/"), text });
        }
    }
}

/// What is made, not written.
const SKIPPED: &[&str] = &[".git", "dist", "node_modules", "target"];

#[test]
fn the_walk_finds_this_file_and_nothing_that_was_made() {
    let tree = Tree::read();
    assert!(tree.find("xtask/tests/tidy/tree.rs").is_some());
    assert!(tree.files().all(|file| !file.is_within(&["target/", ".git/"])));
}
