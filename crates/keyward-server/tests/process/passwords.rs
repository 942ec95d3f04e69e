//! What an operator settles about passwords and second factors holds for the service beside.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::place::Place;

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

/// The command seals the mail, and the service that runs sends it.
#[test]
fn a_second_factor_that_the_operator_removes_is_told_of_by_mail() {
    let place = Place::new();
    let service = place.serve_with(&MAIL);
    service.register("ada@example.org");
    enable_second_factor(&place);
    let key = place.file("keyward.master-key");
    let away = place.file("away");
    fs::rename(&key, &away).expect("moved");
    let reset = || {
        let mut reset = place.keyward(&["user", "reset-mfa", "ada@example.org"]);
        reset.envs(MAIL).stderr(Stdio::piped()).output().expect("it runs")
    };
    let refused = String::from_utf8_lossy(&reset().stderr).into_owned();
    assert!(refused.contains("told by mail") && refused.contains("master-key"), "{refused}");
    fs::rename(&away, &key).expect("moved back");
    let done = reset();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("is told so by mail"), "{said}");
    wait_for_mail(&place, "Subject: Signing in takes no second factor any more");
    service.stop();
}

/// The only user's, behind the service's back.
fn enable_second_factor(place: &Place) {
    let connection = Connection::open(place.file("keyward.db")).expect("a database");
    let sql = "INSERT INTO totp (user_id, sealed, begun_at, confirmed_at, last_step)
        SELECT id, x'00', 1, 1, 1 FROM user;
        UPDATE user SET mfa_enabled_at = 1;";
    connection.execute_batch(sql).expect("enabled");
}

fn wait_for_mail(place: &Place, subject: &str) {
    let has_come = || {
        let mails = fs::read_dir(place.file("outbox")).expect("a folder");
        mails
            .flatten()
            .any(|mail| fs::read_to_string(mail.path()).is_ok_and(|mail| mail.contains(subject)))
    };
    for _ in 0..600 {
        if has_come() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no mail came: {}", place.log());
}

const MAIL: [(&str, &str); 2] =
    [("KEYWARD_MAIL__URL", "file:outbox"), ("KEYWARD_MAIL__FROM", "no-reply@example.org")];
const LIST: &str = "leaked.txt";
const BREACHED_LIST: (&str, &str) = ("KEYWARD_PASSWORD__BREACHED_LIST", LIST);
/// Strong but for being known.
const LEAKED: &str = "vogelbeere tanzt im keller";
