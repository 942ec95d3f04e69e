//! `keyward drill`: against services that watch and one that does not, near and far, and what it
//! leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::place::{Place, SERVE, send};
use crate::tls::{certificate_for_localhost, write_pem};
use crate::unwatchful::Unwatchful;

#[test]
fn a_service_in_development_notices_all_of_it_and_keeps_nothing_of_it() {
    let place = Place::new();
    let service = place.start(&mut place.keyward(&SERVE));
    let url = format!("http://{}", service.address);
    let drilled = run(&mut place.keyward(&["drill", "--url", &url, "--json"]), 0);
    let report: Value = serde_json::from_slice(&drilled.stdout).expect("JSON");
    assert_eq!(report["passed"], true);
    let rehearsals = report["rehearsals"].as_array().expect("a list");
    assert!(rehearsals.len() >= 15, "{report}");
    for rehearsal in rehearsals {
        assert_eq!(rehearsal["happened"], rehearsal["expected"], "{rehearsal}");
        assert_eq!(rehearsal["missingEvents"], Value::Array(Vec::new()), "{rehearsal}");
        assert!(rehearsal["refusedAfterMs"].is_f64() || rehearsal["accessRefusedAfterMs"].is_f64());
    }
    assert_eq!(said(&drilled).matches("rehearsing ").count(), rehearsals.len());

    assert_nothing_is_left(&place);
    let keys: Value =
        serde_json::from_str(&place.prints(&["service-key", "list", "--json"])).expect("one key");
    assert!(keys["revokedAt"].is_string() && keys["expiresAt"].is_string(), "{keys}");
    service.stop();
}

#[test]
fn a_service_far_away_is_drilled_over_tls_with_a_key_and_names_of_its_own() {
    let place = Place::new();
    let certificate = certificate_for_localhost(&place);
    let configuration = "[server]\npublic_url = \"https://auth.example.org\"\n\
                         base_path = \"/accounts/v1\"\n\
                         tls_cert = \"certificate.pem\"\ntls_key = \"key.pem\"\n\
                         [accounts]\nregistration = \"closed\"\n\
                         [access_token]\ndelivery = \"cookie\"\n\
                         [cookies]\nrefresh_name = \"r\"\naccess_name = \"a\"\ncsrf_name = \"c\"\n";
    fs::write(place.file("keyward.toml"), configuration).expect("written");
    let service = place.start(&mut place.keyward(&["serve", "--listen", "127.0.0.1:0"]));
    let far = Place::new();
    far.write_secret("drill.key", &make_key(&place, &["users:write", "audit:read"]));
    write_pem(&far, "ca.pem", &certificate);

    let url = format!("https://localhost:{}", service.address.port());
    let arguments = ["drill", "--url", &url, "--base-path", "/accounts/v1"];
    let with_key = ["--service-key-file", "drill.key", "--ca-file", "ca.pem"];
    let drilled = run(&mut far.keyward(&[&arguments[..], &with_key].concat()), 0);
    let table = String::from_utf8_lossy(&drilled.stdout).into_owned();
    assert!(table.starts_with("REHEARSAL "), "{table}");
    assert!(table.contains("session.reuse_detected ") && !table.contains("DIFFERS"), "{table}");
    assert!(!far.file("keyward.db").exists(), "nothing but the network is needed");
    assert_nothing_is_left(&place);

    let distrustful = ["drill", "--url", &url, "--service-key-file", "drill.key"];
    fails(&mut far.keyward(&distrustful), "--ca-file");
    service.stop();
}

