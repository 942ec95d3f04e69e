//! An import that is killed goes on where it was: everybody is there exactly once.
//!
//! The process is killed again and again, each time further on, in the middle of a line or of a
//! commit; then it is run to its end. Meanwhile nothing hashes: no thread is there for it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::import::{PASSWORD, assert_bad, bad_lines, email, many};
use crate::place::Place;
use crate::random::Random;

#[test]
fn an_import_that_is_killed_again_and_again_is_run_to_its_end() {
    let site = Site { place: Place::migrated(), store: None };
    check(&site);
    site.place.assert_database_is_sound();
}

#[cfg(feature = "postgres")]
#[test]
fn an_import_into_a_server_is_killed_and_run_to_its_end() {
    let database = Database::new();
    check(&Site { place: Place::new(), store: Some(database.service_url()) });
}

/// Where commands run, and on which store if it is not the default one.
struct Site {
    place: Place,
    store: Option<String>,
}

fn check(site: &Site) {
    let (text, mut random) = (many(USERS), Random::new(SEED));
    let bad = bad_lines(USERS);
    let mut before = 0;
    for kill in 0..KILLS {
        // Of each stretch something, so that every kill comes upon users who are not there yet.
        let until = (kill + 1) * bad.len() / (KILLS + 1) - random.below(bad.len() / (2 * KILLS));
        let told = site.import_killed(&text, until, &mut random);
        assert_eq!(told, bad[..told.len()]);
        let users = site.users();
        let distinct: BTreeSet<&String> = users.iter().collect();
        assert_eq!(distinct.len(), users.len());
        assert_eq!(site.registrations(), users.len(), "a user and its event are one change");
        assert!(before < users.len() && users.len() < USERS - bad.len(), "{}", users.len());
        before = users.len();
    }
    fs::write(site.place.file("users.ndjson"), &text).expect("written");
    let mut import = site.keyward(&["user", "import", "--json", "users.ndjson"]);
    let output = import.stderr(Stdio::null()).output().expect("it runs");
    let objects: Vec<Value> =
        output.stdout.lines().map(|line| object(&line.expect("UTF-8"))).collect();
    let (outcome, refused) = objects.split_last().expect("an outcome");
    assert_bad(refused, USERS);
    let imported = USERS - bad.len() - before;
    assert_eq!(*outcome, json!({ "imported": imported, "present": before, "bad": bad.len() }));
    site.assert_complete();
}

impl Site {
    fn keyward(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.keyward(arguments);
        command.envs(self.store.iter().map(|url| ("KEYWARD_STORE__URL", url)));
        command
    }

    /// Begins an import of the text, and kills it some moments after it has told of so many bad
    /// lines. Of what follows, it is given no more than a part: it cannot have come to its end.
    /// Answers the bad lines that it told of.
    fn import_killed(&self, text: &str, until: usize, random: &mut Random) -> Vec<u64> {
        let mut import = self.keyward(&["user", "import", "--json", "-"]);
        let import = import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = import.spawn().expect("it runs");
        let mut input = process.stdin.take().expect("piped");
        let mut told = BufReader::new(process.stdout.take().expect("piped")).lines();
        let lines = until * 100 + random.below(1000);
        let given: usize = text.split_inclusive('\n').take(lines).map(str::len).sum();
        let part = &text.as_bytes()[..given + 20];
        thread::scope(|scope| {
            // Fails where the kill comes before all is read. The end of the text is not told.
            scope.spawn(|| input.write_all(part));
            let mut numbers = Vec::new();
            for line in told.by_ref().take(until) {
                numbers.push(object(&line.expect("UTF-8"))["line"].as_u64().expect("a number"));
            }
            assert_eq!(numbers.len(), until, "it ended by itself");
            // Some commits long.
            thread::sleep(Duration::from_micros(random.below(20_000) as u64));
            assert_eq!(hashing_threads(process.id()), 0);
            process.kill().expect("it runs");
            assert_eq!(process.wait().expect("it ends").code(), None, "it ended by itself");
            numbers
        })
    }

    /// The address of every account.
    fn users(&self) -> Vec<String> {
        let lines = self.prints(&["user", "list", "--json"]);
        let address = |line: &str| object(line)["email"].as_str().expect("an address").to_owned();
        lines.lines().map(address).collect()
    }

    /// How many accounts the audit log tells of.
    fn registrations(&self) -> usize {
        let all = ["audit", "--json", "--type", "user.registered", "--limit", "1000000"];
        self.prints(&all).lines().count()
    }

    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.keyward(arguments).stderr(Stdio::null()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Everybody whose line is good is there exactly once, and signs in as before.
    fn assert_complete(&self) {
        let users = self.users();
        let bad: BTreeSet<u64> = bad_lines(USERS).into_iter().collect();
        let good = (1..=USERS).filter(|number| !bad.contains(&(*number as u64)));
        let expected: BTreeSet<String> = good.map(email).collect();
        assert_eq!((users.len(), self.registrations()), (expected.len(), expected.len()));
        assert_eq!(users.into_iter().collect::<BTreeSet<_>>(), expected);
        let store = self.store.as_deref();
        let environment = Vec::from_iter(store.map(|url| ("KEYWARD_STORE__URL", url)));
        let service = self.place.serve_with(&environment);
        for number in (1..USERS).step_by(5000) {
            let answer = service.connect().login(&email(number), PASSWORD).expect("answered");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        // Whoever hashes has threads for it, whose names tell.
        assert!(hashing_threads(service.id()) > 0);
        service.stop();
    }
}

/// How many threads of a process are there to hash passwords.
fn hashing_threads(process: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process of Linux");
    let names = tasks.flatten().flat_map(|task| fs::read_to_string(task.path().join("comm")));
    names.filter(|name| name.starts_with("keyward-hash")).count()
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).expect("an object")
}

const SEED: u64 = 6;
const KILLS: usize = 5;
const USERS: usize = 30_000;
