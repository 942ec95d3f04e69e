//! What an operator settles about passwords and second factors holds for the service beside.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use serde_json::{Value, json};

use crate::place::{PASSWORD, Place};

#[test]
fn a_password_of_the_operators_list_is_refused() {
    let place = Place::new();
    fs::write(place.file(LIST), format!("another of them\n{LEAKED}\n")).expect("written");
    let service = place.serve_with(&[BREACHED_LIST]);
    let account = json!({ "email": "ada@example.org", "password": LEAKED });
    let answer = service.connect().post("/api/auth/register", &[], &account).expect("answered");
    assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
    assert!(answer.text().contains("leaked"), "{}", answer.text());
    service.register("ada@example.org");
    service.stop();
}

#[test]
fn a_list_that_cannot_be_searched_is_an_error_of_the_configuration() {
    let place = Place::new();
    for (list, why) in [(Some("b\na\n"), "sorted"), (Some(""), "empty"), (None, "No such file")] {
        match list {
            Some(text) => fs::write(place.file(LIST), text).expect("written"),
            None => fs::remove_file(place.file(LIST)).expect("removed"),
        }
        let mut check = place.keyward(&["check", "--json"]);
        let output = check.env(BREACHED_LIST.0, BREACHED_LIST.1).stderr(Stdio::piped());
        let output = output.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let findings = String::from_utf8(output.stdout).expect("UTF-8");
        let finding = findings.lines().find(|line| line.contains("password.breached_list"));
        assert!(finding.is_some_and(|finding| finding.contains(why)), "{findings}");
    }
}

#[test]
fn a_second_factor_that_is_not_there_cannot_be_removed() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    let me = service.connect().me(&tokens).expect("answered");
    let me: Value = serde_json::from_str(&me.text()).expect("JSON");
    assert_eq!(me["user"]["mfaEnabled"], false);
    for (user, why) in [("ada@example.org", "no second factor"), ("bob@example.org", "bob")] {
        let mut reset = place.keyward(&["user", "reset-mfa", user]);
        let output = reset.stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
    service.stop();
}

#[test]
fn a_password_that_the_operator_sets_ends_every_session() {
    let place = Place::new();
    let service = place.serve();
    let (ada, bob) = (service.register("ada@example.org"), service.register("bob@example.org"));
    let login = |password: &str| {
        service.connect().login("ada@example.org", password).expect("answered").outcome()
    };
    for (user, given, why) in [
        ("ada@example.org", "ada@example.org", "first that anyone would guess"),
        ("ada@example.org", "short", "too short"),
        ("ada@example.org", "", "no password"),
        ("eve@example.org", OTHER, "eve@example.org"),
    ] {
        let (code, _, said) = set_password(&place, user, given);
        assert!(code == Some(1) && said.contains(why), "{said}");
    }
    assert_eq!(login(PASSWORD), "200 -");

    let (code, told, said) = set_password(&place, "ADA@example.org", OTHER);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(told.ends_with(" is signed out and has the new password.\n"), "{told}");
    let refused = service.connect().refresh(&ada, None).expect("answered");
    assert_eq!(refused.outcome(), "401 SESSION_REVOKED");
    assert_eq!(refused.json()["reason"], "password_reset");
    assert_eq!(service.connect().me(&ada).expect("answered").outcome(), "401 TOKEN_REVOKED");
    assert_eq!(service.connect().refresh(&bob, None).expect("answered").outcome(), "200 -");
    assert_eq!(login(PASSWORD), "401 INVALID_CREDENTIALS");
    assert_eq!(login(OTHER), "200 -");
    service.stop();
    let log = place.prints(&["audit", "--json", "--type", "password.set"]);
    let event: Value = serde_json::from_str(&log).expect("one event");
    assert_eq!((&event["detail"], &event["ip"]), (&json!({}), &Value::Null));
    for text in [log, place.log(), place.prints(&["audit", "--json"])] {
        assert!(!text.contains(OTHER) && !text.contains("argon2"), "{text}");
    }
}

/// While the operator types, the address may become another account's.
#[test]
fn a_password_is_given_to_the_account_that_was_named() {
    let place = Place::new();
    let service = place.serve();
    let (ada, bob) = ("ada@example.org", "bob@example.org");
    service.register(ada);
    service.register(bob);
    let mut command = place.keyward(&["user", "set-password", ada, "--password-stdin"]);
    let mut process = command.stdin(Stdio::piped()).spawn().expect("it runs");
    let mut input = process.stdin.take().expect("piped");
    let (first, rest) = OTHER.split_at(1);
    input.write_all(first.as_bytes()).expect("written");
    // Who reads has found the account.
    while ioctl_fionread(&input).expect("a pipe") > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    place.change_address(ada, "moved@example.org");
    place.change_address(bob, ada);
    writeln!(input, "{rest}").expect("written");
    drop(input);
    assert!(process.wait().expect("it ends").success());
    for (email, password) in [("moved@example.org", OTHER), (ada, PASSWORD)] {
        let answer = service.connect().login(email, password).expect("answered");
        assert_eq!(answer.outcome(), "200 -", "{email}");
    }
    service.stop();
}

/// The exit code, and what is printed and complained of.
fn set_password(place: &Place, user: &str, given: &str) -> (Option<i32>, String, String) {
    let mut command = place.keyward(&["user", "set-password", user, "--password-stdin"]);
    let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("it runs");
    // Who refuses the user does not read on.
    let _ = writeln!(process.stdin.take().expect("piped"), "{given}");
    let output = process.wait_with_output().expect("it ends");
    let [printed, said] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), printed, said)
}

/// Another good one.
const OTHER: &str = "vier volle fässer tinte";

const LIST: &str = "leaked.txt";
const BREACHED_LIST: (&str, &str) = ("KEYWARD_PASSWORD__BREACHED_LIST", LIST);
/// Strong but for being known.
const LEAKED: &str = "vogelbeere tanzt im keller";