#[test]
fn a_service_that_does_not_watch_is_found_out() {
    let service = Unwatchful::start();
    let place = Place::new();
    let url = format!("http://{}", service.address);
    let mut command = place.keyward(&["drill", "--url", &url, "--json"]);
    let drilled = run(command.env("KEYWARD_SERVICE_KEY", &service.service_key), 1);
    let report: Value = serde_json::from_slice(&drilled.stdout).expect("JSON");
    assert_eq!(report["passed"], false);
    for rehearsal in report["rehearsals"].as_array().expect("a list") {
        let by_reuse = rehearsal["end"] == "session ends";
        assert_eq!(rehearsal["verdict"] == "UNNOTICED", by_reuse, "{rehearsal}");
    }
    let said = said(&drilled);
    for name in ["owner first, then thief", "thief first, then owner", "50 at once"] {
        assert!(said.contains(&format!("{name} UNNOTICED: expected ")), "{said}");
    }
    assert_eq!(service.accounts(), 0, "cleaned up all the same");
}

#[test]
fn a_drill_that_is_interrupted_cleans_up() {
    let place = Place::new();
    let service = place.start(&mut place.keyward(&SERVE));
    let url = format!("http://{}", service.address);
    let mut drill = place.keyward(&["drill", "--url", &url]);
    let mut drill = drill.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(drill.stderr.take().expect("piped")).lines();
    let second = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("rehearsing 2/")));
    assert!(second.is_some());
    assert_eq!(place.prints(&["user", "list", "--json"]).lines().count(), 1);
    send("-INT", drill.id());
    assert_eq!(drill.wait().expect("it ends").code(), Some(1));
    let said: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    assert!(said.iter().any(|line| line.contains("Interrupted")), "{said:?}");
    assert_nothing_is_left(&place);
    assert!(place.prints(&["service-key", "list", "--json"]).contains("\"revokedAt\":\"2"));
    service.stop();
}

#[test]
fn a_drill_that_cannot_run_says_what_to_do() {
    let place = Place::new();
    let service = place.start(&mut place.keyward(&SERVE));
    let url = format!("http://{}", service.address);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("a port");
    let down = format!("http://{nobody}");
    fails(&mut place.keyward(&["drill", "--url", &down]), "cannot be reached");
    fails(&mut place.keyward(&["drill", "--url", "localhost"]), "no origin");
    // A key to the accounts here is not handed to whoever answers there.
    let foreign = ["drill", "--url", "https://auth.example.org"];
    fails(&mut place.keyward(&foreign), "bring a key of that service");
    let elsewhere = ["drill", "--url", &url, "--base-path", "/elsewhere/v1"];
    fails(&mut place.keyward(&elsewhere), "--base-path");

    let far = Place::new();
    fails(&mut far.keyward(&["drill", "--url", &url]), "There is no database here");
    far.prints(&["migrate"]);
    fails(&mut far.keyward(&["drill", "--url", &url]), "over another store");
    let with_key = |key: &str, says: &str| {
        let mut command = far.keyward(&["drill", "--url", &url]);
        fails(command.env("KEYWARD_SERVICE_KEY", key), says);
    };
    with_key("hunter2", "no service key");
    with_key(&format!("kwk_{}", "A".repeat(43)), "does not accept the key");
    with_key(&make_key(&place, &["audit:read"]), "lacks a scope");
    with_key(&make_key(&place, &["users:write"]), "lacks a scope");
    assert_nothing_is_left(&place);
    service.stop();
}

/// Runs a command that ends with this status.
fn run(command: &mut Command, status: i32) -> Output {
    let output = command.stderr(Stdio::piped()).output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(status), "{}\n{printed}", said(&output));
    output
}

/// Runs a command that fails, and says this.
fn fails(command: &mut Command, says: &str) {
    let output = run(command, 1);
    assert!(said(&output).contains(says), "{}", said(&output));
    assert!(output.stdout.is_empty());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_nothing_is_left(place: &Place) {
    assert_eq!(place.prints(&["user", "list", "--json"]), "");
}

fn make_key(place: &Place, scopes: &[&str]) -> String {
    let mut arguments = vec!["service-key", "create", "--name", "drill", "--expires-in", "1h"];
    arguments.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
    place.prints(&arguments).trim_end().to_owned()
}
