//! `keyward check`: what it finds, and that it changes nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};

use serde_json::Value;

use crate::place::{Place, objects, text};

#[test]
fn check_takes_what_init_wrote_and_makes_no_database() {
    let place = Place::new();
    place.prints(&["init"]);
    let findings = objects(&place.prints(&["check", "--json"]));
    assert!(findings.iter().all(|finding| finding["severity"] == "warning"), "{findings:?}");
    let keys: Vec<_> = findings.iter().map(|finding| &finding["key"]).collect();
    assert_eq!(keys, ["server.public_url", "mail.url"]);
    assert!(!place.path().join("keyward.db").exists());
}

#[test]
fn check_and_serve_refuse_what_is_unsafe_by_every_key() {
    let place = Place::new();
    fs::write(
        place.path().join("keyward.toml"),
        "[access_token]\nttl = \"2h\"\n[cors]\nallowed_origins = [\"*\"]\n",
    )
    .expect("written");
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    for said in [text(&output.stdout), place.fails(&["serve"])] {
        assert!(said.contains("keyward.toml:2: access_token.ttl"), "{said}");
        assert!(said.contains("keyward.toml:4: cors.allowed_origins"), "{said}");
    }
}

#[test]
fn check_notices_another_master_key() {
    let place = Place::new();
    let service = place.serve(&["--dev"]);
    service.stop();
    place.prints(&["check"]);
    let key = place.path().join("keyward.master-key");
    fs::write(&key, place.prints(&["secret"])).expect("written");
    assert_eq!(place.run(&["check"]).status.code(), Some(1));
    fs::remove_file(&key).expect("removed");
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(!key.exists(), "check changes nothing");
}

#[test]
fn check_makes_no_keys() {
    let place = Place::new();
    place.serve(&["--dev"]).stop();
    let mut check = place.command(&["check"]);
    let output = check.env("KEYWARD_ACCESS_TOKEN__ALGORITHM", "EdDSA").output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let service = place.serve(&["--dev"]);
    let jwks = service
        .exchange("GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(jwks.contains("ES256") && !jwks.contains("EdDSA"), "{jwks}");
    service.stop();
}

#[test]
fn check_tells_that_keys_are_not_rotated() {
    let place = Place::new();
    place.serve(&["--dev"]).stop();
    let mut check = place.command(&["check", "--json"]);
    let output = check.env("KEYWARD_KEYS__ROTATE_EVERY", "off").output().expect("runs");
    assert_eq!(output.status.code(), Some(0));
    let findings = objects(&text(&output.stdout));
    assert!(findings.iter().any(|finding| finding["key"] == "keys.rotate_every"), "{findings:?}");
}

#[test]
fn check_tells_where_no_database_can_be_made() {
    let place = Place::new();
    fs::write(place.path().join("file"), "").expect("written");
    let narrow = place.path().join("narrow");
    fs::create_dir(&narrow).expect("made");
    fs::set_permissions(&narrow, fs::Permissions::from_mode(0o555)).expect("set");
    for (folder, told) in [
        ("missing", "there is no folder missing (No such file"),
        ("file", "there is no folder file (Not a directory"),
        ("narrow", "narrow cannot be written"),
    ] {
        let output = check_without_override(&place, &["--data-dir", folder, "--json"]);
        assert_eq!(output.status.code(), Some(1), "{folder}: {}", text(&output.stderr));
        let findings = objects(&text(&output.stdout));
        let is_error = |finding: &&Value| finding["severity"] == "error";
        let errors: Vec<&Value> = findings.iter().filter(is_error).collect();
        // The first start makes both a database and a master key there.
        let keys: Vec<_> = errors.iter().map(|error| &error["key"]).collect();
        assert_eq!(keys, ["keys.master_key", "store.url"], "{findings:?}");
        let is_told = |error: &&Value| error["finding"].to_string().contains(told);
        assert!(errors.iter().all(is_told), "{findings:?}");
    }
    assert!(!place.path().join("missing").exists(), "check changes nothing");
    let said = place.fails(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", "missing"]);
    assert!(said.contains("missing/keyward.db.lock cannot be used (No such file"), "{said}");
}

/// `keyward check` by somebody whom permissions bind: they do not bind root, unless it gives up
/// being above them.
fn check_without_override(place: &Place, arguments: &[&str]) -> Output {
    let mut check = place.command(&[&["check"], arguments].concat());
    if fs::metadata(place.path()).expect("a folder").uid() != 0 {
        return check.output().expect("the binary runs");
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set=-dac_override,-dac_read_search", "--"]);
    bound.arg(check.get_program()).args(check.get_args()).current_dir(place.path()).env_clear();
    bound.output().expect("setpriv runs")
}
