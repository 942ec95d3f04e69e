//! What an operator settles about passwords and second factors holds for the service beside.

use std::fs;
use std::process::Stdio;

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

const LIST: &str = "leaked.txt";
const BREACHED_LIST: (&str, &str) = ("KEYWARD_PASSWORD__BREACHED_LIST", LIST);
/// Strong but for being known.
const LEAKED: &str = "vogelbeere tanzt im keller";
