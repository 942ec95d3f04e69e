//! Users of another system are imported, and sign in with the passwords that they had there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::place::Place;

/// "zimtkringel im régen" by bcryptjs.
pub(crate) const HASH: &str = "$2b$06$rgGKa.QbvBQtsj3/YCWWe.NQ/nwvQfUuqHG2W7DsoSvSdnzA.kdjq";
pub(crate) const PASSWORD: &str = "zimtkringel im régen";

/// One of the highest cost that is taken: to compare a password with it takes a second and more.
/// Whoever did so for each of a hundred thousand users would be at it for days.
const COSTLY: &str = "$2b$15$rgGKa.QbvBQtsj3/YCWWe.NQ/nwvQfUuqHG2W7DsoSvSdnzA.kdjq";

/// So many users, of whom one in a hundred cannot be taken. The first of a thousand could sign in
/// without taking the machine's time.
pub(crate) fn many(users: usize) -> String {
    let line = |number: usize| {
        let hash = match number % 1000 {
            1 => HASH,
            rest if rest % 100 == 50 => UNKNOWN,
            _ => COSTLY,
        };
        format!("{}\n", json!({ "email": email(number), "passwordHash": hash }))
    };
    (1..=users).map(line).collect()
}

pub(crate) fn email(number: usize) -> String {
    format!("user{number}@example.org")
}

/// The numbers of the bad lines of [`many`].
pub(crate) fn bad_lines(users: usize) -> Vec<u64> {
    (50..=users as u64).step_by(100).collect()
}

/// That these are the bad lines of [`many`], each with its reason.
pub(crate) fn assert_bad(objects: &[Value], users: usize) {
    let numbers: Vec<_> = objects.iter().filter_map(|bad| bad["line"].as_u64()).collect();
    assert_eq!(numbers, bad_lines(users));
    let error = "`passwordHash` is of no scheme that is known here";
    assert!(objects.iter().all(|bad| bad["error"] == error), "{objects:?}");
}

fn import(place: &Place, arguments: &[&str]) -> (Output, Vec<Value>) {
    let arguments = [&["user", "import", "--json"], arguments].concat();
    let mut command = place.keyward(&arguments);
    let output = command.stderr(Stdio::piped()).output().expect("it runs");
    let lines = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let objects = lines.lines().map(|line| serde_json::from_str(line).expect("an object"));
    let objects = objects.collect();
    (output, objects)
}

#[test]
fn bad_lines_are_told_by_number_and_all_others_are_taken() {
    let place = Place::migrated();
    let users = many(USERS);
    fs::write(place.file("users.ndjson"), &users).expect("written");
    let (output, objects) = import(&place, &["users.ndjson"]);
    assert_eq!(output.status.code(), Some(1));
    let (outcome, bad) = objects.split_last().expect("an outcome");
    assert_eq!(*outcome, json!({ "imported": 99_000, "present": 0, "bad": 1000 }));
    assert_bad(bad, USERS);

    // Mended and run again: who is there stays.
    let mended = users.replace(UNKNOWN, HASH);
    let mut command = place.keyward(&["user", "import", "-"]);
    let mut command = command.stdin(Stdio::piped()).spawn().expect("it runs");
    command.stdin.take().expect("piped").write_all(mended.as_bytes()).expect("read");
    let output = command.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, "Imported 1000 users; 99000 were there already; 0 lines are bad.\n");
    place.assert_database_is_sound();
}

