//! Every target over its corpus, over what was ever found with it, and over mutations of both.
//!
//! `PROPTEST_CASES` says how many mutations; the default is for every day.

use std::fs;
use std::path::Path;

use keyward_fuzz::{TARGETS, Target};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })+

        #[test]
        fn every_target_has_its_test() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

targets! {
    access_token admin body by_cookie client_address configuration cookies csrf_token
    device_token email feed idempotency_key identifier import_line introspect origin password_hash
    place refresh_token request service_key
}

fn check(name: &str) {
    let target = Target::find(name).expect("a target");
    let corpus = files("corpus", target);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let known = [corpus, files("regressions", target)].concat();
    for (path, data) in &known {
        let outcome = std::panic::catch_unwind(|| target.run(data));
        assert!(outcome.is_ok(), "{path} breaks a promise of {name}");
    }
    let config = Config { failure_persistence: None, ..Config::default() };
    let inputs = any_input(known.into_iter().map(|(_, data)| data).collect());
    let outcome = TestRunner::new(config).run(&inputs, |data| {
        target.run(&data);
        Ok(())
    });
    if let Err(TestError::Fail(why, data)) = outcome {
        let data = data.escape_ascii();
        panic!("{why}\nThese bytes belong into a file of fuzz/regressions/{name}:\n{data}");
    }
    outcome.expect("every input can be made");
}

/// The files of a target in one of the folders, with their paths.
fn files(folder: &str, target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    paths.map(|path| (path.display().to_string(), fs::read(path).expect("a file"))).collect()
}

/// Any bytes at all, or one of the known inputs after a few edits.
fn any_input(known: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec(any_edit(known.clone()), 1..6);
    let edited = (select(known), edits).prop_map(move |(mut data, edits)| {
        for edit in edits {
            edit.apply(&mut data);
        }
        data
    });
    prop_oneof![1 => vec(any::<u8>(), 0..128), 7 => edited]
}

/// Some bytes of an input give way to others.
#[derive(Debug, Clone)]
struct Edit {
    at: Index,
    removed: usize,
    added: Vec<u8>,
}

impl Edit {
    fn apply(self, data: &mut Vec<u8>) {
        let at = self.at.index(data.len() + 1);
        let end = data.len().min(at + self.removed);
        data.splice(at..end, self.added);
    }
}

/// What comes in is arbitrary, or a piece of a known input.
fn any_edit(known: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let piece = (select(known), any::<Index>(), 1..40_usize).prop_map(|(data, at, length)| {
        let at = at.index(data.len() + 1);
        data[at..data.len().min(at + length)].to_vec()
    });
    let added = prop_oneof![vec(any::<u8>(), 0..4), piece];
    let edit = (any::<Index>(), 0..24_usize, added);
    edit.prop_map(|(at, removed, added)| Edit { at, removed, added })
}
