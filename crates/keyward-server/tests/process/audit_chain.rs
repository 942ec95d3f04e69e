//! The chain over the audit log, as an operator meets it: verified, written down, exported, and
//! found out where it was tampered with.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::place::Place;

#[test]
fn a_log_is_verified_in_its_store_and_as_a_file() {
    let place = Place::new();
    let service = place.serve();
    for name in ["ada", "bob"] {
        let tokens = service.register(&format!("{name}@example.org"));
        service.connect().refresh(&tokens, None).expect("answered");
    }
    // An orderly end seals what there is.
    service.stop();
    let verified = json(&place.prints(&["audit", "verify", "--json"]));
    assert_eq!(verified["damage"], Value::Null);
    assert_eq!((&verified["events"], &verified["unsealed"]), (&6.into(), &0.into()));
    let head = json(&place.prints(&["audit", "head", "--json"]));
    assert_eq!(verified["head"], head["head"]);
    let (anchor, key) = (text(&head["head"]), text(&head["key"]));
    let anchored = place.prints(&["audit", "verify", "--anchor", anchor, "--json"]);
    assert_eq!(json(&anchored)["anchored"], true);

    let exported = place.prints(&["audit", "export"]);
    assert_eq!(exported.lines().count(), 7);
    assert_eq!(place.prints(&["audit", "export", "--until", "1h"]), "");
    let file = place.file("audit.ndjson");
    fs::write(&file, &exported).expect("written");
    let file = file.to_str().expect("a path");
    let whole = ["audit", "verify", "--json", "--file", file, "--key", key, "--anchor", anchor];
    assert_eq!(json(&place.prints(&whole))["events"], 6);
    // As one key of 64 does, it begins with what looks like an option.
    let other = format!("-{}", "A".repeat(42));
    for (number, forged) in forgeries(&exported).into_iter().enumerate() {
        fs::write(file, forged).expect("written");
        assert_fails(&place, &whole, &format!("forgery {number}"));
    }
    fs::write(file, &exported).expect("written");
    assert_fails(&place, &["audit", "verify", "--file", file, "--key", &other], "another key");
    place.assert_database_is_sound();
}

#[test]
fn what_was_sealed_elsewhere_is_no_chain_of_ours() {
    let place = Place::new();
    let service = place.serve();
    service.register("ada@example.org");
    service.stop();
    let master_key = place.file("keyward.master-key");
    let kept = fs::read(&master_key).expect("a key");
    let other = Place::new();
    other.serve().stop();
    let foreign = fs::read(other.file("keyward.master-key")).expect("a key");
    overwrite(&master_key, &foreign);
    assert_fails(&place, &["audit", "verify"], "another master key");
    let head = place.keyward(&["audit", "head", "--json"]).output().expect("it runs");
    assert_eq!((head.status.code(), head.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&head.stderr);
    assert!(said.contains("number 1, is not signed with the master key of ./keyward"), "{said}");
    overwrite(&master_key, &kept);
    place.prints(&["audit", "verify"]);
    place.prints(&["audit", "head"]);
}

/// What may be done to a file, each of which must be found.
fn forgeries(exported: &str) -> Vec<String> {
    let lines: Vec<&str> = exported.lines().collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n")
    };
    vec![
        with(&|lines| lines[1] = lines[1].replace("127.0.0.1", "192.0.2.1")),
        with(&|lines| lines[1] = lines[1].replace(r#""detail":{"#, r#""detail":{"x":1"#)),
        with(&|lines| lines[1] = lines[1].replace(r#""salt":""#, r#""salt":"A"#)),
        with(&|lines| drop(lines.remove(1))),
        with(&|lines| lines.insert(1, lines[1].clone())),
        with(&|lines| lines.swap(1, 2)),
        with(&|lines| drop(lines.pop())),
        with(&|lines| lines[6] = lines[6].replace(r#""tags":""#, r#""tags":"AAAA"#)),
        with(&|lines| lines[1] = "{}".to_owned()),
    ]
}

fn assert_fails(place: &Place, arguments: &[&str], why: &str) {
    let output = place.keyward(arguments).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{why}: {output:?}");
    assert!(!output.stderr.is_empty(), "{why}");
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("an object")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