#[test]
fn who_was_imported_signs_in_as_before_and_gets_another_hash() {
    let place = Place::migrated();
    let user = json!({
        "email": "ada@example.org", "passwordHash": HASH, "name": "Ada", "emailVerified": true,
        "roles": ["editor"], "claims": {"tenant": "analytical"},
        "createdAt": "2015-12-10T00:00:00Z", "id": "01931c3e-8f00-7000-8000-000000000001",
    });
    let without = json!({ "email": "bob@example.org", "passwordHash": null });
    fs::write(place.file("users.ndjson"), format!("{user}\n{without}\n")).expect("written");
    place.prints(&["user", "import", "users.ndjson"]);

    let service = place.serve();
    let login = |email: &str, password: &str| {
        service.connect().login(email, password).expect("answered").outcome()
    };
    assert_eq!(login("ada@example.org", "zimtkringel im Régen"), "401 INVALID_CREDENTIALS");
    assert_eq!(login("bob@example.org", PASSWORD), "401 INVALID_CREDENTIALS");
    for _ in 0..2 {
        let answer = service.connect().login("ada@example.org", PASSWORD).expect("answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let user = &answer.json()["user"];
        assert_eq!(user["id"], "01931c3e-8f00-7000-8000-000000000001");
        assert_eq!(user["createdAt"], "2015-12-10T00:00:00.000Z");
        assert_eq!((&user["roles"], &user["emailVerified"]), (&json!(["editor"]), &json!(true)));
    }
    service.stop();
    let log = place.prints(&["audit", "--json", "--type", "password.rehashed"]);
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(events.len(), 1, "{log}");
    assert_eq!(events[0]["detail"], json!({ "scheme": "bcrypt" }));
    for file in [place.log(), log, place.prints(&["user", "show", "ada@example.org"])] {
        assert!(!file.contains("rgGKa"), "{file}");
    }
}

/// Searches take it for when its user came.
#[test]
fn an_id_of_a_time_to_come_is_refused() {
    let place = Place::migrated();
    let user = json!({
        "email": "ada@example.org", "passwordHash": null,
        "id": "f1931c3e-8f00-7000-8000-000000000001",
    });
    fs::write(place.file("users.ndjson"), user.to_string()).expect("written");
    let (_, objects) = import(&place, &["users.ndjson"]);
    assert_eq!(objects[0], json!({ "line": 1, "error": "`id` tells a time in the future" }));
    assert_eq!(objects[1], json!({ "imported": 0, "present": 0, "bad": 1 }));
}

#[test]
fn bad_lines_are_written_to_a_file_of_their_own() {
    let place = Place::migrated();
    let good = json!({ "email": "ada@example.org", "passwordHash": HASH });
    let bad = json!({ "email": "bob@example.org", "passwordHash": UNKNOWN }).to_string();
    let second = json!({ "email": "ADA@example.org", "passwordHash": HASH }).to_string();
    let text = format!("{good}\n{second}\r\n{}\n{bad}", "x".repeat(70_000));
    fs::write(place.file("users.ndjson"), text).expect("written");
    let (output, _) = import(&place, &["--rejects", "bad.ndjson", "users.ndjson"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(" 2 are in bad.ndjson; mend them there and import that file."), "{told}");
    assert!(told.contains(" 1 are longer than a line may be, and stand"), "{told}");
    let rejects = fs::read_to_string(place.file("bad.ndjson")).expect("read");
    // What the store refuses is known at the end of its batch.
    assert_eq!(rejects, format!("{bad}\n{second}\n"));
    let mode = fs::metadata(place.file("bad.ndjson")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (output, _) = import(&place, &["--rejects", "bad.ndjson", "users.ndjson"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("name another file"), "{told}");
    assert_eq!(fs::read_to_string(place.file("bad.ndjson")).expect("read"), rejects);

    fs::write(place.file("users.ndjson"), good.to_string()).expect("written");
    let (output, _) = import(&place, &["--rejects", "none.ndjson", "users.ndjson"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(!place.file("none.ndjson").exists());
}

/// Nobody is sent to a file in which nothing is, nor finds one in the way of the next try.
#[test]
fn no_file_is_left_where_no_bad_line_was_written() {
    let place = Place::migrated();
    let good = json!({ "email": "ada@example.org", "passwordHash": HASH }).to_string();
    let bad = json!({ "email": "bob@example.org", "passwordHash": UNKNOWN }).to_string();
    let long = "x".repeat(70_000);
    for (text, told_of) in [
        (format!("{long}\n{good}\n{long}"), "a line may be, and bad.ndjson was not written"),
        (format!("{good}\n{bad}"), "are in bad.ndjson; mend them there and import that file."),
    ] {
        fs::write(place.file("users.ndjson"), text).expect("written");
        let (output, _) = import(&place, &["--rejects", "bad.ndjson", "users.ndjson"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(told_of), "{told}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(place.file("bad.ndjson").exists(), told_of.starts_with("are in"));
    }
    // A folder opens, and cannot be read.
    let (output, _) = import(&place, &["--rejects", "none.ndjson", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!place.file("none.ndjson").exists());
}

/// The new account would have the history of the one before.
#[test]
fn the_id_of_a_deleted_account_is_refused() {
    let place = Place::migrated();
    let user = json!({
        "email": "ada@example.org", "passwordHash": HASH,
        "id": "01931c3e-8f00-7000-8000-000000000001",
    });
    fs::write(place.file("users.ndjson"), user.to_string()).expect("written");
    place.prints(&["user", "import", "users.ndjson"]);
    place.prints(&["user", "delete", "ada@example.org"]);
    let (_, objects) = import(&place, &["users.ndjson"]);
    let error = "the account of this `id` has been deleted";
    assert_eq!(objects[0], json!({ "line": 1, "error": error }));
    assert_eq!(objects[1], json!({ "imported": 0, "present": 0, "bad": 1 }));
}

#[test]
fn two_users_of_one_address_or_id_are_told_apart() {
    let place = Place::migrated();
    let id = |number: u8| format!("01931c3e-8f00-7000-8000-00000000000{number}");
    let user = |email: &str, id: Option<String>| {
        format!("{}\n", json!({ "email": email, "passwordHash": HASH, "id": id }))
    };
    let lines = [
        user("ada@example.org", None),
        user("ADA@example.org", None),
        user("bob@example.org", Some(id(1))),
        user("bob@example.org", Some(id(2))),
        user("eve@example.org", Some(id(1))),
    ];
    fs::write(place.file("users.ndjson"), lines.concat()).expect("written");
    let run = || {
        let (_, mut objects) = import(&place, &["users.ndjson"]);
        let outcome = objects.pop().expect("an outcome");
        let told =
            |bad: &Value| (bad["line"].as_u64(), bad["error"].as_str().expect("a text").to_owned());
        (objects.iter().map(told).collect::<Vec<_>>(), outcome)
    };
    let expected = [
        (Some(2), "an earlier line has this address".to_owned()),
        (Some(4), format!("the account of this address has another id, {}", id(1))),
        (Some(5), "another account has this `id`".to_owned()),
    ];
    let outcome = json!({ "imported": 2, "present": 0, "bad": 3 });
    assert_eq!(run(), (expected.to_vec(), outcome));
    // Who mends only some of them is told of the others again.
    let outcome = json!({ "imported": 0, "present": 2, "bad": 3 });
    assert_eq!(run(), (expected.to_vec(), outcome));
}

#[test]
fn hashes_of_firebase_need_the_parameters_of_their_project() {
    let place = Place::migrated();
    let hash = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRu\
        id5lQ==";
    let given = format!("$firebase-scrypt$42xEC+ixf3L2lw==${hash}");
    let user = json!({ "email": "ada@example.org", "passwordHash": given });
    fs::write(place.file("users.ndjson"), user.to_string()).expect("written");
    let (_, objects) = import(&place, &["users.ndjson"]);
    let error = "`passwordHash` is Firebase's, whose parameters are not given";
    assert_eq!(objects[0], json!({ "line": 1, "error": error }));

    let parameters = json!({
        "algorithm": "SCRYPT",
        "base64_signer_key": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0Qs\
            EmYUSDzZvpjeJ9WmXA==",
        "base64_salt_separator": "Bw==",
        "rounds": 8,
        "mem_cost": 14,
    });
    fs::write(place.file("open.json"), parameters.to_string()).expect("written");
    let (output, _) = import(&place, &["users.ndjson", "--firebase-params", "open.json"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"), "{output:?}");
    place.write_secret("firebase.json", &parameters.to_string());
    let (_, objects) = import(&place, &["users.ndjson", "--firebase-params", "firebase.json"]);
    assert_eq!(objects, [json!({ "imported": 1, "present": 0, "bad": 0 })]);
    let service = place.serve();
    let answer = service.connect().login("ada@example.org", "user1password").expect("answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
    service.stop();
}

/// As many as somebody may have who comes from another system.
const USERS: usize = 100_000;

/// A digest of MD5, of which no service should know.
const UNKNOWN: &str = "5f4dcc3b5aa765d61d8327deb882cf99";
